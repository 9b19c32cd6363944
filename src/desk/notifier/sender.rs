//! One channel's loop: claims a message, hands it over, marks it. Each channel has its own, with a
//! session of its own, so that one that is away delays no other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::channels::Channel;
use super::mail::Mailer;
use super::queue::{self, Message};
use super::session::{self, DATABASE_PAUSE, Interrupted, MARGIN, POLL, in_time, told_for};
use super::slack::Slack;
use super::webhook::Webhook;
use crate::config::{Config, ConfigError};
use crate::database::{self, Login};
use crate::health::{Health, Part};
use crate::metrics::{self, MessageResult};

/// How long an attempt under way may take once the process is to end.
const GRACE: Duration = Duration::from_secs(2);

/// Why an attempt failed; never with an address or a secret in it.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The server, or the way to it: another attempt may succeed, with this message or another.
    #[error("{0}")]
    Away(String),
    /// The server is there and asks to be left alone for so long.
    #[error("{problem}")]
    NotBefore {
        /// What it said.
        problem: String,
        /// How long.
        pause: Duration,
    },
    /// All of it was handed over and no answer came: whoever repeats it may repeat it to people.
    #[error("{0}")]
    Unsure(String),
    /// The server refused this very message for good: others may pass.
    #[error("{0}")]
    Refused(String),
}

/// The way to one channel's server.
pub enum Way {
    /// By SMTP.
    Mail(Mailer),
    /// By an incoming webhook.
    Slack(Slack),
    /// By a signed request.
    Webhook(Webhook),
}

impl Way {
    /// The ways that the settings open; a channel without one has nothing to send.
    ///
    /// # Errors
    /// When a setting of a channel makes no sense.
    pub fn of(config: &Config) -> Result<Vec<(Channel, Self)>, ConfigError> {
        let mut ways = Vec::new();
        if let Some(mailer) = Mailer::new(config)? {
            ways.push((Channel::Canary, Self::Mail(mailer.clone())));
            ways.push((Channel::Mail, Self::Mail(mailer)));
        }
        if let Some(slack) = Slack::new(config)? {
            ways.push((Channel::Slack, Self::Slack(slack)));
        }
        if let Some(webhook) = Webhook::new(config)? {
            ways.push((Channel::Webhook, Self::Webhook(webhook)));
        }
        Ok(ways)
    }

    async fn send(&self, message: &Message) -> Result<(), SendError> {
        match self {
            Self::Mail(mailer) => mailer.send(message).await,
            Self::Slack(slack) => slack.send(message).await,
            Self::Webhook(webhook) => webhook.send(message).await,
        }
    }

    /// How long one attempt may take.
    fn timeout(&self, config: &Config) -> Duration {
        match self {
            Self::Mail(_) => config.mail.timeout,
            Self::Slack(_) | Self::Webhook(_) => config.webhook.timeout,
        }
    }
}

/// One channel, and what it remembers from one session with the database to the next.
pub struct Sender<'a> {
    config: &'a Config,
    channel: Channel,
    way: Way,
    part: Part,
    shutdown: watch::Receiver<bool>,
    /// A message that was sent and could not be marked: to be marked, not sent again.
    delivered: Option<i64>,
    /// Attempts in a row for which the server was away, whichever message they were for.
    failures: u32,
    /// How often each message may have arrived.
    unsure: BTreeMap<i64, u32>,
    /// Nothing is tried before.
    rests_until: Instant,
    /// Why the database was of no use, said once.
    said: Option<String>,
}

impl<'a> Sender<'a> {
    /// Joins `health`; sends nothing yet.
    pub fn new(
        config: &'a Config,
        (channel, way): (Channel, Way),
        health: &Arc<Health>,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        let patience = way.timeout(config) + config.database.statement_timeout + 6 * MARGIN;
        let part = health.join(&format!("notifier {}", channel.as_str()), patience, "");
        part.ready();
        Self {
            config,
            channel,
            way,
            part,
            shutdown,
            delivered: None,
            failures: 0,
            unsure: BTreeMap::new(),
            rests_until: Instant::now(),
            said: None,
        }
    }

