//! Connecting to PostgreSQL, and what its errors mean.

mod tls;

use std::error::Error as _;
use std::time::Duration;

use bytes::BytesMut;
use tokio::task::AbortHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use tokio_postgres::{Client, NoTls, Socket};

use crate::config::{Config, Secret};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DESK_STATEMENT_TIMEOUT: Duration = Duration::from_mins(10);

/// Microseconds from 1970 to 2000, where PostgreSQL's timestamps begin.
pub const MICROS_TO_2000: i64 = 946_684_800_000_000;

/// Days from 1970 to 2000, where PostgreSQL's dates begin.
pub const DAYS_TO_2000: i32 = 10_957;

/// Who logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// `[database]`: reads and writes rows.
    Writer,
    /// `[migrate]`: owns the schema.
    Migrator,
    /// `[desk]`: people's commands; reads tables, and writes what a person decides.
    Desk,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A person must change a setting or the database; the sentence names it.
    #[error("{0}")]
    Refused(String),
    /// The database does not answer or takes nobody just now: try again later.
    #[error("PostgreSQL at {address} (database.host, database.port) is away: {problem}")]
    Away {
        /// Host and port.
        address: String,
        /// What happened, in words.
        problem: String,
    },
}

/// Opens a session whose names are looked up in the configured schema. It is driven by a task of
/// the current runtime and ends when the client is dropped.
///
/// `name` is what administrators see in `pg_stat_activity`.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect(config: &Config, login: Login, name: &str) -> Result<Client, ConnectError> {
    let (client, _) = open(config, login, name).await?;
    Ok(client)
}

/// The same, for whoever gives a session up in the middle of a statement: a server that says
/// nothing would otherwise hold the session's task and socket for as long as it says nothing.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect_cuttable(
    config: &Config,
    login: Login,
    name: &str,
) -> Result<(Client, CutOnDrop), ConnectError> {
    let (client, task) = open(config, login, name).await?;
    Ok((client, CutOnDrop(task)))
}

/// Closes the session's socket when it is dropped, whatever is still under way.
#[derive(Debug)]
pub struct CutOnDrop(AbortHandle);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn open(
    config: &Config,
    login: Login,
    name: &str,
) -> Result<(Client, AbortHandle), ConnectError> {
    let settings = settings(config, login, name);
    let opened = if config.database.is_verified() {
        let tls = tls::connector(&config.database).map_err(ConnectError::Refused)?;
        tokio::time::timeout(2 * CONNECT_TIMEOUT, drive(&settings, tls)).await
    } else {
        tokio::time::timeout(2 * CONNECT_TIMEOUT, drive(&settings, NoTls)).await
    };
    match opened {
        Err(_) => Err(away(config, "it did not answer in time".into())),
        Ok(Err(error)) => Err(explain(config, login, &error)),
        Ok(Ok(session)) => Ok(session),
    }
}

/// Connects, and drives the session by a task of its own.
async fn drive<T>(
    settings: &tokio_postgres::Config,
    tls: T,
) -> Result<(Client, AbortHandle), tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = settings.connect(tls).await?;
    let task = tokio::spawn(async move {
        // Whoever waits for an answer is told; nobody waiting means nobody minds.
        if let Err(error) = connection.await {
            tracing::debug!(problem = sentence(&error), "a database session ended");
        }
    });
    Ok((client, task.abort_handle()))
}

fn settings(config: &Config, login: Login, name: &str) -> tokio_postgres::Config {
    let database = &config.database;
    let (user, password, _) = credentials(config, login);
    // Migrations may run long; a statement on the way of payments may not. A person's question may
    // read a whole day, but not go on for ever after the person has gone.
    let limit = match login {
        Login::Writer => database.statement_timeout.as_millis(),
        Login::Migrator => 0,
        Login::Desk => DESK_STATEMENT_TIMEOUT.as_millis(),
    };
    let mut settings = tokio_postgres::Config::new();
    settings
        .host(&database.host)
        .port(database.port)
        .dbname(&database.name)
        .user(user)
        .application_name(name)
        .ssl_mode(match database.is_verified() {
            true => SslMode::Require,
            false => SslMode::Disable,
        })
        // Temporary tables come last, so that none can stand in for a table of the schema.
        .options(format!(
            "-c search_path=\"{}\",pg_temp -c statement_timeout={limit}",
            database.schema
        ))
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(15))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_secs(30));
    if !password.is_empty() {
        settings.password(password.reveal());
    }
    settings
}

