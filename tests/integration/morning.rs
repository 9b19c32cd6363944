//! Who keeps figures and reports, and when a report may be made.

use std::time::Duration;

use jiff::civil::Time;
use jiff::{Timestamp, ToSpan};
use tokio::sync::watch;
use tokio_postgres::Client;
use vigie::config::Config;
use vigie::desk::report::calendar::Calendar;
use vigie::desk::report::sending;
use vigie::desk::report::unread::{self, Unread};
use vigie::morning;

use crate::support::database::{count, owner};
use crate::support::event::{Event, account};
use crate::support::eventually_within;
use crate::support::history::{paid, store, stream};
use crate::support::notifier::wait_until;
use crate::support::payments::MARCH;
use crate::support::topic::{self, End, Record};
use crate::support::vigie::{LONG, Place};

/// The task that keeps figures and sends reports, in this process.
pub struct Keeper {
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
    stop: watch::Sender<bool>,
}

impl Keeper {
    pub fn start(config: &Config) -> Self {
        let (stop, shutdown) = watch::channel(false);
        let config = config.clone();
        let task = tokio::spawn(async move { morning::keep(&config, shutdown).await });
        Self { task, stop }
    }

    pub async fn stop(self) {
        self.stop.send(true).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), self.task).await;
        ended.expect("it ends within ten seconds").unwrap().unwrap();
    }
}

/// Waits until the figures are younger than now: whoever keeps them has looked for a report since.
pub async fn one_more_round(client: &Client) {
    let now = "SELECT extract(epoch FROM clock_timestamp())::bigint * 1000000";
    let now = count(client, now).await;
    for _ in 0..2 {
        let younger = format!(
            "(SELECT extract(epoch FROM max(complete_at)) * 1000000 FROM figures_rounds) > {now}"
        );
        eventually_within(LONG, "another round", async || {
            let query = format!("SELECT count(*) WHERE {younger}");
            (count(client, &query).await == 1).then_some(())
        })
        .await;
    }
}

/// The schema learned of reports, and its stream was bound, so many days ago.
pub async fn known_for(config: &Config, days: i32) {
    let earlier = format!(
        "UPDATE streams SET bound_at = now() - interval '{days} days';
         UPDATE schema_migrations SET applied_at = now() - interval '{days} days'"
    );
    owner(config).await.batch_execute(&earlier).await.unwrap();
}

/// A stream of one partition with a topic of its own, whose reports are due since midnight.
pub async fn reporting(days: i32) -> (Config, Client) {
    let (mut config, client) = stream(1, "UTC").await;
    config.stream.topic = topic::unused("morning");
    topic::make(&config.stream.topic, 1).await;
    config.report.at = Some(Time::midnight());
    known_for(&config, days).await;
    (config, client)
}

/// Payments of the days before today, evenly and in order, over so many partitions.
fn backlog(days: i64, a_day: i64, partitions: i64) -> Vec<Record> {
    let today = Timestamp::now().strftime("%F").to_string();
    let begin: Timestamp = format!("{today}T00:00:00Z").parse().unwrap();
    (0..days * a_day)
        .map(|number| {
            let age = days * 24 * 3600 - number * 24 * 3600 / a_day;
            let event = Event::new(
                &format!("late-{number}"),
                &account((number % 50) as u64),
                begin - age.seconds(),
            );
            Record::payment((number % 50 % partitions) as i32, &event)
        })
        .collect()
}

#[tokio::test]
async fn after_an_outage_reports_wait_until_what_lay_in_the_topic_is_read() {
    let place = Place::new("morning", 2).await;
    let client = place.look().await;
    let mut vigie = place.run(&[]);
    wait_until(&client, "it is bound", "EXISTS (SELECT FROM streams)").await;
    vigie.stopped(Duration::from_secs(20)).await;
    known_for(&place.config, 2).await;
    // Meanwhile, for two days, nobody reads.
    place.send(&backlog(2, 3_000, 2)).await;
    let mut vigie = place.run(&[("VIGIE_REPORT__AT", "00:00")]);
    wait_until(
        &client,
        "both days are reported",
        "(SELECT count(*) = 2 FROM reports)",
    )
    .await;
    assert!(vigie.times_said("the report waits, at most") > 0);
    vigie.stopped(Duration::from_secs(20)).await;
    let mails = "SELECT r.day::text, (SELECT count(*) FROM payments_scored AS p WHERE p.event_day = r.day), o.subject,
                        o.body_text
                 FROM reports AS r JOIN outbox AS o USING (notice_id) ORDER BY r.day";
    let mails = client.query(mails, &[]).await.unwrap();
    assert_eq!(mails.len(), 2);
    for mail in mails {
        let (day, rows, subject): (&str, i64, &str) = (mail.get(0), mail.get(1), mail.get(2));
        assert_eq!(rows, 3_000, "{day}");
        let expected = format!("Vigie report on {day}: 3,000 payments, ");
        assert!(subject.starts_with(&expected), "{subject}");
        let text: &str = mail.get(3);
        assert!(!text.contains("not read yet"), "{text}");
    }
}

