//! The payments of a sample, and of what is stored around them as much as their windows read.

use std::collections::{BTreeMap, HashMap};

use tokio_postgres::{Row, Transaction};

use super::slice::one_of;
use crate::database::{Day, Moment};
use crate::engine::batch::{Micros, Token};
use crate::engine::stored::StoredPayment;
use crate::engine::velocity::Observed;

const DAY: Micros = 86_400_000_000;

/// A payment with what was decided.
#[derive(Debug)]
pub(super) struct Sampled {
    pub(super) payment: StoredPayment,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) score: Option<f32>,
    pub(super) decision: i16,
    pub(super) reasons: Option<Vec<String>>,
    pub(super) features: Vec<u8>,
    pub(super) model_version: String,
    pub(super) policy_version: String,
}

/// What was known when a payment arrived.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The account's payments that a window may reach.
    pub(super) history: Vec<Observed>,
    /// Largest event time at lower offsets of its partition, as far as it can matter.
    pub(super) watermark: Option<Micros>,
}

/// In the order of a hash, so that the same seed chooses the same payments of the same day. Only
/// their keys are sorted.
const CHOOSE: &str = "\
    SELECT p.source_partition, p.source_offset, p.trans_num, p.account, p.event_time, p.event_day, \
           p.amount, p.currency, p.merchant, p.category, p.country, p.event::text, p.score, \
           p.decision, p.reasons, p.features, p.model_version, p.policy_version \
    FROM (SELECT event_time, trans_num, account, event_day, stream FROM payments_scored \
          WHERE event_day = $1 AND stream = $2 AND origin <> 2 \
          ORDER BY hashint8extended(source_offset * 4096 + source_partition, $3) LIMIT $4) AS chosen \
    JOIN payments_scored AS p USING (event_time, trans_num, account, event_day, stream) \
    WHERE p.event_day = $1 \
    ORDER BY p.source_partition, p.source_offset";

/// Chooses at most so many of the day's payments, our own left out.
pub(super) async fn choose(
    snapshot: &Transaction<'_>,
    stream: i16,
    day: Day,
    (size, seed): (u32, i64),
) -> Result<Vec<Sampled>, tokio_postgres::Error> {
    let limit = i64::from(size);
    let rows = snapshot
        .query(CHOOSE, &[&day, &stream, &seed, &limit])
        .await?;
    rows.iter().map(sampled).collect()
}

fn sampled(row: &Row) -> Result<Sampled, tokio_postgres::Error> {
    let named = [7, 8, 9, 10].map(|column| row.try_get(column));
    let [currency, merchant, category, country] = named;
    Ok(Sampled {
        partition: row.try_get(0)?,
        offset: row.try_get(1)?,
        payment: StoredPayment {
            id: row.try_get(2)?,
            account: token(row.try_get(3)?),
            time: row.try_get::<_, Moment>(4)?.0,
            day: row.try_get::<_, Day>(5)?.0,
            amount: row.try_get(6)?,
            named: [currency?, merchant?, category?, country?],
            event: row.try_get(11)?,
        },
        score: row.try_get(12)?,
        decision: row.try_get(13)?,
        reasons: row.try_get(14)?,
        features: row.try_get(15)?,
        model_version: row.try_get(16)?,
        policy_version: row.try_get(17)?,
    })
}

/// Tokens have 16 bytes; what has not was not written by us and has no history.
fn token(bytes: &[u8]) -> Token {
    Token(bytes.try_into().unwrap_or_default())
}

/// Each payment of an account strictly before one of the sample, in its partition, at a lower
/// offset, and not further back than the longest window. The planner knows nothing of a day that
/// was just filled; without the offset it would make a join of it, and read the day once for each.
const HISTORIES: &str = "\
    SELECT s.number, h.event_time, h.amount, h.source_offset \
    FROM unnest($1::integer[], $2::bytea[], $3::timestamptz[], $4::integer[], $5::bigint[]) \
         AS s (number, account, event_time, partition, below), \
         LATERAL (SELECT p.event_time, p.amount, p.source_offset FROM payments_scored AS p \
                  WHERE p.account = s.account AND p.event_time < s.event_time \
                    AND p.event_time >= s.event_time - $6 * INTERVAL '1 microsecond' \
                    AND p.event_day BETWEEN $7 AND $8 AND p.stream = $9 \
                    AND p.source_partition = s.partition AND p.source_offset < s.below \
                  OFFSET 0) AS h";

