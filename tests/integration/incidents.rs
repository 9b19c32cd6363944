//! Alerts, the incidents they become, and when on-call hears of them. Time passes by moving what
//! is stored into the past.

mod system;

use std::time::Duration;

use clap::Parser;
use serde_json::Value;
use tokio_postgres::Client;
use vigie::config::{Config, GroupBy};
use vigie::database::{self, Login};
use vigie::desk::alerts::{self, Alerts};
use vigie::desk::incidents::{Gathering, Told};
use vigie::desk::notifier::outbox::Channels;

use crate::support::database::{count, migrated, owner, writer};
use crate::support::notifier::{Running, wait_until};
use crate::support::sink::{Sink, header};

/// A schema in which the test itself gathers; nobody is to be told, so that every message has got
/// out as soon as it is written.
struct Desk {
    config: Config,
    client: Client,
    owner: Client,
    gathering: Gathering,
    alerts: i64,
}

/// One alert.
struct Alert {
    account: &'static str,
    merchant: &'static str,
    amount: i64,
    score: Option<f32>,
    rule: &'static str,
}

impl Alert {
    fn of(account: &'static str) -> Self {
        Self {
            account,
            merchant: "Shop",
            amount: 1_000,
            score: Some(0.97),
            rule: "score_block",
        }
    }
}

impl Desk {
    async fn new() -> Self {
        let mut config = migrated().await;
        config.mail.host = String::new();
        config.incidents.gather = Duration::ZERO;
        let client = bound(&config).await;
        let owner = owner(&config).await;
        Self {
            config,
            client,
            owner,
            gathering: Gathering::default(),
            alerts: 0,
        }
    }

    async fn raise(&mut self, alert: Alert) {
        self.alerts += 1;
        let decision: i16 = if alert.rule == "score_block" { 2 } else { 1 };
        self.client
            .execute(
                "INSERT INTO fraud_alerts (stream, source_partition, source_offset, event_day, event_time, trans_num,
                                           account, amount, merchant, score, decision, reasons)
                 VALUES (1, 0, $1, '2026-03-01', '2026-03-01 12:00:00Z', 't-' || $1::bigint, decode(md5($2), 'hex'), $3, $4,
                         $5, $6, ARRAY[$7])",
                &[
                    &self.alerts,
                    &alert.account,
                    &alert.amount,
                    &alert.merchant,
                    &alert.score,
                    &decision,
                    &alert.rule,
                ],
            )
            .await
            .unwrap();
    }

    async fn gather(&mut self) -> Option<Told> {
        let channels = Channels::of(&self.config).unwrap();
        let gathered = self
            .gathering
            .gather(&mut self.client, &self.config, &channels);
        gathered.await.unwrap()
    }

    /// How many alerts the message tells of that is written now; 0 without one.
    async fn told(&mut self) -> u64 {
        self.gather().await.map_or(0, |told| told.alerts)
    }

    async fn pass(&self, time: Duration) {
        let seconds = time.as_secs();
        let past = format!("interval '{seconds} s'");
        self.owner
            .batch_execute(&format!(
                "UPDATE fraud_alerts SET created_at = created_at - {past};
                 UPDATE incidents SET opened_at = opened_at - {past}, last_alert_at = last_alert_at - {past},
                                      last_noticed_at = last_noticed_at - {past}, closed_at = closed_at - {past};
                 UPDATE notices SET created_at = created_at - {past};
                 UPDATE outbox SET created_at = created_at - {past};
                 UPDATE snoozes SET at = at - {past}, until = until - {past};
                 CREATE TEMP TABLE moved AS SELECT * FROM stream_minutes;
                 DELETE FROM stream_minutes;
                 UPDATE moved SET minute = minute - {past}, looked_at = looked_at - {past},
                                  quiet_until = quiet_until - {past}, paid_at = paid_at - {past};
                 UPDATE moved SET slot = extract(epoch FROM minute)::bigint / 60 % 10080;
                 INSERT INTO stream_minutes SELECT * FROM moved;
                 DROP TABLE moved"
            ))
            .await
            .unwrap();
    }

    async fn count(&self, query: &str) -> i64 {
        count(&self.client, query).await
    }

    async fn text(&self, query: &str) -> String {
        self.client.query_one(query, &[]).await.unwrap().get(0)
    }

    /// What the command prints, or its error.
    async fn vigie(&self, line: &[&str]) -> Result<String, String> {
        #[derive(Parser)]
        enum Verb {
            #[command(subcommand)]
            Alerts(Alerts),
        }
        let words = ["vigie", "alerts"].iter().chain(line);
        let Verb::Alerts(verb) = Verb::try_parse_from(words).map_err(|error| error.to_string())?;
        let printed = alerts::run(&self.config, &verb).await;
        printed.map_err(|error| format!("{error:#}"))
    }

    /// Silences this for two hours.
    async fn snooze(&self, what: &str, key: &str, why: &str) {
        let line = ["snooze", what, key, "--for", "2h", "--why", why];
        self.vigie(&line).await.unwrap();
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// A session with a stream whose amounts have two decimals.
async fn bound(config: &Config) -> Client {
    let client = writer(config).await;
    let bind =
        "INSERT INTO streams (stream, topic, topic_id, cluster_id, partitions, consumer_group,
                                     token_fingerprint, business_zone, amount_scale)
                VALUES (1, 't', 't', 'c', 8, 'g', 'f', 'UTC', 2)";
    client.execute(bind, &[]).await.unwrap();
    client
}