    /// Sends while this process is the one that notifies, until told to stop.
    pub async fn run(mut self, mut notifies: watch::Receiver<bool>) {
        while !session::is_told(&self.shutdown) {
            if !*notifies.borrow_and_update() {
                // Whatever stood in the way is another process's affair now.
                self.unsure.clear();
                self.part.ready();
                self.wait().await;
                continue;
            }
            let Err(problem) = self.session(&notifies).await else {
                continue;
            };
            let problem = problem.to_string();
            self.part.problems(vec![problem.clone()]);
            if self.said.as_ref() != Some(&problem) {
                let channel = self.channel.as_str();
                tracing::warn!(channel, problem, "messages wait for the database");
                self.said = Some(problem);
            }
            self.part.tick();
            session::pause(&mut self.shutdown, DATABASE_PAUSE).await;
        }
        self.part.ended();
    }

    /// One session with the database, as long as it lasts and this process notifies.
    async fn session(&mut self, notifies: &watch::Receiver<bool>) -> Result<(), Interrupted> {
        let name = format!("vigie notifier {}", self.channel.as_str());
        let client = database::connect(self.config, Login::Writer, &name).await?;
        while *notifies.borrow() && !session::is_told(&self.shutdown) {
            self.part.tick();
            self.part.ready();
            if Instant::now() < self.rests_until || !self.send_next(&client).await? {
                self.wait().await;
            }
            self.said = None;
        }
        Ok(())
    }

    async fn wait(&mut self) {
        self.part.tick();
        session::pause(&mut self.shutdown, POLL).await;
    }

    /// Tries the message that is due, if there is one; whether there was.
    async fn send_next(&mut self, client: &Client) -> Result<bool, Interrupted> {
        if let Some(id) = self.delivered {
            in_time(self.config, queue::sent(client, id)).await?;
            self.delivered = None;
        }
        // Until the attempt is over at the latest, nobody else may begin another.
        let hold = self.way.timeout(self.config) + MARGIN;
        let claim = queue::claim(client, self.channel, hold);
        let Some(message) = in_time(self.config, claim).await? else {
            return Ok(false);
        };
        let result = tokio::select! {
            result = self.way.send(&message) => result,
            () = told_for(self.shutdown.clone(), GRACE) => return Ok(false),
        };
        match result {
            Ok(()) => self.sent(client, &message).await?,
            Err(error) => self.failed(client, &message, error).await?,
        }
        Ok(true)
    }

    async fn sent(&mut self, client: &Client, message: &Message) -> Result<(), Interrupted> {
        let (channel, id, attempts) = (self.channel.as_str(), message.id, message.attempts);
        self.delivered = Some(id);
        self.failures = 0;
        self.unsure.remove(&id);
        metrics::message(self.channel, MessageResult::Sent);
        tracing::info!(channel, message = id, attempts, "message sent");
        in_time(self.config, queue::sent(client, id)).await?;
        self.delivered = None;
        Ok(())
    }

    async fn failed(
        &mut self,
        client: &Client,
        message: &Message,
        error: SendError,
    ) -> Result<(), Interrupted> {
        metrics::message(self.channel, MessageResult::Failed);
        let (channel, id, attempts) = (self.channel.as_str(), message.id, message.attempts);
        let problem = error.to_string();
        let mut asked = Duration::ZERO;
        let pause = match error {
            SendError::Refused(_) => {
                self.failures = 0;
                tracing::error!(channel, message = id, attempts, problem, "message refused");
                let pause = queue::pause_after_refusal(attempts);
                let aside = queue::set_aside(client, message, pause, &problem);
                return in_time(self.config, aside).await;
            }
            SendError::Unsure(_) => {
                let times = self.unsure.entry(id).or_default();
                *times = times.saturating_add(1);
                Some(queue::pause_when_unsure(*times))
            }
            SendError::NotBefore { pause, .. } => {
                asked = pause;
                None
            }
            SendError::Away(_) => None,
        };
        // Other messages wait for the same server; one that it cannot stomach holds up none of
        // them for long, since those never tried come first.
        self.failures = self.failures.saturating_add(1);
        let rest = asked.max(queue::pause(self.failures).at_least());
        self.rests_until = Instant::now() + rest;
        if let Some(pause) = pause {
            let what = "message may have arrived, and is sent again after a long pause";
            tracing::warn!(channel, message = id, attempts, problem, "{what}");
            let aside = queue::set_aside(client, message, pause, &problem);
            return in_time(self.config, aside).await;
        }
        tracing::warn!(channel, message = id, attempts, problem, "message waits");
        let pause = queue::pause(attempts).not_before(asked);
        in_time(self.config, queue::failed(client, message, pause, &problem)).await
    }
}
