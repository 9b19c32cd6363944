//! What came with a payment, made harmless for people: control characters, line breaks and markup
//! in a merchant's name are only characters.

use crate::engine::batch::Micros;

/// Characters of a merchant or another text in a mail.
const TEXT_CHARS: usize = 60;

/// An amount as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    /// Minor units.
    pub minor: i64,
    /// Decimals of the currency.
    pub scale: u32,
    /// Its code, where the event has one.
    pub currency: Option<String>,
}

/// The amount in major units, with its currency where it is known: `EUR 1,234.50`.
pub fn major(money: &Money) -> String {
    match &money.currency {
        Some(currency) => format!("{} {}", plain(currency), figure(money)),
        None => figure(money),
    }
}

/// The amount in major units for programs, without its currency: `1234.50`.
pub fn decimal(money: &Money) -> String {
    figure(money).replace(',', "")
}

fn figure(money: &Money) -> String {
    let scale = money.scale as usize;
    let digits = format!("{:0>1$}", money.minor.unsigned_abs(), scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if money.minor < 0 { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", in_thousands(whole))
}

/// A whole number with its thousands set apart: `4,995`.
pub fn number(number: u64) -> String {
    in_thousands(&number.to_string())
}

fn in_thousands(digits: &str) -> String {
    let mut parts = String::new();
    for (place, digit) in (0..digits.len()).rev().zip(digits.chars()) {
        parts.push(digit);
        if place > 0 && place % 3 == 0 {
            parts.push(',');
        }
    }
    parts
}

/// A decimal number with its thousands apart: `-1234567.89` becomes `-1,234,567.89`.
pub fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let (sign, digits) = whole.split_at(usize::from(whole.starts_with('-')));
    format!("{sign}{}{fraction}", in_thousands(digits))
}

/// A count with its noun, in the plural but for one: `4,995 payments`.
pub fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", number(count))
}

/// The moment to the second, in UTC.
pub fn moment(time: Micros) -> String {
    match jiff::Timestamp::from_microsecond(time) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => "unknown time".to_owned(),
    }
}

/// A text on one line, without anything that acts on what is around it: control characters,
/// line and paragraph separators, marks that turn the direction of writing.
pub fn plain(text: &str) -> String {
    let acts = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                         | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    let mut line: String = text
        .chars()
        .take(TEXT_CHARS)
        .map(|c| if acts(c) { ' ' } else { c })
        .collect();
    if text.chars().nth(TEXT_CHARS).is_some() {
        line.push('…');
    }
    line
}

/// The text as HTML shows it, whatever it holds.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(minor: i64, scale: u32, currency: Option<&str>) -> Money {
        Money {
            minor,
            scale,
            currency: currency.map(str::to_owned),
        }
    }

    #[test]
    fn amounts_are_written_in_major_units() {
        assert_eq!(
            major(&money(123_456_789, 2, Some("EUR"))),
            "EUR 1,234,567.89"
        );
        assert_eq!(major(&money(5, 2, None)), "0.05");
        assert_eq!(major(&money(-100_000, 2, None)), "-1,000.00");
        assert_eq!(major(&money(1_000, 0, Some("JPY"))), "JPY 1,000");
        assert_eq!(
            major(&money(i64::MIN, 3, None)),
            "-9,223,372,036,854,775.808"
        );
    }
    #[test]
    fn figures_for_programs_have_a_point_and_nothing_else() {
        assert_eq!(decimal(&money(-123_456_789, 2, Some("EUR"))), "-1234567.89");
    }

    #[test]
    fn counts_have_their_noun() {
        assert_eq!(counted(1, "payment"), "1 payment");
        assert_eq!(counted(4_995, "payment"), "4,995 payments");
        assert_eq!(counted(0, "payment"), "0 payments");
    }

    #[test]
    fn a_long_name_is_cut_and_nothing_in_it_acts() {
        let name = plain(&"é".repeat(5_000));
        assert_eq!(name.chars().count(), TEXT_CHARS + 1);
        let nasty = "a\r\nBcc: b\0\u{202e}c\u{2028}d\u{61c}e";
        assert_eq!(plain(nasty), "a  Bcc: b  c d e");
    }

    #[test]
    fn thousands_stand_apart_and_fractions_do_not() {
        for (number, text) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("-1234567.8901", "-1,234,567.8901"),
            ("0.05", "0.05"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
