//! `kill -9` at random moments under load. Moments are drawn among what the process does, so
//! that taking, rebuilding, reading and committing are all hit.

use std::hash::{BuildHasher, RandomState};

use super::{all_scored, assert_all_stored_once, ended_well, payments};
use crate::support::eventually_within;
use crate::support::vigie::{LONG, Place, Vigie, consumed, totals};

const KILLS: u64 = 20;
const COUNT: usize = 100_000;

/// Small batches, so that many transactions are hit; a short session, so that partitions of the
/// dead move soon.
const SETTINGS: [(&str, &str); 3] = [
    ("VIGIE_STREAM__BATCH_ROWS", "200"),
    ("VIGIE_STREAM__LANES", "3"),
    ("VIGIE_KAFKA__SESSION_TIMEOUT", "1s"),
];

#[tokio::test]
async fn twenty_kills_at_random_moments_under_load_change_nothing() {
    let place = Place::new("kills", 8).await;
    let client = place.look().await;
    let sending = tokio::spawn({
        let topic = place.topic.clone();
        async move {
            for chunk in payments(0, COUNT, 8).chunks(500) {
                crate::support::topic::send(&topic, chunk).await;
            }
        }
    });
    let seed = RandomState::new();
    eprintln!("moments of the kills are drawn from {:x}", seed.hash_one(0));
    for kill in 0..KILLS {
        let vigie = place.run(&SETTINGS);
        let before = totals(&client).await.consumed;
        until_the_moment(&vigie, seed.hash_one(kill), || async {
            let now = totals(&client).await.consumed;
            // Nothing is left to progress with: any moment will do.
            if now >= COUNT as i64 {
                i64::MAX
            } else {
                now - before
            }
        })
        .await;
        vigie.kill();
    }
    let mut last = place.run(&SETTINGS);
    sending.await.unwrap();
    let expected = all_scored(COUNT as i64);
    assert_eq!(consumed(&client, COUNT as i64).await, expected);
    ended_well(&mut last).await;
    assert_all_stored_once(&client, COUNT as i64).await;

    let clean = place.again().await;
    let mut second = clean.run(&[]);
    assert_eq!(consumed(&clean.look().await, COUNT as i64).await, expected);
    ended_well(&mut second).await;
    let schema = &clean.config.database.schema;
    let report = place
        .command(&["reconcile", "--against", schema])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&report.stdout);
    assert!(report.status.success(), "{text}");
}

/// One of the steps of taking partitions, or some progress later.
async fn until_the_moment<F: Future<Output = i64>>(
    vigie: &Vigie,
    drawn: u64,
    progress: impl Fn() -> F,
) {
    match drawn % 6 {
        0 => vigie.until_it_says("the group assigns partitions").await,
        1 => vigie.until_it_says("histories are rebuilt").await,
        2 => vigie.until_it_says("reading partitions from offsets").await,
        _ => {
            let enough = (drawn / 6 % 2_000) as i64;
            eventually_within(LONG, "some progress before the kill", || async {
                (progress().await >= enough).then_some(())
            })
            .await;
        }
    }
}
