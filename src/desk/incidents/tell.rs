//! What is due becomes one notice, in one transaction.

use tokio_postgres::{Client, Error, IsolationLevel, Row, Transaction};

use super::message::{self, Alert, Digest, Heard, Observed, Place};
use super::shared::Shared;
use super::snoozed::snoozed;
use super::{Told, seconds};
use crate::bundle::Bundle;
use crate::config::Config;
use crate::database::{Day, Moment};
use crate::desk::notifier::outbox::{self, Channels, Notice, NoticeKind};
use crate::desk::text::Money;
use crate::engine::policy::Policy;

/// Alerts that a message names.
const RISKIEST: i64 = 5;
/// Currencies that a message sums.
const CURRENCIES: i64 = 5;

/// Why a message may be written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// The pause is over.
    AnyNews,
    /// It is not, and something is newly critical.
    CriticalNews,
}

/// Untold alerts of incidents that may be told of; those that nobody wants to hear of stay. With
/// each, for how long the first of all has waited, and the first that is newly critical.
fn due() -> String {
    format!(
        "SELECT a.id, extract(epoch FROM now() - min(a.created_at) OVER ())::float8,
                extract(epoch FROM now() - min(a.created_at) FILTER (
                    WHERE i.severity = 'critical' AND i.noticed_severity IS DISTINCT FROM 'critical') OVER ())::float8
         FROM incidents AS i
         JOIN fraud_alerts AS a ON a.incident_id = i.id AND a.outbox_id IS NULL AND a.silenced_at IS NULL
         WHERE i.kind = 'fraud' AND i.closed_at IS NULL AND i.untold > 0
           AND (i.last_noticed_at IS NULL OR i.last_noticed_at <= now() - make_interval(secs => $1)
                OR (i.severity = 'critical' AND i.noticed_severity = 'warning'))
           AND NOT {}
         ORDER BY a.id LIMIT $2",
        snoozed()
    )
}

/// Writes a message about everything that is due, at most `at_once` alerts; `None` when nothing
/// is, or when the first alert may still wait for others.
///
/// # Errors
/// When the database fails; then nothing is told.
pub(super) async fn tell(
    client: &mut Client,
    config: &Config,
    channels: &Channels,
    occasion: Occasion,
    at_once: i64,
) -> Result<Option<Told>, Error> {
    let settings = &config.incidents;
    // Every statement sees the same alerts, so that what is told is what is stamped.
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .start()
        .await?;
    let rows = transaction
        .query(&due(), &[&seconds(settings.cooldown), &at_once])
        .await?;
    let first = match occasion {
        Occasion::AnyNews => 1,
        Occasion::CriticalNews => 2,
    };
    let waited: Option<f64> = rows.first().map_or(Ok(None), |row| row.try_get(first))?;
    if waited.is_none_or(|waited| waited < seconds(settings.gather)) {
        return Ok(None);
    }
    let alerts: Vec<i64> = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    let mut digest = digest(&transaction, &alerts).await?;
    digest.thresholds = thresholds(&digest, config);
    let notice = write(&transaction, &digest, config, channels).await?;
    stamp(&transaction, notice, &alerts).await?;
    transaction.commit().await?;
    Ok(Some(Told {
        notice,
        alerts: digest.alerts(),
        incidents: digest.incidents,
    }))
}

/// Those of the bundle in its folder, which may be a newer one than decided: then none.
fn thresholds(digest: &Digest, config: &Config) -> Option<(f32, f32)> {
    let bundle = Bundle::read(&config.stream.bundle).ok()?;
    let policy = Policy::of_bundle(&bundle.version, bundle.policy);
    let decided = digest.versions().1;
    let is_it = decided.len() == 1 && decided.contains(policy.version.as_str());
    is_it.then_some((bundle.policy.review, bundle.policy.block))
}

