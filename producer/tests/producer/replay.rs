//! `vigie-producer replay` as a person runs it.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;

use crate::support::{PAYMENTS, Place, Running, brokers, millis_now, says, until};

#[test]
fn the_ledger_is_what_the_topic_holds_and_holds_no_card_number() {
    let place = Place::new("ledger");
    let before = millis_now();
    says(&place.replay(&["--limit", "3000", &place.ledger()]), 0, &[]);
    let content = place.content();
    assert_eq!(content.len(), 3000);
    let mut lines = place.ledger_lines();
    let number = |text: &String| text.parse::<i64>().unwrap();
    lines.sort_by_key(|line| (number(&line[0]), number(&line[1])));
    assert_eq!(lines.len(), content.len());
    let mut tokens = HashMap::new();
    for (line, sent) in lines.iter().zip(&content) {
        let position = (number(&line[0]) as i32, number(&line[1]));
        assert_eq!(
            (position, line[3].as_str()),
            (sent.position, sent.text("trans_num"))
        );
        let amount = sent.event["amt"].as_f64().unwrap() * 100.0;
        assert_eq!(number(&line[4]), amount.round() as i64);
        let time: jiff::civil::DateTime = sent.text("trans_date_trans_time").parse().unwrap();
        let time = time.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
        assert_eq!(number(&line[5]), time.as_microsecond());
        let token = tokens.entry(sent.key.clone()).or_insert(line[2].clone());
        assert_eq!(
            (token.len(), &*token),
            (32, &line[2]),
            "one token per account"
        );
        assert!((before..=millis_now()).contains(&sent.timestamp));
        assert_eq!(sent.key, sent.text("cc_num"));
        assert!(
            line.iter().all(|cell| !cell.contains(&sent.key)),
            "a clear card number"
        );
    }
}

#[test]
fn payments_of_an_account_keep_the_order_of_the_file() {
    let place = Place::new("order");
    says(&place.replay(&["--compression", "none"]), 0, &[]);
    let (mut rows, mut of_account) = (0, HashMap::new());
    for sent in place.content() {
        rows += 1;
        // The file's own row number, and the partition that must stay the same.
        let row = sent.event[""].as_i64().unwrap();
        let last = of_account.insert(sent.key, (sent.position.0, row));
        if let Some((partition, earlier)) = last {
            assert!(
                partition == sent.position.0 && earlier < row,
                "{earlier} before {row}"
            );
        }
    }
    assert!(rows > 1000 && of_account.len() > 10);
}

#[test]
fn a_repeat_has_ids_of_its_own_on_later_days_and_ends_now() {
    let place = Place::new("repeat");
    let passes = ["--limit", "1500", "--repeat", "3", "--shift-to-now"];
    says(&place.replay(&passes), 0, &[]);
    let mut days = vec![(String::from("9999"), String::new()); 3];
    let mut ids = HashMap::new();
    for sent in place.content() {
        let id = sent.text("trans_num");
        let pass = match id.split_once('-') {
            None => 0,
            Some((_, pass)) => pass.parse::<usize>().unwrap() - 1,
        };
        let time = sent.text("trans_date_trans_time").to_owned();
        let (first, last) = &mut days[pass];
        *first = time.clone().min(first.clone());
        *last = time.max(last.clone());
        assert_eq!(ids.insert(id.to_owned(), ()), None, "{id} twice");
    }
    assert_eq!(ids.len(), 4500);
    for pair in days.windows(2) {
        assert!(pair[0].1[..10] < pair[1].0[..10], "{days:?}");
    }
    let last: jiff::civil::DateTime = days[2].1.parse().unwrap();
    let last = last.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    let age = millis_now() - last.as_millisecond();
    assert!((0..2 * 86_400_000).contains(&age), "{days:?}");
}