/// A schema whose messages go to this sink.
async fn mailed(sink: &Sink) -> (Config, Client) {
    let mut config = migrated().await;
    config.mail = sink.settings();
    let client = bound(&config).await;
    (config, client)
}

#[tokio::test]
async fn thousands_at_once_are_one_mail_and_what_follows_is_one_digest_after_a_pause() {
    let sink = Sink::start().await;
    let (config, client) = mailed(&sink).await;
    let flood = "INSERT INTO fraud_alerts (stream, source_partition, source_offset, event_day, event_time, trans_num,
                                           account, amount, merchant, score, decision)
                 SELECT 1, 0, n, '2026-03-01', '2026-03-01 12:00:00Z', 't-' || n, decode(md5(n::text), 'hex'), n * 100,
                        'Shop', 0.97, 2 FROM generate_series($1::bigint, $2) AS n";
    client.execute(flood, &[&1_i64, &5_000_i64]).await.unwrap();
    let notifier = Running::start(&config);
    let mail = sink.wait_for(1).await.remove(0);
    let body = mail.replace("=\r\n", "");
    for words in [
        "4,995 more.",
        "5,000.00",
        "4,996.00",
        "in 5,000 incidents, ",
    ] {
        assert!(body.contains(words), "{words} is not in\n{body}");
    }
    client
        .execute(flood, &[&5_001_i64, &6_000_i64])
        .await
        .unwrap();
    let waiting = "1000 = (SELECT count(*) FROM fraud_alerts WHERE incident_id IS NOT NULL AND outbox_id IS NULL)";
    wait_until(&client, "the second wave has its incidents", waiting).await;
    assert_eq!(sink.mails().len(), 1);
    let owner = owner(&config).await;
    let minute = "UPDATE notices SET created_at = created_at - interval '1 min'";
    owner.batch_execute(minute).await.unwrap();
    let mails = sink.wait_for(2).await;
    let subjects: Vec<String> = mails.iter().map(|mail| header(mail, "Subject")).collect();
    for words in ["5,000 suspicious payments", "1,000 suspicious payments"] {
        assert!(
            subjects.iter().any(|subject| subject.contains(words)),
            "{subjects:?}"
        );
    }
    assert_eq!(count(&client, "SELECT count(*) FROM notices").await, 2);
    let doubled = "SELECT count(*) FROM incidents WHERE alerts <> 1 OR untold <> 0";
    assert_eq!(count(&client, doubled).await, 0);
    notifier.stop().await;
}

#[tokio::test]
async fn a_restart_while_alerts_gather_loses_and_doubles_nothing() {
    let sink = Sink::start().await;
    let (mut config, client) = mailed(&sink).await;
    config.incidents.gather = 10 * MINUTE;
    let first = Running::start(&config);
    let raise = "INSERT INTO fraud_alerts (stream, source_partition, source_offset, event_day, event_time, trans_num,
                                           account, amount, score, decision)
                 SELECT 1, 0, n, '2026-03-01', '2026-03-01 12:00:00Z', 't-' || n, decode(md5((n % 2)::text), 'hex'),
                        100, 0.97, 2 FROM generate_series($1::bigint, $1::bigint + 2) AS n";
    client.execute(raise, &[&1_i64]).await.unwrap();
    let grouped = "(SELECT count(*) FROM fraud_alerts WHERE incident_id IS NOT NULL) =";
    wait_until(
        &client,
        "three have their incidents",
        &format!("{grouped} 3"),
    )
    .await;
    first.task.abort();
    client.execute(raise, &[&4_i64]).await.unwrap();
    let second = Running::start(&config);
    wait_until(&client, "all have their incidents", &format!("{grouped} 6")).await;
    assert_eq!(sink.mails().len(), 0);
    let past = "UPDATE fraud_alerts SET created_at = created_at - interval '10 min'";
    owner(&config).await.batch_execute(past).await.unwrap();
    let mails = sink.wait_for(1).await;
    assert!(
        header(&mails[0], "Subject").contains("6 suspicious payments"),
        "{mails:?}"
    );
    let sums =
        "SELECT count(*) FROM incidents WHERE alerts = 3 AND untold = 0 AND closed_at IS NULL";
    assert_eq!(count(&client, sums).await, 2);
    let told = "SELECT count(*) FROM notice_incidents WHERE alerts = 3 AND notice_id = 1";
    assert_eq!(count(&client, told).await, 2);
    second.stop().await;
}

