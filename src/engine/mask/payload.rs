//! What a dead letter may show of a record: text without card numbers, whatever its state.

use std::borrow::Cow;

use super::{MASK, masked};
use crate::engine::token::{TokenKey, canonical_card};

/// Longest payload shown, in bytes.
const PAYLOAD_BYTES: usize = 64 * 1024;

/// Longest key shown, in bytes.
const KEY_BYTES: usize = 1024;

/// The payload as text of at most 64 KiB without card numbers: the values of `pan_keys` are
/// masked whatever their length and however broken the JSON is, then every other card number.
pub fn masked_payload(payload: &[u8], pan_keys: &[&str]) -> String {
    let (head, was_cut) = payload
        .split_at_checked(PAYLOAD_BYTES)
        .map_or((payload, false), |(head, rest)| (head, !rest.is_empty()));
    let text = String::from_utf8_lossy(head).replace('\0', "\u{fffd}");
    let mut text = without_escapes(&text).into_owned();
    if was_cut {
        drop_last_run(&mut text);
    }
    for key in pan_keys {
        text = without_values_of(&text, key);
    }
    cut(masked(&text).into_owned(), PAYLOAD_BYTES)
}

/// The record's key as text of at most 1 KiB: a card number's token, or text without any.
pub fn masked_key(tokens: &TokenKey, key: &[u8], is_card: bool) -> String {
    let head = &key[..key.len().min(KEY_BYTES)];
    let mut text = String::from_utf8_lossy(head).replace('\0', "\u{fffd}");
    if is_card {
        return tokens.account(&canonical_card(&text)).to_string();
    }
    if head.len() < key.len() {
        drop_last_run(&mut text);
    }
    cut(masked(&text).into_owned(), KEY_BYTES)
}

fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        drop_last_run(&mut text);
    }
    text
}

/// At a cut may stand the first half of a card number, or of an escape that spells one.
fn drop_last_run(text: &mut String) {
    if let Some(escape) = text.rfind('\\').filter(|at| at + 6 > text.len()) {
        text.truncate(escape);
    }
    let run = |c: char| c.is_ascii_digit() || c == ' ' || c == '-';
    text.truncate(text.trim_end_matches(run).len());
}

