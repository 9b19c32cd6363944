//! A row of the API as a payment of the bundle.

use std::collections::{HashSet, VecDeque};

use anyhow::{Context as _, anyhow};
use vigie::bundle::Schema;
use vigie::config::{Config, KeyCheck};
use vigie::engine::batch::{Micros, Records};
use vigie::engine::decode::{Decoder, Rules, decode};
use vigie::engine::token::TokenKey;
use vigie::input::{TimeWriter, write_event};

use super::answer::{Cells, shown};

/// The row's own id, and when it was drawn, in milliseconds.
const ID: &str = "trans_num";
const DRAWN: &str = "current_time";

/// Makes payments of rows.
pub struct Translator {
    schema: Schema,
    time: TimeWriter,
    decoder: Decoder,
}

/// A payment, ready to be sent.
#[derive(Debug)]
pub struct Payment {
    /// `trans_num:current_time`: a row comes again with the same number at another time.
    pub id: String,
    /// The account.
    pub key: String,
    /// The event, label included: the decoder strips it and keeps it as late truth.
    pub payload: Vec<u8>,
}

impl Translator {
    /// For a bundle's schema.
    ///
    /// # Errors
    /// When the settings of events make no sense.
    pub fn new(schema: Schema, config: &Config) -> anyhow::Result<Self> {
        let time = TimeWriter::new(&schema.field(schema.roles.time).kind)
            .context("the bundle's time is no time")?;
        // Tokens are made to read a payment as Vigie will, and thrown away: any key does.
        let tokens = TokenKey::new("tokens of the check before sending are never kept")?;
        let rules = Rules::new(&config.events, KeyCheck::Account)?;
        Ok(Self {
            decoder: Decoder::new(schema.clone(), tokens, rules),
            time,
            schema,
        })
    }

    /// The payment of a row that was received at `now`.
    ///
    /// # Errors
    /// A sentence that names the column and what was expected; never a value.
    pub fn payment(&self, cells: &Cells, now: Micros) -> anyhow::Result<Payment> {
        let cell = |name: &str| match cells.get(name).map(String::as_str) {
            None => Err(anyhow!("column `{}`: there is none", shown(name))),
            Some("") => Err(anyhow!(
                "column `{}`: expected a value, found none",
                shown(name)
            )),
            Some(text) => Ok(text),
        };
        let drawn = cell(DRAWN)?;
        let time = drawn
            .parse::<i64>()
            .ok()
            .and_then(|milliseconds| milliseconds.checked_mul(1_000))
            .and_then(|micros| self.time.text(micros))
            .with_context(|| format!("column `{DRAWN}`: expected milliseconds since 1970"))?;
        let id = format!("{}:{drawn}", cell(ID)?);
        let key_of = |role: usize| self.schema.field(role).key.as_str();
        let roles = &self.schema.roles;
        let own = [(key_of(roles.id), &*id), (key_of(roles.time), &*time)];
        let others = self.schema.fields.iter().filter_map(|field| {
            let text = cells.get(&field.key)?;
            let is_own = own.iter().any(|(key, _)| *key == field.key);
            (!is_own).then_some((field.key.as_str(), text.as_str()))
        });
        let mut payload = Vec::new();
        write_event(&self.schema, own.into_iter().chain(others), &mut payload);
        let key = cell(key_of(roles.account))?.to_owned();
        self.check(&key, &payload, now)?;
        Ok(Payment { id, key, payload })
    }

    /// Whether Vigie will take it.
    fn check(&self, key: &str, payload: &[u8], now: Micros) -> anyhow::Result<()> {
        let mut records = Records::default();
        records.push((0, 0), now, Some(key.as_bytes()), Some(payload));
        let (_, dead_letters) = decode(&self.decoder, &records);
        let Some(letter) = dead_letters.first() else {
            return Ok(());
        };
        let field = letter.field.as_deref().unwrap_or_default();
        let column = self
            .schema
            .index_of(field)
            .map_or(field, |index| self.schema.field(index).key.as_str());
        Err(anyhow!(
            "column `{column}`: {}: {}",
            letter.reason.as_str(),
            letter.message
        ))
    }
}

