//! Card numbers in free text: found by their shape and their check digit, and taken out.
//!
//! A card number is a run of 11 to 19 digits, single spaces or hyphens between them, that
//! touches no letter or digit and whose check digit is right (Luhn). Only ASCII letters count
//! as letters: a word in another script before the number must not hide it. One that begins with
//! 1 has 15 digits: no network issues others there, and moments since 1970 begin so, of which
//! every tenth has a right check digit.

mod payload;

use std::borrow::Cow;
use std::ops::Range;

use super::token::TokenKey;

pub use payload::{masked_key, masked_payload};

/// Stands where a card number stood.
pub const MASK: &str = "****";

const FEWEST: usize = 11;
const MOST: usize = 19;
/// Digits of a number that begins with 1: those of the airlines' cards (UATP).
const FROM_ONE: usize = 15;

/// The text with every card number in it replaced by [`MASK`].
pub fn masked(text: &str) -> Cow<'_, str> {
    replaced(text, |out, _| out.push_str(MASK))
}

/// The text with every card number in it replaced by its token, so that ids stay distinct.
pub fn masked_id<'a>(key: &TokenKey, text: &'a str) -> Cow<'a, str> {
    replaced(text, |out, number| {
        // The letter keeps the token's own digits from being taken for a card number.
        out.push('t');
        out.push_str(&key.account(number).to_string());
    })
}

