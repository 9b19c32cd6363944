//! Incidents of the system: something is wrong with the stream itself, and nobody who looks at
//! payments would see it.

mod dead_letters;
mod drift;
mod held;
mod letter;
mod minutes;
mod not_assessed;
mod silence;

use std::time::{Duration, Instant};

use tokio_postgres::{Client, Error, Transaction};

use super::seconds;
use crate::config::Config;
use crate::desk::notifier::outbox::{self, Channels};
use crate::metrics::{self, IncidentKind, Severity};
use drift::Drift;
use letter::News;

/// How often the stream is looked at.
const EVERY: Duration = Duration::from_secs(10);

/// The end of a trouble is told at most so late: no snooze is longer.
const LONGEST_DELAY: Duration = Duration::from_secs(31 * 86_400);

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Too large a share of the records is dead letters.
    DeadLetters,
    /// Partitions that nothing is read from until a person says so.
    Held,
    /// Payments were decided without a score.
    NotAssessed,
    /// No payment for longer than usual.
    NoPayments,
    /// The scores are no longer those that the model was trained for.
    ScoresMoved,
}

impl Trouble {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::DeadLetters,
        Self::Held,
        Self::NotAssessed,
        Self::NoPayments,
        Self::ScoresMoved,
    ];

    /// As commands and the database have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetters => "dead_letters",
            Self::Held => "held_partition",
            Self::NotAssessed => "not_assessed",
            Self::NoPayments => "no_payments",
            Self::ScoresMoved => "scores_moved",
        }
    }

    fn severity(self) -> Severity {
        match self {
            Self::DeadLetters | Self::ScoresMoved => Severity::Warning,
            Self::Held | Self::NotAssessed | Self::NoPayments => Severity::Critical,
        }
    }

    /// In the subject of a message.
    fn title(self) -> &'static str {
        match self {
            Self::DeadLetters => "many dead letters",
            Self::Held => "a held partition",
            Self::NotAssessed => "payments without a score",
            Self::NoPayments => "no payments",
            Self::ScoresMoved => "the scores have moved",
        }
    }
}

/// How one stream is, as to one kind of trouble. Where nothing can be said there is no finding,
/// and what is open stays open.
#[derive(Debug, Clone, PartialEq)]
struct Finding {
    trouble: Trouble,
    stream: i16,
    /// What is wrong; `None`: nothing.
    wrong: Option<Wrong>,
}

/// What is wrong, in words.
#[derive(Debug, Clone, PartialEq)]
struct Wrong {
    /// What it is about: news when it changes.
    subject: String,
    /// The newest figures, and what to do.
    detail: String,
}

impl Finding {
    fn fine(trouble: Trouble, stream: i16) -> Self {
        Self {
            trouble,
            stream,
            wrong: None,
        }
    }

    fn wrong(trouble: Trouble, stream: i16, detail: String) -> Self {
        let subject = String::new();
        Self {
            trouble,
            stream,
            wrong: Some(Wrong { subject, detail }),
        }
    }
}

/// Looks at the stream every ten seconds; the process that notifies has one.
#[derive(Debug)]
pub struct Watch {
    looked: Option<Instant>,
    drift: Drift,
}

impl Watch {
    /// Nothing has been looked at yet.
    pub fn new(config: &Config) -> Self {
        Self {
            looked: None,
            drift: Drift::new(config),
        }
    }

    /// Whether it is time for a look.
    pub fn is_due(&self) -> bool {
        self.looked.is_none_or(|looked| looked.elapsed() >= EVERY)
    }

    /// Opens and closes incidents of the system, and writes a message about what is news.
    ///
    /// # Errors
    /// When the database fails; incidents and message are written together or not at all.
    pub async fn look(
        &mut self,
        client: &mut Client,
        config: &Config,
        channels: &Channels,
    ) -> Result<(), Error> {
        self.looked = Some(Instant::now());
        minutes::note(client).await?;
        let settings = &config.incidents;
        let open = open(client).await?;
        let is_open = |trouble, stream| open.contains(&(trouble, stream));
        let drift = self.drift.look(client, config).await?;
        let mut findings = dead_letters::look(client, settings.dead_letter_share, is_open).await?;
        findings.extend(held::look(client).await?);
        findings.extend(not_assessed::look(client, drift.not_assessed).await?);
        findings.extend(silence::look(client, settings.silence).await?);
        findings.extend(drift.moved(config, is_open));
        self.tell(client, &findings, config, channels).await?;
        super::state_open(client).await
    }

    async fn tell(
        &self,
        client: &mut Client,
        findings: &[Finding],
        config: &Config,
        channels: &Channels,
    ) -> Result<(), Error> {
        let transaction = client.transaction().await?;
        for finding in findings {
            note(&transaction, finding).await?;
        }
        let news = news(&transaction, config.incidents.cooldown).await?;
        if !news.is_empty() {
            let notice = letter::notice(&news);
            let notice = outbox::enqueue(&transaction, &notice, channels).await?;
            stamp(&transaction, notice, &news).await?;
            tracing::warn!(
                notice,
                incidents = news.len(),
                "on-call is told of the system"
            );
        }
        transaction.commit().await
    }
}

