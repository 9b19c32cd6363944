//! From a notice to a webhook, and that no channel waits for another.

mod stale;

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio_postgres::Client;
use vigie::config::{Config, MailConfig};
use vigie::desk::notifier::outbox::{Attachment, Channels, Notice, NoticeKind, enqueue};

use crate::support::database::{count, migrated, writer};
use crate::support::eventually_within;
use crate::support::notifier::{Running, wait_until};
use crate::support::proxy::{Proxy, Way};
use crate::support::receiver::{Answer, Receiver, status};
use crate::support::sink::{Sink, authority, header};
use crate::support::vigie::{LONG, Place, command};

const ALL_SENT: &str = "NOT EXISTS (SELECT FROM outbox WHERE sent_at IS NULL)";
const SECRET: &str = "a secret that both sides know";

/// No channel is open but those that a test opens.
async fn place() -> (Config, Client) {
    let mut config = migrated().await;
    config.mail.host = String::new();
    config.webhook.timeout = Duration::from_secs(1);
    let client = writer(&config).await;
    (config, client)
}

fn open_mail(config: &mut Config, sink: &Sink) {
    config.mail = sink.settings();
}

fn open_slack(config: &mut Config, receiver: &Receiver) {
    config.slack.url = receiver.url("/services/T0001/tokenXYZ").into();
}

fn open_webhook(config: &mut Config, receiver: &Receiver) {
    config.webhook.url = receiver.url("/hook?key=hushhush").into();
    config.webhook.secret = SECRET.to_owned().into();
}

async fn tell(config: &Config, kind: NoticeKind, subject: &str) {
    let notice = Notice {
        kind,
        subject: subject.to_owned(),
        text: "merchant <!channel> & co\n".into(),
        html: "<p>merchant &lt;!channel&gt;</p>".into(),
        payload: json!({"alerts": 3, "merchant": "=1+1 & co"}),
        attachments: vec![Attachment {
            name: "flagged.csv".into(),
            content_type: "text/csv; charset=utf-8".into(),
            bytes: b"id,amount\nt-1,1.00\n".to_vec(),
        }],
    };
    let mut client = writer(config).await;
    let transaction = client.transaction().await.unwrap();
    let channels = Channels::of(config).unwrap();
    enqueue(&transaction, &notice, &channels).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn last_error(client: &Client) -> String {
    let row = client.query_one("SELECT last_error FROM outbox ORDER BY id LIMIT 1", &[]);
    row.await.unwrap().get(0)
}

#[tokio::test]
async fn an_incident_reaches_every_open_channel_once_each_in_its_own_form() {
    let (mail, slack, webhook) = (Sink::start().await, Receiver::start(), Receiver::start());
    let (mut config, client) = place().await;
    open_mail(&mut config, &mail);
    open_slack(&mut config, &slack);
    open_webhook(&mut config, &webhook);
    let notifier = Running::start(&config);
    tell(&config, NoticeKind::Incident, "3 suspicious payments").await;
    wait_until(&client, "all three are sent", ALL_SENT).await;
    notifier.stop().await;
    let schema = &config.database.schema;

    let mails = mail.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(header(&mails[0], "Subject"), "3 suspicious payments");
    assert!(mails[0].contains("flagged.csv"), "{}", mails[0]);

    let requests = slack.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].line, "POST /services/T0001/tokenXYZ HTTP/1.1");
    let said: Value = serde_json::from_str(&requests[0].body).unwrap();
    let text = "3 suspicious payments\n\nmerchant &lt;!channel&gt; &amp; co";
    assert_eq!(said["text"], text);

    let requests = webhook.requests();
    assert_eq!(requests.len(), 1);
    let said: Value = serde_json::from_str(&requests[0].body).unwrap();
    let domain = config.mail.from.split(['@', '>']).nth(1).unwrap();
    let id = said["id"].as_str().unwrap();
    let ends = format!(".webhook.{schema}@{domain}");
    assert!(id.starts_with("1.") && id.ends_with(&ends), "{id}");
    assert_eq!(requests[0].headers["x-vigie-message-id"], id);
    assert_eq!(said["kind"], "incident");
    assert_eq!(said["subject"], "3 suspicious payments");
    assert_eq!(said["text"], "merchant <!channel> & co\n");
    assert_eq!(
        said["payload"],
        json!({"alerts": 3, "merchant": "=1+1 & co"})
    );
    assert!(said["at"].as_str().unwrap().ends_with('Z'), "{said}");
}

