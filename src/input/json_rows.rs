//! JSON lines: an object on each line, sent as it stands.

use std::borrow::Cow;
use std::fmt;
use std::io::{BufRead, Read};
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::{Place, Problem};
use super::json::write_text;
use super::{Change, Role};
use crate::bundle::Schema;

/// Longest line; the engine takes payloads up to 1 MiB.
const LINE_BYTES: u64 = 4 << 20;

/// Rows of a file of JSON lines.
pub(super) struct JsonRows {
    reader: Box<dyn BufRead>,
    bytes: Vec<u8>,
    /// The line without the white space around it.
    line: String,
    number: u64,
    keys: [String; 3],
    /// The roles' members in the line, in the order of [`Role`].
    members: [Member; 3],
    /// Keys that the first line must have, and the fields that require them; then empty.
    required: Vec<(String, String)>,
}

/// A member's value as it stands in the line.
#[derive(Debug, Default)]
struct Member {
    text: String,
    quoted: bool,
    range: Range<usize>,
}

impl JsonRows {
    pub(super) fn new(reader: Box<dyn BufRead>, schema: &Schema) -> Self {
        let roles = schema.roles;
        let required = schema.fields.iter().filter(|field| field.required);
        Self {
            reader,
            bytes: Vec::new(),
            line: String::new(),
            number: 0,
            keys: [roles.id, roles.time, roles.account].map(|role| schema.field(role).key.clone()),
            members: Default::default(),
            required: required
                .map(|field| (field.key.clone(), field.name.clone()))
                .collect(),
        }
    }

    /// Reads the next line that is not blank.
    pub(super) fn advance(&mut self) -> Result<bool, Problem> {
        loop {
            self.bytes.clear();
            let reader = self.reader.by_ref();
            reader.take(LINE_BYTES).read_until(b'\n', &mut self.bytes)?;
            if self.bytes.is_empty() {
                return Ok(false);
            }
            self.number += 1;
            if self.bytes.len() as u64 == LINE_BYTES && !self.bytes.ends_with(b"\n") {
                return Err(self.row(format!("expected a line of at most {LINE_BYTES} bytes")));
            }
            let text = std::str::from_utf8(&self.bytes)
                .map_err(|_| self.row("expected UTF-8, found other bytes".into()))?;
            let text = text.trim_matches([' ', '\t', '\r', '\n']);
            if !text.is_empty() {
                self.line.clear();
                self.line.push_str(text);
                self.find_members()?;
                return Ok(true);
            }
        }
    }

    pub(super) fn place(&self) -> Place {
        Place::Line(self.number)
    }

    pub(super) fn text(&self, role: Role) -> &str {
        &self.members[role as usize].text
    }

    /// Writes the line; only a changed time and id differ from what the file has.
    pub(super) fn write(&self, change: &Change<'_>, out: &mut Vec<u8>) {
        let (id, time) = (
            &self.members[Role::Id as usize],
            &self.members[Role::Time as usize],
        );
        let mut changed = Vec::new();
        if !change.suffix.is_empty() {
            changed.push((&id.range, vec![id.text.as_str(), change.suffix], true));
        }
        if change.time != time.text {
            changed.push((&time.range, vec![change.time], time.quoted));
        }
        changed.sort_by_key(|(range, ..)| range.start);
        let mut kept = 0;
        for (range, parts, quoted) in changed {
            out.extend_from_slice(&self.line.as_bytes()[kept..range.start]);
            if quoted {
                write_text(out, &parts);
            } else {
                parts
                    .iter()
                    .for_each(|part| out.extend_from_slice(part.as_bytes()));
            }
            kept = range.end;
        }
        out.extend_from_slice(&self.line.as_bytes()[kept..]);
    }

    /// Finds the roles' members; the first of a name counts, and the engine refuses a second one.
    fn find_members(&mut self) -> Result<(), Problem> {
        let object: Object<'_> = serde_json::from_str(&self.line).map_err(|error| {
            let found = match error.classify() {
                serde_json::error::Category::Eof => "a line that breaks off",
                serde_json::error::Category::Data => "another value",
                _ => "something that is no JSON",
            };
            let column = error.column();
            self.row(format!(
                "expected a JSON object, found {found} (at byte {column})"
            ))
        })?;
        let value = |key: &str| object.0.iter().find(|(name, _)| name == key);
        if let Some((key, field)) = self.required.iter().find(|(key, _)| value(key).is_none()) {
            let problem = format!(
                "the object has no such member, which the bundle's field `{field}` requires"
            );
            return Err(Problem::Cell(self.place(), key.clone(), problem));
        }
        let mut members: [Member; 3] = Default::default();
        for (member, key) in members.iter_mut().zip(&self.keys) {
            let Some((_, raw)) = value(key) else { continue };
            *member = Member::of(raw.get(), &self.line)
                .map_err(|problem| Problem::Cell(self.place(), key.clone(), problem))?;
        }
        self.members = members;
        self.required.clear();
        Ok(())
    }

    fn row(&self, problem: String) -> Problem {
        Problem::Row(self.place(), problem)
    }
}

impl Member {
    fn of(raw: &str, line: &str) -> Result<Self, String> {
        // The value borrows from the line, so that the distance is its place there.
        let start = raw.as_ptr().addr() - line.as_ptr().addr();
        let text = match raw.as_bytes().first() {
            Some(b'"') => {
                let text: Cow<'_, str> =
                    serde_json::from_str(raw).map_err(|_| "expected a text that UTF-8 can hold")?;
                text.into_owned()
            }
            Some(b'-' | b'0'..=b'9') => raw.to_owned(),
            Some(b'n') => String::new(),
            _ => return Err("expected a text or a number".into()),
        };
        Ok(Self {
            text,
            quoted: raw.starts_with('"'),
            range: start..start + raw.len(),
        })
    }
}

/// The members of an object, in its order, their values as they are written.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    members.push((key, map.next_value()?));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A key, borrowed unless it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}
