//! A strict scanner of JSON (RFC 8259): one pass, no recursion, nothing copied.
//!
//! It knows nothing of fields. Whoever drives it asks for the keys and values of the top-level
//! object; nested values are skipped, but every byte of them is checked.

use std::borrow::Cow;

use crate::engine::batch::Reason;

/// Deepest nesting accepted; one bit of a word each.
const DEEPEST: u32 = 64;

/// Why the text is not an acceptable JSON object, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// `not_json` or `too_deep`.
    pub reason: Reason,
    /// Byte at which it was noticed.
    pub at: usize,
    /// What should have stood there.
    pub expected: &'static str,
}

/// A string as it is written, without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written<'a> {
    text: &'a str,
    has_escapes: bool,
}

/// A value of the top-level object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string.
    Text(Written<'a>),
    /// A number, as it is written.
    Number(&'a str),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// An object or an array, skipped.
    Nested,
    /// `NaN`, `Infinity` or `-Infinity`, which JSON does not have.
    NotFinite,
}

impl<'a> Written<'a> {
    /// The string's text.
    pub fn text(self) -> Cow<'a, str> {
        if self.has_escapes {
            Cow::Owned(unescaped(self.text))
        } else {
            Cow::Borrowed(self.text)
        }
    }
}

/// Where in a text the scan stands.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    is_inside: bool,
}

impl<'a> Scanner<'a> {
    /// Starts before the object's opening brace.
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            is_inside: false,
        }
    }

    /// Enters the top-level object.
    pub fn open(&mut self) -> Result<(), Broken> {
        self.skip_space();
        self.expect(b'{', "an object")
    }

    /// The next key, `None` after the last one.
    ///
    /// Inlined, as all on the way of a plain value: a result handed over in memory costs more
    /// than the scan of a short text.
    #[inline(always)]
    pub fn key(&mut self) -> Result<Option<Written<'a>>, Broken> {
        self.skip_space();
        let first = !std::mem::replace(&mut self.is_inside, true);
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                return Ok(None);
            }
            Some(b',') if !first => {
                self.at += 1;
                self.skip_space();
            }
            _ if first => {}
            _ => return Err(self.broken("a comma or the end of the object")),
        }
        self.expect(b'"', "a key")?;
        let key = self.string()?;
        self.skip_space();
        self.expect(b':', "a colon")?;
        self.skip_space();
        Ok(Some(key))
    }

    /// Reads the value after a key; a nested one is skipped.
    #[inline(always)]
    pub fn value(&mut self) -> Result<Value<'a>, Broken> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                Ok(Value::Text(self.string()?))
            }
            Some(b'0'..=b'9') => self.number(),
            Some(b'-') if self.bytes.get(self.at + 1) == Some(&b'I') => {
                self.word("-Infinity", Value::NotFinite)
            }
            Some(b'-') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'N') => self.word("NaN", Value::NotFinite),
            Some(b'I') => self.word("Infinity", Value::NotFinite),
            Some(b'{' | b'[') => self.nested(),
            _ => Err(self.broken("a value")),
        }
    }

    /// Nothing but space may follow the object.
    pub fn close(&mut self) -> Result<(), Broken> {
        self.skip_space();
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(self.broken("nothing after the object"))
        }
    }

    /// That a value which JSON does not have stands here.
    pub fn refuse_value(&self) -> Broken {
        self.broken("a value")
    }

    #[cold]
    fn broken(&self, expected: &'static str) -> Broken {
        Broken {
            reason: Reason::NotJson,
            at: self.at,
            expected,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, name: &'static str) -> Result<(), Broken> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.broken(name))
        }
    }

    #[inline(never)]
    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, Broken> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.broken("a value"))
        }
    }

    /// The rest of a string whose opening quote has been read.
    #[inline(always)]
    fn string(&mut self) -> Result<Written<'a>, Broken> {
        let start = self.at;
        let length = plain_length(&self.bytes[start..]);
        if self.bytes.get(start + length) == Some(&b'"') {
            self.at = start + length + 1;
            let text = &self.text[start..start + length];
            let has_escapes = false;
            return Ok(Written { text, has_escapes });
        }
        self.string_with_escapes()
    }

    #[inline(never)]
    fn string_with_escapes(&mut self) -> Result<Written<'a>, Broken> {
        let start = self.at;
        let mut has_escapes = false;
        loop {
            self.at += plain_length(&self.bytes[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    let text = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(Written { text, has_escapes });
                }
                Some(b'\\') => {
                    has_escapes = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.broken("no control character in a string")),
                None => return Err(self.broken("the end of the string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Broken> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => match escaped_character(&self.bytes[self.at..]) {
                Some((_, length)) => {
                    self.at += length;
                    Ok(())
                }
                None => Err(self.broken("four hexadecimal digits of a character")),
            },
            _ => Err(self.broken("an escape")),
        }
    }

    #[inline(always)]
    fn number(&mut self) -> Result<Value<'a>, Broken> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Value::Number(&self.text[start..self.at]))
    }

    /// At least one digit.
    #[inline(always)]
    fn digits(&mut self) -> Result<(), Broken> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at > start {
            Ok(())
        } else {
            Err(self.broken("a digit"))
        }
    }

    /// Skips an object or an array; the open ones are bits of a word, 1 for an object.
    #[inline(never)]
    fn nested(&mut self) -> Result<Value<'a>, Broken> {
        let mut objects = 0u64;
        // The top-level object is open.
        let mut depth = 1;
        loop {
            // Here a value is due.
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    if depth == DEEPEST {
                        return Err(Broken {
                            reason: Reason::TooDeep,
                            at: self.at,
                            expected: "no more than 64 nested values",
                        });
                    }
                    depth += 1;
                    objects = objects << 1 | u64::from(open == b'{');
                    self.at += 1;
                    if self.enters(open)? {
                        continue;
                    }
                }
                _ => self.finite_value()?,
            }
            // Here a value has ended: close what ends with it, or go on behind a comma.
            loop {
                self.skip_space();
                let is_object = objects & 1 == 1;
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.skip_space();
                        if is_object {
                            self.nested_key()?;
                        }
                        break;
                    }
                    Some(b'}') if is_object => {}
                    Some(b']') if !is_object => {}
                    _ => return Err(self.broken("a comma or a closing bracket")),
                }
                self.at += 1;
                depth -= 1;
                objects >>= 1;
                if depth == 1 {
                    return Ok(Value::Nested);
                }
            }
        }
    }

    fn finite_value(&mut self) -> Result<(), Broken> {
        match self.value()? {
            Value::NotFinite => Err(self.broken("a value")),
            _ => Ok(()),
        }
    }

    /// Whether a value is due after an opening bracket, or it closes at once.
    fn enters(&mut self, open: u8) -> Result<bool, Broken> {
        self.skip_space();
        match (open, self.peek()) {
            (b'{', Some(b'}')) | (b'[', Some(b']')) => Ok(false),
            (b'{', _) => self.nested_key().map(|()| true),
            _ => Ok(true),
        }
    }

    fn nested_key(&mut self) -> Result<(), Broken> {
        self.expect(b'"', "a key")?;
        self.string()?;
        self.skip_space();
        self.expect(b':', "a colon")?;
        self.skip_space();
        Ok(())
    }
}

