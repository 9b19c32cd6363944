//! Where no card number may stand.

use crate::committed_texts;

/// Published by payment companies for tests; no bank ever issued them.
const TEST_NUMBERS: [&str; 3] = ["4242424242424242", "378282246310005", "4000000000000002"];

/// Runs of 13 to 19 digits, in groups or not, that a card could bear: of a card network's range
/// and with a right check digit.
fn card_numbers(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let touches =
            at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || b"_.".contains(&bytes[at - 1]));
        let (digits, end) = run(bytes, at);
        let ends_alone = bytes
            .get(end)
            .is_none_or(|next| !next.is_ascii_alphanumeric() && *next != b'_');
        if !touches && ends_alone && is_card(&digits) {
            found.push(digits);
        }
        at = end.max(at + 1);
    }
    found
}

/// The digits from `at`, single spaces and hyphens between them left out, and where they end.
fn run(bytes: &[u8], at: usize) -> (String, usize) {
    let mut digits = String::new();
    let mut end = at;
    while let Some(byte) = bytes.get(end) {
        let joins =
            b" -".contains(byte) && end > at && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        if byte.is_ascii_digit() {
            digits.push(char::from(*byte));
        } else if !joins {
            break;
        }
        end += 1;
    }
    (digits, end)
}

fn is_card(digits: &str) -> bool {
    let luhn: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit - b'0') * (1 + place as u32 % 2);
            value - if value > 9 { 9 } else { 0 }
        })
        .sum();
    (13..=19).contains(&digits.len())
        && (b'2'..=b'6').contains(&digits.as_bytes()[0])
        && luhn.is_multiple_of(10)
        && !TEST_NUMBERS.contains(&digits)
}

#[test]
fn no_committed_file_holds_a_card_number() {
    let files = committed_texts();
    assert!(
        files
            .iter()
            .any(|(file, _)| file == "models/card/golden.jsonl")
    );
    for (file, text) in files {
        let found = card_numbers(&text);
        // Whole numbers are not repeated in the log of a test run.
        assert!(
            found.is_empty(),
            "{file} holds {} card numbers, for instance …{}",
            found.len(),
            &found[0][9..]
        );
    }
}

#[test]
fn a_card_number_is_found_among_other_digits() {
    let with_check_digit = |start: &str| {
        (0..10)
            .map(|digit| format!("{start}{digit}"))
            .find(|whole| is_card(whole))
            .unwrap()
    };
    let card = with_check_digit("455673758689985");
    let grouped = format!(
        "{} {} {} {}",
        &card[..4],
        &card[4..8],
        &card[8..12],
        &card[12..]
    );
    for text in [
        card.clone(),
        format!("a \"{card}\","),
        grouped,
        format!("-{card}."),
    ] {
        assert_eq!(card_numbers(&text), [card.as_str()], "{text}");
    }
    let wrong = format!("{}{}", &card[..15], (card.as_bytes()[15] - b'0' + 1) % 10);
    for text in [
        wrong,
        format!("{card}7a"),
        format!("x{card}"),
        "4242 4242 4242 4242".to_owned(),
    ] {
        assert_eq!(card_numbers(&text), Vec::<String>::new(), "{text}");
    }
}
