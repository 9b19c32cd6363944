//! From a row in `fraud_alerts` to a mail in the server's folder.

mod frozen;
mod servers;

use std::time::{Duration, Instant};

use tokio_postgres::Client;
use vigie::config::{Config, MailTls};

use crate::support::database::{count, migrated, owner, writer};
use crate::support::eventually;
use crate::support::notifier::{Running, wait_until};
use crate::support::sink::{Sink, authority, different, header};

async fn config_for(sink: &Sink) -> (Config, Client) {
    let mut config = migrated().await;
    config.mail = sink.settings();
    // Pauses of tenths of a second, so that each test sees a second message when it wants one.
    config.incidents.cooldown = Duration::from_secs(1);
    config.incidents.hourly_cap = 1_000;
    let client = writer(&config).await;
    client
        .execute(
            "INSERT INTO streams (stream, topic, topic_id, cluster_id, partitions, consumer_group,
                                  token_fingerprint, business_zone, amount_scale)
             VALUES (1, 't', 't', 'c', 8, 'g', 'f', 'UTC', 2)",
            &[],
        )
        .await
        .unwrap();
    (config, client)
}

/// Alerts at the offsets from `first` on, the amounts 1.00, 2.00 and so on.
async fn raise(client: &Client, first: i64, alerts: i64) {
    client
        .execute(
            "INSERT INTO fraud_alerts (stream, source_partition, source_offset, event_day, event_time, trans_num,
                                       account, amount, merchant, score, decision)
             SELECT 1, 0, n, '2026-03-01', '2026-03-01 12:00:00Z', 't-' || n, decode(md5(n::text), 'hex'),
                    (n - $1 + 1) * 100, E'<b>Shop</b>\\r\\nBcc: all@example.org', 0.97, 1 + (n % 2)::smallint
             FROM generate_series($1::bigint, $1::bigint + $2::bigint - 1) AS n",
            &[&first, &alerts],
        )
        .await
        .unwrap();
}

const ALL_SENT: &str = "NOT EXISTS (SELECT FROM outbox WHERE sent_at IS NULL)
     AND NOT EXISTS (SELECT FROM fraud_alerts WHERE outbox_id IS NULL)";

/// Not before this is an attempt over after which the message waits long.
const SET_ASIDE: &str =
    "EXISTS (SELECT FROM outbox WHERE refused_at IS NOT NULL AND sent_at IS NULL)";

/// As if every pause were over.
async fn make_due(client: &Client) {
    let due = "UPDATE outbox SET next_attempt_at = now()";
    client.execute(due, &[]).await.unwrap();
}

#[tokio::test]
async fn the_first_alert_is_mailed_at_once_with_what_a_person_needs() {
    let sink = Sink::start().await;
    let (config, client) = config_for(&sink).await;
    let notifier = Running::start(&config);
    eventually("ready", async || {
        notifier.health.problems().is_empty().then_some(())
    })
    .await;
    let began = Instant::now();
    raise(&client, 1, 7).await;
    let mail = sink.wait_for(1).await.remove(0);
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    let subject = header(&mail, "Subject");
    assert!(
        subject.contains("7 suspicious payments (4 blocked, 3 for review), 28.00 at risk"),
        "{subject}"
    );
    let schema = &config.database.schema;
    let id = header(&mail, "Message-ID");
    let created = id
        .strip_prefix("<1.")
        .and_then(|id| id.strip_suffix(&format!(".mail.{schema}@fraud.example.org>")));
    let created =
        "(extract(epoch FROM created_at) * 1000000)::bigint = ".to_owned() + created.unwrap();
    let noted = format!("SELECT count(*) FROM notices WHERE {created}");
    assert_eq!(count(&client, &noted).await, 1, "{id}");
    assert!(
        mail.contains("Delivered-To: oncall@example.org\r\nDelivered-To: second@example.org"),
        "{mail}"
    );
    let head = mail.split("\r\n\r\n").next().unwrap();
    assert!(!head.contains("Bcc"), "{head}");
    // Soft line breaks of quoted-printable.
    let body = mail.replace("=\r\n", "");
    for words in [
        "7.00",
        "3.00",
        "2 more.",
        "score 0.970",
        "2026-03-01 12:00:00 UTC",
        "&lt;b&gt;Shop&lt;/b&gt;",
    ] {
        assert!(body.contains(words), "{words} is not in\n{body}");
    }
    assert!(!body.contains("\r\nBcc:"), "{body}");
    wait_until(&client, "all is marked as sent", ALL_SENT).await;
    notifier.stop().await;
}

