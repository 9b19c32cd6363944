//! Decisions out: every decision that is stored is published, repeats are recognisable, whatever
//! happens to the process, the database or the output.

use jiff::ToSpan;

use super::{all_scored, assert_all_stored_once, ended_well, payments};
use crate::support::bundle::Thresholds;
use crate::support::database::count;
use crate::support::event::{Event, account, recently};
use crate::support::output::{Output, all_published, assert_every_decision_is_there};
use crate::support::proxy::{Commit, Proxy, Way};
use crate::support::topic::{self, Record, brokers};
use crate::support::vigie::{Place, Vigie, consumed, totals};

/// A single lane: no other takes partitions of it, which would repeat what is on its way.
const ALONE: (&str, &str) = ("VIGIE_STREAM__LANES", "1");

/// The dead are noticed soon.
const SHORT_SESSION: (&str, &str) = ("VIGIE_KAFKA__SESSION_TIMEOUT", "1s");

/// How the client that publishes calls itself.
const PUBLISHES: &str = "vigie-decisions";

/// Decisions that a lane has on their way at most, and the batch that they are of.
const BACKLOG: i64 = 20_000 + 500;

fn run(place: &Place, output: &Output, variables: &[(&str, &str)]) -> Vigie {
    let mut all = vec![
        ("VIGIE_OUTPUT__TOPIC", output.topic.as_str()),
        ("VIGIE_STREAM__BATCH_ROWS", "500"),
    ];
    all.extend(variables);
    place.run(&all)
}

/// A count on the page.
fn value(page: &str, name: &str) -> i64 {
    let line = page
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")));
    line.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap()
}

async fn published(vigie: &Vigie) -> i64 {
    value(&vigie.page("/metrics").await.1, "vigie_published_total")
}

async fn until_published(vigie: &Vigie, decisions: i64) {
    let enough = |page: &str| value(page, "vigie_published_total") >= decisions;
    vigie.until_page("/metrics", |_, page| enough(page)).await;
}

/// Sends payments beside the test.
fn sending(place: &Place, count: usize) -> tokio::task::JoinHandle<()> {
    let topic = place.topic.clone();
    tokio::spawn(async move {
        for chunk in payments(0, count, 4).chunks(1_000) {
            topic::send(&topic, chunk).await;
        }
    })
}

/// Waits until all is stored and published, ends the process, and compares; how many repeats
/// there are.
async fn all_there(place: &Place, output: &Output, mut last: Vigie, count: usize) -> usize {
    let client = place.look().await;
    let expected = all_scored(count as i64);
    assert_eq!(consumed(&client, count as i64).await, expected);
    all_published(&client).await;
    ended_well(&mut last).await;
    assert_all_stored_once(&client, count as i64).await;
    let repeats = assert_every_decision_is_there(place, &client, output).await;
    // Shown when the test does not want them.
    eprintln!("{repeats} repeats; it said:\n{}", last.said());
    repeats
}

#[tokio::test]
async fn in_a_quiet_run_every_live_decision_is_published_once_and_nothing_else() {
    let place = Place::new("quiet", 4).await;
    let (output, client) = (Output::new("decisions").await, place.look().await);
    let some_reviewed = Thresholds::new("0.001", "0.002");
    let variables = [
        ("VIGIE_STREAM__BUNDLE", some_reviewed.path()),
        ("VIGIE_CANARY__EVERY", "1h"),
        ("VIGIE_CANARY__ACCOUNT", "our-own"),
        ALONE,
    ];
    let mut vigie = run(&place, &output, &variables);
    let mut records = payments(0, 3_000, 4);
    let past = Event::new("past", &account(7), recently() - 72.hours());
    let canary = Event::new("canary", "our-own", recently());
    records.extend([
        records[5].clone(),
        Record::payment(0, &past).backfilled(),
        Record::payment(1, &canary),
        Record::of(2, "no payment"),
    ]);
    place.send(&records).await;
    // And the canary that the process sends when it starts.
    let sent = records.len() as i64 + 1;
    let found = consumed(&client, sent).await;
    assert_eq!((found.scored, found.dead, found.duplicates), (3_003, 1, 1));
    all_published(&client).await;
    let repeats = assert_every_decision_is_there(&place, &client, &output).await;
    assert_eq!(repeats, 0);
    let with_a_reason = "SELECT count(*) FROM payments_scored WHERE reasons <> '{}'";
    assert!(count(&client, with_a_reason).await > 0);
    let page = vigie
        .until_page("/metrics", |_, page| {
            value(page, "vigie_publish_backlog") == 0
        })
        .await;
    assert_eq!(value(&page, "vigie_published_total"), 3_000);
    assert_eq!(value(&page, "vigie_publish_errors_total"), 0);
    assert_eq!(value(&page, "vigie_db_sessions"), 1);
    ended_well(&mut vigie).await;

    // Nothing is left over for the next one.
    let mut vigie = run(&place, &output, &variables);
    place.send(&payments(3_000, 10, 4)).await;
    consumed(&client, sent + 11).await;
    all_published(&client).await;
    assert_eq!(published(&vigie).await, 10);
    ended_well(&mut vigie).await;
}