/// What is open, by kind and stream.
async fn open(client: &Client) -> Result<Vec<(Trouble, i16)>, Error> {
    let open =
        "SELECT group_key, stream FROM incidents WHERE group_by = 'system' AND closed_at IS NULL";
    let mut found = Vec::new();
    for row in client.query(open, &[]).await? {
        let name: String = row.try_get(0)?;
        let trouble = Trouble::ALL
            .into_iter()
            .find(|trouble| trouble.as_str() == name);
        if let Some(trouble) = trouble {
            found.push((trouble, row.try_get(1)?));
        }
    }
    Ok(found)
}

/// Opens, renews or closes the incident of a finding.
async fn note(transaction: &Transaction<'_>, finding: &Finding) -> Result<(), Error> {
    let Finding {
        trouble,
        stream,
        wrong,
    } = finding;
    let Some(Wrong { subject, detail }) = wrong else {
        let close = "UPDATE incidents SET closed_at = now()
                     WHERE group_by = 'system' AND group_key = $1 AND stream = $2 AND closed_at IS NULL";
        transaction
            .execute(close, &[&trouble.as_str(), &stream])
            .await?;
        return Ok(());
    };
    let renew = "UPDATE incidents SET last_alert_at = now(), subject = $3, detail = $4
                 WHERE group_by = 'system' AND group_key = $1 AND stream = $2 AND closed_at IS NULL";
    let renewed = transaction
        .execute(renew, &[&trouble.as_str(), &stream, &subject, &detail])
        .await?;
    if renewed == 0 {
        let severity = trouble.severity();
        transaction
            .execute(
                "INSERT INTO incidents (kind, group_by, group_key, stream, severity, opened_at, last_alert_at, subject,
                                        detail)
                 VALUES ('system', 'system', $1, $2, $3, now(), now(), $4, $5)",
                &[&trouble.as_str(), &stream, &severity.as_str(), &subject, &detail],
            )
            .await?;
        metrics::incidents(IncidentKind::System, severity, 1);
    }
    Ok(())
}

/// What on-call does not know yet: troubles that began, are about something else than was told,
/// or are still there when a snooze ends; and the end of those that were told, which a snooze or
/// the same trouble begun anew delays. A trouble that comes back is told again after the cooldown
/// at the earliest.
async fn news(transaction: &Transaction<'_>, cooldown: Duration) -> Result<Vec<News>, Error> {
    let rows = transaction
        .query(
            "SELECT i.id, i.group_key, i.stream, i.severity, i.opened_at, i.closed_at IS NULL AS is_open,
                    i.last_noticed_at IS NOT NULL AS is_known, i.detail
             FROM incidents AS i
             WHERE i.group_by = 'system'
               AND (i.closed_at IS NULL OR i.closed_at > now() - make_interval(secs => $2))
               AND NOT EXISTS (SELECT FROM snoozes AS s
                               WHERE s.what = 'system' AND s.key = i.group_key AND s.ended_at IS NULL
                                 AND s.until > now())
               AND CASE
                   WHEN i.closed_at IS NOT NULL THEN i.last_noticed_at < i.closed_at AND NOT EXISTS (
                       SELECT FROM incidents AS later
                       WHERE later.group_by = 'system' AND later.group_key = i.group_key
                         AND later.stream = i.stream AND later.id > i.id
                         AND (later.closed_at IS NULL OR later.last_noticed_at IS NOT NULL))
                   WHEN i.last_noticed_at IS NULL THEN NOT EXISTS (
                       SELECT FROM incidents AS earlier
                       WHERE earlier.group_by = 'system' AND earlier.group_key = i.group_key
                         AND earlier.stream = i.stream
                         AND earlier.last_noticed_at > now() - make_interval(secs => $1))
                   ELSE i.subject <> i.noticed_subject
                        AND i.last_noticed_at <= now() - make_interval(secs => $1)
                     OR EXISTS (SELECT FROM snoozes AS s
                                WHERE s.what = 'system' AND s.key = i.group_key AND s.at > i.last_noticed_at)
                   END
             ORDER BY i.severity, i.id",
            &[&seconds(cooldown), &seconds(LONGEST_DELAY)],
        )
        .await?;
    rows.iter().map(News::read).collect()
}

async fn stamp(transaction: &Transaction<'_>, notice: i64, news: &[News]) -> Result<(), Error> {
    let told: Vec<i64> = news.iter().map(|news| news.incident).collect();
    transaction
        .execute(
            "WITH told AS (
                 UPDATE incidents SET last_noticed_at = now(), noticed_severity = severity, noticed_subject = subject
                 WHERE id = ANY ($2) RETURNING id
             )
             INSERT INTO notice_incidents (notice_id, incident_id, alerts) SELECT $1, id, 0 FROM told",
            &[&notice, &told],
        )
        .await?;
    Ok(())
}
