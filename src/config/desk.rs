//! Settings of what people are told: incidents, channels, canary, report.

use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Time;
use serde::Deserialize;

use super::layers::{clock, duration, fraction, number};
use super::{Config, ConfigError, Secret};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// How alerts become incidents, and incidents messages.
#[derive(Debug, Clone, Deserialize)]
pub struct IncidentsConfig {
    /// `VIGIE_INCIDENTS__GROUP_BY`
    pub group_by: GroupBy,
    /// `VIGIE_INCIDENTS__GATHER`
    #[serde(deserialize_with = "duration")]
    pub gather: Duration,
    /// `VIGIE_INCIDENTS__COOLDOWN`
    #[serde(deserialize_with = "duration")]
    pub cooldown: Duration,
    /// `VIGIE_INCIDENTS__QUIET`
    #[serde(deserialize_with = "duration")]
    pub quiet: Duration,
    /// `VIGIE_INCIDENTS__HOURLY_CAP`
    #[serde(deserialize_with = "number")]
    pub hourly_cap: u32,
    /// `VIGIE_INCIDENTS__CRITICAL_SCORE`
    #[serde(deserialize_with = "fraction")]
    pub critical_score: f64,
    /// `VIGIE_INCIDENTS__CRITICAL_AMOUNT`
    #[serde(deserialize_with = "number")]
    pub critical_amount: u64,
    /// `VIGIE_INCIDENTS__DEAD_LETTER_SHARE`
    #[serde(deserialize_with = "fraction")]
    pub dead_letter_share: f64,
    /// `VIGIE_INCIDENTS__SILENCE`
    #[serde(deserialize_with = "duration")]
    pub silence: Duration,
    /// `VIGIE_INCIDENTS__SCORE_PSI`
    #[serde(deserialize_with = "fraction")]
    pub score_psi: f64,
}

/// What alerts have in common that belong to one incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupBy {
    /// The account that pays.
    Account,
    /// The merchant that is paid.
    Merchant,
    /// What was decided, and why.
    Rule,
}

/// How on-call is reached.
#[derive(Debug, Clone, Deserialize)]
pub struct MailConfig {
    /// `VIGIE_MAIL__HOST`
    pub host: String,
    /// `VIGIE_MAIL__PORT`
    #[serde(deserialize_with = "number")]
    pub port: u16,
    /// `VIGIE_MAIL__TLS`
    pub tls: MailTls,
    /// `VIGIE_MAIL__CA_FILE`
    pub ca_file: PathBuf,
    /// `VIGIE_MAIL__USER`
    pub user: String,
    /// `VIGIE_MAIL__PASSWORD`
    pub password: Secret,
    /// `VIGIE_MAIL__PASSWORD_FILE`
    pub password_file: PathBuf,
    /// `VIGIE_MAIL__FROM`
    pub from: String,
    /// `VIGIE_MAIL__TO`
    pub to: String,
    /// `VIGIE_MAIL__TIMEOUT`
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
}

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// In the clear first, then upgraded; refused when the server cannot.
    Starttls,
    /// Encrypted from the first byte.
    Tls,
    /// In the clear.
    Plain,
}

/// A channel that speaks Slack's incoming webhooks.
#[derive(Debug, Clone, Deserialize)]
pub struct SlackConfig {
    /// `VIGIE_SLACK__URL`
    pub url: Secret,
    /// `VIGIE_SLACK__URL_FILE`
    pub url_file: PathBuf,
}

/// A channel for programs: signed JSON.
#[derive(Debug, Clone, Deserialize)]
pub struct WebhookConfig {
    /// `VIGIE_WEBHOOK__URL`
    pub url: Secret,
    /// `VIGIE_WEBHOOK__URL_FILE`
    pub url_file: PathBuf,
    /// `VIGIE_WEBHOOK__SECRET`
    pub secret: Secret,
    /// `VIGIE_WEBHOOK__SECRET_FILE`
    pub secret_file: PathBuf,
    /// `VIGIE_WEBHOOK__CA_FILE`
    pub ca_file: PathBuf,
    /// `VIGIE_WEBHOOK__TIMEOUT`
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
}

/// The synthetic payment that shows that the whole way works.
#[derive(Debug, Clone, Deserialize)]
pub struct CanaryConfig {
    /// `VIGIE_CANARY__EVERY`
    #[serde(deserialize_with = "duration")]
    pub every: Duration,
    /// `VIGIE_CANARY__ACCOUNT`
    pub account: String,
    /// `VIGIE_CANARY__TO`
    pub to: String,
}

