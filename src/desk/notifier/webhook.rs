//! Messages for programs: JSON, signed so that the receiver knows who sent it and when.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::Sha256;

use super::post::Target;
use super::queue::Message;
use super::sender::SendError;
use crate::config::{Config, ConfigError};

/// `t=<seconds since 1970>,v1=<hexadecimal HMAC-SHA256 of "t.body" under webhook.secret>`.
const SIGNATURE: &str = "x-vigie-signature";
/// The same for every attempt, as `id` in the body is.
const MESSAGE_ID: &str = "x-vigie-message-id";

/// The way to a program.
pub struct Webhook {
    target: Target,
    key: Hmac<Sha256>,
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    kind: &'static str,
    subject: &'a str,
    text: &'a str,
    payload: Option<&'a RawValue>,
    at: jiff::Timestamp,
}

impl Webhook {
    /// Reads `[webhook]`; `None` when there is no address.
    ///
    /// # Errors
    /// When the address or the certificate authority makes no sense, or there is no secret.
    pub fn new(config: &Config) -> Result<Option<Self>, ConfigError> {
        let webhook = &config.webhook;
        let Some(target) = Target::new("webhook.url", &webhook.url, webhook)? else {
            return Ok(None);
        };
        let wrong = |problem: &str| ConfigError::Wrong {
            setting: "webhook.secret",
            problem: problem.to_owned(),
        };
        if webhook.secret.is_empty() {
            return Err(wrong(
                "expected a secret to sign with: set webhook.secret_file",
            ));
        }
        let key = Hmac::new_from_slice(webhook.secret.reveal().as_bytes());
        let key = key.map_err(|_| wrong("it is no key"))?;
        Ok(Some(Self { target, key }))
    }

    /// Posts the message, once.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, message: &Message) -> Result<(), SendError> {
        let unsendable = |_| SendError::Refused("it cannot be written as JSON".into());
        let body = body(message).map_err(unsendable)?;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = since_1970.unwrap_or_default().as_secs();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in [
            (SIGNATURE, self.signature(seconds, &body)),
            (MESSAGE_ID, bare(&message.message_id).to_owned()),
        ] {
            let unsendable = |_| SendError::Refused("its id cannot be a header".into());
            headers.insert(name, HeaderValue::try_from(value).map_err(unsendable)?);
        }
        let posted = self.target.post(body.into_bytes(), headers).await;
        posted.map_err(|error| match error {
            // A program knows a repeat by its id, and is better served soon.
            SendError::Unsure(problem) => SendError::Away(problem),
            other => other,
        })
    }

    /// Connects and shakes hands, and posts nothing.
    ///
    /// # Errors
    /// What stood in the way.
    pub async fn probe(&self) -> Result<(), String> {
        self.target.probe().await
    }

    fn signature(&self, seconds: u64, body: &str) -> String {
        let signed = self.key.clone().chain_update(format!("{seconds}.{body}"));
        let bytes = signed.finalize().into_bytes();
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("t={seconds},v1={digits}")
    }
}

fn body(message: &Message) -> serde_json::Result<String> {
    let payload = message.payload.as_deref();
    serde_json::to_string(&Body {
        id: bare(&message.message_id),
        kind: message.kind.as_str(),
        subject: &message.subject,
        text: &message.text,
        payload: payload.map(serde_json::from_str).transpose()?,
        at: jiff::Timestamp::try_from(message.created_at).unwrap_or_default(),
    })
}

/// A message id without the angle brackets that mail wants.
fn bare(message_id: &str) -> &str {
    message_id.trim_start_matches('<').trim_end_matches('>')
}
