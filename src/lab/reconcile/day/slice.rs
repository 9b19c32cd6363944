//! The offsets that a day's records lie at, and what became of them.

use std::collections::BTreeMap;

use tokio_postgres::{Error, Transaction};

use super::Rest;
use crate::database::{Day, Moment};

/// How many sentences about partitions are shown.
const EXAMPLES: usize = 5;

/// The day's offsets in one partition: `from <= offset < to`; and the partition's counters over
/// all time.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    partition: i32,
    from: i64,
    to: i64,
    duplicates: i64,
    skipped: i64,
    unbalanced: i64,
}

/// What became of the day's offsets.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) consumed: i64,
    pub(super) scored: i64,
    pub(super) canaries: i64,
    pub(super) dead: i64,
    pub(super) rest: i64,
    pub(super) rest_is: Rest,
    pub(super) missing: i64,
    pub(super) doubled: i64,
    pub(super) differences: Vec<String>,
}

const COUNTERS: &str = "\
    SELECT partition, next_offset, duplicates, skipped, \
           next_offset - first_offset - scored - dead - duplicates - skipped \
    FROM stream_offsets WHERE stream = $1 ORDER BY partition";

/// The days from one on that hold anything, by the tables there are. Names are compared as text:
/// the planner may look at those of other relations first, and they are no days.
const DAYS: &str = "\
    SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day \
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid \
    WHERE i.inhparent = 'payments_scored'::regclass \
      AND right(c.relname, 8) >= to_char($1::date, 'YYYYMMDD') \
    ORDER BY day";

/// Midnight, when a stream's day begins.
const MIDNIGHT: &str = "\
    SELECT $1::date::timestamp AT TIME ZONE business_zone FROM streams WHERE stream = $2";

const FIRSTS: &str = "\
    SELECT source_partition, min(source_offset) FROM payments_scored \
    WHERE event_day = $1 AND stream = $2 AND scored_at >= $3 GROUP BY source_partition";

/// The day's offsets, by partition; those without any are left out.
pub(super) async fn of_day(
    snapshot: &Transaction<'_>,
    stream: i16,
    day: Day,
) -> Result<Vec<Slice>, Error> {
    let counters = snapshot.query(COUNTERS, &[&stream]).await?;
    let partitions: Vec<i32> = counters
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    let from = begins(snapshot, stream, day, &partitions).await?;
    if from.is_empty() {
        return Ok(Vec::new());
    }
    let to = begins(snapshot, stream, Day(day.0 + 1), &partitions).await?;
    let mut slices = Vec::new();
    for row in counters {
        let partition = row.try_get(0)?;
        let Some(&from) = from.get(&partition) else {
            continue;
        };
        let end = row.try_get(1)?;
        let to = to.get(&partition).copied().unwrap_or(end);
        if from < to {
            slices.push(Slice {
                partition,
                from,
                to,
                duplicates: row.try_get(2)?,
                skipped: row.try_get(3)?,
                unbalanced: row.try_get(4)?,
            });
        }
    }
    Ok(slices)
}

/// For each partition the first offset that pays on the day or later, where there is one. What was
/// stored before that day began is dated ahead and begins nothing, or one wrong clock would take
/// the day before out of the account.
async fn begins(
    snapshot: &Transaction<'_>,
    stream: i16,
    day: Day,
    partitions: &[i32],
) -> Result<BTreeMap<i32, i64>, Error> {
    let mut begins: BTreeMap<i32, i64> = BTreeMap::new();
    let Some(midnight) = snapshot.query_opt(MIDNIGHT, &[&day, &stream]).await? else {
        return Ok(begins);
    };
    let midnight: Moment = midnight.try_get(0)?;
    let days = snapshot.query(DAYS, &[&day]).await?;
    let mut days = days.iter().map(|row| row.try_get::<_, Day>(0));
    let mut last = day;
    // A day holds every partition's beginning but those of partitions that nobody paid in.
    while begins.len() < partitions.len()
        && let Some(day) = days.next().transpose()?
    {
        for row in snapshot.query(FIRSTS, &[&day, &stream, &midnight]).await? {
            lower(&mut begins, row.try_get(0)?, row.try_get(1)?);
        }
        last = day;
    }
    if begins.is_empty() {
        return Ok(begins);
    }
    // What pays on a later day may have come earlier. Few, and the index on positions finds them.
    let earlier = one_of(begins.iter().map(|(p, first)| (*p, None, *first)));
    let query = format!(
        "SELECT source_partition, min(source_offset) FROM payments_scored \
         WHERE event_day > DATE '1970-01-01' + {} AND stream = {stream} AND ({earlier}) \
           AND scored_at >= $1 \
         GROUP BY source_partition",
        last.0
    );
    for row in snapshot.query(&query, &[&midnight]).await? {
        lower(&mut begins, row.try_get(0)?, row.try_get(1)?);
    }
    Ok(begins)
}

