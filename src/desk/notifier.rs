//! Tells on-call of payments that were not allowed.
//!
//! ```text
//! fraud_alerts (written with the payments) -> gather -> outbox -> mail server
//! ```
//! One notifier works at a time across all processes; the others wait for the lease. Every
//! alert is stamped with exactly one message, in the transaction that writes the message; a
//! message is sent at least once, and its Message-ID is the same every time. While a message
//! waits for its server, newer alerts wait for it: they go together in the next one.

pub mod alert_mail;
pub mod channels;
pub mod mail;
pub mod outbox;
pub mod queue;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use crate::config::Config;
use crate::database::{self, ConnectError, Login, sentence};
use crate::engine::batch::Decision;
use crate::health::{Health, Part};
use crate::metrics::{self, MessageResult};
use channels::{Channel, Channels};
use mail::{MailError, Mailer};

/// How often new alerts and due messages are looked for.
const POLL: Duration = Duration::from_millis(500);
/// How long a statement may take beyond what the server itself allows.
const MARGIN: Duration = Duration::from_secs(5);
/// How long a mail under way may take once the process is to end.
const GRACE: Duration = Duration::from_secs(2);
/// Pause before a database that is away is tried again.
const DATABASE_PAUSE: Duration = Duration::from_secs(2);

/// Why a session with the database ended.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{}", sentence(.0))]
    Database(#[from] tokio_postgres::Error),
    #[error("the database did not answer in time")]
    Silent(#[from] tokio::time::error::Elapsed),
}

struct Notifier<'a> {
    config: &'a Config,
    mailer: Option<Mailer>,
    channels: Channels,
    part: Part,
    shutdown: watch::Receiver<bool>,
    /// A message that was sent and could not be marked: to be marked, not sent again.
    delivered: Option<i64>,
}

/// Notifies until `shutdown` says true; a database that is away is waited for, a mail server
/// too.
///
/// # Errors
/// Only at once, when the `[mail]` settings make no sense.
pub async fn run(
    config: &Config,
    health: &Arc<Health>,
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mailer = Mailer::new(&config.mail)?;
    let patience = config.mail.timeout + config.database.statement_timeout + 6 * MARGIN;
    let mut notifier = Notifier {
        config,
        mailer,
        channels: Channels::of(config)?,
        part: health.join("notifier", patience, "connecting to the database"),
        shutdown,
        delivered: None,
    };
    let mut said = String::new();
    while !notifier.is_told_to_stop() {
        let Err(problem) = notifier.session().await else {
            break;
        };
        metrics::outbox(0, Duration::ZERO);
        let problem = problem.to_string();
        notifier.part.problems(vec![problem.clone()]);
        if problem != said {
            tracing::warn!(problem, "mail waits for the database");
            said = problem;
        }
        notifier.wait(DATABASE_PAUSE).await;
    }
    metrics::outbox(0, Duration::ZERO);
    notifier.part.ended();
    Ok(())
}

impl Notifier<'_> {
    /// One session with the database, as long as it lasts or until told to stop.
    async fn session(&mut self) -> Result<(), Interrupted> {
        let opened = database::connect(self.config, Login::Writer, "vigie notifier").await;
        let mut client = opened?;
        // A standby has nothing against it: another process notifies.
        self.part.ready();
        while !self.in_time(queue::lease(&client)).await? {
            if self.wait(2 * POLL).await {
                return Ok(());
            }
        }
        tracing::info!(mail = self.mailer.is_some(), "this process notifies");
        while !self.is_told_to_stop() {
            self.part.tick();
            self.part.ready();
            self.gather(&mut client).await?;
            let waiting = self.in_time(queue::waiting(&client)).await?;
            metrics::outbox(waiting.messages, waiting.oldest);
            if !self.send_next(&client).await? {
                self.wait(POLL).await;
            }
        }
        Ok(())
    }

    /// New alerts become one message, when one is due.
    async fn gather(&self, client: &mut Client) -> Result<(), Interrupted> {
        let gathering = outbox::gather(client, self.config, &self.channels);
        let Some(digest) = self.in_time(gathering).await? else {
            return Ok(());
        };
        metrics::alerts(Decision::Review, digest.review);
        metrics::alerts(Decision::Block, digest.block);
        tracing::info!(
            mail = digest.message,
            alerts = digest.alerts(),
            "alerts gathered"
        );
        Ok(())
    }

    /// Tries the message that is due, if there is one; whether there was.
    async fn send_next(&mut self, client: &Client) -> Result<bool, Interrupted> {
        let Some(mailer) = &self.mailer else {
            return Ok(false);
        };
        if let Some(id) = self.delivered {
            self.in_time(queue::sent(client, id)).await?;
            self.delivered = None;
        }
        // Until the attempt is over at the latest, nobody else may begin another.
        let hold = self.config.mail.timeout + MARGIN;
        let claim = queue::claim(client, Channel::Mail, hold);
        let Some(message) = self.in_time(claim).await? else {
            return Ok(false);
        };
        let sending = mailer.send(&message);
        let result = tokio::select! {
            result = sending => result,
            () = told_for(self.shutdown.clone(), GRACE) => return Ok(false),
        };
        let (id, attempts) = (message.id, message.attempts);
        match result {
            Ok(()) => {
                self.delivered = Some(id);
                metrics::message(Channel::Mail, MessageResult::Sent);
                tracing::info!(mail = id, attempts, "mail sent");
                self.in_time(queue::sent(client, id)).await?;
                self.delivered = None;
            }
            Err(MailError::Away(problem)) => {
                metrics::message(Channel::Mail, MessageResult::Failed);
                let pause = queue::pause(attempts);
                tracing::warn!(mail = id, attempts, problem, "mail waits for its server");
                let failed = queue::failed(client, id, pause, &problem);
                self.in_time(failed).await?;
            }
            Err(MailError::Refused(problem)) => {
                metrics::message(Channel::Mail, MessageResult::Failed);
                let pause = queue::pause_after_refusal(attempts);
                tracing::error!(mail = id, attempts, problem, "the server refuses this mail");
                let refused = queue::refused(client, id, pause, &problem);
                self.in_time(refused).await?;
            }
        }
        Ok(true)
    }

    /// A stopped server would otherwise be waited for without end.
    async fn in_time<T>(
        &self,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Interrupted> {
        let limit = self.config.database.statement_timeout + MARGIN;
        Ok(timeout(limit, statement).await??)
    }

    fn is_told_to_stop(&self) -> bool {
        *self.shutdown.borrow() || self.shutdown.has_changed().is_err()
    }

    /// Pauses, at most until told to stop; whether it was.
    async fn wait(&mut self, pause: Duration) -> bool {
        self.part.tick();
        // Either way of ending early means stop: told so, or nobody left to tell.
        timeout(pause, self.shutdown.wait_for(|stop| *stop))
            .await
            .is_ok()
    }
}

/// Ends `grace` after `shutdown` says true.
async fn told_for(mut shutdown: watch::Receiver<bool>, grace: Duration) {
    // An error means that the sender is gone, which is a way of being told.
    let _ = shutdown.wait_for(|stop| *stop).await;
    sleep(grace).await;
}
