//! The `[[feature]]` tables: the graph's inputs, resolved against the schema.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::schema::{Kind, Schema};

/// One named input of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Feature {
    /// The graph input's name.
    pub name: String,
    /// What it is.
    pub kind: FeatureKind,
}

/// What a feature is computed from.
#[derive(Debug, Clone, PartialEq)]
pub enum FeatureKind {
    /// The event alone.
    Event(EventKind),
    /// The account's strictly earlier events.
    Account(AccountKind),
}

/// Features of the event itself; indices are of schema fields.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// The value: a number, an amount in major units, or a text category.
    Value(usize),
    /// Hour, 0 to 23, in the field's zone.
    HourOfDay(usize),
    /// Monday is 0.
    DayOfWeek(usize),
    /// Whole days from this birth date to the event time, divided by 365.25.
    Age(usize),
    /// Great-circle distance in kilometres between two points: latitude, longitude, twice.
    Distance([usize; 4]),
}

/// Features of the account's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountKind {
    /// Seconds since the account's latest strictly earlier event.
    TimeSinceLast,
    /// Events in the window.
    Count(Window),
    /// Sum of the amounts in the window, in major units.
    Sum(Window),
    /// Mean of the amounts in the window, in major units.
    Mean(Window),
    /// Largest amount in the window, in major units.
    Max(Window),
    /// This amount divided by the window's mean.
    Ratio(Window),
}

