//! What a canary looks like: the bundle's likeliest fraud, as a payment of our own account.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::value::RawValue;

use crate::bundle::{Bundle, Field, Kind, TimeFormat};
use crate::config::{Config, ConfigError};
use crate::engine::batch::{Micros, Records};
use crate::engine::decode::{Decoder, Rules, decode};
use crate::engine::token::TokenKey;
use crate::engine::{golden, mask};

/// A day, in case a format says no more of an event time.
const DAY: Micros = 86_400_000_000;

/// A canary without its id and its time.
#[derive(Debug, Clone)]
pub struct CanaryEvent {
    account: String,
    /// Keys and their values, both as JSON.
    fields: Vec<(String, String)>,
    id_key: String,
    time_key: String,
    format: TimeFormat,
    zone: TimeZone,
    /// The earliest event time that is surely accepted.
    first: Micros,
}

impl CanaryEvent {
    /// Makes it of the bundle's golden rows; `None` when `canary.every` is zero.
    ///
    /// # Errors
    /// When the bundle cannot be read, or the stream would make a dead letter of such an event.
    pub fn of(config: &Config) -> Result<Option<Self>, ConfigError> {
        if config.canary.every.is_zero() {
            return Ok(None);
        }
        let account = &config.canary.account;
        if account.is_empty() {
            return Err(wrong("canary.account", "expected a name".into()));
        }
        let unusable = |problem: String| wrong("stream.bundle", problem);
        let bundle =
            Bundle::read(&config.stream.bundle).map_err(|error| unusable(error.to_string()))?;
        let golden = golden::riskiest(&bundle).map_err(|error| unusable(error.to_string()))?;
        let golden: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(golden.get()).map_err(|error| unusable(error.to_string()))?;
        let rules = Rules::new(&config.events, config.stream.key_check)?;
        let event = Self::made(&bundle, account, rules.first_day + DAY, &golden);
        event.refuse_unless_it_decodes(config, &bundle, rules)?;
        Ok(Some(event))
    }

    fn made(
        bundle: &Bundle,
        account: &str,
        first: Micros,
        golden: &BTreeMap<String, Box<RawValue>>,
    ) -> Self {
        let schema = &bundle.schema;
        let (roles, time) = (schema.roles, schema.field(schema.roles.time));
        let (format, zone) = match &time.kind {
            Kind::Time { format, zone } => (format.clone(), zone.clone()),
            _ => unreachable!("the time's role is held by a time: checked when it was read"),
        };
        let mut fields = Vec::new();
        for (index, field) in schema.fields.iter().enumerate() {
            let found = golden.get(&field.key).map(|value| value.get());
            let value = match &field.kind {
                _ if index == roles.id || index == roles.time => None,
                Kind::Label => None,
                // No card number but the canary's own name, which is none.
                _ if index == roles.account || (field.pan && field.required) => {
                    Some(quoted(account))
                }
                _ if field.pan => None,
                Kind::Text { .. } => found.map(|value| without_card_numbers(field, value)),
                _ => found.map(str::to_owned),
            };
            if let Some(value) = value {
                fields.push((quoted(&field.key), value));
            }
        }
        Self {
            account: account.to_owned(),
            fields,
            id_key: quoted(&schema.field(roles.id).key),
            time_key: quoted(&time.key),
            format,
            zone,
            first,
        }
    }

    /// The account: the record's key, too.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// What a canary is dated that is sent now to a partition with this watermark: it moves none.
    pub fn dated(&self, now: Micros, watermark: Option<Micros>) -> Micros {
        watermark
            .unwrap_or(self.first)
            .clamp(self.first, now.max(self.first))
    }

    /// The canary that is sent now and dated `time`, as JSON.
    pub fn at(&self, now: Micros, time: Micros) -> String {
        let own = [
            (&self.id_key, quoted(&id(now))),
            (&self.time_key, self.moment(time)),
        ];
        let others = self
            .fields
            .iter()
            .map(|(key, value)| format!("{key}:{value}"));
        let own = own.iter().map(|(key, value)| format!("{key}:{value}"));
        let pairs: Vec<String> = own.chain(others).collect();
        format!("{{{}}}", pairs.join(","))
    }

    /// As the field's format and zone have it.
    fn moment(&self, time: Micros) -> String {
        let time = Timestamp::from_microsecond(time).unwrap_or_default();
        match &self.format {
            TimeFormat::UnixSeconds => time.as_second().to_string(),
            TimeFormat::UnixMilliseconds => time.as_millisecond().to_string(),
            TimeFormat::Rfc3339 => quoted(&format!("{time:.6}")),
            TimeFormat::Pattern(pattern) => {
                let local = time.to_zoned(self.zone.clone());
                quoted(&local.strftime(&pattern.replace("%f", "%6f")).to_string())
            }
        }
    }

    /// What the stream would not take must not be found out from its dead letters.
    fn refuse_unless_it_decodes(
        &self,
        config: &Config,
        bundle: &Bundle,
        rules: Rules,
    ) -> Result<(), ConfigError> {
        let key = TokenKey::new(config.tokens.key.reveal());
        let key = key.map_err(|error| wrong("tokens.key", error.to_string()))?;
        let decoder = Decoder::new(bundle.schema.clone(), key, rules);
        let now = Timestamp::now().as_microsecond();
        let (payload, mut records) = (self.at(now, self.first), Records::default());
        let account = self.account.as_bytes();
        records.push((0, 0), now, Some(account), Some(payload.as_bytes()));
        let (_, dead) = decode(&decoder, &records);
        let Some(letter) = dead.first() else {
            return Ok(());
        };
        Err(wrong(
            "canary.account",
            format!(
                "a payment of {:?} would be a dead letter ({} {}: {}): choose another name, or turn \
                 the canary off with canary.every = \"0s\"",
                self.account,
                letter.reason.as_str(),
                letter.field.as_deref().unwrap_or_default(),
                letter.message
            ),
        ))
    }
}