#[tokio::test]
async fn thousands_of_alerts_are_one_mail_and_each_belongs_to_exactly_one() {
    let sink = Sink::start().await;
    let (config, client) = config_for(&sink).await;
    raise(&client, 1, 5_000).await;
    let notifier = Running::start(&config);
    let mail = sink.wait_for(1).await.remove(0);
    assert!(mail.contains("4,995 more."), "{mail}");
    wait_until(&client, "all is marked as sent", ALL_SENT).await;
    assert_eq!(count(&client, "SELECT count(*) FROM outbox").await, 1);
    notifier.stop().await;
}

#[tokio::test]
async fn mails_keep_their_distance_and_alerts_gather_meanwhile() {
    let sink = Sink::start().await;
    let (mut config, client) = config_for(&sink).await;
    // After one message the next waits for a tenth of it.
    config.incidents.cooldown = Duration::from_secs(20);
    let notifier = Running::start(&config);
    for offset in 1..=3 {
        raise(&client, offset, 1).await;
        sink.wait_for(1).await;
    }
    sink.wait_for(2).await;
    wait_until(&client, "all is marked as sent", ALL_SENT).await;
    // Not when they were sent: the server may have been slower with the first.
    let written = "SELECT count(*) FROM outbox WHERE id = 2
                   AND created_at - (SELECT created_at FROM outbox WHERE id = 1) >= interval '2 s'";
    assert_eq!(count(&client, written).await, 1);
    let gathered = "SELECT count(*) FROM fraud_alerts WHERE outbox_id = 2";
    assert_eq!(count(&client, gathered).await, 2);
    notifier.stop().await;
}

#[tokio::test]
async fn a_server_that_refuses_stalls_or_puts_off_delays_the_mail_and_loses_nothing() {
    for mode in ["refuse", "stall", "tempfail"] {
        let sink = Sink::start().await;
        sink.behave(mode);
        let (config, client) = config_for(&sink).await;
        let notifier = Running::start(&config);
        raise(&client, 1, 1).await;
        wait_until(
            &client,
            "a second attempt, after a pause, with a reason",
            "EXISTS (SELECT FROM outbox WHERE attempts >= 2 AND last_error <> '' AND refused_at IS NULL
                     AND next_attempt_at < now() + interval '10 s')",
        )
        .await;
        raise(&client, 2, 1).await;
        sink.behave("accept");
        let mails = sink.wait_for(2).await;
        wait_until(&client, "all is marked as sent", ALL_SENT).await;
        assert_eq!(sink.mails().len(), 2, "{mode}: {mails:?}");
        notifier.stop().await;
    }
}

#[tokio::test]
async fn a_mail_whose_receipt_was_lost_is_sent_again_under_the_same_id() {
    let sink = Sink::start().await;
    sink.behave("drop-after-data");
    let (config, client) = config_for(&sink).await;
    let notifier = Running::start(&config);
    raise(&client, 1, 1).await;
    wait_until(&client, "it may have arrived", SET_ASIDE).await;
    sink.behave("accept");
    make_due(&client).await;
    let mails = sink.wait_for(2).await;
    wait_until(&client, "all is marked as sent", ALL_SENT).await;
    let ids: Vec<String> = mails
        .iter()
        .map(|mail| header(mail, "Message-ID"))
        .collect();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(header(&mails[0], "Date"), header(&mails[1], "Date"));
    notifier.stop().await;
}

