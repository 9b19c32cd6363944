//! One cell of a file as a member of a JSON object.

use crate::bundle::{Field, Kind, TimeFormat};

/// How a column of the file is written.
pub(super) struct JsonColumn {
    key: String,
    /// The key, quoted and escaped, and its colon.
    prefix: Vec<u8>,
    numbers: bool,
}

impl JsonColumn {
    /// A column of that name; `field` is its declaration, where the bundle has one.
    pub(super) fn new(key: &str, field: Option<&Field>) -> Self {
        let mut prefix = Vec::new();
        write_text(&mut prefix, &[key]);
        prefix.push(b':');
        // Texts stay texts, so that an id of digits or a card number keeps its form.
        let numbers = match field.map(|field| &field.kind) {
            Some(Kind::Text { .. }) => false,
            Some(Kind::Time { format, .. }) => matches!(
                format,
                TimeFormat::UnixSeconds | TimeFormat::UnixMilliseconds
            ),
            Some(
                Kind::Number { .. } | Kind::Integer { .. } | Kind::Amount { .. } | Kind::Label,
            )
            | None => true,
        };
        Self {
            key: key.to_owned(),
            prefix,
            numbers,
        }
    }

    /// The column's name in the header.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Opens the object or goes on in it, and writes the key.
    pub(super) fn begin(&self, out: &mut Vec<u8>, first: bool) {
        out.push(if first { b'{' } else { b',' });
        out.extend_from_slice(&self.prefix);
    }

    /// Writes the value: a number exactly as the file has it, a text, or null for nothing.
    pub(super) fn value(&self, out: &mut Vec<u8>, cell: &str) {
        if cell.is_empty() {
            out.extend_from_slice(b"null");
        } else if self.numbers && is_number(cell.as_bytes()) {
            out.extend_from_slice(cell.as_bytes());
        } else {
            write_text(out, &[cell]);
        }
    }

    /// Writes a text of two parts.
    pub(super) fn joined(&self, out: &mut Vec<u8>, cell: &str, suffix: &str) {
        write_text(out, &[cell, suffix]);
    }
}

/// Whether the text is a number by JSON's grammar (RFC 8259).
fn is_number(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, rest) = digits(unsigned);
    if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
        return false;
    }
    let rest = match rest.strip_prefix(b".") {
        None => rest,
        Some(fraction) => match digits(fraction) {
            ([], _) => return false,
            (_, rest) => rest,
        },
    };
    match rest {
        [] => true,
        [b'e' | b'E', exponent @ ..] => {
            let unsigned = match exponent {
                [b'+' | b'-', unsigned @ ..] => unsigned,
                unsigned => unsigned,
            };
            matches!(digits(unsigned), ([_, ..], []))
        }
        _ => false,
    }
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split_at(count)
}

/// Writes the parts as one JSON string.
pub(super) fn write_text(out: &mut Vec<u8>, parts: &[&str]) {
    out.push(b'"');
    for part in parts {
        let mut kept = 0;
        for (index, &byte) in part.as_bytes().iter().enumerate() {
            if byte >= 0x20 && byte != b'"' && byte != b'\\' {
                continue;
            }
            out.extend_from_slice(&part.as_bytes()[kept..index]);
            kept = index + 1;
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                _ => {
                    const HEX: &[u8; 16] = b"0123456789abcdef";
                    out.extend_from_slice(b"\\u00");
                    out.push(HEX[usize::from(byte >> 4)]);
                    out.push(HEX[usize::from(byte & 15)]);
                }
            }
        }
        out.extend_from_slice(&part.as_bytes()[kept..]);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_back_equal() {
        let every: String = (0..0x250).filter_map(char::from_u32).collect();
        for text in [
            "",
            "plain",
            "a \"quote\" and a \\",
            "é𝄞\u{2028}\u{7f}",
            &every,
        ] {
            let mut out = Vec::new();
            write_text(&mut out, &[text, "-2"]);
            let read: String = serde_json::from_slice(&out).unwrap();
            assert_eq!(read, format!("{text}-2"));
        }
    }

    #[test]
    fn a_number_is_what_a_json_parser_calls_one() {
        let texts = [
            "0",
            "-0",
            "12",
            "-12.50",
            "1e5",
            "1.0E7",
            "1E+2",
            "2e-3",
            "0.5",
            "01",
            "-",
            "",
            "+1",
            ".5",
            "5.",
            "1e",
            "1e+",
            "NaN",
            "Infinity",
            "1 ",
            " 1",
            "0x1",
            "1.2.3",
            "--1",
            "1e5.0",
            "6763691103710000001",
            "02139",
        ];
        for text in texts {
            let parsed: Result<serde_json::Number, _> = serde_json::from_str(text);
            // The parser also takes white space around a number.
            let expected = parsed.is_ok() && text.trim() == text;
            assert_eq!(is_number(text.as_bytes()), expected, "{text:?}");
        }
    }
}
