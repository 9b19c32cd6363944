//! Messages that nobody needs any more, or nobody can send.
//!
//! A channel that is gone would otherwise pile them up, and post them all, the stalest first, on
//! the day that it is mended. What nobody has heard is kept: it waits for its channel.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::{Client, Error};

use super::channels::Channel;
use super::session::{Interrupted, in_time};
use crate::config::Config;
use crate::metrics::{self, MessageResult};

/// How often they are looked for.
const EVERY: Duration = Duration::from_secs(10);

/// Looks for stale messages from time to time.
#[derive(Debug)]
pub struct Stale {
    next: Instant,
}

impl Stale {
    /// This process notifies from here on: what waits for a channel that it does not have is set
    /// aside, so that on-call hears of what comes next.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(
        client: &Client,
        config: &Config,
        open: &[Channel],
    ) -> Result<Self, Interrupted> {
        let messages = in_time(config, set_aside(client, open)).await?;
        if messages > 0 {
            tracing::warn!(
                messages,
                "messages wait for a channel that this process does not have; they are given up \
                 after a day"
            );
        }
        let next = Instant::now();
        Ok(Self { next })
    }

    /// Gives up what is stale, when it is time to look.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn turn(
        &mut self,
        client: &Client,
        config: &Config,
        open: &[Channel],
    ) -> Result<(), Interrupted> {
        if Instant::now() < self.next {
            return Ok(());
        }
        self.next = Instant::now() + EVERY;
        for (channel, messages) in in_time(config, give_up(client, open)).await? {
            metrics::messages(channel, MessageResult::Suppressed, messages);
            let channel = channel.as_str();
            tracing::warn!(channel, messages, "stale messages are given up");
        }
        Ok(())
    }
}

async fn set_aside(client: &Client, open: &[Channel]) -> Result<u64, Error> {
    client
        .execute(
            "UPDATE outbox SET refused_at = coalesce(refused_at, now()),
                               last_error = 'the process that notifies does not have this channel'
             WHERE channel <> ALL ($1) AND sent_at IS NULL AND suppressed_at IS NULL",
            &[&names(open)],
        )
        .await
}

/// Two of three: somebody has heard it on another channel (or need not: a canary), it is a day old,
/// its channel is closed.
async fn give_up(client: &Client, open: &[Channel]) -> Result<Vec<(Channel, u64)>, Error> {
    let rows = client
        .query(
            "WITH given_up AS (
                 UPDATE outbox AS o SET suppressed_at = now()
                 WHERE o.sent_at IS NULL AND o.suppressed_at IS NULL
                   AND 2 <= (o.channel <> ALL ($1))::int
                          + (o.created_at < now() - interval '24 h')::int
                          + (o.channel = 'canary'
                             OR EXISTS (SELECT FROM outbox AS other WHERE other.notice_id = o.notice_id
                                                                      AND other.sent_at IS NOT NULL))::int
                 RETURNING o.channel)
             SELECT channel, count(*) FROM given_up GROUP BY channel",
            &[&names(open)],
        )
        .await?;
    let mut given_up = Vec::new();
    for row in rows {
        let name: &str = row.try_get(0)?;
        let messages = u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or(0);
        let channel = Channel::ALL.into_iter().find(|c| c.as_str() == name);
        given_up.extend(channel.map(|channel| (channel, messages)));
    }
    Ok(given_up)
}

fn names(channels: &[Channel]) -> Vec<&'static str> {
    channels.iter().map(|channel| channel.as_str()).collect()
}
