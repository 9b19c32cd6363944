//! The canary: a synthetic fraud that goes the whole way, from Kafka through the model and the
//! database to the outbox, so that a way that is broken is noticed by us first.
//!
//! Its id says when it was sent. Its event time is not that: payments of the past may be on
//! their way, and one payment dated now would put them all under the horizon of their partition.
//! It is dated no later than what its partition has seen.

mod event;

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::{Client, Row};

pub use event::CanaryEvent;

use super::channels::Channel;
use super::outbox::{self, Channels, Notice, NoticeKind};
use super::session::{self, Interrupted, in_time};
use crate::config::{Config, ConfigError};
use crate::database::Moment;
use crate::desk::text::{escape, plain};
use crate::engine::batch::Micros;
use crate::kafka::KafkaError;
use crate::kafka::producer::{Compression, Handed, Producer};
use crate::metrics::{self, MessageResult};

/// How long a canary may wait for Kafka before it is given up; the next one follows anyway.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends canaries and sees them come back.
pub struct Canary<'a> {
    config: &'a Config,
    event: CanaryEvent,
    /// Whether this session is the one that sends the stream's canaries.
    leads: bool,
    /// None while another process sends them: a standby needs no client.
    producer: Option<Producer<()>>,
    /// When the next one is sent.
    next: Instant,
    /// Where canaries go, once the brokers have said so.
    partition: Option<i32>,
    /// Since when this process sends them, by the database's clock.
    since: Option<Micros>,
    /// What last stood in the way, so that it is said once.
    said: Option<String>,
}

/// How canaries stand in the database.
struct Seen {
    /// The database's clock.
    now: Micros,
    /// When the newest one was sent that came through.
    newest: Option<Micros>,
    /// The newest of those that belong to no message yet.
    fresh: Option<String>,
    /// The largest event time that its partition has seen; before the partition is known, that
    /// every partition has.
    watermark: Option<Micros>,
}

impl<'a> Canary<'a> {
    /// Sends nothing yet; `None` when canaries are off.
    ///
    /// # Errors
    /// See [`CanaryEvent::of`].
    pub fn new(config: &'a Config) -> Result<Option<Self>, ConfigError> {
        Ok(CanaryEvent::of(config)?.map(|event| Self {
            config,
            event,
            leads: false,
            producer: None,
            partition: None,
            next: Instant::now(),
            since: None,
            said: None,
        }))
    }

    /// In a new session nothing is held of the last one's.
    pub fn begin(&mut self) {
        self.leads = false;
    }

    /// Another process sends them, and says how old they are.
    fn rest(&mut self) {
        metrics::canary_age(None);
        self.producer = None;
        self.since = None;
    }

    /// Takes what came through, says how old the newest is, and sends one when it is time; unless
    /// another process of the stream does, whether or not that one notifies. Kafka is never
    /// waited for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn turn(
        &mut self,
        client: &mut Client,
        channels: &Channels,
    ) -> Result<(), Interrupted> {
        let stream = self.config.stream.id;
        if !self.leads {
            let canary = format!("vigie canary of stream {stream}");
            self.leads = in_time(self.config, session::lease(client, &canary)).await?;
        }
        if !self.leads {
            self.rest();
            return Ok(());
        }
        let mut seen = self.look(client).await?;
        if let Some(fresh) = seen.fresh.take() {
            in_time(self.config, take(client, stream, &fresh, channels)).await?;
            seen = self.look(client).await?;
        }
        let since = *self.since.get_or_insert(seen.now);
        let age = seen.now - seen.newest.unwrap_or(since);
        metrics::canary_age(Some(Duration::from_micros(age.max(0).cast_unsigned())));
        let trouble = match self.send_when_due(&seen) {
            Ok(trouble) => trouble,
            Err(error) => Some(error.to_string()),
        };
        if let Some(problem) = trouble.filter(|trouble| self.said.as_ref() != Some(trouble)) {
            tracing::warn!(problem, "the canary waits for Kafka");
            self.said = Some(problem);
        }
        Ok(())
    }

    async fn look(&self, client: &Client) -> Result<Seen, Interrupted> {
        let stream = self.config.stream.id;
        let row = in_time(self.config, look(client, stream, self.partition)).await?;
        let watermark: Option<Moment> = row.try_get("watermark")?;
        Ok(Seen {
            now: row.try_get("now")?,
            newest: row.try_get("newest")?,
            fresh: row.try_get("fresh")?,
            watermark: watermark.map(|moment| moment.0),
        })
    }

    /// Hands one over when it is time; what Kafka last complained of.
    fn send_when_due(&mut self, seen: &Seen) -> Result<Option<String>, KafkaError> {
        let producer = match &mut self.producer {
            Some(producer) => producer,
            none => none.insert(Producer::new(
                &self.config.kafka,
                &self.config.stream.topic,
                Compression::None,
                PATIENCE,
            )?),
        };
        if self.next <= Instant::now() {
            self.next = Instant::now() + self.config.canary.every;
            let time = self.event.dated(seen.now, seen.watermark);
            let (key, payload) = (self.event.account(), self.event.at(seen.now, time));
            let handed = producer.hand_over(key.as_bytes(), payload.as_bytes(), Box::new(()))?;
            if matches!(handed, Handed::Full(_)) {
                return Ok(Some("too many canaries wait already".into()));
            }
        }
        producer.poll(Duration::ZERO);
        let mut acknowledged = Vec::new();
        producer.acknowledged(&mut acknowledged)?;
        if let Some(last) = acknowledged.last() {
            self.partition = Some(last.partition);
            self.said = None;
        }
        Ok(producer.trouble())
    }
}