#[tokio::test]
async fn a_report_waits_for_unread_records_and_says_those_of_a_held_partition() {
    let (config, client) = reporting(1).await;
    topic::send(&config.stream.topic, &backlog(1, 3, 1)).await;
    let keeper = Keeper::start(&config);
    one_more_round(&client).await;
    one_more_round(&client).await;
    assert_eq!(count(&client, "SELECT count(*) FROM reports").await, 0);
    client
        .batch_execute("UPDATE stream_offsets SET held = 'too many', held_at = now()")
        .await
        .unwrap();
    let sent = "EXISTS (SELECT FROM reports)";
    wait_until(&client, "the report is queued", sent).await;
    keeper.stop().await;
    let said = "SELECT count(*) FROM outbox
                WHERE body_text LIKE '%3 records of the topic were not read yet%3 of them are in held partitions%'
                  AND body_html LIKE '%3 records of the topic were not read yet%'";
    assert_eq!(count(&client, said).await, 1);
}

#[tokio::test]
async fn nothing_unread_holds_no_report_up_although_the_partition_is_idle() {
    let (config, mut client) = reporting(1).await;
    topic::send(&config.stream.topic, &backlog(1, 1, 1)).await;
    store(&mut client, &[paid(0, 0, MARCH)], &[]).await;
    let keeper = Keeper::start(&config);
    wait_until(
        &client,
        "the report is queued",
        "EXISTS (SELECT FROM reports)",
    )
    .await;
    keeper.stop().await;
    let said = "SELECT count(*) FROM outbox WHERE body_text LIKE '%not read%'";
    assert_eq!(count(&client, said).await, 0);
}

#[tokio::test]
async fn the_end_of_a_transaction_holds_no_report_up_but_a_record_does() {
    let (config, mut client) = reporting(1).await;
    let records = backlog(1, 2, 1);
    let send = async |record: &Record| {
        let transaction = [(vec![record.clone()], End::Commit)];
        topic::send_transactions(&config.stream.topic, &transaction).await;
    };
    send(&records[0]).await;
    // Behind the payment that was read there is the end of its transaction.
    store(&mut client, &[paid(0, 0, MARCH)], &[]).await;
    let calendar = Calendar::of(&config).unwrap();
    let yesterday = calendar.past_day(None, Timestamp::now()).unwrap();
    let (_, end) = calendar.bounds(yesterday).unwrap();
    let unread = unread::look(&client, &config, end).await.unwrap();
    assert_eq!(unread, Unread::Records { coming: 0, held: 0 });
    send(&records[1]).await;
    let unread = unread::look(&client, &config, end).await.unwrap();
    assert!(unread.waits_for().is_some(), "{unread:?}");
}

#[tokio::test]
async fn the_first_report_is_not_on_a_day_before_the_schema_had_reports() {
    let (config, client) = reporting(100).await;
    let owner = owner(&config).await;
    let calendar = Calendar::of(&config).unwrap();
    let due = async || {
        let now = Timestamp::now();
        let due = sending::due(&client, 1, &calendar, Time::midnight(), now).await;
        let days_ago = |day| calendar.day_of(now).since(day).unwrap().get_days();
        due.unwrap().map(days_ago)
    };
    assert_eq!(due().await, Some(7));
    for (ago, expected) in [("3 days", Some(3)), ("0 days", None)] {
        let applied = format!("UPDATE schema_migrations SET applied_at = now() - interval '{ago}'");
        owner.batch_execute(&applied).await.unwrap();
        assert_eq!(due().await, expected, "{ago}");
    }
    owner
        .batch_execute(
            "UPDATE schema_migrations SET applied_at = now() - interval '50 days';
             UPDATE streams SET bound_at = now() - interval '2 days'",
        )
        .await
        .unwrap();
    assert_eq!(due().await, Some(2));
}

#[tokio::test]
async fn each_stream_of_a_schema_has_its_figures() {
    let (config, mut client) = stream(1, "UTC").await;
    store(&mut client, &[paid(0, 0, MARCH)], &[]).await;
    client
        .batch_execute(
            "INSERT INTO streams (stream, topic, topic_id, cluster_id, partitions, consumer_group, token_fingerprint,
                                  business_zone, amount_scale)
             SELECT 2, 'u', topic_id, cluster_id, partitions, consumer_group, token_fingerprint, business_zone,
                    amount_scale FROM streams;
             INSERT INTO stream_offsets (stream, partition, first_offset, next_offset, scored, watermark)
             SELECT 2, partition, first_offset, next_offset, scored, watermark FROM stream_offsets;
             CREATE TEMPORARY TABLE other AS SELECT * FROM payments_scored;
             UPDATE other SET stream = 2;
             INSERT INTO payments_scored SELECT * FROM other",
        )
        .await
        .unwrap();
    let mut other = config.clone();
    other.stream.id = 2;
    let keepers = [Keeper::start(&config), Keeper::start(&other)];
    wait_until(
        &client,
        "both are counted",
        "(SELECT count(DISTINCT stream) = 2 AND sum(payments) = 2 FROM figures_hourly)",
    )
    .await;
    for keeper in keepers {
        keeper.stop().await;
    }
}

#[tokio::test]
async fn the_age_of_the_figures_grows_while_counting_fails() {
    let place = Place::new("morning", 1).await;
    let refuse = "REVOKE EXECUTE ON FUNCTION figures_step FROM vigie_writer";
    owner(&place.config)
        .await
        .batch_execute(refuse)
        .await
        .unwrap();
    let vigie = place.run(&[]);
    let age = |page: &str| -> Option<f64> {
        let line = page
            .lines()
            .find(|line| line.starts_with("vigie_figures_age_seconds{"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    vigie.until_it_says("figures and reports wait").await;
    // Longer than from one attempt to the next, and it is always there.
    vigie
        .until_page("/metrics", |_, page| {
            age(page).expect("its age is stated") > 8.0
        })
        .await;
    assert_eq!(vigie.times_said("figures and reports wait"), 1);
}
