//! `vigie-producer simulate` as a person runs it.

use std::process::Output;

use crate::support::{Place, Running, millis_now, producer, says, until};

const ARGUMENTS: [&str; 8] = [
    "simulate",
    "--accounts",
    "300",
    "--seed",
    "5",
    "--history",
    "3d",
    "--fraud-share=0.05",
];

fn to_file(place: &Place, name: &str, more: &[&str]) -> Output {
    let file = place.folder.join(name);
    let mut command = producer();
    command.args(ARGUMENTS).args(more).arg("--output").arg(file);
    command.output().unwrap()
}

#[test]
fn a_past_is_marked_and_the_present_goes_on_at_the_rate_until_a_signal() {
    let place = Place::new("simulated");
    let mut command = producer();
    command.args(ARGUMENTS);
    command.args(["--topic", &place.topic, "--rate", "200"]);
    let began = millis_now();
    let child = Running::start(command);
    // Of the past are 2,000, more or less by weekday.
    until("the past alone was sent", || place.stored() > 3_000);
    assert_eq!(child.terminated(), Some(0));
    let content = place.content();
    let (mut past, mut live) = (0, 0);
    for sent in &content {
        assert_eq!(sent.key, sent.text("cc_num"));
        let time: jiff::civil::DateTime = sent.text("trans_date_trans_time").parse().unwrap();
        let time = time.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
        let ahead = time.as_millisecond() - began;
        if sent.headers.is_empty() {
            live += 1;
            // Never before its time, which is written in whole seconds.
            assert!(
                ahead > -2_000 && time.as_millisecond() <= sent.timestamp,
                "{ahead}"
            );
        } else {
            past += 1;
            assert_eq!(sent.headers, [("vigie-backfill".into(), "1".into())]);
            assert!((-3 * 86_400_000 - 2_000..=0).contains(&ahead), "{ahead}");
        }
    }
    assert!(past > 800 && live > 100, "{past} and {live}");
}

#[test]
fn a_simulation_can_be_written_and_replayed_and_is_the_same_again() {
    let place = Place::new("written");
    let more = ["--start", "2026-04-01", "--limit", "50"];
    let output = to_file(&place, "a.jsonl", &more);
    says(&output, 0, &["scenario", "everyday", "stolen card"]);
    says(&to_file(&place, "b.jsonl.zst", &more), 0, &[]);
    let read = |name: &str| std::fs::read(place.folder.join(name)).unwrap();
    let packed = zstd::decode_all(read("b.jsonl.zst").as_slice()).unwrap();
    assert_eq!(read("a.jsonl"), packed);
    let replayed = place.command(&place.folder.join("a.jsonl"), &[&place.ledger()]);
    says(&{ replayed }.output().unwrap(), 0, &[]);
    let lines = packed.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(
        (lines, lines as i64),
        (place.ledger_lines().len(), place.stored())
    );
}

#[test]
fn what_makes_no_sense_is_said_before_it_begins() {
    let place = Place::new("nonsense");
    says(&to_file(&place, "a.jsonl", &[]), 2, &["--limit"]);
    says(
        &to_file(&place, "a.jsonl", &["--limit", "1", "--rate", "0"]),
        2,
        &["per second"],
    );
    let long = producer().args(["simulate", "--history", "1"]).output();
    says(&long.unwrap(), 2, &["30d"]);
    says(
        &to_file(&place, "no/a.jsonl", &["--limit", "1"]),
        2,
        &["--output: cannot write"],
    );
}
