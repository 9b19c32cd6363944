//! Messages for an incoming webhook as Slack and its likes have it.

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::post::Target;
use super::queue::Message;
use super::sender::SendError;
use crate::config::{Config, ConfigError};

/// Characters of a message; Slack itself cuts longer ones in pieces.
const TEXT_CHARS: usize = 3_500;

/// The way to a Slack channel.
pub struct Slack {
    target: Target,
}

impl Slack {
    /// Reads `[slack]`; `None` when there is no address.
    ///
    /// # Errors
    /// When the address or the certificate authority makes no sense.
    pub fn new(config: &Config) -> Result<Option<Self>, ConfigError> {
        let target = Target::new("slack.url", &config.slack.url, &config.webhook)?;
        Ok(target.map(|target| Self { target }))
    }

    /// Posts the message, once.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, message: &Message) -> Result<(), SendError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.target.post(body(message).into_bytes(), headers).await
    }

    /// Connects and shakes hands, and posts nothing.
    ///
    /// # Errors
    /// What stood in the way.
    pub async fn probe(&self) -> Result<(), String> {
        self.target.probe().await
    }
}

/// Names come from payments: nothing in them becomes a link, a mention or a format.
fn body(message: &Message) -> String {
    let whole = format!("{}\n\n{}", message.subject, message.text.trim_end());
    let mut text: String = whole.chars().take(TEXT_CHARS).collect();
    if text.len() < whole.len() {
        text.push('…');
    }
    serde_json::json!({
        "text": escaped(&text),
        "mrkdwn": false,
        "parse": "none",
        "link_names": false,
        "unfurl_links": false,
        "unfurl_media": false,
    })
    .to_string()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // Slack's likes read "@all" in any text; a space of no width breaks it.
            '@' => escaped.push_str("@\u{200b}"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::desk::notifier::outbox::NoticeKind;

    fn text_of(subject: &str, text: &str) -> String {
        let message = Message {
            id: 1,
            kind: NoticeKind::Incident,
            attempts: 1,
            message_id: "<1.slack.vigie@example.org>".into(),
            subject: subject.into(),
            text: text.into(),
            html: String::new(),
            payload: None,
            attachments: Vec::new(),
            created_at: SystemTime::UNIX_EPOCH,
        };
        let body: serde_json::Value = serde_json::from_str(&body(&message)).unwrap();
        body["text"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_merchant_cannot_link_mention_or_call_everybody() {
        let text = text_of("1 payment", "merchant <!channel> & <https://x|y> @all\n");
        assert_eq!(
            text,
            "1 payment\n\nmerchant &lt;!channel&gt; &amp; &lt;https://x|y&gt; @\u{200b}all"
        );
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let text = text_of("s", &"é&".repeat(10_000));
        assert!(text.ends_with('…'), "{text}");
        assert!(text.chars().count() < 5 * TEXT_CHARS);
    }
}
