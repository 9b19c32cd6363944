//! What people run by hand: `check`, `dead-letters` and `offsets`.

use clap::Parser;
use serde_json::Value;
use tokio_postgres::Client;
use vigie::check::{self, Status};
use vigie::config::Config;
use vigie::desk::dead_letters::{self, DeadLetters};
use vigie::desk::offsets::{self, Offsets};

use crate::support::database::{config, count, migrated, writer};
use crate::support::sink::Sink;

#[derive(Parser)]
enum Verb {
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    #[command(subcommand)]
    Offsets(Offsets),
}

/// What the verb prints, or its error.
async fn vigie(config: &Config, line: &str) -> Result<String, String> {
    let words = std::iter::once("vigie").chain(line.split(' '));
    let printed = match Verb::try_parse_from(words).map_err(|error| error.to_string())? {
        Verb::DeadLetters(verb) => dead_letters::run(config, &verb).await,
        Verb::Offsets(verb) => offsets::run(config, &verb).await,
    };
    printed.map_err(|error| format!("{error:#}"))
}

async fn json(config: &Config, line: &str) -> Value {
    serde_json::from_str(&vigie(config, line).await.unwrap()).unwrap()
}

/// A stream with three partitions, the second one held, and three dead letters.
async fn stream() -> (Config, Client) {
    let config = migrated().await;
    let client = writer(&config).await;
    client
        .batch_execute(
            "INSERT INTO streams (stream, topic, topic_id, cluster_id, partitions, consumer_group,
                                  token_fingerprint, business_zone, amount_scale)
             VALUES (1, 't', 't', 'c', 3, 'g', 'f', 'UTC', 2);
             INSERT INTO stream_offsets (stream, partition, first_offset, next_offset, scored, dead, recent_dead, held,
                                         held_at)
             VALUES (1, 0, 0, 100, 100, 0, '', NULL, NULL),
                    (1, 1, 5, 1005, 400, 600, '\\xffff', '600 of the last 1000 records are dead letters', now()),
                    (1, 2, 0, 7, 7, 0, '', NULL, NULL);
             INSERT INTO dead_letters (stream, source_partition, source_offset, topic, record_time, key, reason,
                                       field, message, payload, payload_bytes, payload_hash, at)
             VALUES (1, 0, 10, 't', now(), 'k', 'not_json', NULL, 'line 1', E'{\"a\":\\x1b[2J', 9, '\\xab', now()),
                    (1, 1, 20, 't', now(), 'k', 'bad_time', 'event_time', 'no', '{}', 2, '\\xab', now()),
                    (1, 1, 21, 't', now(), 'k', 'bad_time', 'event_time', 'no', '{}', 2, '\\xab',
                     now() - interval '3 days')",
        )
        .await
        .unwrap();
    (config, client)
}

#[tokio::test]
async fn dead_letters_are_listed_by_reason_partition_and_age_and_shown_whole() {
    let (config, _client) = stream().await;
    let positions = async |line: &str| -> Vec<i64> {
        let letters = json(&config, &format!("dead-letters list --json {line}")).await;
        let mut offsets: Vec<i64> = letters
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l["offset"].as_i64().unwrap())
            .collect();
        offsets.sort_unstable();
        offsets
    };
    assert_eq!(positions("--limit 10").await, [10, 20, 21]);
    assert_eq!(positions("--reason bad_time").await, [20, 21]);
    assert_eq!(positions("--partition 0").await, [10]);
    assert_eq!(positions("--since 1day").await, [10, 20]);
    assert_eq!(
        positions("--reason bad_time --partition 1 --since 1day").await,
        [20]
    );
    let table = vigie(&config, "dead-letters list --limit 1").await.unwrap();
    assert!(
        table.contains("1 of 3 dead letters: bad_time 2, not_json 1"),
        "{table}"
    );
    let whole = vigie(&config, "dead-letters show 0 10").await.unwrap();
    assert!(
        whole.contains("t/0/10") && whole.contains("{\"a\":"),
        "{whole}"
    );
    assert!(
        !whole.contains('\u{1b}'),
        "an escape sequence reaches the terminal"
    );
    let missing = vigie(&config, "dead-letters show 0 11").await.unwrap_err();
    assert!(
        missing.contains("no dead letter at partition 0 offset 11"),
        "{missing}"
    );
    let unknown = vigie(&config, "dead-letters list --reason bad_tim")
        .await
        .unwrap_err();
    assert!(unknown.contains("bad_time"), "{unknown}");
}

