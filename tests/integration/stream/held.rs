//! A partition with too many dead letters is held, durably, until somebody releases it.

use tokio_postgres::Client;

use super::{ended_well, payments};
use crate::support::eventually_within;
use crate::support::topic::Record;
use crate::support::vigie::{LONG, Place, consumed};

/// The partition that is poisoned.
const POISONED: i32 = 1;

fn poison(count: usize) -> Vec<Record> {
    let record = Record::of(POISONED, "this is no payment");
    vec![record; count]
}

/// Payments of the other partitions only.
fn others(first: usize, count: usize) -> Vec<Record> {
    let mut records = payments(first, count * 2, 4);
    records.retain(|record| record.partition != POISONED);
    records
}

/// How the poisoned partition stands; nothing before it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    next: i64,
    dead: i64,
    scored: i64,
    held: Option<String>,
}

async fn poisoned(client: &Client) -> Option<Standing> {
    let row = client
        .query_opt(
            "SELECT next_offset, dead, scored, held FROM stream_offsets WHERE partition = $1",
            &[&POISONED],
        )
        .await
        .unwrap()?;
    Some(Standing {
        next: row.get(0),
        dead: row.get(1),
        scored: row.get(2),
        held: row.get(3),
    })
}

/// Waits until the partition is held behind this offset.
async fn held_behind(client: &Client, offset: i64) -> Standing {
    eventually_within(LONG, "the partition is held", || async {
        let standing = poisoned(client).await?;
        (standing.held.is_some() && standing.next > offset).then_some(standing)
    })
    .await
}

fn release(place: &Place) {
    let partition = POISONED.to_string();
    let verb = [
        "offsets",
        "release",
        "--partition",
        &partition,
        "--why",
        "mended",
    ];
    let done = place.command(&verb).output().unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[tokio::test]
async fn a_hundred_thousand_bad_records_hold_their_partition_while_the_others_go_on() {
    let place = Place::new("poison", 4).await;
    let first = others(0, 1_000);
    place.send(&poison(100_000)).await;
    place.send(&first).await;
    let client = place.look().await;
    let others_done = |scored: i64| {
        let client = &client;
        async move {
            eventually_within(LONG, "the other partitions end", || async {
                let query = "SELECT sum(scored)::bigint FROM stream_offsets WHERE partition <> $1";
                let found = client.query_one(query, &[&POISONED]).await.unwrap();
                (found.get::<_, Option<i64>>(0) == Some(scored)).then_some(())
            })
            .await;
        }
    };

    let mut vigie = place.run(&[]);
    let held = held_behind(&client, 0).await;
    others_done(first.len() as i64).await;
    assert_eq!(poisoned(&client).await.as_ref(), Some(&held));
    assert_eq!((held.dead, held.scored), (held.next, 0));
    assert!(held.dead > 500 && held.dead <= 3_000, "{held:?}");
    let why = held.held.as_deref().unwrap();
    assert!(
        why.contains("of the last 1,000 records were dead letters"),
        "{why}"
    );
    let named = format!("partition {POISONED} is held: {why}");
    vigie
        .until_page("/readyz", |status, page| {
            status == 503 && page.contains(&named)
        })
        .await;
    vigie
        .until_page("/metrics", |_, page| {
            page.contains("vigie_partition_state{state=\"held\"} 1\n")
        })
        .await;
    assert_eq!(vigie.page("/livez").await.0, 200);
    assert!(vigie.said().contains("vigie offsets release"));

    // The others go on with what comes later.
    let second = others(first.len() * 2, 1_000);
    place.send(&second).await;
    others_done((first.len() + second.len()) as i64).await;
    ended_well(&mut vigie).await;

    // Another process takes it as it is.
    let mut vigie = place.run(&[]);
    vigie
        .until_page("/readyz", |_, page| page.contains(&named))
        .await;
    let third = others((first.len() + second.len()) * 2, 100);
    place.send(&third).await;
    others_done((first.len() + second.len() + third.len()) as i64).await;
    assert_eq!(poisoned(&client).await, Some(held));
    ended_well(&mut vigie).await;
}

#[tokio::test]
async fn a_released_partition_goes_on_from_where_it_is() {
    let place = Place::new("release", 4).await;
    place.send(&poison(1_300)).await;
    let mut good = payments(0, 400, 4);
    good.retain(|record| record.partition == POISONED);
    place.send(&good).await;
    let client = place.look().await;
    let mut vigie = place.run(&[("VIGIE_STREAM__BATCH_ROWS", "100")]);
    // A batch of 100 makes it more than 500, twice; the third time there are not as many left.
    let first = held_behind(&client, 0).await.next;
    assert!((501..=700).contains(&first), "{first}");
    release(&place);
    let second = held_behind(&client, first).await.next;
    assert!(
        (501..=700).contains(&(second - first)),
        "{second} after {first}"
    );
    release(&place);
    let all = 1_300 + good.len() as i64;
    let totals = consumed(&client, all).await;
    assert_eq!((totals.dead, totals.scored), (1_300, good.len() as i64));
    assert_eq!(poisoned(&client).await.unwrap().held, None);
    vigie.until_page("/readyz", |status, _| status == 200).await;
    ended_well(&mut vigie).await;
}
