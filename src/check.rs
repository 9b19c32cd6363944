//! `vigie check`: everything `vigie run` will need, tried one by one, a line each.
//!
//! Nothing is changed and no mail is sent.

mod database;
mod kafka;
mod live;

use std::fmt::Write;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use crate::bundle::Bundle;
use crate::config::{Config, HttpConfig};
use crate::desk::notifier::canary::CanaryEvent;
use crate::desk::notifier::mail::Mailer;
use crate::desk::notifier::slack::Slack;
use crate::desk::notifier::webhook::Webhook;
use crate::engine::score::{OnnxModel, Runtime};
use crate::engine::token::TokenKey;

const DAY_MICROS: i64 = 86_400_000_000;

/// Tries everything that `vigie run` needs.
#[derive(Debug, Args)]
#[command(after_help = "Example: vigie check --config vigie.toml\n\n\
    Exit code: 0 when nothing fails, 1 when something fails that may pass later (a server is away), \
    2 when a setting or the schema must be changed first.")]
pub struct Check {
    /// As a JSON array.
    #[arg(long)]
    pub json: bool,
    /// Only ask the running process of these settings (http.listen) whether it is alive: exit code 0 or 1.
    #[arg(long, conflicts_with = "json")]
    pub live: bool,
}

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warn,
    /// It does not work now; the same settings may work later.
    Fail,
    /// It cannot work until somebody changes something.
    Wrong,
}

/// What was found out about one thing.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// How it stands.
    pub status: Status,
    /// What was looked at.
    pub name: &'static str,
    /// What was found.
    pub detail: String,
    /// What to do about it; empty when there is nothing to do.
    pub action: String,
}

/// All findings, in the order in which they were made.
#[derive(Debug, Default)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

/// `vigie check`: what it prints, and the exit code.
///
/// # Errors
/// None in practice: what fails is a finding.
pub async fn command(config: &Config, args: &Check) -> anyhow::Result<(String, u8)> {
    if args.live {
        let (said, alive) = live::ask(&config.http).await;
        return Ok((said + "\n", u8::from(!alive)));
    }
    let report = run(config).await;
    let text = if args.json {
        report.to_json()? + "\n"
    } else {
        report.render()
    };
    Ok((text, report.exit_code()))
}

/// Looks at everything; takes as long as the slowest server's time-out.
pub async fn run(config: &Config) -> Report {
    let mut report = Report::default();
    let stream = &config.stream;
    report.ok(
        "configuration",
        format!(
            "stream {}: topic {}, group {}",
            stream.id, stream.topic, stream.group
        ),
    );
    let bundle = report.bundle(config);
    report.token_key(config);
    report.retention(config, bundle.as_ref());
    let bound = database::look(&mut report, config).await;
    kafka::look(&mut report, config, bound).await;
    kafka::output(&mut report, config).await;
    report.mail(config).await;
    report.webhooks(config).await;
    report.canary(config);
    report.http(&config.http).await;
    report
}

impl Report {
    /// 0: nothing fails. 1: something is away. 2: something must be changed.
    pub fn exit_code(&self) -> u8 {
        let any = |status| self.findings.iter().any(|finding| finding.status == status);
        match (any(Status::Wrong), any(Status::Fail)) {
            (true, _) => 2,
            (false, true) => 1,
            (false, false) => 0,
        }
    }

    /// A line per finding: `ok|warn|FAIL  name  detail  -> what to do`.
    pub fn render(&self) -> String {
        let mut page = String::new();
        for finding in &self.findings {
            let word = match finding.status {
                Status::Ok => "ok",
                Status::Warn => "warn",
                Status::Fail | Status::Wrong => "FAIL",
            };
            // Writing to a String cannot fail.
            let _ = write!(page, "{word:<4}  {:<13}  {}", finding.name, finding.detail);
            if !finding.action.is_empty() {
                let _ = write!(page, "  -> {}", finding.action);
            }
            page.push('\n');
        }
        page
    }