#[tokio::test]
async fn a_notifier_that_dies_between_sending_and_marking_is_followed_by_one_that_repeats() {
    let sink = Sink::start().await;
    let (config, client) = config_for(&sink).await;
    // Marking waits for a lock that the test holds.
    owner(&config)
        .await
        .batch_execute(
            "CREATE FUNCTION wait_for_test() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_advisory_xact_lock(hashtextextended(current_schema, 1)); RETURN new; END';
             CREATE TRIGGER marking BEFORE UPDATE OF sent_at ON outbox
             FOR EACH ROW EXECUTE FUNCTION wait_for_test()",
        )
        .await
        .unwrap();
    let lock = "SELECT pg_advisory_lock(hashtextextended(current_schema, 1))";
    client.execute(lock, &[]).await.unwrap();
    let first = Running::start(&config);
    raise(&client, 1, 1).await;
    sink.wait_for(1).await;
    let marking =
        "pg_stat_activity WHERE query LIKE 'UPDATE outbox SET sent_at%' AND wait_event = 'advisory'
                   AND pid IN (SELECT pid FROM pg_locks WHERE relation = 'outbox'::regclass)";
    wait_until(
        &client,
        "it is about to mark",
        &format!("EXISTS (SELECT FROM {marking})"),
    )
    .await;
    first.task.abort();
    let end = format!("SELECT count(pg_terminate_backend(pid)) FROM {marking}");
    assert_eq!(count(&client, &end).await, 1);
    wait_until(
        &client,
        "its session is gone",
        &format!("NOT EXISTS (SELECT FROM {marking})"),
    )
    .await;
    let unlock = "SELECT pg_advisory_unlock(hashtextextended(current_schema, 1))";
    client.execute(unlock, &[]).await.unwrap();
    assert_eq!(
        count(&client, "SELECT count(*) FROM outbox WHERE sent_at IS NULL").await,
        1
    );
    let second = Running::start(&config);
    let mails = sink.wait_for(2).await;
    wait_until(&client, "all is marked as sent", ALL_SENT).await;
    assert_eq!(
        header(&mails[0], "Message-ID"),
        header(&mails[1], "Message-ID")
    );
    assert_eq!(sink.mails().len(), 2);
    second.stop().await;
}

#[tokio::test]
async fn of_two_notifiers_one_works_and_the_other_takes_over_when_it_ends() {
    let sink = Sink::start().await;
    let (config, client) = config_for(&sink).await;
    let (first, second) = (Running::start(&config), Running::start(&config));
    for round in 0..5 {
        raise(&client, 1 + 10 * round, 10).await;
        sink.wait_for(1 + round as usize).await;
    }
    wait_until(&client, "all is marked as sent", ALL_SENT).await;
    let holders = "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
                   WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = 'vigie notifier'
                     AND ((l.classid::bigint << 32) | l.objid::bigint)
                         = hashtextextended('vigie notifier in ' || current_schema, 0)";
    assert_eq!(count(&client, holders).await, 1);
    first.stop().await;
    let before = sink.mails().len();
    raise(&client, 1_000, 10).await;
    let mails = sink.wait_for(before + 1).await;
    second.stop().await;
    assert_eq!(different(&mails), mails.len(), "a mail came twice");
}

