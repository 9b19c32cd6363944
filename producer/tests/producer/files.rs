//! Which part of which file is replayed, how fast, and how it is marked.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{PAYMENTS, Place, Running, Sent, says, until};

/// A payment as a line of JSON.
fn line(id: &str, time: &str) -> String {
    let event = json!({"trans_num": id, "trans_date_trans_time": time, "amt": 12.5,
        "cc_num": "4000000000000002", "merchant": "a \"shop\""});
    format!("{event}\n")
}

fn ids(content: &[Sent]) -> Vec<&str> {
    content.iter().map(|sent| sent.text("trans_num")).collect()
}

#[test]
fn only_a_backfill_is_marked_as_one() {
    let place = Place::new("backfill");
    let file = place.file("a.jsonl", line("a", "2026-01-01 00:00:00"));
    says(
        &place.command(&file, &["--backfill"]).output().unwrap(),
        0,
        &[],
    );
    says(&place.command(&file, &[]).output().unwrap(), 0, &[]);
    let headers: Vec<_> = place
        .content()
        .into_iter()
        .map(|sent| sent.headers)
        .collect();
    let mark = vec![("vigie-backfill".to_owned(), "1".to_owned())];
    assert_eq!(headers, [mark, vec![]]);
}

#[test]
fn json_lines_arrive_as_they_stand_in_the_file() {
    let place = Place::new("lines");
    let text = line("a", "2026-01-01 00:00:00") + "\n" + &line("b", "2026-01-01 00:00:01");
    let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (name, bytes) in [("a.jsonl", text.into_bytes()), ("a.ndjson.zst", packed)] {
        let file = place.file(name, bytes);
        says(
            &place.command(&file, &[&place.ledger()]).output().unwrap(),
            0,
            &[],
        );
        assert_eq!(place.ledger_lines().len(), 2);
    }
    let content = place.content();
    assert_eq!(ids(&content), ["a", "b", "a", "b"]);
    assert!(content.iter().all(|sent| sent.key == "4000000000000002"));
    assert_eq!(content[0].event["merchant"], "a \"shop\"");
}

#[test]
fn a_bad_json_line_ends_it_and_is_named_by_line_and_column() {
    let place = Place::new("badline");
    let good = line("a", "2026-01-01 00:00:00");
    let file = place.file("bad.jsonl", good.clone() + &good.replace("12.5", "12.505"));
    let output = place.command(&file, &[&place.ledger()]).output().unwrap();
    says(
        &output,
        1,
        &["bad.jsonl, line 2, column `amt`", "out_of_range"],
    );
    let file = place.file("other.jsonl", good.replace("\"amt\"", "\"amount\""));
    let output = place.command(&file, &[]).output().unwrap();
    says(&output, 2, &["other.jsonl, line 1, column `amt`"]);
}

#[test]
fn a_record_that_is_too_large_for_kafka_is_named_by_file_and_line() {
    let place = Place::new("toolarge");
    let good = line("a", "2026-01-01 00:00:00");
    let large = good.replace("shop", &"s".repeat(1_200_000));
    let file = place.file("large.jsonl", good.clone() + &large + &good);
    let output = place.command(&file, &[]).output().unwrap();
    says(
        &output,
        1,
        &["1 payments are in", "large.jsonl, line 2: ", "too large"],
    );
}

#[test]
fn a_window_of_event_time_is_replayed_alone() {
    let place = Place::new("window");
    let window = ["--from", "2019-01-09", "--to", "2019-01-10T12:00:00Z"];
    says(&place.replay(&window), 0, &[]);
    let content = place.content();
    let times: Vec<&str> = content
        .iter()
        .map(|sent| sent.text("trans_date_trans_time"))
        .collect();
    assert!(times.len() > 1_000);
    for time in &times {
        assert!(
            ("2019-01-09 00:00:00".."2019-01-10 12:00:00").contains(time),
            "{time}"
        );
    }
    let first = times.iter().min().unwrap();
    assert!(first.starts_with("2019-01-09 00:"), "{first}");
    says(
        &place.replay(&["--from", "2030-01-01"]),
        2,
        &["no payment between --from and --to"],
    );
    says(&place.replay(&["--from", "soon"]), 2, &["expected a date"]);
    let turned = ["--from", "2019-01-10", "--to", "2019-01-09"];
    says(
        &place.replay(&turned),
        2,
        &["the first to be before the second"],
    );
}

#[test]
fn a_speed_divides_the_gaps_of_the_file_and_is_never_exceeded() {
    let place = Place::new("speed");
    let times = ["00:00:00", "00:01:00", "00:00:30", "00:04:00"];
    let text: String = times
        .iter()
        .map(|time| line(time, &format!("2026-01-01 {time}")))
        .collect();
    let file = place.file("a.jsonl", text);
    let began = Instant::now();
    let output = place.command(&file, &["--speed", "100x"]).output().unwrap();
    says(&output, 0, &[]);
    assert!(began.elapsed() >= Duration::from_millis(2_400));
    let content = place.content();
    assert_eq!(ids(&content), times, "in the file's order");
    let after = |row: usize| content[row].timestamp - content[0].timestamp;
    // The broker's clock counts whole milliseconds.
    assert!(after(1) >= 599 && after(2) >= 599 && after(3) >= 2_399);
    let both = place.replay(&["--speed", "2x", "--rate", "5"]);
    says(&both, 2, &["cannot be used with"]);
}

#[test]
fn a_growing_file_is_followed_until_a_signal() {
    let place = Place::new("follow");
    let whole = |id: &str| line(id, "2026-01-01 00:00:00");
    let file = place.file("a.jsonl", whole("a"));
    let more = ["--follow", &place.ledger()];
    let child = Running::start(place.command(&file, &more));
    until("the first line was not sent", || place.stored() == 1);
    let mut log = OpenOptions::new().append(true).open(&file).unwrap();
    let half = whole("b");
    log.write_all(&half.as_bytes()[..20]).unwrap();
    log.write_all(&half.as_bytes()[20..]).unwrap();
    log.write_all(&whole("half").as_bytes()[..20]).unwrap();
    until("the second line was not sent", || place.stored() == 2);
    let beside = place.file("new", whole("c"));
    // The half line of the old file must not stand in the way of the new one's lines.
    log.set_len(0).unwrap();
    std::fs::rename(beside, &file).unwrap();
    until("the new file was not read", || place.stored() == 3);
    assert_eq!(child.terminated(), Some(0));
    assert_eq!(ids(&place.content()), ["a", "b", "c"]);
    assert_eq!(place.ledger_lines().len(), 3);
    let packed = place.command(Path::new(PAYMENTS), &["--follow"]).output();
    says(&packed.unwrap(), 1, &["payments.csv.zst", "followed"]);
}