async fn write(
    transaction: &Transaction<'_>,
    digest: &Digest,
    config: &Config,
    channels: &Channels,
) -> Result<i64, Error> {
    let database = &config.database;
    let place = Place {
        host: &database.host,
        port: database.port,
        database: &database.name,
        schema: &database.schema,
    };
    let letter = message::render(digest, &place);
    let notice = Notice {
        kind: NoticeKind::Incident,
        subject: letter.subject,
        text: letter.text,
        html: letter.html,
        payload: letter.payload,
        attachments: Vec::new(),
    };
    outbox::enqueue(transaction, &notice, channels).await
}

/// The alerts belong to the notice, and their incidents know that they were told of.
async fn stamp(transaction: &Transaction<'_>, notice: i64, alerts: &[i64]) -> Result<(), Error> {
    transaction
        .execute(
            "WITH told AS (
                 UPDATE fraud_alerts SET outbox_id = (SELECT min(id) FROM outbox WHERE notice_id = $1)
                 WHERE id = ANY ($2)
                 RETURNING incident_id
             ), counts AS (
                 INSERT INTO notice_incidents (notice_id, incident_id, alerts)
                 SELECT $1, incident_id, count(*) FROM told GROUP BY incident_id
                 RETURNING incident_id, alerts
             )
             UPDATE incidents AS i
             SET untold = i.untold - c.alerts, last_noticed_at = now(), noticed_severity = i.severity
             FROM counts AS c WHERE i.id = c.incident_id",
            &[&notice, &alerts],
        )
        .await?;
    Ok(())
}

/// What the message says, summed where the alerts are: there may be many.
async fn digest(transaction: &Transaction<'_>, alerts: &[i64]) -> Result<Digest, Error> {
    let counts = transaction
        .query_one(
            "SELECT count(*) FILTER (WHERE a.decision = 1), count(*) FILTER (WHERE a.decision = 2),
                    count(DISTINCT a.incident_id),
                    count(DISTINCT a.incident_id) FILTER (WHERE i.severity = 'critical'),
                    min(a.created_at), max(a.created_at), now()
             FROM fraud_alerts AS a JOIN incidents AS i ON i.id = a.incident_id WHERE a.id = ANY ($1)",
            &[&alerts],
        )
        .await?;
    let count =
        |column| Ok::<_, Error>(u64::try_from(counts.try_get::<_, i64>(column)?).unwrap_or(0));
    let moment = |column| counts.try_get::<_, Moment>(column).map(|moment| moment.0);
    let (totals, other_currencies) = totals(transaction, alerts).await?;
    Ok(Digest {
        at: moment(6)?,
        incidents: count(2)?,
        critical: count(3)?,
        review: count(0)?,
        block: count(1)?,
        window: (moment(4)?, moment(5)?),
        totals,
        other_currencies,
        shared: Shared::of(transaction, alerts).await?,
        heard: heard(transaction).await?,
        riskiest: riskiest(transaction, alerts).await?,
        observed: observed(transaction).await?,
        thresholds: None,
    })
}

/// The sums, and in how many other currencies there are some.
async fn totals(transaction: &Transaction<'_>, alerts: &[i64]) -> Result<(Vec<Money>, u64), Error> {
    let rows = transaction
        .query(
            "SELECT least(sum(a.amount), 9e18)::bigint AS amount, coalesce(s.amount_scale, 0)::integer AS scale, a.currency,
                    count(*) OVER () AS currencies
             FROM fraud_alerts AS a LEFT JOIN streams AS s USING (stream)
             WHERE a.id = ANY ($1)
             GROUP BY coalesce(s.amount_scale, 0), a.currency
             ORDER BY count(*) DESC, a.currency LIMIT $2",
            &[&alerts, &CURRENCIES],
        )
        .await?;
    let all: i64 = rows
        .first()
        .map_or(Ok(0), |row| row.try_get("currencies"))?;
    let totals = rows.iter().map(money).collect::<Result<Vec<_>, _>>()?;
    Ok((totals, u64::try_from(all - CURRENCIES).unwrap_or(0)))
}