fn replaced(text: &str, mut stand_in: impl FnMut(&mut String, &str)) -> Cow<'_, str> {
    if !has_enough_digits(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut copied = 0;
    for number in card_numbers(text.as_bytes()) {
        out.push_str(&text[copied..number.start]);
        stand_in(&mut out, &text[number.clone()]);
        copied = number.end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Most texts end here: counting needs no branch per byte.
fn has_enough_digits(text: &[u8]) -> bool {
    text.len() >= FEWEST && text.iter().filter(|byte| byte.is_ascii_digit()).count() >= FEWEST
}

/// Where card numbers stand; runs that overlap are one.
fn card_numbers(text: &[u8]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if !text[at].is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        let end = at + word_length(&text[at..]);
        if let Some(run) = longest_from(text, at) {
            match found.last_mut().filter(|last| run.start < last.end) {
                Some(last) => last.end = last.end.max(run.end),
                None => found.push(run),
            }
        }
        at = end;
    }
    found
}

fn word_length(text: &[u8]) -> usize {
    text.iter()
        .position(|byte| !byte.is_ascii_alphanumeric())
        .unwrap_or(text.len())
}

/// The longest card number that starts at `start`, where a word begins. Looks at no more than
/// 20 digits, so that a text of digits alone costs no more than its length.
fn longest_from(text: &[u8], start: usize) -> Option<Range<usize>> {
    let mut longest = None;
    // Which digits count twice is known at the end only: both sums are kept.
    let mut sums = [0u32; 2];
    let mut digits = 0;
    let mut at = start;
    loop {
        while let Some(digit) = text.get(at).filter(|byte| byte.is_ascii_digit()) {
            if digits == MOST {
                return longest;
            }
            let digit = u32::from(digit - b'0');
            let twice = digit * 2 - if digit > 4 { 9 } else { 0 };
            sums[digits % 2] += twice;
            sums[(digits + 1) % 2] += digit;
            digits += 1;
            at += 1;
        }
        if text.get(at).is_some_and(u8::is_ascii_alphanumeric) {
            return longest;
        }
        if digits >= FEWEST
            && (text[start] != b'1' || digits == FROM_ONE)
            && sums[digits % 2].is_multiple_of(10)
        {
            longest = Some(start..at);
        }
        let goes_on = matches!(text.get(at), Some(b' ' | b'-'))
            && text.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !goes_on {
            return longest;
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> TokenKey {
        TokenKey::new(&"k".repeat(32)).unwrap()
    }

    #[test]
    fn a_card_number_is_masked_however_it_is_grouped() {
        for number in [
            "4242424242424242",
            "4242 4242 4242 4242",
            "4242-4242-4242-4242",
            "3782 822463 10005",
            "4-2 4-2 4-2 4-2 4-2 4-2 4-2 4-2",
        ] {
            assert_eq!(masked(number), MASK);
            assert_eq!(
                masked(&format!("paid {number}, thanks")),
                "paid ****, thanks"
            );
            assert_eq!(masked(&format!("№{number}.")), "№****.");
            assert_eq!(masked(&format!("カード{number}を")), "カード****を");
        }
    }

    #[test]
    fn what_only_looks_like_a_card_number_stays() {
        for text in [
            "",
            "4242424242424241",
            "a4242424242424242",
            "4242424242424242a",
            "4242  4242  4242  4242",
            "4242_4242_4242_4242",
            "4242424242",
            "42424242424242424242424242424242",
            "333efb77b2bb87124447e213410e2d12",
            "2020-06-21 12:14:25",
        ] {
            assert!(matches!(masked(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn digits_beside_a_card_number_do_not_hide_it() {
        assert_eq!(masked("2024 4242424242424242"), "2024 ****");
        assert_eq!(masked("4242424242424242 7"), "**** 7");
        assert_eq!(masked("4242424242424242 4242424242424242"), "**** ****");
        assert_eq!(masked("x1-4242424242424242"), "x1-****");
    }

    #[test]
    fn ids_with_card_numbers_stay_distinct_and_lose_them() {
        let first = masked_id(&key(), "tx-4242424242424242-1").into_owned();
        let second = masked_id(&key(), "tx-378282246310005-1").into_owned();
        assert_ne!(first, second);
        assert!(
            first.starts_with("tx-t") && first.ends_with("-1"),
            "{first}"
        );
        assert_eq!(first.len(), "tx-".len() + 33 + "-1".len());
        assert_ne!(
            masked_id(&key(), "4242-4242-4242-4242"),
            masked_id(&key(), "4242424242424242")
        );
    }

    #[test]
    fn a_moment_in_an_id_is_no_card_number() {
        let start = 1_730_134_684_025i64;
        for millis in start..start + 40 {
            for moment in [millis, millis * 1_000, millis * 1_000_000] {
                let id = format!("3cb54a48d7a1f0c5:{moment}");
                assert!(matches!(masked_id(&key(), &id), Cow::Borrowed(_)), "{id}");
                assert!(matches!(masked(&id), Cow::Borrowed(_)), "{id}");
            }
        }
    }

    #[test]
    fn a_1_hides_no_card_number() {
        // UATP: the airlines' cards have 15 digits.
        let airline = (0..10)
            .map(|digit| format!("10012345678901{digit}"))
            .find(|number| luhn(number.as_bytes()))
            .unwrap();
        assert_eq!(masked(&airline), MASK);
        for moment in ["1", "1730134684025", "1730134684025000"] {
            for between in [" ", "-", ":", ", "] {
                let text = format!("{moment}{between}4242424242424242");
                assert!(!masked(&text).contains("4242424242424242"), "{text}");
            }
        }
    }

    /// The rule, word for word: every way to choose a start and an end.
    fn some_card_number(text: &str) -> bool {
        let bytes = text.as_bytes();
        let word = |at: Option<usize>| {
            at.and_then(|at| bytes.get(at))
                .is_some_and(u8::is_ascii_alphanumeric)
        };
        (0..bytes.len()).any(|start| {
            (start + 1..=bytes.len()).any(|end| {
                let run = &bytes[start..end];
                let ends = run[0].is_ascii_digit() && run[run.len() - 1].is_ascii_digit();
                let parts = run
                    .windows(2)
                    .all(|pair| pair[0].is_ascii_digit() || pair[1].is_ascii_digit());
                let only = run
                    .iter()
                    .all(|b| b.is_ascii_digit() || *b == b' ' || *b == b'-');
                ends && parts
                    && only
                    && !word(start.checked_sub(1))
                    && !word(Some(end))
                    && luhn(run)
            })
        })
    }

    fn luhn(run: &[u8]) -> bool {
        let digits: Vec<u32> = run
            .iter()
            .filter(|b| b.is_ascii_digit())
            .map(|b| u32::from(b - b'0'))
            .collect();
        let sum: u32 = digits
            .iter()
            .rev()
            .enumerate()
            .map(|(i, d)| {
                if i % 2 == 1 {
                    d * 2 / 10 + d * 2 % 10
                } else {
                    *d
                }
            })
            .sum();
        (11..=19).contains(&digits.len())
            && (digits[0] != 1 || digits.len() == 15)
            && sum.is_multiple_of(10)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn masking_leaves_no_card_number_and_touches_nothing_else(text in "[0-9 0-9-0-9a.é]{0,48}") {
            let once = masked(&text);
            prop_assert!(!some_card_number(&once), "{once}");
            prop_assert!(!some_card_number(&masked_id(&key(), &text)));
            prop_assert_eq!(matches!(once, Cow::Borrowed(_)), !some_card_number(&text));
        }
    }
}
