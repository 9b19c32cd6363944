//! The sections of a report, one by one.

use super::counts::{Counts, Line, Quality, Sums, Totals};
use super::page::{Block, DECISIONS, Section, Source};
use super::words::{amount, basis_points, change, count, points, seconds, share};
use crate::desk::text::{grouped, plain};

/// How many currencies are shown one by one.
const CURRENCIES: usize = 5;
/// What means are taken over.
const MEAN: &str = "Means are of those of the 28 days before that have payments.";

pub(super) fn decisions(totals: &[Totals]) -> Section {
    let mut rows = Vec::new();
    for total in totals.iter().take(CURRENCIES) {
        let currency = total.currency.as_deref();
        for (number, name) in DECISIONS.iter().enumerate() {
            let payments = total.decisions[number];
            rows.push(vec![
                (*name).to_owned(),
                count(payments),
                share(payments, total.payments),
                amount(currency, &total.decision_amounts[number]),
            ]);
        }
        rows.push(vec![
            "all".to_owned(),
            count(total.payments),
            share(total.payments, total.payments),
            amount(currency, &total.amount),
        ]);
    }
    let not_assessed: i64 = totals.iter().map(|total| total.not_assessed).sum();
    let mut sentences = Vec::new();
    if totals.len() > CURRENCIES {
        sentences.push(format!(
            "The {CURRENCIES} currencies with the most payments; {} more in v_daily_fraud_report.",
            totals.len() - CURRENCIES
        ));
    }
    if not_assessed > 0 {
        sentences.push(format!(
            "{} of them were decided without a score (not assessed).",
            count(not_assessed)
        ));
    }
    Section {
        title: "Decisions".to_owned(),
        sentences,
        block: table(["decision", "payments", "share", "amount"], rows, 1),
    }
}

pub(super) fn comparison(counts: &Counts) -> Section {
    let compared = &counts.compared;
    let (day, before, earlier) = (&compared.day, &compared.before, &compared.earlier);
    let days = f64::from(compared.days.max(1));
    let mut rows = vec![row(
        "payments",
        count(day.payments),
        [day.payments, before.payments, earlier.payments].map(|n| n as f64),
        days,
    )];
    for sum in counts.amounts.iter().take(CURRENCIES) {
        let name = match &sum.currency {
            Some(currency) => format!("amount {}", plain(currency)),
            None => "amount".to_owned(),
        };
        let values = [sum.value, sum.before, sum.earlier];
        rows.push(row(&name, amount(None, &sum.day), values, days));
    }
    for (name, number) in [("approval rate", 0), ("review rate", 1), ("block rate", 2)] {
        let rate = |sums: &Sums| (sums.decisions[number], sums.payments);
        rows.push(vec![
            name.to_owned(),
            share(rate(day).0, rate(day).1),
            points(rate(day), rate(before)),
            points(rate(day), rate(earlier)),
        ]);
    }
    for (name, of) in [
        ("alerts", (|s| s.alerts) as fn(&Sums) -> i64),
        ("dead letters", |s| s.dead_letters),
    ] {
        let values = [of(day), of(before), of(earlier)].map(|n| n as f64);
        rows.push(row(name, count(of(day)), values, days));
    }
    let mean = match compared.days {
        0 => "no days before".to_owned(),
        days => format!("against {}", mean_of(days)),
    };
    Section {
        title: "What changed".to_owned(),
        sentences: vec![MEAN.to_owned()],
        block: table(["", "the day", "against the day before", &mean], rows, 1),
    }
}

fn mean_of(days: i32) -> String {
    match days {
        1 => "mean of 1 day".to_owned(),
        days => format!("mean of {days} days"),
    }
}

fn row(name: &str, shown: String, [day, before, earlier]: [f64; 3], days: f64) -> Vec<String> {
    vec![
        name.to_owned(),
        shown,
        change(day, before),
        change(day, earlier / days),
    ]
}

pub(super) fn quality(source: &Source<'_>) -> Section {
    let quality = &source.counts.quality;
    let mut sentences = vec![format!(
        "Payments of {}, the newest day whose labels are old enough: labels count for payments until {} \
         (report.label_delay = {}).",
        quality.day, source.ripe_until, source.label_delay
    )];
    let sums = &quality.sums;
    if sums.labelled == 0 {
        sentences.push("No label is known for them.".to_owned());
    } else {
        sentences.push(format!(
            "{} of its {} payments have a label; basis points and rates are of those.",
            count(sums.labelled),
            count(sums.payments)
        ));
    }
    let block = match sums.labelled {
        0 => Block::None,
        _ => {
            let mean = mean_of(quality.days);
            let heading = ["", "the day", "the day before", &mean];
            table(heading, quality_rows(quality), 1)
        }
    };
    Section {
        title: "Fraud, by the labels".to_owned(),
        sentences,
        block,
    }
}

