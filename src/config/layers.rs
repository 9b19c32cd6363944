//! The layers of settings as they are written: what a key may be called, and how text becomes a
//! value.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use figment::Figment;
use figment::error::Kind;
use figment::providers::Env;
use figment::value::{Dict, Value};
use jiff::civil::Time;
use serde::Deserialize;

use super::{ConfigError, PREFIX, Secret};

/// The file's text, once it is known to be TOML.
pub(super) fn read_toml(path: &Path) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_path_buf(),
        source,
    })?;
    match toml::from_str::<toml::Table>(&text) {
        Ok(_) => Ok(text),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let before = &text.as_bytes()[..at];
            Err(ConfigError::Malformed {
                path: path.to_path_buf(),
                line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
                problem: error.message().replace('\n', ", "),
            })
        }
    }
}

/// The error in words: which setting, where it is set, what was expected.
pub(super) fn invalid(error: &figment::Error, file: Option<&Path>) -> ConfigError {
    let setting = error.path.join(".").to_lowercase();
    let from_file = |path: &Path| {
        let name = error.metadata.as_ref().map(|metadata| &metadata.name);
        name.is_some_and(|name| name.contains("TOML"))
            .then(|| path.display().to_string())
    };
    ConfigError::Invalid {
        place: file
            .and_then(from_file)
            .unwrap_or_else(|| format!("the variable {}", variable_of(&setting))),
        problem: match &error.kind {
            Kind::InvalidType(_, expected) => {
                format!("expected {expected}, found another kind of value")
            }
            other => other.to_string(),
        },
        setting,
    }
}

/// Takes the values of variables as text, whatever they look like: a password of digits
/// stays a password. Numbers are parsed where a number is wanted.
pub(super) struct TextVariables(pub(super) Env);

impl figment::Provider for TextVariables {
    fn metadata(&self) -> figment::Metadata {
        self.0.metadata()
    }

    fn data(&self) -> Result<figment::value::Map<figment::Profile, Dict>, figment::Error> {
        let mut sections = Dict::new();
        for (key, text) in self.0.iter() {
            let Some((section, key)) = key.as_str().split_once('.') else {
                continue;
            };
            let entry = sections
                .entry(section.to_owned())
                .or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, dict) = entry {
                dict.insert(key.to_owned(), Value::from(text));
            }
        }
        Ok(figment::Profile::Default.collect(sections))
    }
}

/// `section.key` of every key in the layer.
pub(super) fn keys_of(layer: &Figment) -> Result<BTreeSet<String>, ConfigError> {
    let sections: Dict = layer.extract().map_err(|error| invalid(&error, None))?;
    let mut keys = BTreeSet::new();
    for (section, value) in &sections {
        match value {
            Value::Dict(_, entries) => {
                keys.extend(entries.keys().map(|key| format!("{section}.{key}")));
            }
            _ => {
                keys.insert(section.clone());
            }
        }
    }
    Ok(keys)
}

pub(super) fn refuse_unknown(
    found: &BTreeSet<String>,
    known: &BTreeSet<String>,
    place: impl Fn(&str) -> String,
) -> Result<(), ConfigError> {
    match found.iter().find(|key| !known.contains(*key)) {
        None => Ok(()),
        Some(key) => Err(ConfigError::Unknown {
            place: place(key),
            hint: nearest(key, known),
            key: key.clone(),
        }),
    }
}

pub(super) fn nearest(key: &str, known: &BTreeSet<String>) -> String {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(key, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= key.len() / 2)
        .map(|(_, candidate)| format!("; did you mean `{candidate}`?"))
        .unwrap_or_default()
}

/// `VIGIE_DATABASE_HOST` for `VIGIE_DATABASE__HOST` would silently do nothing.
pub(super) fn refuse_misspelt_variables(known: &BTreeSet<String>) -> Result<(), ConfigError> {
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        let meant = known
            .iter()
            .find(|key| variable_of(key).replace("__", "_") == name && variable_of(key) != name);
        if let Some(key) = meant {
            return Err(ConfigError::Unknown {
                key: name.to_owned(),
                place: "the environment".into(),
                hint: format!("; did you mean {}?", variable_of(key)),
            });
        }
    }
    Ok(())
}

/// The variable that sets `section.key`.
pub fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

pub(super) fn read_secret(
    setting: &'static str,
    path: &Path,
    secret: &mut Secret,
) -> Result<(), ConfigError> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Secret {
        setting,
        path: path.to_path_buf(),
        source,
    })?;
    *secret = Secret(text.trim_end_matches(['\r', '\n']).to_owned());
    Ok(())
}

/// A duration in words, for instance `20ms`, `10s` or `7days`.
pub(super) fn duration<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|_| {
        serde::de::Error::custom(format!(
            "expected a duration such as 20ms or 7days, found {text:?}"
        ))
    })
}

/// A number, or the text of one: variables are always text.
pub(super) fn number<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr + TryFrom<i128>,
{
    let wrong = |found: &dyn fmt::Display| {
        serde::de::Error::custom(format!("expected a whole number in range, found {found}"))
    };
    match <Value as Deserialize>::deserialize(deserializer)? {
        Value::Num(_, num) => {
            let whole = num
                .to_i128()
                .or_else(|| num.to_u128().and_then(|n| i128::try_from(n).ok()));
            whole
                .and_then(|n| T::try_from(n).ok())
                .ok_or_else(|| wrong(&"another number"))
        }
        Value::String(_, text) => text.trim().parse().map_err(|_| wrong(&format!("{text:?}"))),
        _ => Err(wrong(&"another kind of value")),
    }
}

/// A number that may have a fraction, or the text of one; never an infinity or NaN.
pub(super) fn fraction<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let found = match <Value as Deserialize>::deserialize(deserializer)? {
        Value::Num(_, num) => num.to_f64().or_else(|| num.to_i128().map(|n| n as f64)),
        Value::String(_, text) => text.trim().parse().ok(),
        _ => None,
    };
    found
        .filter(|number: &f64| number.is_finite())
        .ok_or_else(|| serde::de::Error::custom("expected a number such as 0.25"))
}

/// A time of the day such as `07:00`; empty is none.
pub(super) fn clock<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Time>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let time = text.trim().parse().map(Some);
    time.map_err(|_| serde::de::Error::custom("expected a time of the day such as 07:00"))
}
