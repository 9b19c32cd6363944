//! What a lane keeps: one transaction per batch, who owns which partition, and the history that
//! a shard is rebuilt from.
//!
//! A store owns one database session. After [`StoreError::Unavailable`] or
//! [`StoreError::Unknown`] the session is gone; the next call opens another. The lane then takes
//! its partitions again and compares `next_offset`: at the batch's start, it sends the same batch
//! again; at its end, the batch was committed.

mod binding;
mod commit;
mod encode;
mod error;
mod published;
mod retake;
mod rows;
mod session;
mod take;
mod upsert;
mod warm_up;

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::bundle::Schema;
use crate::config::Config;
use crate::engine::batch::Micros;

pub use binding::Binding;
pub use commit::{Committed, Span, Versions};
pub use error::{Outage, StoreError};
pub use published::{Published, Settlement, StoredDecision, Stretch};
pub use retake::Position;
pub use take::Taken;
pub use warm_up::{Since, WarmRow};

use encode::Encoder;
use session::Session;

/// The store of one lane.
pub struct Store {
    config: Config,
    /// What administrators see in the list of sessions.
    name: String,
    zone: TimeZone,
    amount_scale: i16,
    encoder: Encoder,
    session: Option<Session>,
    /// Days whose partitions are known to exist.
    days: HashSet<i32>,
}

impl Store {
    /// Opens the lane's session; `name` is shown in the list of sessions.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the login or the schema's version is refused,
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn connect(config: &Config, schema: &Schema, name: &str) -> Result<Self, StoreError> {
        let session = Session::open_checked(config, name).await?;
        let zone = TimeZone::get(&config.events.business_zone)
            .map_err(|error| StoreError::Refused(format!("events.business_zone: {error}")))?;
        Ok(Self {
            config: config.clone(),
            zone,
            name: name.to_owned(),
            amount_scale: schema.amount_scale() as i16,
            encoder: Encoder::new(config.stream.id, schema),
            session: Some(session),
            days: HashSet::new(),
        })
    }

    /// How long the database may be silent: what it is asked stops by itself a little earlier.
    fn patience(&self) -> Duration {
        self.config.database.statement_timeout + Duration::from_secs(5)
    }

    fn stream(&self) -> i16 {
        self.config.stream.id
    }

    /// The session, opened again when it was lost.
    async fn session(&mut self) -> Result<&mut Session, StoreError> {
        let session = match self.session.take() {
            Some(session) if !session.client.is_closed() => session,
            _ => Session::open(&self.config, &self.name).await?,
        };
        Ok(self.session.insert(session))
    }

    /// Gives the session up after anything that leaves it in doubt.
    fn settle<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(
            result,
            Err(StoreError::Unavailable(_) | StoreError::Unknown(_) | StoreError::Invalid(_))
        ) {
            self.session = None;
        }
        result
    }
}

/// Waits for an answer, but not for ever: a server that is stopped or cut off says nothing.
async fn answered<T, E: Into<StoreError>>(
    patience: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(patience, work).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(StoreError::Unavailable(Outage::Silent(patience))),
    }
}

/// A watermark as it is stored.
fn moments(times: impl Iterator<Item = Option<Micros>>) -> Vec<Option<crate::database::Moment>> {
    times
        .map(|time| time.map(crate::database::Moment))
        .collect()
}
