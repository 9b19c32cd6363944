//! Settings of the database: one address, a login for each who comes to it.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::layers::{duration, number};
use super::stream::is_loopback;
use super::{ConfigError, Secret};

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

impl DatabaseConfig {
    /// Whether sessions are encrypted, and the server's certificate and name verified.
    pub fn is_verified(&self) -> bool {
        match self.tls {
            DatabaseTls::Auto => !self.host.starts_with('/') && !is_loopback(&self.host),
            DatabaseTls::Verify => true,
            DatabaseTls::Off => false,
        }
    }

    /// Refuses an authority that nobody would ask.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.tls == DatabaseTls::Off && !self.ca_file.as_os_str().is_empty() {
            return Err(ConfigError::Wrong {
                setting: "database.ca_file",
                problem: "is of no use with database.tls = \"off\"".into(),
            });
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use crate::config::{Config, DatabaseTls};

    #[test]
    fn anywhere_but_on_this_machine_the_server_is_verified() {
        let mut database = Config::load(None).unwrap().database;
        database.tls = DatabaseTls::Auto;
        for (host, verified) in [
            ("127.0.0.1", false),
            ("localhost", false),
            ("::1", false),
            ("/var/run/postgresql", false),
            ("localhost.example.test", true),
            ("10.0.0.7", true),
            ("db.example.test", true),
        ] {
            database.host = host.to_owned();
            assert_eq!(database.is_verified(), verified, "{host}");
        }
        database.tls = DatabaseTls::Off;
        assert!(!database.is_verified());
        database.ca_file = "ca.pem".into();
        assert!(database.check().is_err());
        database.tls = DatabaseTls::Verify;
        database.host = "127.0.0.1".into();
        assert!(database.is_verified() && database.check().is_ok());
    }
}
