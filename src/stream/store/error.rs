//! What can go wrong with the store, by what the lane must do about it.

use std::time::Duration;

use crate::database::{ConnectError, is_transient, sentence};

/// An error by the reaction it needs.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another lane took these partitions: drop their rows and state, send the rest again.
    #[error("another lane owns the partitions {partitions:?} by now")]
    Fenced {
        /// The partitions that are no longer this lane's.
        partitions: Vec<i32>,
    },
    /// Nothing was written: pause, take the partitions again, send the same rows.
    #[error("the database is away: {0}")]
    Unavailable(#[source] Outage),
    /// It may have been committed: take the partitions again and compare `next_offset`.
    #[error("it is not known whether the batch was committed: {0}")]
    Unknown(#[source] Outage),
    /// A person must act, and the sentence says how: stop.
    #[error("{0}")]
    Refused(String),
    /// A bug or a schema that is not ours: stop.
    #[error("the database refused a statement: {}", sentence(.0))]
    Invalid(#[source] tokio_postgres::Error),
}

/// How the database fell silent.
#[derive(Debug, thiserror::Error)]
pub enum Outage {
    /// No answer, so the session was given up.
    #[error("no answer within {0:?} (database.statement_timeout)")]
    Silent(Duration),
    /// No session could be opened.
    #[error(transparent)]
    Connect(ConnectError),
    /// A statement failed for a reason that passes.
    #[error("{}", sentence(.0))]
    Statement(#[source] tokio_postgres::Error),
    /// A row stayed locked although its owner was ended.
    #[error("partition {0} stays locked by another session")]
    Locked(i32),
}

impl From<ConnectError> for StoreError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Refused(sentence) => Self::Refused(sentence),
            away @ ConnectError::Away { .. } => Self::Unavailable(Outage::Connect(away)),
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        if is_transient(&error) {
            Self::Unavailable(Outage::Statement(error))
        } else {
            Self::Invalid(error)
        }
    }
}

impl StoreError {
    /// Once `COMMIT` is on its way, losing the session leaves the outcome open. An ordinary error
    /// is an answer: the transaction was undone.
    pub(super) fn while_committing(self) -> Self {
        match self {
            Self::Unavailable(Outage::Statement(error)) if !is_an_answer(&error) => {
                Self::Unknown(Outage::Statement(error))
            }
            Self::Unavailable(outage @ Outage::Silent(_)) => Self::Unknown(outage),
            other => other,
        }
    }
}

/// A session that is shut down may have committed just before.
fn is_an_answer(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|db| !db.code().code().starts_with("57P") && db.severity() == "ERROR")
}
