//! A synthetic fraud goes the whole way, and its age says when one last did.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use tokio_postgres::Client;
use vigie::desk::notifier::outbox::{Channels, Notice, NoticeKind, enqueue};

use crate::support::database::{count, migrated, writer};
use crate::support::event::{Event, account};
use crate::support::eventually_within;
use crate::support::notifier::{Running, wait_until};
use crate::support::sink::{Sink, header};
use crate::support::topic::Record;
use crate::support::vigie::{LONG, Place, Vigie, command};

const AGE: &str = "vigie_canary_age_seconds{";
/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";

fn age(page: &str) -> Option<f64> {
    let line = page.lines().find(|line| line.starts_with(AGE))?;
    Some(line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

async fn until_age(vigie: &Vigie, fits: impl Fn(f64) -> bool) -> f64 {
    let page = vigie.until_page("/metrics", |_, page| age(page).is_some_and(&fits));
    age(&page.await).unwrap()
}

/// How many canaries have come through.
const CANARIES: &str =
    "SELECT count(*) FROM fraud_alerts AS a JOIN outbox AS o ON o.id = a.outbox_id
                        WHERE a.origin = 2 AND o.channel = 'canary' AND o.sent_at IS NOT NULL";

/// Waits until that many canaries have come through.
async fn came_through(client: &Client, canaries: i64) {
    eventually_within(LONG, &format!("{canaries} canaries"), || async {
        (count(client, CANARIES).await >= canaries).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_canary_goes_from_kafka_through_model_and_database_to_its_own_mailbox() {
    let mail = Sink::start().await;
    let place = Place::new("canary", 4).await;
    let port = mail.settings().port.to_string();
    let variables = [
        ("VIGIE_MAIL__HOST", "127.0.0.1"),
        ("VIGIE_MAIL__PORT", &port),
        ("VIGIE_MAIL__TLS", "plain"),
        ("VIGIE_MAIL__FROM", "Vigie <vigie@fraud.example.org>"),
        ("VIGIE_MAIL__TO", "oncall@example.org"),
        ("VIGIE_CANARY__EVERY", "300ms"),
        ("VIGIE_CANARY__TO", "canary@example.org"),
    ];
    let mut vigie = place.run(&variables);
    let client = place.look().await;
    came_through(&client, 3).await;
    until_age(&vigie, |age| age < 30.0).await;
    // One that waits says nothing: two processes would otherwise differ.
    let mut standby = place.run(&variables);
    standby
        .until_page("/readyz", |status, _| status == 200)
        .await;
    let (_, page) = standby.page("/metrics").await;
    assert_eq!(age(&page), None, "{page}");
    standby.stopped(LONG).await;
    vigie.stopped(LONG).await;

    let odd = "SELECT count(*) FROM payments_scored
               WHERE origin <> 2 OR concat(merchant, category, event) ~ '[0-9]{11}'";
    assert_eq!(count(&client, odd).await, 0);
    let unlike =
        "SELECT count(*) FROM fraud_alerts WHERE origin <> 2 OR trans_num !~ '^canary-[0-9]+us$'";
    assert_eq!(count(&client, unlike).await, 0);
    assert_eq!(count(&client, "SELECT count(*) FROM dead_letters").await, 0);
    // On-call hears of none of them.
    let others = "SELECT count(*) FROM outbox WHERE channel <> 'canary'";
    assert_eq!(count(&client, others).await, 0);
    for mail in mail.mails() {
        assert_eq!(header(&mail, "Delivered-To"), "canary@example.org");
        assert!(header(&mail, "Subject").contains("canary-"), "{mail}");
    }
}

#[tokio::test]
async fn each_stream_of_a_schema_has_its_canary() {
    let place = Place::new("canary-one", 1).await;
    let mut other = Place::new("canary-other", 1).await;
    other.config = place.config.clone();
    let every = ("VIGIE_CANARY__EVERY", "300ms");
    let streams = [
        place.run(&[every]),
        other.run(&[every, ("VIGIE_STREAM__ID", "2")]),
    ];
    let both = "(SELECT count(DISTINCT a.stream) = 2 FROM fraud_alerts AS a JOIN outbox AS o ON o.id = a.outbox_id
                 WHERE a.origin = 2 AND o.sent_at IS NOT NULL)";
    wait_until(&place.look().await, "both have come through", both).await;
    for vigie in &streams {
        until_age(vigie, |age| age < 30.0).await;
    }
}

#[tokio::test]
async fn a_canary_does_not_put_payments_of_the_past_under_the_horizon() {
    let place = Place::new("canary-past", 1).await;
    let _vigie = place.run(&[("VIGIE_CANARY__EVERY", "200ms")]);
    let client = place.look().await;
    // One is there before any payment is.
    came_through(&client, 1).await;
    let begin: Timestamp = "2020-06-21T12:00:00Z".parse().unwrap();
    for day in 0..3 {
        let time = begin + (24 * day).hours();
        let event = Event::new(&format!("of-day-{day}"), &account(1), time);
        place.send(&[Record::payment(0, &event)]).await;
        let stored =
            format!("EXISTS (SELECT FROM payments_scored WHERE trans_num = 'of-day-{day}')");
        wait_until(&client, "it is stored", &stored).await;
        let seen = count(&client, CANARIES).await;
        came_through(&client, seen + 2).await;
    }
    let moved = "SELECT count(*) FROM stream_offsets
                 WHERE watermark <> (SELECT max(event_time) FROM payments_scored WHERE origin = 0)";
    assert_eq!(count(&client, moved).await, 0);
}

#[tokio::test]
async fn the_canary_ages_while_its_partition_is_held_and_is_young_again_after() {
    let place = Place::new("canary-held", 1).await;
    let vigie = place.run(&[
        ("VIGIE_CANARY__EVERY", "200ms"),
        ("VIGIE_STREAM__DEAD_LETTER_LIMIT", "5"),
    ]);
    let client = place.look().await;
    // Without a mailbox the outbox is where it ends.
    came_through(&client, 1).await;
    until_age(&vigie, |age| age < 5.0).await;
    place
        .send(&vec![Record::of(0, "this is no payment"); 10])
        .await;
    let held = "EXISTS (SELECT FROM stream_offsets WHERE held IS NOT NULL)";
    wait_until(&client, "the partition is held", held).await;
    until_age(&vigie, |age| age > 6.0).await;
    let release = ["offsets", "release", "--partition", "0", "--why", "mended"];
    let done = place.command(&release).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    until_age(&vigie, |age| age < 5.0).await;
}

#[tokio::test]
async fn a_process_that_takes_over_knows_how_old_the_canary_is() {
    let place = Place::new("canary-takeover", 1).await;
    let client = place.look().await;
    // One that came through an hour ago, and one that was sent since and never arrived anywhere.
    client
        .batch_execute(
            "WITH sent AS (
                 INSERT INTO outbox (channel, message_id, subject, body_text, body_html, sent_at)
                 VALUES ('canary', 'an old one', '', '', '', now() - interval '1 hour') RETURNING id),
             waiting AS (
                 INSERT INTO outbox (channel, message_id, subject, body_text, body_html)
                 VALUES ('mail', 'a waiting one', '', '', '') RETURNING id),
             canaries AS (
                 SELECT id, now() - interval '1 hour' AS at, 1 AS number FROM sent
                 UNION ALL SELECT id, now() - interval '1 minute', 2 FROM waiting)
             INSERT INTO fraud_alerts (stream, source_partition, source_offset, event_day, event_time, trans_num,
                                       account, amount, decision, origin, outbox_id)
             SELECT 1, 0, number, at::date, at, 'canary-' || (extract(epoch FROM at) * 1000000)::bigint || 'us',
                    '\\x00', 1, 2, 2, id
             FROM canaries",
        )
        .await
        .unwrap();
    let vigie = place.run(&[
        ("VIGIE_CANARY__EVERY", "200ms"),
        ("VIGIE_KAFKA__BROKERS", NOWHERE),
    ]);
    let age = until_age(&vigie, |_| true).await;
    assert!((3_600.0..7_200.0).contains(&age), "{age}");
    vigie.until_it_says("the canary waits for Kafka").await;
}

#[tokio::test]
async fn while_kafka_is_away_people_are_told_all_the_same() {
    let mail = Sink::start().await;
    let mut config = migrated().await;
    config.mail = mail.settings();
    config.kafka.brokers = NOWHERE.into();
    config.canary.every = Duration::from_millis(50);
    let notifier = Running::start(&config);
    for number in 1..=3 {
        let notice = Notice {
            kind: NoticeKind::System,
            subject: format!("number {number}"),
            text: "something".into(),
            html: "something".into(),
            payload: serde_json::Value::Null,
            attachments: Vec::new(),
        };
        let mut client = writer(&config).await;
        let transaction = client.transaction().await.unwrap();
        let channels = Channels::of(&config).unwrap();
        enqueue(&transaction, &notice, &channels).await.unwrap();
        transaction.commit().await.unwrap();
        mail.wait_for(number).await;
    }
    notifier.stop().await;
}

#[tokio::test]
async fn a_canary_that_the_stream_would_not_take_is_refused_at_the_start_and_by_check() {
    let name = "x".repeat(300);
    let variables = [
        ("VIGIE_CANARY__EVERY", "30s"),
        ("VIGIE_CANARY__ACCOUNT", &name),
    ];
    let place = Place::new("canary-refused", 1).await;
    let mut vigie = place.run(&variables);
    let status = vigie.ended(LONG).await;
    assert_eq!(status.code(), Some(2), "{}", vigie.said());
    assert!(
        vigie.said().contains("canary.account: a payment of"),
        "{}",
        vigie.said()
    );
    let checked = command(&["check"]).envs(variables).output().unwrap();
    let page = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(2), "{page}");
    assert!(
        page.contains("FAIL  canary") && page.contains("dead letter"),
        "{page}"
    );
}

#[tokio::test]
async fn canaries_wait_for_a_mail_server_that_is_away_and_do_not_pile_up() {
    // Without a mailbox of their own, they go as far as its greeting.
    for mailbox in ["canary@example.org", ""] {
        let mail = Sink::start().await;
        mail.behave("refuse");
        let place = Place::new("canary-pile", 1).await;
        let port = mail.settings().port.to_string();
        let mut vigie = place.run(&[
            ("VIGIE_MAIL__HOST", "127.0.0.1"),
            ("VIGIE_MAIL__PORT", &port),
            ("VIGIE_MAIL__TLS", "plain"),
            ("VIGIE_CANARY__EVERY", "200ms"),
            ("VIGIE_CANARY__TO", mailbox),
        ]);
        let client = place.look().await;
        let passed = "3 <= (SELECT count(*) FROM outbox WHERE channel = 'canary')";
        wait_until(&client, "three have come so far", passed).await;
        let waiting = "SELECT count(*) FROM outbox
                       WHERE channel = 'canary' AND sent_at IS NULL AND suppressed_at IS NULL";
        assert_eq!(count(&client, waiting).await, 1);
        assert_eq!(count(&client, CANARIES).await, 0);
        mail.behave("accept");
        came_through(&client, 1).await;
        vigie.stopped(LONG).await;
        assert_eq!(mail.mails().is_empty(), mailbox.is_empty());
    }
}
