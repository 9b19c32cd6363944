//! The user's event, field by field, and the roles that the engine must know about it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use serde::Deserialize;

/// Longest text that a field holds unless it says otherwise, in bytes.
const TEXT_BYTES: usize = 256;

/// The declared fields, sorted by name, and the roles among them.
#[derive(Debug, Clone)]
pub struct Schema {
    /// Fields in the order of their names; columns of a batch have the same order.
    pub fields: Vec<Field>,
    /// Which fields play which role, as indices into `fields`.
    pub roles: Roles,
}

/// One declared field of the event.
#[derive(Debug, Clone)]
pub struct Field {
    /// Name within Vigie.
    pub name: String,
    /// Key under which the event carries it.
    pub key: String,
    /// How its text is read.
    pub kind: Kind,
    /// An event without it is a dead letter.
    pub required: bool,
    /// It holds a card number: only its token leaves the decoder.
    pub pan: bool,
    /// Its digits are known to be no card number, so they are never masked.
    pub not_pan: bool,
}

/// How a field's text is read; one parser per kind, for JSON and CSV alike.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Text of at most `max_bytes` bytes, without NUL.
    Text {
        /// Longest accepted value, in bytes.
        max_bytes: usize,
    },
    /// A double; missing is NaN.
    Number {
        /// Smallest accepted value.
        min: f64,
        /// Largest accepted value.
        max: f64,
    },
    /// A whole number of 64 bits.
    Integer {
        /// Smallest accepted value.
        min: i64,
        /// Largest accepted value.
        max: i64,
    },
    /// An exact decimal amount, kept in minor units.
    Amount {
        /// Decimals of the currency; more in the text are out of range.
        scale: u32,
        /// Smallest accepted value, in minor units.
        min: i64,
        /// Largest accepted value, in minor units.
        max: i64,
    },
    /// A moment, kept as microseconds since 1970 in UTC.
    Time {
        /// How it is written.
        format: TimeFormat,
        /// Zone of a text without an offset, and of hour and weekday.
        zone: TimeZone,
    },
    /// The late truth: never a feature, stored apart.
    Label,
}

/// How a moment is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// A pattern of `%Y %m %d %H %M %S %f` and literal characters.
    Pattern(String),
    /// RFC 3339 with its offset.
    Rfc3339,
    /// Whole seconds since 1970.
    UnixSeconds,
    /// Whole milliseconds since 1970.
    UnixMilliseconds,
}