#[tokio::test]
async fn a_flood_that_is_too_much_for_the_database_at_once_is_taken_in_smaller_parts() {
    let mut desk = Desk::new().await;
    desk.config.incidents.cooldown = Duration::ZERO;
    desk.owner
        .batch_execute(
            "CREATE FUNCTION too_slow() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN
                  IF (SELECT count(*) FROM changed) > 2000 THEN
                      RAISE EXCEPTION ''canceling statement'' USING ERRCODE = ''query_canceled'';
                  END IF;
                  RETURN NULL;
              END';
             CREATE TRIGGER too_slow AFTER UPDATE ON fraud_alerts REFERENCING NEW TABLE AS changed
             FOR EACH STATEMENT EXECUTE FUNCTION too_slow();
             INSERT INTO fraud_alerts (stream, source_partition, source_offset, event_day, event_time, trans_num,
                                       account, amount, decision)
             SELECT 1, 0, n, '2026-03-01', '2026-03-01 12:00:00Z', 't-' || n, '', 100, 2
             FROM generate_series(1, 5000) AS n",
        )
        .await
        .unwrap();
    let channels = Channels::of(&desk.config).unwrap();
    let mut told = 0;
    for _ in 0..20 {
        let gathered = desk
            .gathering
            .gather(&mut desk.client, &desk.config, &channels);
        if let Ok(Some(message)) = gathered.await {
            told += message.alerts;
        }
    }
    assert_eq!(told, 5_000);
    let counted = "SELECT alerts FROM incidents WHERE untold = 0";
    assert_eq!(desk.count(counted).await, 5_000);
}

#[tokio::test]
async fn an_incident_that_goes_on_is_told_again_after_the_cooldown() {
    let mut desk = Desk::new().await;
    desk.raise(Alert::of("a")).await;
    assert_eq!(desk.told().await, 1);
    desk.raise(Alert::of("a")).await;
    desk.pass(9 * MINUTE).await;
    assert_eq!(desk.told().await, 0);
    desk.raise(Alert::of("a")).await;
    desk.pass(MINUTE).await;
    assert_eq!(desk.told().await, 2);
    assert_eq!(desk.count("SELECT count(*) FROM incidents").await, 1);
}

#[tokio::test]
async fn the_pause_between_messages_grows_with_what_was_heard_and_a_message_takes_all_that_is_due()
{
    let mut desk = Desk::new().await;
    desk.raise(Alert::of("a")).await;
    assert_eq!(desk.told().await, 1);
    desk.raise(Alert::of("b")).await;
    desk.pass(MINUTE / 2).await;
    assert_eq!(desk.told().await, 0);
    desk.raise(Alert::of("c")).await;
    desk.pass(MINUTE / 2).await;
    assert_eq!(desk.told().await, 2);
    desk.raise(Alert::of("d")).await;
    desk.pass(MINUTE).await;
    assert_eq!(desk.told().await, 0, "two messages: two minutes");
    desk.pass(MINUTE).await;
    assert_eq!(desk.told().await, 1);
}

#[tokio::test]
async fn a_rise_to_critical_is_told_before_the_cooldown_ends_and_once() {
    let mut desk = Desk::new().await;
    let critical = || Alert {
        amount: 100_000,
        ..Alert::of("a")
    };
    let severity = "SELECT severity FROM incidents";
    desk.raise(Alert::of("a")).await;
    assert_eq!(desk.told().await, 1);
    desk.raise(Alert {
        amount: 99_999,
        ..Alert::of("a")
    })
    .await;
    desk.raise(Alert {
        score: Some(0.94),
        ..critical()
    })
    .await;
    desk.raise(Alert {
        score: None,
        ..critical()
    })
    .await;
    desk.pass(MINUTE).await;
    assert_eq!(desk.told().await, 0);
    assert_eq!(desk.text(severity).await, "warning");
    desk.raise(critical()).await;
    assert_eq!(desk.told().await, 4);
    assert_eq!(desk.text(severity).await, "critical");
    let subject = desk
        .text("SELECT subject FROM outbox ORDER BY id DESC LIMIT 1")
        .await;
    assert!(
        subject.starts_with("Vigie: critical, 4 suspicious payments"),
        "{subject}"
    );
    desk.raise(critical()).await;
    desk.pass(5 * MINUTE).await;
    assert_eq!(desk.told().await, 0);
    desk.pass(5 * MINUTE).await;
    assert_eq!(desk.told().await, 1);
}

#[tokio::test]
async fn what_is_beyond_the_hourly_cap_waits_for_a_digest() {
    let mut desk = Desk::new().await;
    desk.config.incidents.cooldown = Duration::from_secs(10);
    desk.config.incidents.hourly_cap = 3;
    let mut messages = 0;
    for account in ["a", "b", "c", "d", "e", "f"] {
        desk.raise(Alert::of(account)).await;
        desk.pass(MINUTE).await;
        messages += u32::from(desk.gather().await.is_some());
    }
    assert_eq!(messages, 3);
    assert_eq!(desk.told().await, 0);
    // The first of the three is an hour old.
    desk.pass(56 * MINUTE).await;
    assert_eq!(desk.told().await, 3);
    assert_eq!(
        desk.count("SELECT count(*) FROM incidents WHERE untold > 0")
            .await,
        0
    );
}