/// What on-call was told in the last hour, before this message.
async fn heard(transaction: &Transaction<'_>) -> Result<Option<Heard>, Error> {
    let row = transaction
        .query_one(
            "SELECT count(DISTINCT n.id), coalesce(sum(told.alerts), 0)::bigint, min(n.created_at)
             FROM notices AS n JOIN notice_incidents AS told ON told.notice_id = n.id
             WHERE n.kind = 'incident' AND n.created_at > now() - interval '1 h'",
            &[],
        )
        .await?;
    let count = |column| Ok::<_, Error>(u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or(0));
    let since: Option<Moment> = row.try_get(2)?;
    since
        .map(|since| {
            Ok(Heard {
                messages: count(0)?,
                alerts: count(1)?,
                since: since.0,
            })
        })
        .transpose()
}

async fn riskiest(transaction: &Transaction<'_>, alerts: &[i64]) -> Result<Vec<Alert>, Error> {
    let rows = transaction
        .query(
            "SELECT a.incident_id, a.amount, coalesce(s.amount_scale, 0)::integer AS scale, a.currency, a.merchant,
                    a.trans_num, a.account, a.score, a.decision, a.reasons, a.event_time, a.event_day, a.stream
             FROM fraud_alerts AS a LEFT JOIN streams AS s USING (stream)
             WHERE a.id = ANY ($1)
             ORDER BY a.amount / power(10::numeric, coalesce(s.amount_scale, 0)) DESC, a.score DESC NULLS LAST, a.id
             LIMIT $2",
            &[&alerts, &RISKIEST],
        )
        .await?;
    let mut riskiest = Vec::with_capacity(rows.len());
    for row in &rows {
        riskiest.push(alert(transaction, row).await?);
    }
    Ok(riskiest)
}

async fn alert(transaction: &Transaction<'_>, row: &Row) -> Result<Alert, Error> {
    let account: &[u8] = row.try_get("account")?;
    let (payment, time): (&str, Moment) = (row.try_get("trans_num")?, row.try_get("event_time")?);
    let stream: i16 = row.try_get("stream")?;
    let day: Day = row.try_get("event_day")?;
    let stored = transaction
        .query_opt(
            "SELECT model_version, policy_version FROM payments_scored
             WHERE event_day = $1 AND event_time = $2 AND trans_num = $3 AND account = $4 AND stream = $5",
            &[&day, &time, &payment, &account, &stream],
        )
        .await?;
    let versions = stored.map(|stored| Ok::<_, Error>((stored.try_get(0)?, stored.try_get(1)?)));
    let reasons: Option<Vec<String>> = row.try_get("reasons")?;
    Ok(Alert {
        incident: row.try_get("incident_id")?,
        amount: money(row)?,
        account: account
            .iter()
            .take(4)
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        merchant: row.try_get("merchant")?,
        payment: payment.to_owned(),
        score: row.try_get("score")?,
        blocked: row.try_get::<_, i16>("decision")? == 2,
        reasons: reasons.unwrap_or_default(),
        time: time.0,
        versions: versions.transpose()?,
    })
}

/// Alerts of the last hour against the mean hour of the seven days before, as far as there are any.
async fn observed(transaction: &Transaction<'_>) -> Result<Observed, Error> {
    let row = transaction
        .query_one(
            "SELECT count(*) FILTER (WHERE created_at > now() - interval '1 h'),
                    count(*) FILTER (WHERE created_at <= now() - interval '1 h'),
                    extract(epoch FROM now() - interval '1 h' - min(created_at))::float8 / 3600
             FROM fraud_alerts WHERE created_at > now() - interval '7 days 1 h' AND origin = 0",
            &[],
        )
        .await?;
    let (last_hour, before): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let hours: f64 = row.try_get::<_, Option<f64>>(2)?.unwrap_or(0.0);
    Ok(Observed {
        last_hour: u64::try_from(last_hour).unwrap_or(0),
        usual: (hours >= 1.0).then(|| before as f64 / hours),
    })
}

fn money(row: &Row) -> Result<Money, Error> {
    Ok(Money {
        minor: row.try_get("amount")?,
        scale: u32::try_from(row.try_get::<_, i32>("scale")?).unwrap_or(0),
        currency: row.try_get("currency")?,
    })
}
