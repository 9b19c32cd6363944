//! Stored payments as events again: what was decoded once is read back, not decoded anew.
//!
//! A row holds every declared field that is not sensitive, exactly, in a column of its own or in
//! its `event`; of the account there is the token. So every feature can be computed again.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::batch::{Column, Events, Micros, Texts, Token};
use super::decode::number;
use crate::bundle::{Bundle, EventKind, FeatureKind, Kind, Schema};

/// A payment as its row has it.
#[derive(Debug, Clone)]
pub struct StoredPayment {
    /// The transaction's id.
    pub id: String,
    /// The account's token.
    pub account: Token,
    /// Event time.
    pub time: Micros,
    /// Business day, in days since 1970-01-01.
    pub day: i32,
    /// Amount in minor units.
    pub amount: i64,
    /// Currency, merchant, category and country.
    pub named: [Option<String>; 4],
    /// The other fields: a JSON object.
    pub event: String,
}

/// Why a row cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// `event` is not what was written.
    #[error("`event` of {id:?}: {problem}")]
    Event {
        /// The transaction.
        id: String,
        /// What was expected and found.
        problem: String,
    },
    /// A feature reads what is not kept.
    #[error("the feature {feature} reads the account itself, of which only the token is stored")]
    Feature {
        /// The feature's name.
        feature: String,
    },
}

/// Whether all that the bundle's features read is stored.
///
/// # Errors
/// [`StoredError::Feature`] for the first that reads something else.
pub fn is_enough_for(bundle: &Bundle) -> Result<(), StoredError> {
    let account = bundle.schema.roles.account;
    let reads_account = |kind: &FeatureKind| *kind == FeatureKind::Event(EventKind::Value(account));
    match bundle.features.iter().find(|f| reads_account(&f.kind)) {
        None => Ok(()),
        Some(feature) => Err(StoredError::Feature {
            feature: feature.name.clone(),
        }),
    }
}

/// The payments as the batch that they could have come in; ids and bodies carry no hashes.
///
/// # Errors
/// [`StoredError::Event`] when a row was not written by this program.
pub fn events(schema: &Schema, payments: &[StoredPayment]) -> Result<Events, StoredError> {
    let mut events = Events {
        columns: schema.fields.iter().map(|f| empty(&f.kind)).collect(),
        ..Events::default()
    };
    for (row, payment) in payments.iter().enumerate() {
        push(schema, payment, &mut events.columns).map_err(|problem| StoredError::Event {
            id: payment.id.clone(),
            problem,
        })?;
        events.record.push(row as u32);
        events.account.push(payment.account);
        events.time.push(payment.time);
        events.day.push(payment.day);
        events.amount.push(payment.amount);
        events.id_hash.push(row as u64);
        events.body_hash.push(0);
    }
    Ok(events)
}

fn empty(kind: &Kind) -> Column {
    match kind {
        Kind::Text { .. } => Column::Text(Texts::default()),
        Kind::Number { .. } => Column::Number(Vec::new()),
        Kind::Integer { .. } => Column::Integer(Vec::new()),
        Kind::Amount { .. } => Column::Amount(Vec::new()),
        Kind::Time { .. } => Column::Time(Vec::new()),
        Kind::Label => Column::Label(Vec::new()),
    }
}

