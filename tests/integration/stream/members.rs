//! Processes that come and go, and offsets without records.

use super::{
    PROMPT, all_scored, assert_all_stored_once, assert_like_a_clean_pass, ended_well, payments,
};
use crate::support::eventually_within;
use crate::support::topic::{self, End, send_transactions};
use crate::support::vigie::{LONG, Place, consumed, totals};

#[tokio::test]
async fn what_one_process_leaves_behind_another_takes_up_and_every_payment_is_stored_once() {
    const COUNT: usize = 32_000;
    let place = Place::new("members", 8).await;
    let client = place.look().await;
    // Some at each step, so that a fast machine is not through before anything happens.
    place.send(&payments(0, 8_000, 8)).await;
    let settings = [("VIGIE_STREAM__BATCH_ROWS", "100")];
    let scored_more = |than: i64| {
        let client = &client;
        async move {
            eventually_within(LONG, "more is scored", || async {
                let now = totals(client).await.scored;
                (now > than).then_some(now)
            })
            .await
        }
    };
    let mut asked = place.run(&settings);
    let first = scored_more(0).await;
    let killed = place.run(&settings);
    killed
        .until_it_says("reading partitions from offsets")
        .await;
    place.send(&payments(8_000, 8_000, 8)).await;
    let second = scored_more(first).await;
    let status = asked.stopped(PROMPT).await;
    assert_eq!(status.code(), Some(0), "{}", asked.said());
    let sending = tokio::spawn({
        let topic = place.topic.clone();
        async move { topic::send(&topic, &payments(16_000, 16_000, 8)).await }
    });
    let third = scored_more(second).await;
    assert!(third < COUNT as i64, "it was over before anything happened");
    killed.kill();
    let mut last = place.run(&settings);
    sending.await.unwrap();
    assert_eq!(
        consumed(&client, COUNT as i64).await,
        all_scored(COUNT as i64)
    );
    ended_well(&mut last).await;
    assert_all_stored_once(&client, COUNT as i64).await;
    assert_like_a_clean_pass(&place, COUNT as i64).await;
}

#[tokio::test]
async fn offsets_without_a_record_are_counted_as_skipped() {
    let place = Place::new("gaps", 2).await;
    let some = |first: usize| payments(first, 10, 2);
    let transactions = [
        (some(0), End::Commit),
        // These are never delivered, and neither are the markers of any of the three.
        (some(1_000), End::Abort),
        (some(10), End::Commit),
    ];
    send_transactions(&place.topic, &transactions).await;
    // A gap is known by the record behind it.
    let after = some(20);
    let offsets = place.send(&after).await;
    let mut next = [0; 2];
    for (record, offset) in after.iter().zip(offsets) {
        next[record.partition as usize] = offset + 1;
    }
    let ends: i64 = next.iter().sum();
    assert_eq!(
        ends,
        4 * 10 + 3 * 2,
        "ten records four times, a marker a transaction and partition"
    );
    let mut vigie = place.run(&[]);
    let client = place.look().await;
    let totals = consumed(&client, ends).await;
    assert_eq!((totals.scored, totals.skipped), (30, 10 + 3 * 2));
    assert_eq!(totals.consumed, ends);
    ended_well(&mut vigie).await;
    assert_all_stored_once(&client, 30).await;
}
