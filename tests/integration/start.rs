//! What `vigie` says when it cannot start, and what it waits for when it must.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::support::database;
use super::support::event::{Event, account, recently};
use super::support::proxy::{Proxy, Way};
use super::support::topic::{self, Record};
use super::support::vigie::{Place, Vigie, command, consumed};

/// How long a process may take to stop once it is asked to.
const PROMPT: Duration = Duration::from_secs(10);

/// It must end by itself with exit code 2, and its last words must be one message in which all of
/// these stand.
fn refuses(mut command: Command, words: &[&str]) {
    let Output { status, stderr, .. } = command.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_calm(&said);
    assert_eq!(said.matches("vigie: ").count(), 1, "{said}");
    let sentence = &said[said.find("vigie: ").unwrap()..];
    for word in words {
        assert!(sentence.contains(word), "{word:?} is not in: {sentence}");
    }
    assert_eq!(status.code(), Some(2), "{said}");
}

fn assert_calm(said: &str) {
    let lower = said.to_lowercase();
    assert!(
        !lower.contains("panicked") && !lower.contains("backtrace"),
        "{said}"
    );
}

/// `vigie run` with one variable that is not as it should be.
fn run_with(name: &str, value: &str) -> Command {
    let mut command = command(&["run"]);
    command.env(name, value);
    command
}