#[tokio::test]
async fn a_held_partition_is_released_once_with_who_and_why() {
    let (config, client) = stream().await;
    let shown = json(&config, "offsets show --json").await;
    assert_eq!(
        shown[1]["held"],
        "600 of the last 1000 records are dead letters"
    );
    let refused = vigie(&config, "offsets release --partition 0 --why mended")
        .await
        .unwrap_err();
    assert!(refused.contains("partition 0 is not held"), "{refused}");
    let refused = vigie(&config, "offsets release --partition 9 --why mended")
        .await
        .unwrap_err();
    assert!(refused.contains("no partition 9"), "{refused}");
    assert!(
        vigie(&config, "offsets release --partition 1")
            .await
            .unwrap_err()
            .contains("--why")
    );
    let released = vigie(&config, "offsets release --partition 1 --why mended")
        .await
        .unwrap();
    assert!(
        released.contains("partition 1 goes on at offset 1005"),
        "{released}"
    );
    let cleared = "SELECT count(*) FROM stream_offsets
                   WHERE held IS NULL AND held_at IS NULL AND recent_dead = '' AND partition = 1 AND dead = 600";
    assert_eq!(count(&client, cleared).await, 1);
    let audited = "SELECT count(*) FROM audit_log
                   WHERE action = 'offsets release' AND why = 'mended' AND actor LIKE 'vigie_desk%'
                     AND subject->>'next_offset' = '1005' AND subject->>'held' LIKE '600 of%'";
    assert_eq!(count(&client, audited).await, 1);
    assert!(
        vigie(&config, "offsets release --partition 1 --why again")
            .await
            .is_err()
    );
    assert_eq!(count(&client, "SELECT count(*) FROM audit_log").await, 1);
}

#[tokio::test]
async fn offsets_are_shown_with_their_sums_even_while_kafka_is_away() {
    let (mut config, _client) = stream().await;
    config.kafka.brokers = "127.0.0.1:1".into();
    let table = vigie(&config, "offsets show").await.unwrap();
    assert!(
        table.contains("all")
            && table.contains("507")
            && table.contains("lag unknown: Kafka at 127.0.0.1:1"),
        "{table}"
    );
}

fn found(report: &check::Report, name: &str) -> (Status, String) {
    let mut findings = report.findings.iter();
    let finding = findings.find(|finding| finding.name == name);
    let finding = finding.unwrap_or_else(|| panic!("nothing about {name} in\n{}", report.render()));
    (
        finding.status,
        format!("{} -> {}", finding.detail, finding.action),
    )
}

#[tokio::test]
async fn a_sound_installation_passes_every_check_but_the_topics_that_are_not_there() {
    let sink = Sink::start().await;
    let mut config = migrated().await;
    config.mail = sink.settings();
    config.http.listen = "127.0.0.1:0".into();
    config.stream.topic = format!("absent-{}", config.database.schema);
    config.output.topic = format!("nowhere-{}", config.database.schema);
    let report = check::run(&config).await;
    for name in [
        "configuration",
        "bundle",
        "model",
        "token key",
        "retention",
        "database",
        "schema",
        "durability",
        "connections",
        "lock table",
        "mail",
        "http",
    ] {
        assert_eq!(
            found(&report, name).0,
            Status::Ok,
            "{name} in\n{}",
            report.render()
        );
    }
    for (name, setting) in [("kafka", "stream.topic"), ("output", "output.topic")] {
        let (status, words) = found(&report, name);
        assert_eq!(status, Status::Wrong);
        assert!(
            words.contains("has no topic") && words.contains(setting),
            "{words}"
        );
    }
    assert_eq!(report.exit_code(), 2);
    assert_eq!(sink.mails().len(), 0);
}

#[tokio::test]
async fn what_is_broken_is_named_with_what_to_do() {
    let sink = Sink::start().await;
    sink.behave("refuse");
    let mut broken = config();
    broken.mail = sink.settings();
    broken.kafka.brokers = "127.0.0.1:1".into();
    broken.stream.bundle = "models/none".into();
    broken.tokens.key = "short".to_owned().into();
    let report = check::run(&broken).await;
    for (name, status, word) in [
        ("bundle", Status::Wrong, "models/none"),
        ("token key", Status::Wrong, "tokens.key"),
        ("schema", Status::Wrong, "vigie migrate"),
        ("kafka", Status::Fail, "kafka.brokers"),
        ("mail", Status::Fail, "554"),
    ] {
        let (is, words) = found(&report, name);
        assert!(is == status && words.contains(word), "{name}: {words}");
    }
    let mut wrong = config();
    wrong.database.password = "wrong".to_owned().into();
    wrong.storage.retention_days = 30;
    let report = check::run(&wrong).await;
    assert_eq!(found(&report, "retention").0, Status::Wrong);
    let (status, words) = found(&report, "database");
    assert!(
        status == Status::Wrong && words.contains("database.password"),
        "{words}"
    );
    assert!(!report.render().contains("wrong\""), "{}", report.render());
}