fn push(schema: &Schema, payment: &StoredPayment, columns: &mut [Column]) -> Result<(), String> {
    let others: HashMap<String, &RawValue> =
        serde_json::from_str(&payment.event).map_err(|problem| problem.to_string())?;
    let roles = &schema.roles;
    let named = [
        roles.currency,
        roles.merchant,
        roles.category,
        roles.country,
    ];
    for (index, (field, column)) in schema.fields.iter().zip(columns).enumerate() {
        let place = named.iter().position(|role| *role == Some(index));
        let other = others.get(&field.name).map(|value| value.get());
        let wrong = |_| format!("{}: {}", field.name, other.unwrap_or_default());
        match column {
            Column::Text(texts) if index == roles.id => texts.push(Some(&payment.id)),
            Column::Text(texts) if index == roles.account => {
                texts.push(Some(&payment.account.to_string()));
            }
            Column::Text(texts) => match (place, other) {
                (Some(place), _) => texts.push(payment.named[place].as_deref()),
                (None, Some(text)) => {
                    let text: String = serde_json::from_str(text).map_err(|e| e.to_string())?;
                    texts.push(Some(&text));
                }
                (None, None) => texts.push(None),
            },
            Column::Time(times) if index == roles.time => times.push(Some(payment.time)),
            Column::Time(times) => times.push(other.map(moment).transpose()?),
            Column::Amount(amounts) if index == roles.amount => amounts.push(Some(payment.amount)),
            Column::Amount(amounts) => {
                let scale = match field.kind {
                    Kind::Amount { scale, .. } => scale,
                    _ => 0,
                };
                let amount = other.map(|text| number::scaled(text, scale));
                amounts.push(amount.transpose().map_err(wrong)?);
            }
            Column::Integer(values) => {
                let value = other.map(|text| number::scaled(text, 0));
                values.push(value.transpose().map_err(wrong)?);
            }
            Column::Number(values) => {
                let value = other.map(number::double).transpose().map_err(wrong)?;
                values.push(value.unwrap_or(f64::NAN));
            }
            Column::Label(labels) => labels.push(None),
        }
    }
    Ok(())
}

/// A moment as it is stored: RFC 3339 in quotes, or microseconds beyond the calendar.
fn moment(text: &str) -> Result<Micros, String> {
    match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(time) => time
            .parse::<jiff::Timestamp>()
            .map(jiff::Timestamp::as_microsecond)
            .map_err(|problem| problem.to_string()),
        None => text
            .parse()
            .map_err(|_| format!("expected a moment, found {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Bundle {
        Bundle::read(std::path::Path::new("models/card")).unwrap()
    }

    fn payment(event: &str) -> StoredPayment {
        StoredPayment {
            id: "t1".into(),
            account: Token([7; 16]),
            time: 1_772_323_200_000_000,
            day: 20_513,
            amount: 1_234,
            named: [None, Some("Müller".into()), None, Some("SC".into())],
            event: event.into(),
        }
    }

    #[test]
    fn every_kind_of_field_comes_back_as_it_was_written() {
        let schema = card().schema;
        let written = r#"{"city":"A \"b\"","city_pop":-3,"dob":"1988-03-09T00:00:00Z","lat":33.986391,"long":1e-7}"#;
        let events = events(&schema, &[payment(written)]).unwrap();
        let column = |name: &str| &events.columns[schema.index_of(name).unwrap()];
        assert!(matches!(column("city"), Column::Text(t) if t.get(0) == Some("A \"b\"")));
        assert!(matches!(column("merchant"), Column::Text(t) if t.get(0) == Some("Müller")));
        assert!(matches!(column("job"), Column::Text(t) if t.get(0).is_none()));
        assert!(matches!(column("city_pop"), Column::Integer(v) if *v == [Some(-3)]));
        assert!(matches!(column("dob"), Column::Time(v) if *v == [Some(573_868_800_000_000)]));
        assert!(matches!(column("lat"), Column::Number(v) if *v == [33.986391]));
        assert!(matches!(column("long"), Column::Number(v) if *v == [1e-7]));
        assert!(matches!(column("merch_lat"), Column::Number(v) if v[0].is_nan()));
        assert!(matches!(column("amt"), Column::Amount(v) if *v == [Some(1_234)]));
    }

    #[test]
    fn an_event_that_nobody_wrote_so_is_refused_by_its_payment_and_field() {
        let schema = card().schema;
        for (written, words) in [
            (r#"{"lat":"north"}"#, "lat"),
            (r#"{"dob":"yesterday"}"#, "t1"),
            ("[]", "t1"),
        ] {
            let problem = events(&schema, &[payment(written)])
                .unwrap_err()
                .to_string();
            assert!(problem.contains(words), "{problem}");
        }
    }

    #[test]
    fn the_card_bundle_can_be_computed_from_what_is_stored() {
        let mut bundle = card();
        assert!(is_enough_for(&bundle).is_ok());
        let account = bundle.schema.roles.account;
        bundle.features[0].kind = FeatureKind::Event(EventKind::Value(account));
        assert!(is_enough_for(&bundle).is_err());
    }
}