#[tokio::test]
async fn a_quiet_hour_closes_an_incident_and_a_later_alert_opens_another() {
    let mut desk = Desk::new().await;
    desk.raise(Alert::of("a")).await;
    assert_eq!(desk.told().await, 1);
    let open = "SELECT count(*) FROM incidents WHERE closed_at IS NULL";
    desk.pass(59 * MINUTE).await;
    assert_eq!(desk.told().await, 0);
    assert_eq!(desk.count(open).await, 1);
    desk.pass(MINUTE).await;
    assert_eq!(desk.told().await, 0);
    assert_eq!(desk.count(open).await, 0);
    desk.raise(Alert::of("a")).await;
    assert_eq!(desk.told().await, 1);
    assert_eq!(desk.count("SELECT count(*) FROM incidents").await, 2);
    let open = "SELECT count(*) FROM fraud_alerts AS a JOIN incidents AS i ON i.id = incident_id
                WHERE closed_at IS NULL AND source_offset = 2";
    assert_eq!(desk.count(open).await, 1);
}

#[tokio::test]
async fn an_incident_that_was_not_told_of_is_not_closed() {
    let mut desk = Desk::new().await;
    desk.config.incidents.hourly_cap = 0;
    desk.raise(Alert::of("a")).await;
    assert_eq!(desk.told().await, 0);
    desk.pass(120 * MINUTE).await;
    assert_eq!(desk.told().await, 0);
    assert_eq!(
        desk.count("SELECT count(*) FROM incidents WHERE closed_at IS NULL")
            .await,
        1
    );
    desk.config.incidents.hourly_cap = 12;
    assert_eq!(desk.told().await, 1);
    assert_eq!(desk.told().await, 0);
    assert_eq!(
        desk.count("SELECT count(*) FROM incidents WHERE closed_at IS NULL")
            .await,
        0
    );
}

#[tokio::test]
async fn alerts_are_grouped_by_account_merchant_or_rule() {
    for (group_by, incidents) in [
        (GroupBy::Account, 4),
        (GroupBy::Merchant, 3),
        (GroupBy::Rule, 2),
    ] {
        let mut desk = Desk::new().await;
        desk.config.incidents.group_by = group_by;
        for account in ["a", "b", "c", "d"] {
            for merchant in ["Shop", "Station", "Market"] {
                let rule = if account == "a" {
                    "score_review"
                } else {
                    "score_block"
                };
                desk.raise(Alert {
                    merchant,
                    rule,
                    ..Alert::of(account)
                })
                .await;
            }
        }
        let told = desk.gather().await.unwrap();
        assert_eq!(
            (told.alerts, told.incidents),
            (12, incidents),
            "{group_by:?}"
        );
        assert_eq!(
            desk.count("SELECT sum(alerts)::bigint FROM v_incidents")
                .await,
            12
        );
        let whole = "SELECT count(*) FROM v_incidents WHERE about ~ '[0-9a-f]{9}'";
        assert_eq!(desk.count(whole).await, 0, "a whole token is shown");
        let sums = "SELECT count(*) FROM v_incidents WHERE amount <> 10 * alerts OR amount IS NULL OR notices <> 1";
        assert_eq!(desk.count(sums).await, 0);
    }
}

#[tokio::test]
async fn a_snoozed_account_is_counted_and_told_when_the_snooze_ends() {
    let mut desk = Desk::new().await;
    desk.raise(Alert::of("a")).await;
    assert_eq!(desk.told().await, 1);
    let said = desk
        .vigie(&[
            "snooze",
            "--incident",
            "1",
            "--for",
            "50min",
            "--why",
            "on a journey",
        ])
        .await
        .unwrap();
    assert!(said.contains("is silent until"), "{said}");
    for _ in 0..2 {
        desk.pass(20 * MINUTE).await;
        desk.raise(Alert::of("a")).await;
        assert_eq!(desk.told().await, 0);
    }
    let counted = "SELECT count(*) FROM v_incidents WHERE alerts = 3 AND untold = 2 AND snoozed_until > now()";
    assert_eq!(desk.count(counted).await, 1);
    let listed = desk.vigie(&["list"]).await.unwrap();
    let account = desk.text("SELECT left(md5('a'), 8) || '…'").await;
    let [incident, snooze] = ["1 ", "account "].map(|first| {
        let line = listed.lines().find(|line| line.starts_with(first));
        line.unwrap_or_else(|| panic!("no {first} in {listed}"))
    });
    assert!(incident.contains("snoozed"), "{listed}");
    assert!(
        snooze.contains(&account)
            && snooze.contains("on a journey")
            && snooze.contains("vigie_desk"),
        "{listed}"
    );
    desk.pass(10 * MINUTE).await;
    assert_eq!(desk.told().await, 2);
    let audited = "SELECT count(*) FROM audit_log WHERE action = 'alerts snooze' AND why = 'on a journey'
                   AND subject->>'what' = 'account' AND subject->>'key' = md5('a') AND actor LIKE 'vigie_desk%'";
    assert_eq!(desk.count(audited).await, 1);
}