#[tokio::test]
async fn the_receiver_of_a_webhook_can_check_who_sent_it() {
    let webhook = Receiver::start_with_tls();
    let (mut config, client) = place().await;
    open_webhook(&mut config, &webhook);
    config.webhook.ca_file = authority();
    let notifier = Running::start(&config);
    tell(&config, NoticeKind::System, "a partition is held").await;
    wait_until(&client, "it is sent", ALL_SENT).await;
    notifier.stop().await;
    let request = webhook.requests().remove(0);
    let signature = &request.headers["x-vigie-signature"];
    let (time, mac) = signature.split_once(",v1=").unwrap();
    let time = time.strip_prefix("t=").unwrap();
    let age = jiff::Timestamp::now().as_second() - time.parse::<i64>().unwrap();
    assert!((0..60).contains(&age), "{age} s old");
    let signed = |body: &str| {
        let key = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        let mac = key.chain_update(format!("{time}.{body}")).finalize();
        let digits = mac
            .into_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>();
        digits.concat()
    };
    assert_eq!(mac, signed(&request.body));
    assert_ne!(mac, signed(&request.body.replace("held", "well")));
}

#[tokio::test]
async fn a_webhook_that_is_gone_is_refused_for_long_and_the_next_message_is_tried_at_once() {
    let webhook = Receiver::start();
    let (mut config, client) = place().await;
    open_webhook(&mut config, &webhook);
    let said = Answer::Status(410, String::new(), "channel_is_archived".into());
    webhook.answer(&[said, status(200)]);
    let notifier = Running::start(&config);
    tell(&config, NoticeKind::Incident, "the first").await;
    wait_until(
        &client,
        "it is refused, and tried again in minutes",
        "EXISTS (SELECT FROM outbox WHERE refused_at IS NOT NULL AND attempts = 1
                 AND next_attempt_at > now() + interval '1 min')",
    )
    .await;
    tell(&config, NoticeKind::Incident, "the second").await;
    let passed = "EXISTS (SELECT FROM outbox WHERE subject = 'the second' AND sent_at IS NOT NULL)";
    wait_until(&client, "the second passes", passed).await;
    notifier.stop().await;
    let problem = last_error(&client).await;
    assert!(
        problem.contains("410") && problem.contains("channel_is_archived"),
        "{problem}"
    );
}

#[tokio::test]
async fn a_server_that_asks_for_a_pause_gets_it() {
    let webhook = Receiver::start();
    let (mut config, client) = place().await;
    open_webhook(&mut config, &webhook);
    let later = Answer::Status(429, "Retry-After: 3\r\n".into(), String::new());
    webhook.answer(&[later, status(200)]);
    let notifier = Running::start(&config);
    tell(&config, NoticeKind::Incident, "the first").await;
    webhook.wait_for(1).await;
    // The pause is the server's, so it holds for every message.
    tell(&config, NoticeKind::Incident, "the second").await;
    wait_until(&client, "both are sent", ALL_SENT).await;
    notifier.stop().await;
    let requests = webhook.requests();
    assert_eq!(requests.len(), 3);
    let pause = requests[1].at - requests[0].at;
    assert!(pause >= Duration::from_secs(3), "{pause:?}");
}

#[tokio::test]
async fn a_status_counts_though_its_body_never_comes_to_an_end() {
    let (slack, webhook) = (Receiver::start(), Receiver::start());
    let (mut config, client) = place().await;
    open_slack(&mut config, &slack);
    open_webhook(&mut config, &webhook);
    slack.answer(&[Answer::Unfinished(410, String::new())]);
    let later = Answer::Unfinished(429, "Retry-After: 60\r\n".into());
    webhook.answer(&[later]);
    let notifier = Running::start(&config);
    tell(&config, NoticeKind::Incident, "slowly").await;
    wait_until(
        &client,
        "one is refused and one waits as long as it was asked to",
        "1 = (SELECT count(*) FROM outbox WHERE channel = 'slack' AND refused_at IS NOT NULL
                                            AND last_error LIKE '%410%')
         AND 1 = (SELECT count(*) FROM outbox WHERE channel = 'webhook' AND last_error LIKE '%429%'
                                                AND next_attempt_at > now() + interval '30 s')",
    )
    .await;
    notifier.stop().await;
}

