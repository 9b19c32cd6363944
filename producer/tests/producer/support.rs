//! What the tests share: a topic and a folder of their own, and what the topic holds.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant, SystemTime};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use vigie::config::{Config, KafkaConfig};
use vigie::kafka::admin::offsets;

/// Card payments of a public set.
pub const PAYMENTS: &str = "../models/card/payments.csv.zst";
pub const WAIT: Duration = Duration::from_secs(60);

pub fn brokers() -> String {
    std::env::var("VIGIE_KAFKA__BROKERS").expect("VIGIE_KAFKA__BROKERS: source .stack/NAME/env")
}

fn kafka() -> KafkaConfig {
    Config::load(None).unwrap().kafka
}

/// A topic's name and a folder that no other test and no other run has.
pub struct Place {
    pub topic: String,
    pub folder: PathBuf,
}

impl Place {
    pub fn new(name: &str) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let topic = format!("{name}-{}", now.unwrap().as_nanos());
        let folder = std::env::temp_dir().join(&topic);
        std::fs::create_dir(&folder).unwrap();
        Self { topic, folder }
    }

    /// A file of this content in the folder.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.folder.join(name);
        std::fs::write(&file, content).unwrap();
        file
    }

    pub fn command(&self, file: &Path, more: &[&str]) -> Command {
        let mut command = producer();
        command
            .arg("replay")
            .arg(file)
            .args(["--bundle", "../models/card", "--topic", &self.topic])
            .args(more);
        command
    }

    pub fn replay(&self, more: &[&str]) -> Output {
        self.command(Path::new(PAYMENTS), more).output().unwrap()
    }

    /// The ledger's path, and the option that asks for it.
    pub fn ledger(&self) -> String {
        format!("--ledger={}/ledger.tsv", self.folder.display())
    }

    pub fn ledger_lines(&self) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(self.folder.join("ledger.tsv")).unwrap();
        let columns = |line: &str| line.split('\t').map(str::to_owned).collect();
        text.lines().map(columns).collect()
    }

    pub fn stored(&self) -> i64 {
        // The topic may not be made yet.
        let ranges = offsets(&kafka(), &self.topic, 8, WAIT);
        ranges.map_or(0, |ranges| ranges.iter().map(|range| range.latest).sum())
    }

    /// Whether the topic is there.
    pub fn made(&self) -> bool {
        offsets(&kafka(), &self.topic, 8, WAIT).is_ok()
    }

    /// Everything in the topic, per partition in its order.
    pub fn content(&self) -> Vec<Sent> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers())
            .set("group.id", "unused")
            .create()
            .unwrap();
        let mut partitions = TopicPartitionList::new();
        for partition in 0..8 {
            partitions
                .add_partition_offset(&self.topic, partition, Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&partitions).unwrap();
        let (wanted, deadline) = (self.stored() as usize, Instant::now() + WAIT);
        let mut content = Vec::new();
        while content.len() < wanted && Instant::now() < deadline {
            if let Some(record) = consumer.poll(Duration::from_millis(100)) {
                let record = record.unwrap();
                content.push(Sent {
                    position: (record.partition(), record.offset()),
                    key: String::from_utf8(record.key().unwrap().to_vec()).unwrap(),
                    timestamp: record.timestamp().to_millis().unwrap(),
                    headers: headers(&record),
                    event: serde_json::from_slice(record.payload().unwrap()).unwrap(),
                });
            }
        }
        assert_eq!(content.len(), wanted);
        content.sort_by_key(|sent| sent.position);
        content
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub struct Sent {
    pub position: (i32, i64),
    pub key: String,
    pub timestamp: i64,
    /// Names and values of its headers.
    pub headers: Vec<(String, String)>,
    pub event: Value,
}

impl Sent {
    pub fn text(&self, column: &str) -> &str {
        self.event[column].as_str().unwrap()
    }
}

fn headers(record: &BorrowedMessage<'_>) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    record.headers().map_or_else(Vec::new, |headers| {
        let pair = |header: Header<'_, &[u8]>| (header.key.into(), text(header.value.unwrap()));
        headers.iter().map(pair).collect()
    })
}

/// The binary under test.
pub fn producer() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vigie-producer"))
}

/// Waits until it is so; fails when it never is.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// A process that does not outlive its test.
pub struct Running(Child);

impl Running {
    pub fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// Asks it to end, and its exit code.
    pub fn terminated(mut self) -> Option<i32> {
        let killed = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status();
        assert!(killed.unwrap().success());
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn millis_now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_millis() as i64
}

pub fn says(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} in {said}");
    }
}