#[tokio::test]
async fn what_came_in_a_snooze_is_not_told_when_the_incident_has_closed_meanwhile() {
    let mut desk = Desk::new().await;
    desk.vigie(&[
        "snooze",
        "--merchant",
        "Shop",
        "--for",
        "3h",
        "--why",
        "a test of theirs",
    ])
    .await
    .unwrap();
    desk.raise(Alert::of("a")).await;
    desk.raise(Alert {
        merchant: "Station",
        ..Alert::of("b")
    })
    .await;
    assert_eq!(desk.told().await, 1, "another merchant is told");
    desk.pass(120 * MINUTE).await;
    assert_eq!(desk.told().await, 0);
    assert_eq!(
        desk.count("SELECT count(*) FROM incidents WHERE closed_at IS NULL")
            .await,
        0
    );
    desk.pass(120 * MINUTE).await;
    assert_eq!(desk.told().await, 0);
    let looked_at =
        "SELECT count(*) FROM fraud_alerts WHERE outbox_id IS NULL AND silenced_at IS NULL";
    assert_eq!(desk.count(looked_at).await, 0, "twice a second for ever");
    let counted = "SELECT count(*) FROM incidents WHERE untold = 1 AND alerts = 1";
    assert_eq!(desk.count(counted).await, 1);
}

#[tokio::test]
async fn snoozed_alerts_of_a_quiet_incident_are_done_with_in_parts_and_others_of_it_are_told() {
    let mut desk = Desk::new().await;
    let line = [
        "snooze",
        "--merchant",
        "Shop",
        "--for",
        "9h",
        "--why",
        "a test of theirs",
    ];
    desk.vigie(&line).await.unwrap();
    desk.owner
        .batch_execute(
            "INSERT INTO fraud_alerts (stream, source_partition, source_offset, event_day, event_time, trans_num,
                                       account, amount, merchant, decision)
             SELECT 1, 0, n, '2026-03-01', '2026-03-01 12:00:00Z', 't-' || n, '', 100, 'Shop', 2
             FROM generate_series(1, 100001) AS n",
        )
        .await
        .unwrap();
    desk.alerts = 100_001;
    assert_eq!((desk.told().await, desk.told().await), (0, 0));
    desk.raise(Alert {
        merchant: "Station",
        ..Alert::of("b")
    })
    .await;
    desk.config.incidents.hourly_cap = 0;
    desk.told().await;
    desk.pass(60 * MINUTE).await;
    let open = "SELECT count(*) FROM incidents WHERE closed_at IS NULL";
    desk.told().await;
    assert_eq!(
        desk.count(open).await,
        2,
        "one is not told, one not done with"
    );
    desk.config.incidents.hourly_cap = 12;
    assert_eq!(desk.told().await, 1);
    desk.told().await;
    assert_eq!(desk.count(open).await, 0);
    let silenced =
        "SELECT count(*) FROM fraud_alerts WHERE silenced_at IS NOT NULL AND outbox_id IS NULL";
    assert_eq!(desk.count(silenced).await, 100_001);
}

#[tokio::test]
async fn an_unknown_merchant_and_a_long_name_can_be_snoozed() {
    let long = "m".repeat(300);
    let mut desk = Desk::new().await;
    desk.config.incidents.group_by = GroupBy::Merchant;
    for merchant in ["NULL", &format!("'{long}'")] {
        desk.raise(Alert::of("a")).await;
        let rename =
            format!("UPDATE fraud_alerts SET merchant = {merchant} WHERE incident_id IS NULL");
        desk.owner.batch_execute(&rename).await.unwrap();
        desk.told().await;
        desk.pass(10 * MINUTE).await;
    }
    for line in [
        ["snooze", "--incident", "1"],
        ["snooze", "--merchant", &long],
    ] {
        let line = [&line[..], &["--for", "2h", "--why", "known"]].concat();
        let said = desk.vigie(&line).await.unwrap();
        assert!(
            said.starts_with("merchant unknown is") || said.contains("mmm"),
            "{said}"
        );
    }
    desk.raise(Alert::of("a")).await;
    desk.raise(Alert::of("b")).await;
    let rename = format!(
        "UPDATE fraud_alerts SET merchant = CASE WHEN source_offset = 3 THEN NULL ELSE '{long}' END
         WHERE incident_id IS NULL"
    );
    desk.owner.batch_execute(&rename).await.unwrap();
    assert_eq!(desk.told().await, 0);
    let shown = "SELECT count(*) FROM v_incidents WHERE snoozed_until > now() AND untold = 1";
    assert_eq!(desk.count(shown).await, 2);
}

