//! The morning report: a day in numbers, as a mail with a list of flagged payments.
//!
//! ```text
//! figures -> reading (one snapshot) -> page -> text and HTML -> outbox
//! ```
//! Whoever composes it brings the reconciliation as a sentence: it is the laboratory's.

pub mod calendar;
pub mod counts;
mod details;
mod html;
mod lists;
mod page;
mod reading;
mod sections;
pub mod sending;
mod text;
pub mod unread;
mod words;

use std::io::Write;

use anyhow::Context;
use indicatif::ProgressBar;
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;
use tokio_postgres::{Client, IsolationLevel, Transaction};

use crate::config::Config;
use crate::desk::notifier::outbox::{Attachment, Notice, NoticeKind};
use calendar::Calendar;

/// A report on one day, in every form.
#[derive(Debug, Clone)]
pub struct Report {
    /// The day.
    pub day: Date,
    /// One line.
    pub subject: String,
    /// For plain readers.
    pub text: String,
    /// For the others.
    pub html: String,
    /// Flagged payments as CSV, the riskiest first.
    pub flagged: Vec<u8>,
    /// The numbers, for programs.
    pub payload: serde_json::Value,
}

/// What others have to say in a report.
#[derive(Debug, Clone)]
pub struct Handed<'a> {
    /// What became of every record.
    pub reconciliation: &'a str,
    /// What of the topic was not read yet, if anything.
    pub unread: Option<String>,
}

/// Makes the report on a day that is over.
///
/// # Errors
/// When the database fails.
pub async fn make(
    client: &mut Client,
    config: &Config,
    calendar: &Calendar,
    day: Date,
    handed: &Handed<'_>,
) -> anyhow::Result<Report> {
    let now = Timestamp::now();
    let stream = config.stream.id;
    let ripe_until = now
        .checked_sub(config.report.label_delay)
        .context("report.label_delay reaches beyond all time")?;
    let snapshot = snapshot(client).await?;
    let wanted = reading::Wanted {
        stream,
        day,
        calendar,
        ripe_until,
    };
    let counts = reading::read(&snapshot, &wanted).await?;
    let incidents = details::incidents(&snapshot, &wanted).await?;
    let flagged = lists::flagged(&snapshot, stream, calendar, day).await?;
    snapshot.commit().await?;
    let page = page::compose(&page::Source {
        day,
        zone: calendar.name(),
        counts: &counts,
        incidents: &incidents,
        reconciliation: handed.reconciliation,
        unread: handed.unread.as_deref(),
        label_delay: &humantime::format_duration(config.report.label_delay).to_string(),
        ripe_until: &calendar.written(ripe_until),
        made_at: &calendar.written(now),
        listed: counts.compared.day.alerts.min(lists::FLAGGED_ROWS),
    });
    Ok(Report {
        day,
        text: text::render(&page),
        html: html::render(&page),
        subject: page.subject,
        flagged,
        payload: json!({
            "kind": "report",
            "day": day,
            "zone": calendar.name(),
            "counts": counts,
            "incidents": incidents,
            "reconciliation": handed.reconciliation,
            "unread": handed.unread,
        }),
    })
}

/// Writes every payment of the day as CSV.
///
/// # Errors
/// When the database or `into` fails.
pub async fn write_payments(
    client: &mut Client,
    stream: i16,
    (calendar, day): (&Calendar, Date),
    bar: &ProgressBar,
    into: &mut impl Write,
) -> anyhow::Result<()> {
    let snapshot = snapshot(client).await?;
    if !bar.is_hidden() {
        // As far as they are counted, which is nearly all.
        let payments = reading::payments(&snapshot, stream, day).await?;
        bar.set_length(payments);
    }
    lists::all(&snapshot, stream, (calendar, day), bar, into).await?;
    Ok(snapshot.commit().await?)
}

/// All of a report is of one moment.
async fn snapshot(client: &mut Client) -> Result<Transaction<'_>, tokio_postgres::Error> {
    client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
}

impl Report {
    /// Name of the list of flagged payments.
    pub fn list_name(&self) -> String {
        format!("flagged-{}.csv", self.day)
    }

    /// As the outbox takes it.
    pub fn notice(&self) -> Notice {
        Notice {
            kind: NoticeKind::Report,
            subject: self.subject.clone(),
            text: self.text.clone(),
            html: self.html.clone(),
            payload: self.payload.clone(),
            attachments: vec![Attachment {
                name: self.list_name(),
                content_type: "text/csv; charset=utf-8".to_owned(),
                bytes: self.flagged.clone(),
            }],
        }
    }
}