/// A window's length in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window(pub i64);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FeatureFile {
    name: String,
    event: Option<EventFile>,
    account: Option<AccountFile>,
    of: Option<String>,
    window: Option<String>,
    from: Option<[String; 2]>,
    to: Option<[String; 2]>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum EventFile {
    Value,
    HourOfDay,
    DayOfWeek,
    Age,
    Distance,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum AccountFile {
    TimeSinceLast,
    Count,
    Sum,
    Mean,
    Max,
    Ratio,
}

pub(super) fn resolve(files: Vec<FeatureFile>, schema: &Schema) -> Result<Vec<Feature>, String> {
    let mut names = BTreeSet::new();
    let mut features = Vec::with_capacity(files.len());
    for file in files {
        let kind = file
            .resolve(schema)
            .map_err(|problem| format!("[[feature]] {}: {problem}", file.name))?;
        if !names.insert(file.name.clone()) {
            return Err(format!("[[feature]] {}: declared twice", file.name));
        }
        features.push(Feature {
            name: file.name,
            kind,
        });
    }
    Ok(features)
}

pub(super) fn longest_window(features: &[Feature]) -> i64 {
    features
        .iter()
        .filter_map(|feature| match &feature.kind {
            FeatureKind::Account(kind) => kind.window(),
            FeatureKind::Event(_) => None,
        })
        .map(|window| window.0)
        .max()
        .unwrap_or(0)
}

impl AccountKind {
    /// The window it reads, if it reads one.
    pub fn window(self) -> Option<Window> {
        match self {
            Self::TimeSinceLast => None,
            Self::Count(w) | Self::Sum(w) | Self::Mean(w) | Self::Max(w) | Self::Ratio(w) => {
                Some(w)
            }
        }
    }
}

impl FeatureFile {
    fn resolve(&self, schema: &Schema) -> Result<FeatureKind, String> {
        match (self.event, self.account) {
            (Some(event), None) => self.event(event, schema).map(FeatureKind::Event),
            (None, Some(account)) => self.account(account, schema).map(FeatureKind::Account),
            _ => Err("expected either `event` or `account`".into()),
        }
    }

    fn event(&self, kind: EventFile, schema: &Schema) -> Result<EventKind, String> {
        if self.window.is_some() {
            return Err("`window` goes with `account`, not with `event`".into());
        }
        if let EventFile::Distance = kind {
            return self.distance(schema);
        }
        let name = self
            .of
            .as_deref()
            .ok_or("expected `of`: the field it is made of")?;
        let index = schema
            .index_of(name)
            .ok_or_else(|| format!("`of`: no field `{name}`"))?;
        let field = schema.field(index);
        let fits = match kind {
            EventFile::Value => {
                !matches!(field.kind, Kind::Label | Kind::Time { .. }) && !field.pan
            }
            _ => matches!(field.kind, Kind::Time { .. }),
        };
        if !fits {
            return Err(format!("`of`: the field `{name}` cannot be used here"));
        }
        Ok(match kind {
            EventFile::Value => EventKind::Value(index),
            EventFile::HourOfDay => EventKind::HourOfDay(index),
            EventFile::DayOfWeek => EventKind::DayOfWeek(index),
            EventFile::Age | EventFile::Distance => EventKind::Age(index),
        })
    }

    fn distance(&self, schema: &Schema) -> Result<EventKind, String> {
        let (Some(from), Some(to)) = (&self.from, &self.to) else {
            return Err("expected `from` and `to`: latitude and longitude each".into());
        };
        let number = |name: &String| {
            let index = schema
                .index_of(name)
                .ok_or_else(|| format!("no field `{name}`"))?;
            match schema.field(index).kind {
                Kind::Number { .. } => Ok(index),
                _ => Err(format!("the field `{name}` is not a number")),
            }
        };
        Ok(EventKind::Distance([
            number(&from[0])?,
            number(&from[1])?,
            number(&to[0])?,
            number(&to[1])?,
        ]))
    }

    fn account(&self, kind: AccountFile, schema: &Schema) -> Result<AccountKind, String> {
        if self.from.is_some() || self.to.is_some() {
            return Err("`from` and `to` go with event = \"distance\"".into());
        }
        self.check_of(kind, schema)?;
        let window = match (kind, self.window.as_deref()) {
            (AccountFile::TimeSinceLast, None) => return Ok(AccountKind::TimeSinceLast),
            (AccountFile::TimeSinceLast, Some(_)) => {
                return Err("`time_since_last` has no `window`".into());
            }
            (_, None) => return Err("expected a `window`, for instance \"24h\"".into()),
            (_, Some(text)) => parse_window(text)?,
        };
        Ok(match kind {
            AccountFile::TimeSinceLast => AccountKind::TimeSinceLast,
            AccountFile::Count => AccountKind::Count(window),
            AccountFile::Sum => AccountKind::Sum(window),
            AccountFile::Mean => AccountKind::Mean(window),
            AccountFile::Max => AccountKind::Max(window),
            AccountFile::Ratio => AccountKind::Ratio(window),
        })
    }

    /// Windows read the amount's role, which is stored exactly.
    fn check_of(&self, kind: AccountFile, schema: &Schema) -> Result<(), String> {
        let amount = &schema.field(schema.roles.amount).name;
        match (kind, &self.of) {
            (AccountFile::TimeSinceLast | AccountFile::Count, None) => Ok(()),
            (AccountFile::TimeSinceLast | AccountFile::Count, Some(_)) => {
                Err("counts and times have no `of`".into())
            }
            (_, Some(name)) if name == amount => Ok(()),
            (_, found) => Err(format!(
                "`of`: expected the amount `{amount}`, found {found:?}"
            )),
        }
    }
}

/// `90s`, `15m`, `24h` or `30d`: from one minute to ninety days.
fn parse_window(text: &str) -> Result<Window, String> {
    let wrong = || format!("`window`: expected 1m to 90d, for instance \"24h\", found {text:?}");
    let digits = text.len().saturating_sub(1);
    let (count, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let count: i64 = count.parse().map_err(|_| wrong())?;
    let seconds = count.checked_mul(seconds).ok_or_else(wrong)?;
    if (60..=90 * 86_400).contains(&seconds) {
        Ok(Window(seconds * 1_000_000))
    } else {
        Err(wrong())
    }
}
