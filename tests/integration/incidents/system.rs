//! Troubles of the system: each is told when it begins and when it is over, once.

use std::time::Duration;

use vigie::desk::incidents::Watch;
use vigie::desk::notifier::outbox::Channels;

use super::{Alert, Desk, MINUTE};

const OPEN: &str = "SELECT count(*) FROM incidents WHERE kind = 'system' AND closed_at IS NULL";
const NOTICES: &str = "SELECT count(*) FROM notices WHERE kind = 'system'";

impl Desk {
    /// A stream of three partitions that has read nothing.
    async fn streaming() -> Self {
        let desk = Self::new().await;
        desk.client
            .batch_execute(
                "INSERT INTO stream_offsets (stream, partition, first_offset, next_offset)
                 SELECT 1, n, 0, 0 FROM generate_series(0, 2) AS n",
            )
            .await
            .unwrap();
        desk
    }

    /// A look by a process that has just begun to notify.
    async fn look(&mut self) {
        let channels = Channels::of(&self.config).unwrap();
        let mut watch = Watch::new(&self.config);
        let looked = watch.look(&mut self.client, &self.config, &channels).await;
        looked.unwrap();
    }

    /// Time passes, and a process that notifies looks every minute of it; nothing comes.
    async fn pass_watched(&self, time: Duration) {
        self.pass(time).await;
        self.owner
            .batch_execute(
                "UPDATE stream_minutes SET looked_at = minute + interval '55 s';
                 INSERT INTO stream_minutes (stream, slot, minute, looked_at, scored_total, records_total, dead_total,
                                             canaries, payments, records, dead)
                 SELECT stream, extract(epoch FROM at)::bigint / 60 % 10080, at, least(at + interval '55 s', now()),
                        scored_total, records_total, dead_total, 0, 0, 0, 0
                 FROM (SELECT DISTINCT ON (stream) * FROM stream_minutes ORDER BY stream, minute DESC) AS newest,
                      generate_series(newest.minute + interval '1 min', now(), '1 min') AS at",
            )
            .await
            .unwrap();
    }

    /// What the partitions count more than before.
    async fn read(&self, scored: i64, dead: i64) {
        self.client
            .execute(
                "UPDATE stream_offsets SET scored = scored + $1, dead = dead + $2, next_offset = next_offset + $1 + $2
                 WHERE partition = 0",
                &[&scored, &dead],
            )
            .await
            .unwrap();
    }

    async fn hold(&self, partitions: &str) {
        let hold = format!(
            "UPDATE stream_offsets
             SET held = CASE WHEN partition IN ({partitions}) THEN '600 of the last 1000 records are dead letters' END"
        );
        self.client.batch_execute(&hold).await.unwrap();
    }

    /// How many are open, and how many messages were written about them.
    async fn open_and_told(&self) -> (i64, i64) {
        (self.count(OPEN).await, self.count(NOTICES).await)
    }

    async fn last_subject(&self) -> String {
        self.text("SELECT subject FROM outbox ORDER BY id DESC LIMIT 1")
            .await
    }

    async fn last_text(&self) -> String {
        self.text("SELECT body_text FROM outbox ORDER BY id DESC LIMIT 1")
            .await
    }
}

#[tokio::test]
async fn a_held_partition_is_told_once_another_one_as_news_and_the_end_once() {
    let mut desk = Desk::streaming().await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (0, 0));
    desk.hold("1").await;
    desk.look().await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (1, 1));
    assert_eq!(
        desk.last_subject().await,
        "Vigie: critical, a held partition"
    );
    let text = desk.last_text().await;
    assert!(
        text.contains("1 (600 of the last 1000 records are dead letters)"),
        "{text}"
    );
    assert!(text.contains("vigie offsets release"), "{text}");
    desk.hold("1, 2").await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (1, 1));
    desk.pass(10 * MINUTE).await;
    desk.look().await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (1, 2));
    assert!(desk.last_text().await.contains("goes on"));
    desk.hold("-1").await;
    desk.look().await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (0, 3));
    assert_eq!(desk.last_subject().await, "Vigie: over: a held partition");
    let notices = "SELECT count(*) FROM notice_incidents WHERE incident_id = 1";
    assert_eq!(desk.count(notices).await, 3);
}

