//! Settings of the database: one address, a login for each who comes to it.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Secret;
use super::layers::{duration, number};

/// The database as the processor sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct DatabaseConfig {
    /// `VIGIE_DATABASE__HOST`
    pub host: String,
    /// `VIGIE_DATABASE__PORT`
    #[serde(deserialize_with = "number")]
    pub port: u16,
    /// `VIGIE_DATABASE__NAME`
    pub name: String,
    /// `VIGIE_DATABASE__USER`
    pub user: String,
    /// `VIGIE_DATABASE__PASSWORD`
    pub password: Secret,
    /// `VIGIE_DATABASE__PASSWORD_FILE`
    pub password_file: PathBuf,
    /// `VIGIE_DATABASE__SCHEMA`
    pub schema: String,
    /// `VIGIE_DATABASE__STATEMENT_TIMEOUT`
    #[serde(deserialize_with = "duration")]
    pub statement_timeout: Duration,
    /// `VIGIE_DATABASE__TLS`
    pub tls: DatabaseTls,
    /// `VIGIE_DATABASE__CA_FILE`
    pub ca_file: PathBuf,
}

/// How sessions with the database are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseTls {
    /// Verified anywhere but on the loopback.
    Auto,
    /// Encrypted, and the server's certificate and name verified.
    Verify,
    /// In the clear.
    Off,
}

/// The schema's owner.
#[derive(Debug, Clone, Deserialize)]
pub struct MigrateConfig {
    /// `VIGIE_MIGRATE__USER`
    pub user: String,
    /// `VIGIE_MIGRATE__PASSWORD`
    pub password: Secret,
    /// `VIGIE_MIGRATE__PASSWORD_FILE`
    pub password_file: PathBuf,
}

/// The database as people's commands see it.
#[derive(Debug, Clone, Deserialize)]
pub struct DeskConfig {
    /// `VIGIE_DESK__USER`
    pub user: String,
    /// `VIGIE_DESK__PASSWORD`
    pub password: Secret,
    /// `VIGIE_DESK__PASSWORD_FILE`
    pub password_file: PathBuf,
}