/// What was known of each, in the sample's order; `longest` is the longest window.
pub(super) async fn known(
    snapshot: &Transaction<'_>,
    stream: i16,
    sample: &[Sampled],
    longest: Micros,
) -> Result<Vec<Known>, tokio_postgres::Error> {
    let mut known: Vec<Known> = sample.iter().map(|_| Known::default()).collect();
    let Some(day) = sample.first().map(|sampled| sampled.payment.day) else {
        return Ok(known);
    };
    let numbers: Vec<i32> = (0..).take(sample.len()).collect();
    let each = |of: fn(&Sampled) -> Micros| -> Vec<i64> { sample.iter().map(of).collect() };
    let accounts: Vec<&[u8]> = sample
        .iter()
        .map(|s| s.payment.account.0.as_slice())
        .collect();
    let times: Vec<Moment> = sample.iter().map(|s| Moment(s.payment.time)).collect();
    let partitions: Vec<i32> = sample.iter().map(|s| s.partition).collect();
    let offsets = each(|s| s.offset);
    // A day more on either side: the zone's days are not UTC's.
    let first_day = Day(day - (longest / DAY) as i32 - 2);
    // Few rows of many days: by the index on accounts, whatever the planner thinks. Of a day that
    // was just filled it knows nothing, and would keep the whole of it aside to search it.
    snapshot.batch_execute(&by_index("off")).await?;
    let rows = snapshot
        .query(
            HISTORIES,
            &[
                &numbers,
                &accounts,
                &times,
                &partitions,
                &offsets,
                &(longest as f64),
                &first_day,
                &Day(day + 1),
                &stream,
            ],
        )
        .await?;
    snapshot.batch_execute(&by_index("on")).await?;
    for row in rows {
        let number: i32 = row.try_get(0)?;
        let offset: i64 = row.try_get(3)?;
        let of = &sample[number as usize];
        known[number as usize].history.push(Observed {
            account: of.payment.account,
            time: row.try_get::<_, Moment>(1)?.0,
            amount: row.try_get(2)?,
            // Positions tell payments apart as well as ids do.
            id: offset.cast_unsigned(),
            body: 0,
        });
    }
    let watermarks = watermarks(snapshot, stream, Day(day), sample).await?;
    for (known, sampled) in known.iter_mut().zip(sample) {
        known.watermark = watermarks
            .get(&(sampled.partition, sampled.offset))
            .copied();
    }
    Ok(known)
}

/// Turns everything but searching by an index off, or on again.
fn by_index(others: &str) -> String {
    ["hashjoin", "mergejoin", "seqscan", "bitmapscan", "material"]
        .map(|way| format!("SET LOCAL enable_{way} = {others}"))
        .join("; ")
}

/// The largest event time at lower offsets of each payment of the sample. What pays before the
/// sample's day is left out: with a watermark that low no window of the day is clipped.
async fn watermarks(
    snapshot: &Transaction<'_>,
    stream: i16,
    day: Day,
    sample: &[Sampled],
) -> Result<HashMap<(i32, i64), Micros>, tokio_postgres::Error> {
    let mut offsets: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for sampled in sample {
        offsets
            .entry(sampled.partition)
            .or_default()
            .push(sampled.offset);
    }
    for offsets in offsets.values_mut() {
        offsets.sort_unstable();
    }
    let below = one_of(
        offsets
            .iter()
            .filter_map(|(partition, offsets)| Some((*partition, None, *offsets.last()?))),
    );
    let bounds: Vec<String> = offsets
        .iter()
        .map(|(partition, offsets)| {
            let offsets: Vec<String> = offsets.iter().map(i64::to_string).collect();
            format!("({partition}, '{{{}}}'::bigint[])", offsets.join(","))
        })
        .collect();
    // Between two payments of the sample only the largest time matters: one row for each gap.
    let query = format!(
        "SELECT p.source_partition, width_bucket(p.source_offset, b.offsets), max(p.event_time) \
         FROM payments_scored AS p \
         JOIN (VALUES {}) AS b (partition, offsets) ON b.partition = p.source_partition \
         WHERE p.event_day >= DATE '1970-01-01' + {} AND p.stream = {stream} AND ({below}) \
         GROUP BY 1, 2",
        bounds.join(", "),
        day.0,
    );
    // Told nothing of how few gaps there are, the planner would sort the day into them.
    snapshot
        .batch_execute("SET LOCAL enable_sort = off")
        .await?;
    let rows = snapshot.query(&query, &[]).await?;
    snapshot.batch_execute("SET LOCAL enable_sort = on").await?;
    let mut gaps: HashMap<(i32, i32), Micros> = HashMap::new();
    for row in rows {
        let largest: Moment = row.try_get(2)?;
        gaps.insert((row.try_get(0)?, row.try_get(1)?), largest.0);
    }
    let mut watermarks = HashMap::new();
    for (partition, offsets) in &offsets {
        let mut so_far: Option<Micros> = None;
        for (before, offset) in (0..).zip(offsets) {
            so_far = so_far.max(gaps.get(&(*partition, before)).copied());
            if let Some(watermark) = so_far {
                watermarks.insert((*partition, *offset), watermark);
            }
        }
    }
    Ok(watermarks)
}
