//! Brokers that say nothing or are gone.

use std::time::{Duration, Instant};

use super::{PROMPT, all_scored, assert_all_stored_once, ended_well, payments};
use crate::support::eventually_within;
use crate::support::proxy::{Proxy, Way};
use crate::support::topic::brokers;
use crate::support::vigie::{LONG, Place, Vigie, consumed, totals};

fn run_through(place: &Place, way: &Proxy) -> Vigie {
    let brokers = format!("127.0.0.1:{}", way.port());
    place.run(&[
        ("VIGIE_KAFKA__BROKERS", &brokers),
        ("VIGIE_STREAM__BATCH_ROWS", "200"),
    ])
}

#[tokio::test]
async fn brokers_that_say_nothing_or_are_gone_are_waited_for_and_nothing_is_lost_or_doubled() {
    const COUNT: usize = 40_000;
    let place = Place::new("brokers", 8).await;
    let client = place.look().await;
    let way = Proxy::to_kafka(&brokers());
    place.send(&payments(0, COUNT, 8)).await;
    let mut vigie = run_through(&place, &way);
    consumed(&client, 1).await;
    way.set(Way::Stalled);
    // Longer than the group waits for a member that says nothing (6 s): it loses its partitions.
    let stalled = Instant::now();
    eventually_within(LONG, "nine seconds have passed", || async {
        (stalled.elapsed() > Duration::from_secs(9)).then_some(())
    })
    .await;
    let during = totals(&client).await.consumed;
    assert!(during < COUNT as i64, "it was over before the stall");
    way.set(Way::Open);
    consumed(&client, during + 1).await;
    way.set(Way::Cut);
    vigie
        .until_page("/readyz", |status, page| {
            status == 503 && page.contains("Kafka is away: no broker is connected (kafka.brokers)")
        })
        .await;
    way.set(Way::Open);
    assert_eq!(
        consumed(&client, COUNT as i64).await,
        all_scored(COUNT as i64)
    );
    vigie.until_page("/readyz", |status, _| status == 200).await;
    ended_well(&mut vigie).await;
    assert_all_stored_once(&client, COUNT as i64).await;
}

#[tokio::test]
async fn a_process_stops_when_asked_to_while_the_brokers_say_nothing_or_are_gone() {
    const COUNT: usize = 12_000;
    let place = Place::new("no-brokers", 8).await;
    let client = place.look().await;
    let way = Proxy::to_kafka(&brokers());
    place.send(&payments(0, COUNT, 8)).await;
    for away in [Way::Stalled, Way::Cut] {
        let before = totals(&client).await.consumed;
        let mut vigie = run_through(&place, &way);
        consumed(&client, before + 1).await;
        way.set(away);
        let status = vigie.stopped(PROMPT).await;
        assert_eq!(status.code(), Some(0), "{}", vigie.said());
        way.set(Way::Open);
    }
    let mut vigie = run_through(&place, &way);
    assert_eq!(
        consumed(&client, COUNT as i64).await,
        all_scored(COUNT as i64)
    );
    ended_well(&mut vigie).await;
    assert_all_stored_once(&client, COUNT as i64).await;
}