/// User, password, and the section they are set in.
fn credentials(config: &Config, login: Login) -> (&str, &Secret, &'static str) {
    match login {
        Login::Writer => (&config.database.user, &config.database.password, "database"),
        Login::Migrator => (&config.migrate.user, &config.migrate.password, "migrate"),
        Login::Desk => (&config.desk.user, &config.desk.password, "desk"),
    }
}

fn explain(config: &Config, login: Login, error: &tokio_postgres::Error) -> ConnectError {
    let (user, password, section) = credentials(config, login);
    let name = &config.database.name;
    let refused = |text: String| ConnectError::Refused(text);
    if let Some(problem) = tls::refusal(&address(config), error) {
        return refused(problem);
    }
    match error.code() {
        Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
            refused(format!(
                "PostgreSQL does not let the user \"{user}\" in: check {section}.user and \
                 {section}.password or {section}.password_file ({})",
                sentence(error)
            ))
        }
        Some(&SqlState::INVALID_CATALOG_NAME) => refused(format!(
            "there is no database \"{name}\" at {}: check database.name",
            address(config)
        )),
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => refused(format!(
            "the user \"{user}\" may not connect to the database \"{name}\": check {section}.user \
             and database.name ({})",
            sentence(error)
        )),
        Some(_) => away(config, sentence(error)),
        None if is_io(error) => away(config, sentence(error)),
        None if password.is_empty() => refused(format!(
            "PostgreSQL wants a password for the user \"{user}\": set {section}.password or \
             {section}.password_file"
        )),
        None => refused(format!(
            "cannot log in to PostgreSQL at {} as \"{user}\": {}",
            address(config),
            sentence(error)
        )),
    }
}

fn address(config: &Config) -> String {
    format!("{}:{}", config.database.host, config.database.port)
}

fn away(config: &Config, problem: String) -> ConnectError {
    ConnectError::Away {
        address: address(config),
        problem,
    }
}

/// What went wrong, with its code and without the values of a row.
pub fn sentence(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

/// Whether the same statement may succeed later on another connection: the server or the way to
/// it is in trouble, not the statement.
pub fn is_transient(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else {
        return error.is_closed() || is_io(error);
    };
    // Connection; resources (disk, memory, connections); shutdown, start and time-outs; the
    // system's I/O; deadlocks; locks not had in time; a former primary that became a standby.
    let code = code.code();
    ["08", "53", "57", "58", "40"]
        .iter()
        .any(|class| code.starts_with(class))
        || matches!(code, "55P03" | "25006")
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    error.is_closed()
        || error
            .source()
            .is_some_and(|source| source.is::<std::io::Error>())
}

/// A moment as a `timestamptz`: microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl ToSql for Moment {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        (self.0 - MICROS_TO_2000).to_sql(&Type::INT8, out)?;
        debug_assert_eq!(*kind, Type::TIMESTAMPTZ);
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Moment {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(
            i64::from_sql(&Type::INT8, raw)?.saturating_add(MICROS_TO_2000),
        ))
    }

    accepts!(TIMESTAMPTZ);
}

/// A calendar day as a `date`: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl ToSql for Day {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        debug_assert_eq!(*kind, Type::DATE);
        (self.0 - DAYS_TO_2000).to_sql(&Type::INT4, out)
    }

    accepts!(DATE);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Day {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(
            i32::from_sql(&Type::INT4, raw)?.saturating_add(DAYS_TO_2000),
        ))
    }

    accepts!(DATE);
}