#[tokio::test]
async fn a_card_number_in_place_of_a_merchant_is_masked_and_matches_what_is_stored() {
    let mut desk = Desk::new().await;
    let line = [
        "snooze",
        "--merchant",
        "paid 4242424242424242",
        "--for",
        "2h",
        "--why",
        "known",
    ];
    let said = desk.vigie(&line).await.unwrap();
    desk.raise(Alert {
        merchant: "paid ****",
        ..Alert::of("a")
    })
    .await;
    assert_eq!(desk.told().await, 0);
    let line = [
        "unsnooze",
        "--merchant",
        "paid 4242424242424242",
        "--why",
        "not known",
    ];
    let said = said + &desk.vigie(&line).await.unwrap();
    assert!(
        !said.contains("4242") && said.contains("paid ****"),
        "{said}"
    );
    let clear = "SELECT count(*) FROM (SELECT key FROM snoozes UNION ALL SELECT subject::text FROM audit_log) AS k
                 WHERE key ~ '4242'";
    assert_eq!(desk.count(clear).await, 0);
    assert_eq!(desk.told().await, 1);
}

#[tokio::test]
async fn a_snooze_that_is_ended_by_hand_is_over_at_once_and_nothing_is_silenced_without_a_reason() {
    let mut desk = Desk::new().await;
    desk.raise(Alert::of("a")).await;
    let account = desk.text("SELECT left(md5('a'), 8) || '…'").await;
    desk.snooze("--account", &account, "known").await;
    assert_eq!(desk.told().await, 0);
    desk.vigie(&[
        "unsnooze",
        "--incident",
        "1",
        "--why",
        "not known after all",
    ])
    .await
    .unwrap();
    assert_eq!(desk.told().await, 1);
    for (line, problem) in [
        (
            vec!["snooze", "--rule", "score_block", "--for", "2h"],
            "--why",
        ),
        (
            vec!["snooze", "--rule", "score_block", "--why", "x"],
            "--until",
        ),
        (
            vec![
                "snooze",
                "--rule",
                "score_blok",
                "--for",
                "2h",
                "--why",
                "x",
            ],
            "score_block",
        ),
        (vec!["snooze", "--for", "2h", "--why", "x"], "--account"),
        (
            vec!["snooze", "--incident", "99", "--for", "2h", "--why", "x"],
            "no incident 99",
        ),
        (
            vec!["snooze", "--incident", "1", "--for", "31days", "--why", "x"],
            "at most 30 days",
        ),
        (
            vec![
                "snooze",
                "--incident",
                "1",
                "--until",
                "2020-01-01T00:00:00Z",
                "--why",
                "x",
            ],
            "in the past",
        ),
        (
            vec!["snooze", "--system", "nothing", "--for", "2h", "--why", "x"],
            "held_partition",
        ),
        (
            vec!["unsnooze", "--incident", "1", "--why", "x"],
            "is not snoozed",
        ),
        (vec!["show", "99"], "no incident 99"),
    ] {
        let refused = desk.vigie(&line).await.unwrap_err();
        assert!(refused.contains(problem), "{line:?}: {refused}");
    }
}

#[tokio::test]
async fn a_rule_that_is_snoozed_is_silent_whatever_alerts_are_grouped_by() {
    let mut desk = Desk::new().await;
    desk.snooze("--rule", "not_assessed", "the model is mended")
        .await;
    let listed = desk.vigie(&["list"]).await.unwrap();
    assert!(
        listed.starts_with("no open incidents\n") && listed.contains("not_assessed"),
        "{listed}"
    );
    let json: Value =
        serde_json::from_str(&desk.vigie(&["list", "--json"]).await.unwrap()).unwrap();
    assert_eq!(json["snoozes"][0]["why"], "the model is mended");
    desk.raise(Alert {
        rule: "not_assessed",
        score: None,
        ..Alert::of("a")
    })
    .await;
    desk.raise(Alert::of("a")).await;
    assert_eq!(desk.told().await, 1);
    let left =
        "SELECT count(*) FROM incidents WHERE alerts = 2 AND untold = 1 AND not_assessed = 1";
    assert_eq!(desk.count(left).await, 1);
}

const HOSTILE: &str = "<img src=x onerror=alert(1)>\r\nBcc: all@example.org\u{202e}=HYPERLINK(\"http://x\")\u{2028}<!channel>";