/// Indices of the fields that the engine must know.
#[derive(Debug, Clone, Copy)]
pub struct Roles {
    /// The transaction's id (text).
    pub id: usize,
    /// The event time.
    pub time: usize,
    /// The account (text).
    pub account: usize,
    /// The amount.
    pub amount: usize,
    /// Where the money goes.
    pub merchant: Option<usize>,
    /// Kind of purchase.
    pub category: Option<usize>,
    /// Country or state.
    pub country: Option<usize>,
    /// Currency code.
    pub currency: Option<usize>,
    /// The label.
    pub label: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SchemaFile {
    fields: BTreeMap<String, FieldFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldFile {
    kind: KindFile,
    from: Option<String>,
    #[serde(default)]
    required: bool,
    sensitive: Option<SensitiveFile>,
    #[serde(default)]
    not_pan: bool,
    max_bytes: Option<usize>,
    min: Option<f64>,
    max: Option<f64>,
    scale: Option<u32>,
    format: Option<String>,
    zone: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
enum KindFile {
    Text,
    Number,
    Integer,
    Amount,
    Time,
    Label,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum SensitiveFile {
    Pan,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RolesFile {
    id: String,
    time: String,
    account: String,
    amount: String,
    merchant: Option<String>,
    category: Option<String>,
    country: Option<String>,
    currency: Option<String>,
}

impl Schema {
    pub(super) fn from_file(file: SchemaFile, roles: RolesFile) -> Result<Self, String> {
        let fields = file
            .fields
            .into_iter()
            .map(|(name, field)| field.resolve(name))
            .collect::<Result<Vec<_>, _>>()?;
        let mut keys = BTreeSet::new();
        for field in &fields {
            if !keys.insert(&field.key) {
                return Err(format!("two fields are read from the key `{}`", field.key));
            }
        }
        let roles = roles.resolve(&fields)?;
        Ok(Self { fields, roles })
    }

    /// The field at `index`, an index that a role or a feature of this bundle holds.
    pub fn field(&self, index: usize) -> &Field {
        &self.fields[index]
    }

    /// Index of the field of that name.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.fields
            .binary_search_by(|field| field.name.as_str().cmp(name))
            .ok()
    }

    /// Decimals of the amount: minor units in a major one are ten to this power.
    pub fn amount_scale(&self) -> u32 {
        match self.fields[self.roles.amount].kind {
            Kind::Amount { scale, .. } => scale,
            _ => unreachable!("the amount's role is held by an amount: checked when it was read"),
        }
    }
}

impl FieldFile {
    fn resolve(self, name: String) -> Result<Field, String> {
        let kind = self
            .kind()
            .map_err(|problem| format!("[schema.fields] {name}: {problem}"))?;
        let pan = matches!(self.sensitive, Some(SensitiveFile::Pan));
        if pan && !matches!(kind, Kind::Text { .. }) {
            return Err(format!(
                "[schema.fields] {name}: a card number is kind = \"text\", found {:?}",
                self.kind
            ));
        }
        Ok(Field {
            key: self.from.unwrap_or_else(|| name.clone()),
            name,
            kind,
            required: self.required,
            pan,
            not_pan: self.not_pan,
        })
    }

    fn kind(&self) -> Result<Kind, String> {
        self.refuse_strangers()?;
        Ok(match self.kind {
            KindFile::Text => Kind::Text {
                max_bytes: self.max_bytes.unwrap_or(TEXT_BYTES),
            },
            KindFile::Number => Kind::Number {
                min: self.min.unwrap_or(f64::MIN),
                max: self.max.unwrap_or(f64::MAX),
            },
            KindFile::Integer => Kind::Integer {
                min: self.min.map_or(i64::MIN, |v| v as i64),
                max: self.max.map_or(i64::MAX, |v| v as i64),
            },
            KindFile::Amount => self.amount()?,
            KindFile::Time => self.time()?,
            KindFile::Label => Kind::Label,
        })
    }

    /// Settings that the kind does not have are refused, so that none is silently without effect.
    fn refuse_strangers(&self) -> Result<(), String> {
        let kind = self.kind;
        let ranged = matches!(
            kind,
            KindFile::Number | KindFile::Integer | KindFile::Amount
        );
        let strangers = [
            (
                "max_bytes",
                self.max_bytes.is_some() && kind != KindFile::Text,
            ),
            ("min", self.min.is_some() && !ranged),
            ("max", self.max.is_some() && !ranged),
            ("scale", self.scale.is_some() && kind != KindFile::Amount),
            ("format", self.format.is_some() && kind != KindFile::Time),
            ("zone", self.zone.is_some() && kind != KindFile::Time),
        ];
        match strangers.iter().find(|(_, strange)| *strange) {
            Some((setting, _)) => Err(format!("`{setting}` does not go with kind {kind:?}")),
            None => Ok(()),
        }
    }

    fn amount(&self) -> Result<Kind, String> {
        // Windows add amounts of at most 10^13 units (the feature contract).
        const LARGEST: i64 = 10_000_000_000_000;
        let scale = self.scale.ok_or("an amount needs its `scale` (decimals)")?;
        if scale > 6 {
            return Err(format!("`scale`: expected 0 to 6, found {scale}"));
        }
        let units = 10f64.powi(scale as i32);
        let minor = |bound: Option<f64>, default: i64| {
            bound.map_or(default, |v| {
                ((v * units).round() as i64).clamp(-LARGEST, LARGEST)
            })
        };
        Ok(Kind::Amount {
            scale,
            min: minor(self.min, -LARGEST),
            max: minor(self.max, LARGEST),
        })
    }

    fn time(&self) -> Result<Kind, String> {
        let format = match self.format.as_deref() {
            None => return Err("a time needs its `format`".into()),
            Some("rfc3339") => TimeFormat::Rfc3339,
            Some("unix_seconds") => TimeFormat::UnixSeconds,
            Some("unix_milliseconds") => TimeFormat::UnixMilliseconds,
            Some(pattern) if pattern.contains('%') => {
                check_pattern(pattern)?;
                TimeFormat::Pattern(pattern.into())
            }
            Some(other) => {
                return Err(format!(
                    "`format`: expected a pattern such as %Y-%m-%d, rfc3339, unix_seconds or \
                     unix_milliseconds, found {other}"
                ));
            }
        };
        let zone = self.zone.as_deref().unwrap_or("UTC");
        let zone = TimeZone::get(zone).map_err(|_| format!("`zone`: no time zone {zone}"))?;
        Ok(Kind::Time { format, zone })
    }
}

/// A pattern says the day whole, each part once, and nothing that the decoder cannot read.
fn check_pattern(pattern: &str) -> Result<(), String> {
    let parts: Vec<Option<char>> = pattern
        .split('%')
        .skip(1)
        .map(|part| part.chars().next())
        .collect();
    let count = |part: char| parts.iter().filter(|found| **found == Some(part)).count();
    let known = |part: &Option<char>| part.is_some_and(|part| "YmdHMSf".contains(part));
    let day_is_whole = "Ymd".chars().all(|part| count(part) == 1);
    if parts.iter().all(known) && day_is_whole && "HMSf".chars().all(|part| count(part) <= 1) {
        return Ok(());
    }
    Err(format!(
        "`format`: expected %Y, %m and %d once each, %H %M %S %f at most once and no other, \
         found {pattern:?}"
    ))
}

impl RolesFile {
    fn resolve(self, fields: &[Field]) -> Result<Roles, String> {
        let find = |role: &str, name: &str, fits: fn(&Kind) -> bool| {
            let index = fields
                .iter()
                .position(|field| field.name == name)
                .ok_or_else(|| format!("[roles] {role}: no field `{name}`"))?;
            if fits(&fields[index].kind) {
                Ok(index)
            } else {
                Err(format!(
                    "[roles] {role}: the field `{name}` has another kind"
                ))
            }
        };
        let text: fn(&Kind) -> bool = |kind| matches!(kind, Kind::Text { .. });
        let optional = |role: &str, name: &Option<String>| {
            name.as_deref()
                .map(|name| find(role, name, text))
                .transpose()
        };
        let roles = Roles {
            id: find("id", &self.id, text)?,
            time: find("time", &self.time, |kind| matches!(kind, Kind::Time { .. }))?,
            account: find("account", &self.account, text)?,
            amount: find("amount", &self.amount, |kind| {
                matches!(kind, Kind::Amount { .. })
            })?,
            merchant: optional("merchant", &self.merchant)?,
            category: optional("category", &self.category)?,
            country: optional("country", &self.country)?,
            currency: optional("currency", &self.currency)?,
            label: fields
                .iter()
                .position(|field| matches!(field.kind, Kind::Label)),
        };
        for index in [roles.id, roles.time, roles.account, roles.amount] {
            if !fields[index].required {
                return Err(format!(
                    "[roles]: the field `{}` must be `required = true`",
                    fields[index].name
                ));
            }
        }
        Ok(roles)
    }
}
