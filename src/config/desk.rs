//! Settings of what people are told: incidents, channels, canary, report.

use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Time;
use serde::Deserialize;

use super::Secret;
use super::layers::{clock, duration, fraction, number};

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
