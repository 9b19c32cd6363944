//! The report in words, before it is text or HTML: sections of sentences, tables and one chart.

use jiff::civil::Date;

use super::counts::{Counts, Hour};
use super::sections::{comparison, customers, dead_letters, decisions, latency, lists, quality};
use super::words::{amount, count, share};

/// Decisions as a report names them, in the order of their numbers.
pub(super) const DECISIONS: [&str; 3] = ["allowed", "for review", "blocked"];

/// A report without its looks.
#[derive(Debug, Clone)]
pub struct Page {
    /// Subject of the mail.
    pub subject: String,
    /// Its first line.
    pub title: String,
    /// What it says, in order.
    pub sections: Vec<Section>,
}

/// Sentences, and what they are about.
#[derive(Debug, Clone)]
pub struct Section {
    /// Its heading; empty for the first.
    pub title: String,
    /// One paragraph each, before the block.
    pub sentences: Vec<String>,
    /// Table or chart.
    pub block: Block,
}

/// What a section shows beside its sentences.
#[derive(Debug, Clone)]
pub enum Block {
    /// Nothing.
    None,
    /// Rows under a heading; the first `texts` columns are texts, the others numbers.
    Table {
        /// Heading.
        heading: Vec<String>,
        /// Cells, as many as the heading has.
        rows: Vec<Vec<String>>,
        /// Columns that hold text.
        texts: usize,
    },
    /// Payments and flagged payments by the hour.
    Chart(Vec<Hour>),
}

/// What a page is made of.
pub struct Source<'a> {
    /// The day.
    pub day: Date,
    /// The business zone's name.
    pub zone: &'a str,
    /// The numbers.
    pub counts: &'a Counts,
    /// Incidents opened on the day, in a sentence.
    pub incidents: &'a str,
    /// What became of every record, in a sentence.
    pub reconciliation: &'a str,
    /// What of the topic was not read yet, in a sentence.
    pub unread: Option<&'a str>,
    /// How old labels must be, as it is set.
    pub label_delay: &'a str,
    /// The moment until which labels are old enough, as the zone's clock has it.
    pub ripe_until: &'a str,
    /// When the report was made, as the zone's clock has it.
    pub made_at: &'a str,
    /// Flagged payments in the list that goes with it.
    pub listed: i64,
}

/// Writes the page.
pub fn compose(source: &Source<'_>) -> Page {
    let counts = source.counts;
    let mut sections = vec![summary(source)];
    if counts.compared.day.payments > 0 {
        sections.push(decisions(&counts.totals));
    }
    sections.push(comparison(counts));
    if counts.compared.day.payments > 0 {
        sections.push(Section {
            title: format!("By the hour ({})", source.zone),
            sentences: Vec::new(),
            block: Block::Chart(counts.hours.clone()),
        });
    }
    sections.push(quality(source));
    for (title, name, lines) in [
        ("Merchants", "merchant", &counts.merchants),
        ("Categories", "category", &counts.categories),
        ("Countries", "country", &counts.countries),
    ] {
        if !lines.is_empty() {
            sections.push(lists(title, name, lines));
        }
    }
    if !counts.customers.is_empty() {
        sections.push(customers(&counts.customers));
    }
    sections.push(dead_letters(&counts.dead_letters));
    sections.push(latency(counts));
    sections.push(more(source));
    Page {
        subject: subject(source),
        title: format!("Vigie: {} {}", source.day.strftime("%A"), source.day),
        sections,
    }
}

fn subject(source: &Source<'_>) -> String {
    let day = &source.counts.compared.day;
    if day.payments == 0 {
        return format!("Vigie report on {}: no payments", source.day);
    }
    let mut subject = format!(
        "Vigie report on {}: {} payments, {} blocked, {} for review",
        source.day,
        count(day.payments),
        count(day.decisions[2]),
        count(day.decisions[1])
    );
    if let [only] = source.counts.totals.as_slice() {
        let sum = amount(only.currency.as_deref(), &only.amount);
        subject.push_str(&format!(", {sum} in all"));
    }
    subject
}

fn summary(source: &Source<'_>) -> Section {
    let day = &source.counts.compared.day;
    let mut sentences = vec![if day.payments == 0 {
        format!(
            "No payment has an event time on {} (business zone {}).",
            source.day, source.zone
        )
    } else {
        let rates: Vec<String> = DECISIONS
            .iter()
            .zip(day.decisions)
            .map(|(name, payments)| format!("{} {name}", share(payments, day.payments)))
            .collect();
        format!(
            "{} payments on {} (business zone {}): {}.",
            count(day.payments),
            source.day,
            source.zone,
            rates.join(", ")
        )
    }];
    sentences.push(format!(
        "{} alerts (live payments for review or blocked). {}",
        count(day.alerts),
        source.incidents
    ));
    sentences.push(source.reconciliation.to_owned());
    sentences.extend(source.unread.map(str::to_owned));
    if source.counts.missing > 0 {
        sentences.push(format!(
            "{} payments were removed before they were counted, and this day's are not there any more: they may be \
             among them.",
            count(source.counts.missing)
        ));
    }
    Section {
        title: String::new(),
        sentences,
        block: Block::None,
    }
}

fn more(source: &Source<'_>) -> Section {
    let (day, alerts) = (source.day, source.counts.compared.day.alerts);
    let list = if alerts == 0 {
        "No live payment was flagged.".to_owned()
    } else if source.listed < alerts {
        format!(
            "The list flagged-{day}.csv has the {} riskiest of {} flagged payments; the others are in v_flagged.",
            count(source.listed),
            count(alerts)
        )
    } else {
        format!("The list flagged-{day}.csv has every flagged payment.")
    };
    Section {
        title: "More".to_owned(),
        sentences: vec![
            list,
            format!(
                "Every payment of the day: vigie report --day {day} --all > payments-{day}.csv"
            ),
            format!(
                "Made at {}. Payments loaded as backfill are counted, but are no alerts and not in the list.",
                source.made_at
            ),
        ],
        block: Block::None,
    }
}
