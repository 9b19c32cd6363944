//! A database that stalls, or is cut off in the middle of a commit.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::{
    PROMPT, all_scored, assert_all_stored_once, assert_like_a_clean_pass, ended_well, payments,
};
use crate::support::database::count;
use crate::support::eventually_within;
use crate::support::proxy::{Commit, Proxy, Way};
use crate::support::vigie::{LONG, Place, Vigie, consumed, totals};

/// Memory that a process of two lanes may come to, in MiB.
const MEMORY: u64 = 400;

/// A way to the database for this place's processes alone.
fn way_to_database(place: &Place) -> Proxy {
    let database = &place.config.database;
    Proxy::to(&format!("{}:{}", database.host, database.port))
}

fn run_through(place: &Place, way: &Proxy) -> Vigie {
    let port = way.port().to_string();
    place.run(&[
        ("VIGIE_DATABASE__PORT", &port),
        ("VIGIE_STREAM__BATCH_ROWS", "200"),
    ])
}

/// How often the group moved partitions, to or from this process.
fn moves(vigie: &Vigie) -> usize {
    vigie.times_said("the group assigns partitions")
        + vigie.times_said("the group revokes partitions")
}

/// Waits until both lanes have partitions and read them; the moves it took.
async fn settled(vigie: &Vigie, client: &Client) -> usize {
    eventually_within(LONG, "both lanes have partitions", || async {
        let owners = "SELECT count(DISTINCT owner_pid) FROM stream_offsets";
        (count(client, owners).await == 2).then_some(())
    })
    .await;
    vigie.until_page("/readyz", |status, _| status == 200).await;
    moves(vigie)
}

/// Sum of the values of a metric whose lines begin like this.
fn value(metrics: &str, beginning: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(beginning));
    lines
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum()
}

#[tokio::test]
async fn commits_cut_before_or_after_the_server_heard_of_them_lose_and_double_nothing() {
    const COUNT: usize = 16_000;
    let place = Place::new("cut", 8).await;
    let client = place.look().await;
    let way = way_to_database(&place);
    let mut vigie = run_through(&place, &way);
    let moved = settled(&vigie, &client).await;
    for round in 0..10 {
        way.cut_next_commit(match round % 2 {
            0 => Commit::Unheard,
            _ => Commit::Unanswered,
        });
        // At each round some, so that there is a commit to cut however fast the machine is.
        place
            .send(&payments(round * COUNT / 10, COUNT / 10, 8))
            .await;
        eventually_within(LONG, "a commit is cut", || async {
            (way.commits_cut() > round).then_some(())
        })
        .await;
    }
    assert_eq!(
        consumed(&client, COUNT as i64).await,
        all_scored(COUNT as i64)
    );
    assert_eq!(moves(&vigie), moved, "{}", vigie.said());
    assert!(vigie.most_memory() < MEMORY, "{} MiB", vigie.most_memory());
    ended_well(&mut vigie).await;
    assert_all_stored_once(&client, COUNT as i64).await;
    assert_like_a_clean_pass(&place, COUNT as i64).await;
}

#[tokio::test]
async fn a_database_that_stalls_is_waited_for_in_the_group_and_in_bounded_memory() {
    const COUNT: usize = 60_000;
    let place = Place::new("stall", 8).await;
    let client = place.look().await;
    let way = way_to_database(&place);
    let mut vigie = run_through(&place, &way);
    let moved = settled(&vigie, &client).await;
    place.send(&payments(0, COUNT / 6, 8)).await;
    consumed(&client, 1).await;
    way.set(Way::Stalled);
    place.send(&payments(COUNT / 6, COUNT - COUNT / 6, 8)).await;
    // Longer than the group waits for a member that says nothing (6 s).
    let stalled = Instant::now();
    eventually_within(LONG, "ten seconds have passed", || async {
        (stalled.elapsed() > Duration::from_secs(10)).then_some(())
    })
    .await;
    assert_eq!(vigie.page("/livez").await.0, 200);
    // What people watch goes on meanwhile.
    let (_, page) = vigie.page("/metrics").await;
    assert!(
        value(&page, "vigie_oldest_message_age_seconds ") > 8.0,
        "{page}"
    );
    assert_eq!(value(&page, "vigie_partition_state{state=\"paused\"}"), 8.0);
    assert!(value(&page, "vigie_consumer_lag{") > 0.0, "{page}");
    let during = totals(&client).await.consumed;
    assert!(during < COUNT as i64, "it was over before the stall");
    way.set(Way::Open);
    assert_eq!(
        consumed(&client, COUNT as i64).await,
        all_scored(COUNT as i64)
    );
    // The lanes kept serving the group all the while.
    assert_eq!(moves(&vigie), moved, "{}", vigie.said());
    assert!(vigie.most_memory() < MEMORY, "{} MiB", vigie.most_memory());
    ended_well(&mut vigie).await;
    assert_all_stored_once(&client, COUNT as i64).await;
}

#[tokio::test]
async fn records_of_a_megabyte_are_read_in_bounded_memory_while_the_database_stalls() {
    const COUNT: usize = 512;
    let place = Place::new("large", 8).await;
    let client = place.look().await;
    let way = way_to_database(&place);
    let mut vigie = run_through(&place, &way);
    settled(&vigie, &client).await;
    let mut records = payments(0, COUNT, 8);
    for record in &mut records {
        // As large as a record may be; space after the object is no part of it.
        record.payload.as_mut().unwrap().resize(1 << 20, b' ');
    }
    way.set(Way::Stalled);
    place.send(&records).await;
    vigie
        .until_page("/metrics", |_, page| {
            value(page, "vigie_consumer_lag{") == COUNT as f64
        })
        .await;
    way.set(Way::Open);
    assert_eq!(
        consumed(&client, COUNT as i64).await,
        all_scored(COUNT as i64)
    );
    assert!(vigie.most_memory() < MEMORY, "{} MiB", vigie.most_memory());
    ended_well(&mut vigie).await;
    assert_all_stored_once(&client, COUNT as i64).await;
}

#[tokio::test]
async fn a_process_stops_when_asked_to_while_the_database_is_away_and_loses_nothing() {
    const COUNT: usize = 12_000;
    let place = Place::new("stop", 8).await;
    let client = place.look().await;
    let way = way_to_database(&place);
    for (round, away) in [Way::Stalled, Way::Cut].into_iter().enumerate() {
        let before = totals(&client).await.consumed;
        let first = round * COUNT / 2;
        place.send(&payments(first, COUNT / 4, 8)).await;
        let mut vigie = run_through(&place, &way);
        consumed(&client, before + 1).await;
        way.set(away);
        // There is something in hand, however fast the machine is.
        place.send(&payments(first + COUNT / 4, COUNT / 4, 8)).await;
        if away == Way::Cut {
            vigie.until_it_says("waiting for the database").await;
        }
        let status = vigie.stopped(PROMPT).await;
        assert_eq!(status.code(), Some(0), "{}", vigie.said());
        way.set(Way::Open);
    }
    assert!(
        totals(&client).await.consumed < COUNT as i64,
        "it was over too soon"
    );
    let mut vigie = run_through(&place, &way);
    assert_eq!(
        consumed(&client, COUNT as i64).await,
        all_scored(COUNT as i64)
    );
    ended_well(&mut vigie).await;
    assert_all_stored_once(&client, COUNT as i64).await;
    assert_like_a_clean_pass(&place, COUNT as i64).await;
}