async fn look(
    client: &Client,
    stream: i16,
    partition: Option<i32>,
) -> Result<Row, tokio_postgres::Error> {
    client
        .query_one(
            "SELECT (extract(epoch FROM now()) * 1000000)::bigint AS now,
                    (SELECT substring(a.trans_num FROM '^canary-([0-9]{1,18})us$')::bigint
                     FROM fraud_alerts AS a JOIN outbox AS o ON o.id = a.outbox_id
                     WHERE a.origin = 2 AND a.stream = $1 AND o.sent_at IS NOT NULL
                       AND a.trans_num ~ '^canary-[0-9]{1,18}us$'
                     ORDER BY a.id DESC LIMIT 1) AS newest,
                    (SELECT trans_num FROM fraud_alerts WHERE origin = 2 AND outbox_id IS NULL AND stream = $1
                     ORDER BY id DESC LIMIT 1) AS fresh,
                    (SELECT CASE WHEN count(*) = count(watermark) THEN min(watermark) END
                     FROM stream_offsets
                     WHERE stream = $1 AND ($2::integer IS NULL OR partition = $2)) AS watermark",
            &[&stream, &partition],
        )
        .await
}

/// Those that have just come become one message of their own channel, in the place of one that
/// still waits: a server that is away for long is not to get a pile of them.
async fn take(
    client: &mut Client,
    stream: i16,
    newest: &str,
    channels: &Channels,
) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let text = format!(
        "{} came through Kafka, the model, the database and the outbox. It is no payment: nobody \
         has to do anything.",
        plain(newest)
    );
    let notice = Notice {
        kind: NoticeKind::Canary,
        subject: format!("Vigie: {} came through", plain(newest)),
        html: format!("<p>{}</p>", escape(&text)),
        text,
        payload: serde_json::Value::Null,
        attachments: Vec::new(),
    };
    let replaced = transaction
        .execute(
            "UPDATE outbox AS o SET suppressed_at = now()
             WHERE o.channel = 'canary' AND o.sent_at IS NULL AND o.suppressed_at IS NULL
               AND NOT EXISTS (SELECT FROM fraud_alerts AS a WHERE a.outbox_id = o.id AND a.stream <> $1)",
            &[&stream],
        )
        .await?;
    let id = outbox::enqueue(&transaction, &notice, channels).await?;
    transaction
        .execute(
            "UPDATE fraud_alerts SET outbox_id = (SELECT id FROM outbox WHERE notice_id = $1)
             WHERE origin = 2 AND outbox_id IS NULL AND stream = $2",
            &[&id, &stream],
        )
        .await?;
    transaction.commit().await?;
    metrics::messages(Channel::Canary, MessageResult::Suppressed, replaced);
    Ok(())
}