#[tokio::test]
async fn a_hostile_merchant_is_harmless_in_every_channel_and_on_the_terminal() {
    let mut desk = Desk::new().await;
    desk.config.incidents.group_by = GroupBy::Merchant;
    desk.config.mail.host = "127.0.0.1".into();
    desk.config.webhook.url = "https://127.0.0.1/hook".to_owned().into();
    desk.config.webhook.secret = "s".repeat(32).into();
    desk.config.slack.url = "https://127.0.0.1/slack".to_owned().into();
    desk.raise(Alert {
        merchant: HOSTILE,
        ..Alert::of("a")
    })
    .await;
    assert_eq!(desk.told().await, 1);
    assert_eq!(
        desk.count("SELECT count(*) FROM outbox WHERE notice_id = 1")
            .await,
        3
    );
    let acts = |text: &str| text.contains(['\r', '\u{202e}', '\u{2028}', '\u{1b}']);
    let subject = desk.text("SELECT min(subject) FROM outbox").await;
    let text = desk.text("SELECT min(body_text) FROM outbox").await;
    let html = desk
        .text("SELECT body_html FROM outbox WHERE channel = 'mail'")
        .await;
    let payload = desk
        .text("SELECT payload::text FROM outbox WHERE channel = 'webhook'")
        .await;
    assert!(!acts(&subject) && !subject.contains('\n'), "{subject}");
    assert!(
        !acts(&text) && !text.contains("\nBcc:") && text.contains("Bcc: all"),
        "{text}"
    );
    assert!(
        !acts(&html) && html.contains("&lt;img src=x") && !html.contains("<img"),
        "{html}"
    );
    let payload: Value = serde_json::from_str(&payload).unwrap();
    let merchant = payload["riskiest"][0]["merchant"].as_str().unwrap();
    assert!(
        !acts(merchant) && !merchant.contains('\n') && merchant.contains("Bcc: all"),
        "{merchant}"
    );
    let printed = desk.vigie(&["list"]).await.unwrap() + &desk.vigie(&["show", "1"]).await.unwrap();
    assert!(
        !printed.contains(['\r', '\u{1b}']) && !printed.contains("\nBcc"),
        "{printed}"
    );
    desk.vigie(&[
        "snooze",
        "--merchant",
        HOSTILE,
        "--for",
        "1h",
        "--why",
        "hostile",
    ])
    .await
    .unwrap();
    desk.raise(Alert {
        merchant: HOSTILE,
        ..Alert::of("b")
    })
    .await;
    desk.pass(10 * MINUTE).await;
    assert_eq!(desk.told().await, 0);
}

#[tokio::test]
async fn a_message_names_model_policy_thresholds_window_and_what_is_usual() {
    let mut desk = Desk::new().await;
    desk.owner
        .batch_execute("SELECT ensure_days(ARRAY['2026-03-01'::date])")
        .await
        .unwrap();
    for _ in 0..84 {
        desk.raise(Alert::of("a")).await;
    }
    desk.pass(167 * 60 * MINUTE).await;
    desk.told().await;
    desk.pass(60 * MINUTE).await;
    desk.raise(Alert::of("b")).await;
    desk.client
        .batch_execute(
            "INSERT INTO payments_scored (event_time, amount, body_hash, source_offset, source_partition, event_day,
                                          score, stream, decision, account, trans_num, features, event, model_version,
                                          policy_version)
             SELECT event_time, amount, 0, source_offset, 0, event_day, score, 1, 2, account, trans_num, '', '{}',
                    'card 7.1', 'bundle-7.1' FROM fraud_alerts WHERE source_offset = 85",
        )
        .await
        .unwrap();
    assert_eq!(desk.told().await, 1);
    let text = desk
        .text("SELECT body_text FROM outbox ORDER BY id DESC LIMIT 1")
        .await;
    for words in [
        // The bundle in its folder is another one: its thresholds are none of this.
        "model card 7.1, policy bundle-7.1.\n",
        "When: alerts from 20",
        "Observed: 1 alert in the last hour; usual are 0.5 an hour (mean of the last 7 days)",
    ] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    // The query that the message gives finds its alerts, as the role that it names.
    let (_, query) = text.split_once("-c \"").unwrap();
    let (query, _) = query.split_once("\"\n").unwrap();
    let person = database::connect(&desk.config, Login::Desk, "vigie test")
        .await
        .unwrap();
    let found = person
        .query(&query.replace("\\\"", "\""), &[])
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn the_thresholds_are_those_of_the_version_that_decided() {
    let mut desk = Desk::new().await;
    desk.raise(Alert::of("a")).await;
    let version = vigie::bundle::Bundle::read(&desk.config.stream.bundle)
        .unwrap()
        .version;
    desk.owner
        .batch_execute(&format!(
            "SELECT ensure_days(ARRAY['2026-03-01'::date]);
             INSERT INTO payments_scored (event_time, amount, body_hash, source_offset, source_partition, event_day,
                                          score, stream, decision, account, trans_num, features, event, model_version,
                                          policy_version)
             SELECT event_time, amount, 0, source_offset, 0, event_day, score, 1, 2, account, trans_num, '', '{{}}', 'm',
                    'bundle-{version}' FROM fraud_alerts"
        ))
        .await
        .unwrap();
    assert_eq!(desk.told().await, 1);
    let text = desk.text("SELECT body_text FROM outbox").await;
    let thresholds = format!("policy bundle-{version} (review from a score of 0.");
    assert!(text.contains(&thresholds), "{text}");
}

