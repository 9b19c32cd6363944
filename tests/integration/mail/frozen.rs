//! A process that is frozen, or whose machine is gone, does not keep the others from telling.

use super::*;
use crate::support::vigie::{LONG, Place, Vigie};

async fn start(place: &Place, sink: &Sink) -> Vigie {
    let port = sink.settings().port.to_string();
    let vigie = place.run(&[
        ("VIGIE_MAIL__HOST", "127.0.0.1"),
        ("VIGIE_MAIL__PORT", &port),
        ("VIGIE_MAIL__TLS", "plain"),
        ("VIGIE_MAIL__TO", "oncall@example.org"),
        ("VIGIE_INCIDENTS__COOLDOWN", "1s"),
    ]);
    vigie.until_page("/readyz", |status, _| status == 200).await;
    vigie
}

#[tokio::test]
async fn a_notifier_that_is_frozen_is_followed_by_another_and_goes_on_when_it_is_thawed() {
    let sink = Sink::start().await;
    let place = Place::new("frozen", 2).await;
    let client = place.look().await;
    let mut first = start(&place, &sink).await;
    first.until_it_says("this process notifies").await;
    let mut second = start(&place, &sink).await;
    raise(&client, 1, 1).await;
    wait_until(&client, "the first sends", ALL_SENT).await;
    first.freeze();
    raise(&client, 2, 1).await;
    second.until_it_says("this process notifies").await;
    wait_until(&client, "the second sends", ALL_SENT).await;
    assert_eq!(sink.mails().len(), 2);
    first.thaw();
    first.until_it_says("alerts wait for the database").await;
    raise(&client, 3, 1).await;
    wait_until(&client, "the second goes on", ALL_SENT).await;
    second.stopped(LONG).await;
    raise(&client, 4, 1).await;
    wait_until(&client, "the first notifies again", ALL_SENT).await;
    first.stopped(LONG).await;
    assert_eq!(first.times_said("this process notifies"), 2);
    let mails = sink.mails();
    assert_eq!((mails.len(), different(&mails)), (4, 4), "{mails:?}");
}
