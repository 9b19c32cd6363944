//! What is given up in the end, and what never is.

use super::*;

const WAITS: &str = "sent_at IS NULL AND suppressed_at IS NULL";

/// As if everything had been written so long ago.
async fn age(client: &Client, span: &str) {
    let older = format!("UPDATE outbox SET created_at = created_at - interval '{span}'");
    client.execute(&older, &[]).await.unwrap();
}

/// A slack that is gone, and a webhook that is there.
async fn half_gone() -> (Config, Client, Receiver, Receiver) {
    let (slack, webhook) = (Receiver::start(), Receiver::start());
    let (mut config, client) = place().await;
    open_slack(&mut config, &slack);
    open_webhook(&mut config, &webhook);
    slack.answer(&[status(410)]);
    (config, client, slack, webhook)
}

#[tokio::test]
async fn what_somebody_has_heard_is_given_up_after_a_day_on_a_channel_that_is_gone() {
    let (config, client, slack, _webhook) = half_gone().await;
    let notifier = Running::start(&config);
    tell(&config, NoticeKind::Incident, "stale").await;
    let refused = format!("EXISTS (SELECT FROM outbox WHERE refused_at IS NOT NULL AND {WAITS})");
    wait_until(&client, "slack refuses it", &refused).await;
    let sent = "EXISTS (SELECT FROM outbox WHERE sent_at IS NOT NULL)";
    wait_until(&client, "the webhook has it", sent).await;
    age(&client, "24 h 1 min").await;
    tell(&config, NoticeKind::Incident, "fresh").await;
    let given_up = "EXISTS (SELECT FROM outbox WHERE suppressed_at IS NOT NULL)";
    wait_until(&client, "slack's is given up", given_up).await;
    notifier.stop().await;
    let left = "SELECT count(*) FROM outbox WHERE suppressed_at IS NOT NULL
                AND NOT (subject = 'stale' AND channel = 'slack')";
    assert_eq!(count(&client, left).await, 0);
    let waits = format!("SELECT count(*) FROM outbox WHERE subject = 'fresh' AND {WAITS}");
    assert_eq!(count(&client, &waits).await, 1);
    assert_eq!(slack.requests().len(), 2);
}

#[tokio::test]
async fn what_nobody_has_heard_is_kept_however_old_it_is() {
    let (config, client, slack, webhook) = half_gone().await;
    webhook.answer(&[status(410)]);
    tell(&config, NoticeKind::Incident, "unheard").await;
    age(&client, "10 days").await;
    // Its fate shows that the notifier has looked at both.
    tell(&config, NoticeKind::Incident, "heard").await;
    let heard = "UPDATE outbox SET created_at = created_at - interval '2 days',
                                   sent_at = CASE WHEN channel = 'webhook' THEN now() END
                 WHERE subject = 'heard'";
    client.execute(heard, &[]).await.unwrap();
    let notifier = Running::start(&config);
    let given_up =
        "EXISTS (SELECT FROM outbox WHERE subject = 'heard' AND suppressed_at IS NOT NULL)";
    wait_until(&client, "what was heard is given up", given_up).await;
    let refused =
        format!("2 = (SELECT count(*) FROM outbox WHERE refused_at IS NOT NULL AND {WAITS})");
    wait_until(&client, "both refuse what was not", &refused).await;
    slack.answer(&[status(200)]);
    let due = "UPDATE outbox SET next_attempt_at = now()";
    client.execute(due, &[]).await.unwrap();
    let sent = "EXISTS (SELECT FROM outbox WHERE subject = 'unheard' AND sent_at IS NOT NULL)";
    wait_until(&client, "it is heard in the end", sent).await;
    notifier.stop().await;
}

#[tokio::test]
async fn a_process_without_a_channel_leaves_what_nobody_has_heard_to_one_that_has_it() {
    let (slack, webhook) = (Receiver::start(), Receiver::start());
    let (mut config, client) = place().await;
    open_webhook(&mut config, &webhook);
    tell(&config, NoticeKind::Incident, "to the webhook alone").await;
    open_slack(&mut config, &slack);
    tell(&config, NoticeKind::Incident, "to both").await;
    let mut without = config.clone();
    without.webhook.url = String::new().into();
    let notifier = Running::start(&without);
    let given_up = "1 = (SELECT count(*) FROM outbox WHERE suppressed_at IS NOT NULL)
                    AND 1 = (SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL)";
    wait_until(&client, "one is sent, and given up on the other", given_up).await;
    notifier.stop().await;
    assert_eq!(webhook.requests().len(), 0);
    let waits = format!(
        "SELECT count(*) FROM outbox WHERE subject = 'to the webhook alone' AND {WAITS}
         AND last_error = 'the process that notifies does not have this channel'"
    );
    assert_eq!(count(&client, &waits).await, 1);
    let notifier = Running::start(&config);
    webhook.wait_for(1).await;
    notifier.stop().await;
    assert!(webhook.requests()[0].body.contains("to the webhook alone"));
    // A day later such a process gives it up.
    tell(&config, NoticeKind::Incident, "late").await;
    age(&client, "24 h 1 min").await;
    without.slack.url = String::new().into();
    let notifier = Running::start(&without);
    let none = format!("NOT EXISTS (SELECT FROM outbox WHERE {WAITS})");
    wait_until(&client, "it is given up", &none).await;
    notifier.stop().await;
}
