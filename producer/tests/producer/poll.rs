//! `vigie-producer poll` against a server that imitates the public demo API byte for byte.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::{PAYMENTS, Place, Running, millis_now, producer, says, until};

/// The server; it ends when it is dropped.
struct Api {
    process: Child,
    mode: PathBuf,
    port: String,
}

impl Api {
    fn start(place: &Place, more: &[&str]) -> Self {
        let packed = std::fs::read(PAYMENTS).unwrap();
        let rows = zstd::decode_all(packed.as_slice()).unwrap();
        let rows = place.file("rows.csv", rows);
        let (mode, port) = (place.folder.join("mode"), place.folder.join("port"));
        let process = Command::new("python3")
            .args(["../scripts/demo_api.py", "--rows"])
            .arg(rows)
            .args(["--mode-file".as_ref(), mode.as_os_str()])
            .args(["--port-file".as_ref(), port.as_os_str()])
            .args(more)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("the server did not open its port", || port.exists());
        let port = std::fs::read_to_string(port).unwrap().trim().to_owned();
        Self {
            process,
            mode,
            port,
        }
    }

    /// How it behaves from the next call on.
    fn behave(&self, mode: &str) {
        let beside = self.mode.with_extension("new");
        std::fs::write(&beside, mode).unwrap();
        std::fs::rename(beside, &self.mode).unwrap();
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn poll(place: &Place, url: &str, more: &[&str]) -> Command {
    let mut command = producer();
    command
        .args(["poll", "--url", url, "--every", "100ms"])
        .args(["--bundle", "../models/card", "--topic", &place.topic])
        .args(more);
    command
}

/// A poll that goes on, and what it says.
fn started(place: &Place, api: &Api) -> (Running, PathBuf) {
    let said = place.folder.join("said");
    let url = format!("http://127.0.0.1:{}/current-transactions", api.port);
    let mut command = poll(place, &url, &["--timeout", "1s"]);
    command.stderr(File::create(&said).unwrap());
    (Running::start(command), said)
}

#[test]
fn a_row_is_sent_as_a_payment_of_the_moment_at_which_it_was_drawn() {
    let place = Place::new("polled");
    let api = Api::start(&place, &[]);
    let url = format!("http://127.0.0.1:{}/current-transactions", api.port);
    let before = millis_now();
    let output = poll(&place, &url, &["--limit", "4"]).output().unwrap();
    says(&output, 0, &["4 answers, 0 calls without one"]);
    let file = std::fs::read_to_string(place.folder.join("rows.csv")).unwrap();
    let content = place.content();
    assert_eq!(content.len(), 4);
    for sent in &content {
        let (number, drawn) = sent.text("trans_num").split_once(':').unwrap();
        let drawn: i64 = drawn.parse().unwrap();
        assert!((before..=millis_now()).contains(&drawn));
        let time: jiff::civil::DateTime = sent.text("trans_date_trans_time").parse().unwrap();
        let time = time.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
        assert_eq!(time.as_second(), drawn / 1_000);
        // The digits of the file, which no double holds, and the label for later.
        assert_eq!(sent.key, sent.text("cc_num"));
        let line = file.lines().find(|line| line.contains(number)).unwrap();
        assert!(line.contains(&format!(",{},", sent.key)), "another card");
        let job = sent.text("job");
        assert!(line.contains(job) && !job.contains('\\'), "{job}");
        assert!(sent.event["is_fraud"].is_number() && sent.event["amt"].is_number());
        assert!(sent.event.get("street").is_none() && sent.event.get("current_time").is_none());
    }
}

#[test]
fn what_is_wrong_is_told_in_a_sentence_and_polling_goes_on() {
    let place = Place::new("faults");
    let api = Api::start(&place, &["--delay", "600"]);
    let (child, said) = started(&place, &api);
    let text = || std::fs::read_to_string(&said).unwrap();
    for (mode, words) in [
        (
            "html200",
            "expected application/json, found text/html; a host that sleeps",
        ),
        (
            "html503",
            "found 503 Service Unavailable; a host that sleeps",
        ),
        ("half", "the answer breaks off"),
        ("cut", "the text breaks off: half of an answer"),
        ("wrong-type", "expected a table, found JSON of another kind"),
        ("redirect", "302 Found: a redirect, and none is followed"),
        ("large", "expected an answer of at most 1048576 bytes"),
        ("slow", "no whole answer within 1 s"),
        ("wrong-value", "a row was refused: column `amt`: wrong_type"),
        ("short-row", "a row was refused: row 1: expected 21 values"),
    ] {
        api.behave(mode);
        until(mode, || text().contains(words));
        let before = place.stored();
        api.behave("normal");
        until("polling did not go on", || place.stored() > before);
    }
    assert!(text().contains("answers again"));
    assert_eq!(child.terminated(), Some(0));
    let summary = text();
    assert!(!summary.contains("0 calls without one"), "{summary}");
    let mut drawn = BTreeSet::new();
    assert!(
        place
            .content()
            .iter()
            .all(|sent| drawn.insert(sent.text("trans_num").to_owned()))
    );
}

#[test]
fn an_api_that_answers_with_nothing_of_use_is_asked_less_often() {
    let place = Place::new("useless");
    let api = Api::start(&place, &[]);
    api.behave("wrong-value");
    let (child, said) = started(&place, &api);
    let text = || std::fs::read_to_string(&said).unwrap();
    until("it was asked as often as ever", || {
        text().contains("no row of the answer could be used; asking again in 0.8 s")
    });
    api.behave("normal");
    until("polling did not go on", || place.stored() > 0);
    assert!(text().contains("answers again"));
    assert_eq!(child.terminated(), Some(0));
}

#[test]
fn the_same_row_for_ever_is_sent_once() {
    let place = Place::new("same");
    let api = Api::start(&place, &[]);
    api.behave("same");
    let (child, said) = started(&place, &api);
    let text = || std::fs::read_to_string(&said).unwrap();
    until("the repeat was not told", || {
        text().contains("sent a row again")
    });
    until("the row was not sent", || place.stored() == 1);
    api.behave("normal");
    until("polling did not go on", || place.stored() > 1);
    assert_eq!(child.terminated(), Some(0));
    assert!(!text().contains("; 0 rows came again"), "{}", text());
    let content = place.content();
    let ids: BTreeSet<&str> = content.iter().map(|sent| sent.text("trans_num")).collect();
    assert_eq!(ids.len(), content.len());
}

#[test]
fn rows_are_read_by_name_whatever_their_order_and_number() {
    let place = Place::new("shapes");
    let api = Api::start(&place, &[]);
    api.behave("reordered");
    let (child, _) = started(&place, &api);
    until("reordered columns", || place.stored() >= 3);
    api.behave("empty");
    api.behave("object");
    let before = place.stored();
    until("a table without a text around it", || {
        place.stored() > before
    });
    assert_eq!(child.terminated(), Some(0));
    let file = std::fs::read_to_string(place.folder.join("rows.csv")).unwrap();
    let cards: HashMap<&str, &str> = file
        .lines()
        .filter_map(|line| Some((line.rsplit(',').nth(4)?, line.split(',').nth(2)?)))
        .collect();
    for sent in place.content() {
        let number = sent.text("trans_num").split(':').next().unwrap();
        assert_eq!(cards[number], sent.key);
    }
}

#[test]
fn a_signal_ends_it_while_an_answer_is_awaited() {
    let place = Place::new("awaiting");
    let api = Api::start(&place, &["--delay", "600"]);
    api.behave("slow");
    let url = format!("http://127.0.0.1:{}/current-transactions", api.port);
    let said = place.folder.join("said");
    let mut command = poll(&place, &url, &["--timeout=590s"]);
    command.stdout(File::create(&said).unwrap());
    let child = Running::start(command);
    // The topic is made before the first call.
    until("it did not begin", || place.made());
    assert_eq!(child.terminated(), Some(0));
    let said = std::fs::read_to_string(said).unwrap();
    assert!(said.starts_with("stopped: 0 payments sent"), "{said}");
}

#[test]
fn an_encrypted_address_is_verified() {
    let place = Place::new("encrypted");
    let folder = std::env::var("VIGIE_STACK_TLS").expect("VIGIE_STACK_TLS: source .stack/NAME/env");
    let (cert, key) = (format!("{folder}/cert.pem"), format!("{folder}/key.pem"));
    let api = Api::start(&place, &["--cert", &cert, "--key", &key]);
    let url = format!("https://localhost:{}/current-transactions", api.port);
    let said = place.folder.join("said");
    let mut command = poll(&place, &url, &[]);
    command.stderr(File::create(&said).unwrap());
    let child = Running::start(command);
    until("nobody complained", || {
        let text = std::fs::read_to_string(&said).unwrap();
        text.contains("invalid peer certificate")
    });
    assert_eq!(child.terminated(), Some(0));
    assert_eq!(place.stored(), 0);
    let ca = format!("{folder}/ca.pem");
    let trusted = poll(&place, &url, &["--limit", "1", "--ca-file", &ca]).output();
    says(&trusted.unwrap(), 0, &[]);
    assert_eq!(place.stored(), 1);
}

#[test]
fn what_cannot_begin_is_said_with_exit_code_2() {
    let place = Place::new("unbegun");
    for (url, more, words) in [
        ("no address", [].as_slice(), "--url: expected an address"),
        ("ftp://host/", &[], "begins with https:// or http://"),
        (
            "http://host/",
            &["--ca-file", "no.pem"],
            "--ca-file: cannot read no.pem",
        ),
        ("http://host/", &["--every=1"], "15s"),
        ("http://host/", &["--every=1ms"], "to spare the API"),
    ] {
        let mut command = producer();
        command.args(["poll", "--bundle", "../models/card", "--url", url]);
        says(&command.args(more).output().unwrap(), 2, &[words]);
    }
    assert!(!place.made());
}
