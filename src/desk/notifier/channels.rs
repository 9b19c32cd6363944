//! The ways in which people are told, and which of them are open for what.

use lettre::message::Mailbox;

use super::outbox::NoticeKind;
use crate::config::{Config, ConfigError};

/// One way of telling people; each sends at its own pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Mail to people.
    Mail,
    /// An incoming webhook as Slack has it.
    Slack,
    /// Signed JSON for programs.
    Webhook,
    /// Where canaries end: a mailbox of their own, the mail server's greeting, or the outbox
    /// itself.
    Canary,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 4] = [Self::Mail, Self::Slack, Self::Webhook, Self::Canary];

    /// Its name in the outbox and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Slack => "slack",
            Self::Webhook => "webhook",
            Self::Canary => "canary",
        }
    }
}

/// What becomes of a message that enters the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is sent.
    Waits,
    /// The outbox is where it ends: as good as sent.
    Ends,
    /// Nobody is to be told.
    Suppressed,
}

/// Which channels are open, by the settings; it connects to nothing.
#[derive(Debug, Clone)]
pub struct Channels {
    mail: bool,
    slack: bool,
    webhook: bool,
    canary: bool,
    schema: String,
    domain: String,
}

impl Channels {
    /// Reads `[mail]`, `[slack]`, `[webhook]` and `[canary]`.
    ///
    /// # Errors
    /// When `mail.from`, whose domain ends every message id, is no mail address.
    pub fn of(config: &Config) -> Result<Self, ConfigError> {
        let from: Mailbox = config.mail.from.parse().map_err(|_| ConfigError::Wrong {
            setting: "mail.from",
            problem: format!("{:?} is not a mail address", config.mail.from),
        })?;
        Ok(Self {
            mail: !config.mail.host.is_empty(),
            slack: !config.slack.url.is_empty(),
            webhook: !config.webhook.url.is_empty(),
            // Another stream may have canaries where this one has none.
            canary: !config.mail.host.is_empty(),
            schema: config.database.schema.clone(),
            domain: from.email.domain().to_owned(),
        })
    }

    /// The channels that somebody listens to.
    pub fn open(&self) -> Vec<Channel> {
        [
            (self.mail, Channel::Mail),
            (self.slack, Channel::Slack),
            (self.webhook, Channel::Webhook),
            (self.canary, Channel::Canary),
        ]
        .into_iter()
        .filter_map(|(open, channel)| open.then_some(channel))
        .collect()
    }

    /// Whether on-call is reached at all.
    pub fn reach_anybody(&self) -> bool {
        self.mail || self.slack || self.webhook
    }

    /// Where a notice of this kind goes, and what becomes of it there.
    pub(super) fn of_kind(&self, kind: NoticeKind) -> Vec<(Channel, Fate)> {
        let wanted: &[Channel] = match kind {
            NoticeKind::Incident | NoticeKind::System => {
                &[Channel::Mail, Channel::Slack, Channel::Webhook]
            }
            NoticeKind::Report => &[Channel::Mail],
            NoticeKind::Canary if self.canary => &[Channel::Canary],
            NoticeKind::Canary => return vec![(Channel::Canary, Fate::Ends)],
        };
        let mut open = self.open();
        open.retain(|channel| wanted.contains(channel));
        if open.is_empty() {
            return vec![(Channel::Mail, Fate::Suppressed)];
        }
        open.into_iter()
            .map(|channel| (channel, Fate::Waits))
            .collect()
    }

    /// The same for every attempt, with its angle brackets; `created` (µs since 1970) tells the
    /// notices of a database from those of one that was made anew.
    pub(super) fn message_id(&self, notice: i64, created: i64, channel: Channel) -> String {
        let (schema, domain) = (&self.schema, &self.domain);
        format!(
            "<{notice}.{created}.{}.{schema}@{domain}>",
            channel.as_str()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(mail: bool, slack: bool, webhook: bool) -> Channels {
        Channels {
            mail,
            slack,
            webhook,
            canary: false,
            schema: "vigie".into(),
            domain: "example.org".into(),
        }
    }

    #[test]
    fn an_incident_goes_everywhere_and_a_report_by_mail_alone() {
        let open = channels(true, true, true);
        let names = |kind| {
            let ways = open.of_kind(kind);
            ways.iter()
                .map(|(channel, _)| channel.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(NoticeKind::Incident), ["mail", "slack", "webhook"]);
        assert_eq!(names(NoticeKind::System), ["mail", "slack", "webhook"]);
        assert_eq!(names(NoticeKind::Report), ["mail"]);
        assert_eq!(names(NoticeKind::Canary), ["canary"]);
    }

    #[test]
    fn without_a_channel_there_is_one_message_that_nobody_gets() {
        let none = channels(false, false, false);
        let suppressed = [(Channel::Mail, Fate::Suppressed)];
        assert_eq!(none.of_kind(NoticeKind::Incident), suppressed);
        assert_eq!(
            channels(false, true, false).of_kind(NoticeKind::Report),
            suppressed
        );
        let slack = channels(false, true, false).of_kind(NoticeKind::Incident);
        assert_eq!(slack, [(Channel::Slack, Fate::Waits)]);
    }

    #[test]
    fn a_canary_without_a_mail_server_ends_in_the_outbox() {
        let ways = channels(false, true, false).of_kind(NoticeKind::Canary);
        assert_eq!(ways, [(Channel::Canary, Fate::Ends)]);
    }

    #[test]
    fn message_ids_differ_by_notice_channel_and_database() {
        let channels = channels(true, true, false);
        let id = channels.message_id(7, 1_500, Channel::Mail);
        assert_eq!(id, "<7.1500.mail.vigie@example.org>");
        for other in [
            channels.message_id(7, 1_500, Channel::Slack),
            channels.message_id(8, 1_500, Channel::Mail),
            channels.message_id(7, 1_501, Channel::Mail),
        ] {
            assert_ne!(id, other);
        }
    }
}