#[tokio::test]
async fn a_notifier_whose_session_is_ended_connects_again() {
    let sink = Sink::start().await;
    let (config, client) = config_for(&sink).await;
    let notifier = Running::start(&config);
    raise(&client, 1, 1).await;
    sink.wait_for(1).await;
    wait_until(&client, "all is marked as sent", ALL_SENT).await;
    let end = "SELECT count(pg_terminate_backend(l.pid)) FROM pg_locks AS l
               WHERE l.locktype = 'advisory' AND l.granted
                 AND ((l.classid::bigint << 32) | l.objid::bigint)
                     = hashtextextended('vigie notifier in ' || current_schema, 0)";
    assert_eq!(count(&client, end).await, 1);
    raise(&client, 2, 1).await;
    sink.wait_for(2).await;
    notifier.stop().await;
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_waits_long_and_lets_others_pass() {
    let password = std::env::temp_dir().join(format!("vigie-refused-{}", std::process::id()));
    std::fs::write(&password, "secret").unwrap();
    // It asks for a login, which the settings do not have: 530 to every mail.
    let sink = Sink::start_with_tls(
        "tls",
        &[
            "--user",
            "vigie",
            "--password-file",
            password.to_str().unwrap(),
        ],
    )
    .await;
    let (mut config, client) = config_for(&sink).await;
    config.mail.tls = MailTls::Tls;
    config.mail.ca_file = authority();
    let notifier = Running::start(&config);
    raise(&client, 1, 1).await;
    wait_until(
        &client,
        "it is refused, and tried again in minutes",
        "EXISTS (SELECT FROM outbox WHERE refused_at IS NOT NULL AND last_error LIKE '%530%'
                 AND next_attempt_at > now() + interval '1 min')",
    )
    .await;
    raise(&client, 2, 1).await;
    // As if half a minute had passed.
    let age = "UPDATE outbox SET refused_at = refused_at - interval '1 min'";
    client.execute(age, &[]).await.unwrap();
    wait_until(
        &client,
        "the next mail is tried",
        "EXISTS (SELECT FROM outbox WHERE id = 2 AND attempts = 1)",
    )
    .await;
    notifier.stop().await;
    // With the login, both go: neither was dropped.
    config.mail.user = "vigie".into();
    config.mail.password = "secret".to_owned().into();
    make_due(&client).await;
    let notifier = Running::start(&config);
    sink.wait_for(2).await;
    wait_until(&client, "all is marked as sent", ALL_SENT).await;
    notifier.stop().await;
    std::fs::remove_file(password).unwrap();
}

#[tokio::test]
async fn starttls_with_a_login_works_with_our_own_authority_and_not_without() {
    let password = std::env::temp_dir().join(format!("vigie-starttls-{}", std::process::id()));
    std::fs::write(&password, "hunter2").unwrap();
    let login = [
        "--user",
        "vigie",
        "--password-file",
        password.to_str().unwrap(),
    ];
    let sink = Sink::start_with_tls("starttls", &login).await;
    let (mut config, client) = config_for(&sink).await;
    config.mail.tls = MailTls::Starttls;
    config.mail.user = "vigie".into();
    config.mail.password = "hunter2".to_owned().into();
    let notifier = Running::start(&config);
    raise(&client, 1, 1).await;
    wait_until(
        &client,
        "a certificate that nobody vouches for is not accepted",
        "EXISTS (SELECT FROM outbox WHERE attempts > 0 AND last_error ILIKE '%certificate%')",
    )
    .await;
    notifier.stop().await;
    assert_eq!(sink.mails().len(), 0);
    config.mail.ca_file = authority();
    let notifier = Running::start(&config);
    sink.wait_for(1).await;
    notifier.stop().await;
    std::fs::remove_file(password).unwrap();
}

#[tokio::test]
async fn a_server_without_starttls_gets_no_mail_in_the_clear() {
    let sink = Sink::start().await;
    let (mut config, client) = config_for(&sink).await;
    config.mail.tls = MailTls::Starttls;
    let notifier = Running::start(&config);
    raise(&client, 1, 1).await;
    wait_until(
        &client,
        "it says what is missing",
        "EXISTS (SELECT FROM outbox WHERE attempts > 0 AND last_error LIKE '%STARTTLS%')",
    )
    .await;
    notifier.stop().await;
    assert_eq!(sink.mails().len(), 0);
}

#[tokio::test]
async fn without_a_mail_server_alerts_are_gathered_and_their_message_is_suppressed() {
    let sink = Sink::start().await;
    let (mut config, client) = config_for(&sink).await;
    config.mail.host = String::new();
    let notifier = Running::start(&config);
    raise(&client, 1, 3).await;
    wait_until(
        &client,
        "the alerts belong to a suppressed message",
        "3 = (SELECT count(*) FROM fraud_alerts JOIN outbox ON outbox.id = outbox_id WHERE suppressed_at IS NOT NULL)",
    )
    .await;
    notifier.stop().await;
    // Turning mail on later does not send what is old.
    config.mail.host = "127.0.0.1".into();
    let notifier = Running::start(&config);
    raise(&client, 4, 1).await;
    let mails = sink.wait_for(1).await;
    assert!(
        header(&mails[0], "Subject").contains("1 suspicious payment "),
        "{mails:?}"
    );
    notifier.stop().await;
}