/// The day, the day before, and the days that the mean is of.
fn quality_rows(quality: &Quality) -> Vec<Vec<String>> {
    let spans = [&quality.sums, &quality.before, &quality.earlier];
    let line = |name: &str, cells: [String; 3]| [vec![name.to_owned()], cells.to_vec()].concat();
    let [day, before, earlier] = spans.map(|sums| sums.fraud);
    let mean = earlier as f64 / f64::from(quality.days.max(1));
    let mut rows = vec![
        line(
            "fraud, payments",
            [count(day), count(before), grouped(&format!("{mean:.1}"))],
        ),
        line(
            "fraud, by count",
            spans.map(|sums| basis_points(sums.fraud, sums.labelled)),
        ),
    ];
    for value in quality.values.iter().take(CURRENCIES) {
        let amount = amount(value.currency.as_deref(), &value.amount);
        let cells = [value.day, value.before, value.earlier];
        rows.push(line(
            &format!("fraud, by value: {amount}"),
            cells.map(|bp| bp.map_or_else(|| "-".to_owned(), |bp| format!("{bp:.1} bp"))),
        ));
    }
    let rate = |name: &str, of: fn(&Sums) -> (i64, i64)| {
        let shown = |sums: &Sums| share(of(sums).0, of(sums).1);
        line(name, spans.map(shown))
    };
    rows.push(rate("precision", |s| (s.caught, s.caught + s.false_alarms)));
    rows.push(rate("recall", |s| (s.caught, s.fraud)));
    rows.push(rate("false-positive rate", |s| {
        (s.false_alarms, s.labelled - s.fraud)
    }));
    rows
}

pub(super) fn lists(title: &str, name: &str, lines: &[Line]) -> Section {
    let rows = lines.iter().map(|line| {
        let currency = line.currency.as_deref();
        vec![
            line.name
                .as_deref()
                .map_or_else(|| "unknown".to_owned(), plain),
            count(line.payments),
            amount(currency, &line.amount),
            count(line.flagged),
            amount(currency, &line.flagged_amount),
            count(line.fraud),
        ]
    });
    let heading = [
        name,
        "payments",
        "amount",
        "flagged",
        "flagged amount",
        "labelled fraud",
    ];
    Section {
        title: format!("{title} with the most flagged payments"),
        sentences: Vec::new(),
        block: table(heading, rows.collect(), 1),
    }
}

pub(super) fn customers(lines: &[Line]) -> Section {
    let rows = lines.iter().map(|line| {
        vec![
            line.name.clone().unwrap_or_default(),
            count(line.flagged),
            amount(line.currency.as_deref(), &line.flagged_amount),
            count(line.fraud),
        ]
    });
    Section {
        title: "Customers with the most alerts".to_owned(),
        sentences: Vec::new(),
        block: table(
            ["account", "flagged", "flagged amount", "labelled fraud"],
            rows.collect(),
            1,
        ),
    }
}

pub(super) fn dead_letters(letters: &[(String, i64)]) -> Section {
    let rows: Vec<Vec<String>> = letters
        .iter()
        .map(|(reason, letters)| vec![plain(reason), count(*letters)])
        .collect();
    let (sentences, block) = if rows.is_empty() {
        (vec!["None were stored on the day.".to_owned()], Block::None)
    } else {
        let sentence = "Stored on the day; see `vigie dead-letters list`.".to_owned();
        (vec![sentence], table(["reason", "dead letters"], rows, 1))
    };
    Section {
        title: "Dead letters".to_owned(),
        sentences,
        block,
    }
}

pub(super) fn latency(counts: &Counts) -> Section {
    let sentence = match &counts.latency {
        None => "There were no live payments.".to_owned(),
        Some(latency) => format!(
            "Half of the live payments were stored within {}, 95 % within {}, 99 % within {} of their event time \
             (to the beginning of the transaction that stored them, in steps of 12 %; for replayed payments it is \
             their age).",
            seconds(latency.p50),
            seconds(latency.p95),
            seconds(latency.p99)
        ),
    };
    Section {
        title: "Latency".to_owned(),
        sentences: vec![sentence],
        block: Block::None,
    }
}

fn table<const N: usize>(heading: [&str; N], rows: Vec<Vec<String>>, texts: usize) -> Block {
    Block::Table {
        heading: heading.map(str::to_owned).to_vec(),
        rows,
        texts,
    }
}
