//! The small rows of a batch: offsets, dead letters, alerts. Few a batch, so they travel as
//! arrays; the many go by COPY.

use std::borrow::Cow;

use tokio_postgres::Error;

use crate::database::{Day, Moment};
use crate::engine::batch::{DeadLetter, Decided};

use super::commit::Span;
use super::encode::{Encoder, decision_code, origin_code};
use super::moments;
use super::session::Session;

/// Moves every partition of a batch, or fewer: those whose epoch or place is another are not
/// this lane's any more.
pub(super) const MOVE_OFFSETS: &str = "\
    UPDATE stream_offsets AS o \
    SET next_offset = s.next_offset, scored = o.scored + s.scored, dead = o.dead + s.dead, \
        duplicates = o.duplicates + s.duplicates, skipped = o.skipped + s.skipped, \
        watermark = s.watermark, recent_dead = s.recent, held = s.held, \
        held_at = CASE WHEN s.held IS NOT NULL THEN coalesce(o.held_at, now()) END, \
        published_to = s.published_to, unpublished_day = s.unpublished_day, moved_at = now() \
    FROM unnest($2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], \
                $7::bigint[], $8::bigint[], $9::bigint[], $10::timestamptz[], $11::bytea[], \
                $12::text[], $13::bigint[], $14::date[]) \
         AS s (partition, epoch, from_offset, next_offset, scored, dead, duplicates, skipped, \
               watermark, recent, held, published_to, unpublished_day) \
    WHERE o.stream = $1 AND o.partition = s.partition AND o.epoch = s.epoch \
      AND o.next_offset = s.from_offset \
    RETURNING o.partition";

pub(super) const DEAD_LETTERS: &str = "\
    INSERT INTO dead_letters (stream, topic, source_partition, source_offset, record_time, key, \
                              reason, field, message, payload, payload_bytes, payload_hash) \
    SELECT $1::smallint, $2::text, d.* \
    FROM unnest($3::integer[], $4::bigint[], $5::timestamptz[], $6::text[], $7::text[], \
                $8::text[], $9::text[], $10::text[], $11::bigint[], $12::bytea[]) AS d";

pub(super) const ALERTS: &str = "\
    INSERT INTO fraud_alerts (stream, source_partition, source_offset, event_day, event_time, \
                              trans_num, account, amount, currency, merchant, category, country, \
                              score, decision, reasons, origin) \
    SELECT $1::smallint, a.partition, a.source_offset, a.event_day, a.event_time, a.trans_num, \
           a.account, a.amount, a.currency, a.merchant, a.category, a.country, a.score, \
           a.decision, CASE WHEN a.reason <> '' THEN ARRAY[a.reason] END, a.origin \
    FROM unnest($2::integer[], $3::bigint[], $4::date[], $5::timestamptz[], $6::text[], \
                $7::bytea[], $8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[], \
                $13::real[], $14::smallint[], $15::text[], $16::smallint[]) \
         AS a (partition, source_offset, event_day, event_time, trans_num, account, amount, \
               currency, merchant, category, country, score, decision, reason, origin)";