#[tokio::test]
async fn dead_letters_above_their_share_are_told_once_and_their_end_once() {
    let mut desk = Desk::streaming().await;
    desk.look().await;
    desk.read(940, 60).await;
    desk.look().await;
    desk.read(100, 0).await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (1, 1));
    assert_eq!(desk.last_subject().await, "Vigie: many dead letters");
    let text = desk.last_text().await;
    assert!(
        text.contains("6.0 % of the records") && text.contains("60 of 1,000"),
        "{text}"
    );
    desk.pass(11 * MINUTE).await;
    desk.read(100, 1).await;
    desk.look().await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (0, 2));
    assert_eq!(desk.last_subject().await, "Vigie: over: many dead letters");
}

#[tokio::test]
async fn payments_without_a_score_are_told_once_and_their_end_once() {
    let mut desk = Desk::streaming().await;
    desk.raise(Alert {
        score: None,
        rule: "not_assessed",
        ..Alert::of("a")
    })
    .await;
    desk.look().await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (1, 1));
    assert!(
        desk.last_text()
            .await
            .contains("1 payment of the last ten minutes had no score")
    );
    desk.pass(11 * MINUTE).await;
    desk.look().await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (0, 2));
}

#[tokio::test]
async fn payments_that_the_policy_lets_pass_without_a_score_are_found_as_well() {
    let mut desk = Desk::streaming().await;
    desk.pay("NULL", 1, "'2026-03-01 12:00:00Z'").await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (1, 1));
    assert_eq!(
        desk.last_subject().await,
        "Vigie: critical, payments without a score"
    );
    // Nothing is paid from then on: the watermark stands still.
    let past = "UPDATE payments_scored SET scored_at = scored_at - interval '11 min'";
    desk.owner.batch_execute(past).await.unwrap();
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (0, 2));
}

#[tokio::test]
async fn no_payments_for_longer_than_usual_are_told_once_and_our_own_canary_is_none() {
    let mut desk = Desk::streaming().await;
    desk.look().await;
    desk.read(100, 0).await;
    desk.look().await;
    desk.pass_watched(9 * MINUTE).await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (0, 0));
    desk.pass_watched(2 * MINUTE).await;
    desk.canary(1).await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (1, 1));
    assert_eq!(desk.last_subject().await, "Vigie: critical, no payments");
    assert!(
        desk.last_text()
            .await
            .contains("No payment has arrived for 11 minutes")
    );
    desk.pass(MINUTE).await;
    desk.canary(2).await;
    desk.look().await;
    desk.canary(3).await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (1, 1));
    desk.read(1, 0).await;
    desk.look().await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (0, 2));
}

#[tokio::test]
async fn a_pause_that_came_twice_in_seven_days_is_usual() {
    let mut desk = Desk::streaming().await;
    desk.look().await;
    for _ in 0..3 {
        desk.read(1, 0).await;
        desk.look().await;
        desk.pass_watched(60 * MINUTE).await;
        desk.look().await;
    }
    let unusual = desk
        .count("SELECT count(*) FROM incidents WHERE opened_at > now() - interval '2 h 30 min'")
        .await;
    assert_eq!(unusual, 2, "an hour is unusual twice, and then no more");
    desk.pass_watched(29 * MINUTE).await;
    desk.look().await;
    assert_eq!(desk.count(OPEN).await, 0);
    desk.pass_watched(2 * MINUTE).await;
    desk.look().await;
    assert_eq!(desk.count(OPEN).await, 1);
}

#[tokio::test]
async fn a_time_in_which_nobody_looked_is_no_silence_and_no_usual_pause() {
    let mut desk = Desk::streaming().await;
    desk.look().await;
    for _ in 0..3 {
        desk.read(1, 0).await;
        desk.look().await;
        desk.pass(60 * MINUTE).await;
        desk.look().await;
        assert_eq!(desk.open_and_told().await, (0, 0), "nobody ran for an hour");
    }
    desk.pass_watched(9 * MINUTE).await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (0, 0));
    desk.pass_watched(3 * MINUTE).await;
    desk.look().await;
    assert_eq!(
        desk.open_and_told().await,
        (1, 1),
        "no payment since the start"
    );
    desk.pass(60 * MINUTE).await;
    desk.look().await;
    assert_eq!(
        desk.open_and_told().await,
        (1, 1),
        "it may be over, and may not"
    );
    desk.read(1, 0).await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (0, 2));
}

