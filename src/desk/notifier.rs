//! Tells people: on-call of payments that were not allowed and of the system's own trouble.
//!
//! ```text
//! fraud_alerts (written with the payments) -> incidents -> outbox -> one sender per channel
//! ```
//! One notifier works at a time across all processes; the others wait for the lease. Every
//! alert is stamped in the transaction that writes its messages; a message is sent at least
//! once, and its id is the same every time. Each channel sends at its own pace: one that is away
//! holds back no other.

pub mod canary;
pub mod channels;
pub mod mail;
pub mod outbox;
pub mod post;
pub mod queue;
pub mod sender;
pub mod session;
pub mod slack;
mod stale;
pub mod webhook;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::config::Config;
use crate::database::{self, Login};
use crate::desk::incidents;
use crate::health::{Health, Part};
use crate::metrics;
use canary::Canary;
use channels::Channels;
use sender::{Sender, Way};
use session::{DATABASE_PAUSE, Interrupted, MARGIN, POLL, in_time};
use stale::Stale;

struct Notifier<'a> {
    config: &'a Config,
    channels: Channels,
    canary: Option<Canary<'a>>,
    gathering: incidents::Gathering,
    part: Part,
    shutdown: watch::Receiver<bool>,
    /// Whether this process is the one that notifies; the senders wait for it.
    notifies: watch::Sender<bool>,
    /// Why the database was of no use, said once.
    said: Option<String>,
}

/// Notifies until `shutdown` says true; a database that is away is waited for, and so is every
/// channel's server.
///
/// # Errors
/// Only at once, when the settings of a channel make no sense.
pub async fn run(
    config: &Config,
    health: &Arc<Health>,
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let ways = Way::of(config)?;
    let channels = Channels::of(config)?;
    let canary = Canary::new(config)?;
    let (notifies, told) = watch::channel(false);
    let senders = ways.into_iter().map(|way| {
        let sender = Sender::new(config, way, health, shutdown.clone());
        sender.run(told.clone())
    });
    let senders = join_all(senders);
    let patience = config.database.statement_timeout + 6 * MARGIN;
    let notifier = Notifier {
        config,
        channels,
        canary,
        gathering: incidents::Gathering::default(),
        part: health.join("notifier", patience, "connecting to the database"),
        shutdown,
        notifies,
        said: None,
    };
    tokio::join!(notifier.run(), senders);
    Ok(())
}

impl Notifier<'_> {
    async fn run(mut self) {
        while !session::is_told(&self.shutdown) {
            let ended = self.session().await;
            self.notifies.send_replace(false);
            metrics::outbox(0, Duration::ZERO);
            let Err(problem) = ended else {
                break;
            };
            let problem = problem.to_string();
            self.part.problems(vec![problem.clone()]);
            if self.said.as_ref() != Some(&problem) {
                tracing::warn!(problem, "alerts wait for the database");
                self.said = Some(problem);
            }
            self.wait(DATABASE_PAUSE).await;
        }
        metrics::canary_age(None);
        self.part.ended();
    }

    /// One session with the database, as long as it lasts or until told to stop.
    async fn session(&mut self) -> Result<(), Interrupted> {
        let opened = database::connect(self.config, Login::Writer, "vigie notifier").await;
        let mut client = opened?;
        let silent = session::end_when_silent(&client, session::LONGEST_SILENCE);
        in_time(self.config, silent).await?;
        in_time(self.config, queue::be_there(&client)).await?;
        // A standby has nothing against it: another process notifies.
        self.part.ready();
        if let Some(canary) = &mut self.canary {
            canary.begin();
        }
        while !in_time(self.config, session::lease(&client, "vigie notifier")).await? {
            // The one that notifies may be of another stream, which has its own canary.
            self.send_canary(&mut client).await?;
            if self.wait(2 * POLL).await {
                return Ok(());
            }
        }
        let mut stale = self.take_over(&client).await?;
        let open = self.channels.open();
        let mut system = incidents::Watch::new(self.config);
        while !session::is_told(&self.shutdown) {
            self.part.ready();
            self.gather(&mut client).await?;
            self.send_canary(&mut client).await?;
            stale.turn(&client, self.config, &open).await?;
            let waiting = in_time(self.config, queue::waiting(&client)).await?;
            metrics::outbox(waiting.messages, waiting.oldest);
            if system.is_due() {
                let look = system.look(&mut client, self.config, &self.channels);
                in_time(self.config, look).await?;
            }
            self.said = None;
            self.wait(POLL).await;
        }
        Ok(())
    }

    async fn send_canary(&mut self, client: &mut Client) -> Result<(), Interrupted> {
        match &mut self.canary {
            Some(canary) => canary.turn(client, &self.channels).await,
            None => Ok(()),
        }
    }

    /// From here on this process notifies.
    async fn take_over(&self, client: &Client) -> Result<Stale, Interrupted> {
        let open = self.channels.open();
        let names: Vec<&str> = open.iter().map(|channel| channel.as_str()).collect();
        tracing::info!(channels = ?names, "this process notifies");
        let stale = Stale::begin(client, self.config, &open).await?;
        self.notifies.send_replace(true);
        Ok(stale)
    }

    /// New alerts get their incidents, and what is due becomes a notice.
    async fn gather(&mut self, client: &mut Client) -> Result<(), Interrupted> {
        let gathering = self.gathering.gather(client, self.config, &self.channels);
        if let Some(told) = in_time(self.config, gathering).await? {
            let incidents::Told {
                notice,
                alerts,
                incidents,
            } = told;
            tracing::info!(notice, alerts, incidents, "on-call is told of alerts");
        }
        Ok(())
    }

    /// Pauses, at most until told to stop; whether it was.
    async fn wait(&mut self, span: Duration) -> bool {
        self.part.tick();
        session::pause(&mut self.shutdown, span).await
    }
}