/// A folder that only one test uses; removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(topic::unused(name));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// With a copy of the `card` bundle in it.
    fn with_bundle(name: &str) -> Self {
        let folder = Self::new(name);
        for file in ["bundle.toml", "model.onnx", "golden.jsonl"] {
            std::fs::copy(Path::new("models/card").join(file), folder.0.join(file)).unwrap();
        }
        folder
    }

    fn write(&self, file: &str, text: &str) -> String {
        let path = self.0.join(file);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_setting_that_does_not_exist_is_named_with_the_nearest_that_does() {
    refuses(
        run_with("VIGIE_STREAM__TOPICS", "payments"),
        &[
            "stream.topics",
            "VIGIE_STREAM__TOPICS",
            "did you mean `stream.topic`?",
        ],
    );
    let folder = Folder::new("settings");
    let file = folder.write("vigie.toml", "[kafka]\nbroker = \"127.0.0.1:9092\"\n");
    refuses(
        command(&["run", "--config", &file]),
        &["kafka.broker", &file, "did you mean `kafka.brokers`?"],
    );
    let missing = folder.0.join("missing.toml");
    let missing = missing.to_str().unwrap();
    refuses(
        command(&["run", "--config", missing]),
        &["cannot read", missing],
    );
    let broken = folder.write("broken.toml", "[kafka]\n\n[database]\npassword = hunter2\n");
    let said = command(&["run", "--config", &broken])
        .output()
        .unwrap()
        .stderr;
    assert!(!String::from_utf8_lossy(&said).contains("hunter2"));
    refuses(command(&["run", "--config", &broken]), &[&broken, "line 4"]);
    let number = folder.write("number.toml", "[database]\npassword = 4711\n");
    let said = command(&["run", "--config", &number])
        .output()
        .unwrap()
        .stderr;
    assert!(!String::from_utf8_lossy(&said).contains("4711"));
    refuses(
        command(&["run", "--config", &number]),
        &[&number, "database.password", "a string"],
    );
}

#[test]
fn a_value_of_the_wrong_kind_names_its_setting() {
    for (name, value, words) in [
        ("VIGIE_STREAM__LANES", "many", "stream.lanes"),
        ("VIGIE_STREAM__LANES", "0", "stream.lanes"),
        ("VIGIE_STREAM__BATCH_WAIT", "soon", "stream.batch_wait"),
        ("VIGIE_STREAM__KEY_CHECK", "maybe", "stream.key_check"),
        ("VIGIE_DATABASE__PORT", "99999", "database.port"),
        ("VIGIE_DATABASE__SCHEMA", "a; DROP", "database.schema"),
        (
            "VIGIE_DATABASE__PASSWORD_FILE",
            "/nowhere/at/all",
            "database.password_file",
        ),
        (
            "VIGIE_EVENTS__BUSINESS_ZONE",
            "Mars/Olympus",
            "events.business_zone",
        ),
        ("VIGIE_EVENTS__FIRST_DAY", "yesterday", "events.first_day"),
        (
            "VIGIE_STORAGE__RETENTION_DAYS",
            "36",
            "storage.retention_days",
        ),
        ("VIGIE_LOG__FILTER", "a=b=c", "log.filter"),
        ("VIGIE_HTTP__LISTEN", "nonsense", "http.listen"),
    ] {
        refuses(run_with(name, value), &[words]);
    }
    refuses(
        run_with("VIGIE_STREAM__LANES", "many"),
        &["VIGIE_STREAM__LANES", "many"],
    );
}

#[test]
fn a_bundle_that_is_missing_or_broken_is_named() {
    refuses(
        run_with("VIGIE_STREAM__BUNDLE", "/nowhere/at/all"),
        &["/nowhere/at/all/bundle.toml"],
    );
    let folder = Folder::with_bundle("bundle");
    let run = || run_with("VIGIE_STREAM__BUNDLE", folder.path());
    let whole = std::fs::read_to_string("models/card/bundle.toml").unwrap();
    let file = folder.write("bundle.toml", &whole.replacen("[roles]", "[roles", 1));
    refuses(run(), &[&file]);
    folder.write(
        "bundle.toml",
        &whole.replacen("id = \"trans_num\"", "id = \"nothing\"", 1),
    );
    refuses(run(), &[&file, "nothing"]);
    folder.write(
        "bundle.toml",
        &whole.replacen("name = \"age\"", "name = \"years\"", 1),
    );
    refuses(run(), &["model.onnx", "age", "no [[feature]]"]);
    folder.write("bundle.toml", &whole);
    folder.write("model.onnx", "no graph at all");
    refuses(run(), &["model.onnx"]);
    std::fs::remove_file(folder.0.join("model.onnx")).unwrap();
    refuses(run(), &["model.onnx", "no such file"]);
}

#[test]
fn golden_rows_that_do_not_come_out_equal_are_named_by_file_line_and_feature() {
    let folder = Folder::with_bundle("golden");
    let run = || run_with("VIGIE_STREAM__BUNDLE", folder.path());
    let golden = std::fs::read_to_string("models/card/golden.jsonl").unwrap();
    let first = golden.lines().next().unwrap();
    let wrong = first.replacen("\"count_30d\":0", "\"count_30d\":1", 1);
    assert_ne!(wrong, first);
    let file = folder.write("golden.jsonl", &golden.replacen(first, &wrong, 1));
    refuses(
        run(),
        &[&file, "line 1", "count_30d", "expected 1", "found 0"],
    );
    let (features, _) = first.rsplit_once("\"score\":").unwrap();
    let wrong = format!("{features}\"score\":0.5}}");
    folder.write("golden.jsonl", &golden.replacen(first, &wrong, 1));
    refuses(run(), &[&file, "line 1", "score", "expected 0.5"]);
    folder.write("golden.jsonl", "");
    refuses(run(), &[&file]);
    folder.write("golden.jsonl", "{}\n");
    refuses(run(), &[&file, "line 1"]);
}

#[test]
fn a_run_time_that_cannot_be_loaded_names_its_setting() {
    let setting = "VIGIE_MODEL__ONNXRUNTIME";
    refuses(run_with(setting, ""), &["model.onnxruntime"]);
    refuses(
        run_with(setting, "/nowhere/libonnxruntime.so"),
        &["model.onnxruntime", "/nowhere"],
    );
    let folder = Folder::new("library");
    let file = folder.write("libonnxruntime.so", "no library");
    refuses(run_with(setting, &file), &["model.onnxruntime", &file]);
}

#[test]
fn a_token_key_that_is_missing_or_short_names_its_settings() {
    let mut none = command(&["run"]);
    none.env("VIGIE_TOKENS__KEY_FILE", "");
    refuses(none, &["tokens.key", "tokens.key_file"]);
    let mut short = command(&["run"]);
    short
        .env("VIGIE_TOKENS__KEY_FILE", "")
        .env("VIGIE_TOKENS__KEY", "hunter2");
    let said = short.output().unwrap().stderr;
    assert!(!String::from_utf8_lossy(&said).contains("hunter2"));
    refuses(short, &["tokens.key", "32 bytes"]);
}

#[test]
fn a_port_that_is_taken_names_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refuses(
        run_with("VIGIE_HTTP__LISTEN", &address),
        &["http.listen", &address, "taken"],
    );
    refuses(
        run_with("VIGIE_HTTP__LISTEN", "0.0.0.0:0"),
        &["http.listen", "metrics_token"],
    );
}