#[tokio::test]
async fn scores_that_have_moved_are_told_once_and_their_end_once() {
    let mut desk = Desk::streaming().await;
    desk.pay(
        "(n % 100) / 100.0",
        2_000,
        "'2026-03-01 12:00:00Z'::timestamptz - n * interval '1 s'",
    )
    .await;
    desk.look().await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (1, 1));
    assert_eq!(desk.last_subject().await, "Vigie: the scores have moved");
    assert!(
        desk.last_text().await.contains("2,000 scores"),
        "{}",
        desk.last_text().await
    );
    // Too few to say anything: what is open stays open.
    desk.pay(
        "0.5",
        10,
        "'2026-03-02 12:00:00Z'::timestamptz - n * interval '1 s'",
    )
    .await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (1, 1));
    // As in the training period, but for the bins that are nearly empty.
    desk.pay(
        "0.0005",
        3_000,
        "'2026-03-03 12:00:00Z'::timestamptz - n * interval '1 s'",
    )
    .await;
    desk.look().await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (0, 2));
}

#[tokio::test]
async fn a_trouble_that_is_snoozed_is_silent_and_told_at_the_end_if_it_goes_on() {
    let mut desk = Desk::streaming().await;
    desk.hold("1").await;
    desk.look().await;
    desk.snooze("--system", "held_partition", "we know").await;
    desk.hold("1, 2").await;
    desk.pass(60 * MINUTE).await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (1, 1));
    desk.pass(60 * MINUTE).await;
    desk.look().await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (1, 2));
    desk.snooze("--incident", "1", "being mended").await;
    desk.hold("-1").await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (0, 2));
    desk.pass(120 * MINUTE).await;
    desk.look().await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (0, 3), "its end is told late");
    assert_eq!(desk.last_subject().await, "Vigie: over: a held partition");
}

#[tokio::test]
async fn the_end_of_a_trouble_that_has_begun_anew_in_a_snooze_is_not_told_before_it_is_over() {
    let mut desk = Desk::streaming().await;
    desk.hold("1").await;
    desk.look().await;
    desk.snooze("--system", "held_partition", "we know").await;
    for partition in ["-1", "2"] {
        desk.hold(partition).await;
        desk.look().await;
    }
    desk.pass(120 * MINUTE).await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (1, 2));
    assert_eq!(
        desk.last_subject().await,
        "Vigie: critical, a held partition"
    );
    desk.hold("-1").await;
    desk.look().await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (0, 3));
    assert_eq!(desk.last_subject().await, "Vigie: over: a held partition");
}

#[tokio::test]
async fn a_trouble_that_comes_and_goes_is_told_again_after_the_cooldown_only() {
    let mut desk = Desk::streaming().await;
    for _ in 0..3 {
        desk.hold("1").await;
        desk.look().await;
        desk.hold("-1").await;
        desk.look().await;
    }
    assert_eq!(desk.open_and_told().await, (0, 2));
    desk.hold("1").await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (1, 2));
    desk.pass(10 * MINUTE).await;
    desk.look().await;
    assert_eq!(desk.open_and_told().await, (1, 3));
}

impl Desk {
    /// Payments with these scores and times, expressions over `n`; the watermark is the latest.
    async fn pay(&self, score: &str, payments: i64, time: &str) {
        self.owner
            .batch_execute(&format!(
                "SELECT ensure_days(array_agg(DISTINCT ({time})::timestamptz::date)) FROM generate_series(1, {payments}) AS n;
                 INSERT INTO payments_scored (event_time, amount, body_hash, source_offset, source_partition, event_day,
                                              score, stream, decision, account, trans_num, features, event,
                                              model_version, policy_version)
                 SELECT {time}, 100, 0, n, 0, ({time})::timestamptz::date, {score}, 1, 0, '', 't-' || n, '', '{{}}', 'm', 'p'
                 FROM generate_series(1, {payments}) AS n;
                 UPDATE stream_offsets SET watermark = (SELECT max(event_time) FROM payments_scored)"
            ))
            .await
            .unwrap();
    }

    /// One of our own payments, with its alert, as a lane stores it.
    async fn canary(&self, number: i64) {
        self.client
            .batch_execute(&format!(
                "BEGIN;
                 UPDATE stream_offsets SET scored = scored + 1, next_offset = next_offset + 1 WHERE partition = 2;
                 INSERT INTO fraud_alerts (stream, source_partition, source_offset, event_day, event_time, trans_num,
                                           account, amount, decision, origin)
                 VALUES (1, 2, {number}, '2026-03-01', now(), 'canary-{number}', '', 100, 2, 2);
                 COMMIT"
            ))
            .await
            .unwrap();
    }
}
