//! A mail server of one's own: a real process that keeps mails as files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use vigie::config::{MailConfig, MailTls};

use super::eventually;

static SINKS: AtomicU32 = AtomicU32::new(0);

/// A running sink; it ends, and its mails go, when it is dropped.
pub struct Sink {
    process: Child,
    folder: PathBuf,
    port: u16,
}

impl Sink {
    /// A sink in the clear that asks for no login.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A sink with more of its own arguments.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let number = SINKS.fetch_add(1, Ordering::Relaxed);
        let name = format!("vigie-sink-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let process = Command::new(stack("VIGIE_STACK_PYTHON"))
            .arg(stack("VIGIE_STACK_SMTP_SINK"))
            .args(["--dir".as_ref(), folder.join("mails").as_os_str()])
            .args(["--mode-file".as_ref(), folder.join("mode").as_os_str()])
            .args(["--port-file".as_ref(), folder.join("port").as_os_str()])
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let port = eventually("the sink listens", async || {
            let text = std::fs::read_to_string(folder.join("port")).ok()?;
            text.trim().parse().ok()
        })
        .await;
        Self {
            process,
            folder,
            port,
        }
    }

    /// One that speaks TLS with the stack's certificate.
    pub async fn start_with_tls(kind: &str, arguments: &[&str]) -> Self {
        let folder = PathBuf::from(stack("VIGIE_STACK_TLS"));
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        let mut all = vec!["--tls", kind];
        all.extend(["--cert", cert.to_str().unwrap()]);
        all.extend(["--key", key.to_str().unwrap()]);
        all.extend(arguments);
        Self::start_with(&all).await
    }

    /// From now on it behaves like this: `accept`, `refuse`, `stall` or another of its modes.
    pub fn behave(&self, mode: &str) {
        let unfinished = self.folder.join("mode.part");
        std::fs::write(&unfinished, mode).unwrap();
        std::fs::rename(unfinished, self.folder.join("mode")).unwrap();
    }

    /// Settings that send here, in the clear, quickly.
    pub fn settings(&self) -> MailConfig {
        MailConfig {
            host: "127.0.0.1".into(),
            port: self.port,
            tls: MailTls::Plain,
            ca_file: PathBuf::new(),
            user: String::new(),
            password: Default::default(),
            password_file: PathBuf::new(),
            from: "Vigie <vigie@fraud.example.org>".into(),
            to: "oncall@example.org, second@example.org".into(),
            timeout: Duration::from_secs(1),
        }
    }

    /// Every mail so far, as it came, the oldest first.
    pub fn mails(&self) -> Vec<String> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.folder.join("mails"))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "eml"))
            .collect();
        files.sort();
        let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
        files.iter().map(read).collect()
    }

    /// Waits for that many mails.
    pub async fn wait_for(&self, mails: usize) -> Vec<String> {
        eventually(&format!("{mails} mails"), async || {
            Some(self.mails()).filter(|kept| kept.len() >= mails)
        })
        .await
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // A sink that has ended by itself is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The certificate authority that signed the sink's certificate.
pub fn authority() -> PathBuf {
    Path::new(&stack("VIGIE_STACK_TLS")).join("ca.pem")
}

/// The header's value, unfolded.
pub fn header(mail: &str, name: &str) -> String {
    let head = mail.split("\r\n\r\n").next().unwrap();
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let prefix = format!("{name}: ");
    let mut lines = unfolded.lines();
    let line = lines.find_map(|line| line.strip_prefix(prefix.as_str()));
    line.unwrap_or_else(|| panic!("no {name} in\n{head}"))
        .to_owned()
}

/// How many different messages these mails are: a repeat has the same id.
pub fn different(mails: &[String]) -> usize {
    let ids: BTreeSet<String> = mails
        .iter()
        .map(|mail| header(mail, "Message-ID"))
        .collect();
    ids.len()
}

/// A variable of the stack.
pub fn stack(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable}: source .stack/NAME/env"))
}