/// The morning report.
#[derive(Debug, Clone, Deserialize)]
pub struct ReportConfig {
    /// `VIGIE_REPORT__AT`; `None` is never.
    #[serde(deserialize_with = "clock")]
    pub at: Option<Time>,
    /// `VIGIE_REPORT__TO`
    pub to: String,
    /// `VIGIE_REPORT__LABEL_DELAY`
    #[serde(deserialize_with = "duration")]
    pub label_delay: Duration,
}

/// Refuses what would keep on-call from hearing anything, or make no sense.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let Config {
        incidents,
        mail,
        webhook,
        canary,
        ..
    } = config;
    let is_share = |share: f64| share > 0.0 && share <= 1.0;
    let is_within =
        |span: Duration, least: Duration, most: Duration| (least..=most).contains(&span);
    let rules = [
        (
            "incidents.gather",
            incidents.gather <= incidents.cooldown,
            "expected at most incidents.cooldown",
        ),
        (
            "incidents.cooldown",
            incidents.cooldown <= DAY,
            "expected at most 1day: on-call would hear of nothing more",
        ),
        (
            "incidents.quiet",
            is_within(incidents.quiet, 60 * SECOND, 30 * DAY),
            "expected 1min to 30days",
        ),
        (
            "incidents.hourly_cap",
            incidents.hourly_cap >= 1,
            "expected at least 1: on-call would hear of nothing",
        ),
        (
            "incidents.critical_score",
            is_share(incidents.critical_score),
            "expected more than 0 and at most 1",
        ),
        (
            "incidents.dead_letter_share",
            is_share(incidents.dead_letter_share),
            "expected more than 0 and at most 1",
        ),
        (
            "incidents.silence",
            is_within(incidents.silence, 60 * SECOND, 3 * DAY),
            "expected 1min to 3days",
        ),
        (
            "incidents.score_psi",
            incidents.score_psi > 0.0,
            "expected more than 0",
        ),
        (
            "mail.timeout",
            mail.timeout >= SECOND,
            "expected at least 1s",
        ),
        (
            "webhook.timeout",
            webhook.timeout >= SECOND,
            "expected at least 1s",
        ),
        (
            "canary.every",
            canary.every.is_zero() || canary.every >= SECOND / 10,
            "expected 0s, which is never, or at least 100ms",
        ),
    ];
    match rules.into_iter().find(|(_, is_right, _)| !is_right) {
        Some((setting, _, problem)) => Err(ConfigError::Wrong {
            setting,
            problem: problem.into(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_keep_on_call_from_hearing_anything_is_refused_by_its_name() {
        type Change = fn(&mut Config);
        let wrongs: [(&str, Change); 18] = [
            ("incidents.gather", |c| {
                c.incidents.gather = c.incidents.cooldown + SECOND
            }),
            ("incidents.cooldown", |c| c.incidents.cooldown = 2 * DAY),
            ("incidents.quiet", |c| c.incidents.quiet = 59 * SECOND),
            ("incidents.quiet", |c| c.incidents.quiet = Duration::MAX),
            ("incidents.hourly_cap", |c| c.incidents.hourly_cap = 0),
            ("incidents.critical_score", |c| {
                c.incidents.critical_score = 0.0
            }),
            ("incidents.critical_score", |c| {
                c.incidents.critical_score = 95.0
            }),
            ("incidents.dead_letter_share", |c| {
                c.incidents.dead_letter_share = 0.0
            }),
            ("incidents.dead_letter_share", |c| {
                c.incidents.dead_letter_share = 5.0
            }),
            ("incidents.silence", |c| {
                c.incidents.silence = Duration::ZERO
            }),
            ("incidents.silence", |c| c.incidents.silence = 8 * DAY),
            ("incidents.score_psi", |c| c.incidents.score_psi = 0.0),
            ("incidents.score_psi", |c| c.incidents.score_psi = -0.25),
            ("mail.timeout", |c| c.mail.timeout = Duration::ZERO),
            ("mail.timeout", |c| c.mail.timeout = SECOND / 2),
            ("webhook.timeout", |c| c.webhook.timeout = SECOND / 2),
            ("canary.every", |c| c.canary.every = SECOND / 11),
            ("canary.every", |c| c.canary.every = Duration::from_nanos(1)),
        ];
        for (setting, change) in wrongs {
            let mut config = Config::load(None).unwrap();
            check(&config).unwrap();
            change(&mut config);
            let problem = check(&config).unwrap_err().to_string();
            assert!(
                problem.starts_with(&format!("{setting}: expected ")),
                "{problem}"
            );
        }
        let mut config = Config::load(None).unwrap();
        for every in [0, 100] {
            config.canary.every = Duration::from_millis(every);
            check(&config).unwrap();
        }
    }
}
