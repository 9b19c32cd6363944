//! The real `vigie` as a child process, with a schema, a topic and a group of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::Client;
use vigie::config::Config;

use super::topic::{self, Record};
use super::{database, eventually_within};

/// How long anything may take on a busy machine.
pub const LONG: Duration = Duration::from_secs(120);

/// A migrated schema and a topic that only one test uses.
pub struct Place {
    pub config: Config,
    pub topic: String,
}

/// What all partitions together have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    pub consumed: i64,
    pub scored: i64,
    pub dead: i64,
    pub duplicates: i64,
    pub skipped: i64,
}

impl Place {
    /// With a topic of this many partitions.
    pub async fn new(name: &str, partitions: i32) -> Self {
        let topic = topic::unused(name);
        topic::make(&topic, partitions).await;
        Self {
            config: database::migrated().await,
            topic,
        }
    }

    /// The same topic and a fresh schema: for a second clean pass.
    pub async fn again(&self) -> Self {
        Self {
            config: database::migrated().await,
            topic: self.topic.clone(),
        }
    }

    /// A verb of `vigie` with this place's settings.
    pub fn command(&self, verb: &[&str]) -> Command {
        let schema = &self.config.database.schema;
        let mut command = command(verb);
        command
            .env("VIGIE_DATABASE__SCHEMA", schema)
            .env("VIGIE_STREAM__TOPIC", &self.topic)
            .env("VIGIE_STREAM__GROUP", format!("{}-{schema}", self.topic));
        command
    }

    /// `vigie run` with these variables over the place's.
    pub fn run(&self, variables: &[(&str, &str)]) -> Vigie {
        let mut command = self.command(&["run"]);
        command.envs(variables.iter().copied());
        Vigie::start(command)
    }

    /// Sends records to the topic; their offsets.
    pub async fn send(&self, records: &[Record]) -> Vec<i64> {
        topic::send(&self.topic, records).await
    }

    /// A session for looking.
    pub async fn look(&self) -> Client {
        database::writer(&self.config).await
    }
}

/// A verb of `vigie` against the stack whose variables are set: pages on any port; no mail, no
/// canary and no report unless a test asks for them.
pub fn command(verb: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vigie"));
    command
        .args(verb)
        .env("VIGIE_MAIL__HOST", "")
        .env("VIGIE_CANARY__EVERY", "0s")
        .env("VIGIE_REPORT__AT", "")
        .env("VIGIE_INCIDENTS__GATHER", "200ms")
        .env("VIGIE_HTTP__LISTEN", "127.0.0.1:0")
        .env("VIGIE_STREAM__LANES", "2");
    command
}

/// Sums over the stream's partitions.
pub async fn totals(client: &Client) -> Totals {
    let row = client
        .query_one(
            "SELECT coalesce(sum(next_offset - first_offset), 0)::bigint, \
                    coalesce(sum(scored), 0)::bigint, coalesce(sum(dead), 0)::bigint, \
                    coalesce(sum(duplicates), 0)::bigint, coalesce(sum(skipped), 0)::bigint \
             FROM stream_offsets",
            &[],
        )
        .await
        .unwrap();
    Totals {
        consumed: row.get(0),
        scored: row.get(1),
        dead: row.get(2),
        duplicates: row.get(3),
        skipped: row.get(4),
    }
}

/// Waits until this many offsets are behind the stream, and says what became of them.
pub async fn consumed(client: &Client, offsets: i64) -> Totals {
    eventually_within(LONG, "the records are consumed", || async {
        let totals = totals(client).await;
        (totals.consumed >= offsets).then_some(totals)
    })
    .await
}

/// A running `vigie`; ends with the test, however that ends.
pub struct Vigie {
    child: Child,
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Vigie {
    /// Starts it and listens to what it says.
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let reader = std::thread::spawn({
            let said = Arc::clone(&said);
            move || {
                let mut line = Vec::new();
                while lines
                    .read_until(b'\n', &mut line)
                    .is_ok_and(|read| read > 0)
                {
                    said.lock()
                        .unwrap()
                        .push_str(&String::from_utf8_lossy(&line));
                    line.clear();
                }
            }
        });
        Self {
            child,
            said,
            reader: Some(reader),
        }
    }

    /// Everything on standard error so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// How often it said this.
    pub fn times_said(&self, words: &str) -> usize {
        self.said().matches(words).count()
    }

    /// Waits until it says this.
    pub async fn until_it_says(&self, words: &str) {
        let what = format!("it says {words:?}");
        eventually_within(LONG, &what, || async {
            self.said().contains(words).then_some(())
        })
        .await;
    }

    /// Status and body of one of its pages.
    pub async fn page(&self, path: &str) -> (u16, String) {
        let address = eventually_within(LONG, "it says where its pages are", || async {
            let said = self.said();
            let (_, rest) = said.split_once("pages listen on ")?;
            Some(rest.split_once('\n')?.0.trim().to_owned())
        })
        .await;
        let mut socket = TcpStream::connect(&address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        (answer[9..12].parse().unwrap(), body)
    }

    /// Waits until this page answers so.
    pub async fn until_page<F: Fn(u16, &str) -> bool>(&self, path: &str, fits: F) -> String {
        eventually_within(LONG, &format!("{path} answers as expected"), || async {
            let (status, body) = self.page(path).await;
            fits(status, &body).then_some(body)
        })
        .await
    }

    /// Most memory it ever had, in MiB.
    pub fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() / 1024
    }

    /// Stops it in mid-air, as a machine that is out of breath does, until it is thawed.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Ends it without warning.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and how it ended; it must within `within`.
    pub async fn stopped(&mut self, within: Duration) -> ExitStatus {
        self.terminate();
        self.ended(within).await
    }

    /// How it ended; it must within `within`.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < within, "still running after {within:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Vigie {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("--- the last words of vigie ---\n{last}\n---");
        }
    }
}