/// Characters written as `\u0034` stand as themselves, so that none hides a digit or a key.
/// Quotes, backslashes, control characters and surrogates stay as they are written.
fn without_escapes(text: &str) -> Cow<'_, str> {
    if !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\u") {
        out.push_str(&rest[..at]);
        match escaped(&rest[at..]) {
            Some(character) => {
                out.push(character);
                rest = &rest[at + 6..];
            }
            None => {
                out.push_str("\\u");
                rest = &rest[at + 2..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn escaped(text: &str) -> Option<char> {
    let digits = text.get(2..6)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let character = u32::from_str_radix(digits, 16)
        .ok()
        .and_then(char::from_u32)?;
    let stays = character.is_control() || character == '"' || character == '\\';
    (!stays).then_some(character)
}

/// The text with whatever follows `key` and a colon replaced, in one pass.
fn without_values_of(text: &str, key: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (at, found) in text.match_indices(key) {
        if at < copied || continues_a_word(&text[..at]) {
            continue;
        }
        let Some(value) = value_after(text, at + found.len()) else {
            continue;
        };
        let length = value_length(&text[value..]);
        let shown = &text[value..value + length];
        if !matches!(shown, "" | "\"\"" | "null") {
            out.push_str(&text[copied..value]);
            out.push('"');
            out.push_str(MASK);
            out.push('"');
            copied = value + length;
        }
    }
    out.push_str(&text[copied..]);
    out
}

fn continues_a_word(before: &str) -> bool {
    before
        .bytes()
        .next_back()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Where the value starts, if what stands after the key says that it was one: perhaps a quote
/// (itself escaped when JSON stands inside JSON), space, a colon or an equals sign, space.
/// Where the colon was lost, a quote or a digit still is a value.
fn value_after(text: &str, at: usize) -> Option<usize> {
    let rest = text[at..]
        .trim_start_matches(['\\', '"', '\''])
        .trim_start();
    let value = match rest.strip_prefix([':', '=']) {
        Some(value) => value.trim_start(),
        None if rest.starts_with(|c: char| c.is_ascii_digit() || c == '"') => rest,
        None => return None,
    };
    Some(text.len() - value.len())
}

/// Length of the value in bytes, up to the end of the text when it is broken off.
fn value_length(value: &str) -> usize {
    let bytes = value.as_bytes();
    match bytes.first() {
        Some(b'"' | b'\'') => 1 + string_length(&bytes[1..], bytes[0]),
        Some(b'\\') => escaped_string_length(value),
        Some(b'[' | b'{') => nested_length(bytes),
        _ => value
            .find([',', '}', ']', '\n', '"', '\''])
            .unwrap_or(value.len()),
    }
}

/// Up to and with the closing quote.
fn string_length(bytes: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += match byte {
            b'\\' => 2,
            _ if byte == quote => return at + 1,
            _ => 1,
        };
    }
    bytes.len()
}

/// A string inside a string opens and closes with a backslash and a quote.
fn escaped_string_length(value: &str) -> usize {
    let open = value.len() - value.trim_start_matches('\\').len();
    let body = (open + 1).min(value.len());
    match value.get(body..).and_then(|rest| rest.find(['"', '\''])) {
        Some(end) => body + end + 1,
        None => value.len(),
    }
}

fn nested_length(bytes: &[u8]) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at += string_length(&bytes[at..], b'"'),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(payload: &str) -> String {
        masked_payload(payload.as_bytes(), &["cc_num"])
    }

    #[test]
    fn the_value_of_a_card_key_is_masked_whatever_its_length_and_state() {
        for (payload, expected) in [
            (
                r#"{"cc_num":"12345678","a":1}"#,
                r#"{"cc_num":"****","a":1}"#,
            ),
            (
                r#"{"cc_num" : 12345678 , "a":1}"#,
                r#"{"cc_num" : "****", "a":1}"#,
            ),
            (
                r#"{"cc_num":12,"cc_num":"34"}"#,
                r#"{"cc_num":"****","cc_num":"****"}"#,
            ),
            (r#"{"cc_num":"4242 42"#, r#"{"cc_num":"****""#),
            (r#"{"cc_num":4242"#, r#"{"cc_num":"****""#),
            (
                r#"{"cc_num":["12345678",{"a":"]1"}],"b":2"#,
                r#"{"cc_num":"****","b":2"#,
            ),
            (r#"{"cc_num":{"n":12345678"#, r#"{"cc_num":"****""#),
            (
                r#"{"\u0063c_num":"1\u0032\"3","b":2}"#,
                r#"{"cc_num":"****","b":2}"#,
            ),
            (
                r#"{"p":"{\"cc_num\":\"1234\",\"b\":2}"}"#,
                r#"{"p":"{\"cc_num\":"****",\"b\":2}"}"#,
            ),
            (
                r#"{'cc_num': '12345678', 'b': 2}"#,
                r#"{'cc_num': "****", 'b': 2}"#,
            ),
            (r#"{"cc_num" 12345678}"#, r#"{"cc_num" "****"}"#),
            ("cc_num=12345678\nb=2", "cc_num=\"****\"\nb=2"),
        ] {
            assert_eq!(shown(payload), expected);
        }
    }

    #[test]
    fn what_says_nothing_of_a_card_stays_readable() {
        for payload in [
            r#"{"cc_num":null,"a":1}"#,
            r#"{"cc_num":"","a":1}"#,
            r#"{"cc_num"}"#,
            r#"{"acc_num":12345678,"cc_number":1}"#,
            r#"{"amt":12.5,"city":"Orléans"}"#,
        ] {
            assert_eq!(shown(payload), payload);
        }
    }

    #[test]
    fn an_escaped_digit_does_not_hide_a_card_number() {
        assert_eq!(
            shown(r#"{"note":"\u0034242424242424242"}"#),
            r#"{"note":"****"}"#
        );
        assert_eq!(
            shown(r#"{"note":"4242\u002D4242\u00204242\u002d4242"}"#),
            r#"{"note":"****"}"#
        );
    }

    #[test]
    fn a_number_at_the_cut_does_not_show_its_first_half() {
        let mut payload = "x".repeat(PAYLOAD_BYTES - 12);
        payload.push_str(" 4242424242424242 and more");
        let text = shown(&payload);
        assert!(
            text.len() < PAYLOAD_BYTES && text.ends_with('x'),
            "{}",
            &text[text.len() - 30..]
        );
        let mut payload = "x".repeat(PAYLOAD_BYTES - 14);
        payload.push_str(" 42424242\\u0034242424242 and more");
        assert!(shown(&payload).ends_with('x'));
    }

    #[test]
    fn the_text_is_cut_on_a_character_and_holds_no_nul() {
        let text = masked_payload(&"é".repeat(PAYLOAD_BYTES).into_bytes(), &[]);
        assert!(text.len() <= PAYLOAD_BYTES && text.len() > PAYLOAD_BYTES - 4);
        let text = masked_payload(&vec![0xff; PAYLOAD_BYTES + 1], &[]);
        assert!(text.len() <= PAYLOAD_BYTES);
        assert_eq!(masked_payload(b"a\0b", &[]), "a\u{fffd}b");
    }

    #[test]
    fn hostile_megabytes_cost_no_more_than_their_length() {
        for unit in ["1 ", "cc_num:[", "\\u0034", "\"cc_num\":\"", "[", "\\"] {
            let payload = unit.repeat(5_000_000 / unit.len());
            assert!(shown(&payload).len() <= PAYLOAD_BYTES);
        }
    }

    #[test]
    fn a_record_key_shows_a_token_where_accounts_are_card_numbers() {
        let tokens = TokenKey::new(&"k".repeat(32)).unwrap();
        let token = tokens.card("4242424242424242").to_string();
        assert_eq!(masked_key(&tokens, b"4242 4242 4242 4242", true), token);
        assert_eq!(masked_key(&tokens, b"C1234\0", false), "C1234\u{fffd}");
        assert_eq!(masked_key(&tokens, b"4242424242424242", false), MASK);
    }
}
