//! One database session with its prepared statements.

use tokio_postgres::{Client, Statement};

use crate::config::Config;
use crate::database::{self, CutOnDrop, Login, Moment};
use crate::metrics::{self, HeldSession};
use crate::migrate::{self, MigrateError};

use super::encode::{LABEL_COLUMNS, PAYMENT_COLUMNS};
use super::error::StoreError;
use super::rows;

/// A session; dropped as a whole when it is in doubt.
pub(super) struct Session {
    pub(super) client: Client,
    /// The server's process, which the next owner ends if it must.
    pub(super) pid: i32,
    /// When that process began, so that no other with its number is ended.
    pub(super) started: Moment,
    pub(super) statements: Statements,
    /// Whether the staging table of the upsert is there.
    pub(super) staged: bool,
    _counted: HeldSession,
    /// A session in doubt is cut, so that the server undoes what it was at as soon as it can.
    _cut: CutOnDrop,
}

/// Prepared once a session.
pub(super) struct Statements {
    pub(super) move_offsets: Statement,
    pub(super) copy_payments: Statement,
    pub(super) copy_labels: Statement,
    pub(super) dead_letters: Statement,
    pub(super) alerts: Statement,
}

impl Session {
    pub(super) async fn open(config: &Config, name: &str) -> Result<Self, StoreError> {
        let (client, cut) = Self::log_in(config, name).await?;
        let patience = config.database.statement_timeout;
        super::answered(patience, Self::prepare(client, cut)).await
    }

    /// The first session of a process also makes sure that the schema is this program's.
    pub(super) async fn open_checked(config: &Config, name: &str) -> Result<Self, StoreError> {
        let (client, cut) = Self::log_in(config, name).await?;
        let patience = config.database.statement_timeout;
        let checked = async {
            match migrate::check_current(&client).await {
                Ok(()) => Ok(()),
                Err(MigrateError::Database(error)) => Err(StoreError::from(error)),
                Err(other) => Err(StoreError::Refused(other.to_string())),
            }
        };
        super::answered(patience, checked).await?;
        super::answered(patience, Self::prepare(client, cut)).await
    }

    async fn log_in(config: &Config, name: &str) -> Result<(Client, CutOnDrop), StoreError> {
        Ok(database::connect_cuttable(config, Login::Writer, name).await?)
    }

    async fn prepare(client: Client, cut: CutOnDrop) -> Result<Self, tokio_postgres::Error> {
        let row = client
            .query_one(
                "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()",
                &[],
            )
            .await?;
        let copy_payments =
            format!("COPY payments_scored ({PAYMENT_COLUMNS}) FROM STDIN (FORMAT binary)");
        let copy_labels = format!("COPY labels ({LABEL_COLUMNS}) FROM STDIN (FORMAT binary)");
        let statements = Statements {
            move_offsets: client.prepare(rows::MOVE_OFFSETS).await?,
            copy_payments: client.prepare(&copy_payments).await?,
            copy_labels: client.prepare(&copy_labels).await?,
            dead_letters: client.prepare(rows::DEAD_LETTERS).await?,
            alerts: client.prepare(rows::ALERTS).await?,
        };
        Ok(Self {
            pid: row.get(0),
            started: row.get(1),
            client,
            statements,
            staged: false,
            _counted: metrics::session_held(),
            _cut: cut,
        })
    }
}