/// Moves the offsets and returns the partitions that moved.
pub(super) async fn move_offsets(
    session: &Session,
    stream: i16,
    spans: &[Span],
) -> Result<Vec<i32>, Error> {
    let whole = |field: fn(&Span) -> i64| spans.iter().map(field).collect::<Vec<i64>>();
    let partitions: Vec<i32> = spans.iter().map(|span| span.partition).collect();
    let watermarks = moments(spans.iter().map(|span| span.watermark));
    let recent: Vec<&[u8]> = spans.iter().map(|span| span.recent.as_slice()).collect();
    let held: Vec<Option<&str>> = spans.iter().map(|span| span.held.as_deref()).collect();
    let published = spans.iter().map(|span| span.published);
    let (positions, days): (Vec<Option<i64>>, Vec<Option<Day>>) = published
        .map(|published| published.map_or((None, None), |p| (Some(p.to), p.first_day.map(Day))))
        .unzip();
    let rows = session
        .client
        .query(
            &session.statements.move_offsets,
            &[
                &stream,
                &partitions,
                &whole(|span| span.epoch),
                &whole(|span| span.from),
                &whole(|span| span.to),
                &whole(|span| span.scored),
                &whole(|span| span.dead),
                &whole(|span| span.duplicates),
                &whole(|span| span.skipped),
                &watermarks,
                &recent,
                &held,
                &positions,
                &days,
            ],
        )
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Stores dead letters; none is no statement.
pub(super) async fn insert_dead_letters(
    session: &Session,
    (stream, topic): (i16, &str),
    letters: &[DeadLetter],
) -> Result<(), Error> {
    if letters.is_empty() {
        return Ok(());
    }
    let texts = |field: fn(&DeadLetter) -> Option<&str>| {
        letters
            .iter()
            .map(|letter| field(letter).map(without_nul))
            .collect::<Vec<_>>()
    };
    let partitions: Vec<i32> = letters.iter().map(|letter| letter.partition).collect();
    let offsets: Vec<i64> = letters.iter().map(|letter| letter.offset).collect();
    let times: Vec<Moment> = letters
        .iter()
        .map(|letter| Moment(letter.timestamp))
        .collect();
    let lengths: Vec<i64> = letters
        .iter()
        .map(|letter| letter.payload_bytes as i64)
        .collect();
    let hashes: Vec<&[u8]> = letters
        .iter()
        .map(|letter| letter.payload_hash.as_slice())
        .collect();
    session
        .client
        .execute(
            &session.statements.dead_letters,
            &[
                &stream,
                &topic,
                &partitions,
                &offsets,
                &times,
                &texts(|letter| letter.key.as_deref()),
                &texts(|letter| Some(letter.reason.as_str())),
                &texts(|letter| letter.field.as_deref()),
                &texts(|letter| Some(&letter.message)),
                &texts(|letter| Some(&letter.payload)),
                &lengths,
                &hashes,
            ],
        )
        .await?;
    Ok(())
}

/// Stores an alert for every payment that raises one and that `stored` is true for.
pub(super) async fn insert_alerts(
    session: &Session,
    stream: i16,
    encoder: &Encoder,
    decided: &Decided,
    stored: impl Fn(usize) -> bool,
) -> Result<(), Error> {
    let rows: Vec<usize> = (0..decided.events.len())
        .filter(|&row| decided.raises_alert(row) && stored(row))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let events = &decided.events;
    let ids = encoder.ids(decided);
    let head = |row: usize| &decided.heads[events.record[row] as usize];
    let named = |which: usize| {
        let texts = encoder.named(decided, which);
        rows.iter()
            .map(|&row| texts.and_then(|texts| texts.get(row)))
            .collect::<Vec<_>>()
    };
    session
        .client
        .execute(
            &session.statements.alerts,
            &[
                &stream,
                &each(&rows, |row| head(row).partition),
                &each(&rows, |row| head(row).offset),
                &each(&rows, |row| Day(events.day[row])),
                &each(&rows, |row| Moment(events.time[row])),
                &each(&rows, |row| ids.get(row)),
                &each(&rows, |row| events.account[row].0.as_slice()),
                &each(&rows, |row| events.amount[row]),
                &named(0),
                &named(1),
                &named(2),
                &named(3),
                &each(&rows, |row| {
                    Some(decided.scores[row]).filter(|s| !s.is_nan())
                }),
                &each(&rows, |row| decision_code(decided.decisions[row])),
                &each(&rows, |row| decided.reasons[row].as_str()),
                &each(&rows, |row| origin_code(decided.origins[row])),
            ],
        )
        .await?;
    Ok(())
}

fn each<T>(rows: &[usize], field: impl Fn(usize) -> T) -> Vec<T> {
    rows.iter().map(|&row| field(row)).collect()
}

/// A text column holds no NUL; a broken payload may.
fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}
