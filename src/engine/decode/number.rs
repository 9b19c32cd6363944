//! Numbers as they are written, read exactly: whole numbers and amounts never pass a float.

use crate::engine::batch::Reason;

/// A number as it is written: a JSON number, which in a string may have leading zeros too.
#[derive(Debug, Clone, Copy)]
struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

/// `text` times ten to the power of `scale`, exactly.
///
/// # Errors
/// `wrong_type` when it is no number; `out_of_range` when it has more decimals than `scale` that
/// are not zeros, or exceeds 64 bits.
pub fn scaled(text: &str, scale: u32) -> Result<i64, Reason> {
    if let Some(value) = short(text.as_bytes(), scale) {
        return Ok(value);
    }
    let parts = parts(text.as_bytes()).ok_or(Reason::WrongType)?;
    parts.scaled(scale).ok_or(Reason::OutOfRange)
}

/// The nearest double.
///
/// # Errors
/// `wrong_type` when it is no number, `out_of_range` when no double is as large.
pub fn double(text: &str) -> Result<f64, Reason> {
    parts(text.as_bytes()).ok_or(Reason::WrongType)?;
    match text.parse::<f64>() {
        // Adding zero turns -0 into 0: one value, one stored form.
        Ok(value) if value.is_finite() => Ok(value + 0.0),
        Ok(_) => Err(Reason::OutOfRange),
        Err(_) => Err(Reason::WrongType),
    }
}

/// Whether a JSON number is written as a whole one.
pub fn is_whole(number: &str) -> bool {
    !number
        .bytes()
        .any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

/// What nearly every number looks like: at most 18 digits and no exponent.
fn short(text: &[u8], scale: u32) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0i64;
    let mut decimals = None;
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + i64::from(byte - b'0'),
            b'.' if decimals.is_none() && at > 0 && at + 1 < digits.len() => {
                decimals = Some((digits.len() - at - 1) as u32);
            }
            _ => return None,
        }
    }
    let missing = scale.checked_sub(decimals.unwrap_or(0))?;
    let value = value.checked_mul(10i64.checked_pow(missing)?)?;
    Some(if negative { -value } else { value })
}

fn parts(text: &[u8]) -> Option<Parts<'_>> {
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let (whole, rest) = leading_digits(rest);
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => {
            let (fraction, rest) = leading_digits(rest);
            (Some(fraction), rest)
        }
        _ => (None, rest),
    };
    let exponent = match rest {
        [] => 0,
        [b'e' | b'E', rest @ ..] => exponent(rest)?,
        _ => return None,
    };
    if whole.is_empty() || fraction.is_some_and(<[u8]>::is_empty) {
        return None;
    }
    Some(Parts {
        negative,
        whole,
        fraction: fraction.unwrap_or_default(),
        exponent,
    })
}

fn leading_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let length = text.iter().take_while(|b| b.is_ascii_digit()).count();
    text.split_at(length)
}

/// Large ones stop growing: no text is long enough to bring them back.
fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0i64, |size, byte| {
        (size * 10 + i64::from(byte - b'0')).min(1 << 40)
    });
    Some(if negative { -size } else { size })
}

impl Parts<'_> {
    fn scaled(&self, scale: u32) -> Option<i64> {
        let digits = || self.whole.iter().chain(self.fraction);
        let zeros = digits().rev().take_while(|digit| **digit == b'0').count();
        let leading = digits().take_while(|digit| **digit == b'0').count();
        let all = self.whole.len() + self.fraction.len();
        if leading == all {
            return Some(0);
        }
        // What is left is significant at both ends: `value` times ten to `power`.
        let power = self.exponent - self.fraction.len() as i64 + zeros as i64 + i64::from(scale);
        let power = u32::try_from(power).ok()?;
        if all - leading - zeros > 19 || power > 19 {
            return None;
        }
        let value = digits()
            .take(all - zeros)
            .skip(leading)
            .fold(0i128, |value, digit| value * 10 + i128::from(digit - b'0'));
        let value = value * 10i128.pow(power);
        i64::try_from(if self.negative { -value } else { value }).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_exact_in_every_notation() {
        for (text, expected) in [
            ("0", 0),
            ("-0", 0),
            ("-0.00", 0),
            ("0e999999999999999999999", 0),
            ("12.5", 1250),
            ("012.50", 1250),
            ("12.5000000000000000000000000", 1250),
            ("-3.07", -307),
            ("1.0E7", 1_000_000_000),
            ("125e-1", 1250),
            ("1e+2", 10_000),
            ("0.00000000000000000001e20", 100),
            ("92233720368547758.07", i64::MAX),
            ("-92233720368547758.08", i64::MIN),
            ("123456789012345678e-2", 123_456_789_012_345_678),
        ] {
            assert_eq!(scaled(text, 2), Ok(expected), "{text}");
        }
        assert_eq!(
            scaled(&format!("1{}e-200000", "0".repeat(200_000)), 2),
            Ok(100)
        );
    }

    #[test]
    fn what_does_not_fit_is_out_of_range() {
        for text in [
            "1e400",
            "12.345",
            "1e-3",
            "92233720368547758.08",
            "1e17",
            "-1e300",
            "1e-400",
            "1e99999999999999999999999",
            "99999999999999999999999999",
        ] {
            assert_eq!(scaled(text, 2), Err(Reason::OutOfRange), "{text}");
        }
        assert_eq!(double("1e400"), Err(Reason::OutOfRange));
    }

    #[test]
    fn what_is_no_number_is_another_type() {
        for text in [
            "", "-", "NaN", "Infinity", "inf", "1.", ".5", "+1", "1e", "1e+", "1,5", " 1", "1 ",
            "0x10", "1_000", "1.2.3", "--1", "١",
        ] {
            assert_eq!(scaled(text, 2), Err(Reason::WrongType), "{text}");
            assert_eq!(double(text), Err(Reason::WrongType), "{text}");
        }
    }

    #[test]
    fn doubles_are_the_nearest_and_have_one_zero() {
        assert_eq!(double("41.680471000000004"), Ok(41.680471000000004));
        assert_eq!(double("007.5"), Ok(7.5));
        assert_eq!(double("-0.0").unwrap().to_bits(), 0);
    }

    /// The rule with integers of 128 bits.
    fn oracle(units: i128, decimals: u32, exponent: i32, scale: u32) -> Option<i64> {
        let power = exponent - decimals as i32 + scale as i32;
        let value = if power >= 0 {
            units.checked_mul(10i128.checked_pow(power as u32)?)?
        } else {
            let divisor = 10i128.checked_pow(power.unsigned_abs())?;
            (units % divisor == 0).then_some(units / divisor)?
        };
        i64::try_from(value).ok()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn amounts_agree_with_wide_integers(
            units in prop_oneof![any::<i64>(), -100_000i64..100_000],
            trailing in 0u32..4,
            decimals in 0u32..12,
            exponent in prop_oneof![Just(0), -8i32..8],
            scale in 0u32..7,
        ) {
            let units = i128::from(units) * 10i128.pow(trailing);
            let width = decimals as usize + 1;
            let digits = format!("{:0width$}", units.unsigned_abs());
            let (whole, fraction) = digits.split_at(digits.len() - decimals as usize);
            let sign = if units < 0 { "-" } else { "" };
            let point = if decimals > 0 { "." } else { "" };
            let tail = if exponent != 0 { format!("e{exponent}") } else { String::new() };
            let text = format!("{sign}{whole}{point}{fraction}{tail}");
            prop_assert_eq!(scaled(&text, scale).ok(), oracle(units, decimals, exponent, scale), "{}", text);
        }
    }
}
