//! What every loop of the notifier needs: statements that end, waiting that can be ended.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use crate::config::Config;
use crate::database::{ConnectError, sentence};

/// How often new alerts and due messages are looked for.
pub const POLL: Duration = Duration::from_millis(500);
/// How long a statement may take beyond what the server itself allows.
pub const MARGIN: Duration = Duration::from_secs(5);
/// How long the session that holds the lease may be silent; it speaks once a second at least.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(30);
/// Pause before a database that is away is tried again.
pub const DATABASE_PAUSE: Duration = Duration::from_secs(2);

/// Why a session with the database ended.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// There was none.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A statement failed.
    #[error("{}", sentence(.0))]
    Database(#[from] tokio_postgres::Error),
    /// A stopped server would otherwise be waited for without end.
    #[error("the database did not answer in time")]
    Silent(#[from] tokio::time::error::Elapsed),
}

/// The statement's answer, or that it takes longer than the server itself would allow.
///
/// # Errors
/// When it fails or takes too long: the session is of no more use.
pub async fn in_time<T>(
    config: &Config,
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Interrupted> {
    let limit = config.database.statement_timeout + MARGIN;
    Ok(timeout(limit, statement).await??)
}

/// The server ends this session once nothing has been heard of it for so long. A process that is
/// frozen, or whose machine is gone, would otherwise keep its lease for hours.
///
/// # Errors
/// When the database fails.
pub async fn end_when_silent(
    client: &Client,
    limit: Duration,
) -> Result<(), tokio_postgres::Error> {
    let limit = limit.as_secs();
    let settings = format!(
        "SET idle_session_timeout = '{limit}s'; SET idle_in_transaction_session_timeout = '{limit}s'"
    );
    client.batch_execute(&settings).await
}

/// Whether this session is the one of the schema that does `what`; it stays so as long as it lives.
/// A lease that is asked for again counts twice.
///
/// # Errors
/// When the database fails.
pub async fn lease(client: &Client, what: &str) -> Result<bool, tokio_postgres::Error> {
    let row = client
        .query_one(
            "SELECT pg_try_advisory_lock(hashtextextended($1 || ' in ' || current_schema, 0))",
            &[&what],
        )
        .await?;
    row.try_get(0)
}

/// Whether `shutdown` says true, or nobody is left to say it.
pub fn is_told(shutdown: &watch::Receiver<bool>) -> bool {
    *shutdown.borrow() || shutdown.has_changed().is_err()
}

/// Pauses, at most until told to stop; whether it was.
pub async fn pause(shutdown: &mut watch::Receiver<bool>, span: Duration) -> bool {
    // Either way of ending early means stop: told so, or nobody left to tell.
    timeout(span, shutdown.wait_for(|stop| *stop)).await.is_ok()
}

/// Ends `grace` after `shutdown` says true.
pub async fn told_for(mut shutdown: watch::Receiver<bool>, grace: Duration) {
    // An error means that the sender is gone, which is a way of being told.
    let _ = shutdown.wait_for(|stop| *stop).await;
    sleep(grace).await;
}