#[tokio::test]
async fn a_digest_offers_to_silence_what_many_share_and_says_what_was_told_before() {
    let mut desk = Desk::new().await;
    desk.raise(Alert::of("a")).await;
    assert_eq!(desk.told().await, 1);
    for (account, merchant) in [("b", "Station"), ("c", "Station"), ("d", "Market")] {
        desk.raise(Alert {
            merchant,
            ..Alert::of(account)
        })
        .await;
    }
    desk.pass(MINUTE).await;
    assert_eq!(desk.told().await, 3);
    let last = "SELECT body_text FROM outbox ORDER BY id DESC LIMIT 1";
    let text = desk.text(last).await;
    for words in [
        "vigie alerts snooze --merchant \"Station\" --for 2h",
        "Before: 1 suspicious payment in 1 message since 20",
        "; 4 with these.",
    ] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    // Where no merchant stands out, the rule does.
    for (account, merchant) in [("e", HOSTILE), ("f", HOSTILE), ("g", "Market")] {
        desk.raise(Alert {
            merchant,
            ..Alert::of(account)
        })
        .await;
    }
    desk.pass(10 * MINUTE).await;
    assert_eq!(desk.told().await, 3);
    let text = desk.text(last).await;
    assert!(text.contains("snooze --rule \"score_block\""), "{text}");
    assert!(!text.contains("--merchant"), "{text}");
}

#[tokio::test]
async fn sums_of_more_than_five_currencies_are_said_to_be_left_out() {
    let mut desk = Desk::new().await;
    for account in ["a", "b", "c", "d", "e", "f", "g"] {
        desk.raise(Alert::of(account)).await;
    }
    let currencies = "UPDATE fraud_alerts SET currency = 'C' || source_offset";
    desk.owner.batch_execute(currencies).await.unwrap();
    assert_eq!(desk.told().await, 7);
    let subject = desk.text("SELECT subject FROM outbox").await;
    assert!(
        subject.contains("C5 10.00 + 2 other currencies at risk"),
        "{subject}"
    );
}

#[tokio::test]
async fn something_critical_does_not_wait_for_the_pause_but_once_in_a_cooldown() {
    let critical = |account| Alert {
        amount: 100_000,
        ..Alert::of(account)
    };
    let mut desk = Desk::new().await;
    for account in ["a", "b", "c"] {
        desk.raise(Alert::of(account)).await;
        desk.pass(3 * MINUTE).await;
        assert_eq!(desk.told().await, 1);
    }
    desk.raise(Alert::of("d")).await;
    assert_eq!(desk.told().await, 0, "three messages: three minutes");
    desk.config.incidents.gather = 10 * MINUTE;
    desk.raise(critical("e")).await;
    assert_eq!(desk.told().await, 0, "it gathers");
    desk.config.incidents.gather = Duration::ZERO;
    assert_eq!(desk.told().await, 2, "and what else is due with it");
    desk.raise(critical("f")).await;
    desk.pass(MINUTE).await;
    assert_eq!(desk.told().await, 0, "once in a cooldown");
    desk.pass(3 * MINUTE).await;
    assert_eq!(desk.told().await, 1);
}

#[tokio::test]
async fn an_incident_is_listed_and_shown_with_its_payments() {
    let mut desk = Desk::new().await;
    assert_eq!(desk.vigie(&["list"]).await.unwrap(), "no open incidents");
    for amount in [500, 12_345] {
        desk.raise(Alert {
            amount,
            ..Alert::of("a")
        })
        .await;
    }
    desk.told().await;
    let listed = desk.vigie(&["list"]).await.unwrap();
    assert!(
        listed.contains("128.45") && listed.contains("account"),
        "{listed}"
    );
    let shown = desk.vigie(&["show", "1"]).await.unwrap();
    let token = desk.text("SELECT md5('a')").await;
    for words in [
        "123.45",
        "5.00",
        "score_block",
        "t-2",
        token.as_str(),
        "warning",
    ] {
        assert!(shown.contains(words), "{words} is not in\n{shown}");
    }
    let json: Value =
        serde_json::from_str(&desk.vigie(&["show", "1", "--json"]).await.unwrap()).unwrap();
    assert_eq!(json["payments"][0]["amount"], 123.45);
    assert_eq!(json["alerts"], 2);
    let json: Value =
        serde_json::from_str(&desk.vigie(&["list", "--json"]).await.unwrap()).unwrap();
    assert_eq!(json["incidents"][0]["severity"], "warning");
    desk.pass(60 * MINUTE).await;
    desk.told().await;
    assert_eq!(desk.vigie(&["list"]).await.unwrap(), "no open incidents");
    assert!(
        desk.vigie(&["list", "--all"])
            .await
            .unwrap()
            .contains("closed")
    );
}