/// How many bytes come before a quote, a backslash or a control character; eight at a time.
#[inline(always)]
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES * 0x80;
    let mut length = 0;
    while let Some(chunk) = bytes.get(length..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let zero = |x: u64| x.wrapping_sub(ONES) & !x;
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        // A borrow may mark a byte too much, but only behind the first that is marked rightly.
        let marked = (control | quote | backslash) & HIGHS;
        if marked != 0 {
            return length + (marked.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    let plain = |byte: &&u8| !matches!(byte, b'"' | b'\\' | 0..=0x1f);
    length + bytes[length..].iter().take_while(plain).count()
}

/// The character of `\uXXXX`, or of a pair of surrogates, and its length as it is written.
fn escaped_character(bytes: &[u8]) -> Option<(char, usize)> {
    let first = unit(bytes)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, 6));
    }
    let second = unit(&bytes[6..])?;
    let both = first < 0xdc00 && (0xdc00..0xe000).contains(&second);
    let code = 0x1_0000 + ((first & 0x3ff) << 10 | (second & 0x3ff));
    both.then(|| char::from_u32(code))
        .flatten()
        .map(|character| (character, 12))
}

/// The number in `\uXXXX`.
fn unit(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.get(..6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |code, &byte| {
        Some(code << 4 | char::from(byte).to_digit(16)?)
    })
}