#[tokio::test]
async fn people_who_may_have_a_message_get_it_again_after_minutes_and_programs_soon() {
    let (slack, webhook) = (Receiver::start(), Receiver::start());
    let (mut config, client) = place().await;
    open_slack(&mut config, &slack);
    open_webhook(&mut config, &webhook);
    slack.answer(&[Answer::Silence, Answer::Silence, status(200)]);
    webhook.answer(&[Answer::Silence, status(200)]);
    let notifier = Running::start(&config);
    tell(&config, NoticeKind::Incident, "once").await;
    let program = "EXISTS (SELECT FROM outbox WHERE channel = 'webhook' AND sent_at IS NOT NULL)";
    wait_until(&client, "the program has it", program).await;
    let people = "EXISTS (SELECT FROM outbox WHERE channel = 'slack' AND refused_at IS NOT NULL
                          AND next_attempt_at > now() + interval '20 s')";
    wait_until(&client, "people may have it", people).await;
    tell(&config, NoticeKind::Incident, "at once").await;
    slack.wait_for(2).await;
    notifier.stop().await;
    assert!(slack.requests()[1].body.contains("at once"));
}

#[tokio::test]
async fn a_server_that_fails_gets_the_same_message_again_under_the_same_id() {
    let webhook = Receiver::start();
    let (mut config, client) = place().await;
    open_webhook(&mut config, &webhook);
    webhook.answer(&[status(500), status(503), status(200)]);
    let notifier = Running::start(&config);
    tell(&config, NoticeKind::Incident, "again").await;
    wait_until(&client, "it is sent", ALL_SENT).await;
    notifier.stop().await;
    let requests = webhook.requests();
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert_eq!(request.body, requests[0].body);
        let id = &request.headers["x-vigie-message-id"];
        assert_eq!(id, &requests[0].headers["x-vigie-message-id"]);
    }
    assert_eq!(
        count(&client, "SELECT attempts::bigint FROM outbox").await,
        3
    );
}

#[tokio::test]
async fn a_message_that_a_server_cannot_stomach_does_not_hold_up_the_others() {
    let webhook = Receiver::start();
    let (mut config, client) = place().await;
    open_webhook(&mut config, &webhook);
    webhook.answer(&[status(500), status(200), status(500)]);
    tell(&config, NoticeKind::Incident, "poison").await;
    tell(&config, NoticeKind::Incident, "wholesome").await;
    let notifier = Running::start(&config);
    let passed = "EXISTS (SELECT FROM outbox WHERE subject = 'wholesome' AND sent_at IS NOT NULL)";
    wait_until(&client, "the other passes", passed).await;
    notifier.stop().await;
    let requests = webhook.requests();
    assert!(requests[1].body.contains("wholesome"), "{requests:?}");
}