#[test]
fn a_signal_ends_it_with_the_ledger_of_what_was_sent() {
    let place = Place::new("signal");
    let more = ["--rate", "300", &place.ledger()];
    let child = Running::start(place.command(Path::new(PAYMENTS), &more));
    until("nothing was sent", || place.stored() > 0);
    assert_eq!(child.terminated(), Some(0));
    let lines = place.ledger_lines();
    assert!(!lines.is_empty() && lines.len() < 3000);
    assert_eq!(lines.len() as i64, place.stored());
}

#[test]
fn a_refused_payment_ends_it_and_the_ledger_holds_what_was_acknowledged() {
    let place = Place::new("refused");
    let file = place.folder.join("one_is_large.csv");
    let mut rows = String::from("trans_date_trans_time,cc_num,amt,trans_num,note\n");
    for row in 0..80 {
        // The topic takes batches of up to 20,000 bytes.
        let note = "n".repeat(if row == 60 { 50_000 } else { 3 });
        rows += &format!("2020-01-01 00:00:00,4000000000000002,1.00,id{row},{note}\n");
    }
    std::fs::write(&file, rows).unwrap();
    make_topic_of_small_records(&place.topic);
    let ledger = place.ledger();
    let more = ["--rate", "50", "--compression", "none", &ledger];
    let output = place.command(&file, &more).output().unwrap();
    says(&output, 1, &["the replay ended early", "too large"]);
    let content = place.content();
    let ids: Vec<&str> = content.iter().map(|sent| sent.text("trans_num")).collect();
    let lines = place.ledger_lines();
    let kept: Vec<&str> = lines.iter().map(|line| line[3].as_str()).collect();
    assert_eq!(kept, ids);
    assert!(kept.len() >= 20 && !kept.contains(&"id60"), "{kept:?}");
}

fn make_topic_of_small_records(topic: &str) {
    let client: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .create()
        .unwrap();
    let small =
        NewTopic::new(topic, 8, TopicReplication::Fixed(1)).set("max.message.bytes", "20000");
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let made = client.create_topics([&small], &AdminOptions::new());
    let made = runtime.unwrap().block_on(made).unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}

#[test]
fn a_rate_is_kept() {
    let place = Place::new("rate");
    let began = Instant::now();
    says(&place.replay(&["--rate", "400", "--limit", "1000"]), 0, &[]);
    // The last of 1,000 is due 999 intervals after the first.
    assert!(began.elapsed() >= Duration::from_micros(2_497_500));
    let mut stamps: Vec<i64> = place.content().iter().map(|sent| sent.timestamp).collect();
    stamps.sort_unstable();
    let span = stamps[stamps.len() - 1] - stamps[0];
    // Never faster; how much slower is up to the machine.
    assert_eq!(stamps.len(), 1_000);
    assert!(span >= 2_400, "{span} ms");
}

#[test]
fn a_bad_row_ends_it_and_is_named_by_line_and_column() {
    let place = Place::new("bad");
    let file = place.folder.join("bad.csv");
    let header = "trans_date_trans_time,cc_num,amt,trans_num\n";
    let good = "2020-01-01 00:00:00,4000000000000002,1.00,a\n";
    let bad = "2020-01-01 00:00:01,4000000000000002,1.005,b\n";
    std::fs::write(&file, format!("{header}{good}{bad}")).unwrap();
    let output = place.command(&file, &[&place.ledger()]).output().unwrap();
    says(
        &output,
        1,
        &["bad.csv, line 3, column `amt`", "out_of_range"],
    );
    std::fs::write(&file, header.replace("amt", "amount")).unwrap();
    let output = place.command(&file, &[]).output().unwrap();
    says(&output, 2, &["bad.csv", "`amt`"]);
}

#[test]
fn what_cannot_begin_is_said_with_exit_code_2() {
    let place = Place::new("begin");
    let missing = place.command(Path::new("no.csv"), &[]).output().unwrap();
    says(&missing, 2, &["no.csv"]);
    says(
        &place.replay(&["--rate", "0"]),
        2,
        &["payments per second, or max"],
    );
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .to_string();
    let away = place.replay(&["--brokers", &nobody]);
    says(&away, 2, &[&nobody, "VIGIE_KAFKA__BROKERS"]);
}