/// The text of a string whose escapes the scanner has found valid.
fn unescaped(written: &str) -> String {
    let mut text = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let (character, length) = match rest.as_bytes().get(at + 1) {
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'n') => ('\n', 2),
            Some(b'r') => ('\r', 2),
            Some(b't') => ('\t', 2),
            Some(b'u') => escaped_character(&rest.as_bytes()[at..]).unwrap_or(('\u{fffd}', 6)),
            other => (char::from(other.copied().unwrap_or(b'\\')), 2),
        };
        text.push(character);
        rest = rest.get(at + length..).unwrap_or_default();
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a whole object: its keys and values.
    fn read(text: &str) -> Result<Vec<(String, Value<'_>)>, Broken> {
        let mut scanner = Scanner::new(text);
        let mut found = Vec::new();
        scanner.open()?;
        while let Some(key) = scanner.key()? {
            let value = scanner.value()?;
            if value == Value::NotFinite {
                return Err(scanner.refuse_value());
            }
            found.push((key.text().into_owned(), value));
        }
        scanner.close()?;
        Ok(found)
    }

    #[test]
    fn strings_are_unescaped_to_what_serde_json_reads() {
        for written in [
            r"",
            r"plain text of some length, é and 日本",
            r#"\"\\\/\b\f\n\r\t"#,
            r"a\u00e9b\u0000\ud83d\ude00z",
        ] {
            let text = format!("{{\"k\":\"{written}\"}}");
            let fields = read(&text).unwrap();
            let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
            let Value::Text(found) = fields[0].1 else {
                panic!("not a text")
            };
            assert_eq!(found.text(), expected["k"].as_str().unwrap());
        }
    }

    #[test]
    fn what_is_not_json_is_refused_where_it_stops_being() {
        for text in [
            "",
            " ",
            "[]",
            "1",
            "\"a\"",
            "{",
            "{}x",
            "{} {}",
            "{,}",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{\"a\":}",
            "{\"a\":012}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":+1}",
            "{\"a\":1e}",
            "{\"a\":-}",
            "{\"a\":tru}",
            "{\"a\":[1,]}",
            "{\"a\":[1}",
            "{\"a\":{\"b\"}}",
            "{'a':1}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00\\ud800\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"b",
            "{\"a\":[[NaN]]}",
            "{\"a\":nan}",
            "\u{feff}{}",
            "{\"a\":1\"b\":2}",
            "{\"a\":[1 2]}",
            "{\"\\ud800\":1}",
        ] {
            assert_eq!(
                read(text).map_err(|b| b.reason),
                Err(Reason::NotJson),
                "{text}"
            );
        }
    }

    #[test]
    fn nesting_is_counted_and_ten_thousand_levels_do_not_recurse() {
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(read(&nested(63)).is_ok());
        assert_eq!(read(&nested(64)).unwrap_err().reason, Reason::TooDeep);
        assert_eq!(read(&nested(10_000)).unwrap_err().reason, Reason::TooDeep);
        let objects = format!("{}1{}", "{\"a\":".repeat(64), "}".repeat(64));
        assert!(read(&objects).is_ok());
        assert_eq!(
            read(&format!("{{\"a\":{objects}}}")).unwrap_err().reason,
            Reason::TooDeep
        );
    }

    #[test]
    fn eight_bytes_at_a_time_find_the_same_end_as_one() {
        for byte in 0..=255u8 {
            for at in 0..20 {
                let mut bytes = [b'a', 0x80, 0xff, b'!', b'#'].repeat(5);
                bytes[at] = byte;
                let plain = |b: &u8| !matches!(b, b'"' | b'\\' | 0..=0x1f);
                let expected = bytes.iter().take_while(|b| plain(b)).count();
                assert_eq!(plain_length(&bytes), expected, "{byte} at {at}");
            }
        }
    }

    /// What serde_json says; `None` where it refuses a number only for its size.
    fn oracle(text: &str) -> Option<bool> {
        match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
            Ok(_) => Some(true),
            Err(error) if error.to_string().contains("out of range") => None,
            Err(_) => Some(false),
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
            "[ -~\\n\\\\\"]{0,20}".prop_map(Into::into),
        ];
        leaf.prop_recursive(6, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::hash_map("[a-c\\\\\"]{0,3}", inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn it_agrees_with_serde_json_on_what_is_valid(
            value in any_json(),
            pretty in any::<bool>(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), "[{}\\[\\],:\"\\\\u0-9eE+.ntf -]?"), 0..3),
        ) {
            let value = serde_json::json!({ "k": value, "l": 1 });
            let mut text = if pretty { format!("{value:#}") } else { value.to_string() };
            for (index, with) in edits {
                let at = text.floor_char_boundary(index.index(text.len()));
                let length = text[at..].chars().next().map_or(0, char::len_utf8);
                text.replace_range(at..at + length, &with);
            }
            if let Some(valid) = oracle(&text) {
                prop_assert_eq!(read(&text).is_ok(), valid, "{}", text);
            }
        }

        #[test]
        fn it_agrees_with_serde_json_on_soups(text in "[{}\\[\\],:\"\\\\uabd0-9eE+.ntrfls -]{0,24}") {
            let text = format!("{{\"a\":{text}");
            if let Some(valid) = oracle(&text) {
                prop_assert_eq!(read(&text).is_ok(), valid, "{}", text);
            }
        }
    }
}
