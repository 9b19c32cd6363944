//! Who may name whom.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::names::{Segments, code, paths};
use crate::root;

/// What the engine may not know: runtimes, services, metrics, logging.
const NOT_IN_THE_ENGINE: [&str; 11] = [
    "axum",
    "deadpool_postgres",
    "futures_util",
    "lettre",
    "metrics",
    "metrics_exporter_prometheus",
    "rdkafka",
    "tokio",
    "tokio_postgres",
    "tracing",
    "tracing_subscriber",
];
/// What of this crate the engine may know.
const BELOW_THE_ENGINE: [&str; 3] = ["bundle", "config", "engine"];
const CLOCKS: [&str; 2] = ["Instant", "SystemTime"];
const FLOORS: [&str; 3] = ["desk", "lab", "stream"];
const MAIN_LINES: usize = 300;

/// Everything a source file names that its room may not.
fn offences(file: &str, text: &str) -> Vec<String> {
    let names = paths(file, &code(text));
    let mut found = BTreeSet::new();
    for name in &names {
        for reason in reasons_against(file, name) {
            found.insert(format!("{file} names {}: {reason}", name.join("::")));
        }
    }
    if file == "src/main.rs" && text.lines().count() > MAIN_LINES {
        found.insert(format!("{file} is thin, at most {MAIN_LINES} lines"));
    }
    found.into_iter().collect()
}

fn reasons_against(file: &str, name: &Segments) -> Vec<&'static str> {
    let first = name.first().map_or("", String::as_str);
    let is_path = name.len() > 1;
    let own = (first == "crate" || first == "vigie") && is_path;
    let mut reasons = Vec::new();
    if is_pure(file) {
        if is_path && NOT_IN_THE_ENGINE.contains(&first) {
            reasons.push("the engine knows no runtime, service, metrics or logging");
        }
        if name
            .iter()
            .any(|segment| CLOCKS.contains(&segment.as_str()))
        {
            reasons.push("time is an argument of the engine");
        }
        if is_path && name.last().is_some_and(|last| last == "now") {
            reasons.push("time is an argument of the engine");
        }
    }
    if own && is_room(file, "engine") && !BELOW_THE_ENGINE.contains(&name[1].as_str()) {
        reasons.push("the engine stands on the bundle and the settings alone");
    }
    for floor in FLOORS {
        if own && is_room(file, floor) && name[1] != floor && FLOORS.contains(&name[1].as_str()) {
            reasons.push("stream, desk and lab never import each other");
        }
    }
    if is_path && first == "ort" && file != "src/engine/score/onnx.rs" {
        reasons.push("only src/engine/score/onnx.rs knows the ONNX runtime");
    }
    if is_path && first == "rdkafka" && !is_room(file, "kafka") {
        reasons.push("only src/kafka knows the Kafka library");
    }
    reasons
}

/// The engine, and the bookkeeping of partitions that a simulation drives as well.
fn is_pure(file: &str) -> bool {
    is_room(file, "engine") || file == "src/stream/ownership.rs"
}

/// `src/room.rs` and everything below `src/room/`.
fn is_room(file: &str, room: &str) -> bool {
    let inside = file
        .strip_prefix("src/")
        .and_then(|rest| rest.strip_prefix(room));
    inside.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs")
            && !path.ends_with("tests.rs")
        {
            found.push(path);
        }
    }
}

#[test]
fn every_room_names_only_what_it_may() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    assert!(
        files
            .iter()
            .any(|file| file.ends_with("src/engine/decode.rs"))
    );
    let mut found = Vec::new();
    for path in files {
        let file = path
            .strip_prefix(root())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        found.extend(offences(&file, &std::fs::read_to_string(&path).unwrap()));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_forbidden_name_is_found_however_it_is_written() {
    for (file, text) in [
        (
            "src/engine/policy.rs",
            "use std::time::{Duration, Instant};",
        ),
        (
            "src/engine/policy.rs",
            "fn f() { let t = std::time::SystemTime::now(); }",
        ),
        (
            "src/engine/policy.rs",
            "fn f() -> i64 { jiff::Timestamp::now().as_second() }",
        ),
        ("src/engine.rs", "fn f() { tracing::info!(\"hello\"); }"),
        ("src/engine.rs", "use {std::fmt, metrics::counter};"),
        ("src/engine.rs", "use tokio;"),
        ("src/engine/score.rs", "use ort::session::Session;"),
        ("src/engine/decode.rs", "use crate::stream::store::Store;"),
        ("src/engine/decode.rs", "use super::super::kafka;"),
        ("src/stream/ownership.rs", "use tokio_postgres::Client;"),
        (
            "src/stream/lanes.rs",
            "use crate::{config::Config, desk::{notifier, x}};",
        ),
        (
            "src/lab/features.rs",
            "fn f() { super::super::stream::run() }",
        ),
        ("src/desk.rs", "pub use crate::lab::reconcile;"),
        (
            "src/stream/source.rs",
            "use rdkafka::consumer::BaseConsumer as Base;",
        ),
        ("producer/src/main.rs", "fn f(c: rdkafka::ClientConfig) {}"),
    ] {
        assert!(!offences(file, text).is_empty(), "{file}: {text}");
    }
    assert_eq!(
        offences("src/main.rs", &"\n".repeat(MAIN_LINES + 1)).len(),
        1
    );
}

#[test]
fn comments_texts_tests_and_permitted_names_are_no_offence() {
    for (file, text) in [
        (
            "src/engine.rs",
            "//! Not [`crate::stream`], nor std::time::Instant.\n/* tokio::spawn */",
        ),
        (
            "src/engine.rs",
            "fn f() -> &'static str { \"tokio::spawn \\\" Instant\" }",
        ),
        (
            "src/engine.rs",
            "const A: char = '\"'; const B: &str = r#\"rdkafka::x\"#;",
        ),
        (
            "src/engine.rs",
            "#[cfg(test)]\nmod tests { use std::time::Instant; fn f() {} }\nfn g() {}",
        ),
        (
            "src/engine/decode.rs",
            "use super::batch::Records; use crate::bundle::Schema;",
        ),
        ("src/engine/score/onnx.rs", "use ort::session::Session;"),
        ("src/kafka/admin.rs", "use rdkafka::admin::AdminClient;"),
        (
            "src/stream/watch.rs",
            "use std::time::Instant; use crate::metrics;",
        ),
        (
            "src/stream.rs",
            "mod store; use store::Store; use crate::engine::Engine;",
        ),
    ] {
        assert_eq!(offences(file, text), Vec::<String>::new(), "{text}");
    }
}
