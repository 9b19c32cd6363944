//! The database against a second pass over the same topic, in another schema.

use std::cmp::Ordering;
use std::pin::{Pin, pin};

use anyhow::bail;
use futures_util::TryStreamExt;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, IsolationLevel, Row, RowStream, Statement, Transaction};

use crate::config::Config;
use crate::database::{self, Day, Login, Moment};
use crate::migrate;

use super::{Check, EXAMPLES, differences};

/// In the order of the key, so that two passes can be merged.
const ROWS: &str = "\
    SELECT event_time, trans_num, account, features, score, decision, base_score, amount, \
           body_hash, reasons, source_partition, source_offset, model_version, policy_version, \
           origin \
    FROM payments_scored WHERE event_day = $1 AND stream = $2 \
    ORDER BY event_time, trans_num, account";

const DAYS: &str = "SELECT DISTINCT event_day FROM payments_scored WHERE stream = $1";

const OFFSETS: &str = "\
    SELECT format('partition %s: first %s, next %s, %s scored, %s dead, %s duplicates, %s skipped; \
                   there %s, %s, %s, %s, %s, %s', partition, \
                  a.first_offset, a.next_offset, a.scored, a.dead, a.duplicates, a.skipped, \
                  b.first_offset, b.next_offset, b.scored, b.dead, b.duplicates, b.skipped) \
    FROM (SELECT * FROM stream_offsets WHERE stream = $1) AS a \
    FULL JOIN (SELECT * FROM OTHER.stream_offsets WHERE stream = $1) AS b USING (partition) \
    WHERE (a.first_offset, a.next_offset, a.scored, a.dead, a.duplicates, a.skipped, a.watermark) \
          IS DISTINCT FROM \
          (b.first_offset, b.next_offset, b.scored, b.dead, b.duplicates, b.skipped, b.watermark)";

const DEAD_LETTERS: &str = "\
    SELECT format('partition %s offset %s: %s %s, there %s %s', source_partition, source_offset, \
                  a.reason, a.field, b.reason, b.field) \
    FROM (SELECT * FROM dead_letters WHERE stream = $1) AS a \
    FULL JOIN (SELECT * FROM OTHER.dead_letters WHERE stream = $1) AS b \
    USING (source_partition, source_offset) \
    WHERE (a.reason, a.field, a.payload_hash) IS DISTINCT FROM (b.reason, b.field, b.payload_hash)";

/// Compares offsets, dead letters, and every row's features, score and decision.
pub(super) async fn checks(
    here: &Transaction<'_>,
    other: &Config,
    stream: i16,
) -> anyhow::Result<Vec<Check>> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !other.database.schema.chars().all(plain) {
        bail!("expected the name of a schema, of a-z, 0-9 and _");
    }
    let mut client = database::connect(other, Login::Writer, "vigie reconcile").await?;
    migrate::check_current(&client).await?;
    let there = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .start()
        .await?;
    there
        .batch_execute("SET LOCAL statement_timeout = 0")
        .await?;
    let quoted = format!("\"{}\"", other.database.schema);
    let mut checks = Vec::new();
    for (name, query, summary) in [
        (
            "offsets there",
            OFFSETS,
            "both passes read the same offsets, counted alike",
        ),
        (
            "dead there",
            DEAD_LETTERS,
            "both passes have the same dead letters",
        ),
    ] {
        let query = query.replace("OTHER", &quoted);
        let (differences, examples) = differences(here, &query, &[&stream]).await?;
        checks.push(Check {
            name,
            summary: summary.into(),
            differences,
            examples,
        });
    }
    checks.push(rows(here, &there, stream).await?);
    there.rollback().await?;
    Ok(checks)
}

async fn rows(
    here: &Transaction<'_>,
    there: &Transaction<'_>,
    stream: i16,
) -> Result<Check, Error> {
    let (ours, theirs) = (here.prepare(ROWS).await?, there.prepare(ROWS).await?);
    let mut found = Found::default();
    let mut days: Vec<Day> = Vec::new();
    for side in [here, there] {
        for row in side.query(DAYS, &[&stream]).await? {
            days.push(row.try_get(0)?);
        }
    }
    days.sort_unstable();
    days.dedup();
    for day in days {
        let ours = day_of(here, &ours, stream, day).await?;
        let theirs = day_of(there, &theirs, stream, day).await?;
        merge(pin!(ours), pin!(theirs), &mut found).await?;
    }
    Ok(Check {
        name: "rows there",
        summary: format!(
            "{} payments have the same features, score and decision, bit for bit",
            found.compared
        ),
        differences: found.differences,
        examples: found.examples,
    })
}