#[tokio::test]
async fn a_redirect_is_a_refusal_and_its_target_sees_nothing() {
    for code in [301, 302, 303, 307, 308] {
        let (webhook, internal) = (Receiver::start_with_tls(), Receiver::start());
        let (mut config, client) = place().await;
        open_webhook(&mut config, &webhook);
        config.webhook.ca_file = authority();
        let location = format!("Location: {}\r\n", internal.url("/latest/meta-data"));
        webhook.answer(&[Answer::Status(code, location, String::new())]);
        let notifier = Running::start(&config);
        tell(&config, NoticeKind::Incident, "not there").await;
        let refused = "EXISTS (SELECT FROM outbox WHERE refused_at IS NOT NULL)";
        wait_until(&client, "it is refused", refused).await;
        notifier.stop().await;
        let problem = last_error(&client).await;
        assert!(
            problem.contains("redirect, and none is followed"),
            "{problem}"
        );
        assert_eq!(webhook.requests().len(), 1, "{code}");
        assert_eq!(internal.requests().len(), 0, "{code} was followed");
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_gets_no_message() {
    let slack = Receiver::start_with_tls();
    let (mut config, client) = place().await;
    open_slack(&mut config, &slack);
    let notifier = Running::start(&config);
    tell(&config, NoticeKind::Incident, "secret").await;
    wait_until(
        &client,
        "it says why",
        "EXISTS (SELECT FROM outbox WHERE attempts > 0 AND last_error ILIKE '%certificate%')",
    )
    .await;
    notifier.stop().await;
    assert_eq!(slack.requests().len(), 0);
    config.webhook.ca_file = authority();
    let notifier = Running::start(&config);
    wait_until(&client, "with our own authority it is sent", ALL_SENT).await;
    notifier.stop().await;
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let slack = Receiver::start();
    let (mut config, client) = place().await;
    // The answer must be given up for its length, not for its duration.
    config.webhook.timeout = Duration::from_secs(600);
    open_slack(&mut config, &slack);
    slack.answer(&[Answer::Endless]);
    let notifier = Running::start(&config);
    tell(&config, NoticeKind::Incident, "?").await;
    let refused =
        "EXISTS (SELECT FROM outbox WHERE refused_at IS NOT NULL AND last_error LIKE '%400%')";
    wait_until(&client, "it is refused", refused).await;
    notifier.stop().await;
    assert!(slack.written() < 64 << 20, "{} bytes", slack.written());
}

#[tokio::test]
async fn a_webhook_that_stalls_delays_neither_mail_nor_slack() {
    let (mail, slack, webhook) = (Sink::start().await, Receiver::start(), Receiver::start());
    let (mut config, client) = place().await;
    open_mail(&mut config, &mail);
    open_slack(&mut config, &slack);
    open_webhook(&mut config, &webhook);
    // Longer than the test: its first attempt is under way all the time.
    config.webhook.timeout = Duration::from_secs(600);
    webhook.answer(&[Answer::Silence]);
    let notifier = Running::start(&config);
    for number in 1..=3 {
        tell(&config, NoticeKind::Incident, &format!("number {number}")).await;
        mail.wait_for(number).await;
        slack.wait_for(number).await;
    }
    assert_eq!(webhook.wait_for(1).await.len(), 1);
    let waits = "SELECT count(*) FROM outbox WHERE channel = 'webhook' AND sent_at IS NULL";
    assert_eq!(count(&client, waits).await, 3);
    notifier.stop().await;
}

#[tokio::test]
async fn a_mail_server_that_stalls_delays_no_webhook() {
    let (mail, slack, webhook) = (Sink::start().await, Receiver::start(), Receiver::start());
    let (mut config, client) = place().await;
    open_mail(&mut config, &mail);
    config.mail.timeout = Duration::from_secs(600);
    mail.behave("stall");
    open_slack(&mut config, &slack);
    open_webhook(&mut config, &webhook);
    let notifier = Running::start(&config);
    for number in 1..=3 {
        tell(&config, NoticeKind::Incident, &format!("number {number}")).await;
        slack.wait_for(number).await;
        webhook.wait_for(number).await;
    }
    let waits = "SELECT count(*) FROM outbox WHERE channel = 'mail' AND sent_at IS NULL";
    assert_eq!(count(&client, waits).await, 3);
    notifier.stop().await;
}

#[tokio::test]
async fn a_webhook_that_stalls_is_given_up_in_time_and_tried_again() {
    let webhook = Receiver::start();
    let (mut config, client) = place().await;
    open_webhook(&mut config, &webhook);
    webhook.answer(&[Answer::Silence, status(200)]);
    let notifier = Running::start(&config);
    tell(&config, NoticeKind::Incident, "patience").await;
    let stalled = "EXISTS (SELECT FROM outbox WHERE last_error = 'no answer within 1s')";
    wait_until(&client, "it is given up", stalled).await;
    wait_until(&client, "and sent in the end", ALL_SENT).await;
    notifier.stop().await;
}

#[tokio::test]
async fn a_report_goes_to_its_readers_by_mail_alone() {
    let (mail, slack) = (Sink::start().await, Receiver::start());
    let (mut config, client) = place().await;
    open_mail(&mut config, &mail);
    open_slack(&mut config, &slack);
    config.report.to = "manager@example.org".into();
    let notifier = Running::start(&config);
    tell(&config, NoticeKind::Report, "yesterday").await;
    wait_until(&client, "it is sent", ALL_SENT).await;
    notifier.stop().await;
    let mails = mail.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(header(&mails[0], "Delivered-To"), "manager@example.org");
    assert!(!mails[0].contains("oncall@"), "{}", mails[0]);
    let file = "Content-Disposition: attachment; filename=\"flagged.csv\"";
    assert!(mails[0].contains(file), "{}", mails[0]);
    assert_eq!(slack.requests().len(), 0);
}

#[tokio::test]
async fn a_process_whose_database_was_away_is_ready_again_though_another_notifies_now() {
    let slack = Receiver::start();
    let (mut config, _) = place().await;
    open_slack(&mut config, &slack);
    let way = Proxy::to(&format!(
        "{}:{}",
        config.database.host, config.database.port
    ));
    let mut far = config.clone();
    far.database.host = "127.0.0.1".into();
    far.database.port = way.port();
    let first = Running::start(&far);
    tell(&config, NoticeKind::Incident, "by the first").await;
    slack.wait_for(1).await;
    way.set(Way::Cut);
    eventually_within(LONG, "it says what is in the way", || async {
        let problems = first.health.problems();
        problems
            .iter()
            .any(|problem| problem.starts_with("notifier: "))
            .then_some(())
    })
    .await;
    let second = Running::start(&config);
    tell(&config, NoticeKind::Incident, "by the second").await;
    slack.wait_for(2).await;
    way.set(Way::Open);
    eventually_within(LONG, "the first has nothing against it", || async {
        first.health.problems().is_empty().then_some(())
    })
    .await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn the_address_of_a_webhook_is_neither_logged_nor_stored_and_its_failures_are_counted() {
    let slack = Receiver::start();
    let echo = "no such hook: /services/T0001/tokenXYZ";
    slack.answer(&[
        Answer::Status(500, String::new(), "tokenXYZ is unknown".into()),
        Answer::Status(404, String::new(), echo.into()),
    ]);
    let place = Place::new("webhook", 1).await;
    let vigie = place.run(&[
        ("VIGIE_SLACK__URL", &slack.url("/services/T0001/tokenXYZ")),
        ("VIGIE_LOG__FILTER", "debug"),
    ]);
    let mut config = place.config.clone();
    config.mail = MailConfig {
        host: String::new(),
        ..config.mail
    };
    open_slack(&mut config, &slack);
    tell(&config, NoticeKind::Incident, "hush").await;
    let client = place.look().await;
    let refused = "EXISTS (SELECT FROM outbox WHERE refused_at IS NOT NULL)";
    wait_until(&client, "it is refused", refused).await;
    let failed = "vigie_messages_total{channel=\"slack\",result=\"failed\"} 2";
    let page = vigie
        .until_page("/metrics", |_, page| {
            page.contains(failed) && page.contains("vigie_outbox_depth 1\n")
        })
        .await;
    let oldest = page
        .lines()
        .find_map(|l| l.strip_prefix("vigie_outbox_oldest_seconds "));
    assert!(oldest.unwrap().parse::<f64>().unwrap() > 0.0, "{page}");
    vigie.until_it_says("message refused").await;
    let problem = last_error(&client).await;
    for said in [vigie.said(), problem, page] {
        assert!(
            !said.contains("tokenXYZ") && !said.contains("T0001"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn check_shakes_hands_with_webhooks_and_posts_nothing() {
    let (slack, stranger) = (Receiver::start_with_tls(), Receiver::start_with_tls());
    let ca = authority();
    let check = |variables: Vec<(&str, String)>| {
        let mut command = command(&["check"]);
        let output = command.envs(variables).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let line = |page: &str, name: &str| {
        let fits = |line: &&str| line.split_whitespace().nth(1) == Some(name);
        page.lines().find(fits).unwrap().to_owned()
    };
    let page = check(vec![
        ("VIGIE_SLACK__URL", slack.url("/services/tokenXYZ")),
        ("VIGIE_WEBHOOK__URL", stranger.url("/hook")),
        ("VIGIE_WEBHOOK__CA_FILE", ca.to_str().unwrap().to_owned()),
    ]);
    assert!(line(&page, "slack").starts_with("ok"), "{page}");
    let webhook = line(&page, "webhook");
    assert!(webhook.contains("webhook.secret"), "{page}");
    let page = check(vec![("VIGIE_SLACK__URL", slack.url("/services/tokenXYZ"))]);
    let refused = line(&page, "slack");
    assert!(
        refused.starts_with("FAIL") && refused.contains("certificate"),
        "{page}"
    );
    let page = check(vec![(
        "VIGIE_SLACK__URL",
        "http://192.0.2.1/services/tokenXYZ".into(),
    )]);
    let refused = line(&page, "slack");
    assert!(
        refused.starts_with("FAIL") && refused.contains("slack.url: expected https"),
        "{page}"
    );
    assert!(!page.contains("tokenXYZ"), "{page}");
    assert!(slack.requests().is_empty() && stranger.requests().is_empty());
}