#[tokio::test]
async fn a_database_that_refuses_is_told_apart_by_what_to_change() {
    let place = Place::new("refused", 1).await;
    let with = |name: &str, value: &str| {
        let mut command = place.command(&["run"]);
        command.env(name, value);
        command
    };
    let mut wrong = with("VIGIE_DATABASE__PASSWORD", "wrong-password");
    wrong.env("VIGIE_DATABASE__PASSWORD_FILE", "");
    let said = wrong.output().unwrap().stderr;
    assert!(!String::from_utf8_lossy(&said).contains("wrong-password"));
    refuses(wrong, &["vigie_writer", "database.password"]);
    let mut none = with("VIGIE_DATABASE__PASSWORD_FILE", "");
    none.env("VIGIE_DATABASE__PASSWORD", "");
    refuses(none, &["database.password"]);
    refuses(
        with("VIGIE_DATABASE__USER", "nobody_at_all"),
        &["nobody_at_all", "database.user"],
    );
    refuses(
        with("VIGIE_DATABASE__NAME", "nowhere"),
        &["nowhere", "database.name"],
    );
    let unmigrated = database::config().database.schema;
    refuses(
        with("VIGIE_DATABASE__SCHEMA", &unmigrated),
        &[&unmigrated, "vigie migrate"],
    );
    let mut migrate = place.command(&["migrate"]);
    migrate
        .env("VIGIE_MIGRATE__PASSWORD_FILE", "")
        .env("VIGIE_MIGRATE__PASSWORD", "wrong");
    refuses(migrate, &["vigie_migrator", "migrate.password"]);
}

#[tokio::test]
async fn a_schema_that_is_behind_names_the_command_that_mends_it() {
    let place = Place::new("behind", 1).await;
    let owner = database::owner(&place.config).await;
    let last = "DELETE FROM schema_migrations \
                WHERE version = (SELECT max(version) FROM schema_migrations)";
    assert_eq!(owner.execute(last, &[]).await.unwrap(), 1);
    let schema = &place.config.database.schema;
    refuses(place.command(&["run"]), &[schema, "vigie migrate"]);
}

#[tokio::test]
async fn a_stream_number_keeps_its_topic_group_and_token_key() {
    let place = Place::new("bound", 2).await;
    let mut vigie = place.run(&[]);
    vigie.until_page("/readyz", |status, _| status == 200).await;
    assert_eq!(vigie.stopped(PROMPT).await.code(), Some(0));
    let with = |name: &str, value: &str| {
        let mut command = place.command(&["run"]);
        command.env(name, value);
        command
    };
    let other = topic::unused("other");
    topic::make(&other, 2).await;
    refuses(
        with("VIGIE_STREAM__TOPIC", &other),
        &["stream 1", &other, &place.topic, "stream.topic"],
    );
    refuses(
        with("VIGIE_STREAM__GROUP", "another"),
        &["stream 1", "another", "stream.group"],
    );
    let mut key = with("VIGIE_TOKENS__KEY_FILE", "");
    key.env("VIGIE_TOKENS__KEY", "k".repeat(32));
    refuses(key, &["stream 1", "tokens.key"]);
    refuses(
        with("VIGIE_EVENTS__BUSINESS_ZONE", "Europe/Paris"),
        &["stream 1", "events.business_zone"],
    );
}

