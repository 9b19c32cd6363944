//! What a report says: the numbers of a day.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

/// Payments of a span of days in one currency. Amounts are in major units, as decimal text.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Totals {
    /// Its code, where the events have one.
    pub currency: Option<String>,
    /// All payments.
    pub payments: i64,
    /// Their sum.
    pub amount: String,
    /// Payments allowed, for review, blocked.
    pub decisions: [i64; 3],
    /// Their sums.
    pub decision_amounts: [String; 3],
    /// Decided without a score.
    pub not_assessed: i64,
    /// Live payments that were not allowed.
    pub alerts: i64,
    /// Payments whose label is known.
    pub labelled: i64,
    /// Those that are fraud.
    pub fraud: i64,
    /// Their sum.
    pub fraud_amount: String,
    /// Fraud, as a share of the labelled amount in basis points.
    pub fraud_value_bp: Option<f64>,
    /// Fraud that was not allowed.
    pub caught: i64,
    /// Genuine payments that were not allowed.
    pub false_alarms: i64,
}

/// Payments of a span of days, whatever their currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// All payments.
    pub payments: i64,
    /// Payments allowed, for review, blocked.
    pub decisions: [i64; 3],
    /// Decided without a score.
    pub not_assessed: i64,
    /// Live payments that were not allowed.
    pub alerts: i64,
    /// Payments whose label is known.
    pub labelled: i64,
    /// Those that are fraud.
    pub fraud: i64,
    /// Fraud that was not allowed.
    pub caught: i64,
    /// Genuine payments that were not allowed.
    pub false_alarms: i64,
    /// Dead letters that were stored in these days.
    pub dead_letters: i64,
}

/// The day beside the days before it.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// The day.
    pub day: Sums,
    /// The day before.
    pub before: Sums,
    /// All of the days that the mean is taken over.
    pub earlier: Sums,
    /// How many those are: of the 28 before, the days that have payments.
    pub days: i32,
}

/// The sum of payments in one currency, beside the days before.
#[derive(Debug, Clone, Serialize)]
pub struct ComparedAmount {
    /// Its code, where the events have one.
    pub currency: Option<String>,
    /// Of the day, in major units, exactly.
    pub day: String,
    /// The same, to be compared.
    pub value: f64,
    /// Of the day before.
    pub before: f64,
    /// Of all the days that the mean is taken over.
    pub earlier: f64,
}

/// An hour of the day.
#[derive(Debug, Clone, Serialize)]
pub struct Hour {
    /// By the clock of the business zone, `14:00`.
    pub clock: String,
    /// Payments in it.
    pub payments: i64,
    /// Those that were not allowed.
    pub flagged: i64,
}

/// A line of a list.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// The merchant, category or country, or the beginning of the customer's token.
    pub name: Option<String>,
    /// Currency of the amounts.
    pub currency: Option<String>,
    /// All payments; of a customer, those that were not allowed.
    pub payments: i64,
    /// Their sum.
    pub amount: String,
    /// Payments that were not allowed.
    pub flagged: i64,
    /// Their sum.
    pub flagged_amount: String,
    /// Payments labelled as fraud.
    pub fraud: i64,
}

/// From event time to stored, of live payments: at most so many seconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    /// Half of them.
    pub p50: f64,
    /// 95 of 100.
    pub p95: f64,
    /// 99 of 100.
    pub p99: f64,
}

/// What labels say of the newest day whose labels are old enough.
#[derive(Debug, Clone, Serialize)]
pub struct Quality {
    /// That day.
    pub day: Date,
    /// Payments until then have labels that are old enough.
    pub ripe_until: Timestamp,
    /// The day, per currency.
    pub totals: Vec<Totals>,
    /// Fraud by value, the currencies with the most labels first.
    pub values: Vec<FraudValue>,
    /// The day, all together.
    pub sums: Sums,
    /// The day before it.
    pub before: Sums,
    /// All of the days that the mean is taken over.
    pub earlier: Sums,
    /// How many those are: of the 28 before, the days that have payments.
    pub days: i32,
}

/// Fraud as a share of the labelled amount in one currency, in basis points.
#[derive(Debug, Clone, Serialize)]
pub struct FraudValue {
    /// Its code, where the events have one.
    pub currency: Option<String>,
    /// The day's fraud in major units, as decimal text.
    pub amount: String,
    /// Of the day.
    pub day: Option<f64>,
    /// Of the day before.
    pub before: Option<f64>,
    /// Of all the days that the mean is taken over.
    pub earlier: Option<f64>,
}

/// Everything a report says but the reconciliation.
#[derive(Debug, Clone, Serialize)]
pub struct Counts {
    /// Per currency, the most payments first.
    pub totals: Vec<Totals>,
    /// All together, beside the days before.
    pub compared: Compared,
    /// Sums beside the days before, the day's largest currencies first.
    pub amounts: Vec<ComparedAmount>,
    /// The day's hours in their order.
    pub hours: Vec<Hour>,
    /// From the labels.
    pub quality: Quality,
    /// Merchants with the most flagged payments.
    pub merchants: Vec<Line>,
    /// Categories.
    pub categories: Vec<Line>,
    /// Countries.
    pub countries: Vec<Line>,
    /// Customers with the most flagged payments.
    pub customers: Vec<Line>,
    /// Dead letters stored on the day, by reason, the most first.
    pub dead_letters: Vec<(String, i64)>,
    /// Absent without live payments.
    pub latency: Option<Latency>,
    /// Payments that were removed before they were counted, ever; none where the day is still there.
    pub missing: i64,
}
