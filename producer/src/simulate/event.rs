//! A payment as the event that a topic carries.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use vigie::engine::batch::Micros;

use super::habits::CATEGORIES;
use super::traffic::{Payment, Traffic};
use super::world::{City, EURO_AREA, UNITED_STATES};

/// The layout of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Layout {
    /// Exactly the fields of the bundle models/card.
    Card,
    /// transaction_id, customer_id, timestamp (RFC 3339), amount, currency, merchant, country,
    /// category, is_fraud.
    Simple,
}

impl Layout {
    /// Where its customers live.
    pub fn cities(self) -> &'static [City] {
        match self {
            Self::Card => UNITED_STATES,
            Self::Simple => EURO_AREA,
        }
    }

    /// Writes the key and the payload of a payment over what they held.
    ///
    /// # Errors
    /// When the time is beyond the calendar.
    pub fn write(
        self,
        traffic: &Traffic,
        payment: &Payment,
        key: &mut String,
        payload: &mut Vec<u8>,
    ) -> Result<()> {
        key.clear();
        payload.clear();
        match self {
            Self::Card => card(traffic, payment, key, payload),
            Self::Simple => simple(traffic, payment, key, payload),
        }
    }
}

// No name here holds what JSON escapes; a test reads every one back.
fn card(traffic: &Traffic, payment: &Payment, key: &mut String, out: &mut Vec<u8>) -> Result<()> {
    let (customer, home) = (traffic.customer(payment), traffic.home(payment));
    key.push_str(&customer.card);
    let time = moment(payment.time)?.strftime("%Y-%m-%d %H:%M:%S");
    write!(
        out,
        "{{\"trans_num\":\"{:032x}\",\"trans_date_trans_time\":\"{time}\",\"cc_num\":\"{}\",\
         \"amt\":{},\"merchant\":\"{}\",\"category\":\"{}\",",
        payment.id,
        customer.card,
        amount(payment.cents),
        payment.merchant,
        CATEGORIES[payment.category].name,
    )?;
    write!(
        out,
        "\"gender\":\"{}\",\"city\":\"{}\",\"state\":\"{}\",\"city_pop\":{},\"job\":\"{}\",\
         \"dob\":\"{}\",\"lat\":{:.4},\"long\":{:.4},",
        customer.gender,
        home.name,
        home.region,
        home.population,
        customer.job,
        customer.born,
        customer.lat,
        customer.long,
    )?;
    write!(
        out,
        "\"merch_lat\":{:.6},\"merch_long\":{:.6},\"is_fraud\":{}}}",
        payment.lat,
        payment.long,
        u8::from(payment.kind.is_fraud()),
    )?;
    Ok(())
}

fn simple(traffic: &Traffic, payment: &Payment, key: &mut String, out: &mut Vec<u8>) -> Result<()> {
    *key = format!("C{:07}", payment.account);
    let time = moment(payment.time)?.strftime("%Y-%m-%dT%H:%M:%S.%3fZ");
    write!(
        out,
        "{{\"transaction_id\":\"{:032x}\",\"customer_id\":\"{key}\",\"timestamp\":\"{time}\",\
         \"amount\":{},\"currency\":\"EUR\",\"merchant\":\"{}\",\"country\":\"{}\",\
         \"category\":\"{}\",\"is_fraud\":{}}}",
        payment.id,
        amount(payment.cents),
        payment.merchant,
        traffic.city(payment).region,
        CATEGORIES[payment.category].name,
        u8::from(payment.kind.is_fraud()),
    )?;
    Ok(())
}

fn amount(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn moment(time: Micros) -> Result<Timestamp> {
    Timestamp::from_microsecond(time).context("the simulated time leaves the calendar")
}