#[tokio::test]
async fn killed_in_the_middle_nothing_is_missing_and_repeats_say_the_same() {
    const COUNT: usize = 40_000;
    let place = Place::new("killed", 4).await;
    let output = Output::new("decisions").await;
    let sent = sending(&place, COUNT);
    for _ in 0..5 {
        let vigie = run(&place, &output, &[SHORT_SESSION]);
        until_published(&vigie, 2_000).await;
        vigie.kill();
    }
    let last = run(&place, &output, &[SHORT_SESSION]);
    sent.await.unwrap();
    let repeats = all_there(&place, &output, last, COUNT).await;
    eprintln!("{repeats} repeats after five kills");
}

#[tokio::test]
async fn another_process_publishes_what_one_that_was_killed_has_stored_only() {
    const COUNT: usize = 20_000;
    let place = Place::new("heir", 4).await;
    let (output, client) = (Output::new("decisions").await, place.look().await);
    let way = Proxy::to_kafka(&brokers());
    let address = format!("127.0.0.1:{}", way.port());
    let through = [("VIGIE_KAFKA__BROKERS", address.as_str()), SHORT_SESSION];
    let first = run(&place, &output, &through);
    place.send(&payments(0, COUNT / 2, 4)).await;
    until_published(&first, 1_000).await;
    // From here on decisions are stored and not published.
    way.set(Way::StalledFor(PUBLISHES));
    let before = totals(&client).await.scored;
    let rest = payments(COUNT / 2, COUNT / 2, 4);
    place.send(&rest).await;
    consumed(&client, before + 1_000).await;
    let open = "SELECT sum(next_offset - published_to)::bigint FROM stream_offsets";
    assert!(count(&client, open).await >= 1_000);
    let heir = run(&place, &output, &[SHORT_SESSION]);
    heir.until_it_says("the group assigns partitions").await;
    first.kill();
    heir.until_it_says("not published are read back").await;
    all_there(&place, &output, heir, COUNT).await;
}

#[tokio::test]
async fn an_output_that_takes_nothing_is_waited_for_with_a_bounded_backlog() {
    const COUNT: usize = 40_000;
    let place = Place::new("waits", 4).await;
    let (output, client) = (Output::new("decisions").await, place.look().await);
    let way = Proxy::to_kafka(&brokers());
    let address = format!("127.0.0.1:{}", way.port());
    way.set(Way::StalledFor(PUBLISHES));
    place.send(&payments(0, COUNT, 4)).await;
    let vigie = run(
        &place,
        &output,
        &[("VIGIE_KAFKA__BROKERS", &address), ALONE],
    );
    vigie
        .until_page("/readyz", |status, page| {
            status == 503 && page.contains("(output.topic) has taken no decision")
        })
        .await;
    let during = totals(&client).await.scored;
    assert!(during <= BACKLOG, "{during} were scored");
    let paused = "vigie_partition_state{state=\"paused\"}";
    let page = vigie
        .until_page("/metrics", |_, page| value(page, paused) == 4)
        .await;
    assert_eq!(value(&page, "vigie_published_total"), 0);
    assert!(
        value(&page, "vigie_publish_backlog") >= BACKLOG - 500,
        "{page}"
    );
    assert_eq!(totals(&client).await.scored, during, "it has paused");
    way.set(Way::Open);
    consumed(&client, COUNT as i64).await;
    vigie.until_page("/readyz", |status, _| status == 200).await;
    assert!(vigie.most_memory() < 400, "{} MiB", vigie.most_memory());
    assert_eq!(all_there(&place, &output, vigie, COUNT).await, 0);
}

#[tokio::test]
async fn a_process_stops_when_asked_to_while_the_output_takes_nothing_and_the_next_publishes_it() {
    const COUNT: usize = 30_000;
    let place = Place::new("stops", 4).await;
    let (output, client) = (Output::new("decisions").await, place.look().await);
    let way = Proxy::to_kafka(&brokers());
    let address = format!("127.0.0.1:{}", way.port());
    way.set(Way::StalledFor(PUBLISHES));
    place.send(&payments(0, COUNT, 4)).await;
    let mut vigie = run(
        &place,
        &output,
        &[("VIGIE_KAFKA__BROKERS", &address), ALONE],
    );
    consumed(&client, 20_000).await;
    ended_well(&mut vigie).await;
    let next = run(&place, &output, &[ALONE]);
    assert_eq!(all_there(&place, &output, next, COUNT).await, 0);
}