fn lower(begins: &mut BTreeMap<i32, i64>, partition: i32, offset: i64) {
    begins
        .entry(partition)
        .and_modify(|first| *first = offset.min(*first))
        .or_insert(offset);
}

/// A condition on positions, each range with numbers of its own: the planner then knows which
/// pages hold none.
pub(super) fn one_of(ranges: impl Iterator<Item = (i32, Option<i64>, i64)>) -> String {
    let conditions: Vec<String> = ranges
        .map(|(partition, from, to)| {
            let from = from.map(|from| format!(" AND source_offset >= {from}"));
            format!(
                "source_partition = {partition}{} AND source_offset < {to}",
                from.unwrap_or_default()
            )
        })
        .collect();
    match conditions.is_empty() {
        true => "false".to_owned(),
        false => conditions.join(" OR "),
    }
}

/// Counts what is stored at these offsets, whatever day it pays on.
pub(super) async fn count(
    snapshot: &Transaction<'_>,
    stream: i16,
    slices: &[Slice],
) -> Result<Counted, Error> {
    let mut counted = Counted {
        consumed: 0,
        scored: 0,
        canaries: 0,
        dead: 0,
        rest: 0,
        rest_is: rest_is(slices),
        missing: 0,
        doubled: 0,
        differences: Vec::new(),
    };
    if slices.is_empty() {
        return Ok(counted);
    }
    let here = one_of(slices.iter().map(|s| (s.partition, Some(s.from), s.to)));
    let payments = format!(
        "SELECT source_partition, count(*), count(*) FILTER (WHERE origin = 2) \
         FROM payments_scored WHERE stream = {stream} AND ({here}) GROUP BY source_partition"
    );
    let letters = format!(
        "SELECT source_partition, count(*) FROM dead_letters \
         WHERE stream = {stream} AND ({here}) GROUP BY source_partition"
    );
    let mut stored: BTreeMap<i32, (i64, i64, i64)> = BTreeMap::new();
    for row in snapshot.query(&payments, &[]).await? {
        let entry = stored.entry(row.try_get(0)?).or_default();
        (entry.0, entry.1) = (row.try_get(1)?, row.try_get(2)?);
    }
    for row in snapshot.query(&letters, &[]).await? {
        stored.entry(row.try_get(0)?).or_default().2 = row.try_get(1)?;
    }
    for slice in slices {
        let (payments, canaries, dead) = stored.get(&slice.partition).copied().unwrap_or_default();
        counted.consumed += slice.to - slice.from;
        counted.scored += payments - canaries;
        counted.canaries += canaries;
        counted.dead += dead;
        counted.judge(slice, slice.to - slice.from - payments - dead);
    }
    Ok(counted)
}

impl Counted {
    /// Offsets without a row are repeats or have no record; no more than the partition counted.
    fn judge(&mut self, slice: &Slice, left: i64) {
        let known = slice.duplicates + slice.skipped;
        let missing = (left - known).max(0);
        let doubled = (-left).max(0);
        self.rest += left.clamp(0, known);
        self.missing += missing;
        self.doubled += doubled;
        let Slice {
            partition,
            from,
            to,
            unbalanced,
            ..
        } = slice;
        let offsets = format!("partition {partition}, offsets {from} to {}", to - 1);
        let mut say = |sentence: String| {
            if self.differences.len() < EXAMPLES {
                self.differences.push(sentence);
            }
        };
        if missing > 0 {
            say(format!("{offsets}: {missing} ended nowhere"));
        }
        if doubled > 0 {
            say(format!("{offsets}: {doubled} rows more than offsets"));
        }
        if *unbalanced != 0 {
            say(format!(
                "partition {partition}: its counters are off by {unbalanced}"
            ));
        }
    }
}

fn rest_is(slices: &[Slice]) -> Rest {
    let any = |of: fn(&Slice) -> i64| slices.iter().any(|slice| of(slice) > 0);
    match (any(|s| s.duplicates), any(|s| s.skipped)) {
        (true, true) => Rest::DuplicatesOrSkipped,
        (false, true) => Rest::Skipped,
        _ => Rest::Duplicates,
    }
}