/// The ids that were seen last.
#[derive(Debug, Default)]
pub struct Seen {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

/// How many ids are remembered: at a call a second, almost three hours.
const REMEMBERED: usize = 10_000;

impl Seen {
    /// Remembers an id; false when it is known.
    pub fn add(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};
    use vigie::bundle::Bundle;

    use super::*;

    /// 2024-10-28 15:51:24.025
    const NOW: Micros = 1_730_134_684_025_000;

    fn translator() -> Translator {
        let schema = Bundle::read(Path::new("../models/card")).unwrap().schema;
        Translator::new(schema, &Config::load(None).unwrap()).unwrap()
    }

    fn cells(changes: &[(&str, &str)]) -> Cells {
        let cells = [
            ("cc_num", "4497913965512794051"),
            ("amt", "60.16"),
            ("first", "Scott"),
            ("zip", "28372"),
            ("trans_num", "3cb54a48"),
            ("is_fraud", "1"),
            ("merchant", ""),
            ("current_time", "1730134684025"),
        ];
        let all = cells.iter().chain(changes);
        all.map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn a_row_is_a_payment_of_the_moment_at_which_it_was_drawn() {
        let payment = translator().payment(&cells(&[]), NOW).unwrap();
        assert_eq!(payment.id, "3cb54a48:1730134684025");
        assert_eq!(payment.key, "4497913965512794051");
        let event: Value = serde_json::from_slice(&payment.payload).unwrap();
        assert_eq!(
            event,
            json!({"trans_num": payment.id, "trans_date_trans_time": "2024-10-28 16:58:04",
                "cc_num": "4497913965512794051", "amt": 60.16, "merchant": null, "is_fraud": 1})
        );
    }

    #[test]
    fn vigie_keeps_the_id_whatever_the_moment_s_digits_are() {
        let translator = translator();
        let mut records = Records::default();
        let ids: Vec<String> = (0..40)
            .map(|after| {
                let drawn = (NOW / 1_000 - after).to_string();
                let row = cells(&[("current_time", &drawn)]);
                let payment = translator.payment(&row, NOW).unwrap();
                let (key, payload) = (payment.key.as_bytes(), &payment.payload);
                records.push((0, after), NOW, Some(key), Some(payload));
                payment.id
            })
            .collect();
        let (events, dead) = decode(&translator.decoder, &records);
        assert!(dead.is_empty());
        let kept = events.texts(translator.schema.roles.id);
        for (row, id) in ids.iter().enumerate() {
            assert_eq!(kept.get(row).unwrap(), id);
        }
    }

    #[test]
    fn a_row_that_vigie_would_refuse_is_told_by_column() {
        for (change, words) in [
            (("amt", "much"), "column `amt`: wrong_type"),
            (("amt", ""), "column `amt`: missing_field"),
            (("cc_num", ""), "column `cc_num`: expected a value"),
            (("trans_num", ""), "column `trans_num`: expected a value"),
            (
                ("current_time", "1.5"),
                "column `current_time`: expected milliseconds",
            ),
            (
                ("current_time", "9999999999999999"),
                "column `current_time`: expected milliseconds",
            ),
            (
                ("current_time", "1830134684025"),
                "`trans_date_trans_time`: time_out_of_range",
            ),
        ] {
            let said = translator().payment(&cells(&[change]), NOW).unwrap_err();
            assert!(said.to_string().contains(words), "{said}");
        }
    }

    #[test]
    fn an_id_is_remembered_for_long_but_not_for_ever() {
        let mut seen = Seen::default();
        assert!(seen.add("a") && !seen.add("a"));
        for number in 0..REMEMBERED {
            assert!(seen.add(&number.to_string()));
        }
        assert_eq!(seen.ids.len(), REMEMBERED);
        assert!(seen.add("a"));
    }
}