#[tokio::test]
async fn what_the_output_refuses_is_read_back_and_published_once_it_is_taken() {
    const COUNT: usize = 2_000;
    let place = Place::new("refuses", 4).await;
    let output = Output::new("decisions").await;
    output.set("max.message.bytes", "100").await;
    place.send(&payments(0, COUNT, 4)).await;
    let vigie = run(&place, &output, &[]);
    vigie
        .until_page("/metrics", |_, page| {
            value(page, "vigie_publish_errors_total") >= 2
        })
        .await;
    vigie
        .until_it_says("decisions were not published (output.topic)")
        .await;
    output.set("max.message.bytes", "1000000").await;
    all_there(&place, &output, vigie, COUNT).await;
}

#[tokio::test]
async fn brokers_that_stall_or_are_gone_lose_no_decision() {
    const COUNT: usize = 40_000;
    let place = Place::new("stalled", 4).await;
    let output = Output::new("decisions").await;
    let way = Proxy::to_kafka(&brokers());
    let address = format!("127.0.0.1:{}", way.port());
    let sent = sending(&place, COUNT);
    let vigie = run(&place, &output, &[("VIGIE_KAFKA__BROKERS", &address)]);
    until_published(&vigie, 1).await;
    way.set(Way::Stalled);
    // Longer than the group waits for a member that says nothing: it loses its partitions.
    vigie.until_it_says("the group revokes partitions").await;
    way.set(Way::Open);
    until_published(&vigie, published(&vigie).await + 1).await;
    way.set(Way::Cut);
    vigie
        .until_page("/readyz", |status, page| {
            status == 503 && page.contains("Kafka is away")
        })
        .await;
    way.set(Way::Open);
    sent.await.unwrap();
    all_there(&place, &output, vigie, COUNT).await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_published_all_the_same() {
    const ROUND: usize = 200;
    let place = Place::new("unheard", 4).await;
    let (output, client) = (Output::new("decisions").await, place.look().await);
    let database = &place.config.database;
    let way = Proxy::to(&format!("{}:{}", database.host, database.port));
    let port = way.port().to_string();
    let vigie = run(&place, &output, &[("VIGIE_DATABASE__PORT", &port), ALONE]);
    vigie.until_it_says("reading partitions from offsets").await;
    let errors = "vigie_commit_errors_total{kind=\"unavailable\"}";
    let mut rounds = 0;
    // Some cuts hit a commit of the notifier, too.
    while value(&vigie.page("/metrics").await.1, errors) < 3 {
        assert!(rounds < 100, "no commit of a batch was cut");
        way.cut_next_commit(Commit::Unanswered);
        place.send(&payments(rounds * ROUND, ROUND, 4)).await;
        rounds += 1;
        consumed(&client, (rounds * ROUND) as i64).await;
    }
    vigie.until_it_says("not published are read back").await;
    let count = rounds * ROUND;
    // A cut may also hit the commit that takes partitions again: they are taken anew then, which
    // repeats what was on its way.
    all_there(&place, &output, vigie, count).await;
}

#[tokio::test]
async fn publishing_begins_where_the_stream_is_when_it_is_turned_on() {
    let place = Place::new("later", 4).await;
    let (output, client) = (Output::new("decisions").await, place.look().await);
    let nowhere = Output {
        topic: String::new(),
    };
    let turns = [&nowhere, &output, &nowhere, &output];
    for (number, to) in turns.into_iter().enumerate() {
        let mut vigie = run(&place, to, &[ALONE]);
        place.send(&payments(number * 100, 100, 4)).await;
        consumed(&client, 100 * (number as i64 + 1)).await;
        if to.topic.is_empty() {
            let positions = "SELECT count(published_to) FROM stream_offsets";
            assert_eq!(count(&client, positions).await, 0);
        } else {
            all_published(&client).await;
        }
        ended_well(&mut vigie).await;
    }
    let number = |id: &str| id.strip_prefix("payment-").unwrap().parse().unwrap();
    let mut published: Vec<usize> = output
        .decisions()
        .iter()
        .map(|decision| number(decision.json["id"].as_str().unwrap()))
        .collect();
    published.sort_unstable();
    let expected: Vec<usize> = (100..200).chain(300..400).collect();
    assert_eq!(published, expected);
}

#[tokio::test]
async fn an_output_topic_that_is_not_there_is_waited_for_at_the_start() {
    let place = Place::new("absent", 1).await;
    let output = Output {
        topic: topic::unused("absent-decisions"),
    };
    let vigie = run(&place, &output, &[]);
    vigie
        .until_it_says(&format!("has no topic {}", output.topic))
        .await;
    vigie.until_it_says("output.topic").await;
    topic::make(&output.topic, 3).await;
    vigie.until_page("/readyz", |status, _| status == 200).await;
}
