//! Settings of the process itself: its pages and its log.

use std::path::PathBuf;

use serde::Deserialize;

use super::Secret;

/// Health and metrics pages.
#[derive(Debug, Clone, Deserialize)]
pub struct HttpConfig {
    /// `VIGIE_HTTP__LISTEN`
    pub listen: String,
    /// `VIGIE_HTTP__METRICS_TOKEN`
    pub metrics_token: Secret,
    /// `VIGIE_HTTP__METRICS_TOKEN_FILE`
    pub metrics_token_file: PathBuf,
}

/// What is logged and how.
#[derive(Debug, Clone, Deserialize)]
pub struct LogConfig {
    /// `VIGIE_LOG__FILTER`
    pub filter: String,
    /// `VIGIE_LOG__FORMAT`
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}