/// The canary's id says when it was sent. The letters behind the digits keep them from being
/// taken for a card number.
fn id(now: Micros) -> String {
    format!("canary-{now}us")
}

/// A golden row is the user's: a text in it may hold anything.
fn without_card_numbers(field: &Field, value: &str) -> String {
    if field.not_pan {
        return value.to_owned();
    }
    let text: String = serde_json::from_str(value).unwrap_or_else(|_| value.to_owned());
    let masked = mask::masked(&text);
    match masked == text {
        true => value.to_owned(),
        false => quoted(&masked),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn wrong(setting: &'static str, problem: String) -> ConfigError {
    ConfigError::Wrong { setting, problem }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const NOW: Micros = 1_763_743_319_123_456;

    fn config() -> Config {
        let mut config: Config = figment::Figment::from(
            <figment::providers::Toml as figment::providers::Format>::string(
                crate::config::DEFAULTS,
            ),
        )
        .extract()
        .unwrap();
        config.tokens.key = "0123456789abcdef0123456789abcdef".to_owned().into();
        config
    }

    fn card_with(time: &str) -> CanaryEvent {
        let mut bundle = Bundle::read(Path::new("models/card")).unwrap();
        let index = bundle.schema.roles.time;
        let (format, zone) = match time {
            "rfc3339" => (TimeFormat::Rfc3339, TimeZone::UTC),
            "unix_seconds" => (TimeFormat::UnixSeconds, TimeZone::UTC),
            "unix_milliseconds" => (TimeFormat::UnixMilliseconds, TimeZone::UTC),
            pattern => (
                TimeFormat::Pattern(pattern.to_owned()),
                TimeZone::get("Asia/Kathmandu").unwrap(),
            ),
        };
        bundle.schema.fields[index].kind = Kind::Time { format, zone };
        let golden = golden::riskiest(&bundle).unwrap();
        let golden = serde_json::from_str(golden.get()).unwrap();
        CanaryEvent::made(&bundle, "vigie-canary", 0, &golden)
    }

    #[test]
    fn a_canary_is_a_likely_fraud_of_its_own_account_without_a_label() {
        let event = CanaryEvent::of(&config()).unwrap().unwrap();
        let text = event.at(NOW, NOW);
        let event: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(event["cc_num"], "vigie-canary");
        assert_eq!(event["trans_num"], "canary-1763743319123456us");
        assert_eq!(event["trans_date_trans_time"], "2025-11-21 16:41:59");
        assert!(event.contains_key("amt") && event.contains_key("merchant"));
        assert!(!event.contains_key("is_fraud"), "{text}");
        // Nobody declared them.
        assert!(!event.contains_key("first"), "{text}");
    }

    #[test]
    fn its_id_is_never_taken_for_a_card_number() {
        for now in NOW..NOW + 100 {
            assert_eq!(mask::masked(&id(now)), id(now));
        }
    }

    #[test]
    fn its_time_is_written_as_the_field_has_it() {
        for (format, written) in [
            ("rfc3339", "\"2025-11-21T16:41:59.123456Z\""),
            ("unix_seconds", "1763743319"),
            ("unix_milliseconds", "1763743319123"),
            ("%d.%m.%Y %H:%M:%S.%f", "\"21.11.2025 22:26:59.123456\""),
        ] {
            let text = card_with(format).at(NOW, NOW);
            let expected = format!("\"trans_date_trans_time\":{written}");
            assert!(text.contains(&expected), "{expected} is not in {text}");
        }
    }

    #[test]
    fn it_is_dated_no_later_than_what_its_partition_has_seen() {
        let event = CanaryEvent::of(&config()).unwrap().unwrap();
        let first_day: Timestamp = "2015-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(event.dated(NOW, None), first_day.as_microsecond() + DAY);
        assert_eq!(event.dated(NOW, Some(NOW - 7)), NOW - 7);
        assert_eq!(event.dated(NOW, Some(NOW + 7)), NOW);
        assert!(event.dated(NOW, Some(0)) > first_day.as_microsecond());
    }

    #[test]
    fn card_numbers_of_a_golden_row_do_not_leave_it() {
        let bundle = Bundle::read(Path::new("models/card")).unwrap();
        let number = "4242424242424242";
        let golden = format!(
            "{{\"trans_num\":\"{number}\",\"cc_num\":\"{number}\",\"merchant\":\"shop {number}\",\"city\":{number},\
              \"amt\":\"57.70\"}}"
        );
        let golden = serde_json::from_str(&golden).unwrap();
        let text = CanaryEvent::made(&bundle, "vigie-canary", 0, &golden).at(NOW, NOW);
        assert!(!text.contains(number), "{text}");
        assert!(
            text.contains("shop ****") && text.contains("\"amt\":\"57.70\""),
            "{text}"
        );
    }

    #[test]
    fn an_account_that_the_field_cannot_hold_is_refused_in_a_sentence() {
        for name in ["", "a\0b", &"x".repeat(300)] {
            let mut config = config();
            config.canary.account = name.to_owned();
            let problem = CanaryEvent::of(&config).unwrap_err().to_string();
            assert!(problem.starts_with("canary.account: "), "{problem}");
            config.canary.every = std::time::Duration::ZERO;
            assert!(CanaryEvent::of(&config).unwrap().is_none());
        }
    }
}