async fn day_of(
    side: &Transaction<'_>,
    statement: &Statement,
    stream: i16,
    day: Day,
) -> Result<RowStream, Error> {
    let parameters: [&(dyn ToSql + Sync); 2] = [&day, &stream];
    side.query_raw(statement, parameters).await
}

#[derive(Default)]
struct Found {
    compared: i64,
    differences: i64,
    examples: Vec<String>,
}

impl Found {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.differences += 1;
        if (self.examples.len() as i64) < EXAMPLES {
            self.examples.push(example());
        }
    }
}

/// Goes through both passes in the order of the key, holding one row of each.
async fn merge(
    mut ours: Pin<&mut RowStream>,
    mut theirs: Pin<&mut RowStream>,
    found: &mut Found,
) -> Result<(), Error> {
    let (mut a, mut b) = (ours.try_next().await?, theirs.try_next().await?);
    loop {
        let order = match (&a, &b) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => key(a)?.cmp(&key(b)?),
        };
        match (order, &a, &b) {
            (Ordering::Less, Some(row), _) => {
                let name = name(row)?;
                found.add(|| format!("{name} is only here"));
            }
            (Ordering::Greater, _, Some(row)) => {
                let name = name(row)?;
                found.add(|| format!("{name} is only there"));
            }
            (_, Some(a), Some(b)) => {
                found.compared += 1;
                let differing = differing(a, b)?;
                if !differing.is_empty() {
                    let name = name(a)?;
                    found.add(|| format!("{name} differs in {}", differing.join(", ")));
                }
            }
            _ => return Ok(()),
        }
        if order.is_le() {
            a = ours.try_next().await?;
        }
        if order.is_ge() {
            b = theirs.try_next().await?;
        }
    }
}

fn key(row: &Row) -> Result<(Moment, &str, &[u8]), Error> {
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}

fn name(row: &Row) -> Result<String, Error> {
    let (id, partition, offset): (&str, i32, i64) =
        (row.try_get(1)?, row.try_get(10)?, row.try_get(11)?);
    Ok(format!("{id} (partition {partition} offset {offset})"))
}

/// What differs, in words. Scores are compared by their bits.
fn differing(a: &Row, b: &Row) -> Result<Vec<String>, Error> {
    let mut words = Vec::new();
    let (ours, theirs): (&[u8], &[u8]) = (a.try_get(3)?, b.try_get(3)?);
    if ours != theirs {
        words.push(features(ours, theirs));
    }
    for (what, column) in [("score", 4), ("first stage's score", 6)] {
        let (ours, theirs): (Option<f32>, Option<f32>) = (a.try_get(column)?, b.try_get(column)?);
        if ours.map(f32::to_bits) != theirs.map(f32::to_bits) {
            words.push(format!("{what} ({ours:?}, there {theirs:?})"));
        }
    }
    for (what, column) in [("decision", 5), ("origin", 14)] {
        let (ours, theirs): (i16, i16) = (a.try_get(column)?, b.try_get(column)?);
        if ours != theirs {
            words.push(format!("{what} ({ours}, there {theirs})"));
        }
    }
    for (what, column) in [("amount", 7), ("body", 8)] {
        if a.try_get::<_, i64>(column)? != b.try_get::<_, i64>(column)? {
            words.push(what.into());
        }
    }
    if a.try_get::<_, Option<Vec<&str>>>(9)? != b.try_get::<_, Option<Vec<&str>>>(9)? {
        words.push("reasons".into());
    }
    let (ours, theirs): (i64, i64) = (a.try_get(11)?, b.try_get(11)?);
    if ours != theirs || a.try_get::<_, i32>(10)? != b.try_get::<_, i32>(10)? {
        words.push(format!("offset ({ours}, there {theirs})"));
    }
    for (what, column) in [("model", 12), ("policy", 13)] {
        let (ours, theirs): (&str, &str) = (a.try_get(column)?, b.try_get(column)?);
        if ours != theirs {
            words.push(format!("{what} ({ours}, there {theirs})"));
        }
    }
    Ok(words)
}

/// The first feature that differs, by its place in the bundle's order.
fn features(ours: &[u8], theirs: &[u8]) -> String {
    let values = |bytes: &[u8]| -> Vec<f32> {
        let (values, _) = bytes.as_chunks::<4>();
        values
            .iter()
            .map(|value| f32::from_le_bytes(*value))
            .collect()
    };
    let (ours, theirs) = (values(ours), values(theirs));
    let first = ours
        .iter()
        .zip(&theirs)
        .position(|(a, b)| a.to_bits() != b.to_bits());
    match first {
        Some(at) => format!("feature {at} ({}, there {})", ours[at], theirs[at]),
        None => format!("features ({} of them, there {})", ours.len(), theirs.len()),
    }
}