#[tokio::test]
async fn kafka_away_at_start_is_waited_for_and_named_until_it_is_there() {
    let place = Place::new("no-kafka", 1).await;
    let way = Proxy::to(&topic::brokers());
    way.set(Way::Cut);
    let brokers = format!("127.0.0.1:{}", way.port());
    place.send(&[a_payment()]).await;
    let mut vigie = place.run(&[("VIGIE_KAFKA__BROKERS", &brokers)]);
    vigie.until_it_says("waiting for Kafka").await;
    let said = vigie.said();
    assert!(
        said.contains("kafka.brokers") && said.contains(&brokers),
        "{said}"
    );
    assert_eq!(vigie.page("/readyz").await.0, 503);
    assert_eq!(vigie.page("/livez").await.0, 200);
    way.set(Way::Open);
    consumed(&place.look().await, 1).await;
    vigie.until_page("/readyz", |status, _| status == 200).await;
    ended_well(&mut vigie).await;
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_waited_for_and_named_until_it_is() {
    let place = Place::new("no-topic", 1).await;
    let later = topic::unused("later");
    let mut vigie = place.run(&[("VIGIE_STREAM__TOPIC", &later)]);
    vigie.until_it_says("waiting for Kafka").await;
    let said = vigie.said();
    assert!(
        said.contains("stream.topic") && said.contains(&later),
        "{said}"
    );
    topic::make(&later, 1).await;
    topic::send(&later, &[a_payment()]).await;
    consumed(&place.look().await, 1).await;
    ended_well(&mut vigie).await;
}

#[tokio::test]
async fn postgresql_away_at_start_is_waited_for_and_named_until_it_is_there() {
    for away in [Way::Cut, Way::Stalled] {
        let place = Place::new("no-postgres", 1).await;
        place.send(&[a_payment()]).await;
        let database = &place.config.database;
        let way = Proxy::to(&format!("{}:{}", database.host, database.port));
        way.set(away);
        let mut vigie = place.run(&[("VIGIE_DATABASE__PORT", &way.port().to_string())]);
        vigie.until_it_says("waiting for PostgreSQL").await;
        let said = vigie.said();
        assert!(
            said.contains("database.host") && said.contains("database.port"),
            "{said}"
        );
        way.set(Way::Open);
        consumed(&place.look().await, 1).await;
        ended_well(&mut vigie).await;
    }
}

#[tokio::test]
async fn a_process_that_still_waits_at_start_stops_when_it_is_asked_to() {
    let place = Place::new("waits", 1).await;
    let kafka = Proxy::to(&topic::brokers());
    let database = &place.config.database;
    let postgres = Proxy::to(&format!("{}:{}", database.host, database.port));
    let brokers = format!("127.0.0.1:{}", kafka.port());
    for away in [Way::Cut, Way::Stalled] {
        kafka.set(away);
        let before = kafka.visitors();
        let mut vigie = place.run(&[("VIGIE_KAFKA__BROKERS", &brokers)]);
        kafka.visited_since(before).await;
        ended_well(&mut vigie).await;
        postgres.set(away);
        let before = postgres.visitors();
        let mut vigie = place.run(&[("VIGIE_DATABASE__PORT", &postgres.port().to_string())]);
        postgres.visited_since(before).await;
        ended_well(&mut vigie).await;
    }
}

fn a_payment() -> Record {
    Record::payment(0, &Event::new("first", &account(1), recently()))
}

async fn ended_well(vigie: &mut Vigie) {
    let status = vigie.stopped(PROMPT).await;
    assert_eq!(status.code(), Some(0), "{}", vigie.said());
    assert_calm(&vigie.said());
}