    /// The findings as a JSON array.
    ///
    /// # Errors
    /// None in practice: every finding is text.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&self.findings)
    }

    fn ok(&mut self, name: &'static str, detail: impl Into<String>) {
        self.add(Status::Ok, name, detail, "");
    }

    fn warn(&mut self, name: &'static str, detail: impl Into<String>, action: impl Into<String>) {
        self.add(Status::Warn, name, detail, action);
    }

    fn fail(&mut self, name: &'static str, detail: impl Into<String>, action: impl Into<String>) {
        self.add(Status::Fail, name, detail, action);
    }

    fn wrong(&mut self, name: &'static str, detail: impl Into<String>, action: impl Into<String>) {
        self.add(Status::Wrong, name, detail, action);
    }

    fn add(
        &mut self,
        status: Status,
        name: &'static str,
        detail: impl Into<String>,
        action: impl Into<String>,
    ) {
        self.findings.push(Finding {
            status,
            name,
            detail: detail.into(),
            action: action.into(),
        });
    }

    /// The declaration, and the graph against it.
    fn bundle(&mut self, config: &Config) -> Option<Bundle> {
        let bundle = match Bundle::read(&config.stream.bundle) {
            Ok(bundle) => bundle,
            Err(problem) => {
                self.wrong(
                    "bundle",
                    problem.to_string(),
                    "stream.bundle names the bundle's folder",
                );
                return None;
            }
        };
        let what = format!(
            "{} {}, {} features",
            bundle.name,
            bundle.version,
            bundle.features.len()
        );
        self.ok("bundle", what);
        let library: &Path = &config.model.onnxruntime;
        if library.as_os_str().is_empty() {
            let action = "set model.onnxruntime to the path of libonnxruntime.so";
            self.wrong("model", "no ONNX runtime", action);
            return Some(bundle);
        }
        match Runtime::load(library).and_then(|runtime| OnnxModel::load(&runtime, &bundle)) {
            Ok(_) => self.ok(
                "model",
                format!("{} fits the bundle", bundle.model.display()),
            ),
            Err(problem) => self.wrong(
                "model",
                problem.to_string(),
                "check model.onnxruntime, or restore the bundle's files",
            ),
        }
        Some(bundle)
    }

    fn token_key(&mut self, config: &Config) {
        match TokenKey::new(config.tokens.key.reveal()) {
            Ok(_) => self.ok("token key", "present"),
            Err(problem) => self.wrong(
                "token key",
                problem.to_string(),
                "set tokens.key_file; `openssl rand -hex 32` makes a key for a new stream",
            ),
        }
    }

    /// Rows that a window still reads must not be dropped.
    fn retention(&mut self, config: &Config, bundle: Option<&Bundle>) {
        let Some(bundle) = bundle else {
            return;
        };
        let lateness = i64::try_from(config.events.lateness.as_micros()).unwrap_or(i64::MAX);
        let horizon = bundle.longest_window().saturating_add(lateness);
        let kept = i64::from(config.storage.retention_days).saturating_mul(DAY_MICROS);
        let days = |micros: i64| micros as f64 / DAY_MICROS as f64;
        let detail = format!(
            "{} days kept, {} needed (longest window plus lateness)",
            config.storage.retention_days,
            days(horizon)
        );
        if kept > horizon {
            self.ok("retention", detail);
        } else {
            self.wrong(
                "retention",
                detail,
                "raise storage.retention_days or lower events.lateness",
            );
        }
    }

    /// Greeting, encryption and login; no mail.
    async fn mail(&mut self, config: &Config) {
        let server = format!("{}:{}", config.mail.host, config.mail.port);
        match Mailer::new(config) {
            Err(problem) => self.wrong("mail", problem.to_string(), "change that setting"),
            Ok(None) if !config.slack.url.is_empty() || !config.webhook.url.is_empty() => {
                self.ok("mail", "off");
            }
            Ok(None) => self.warn(
                "mail",
                "off: alerts are gathered and nobody is told",
                "set mail.host, mail.from and mail.to, or slack.url_file, or webhook.url_file",
            ),
            Ok(Some(mailer)) => match mailer.probe().await {
                Ok(()) => self.ok("mail", format!("{server} lets us in")),
                Err(problem) => self.fail(
                    "mail",
                    format!("{server}: {problem}"),
                    "check mail.host, mail.port, mail.tls, mail.user, mail.password_file, mail.ca_file",
                ),
            },
        }
    }

    /// Connection and certificate; nothing is posted.
    async fn webhooks(&mut self, config: &Config) {
        match Slack::new(config) {
            Err(problem) => self.wrong("slack", problem.to_string(), "change that setting"),
            Ok(None) => {}
            Ok(Some(slack)) => self.webhook("slack", slack.probe().await),
        }
        match Webhook::new(config) {
            Err(problem) => self.wrong("webhook", problem.to_string(), "change that setting"),
            Ok(None) => {}
            Ok(Some(webhook)) => self.webhook("webhook", webhook.probe().await),
        }
    }

    fn webhook(&mut self, name: &'static str, probed: Result<(), String>) {
        match probed {
            Ok(()) => self.ok(name, "its server is reached; nothing was posted"),
            Err(problem) => self.fail(
                name,
                problem,
                format!("check {name}.url_file and webhook.ca_file"),
            ),
        }
    }

    /// Whether the stream would take a canary; none is sent.
    fn canary(&mut self, config: &Config) {
        let (every, account) = (config.canary.every, &config.canary.account);
        match CanaryEvent::of(config) {
            Ok(None) => self.ok("canary", "off"),
            Ok(Some(_)) => {
                let every = humantime::format_duration(every);
                self.ok("canary", format!("every {every}, account {account}"));
            }
            Err(problem) => self.wrong("canary", problem.to_string(), "change that setting"),
        }
    }

    async fn http(&mut self, config: &HttpConfig) {
        match crate::http::listen(config).await {
            Ok(None) => self.warn("http", "off: no health and no metrics", "set http.listen"),
            Ok(Some(pages)) => self.ok("http", format!("{} is free", pages.address())),
            Err(problem) => self.warn(
                "http",
                problem.to_string(),
                "fine if that is a running vigie",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides_the_exit_code() {
        let mut report = Report::default();
        report.ok("a", "");
        report.warn("b", "", "");
        assert_eq!(report.exit_code(), 0);
        report.fail("c", "", "");
        assert_eq!(report.exit_code(), 1);
        report.wrong("d", "", "");
        report.fail("e", "", "");
        assert_eq!(report.exit_code(), 2);
    }

    #[test]
    fn a_line_says_how_it_stands_and_what_to_do() {
        let mut report = Report::default();
        report.ok("bundle", "card 1");
        report.wrong("token key", "not set", "set tokens.key_file");
        assert_eq!(
            report.render(),
            "ok    bundle         card 1\nFAIL  token key      not set  -> set tokens.key_file\n"
        );
    }
}
