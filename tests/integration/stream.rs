//! The lanes as a process, with what goes wrong around them: poison, gaps, members that come and
//! go, a database that stalls or is cut off. Every record ends in exactly one place.

mod faults;
mod held;
mod kafka;
mod kills;
mod members;
mod origins;
mod publishing;

use std::time::Duration;

use jiff::ToSpan;
use tokio_postgres::Client;

use super::support::event::{Event, account, recently};
use super::support::topic::Record;
use super::support::vigie::{Place, Totals, Vigie, consumed};

/// How long a process may take to stop once it is asked to.
const PROMPT: Duration = Duration::from_secs(10);

/// Accounts in [`payments`].
const ACCOUNTS: usize = 50;

/// This many payments over the topic's partitions, each account in one of them, a second apart;
/// their amounts are 0.01, 0.02 and so on.
fn payments(first: usize, count: usize, partitions: usize) -> Vec<Record> {
    let begin = recently() - 10.hours();
    (first..first + count)
        .map(|number| {
            let of = number % ACCOUNTS;
            let time = begin + (number as i64).seconds();
            let event = Event::new(&format!("payment-{number}"), &account(of as u64), time).with(
                "amt",
                &format!("{}.{:02}", (number + 1) / 100, (number + 1) % 100),
            );
            Record::payment((of % partitions) as i32, &event)
        })
        .collect()
}

/// Every payment of `payments(0, count, ..)` is a row, once, with its own amount; every offset
/// is accounted for and no partition's counters contradict its rows.
async fn assert_all_stored_once(client: &Client, count: i64) {
    let row = client
        .query_one(
            "SELECT count(*), count(DISTINCT trans_num), sum(amount)::bigint, \
                    count(DISTINCT (source_partition, source_offset)) FROM payments_scored",
            &[],
        )
        .await
        .unwrap();
    let found: [i64; 4] = std::array::from_fn(|at| row.get(at));
    assert_eq!(found, [count, count, count * (count + 1) / 2, count]);
    let wrong = client
        .query(
            "SELECT o.partition, o.next_offset - o.first_offset, o.scored, o.dead, o.duplicates, \
                    o.skipped, count(p.*) \
             FROM stream_offsets AS o \
             LEFT JOIN payments_scored AS p ON p.source_partition = o.partition \
             GROUP BY o.stream, o.partition \
             HAVING o.scored + o.dead + o.duplicates + o.skipped <> o.next_offset - o.first_offset \
                 OR o.scored <> count(p.*)",
            &[],
        )
        .await
        .unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The same topic once more into a fresh schema, undisturbed: every payment has the same
/// features, score and decision there.
async fn assert_like_a_clean_pass(place: &Place, count: i64) {
    let clean = place.again().await;
    let mut vigie = clean.run(&[]);
    let client = clean.look().await;
    consumed(&client, count).await;
    ended_well(&mut vigie).await;
    let query = format!(
        "SELECT count(*) FROM {}.payments_scored AS a \
         FULL JOIN {}.payments_scored AS b USING (source_partition, source_offset) \
         WHERE (a.trans_num, a.features, a.score, a.decision) \
             IS DISTINCT FROM (b.trans_num, b.features, b.score, b.decision)",
        place.config.database.schema, clean.config.database.schema
    );
    let different: i64 = client.query_one(&query, &[]).await.unwrap().get(0);
    assert_eq!(different, 0);
}

async fn ended_well(vigie: &mut Vigie) {
    let status = vigie.stopped(PROMPT).await;
    let said = vigie.said();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(
        !said.contains("panicked") && !said.contains("backtrace"),
        "{said}"
    );
}

fn all_scored(count: i64) -> Totals {
    Totals {
        consumed: count,
        scored: count,
        dead: 0,
        duplicates: 0,
        skipped: 0,
    }
}
