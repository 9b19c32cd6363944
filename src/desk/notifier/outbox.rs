//! The outbox: whoever has something to say enqueues a notice here, once for all channels.

use tokio_postgres::{Error, Transaction};

use super::channels::{Channel, Fate};
use crate::metrics::{self, MessageResult};

pub use super::channels::Channels;

/// What a notice is about; it decides who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// Payments that look like fraud.
    Incident,
    /// The system's own trouble.
    System,
    /// The morning report.
    Report,
    /// A canary that came through.
    Canary,
}

impl NoticeKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Incident, Self::System, Self::Report, Self::Canary];

    /// As the database and the webhook have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incident => "incident",
            Self::System => "system",
            Self::Report => "report",
            Self::Canary => "canary",
        }
    }

    /// The kind of that name; messages older than notices are about incidents.
    pub(super) fn named(name: Option<&str>) -> Self {
        let known = Self::ALL
            .into_iter()
            .find(|kind| Some(kind.as_str()) == name);
        known.unwrap_or(Self::Incident)
    }
}

/// Something to be told.
#[derive(Debug, Clone)]
pub struct Notice {
    /// What it is about.
    pub kind: NoticeKind,
    /// One line.
    pub subject: String,
    /// For plain readers; without the subject.
    pub text: String,
    /// For mail readers that show more.
    pub html: String,
    /// For programs.
    pub payload: serde_json::Value,
    /// What goes with a mail.
    pub attachments: Vec<Attachment>,
}

/// A file that goes with a mail.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// Its file name.
    pub name: String,
    /// For instance `text/csv; charset=utf-8`.
    pub content_type: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Writes the notice and one message for each channel that is open for its kind; with none open,
/// one message that is suppressed. Returns the notice's number.
///
/// # Errors
/// When the database fails.
pub async fn enqueue(
    transaction: &Transaction<'_>,
    notice: &Notice,
    channels: &Channels,
) -> Result<i64, Error> {
    let insert = "INSERT INTO notices (kind) VALUES ($1)
                  RETURNING id, (extract(epoch FROM created_at) * 1000000)::bigint";
    let row = transaction
        .query_one(insert, &[&notice.kind.as_str()])
        .await?;
    let id: i64 = row.try_get(0)?;
    let created: i64 = row.try_get(1)?;
    for (channel, fate) in channels.of_kind(notice.kind) {
        let message_id = channels.message_id(id, created, channel);
        insert_message(transaction, (id, &message_id), notice, channel, fate).await?;
    }
    for (number, attachment) in (0i16..).zip(&notice.attachments) {
        transaction
            .execute(
                "INSERT INTO attachments (notice_id, number, name, content_type, content)
                 VALUES ($1, $2, $3, $4, $5)",
                &[
                    &id,
                    &number,
                    &attachment.name,
                    &attachment.content_type,
                    &attachment.bytes,
                ],
            )
            .await?;
    }
    Ok(id)
}

/// One channel's message; it carries what that channel can show.
async fn insert_message(
    transaction: &Transaction<'_>,
    (id, message_id): (i64, &str),
    notice: &Notice,
    channel: Channel,
    fate: Fate,
) -> Result<(), Error> {
    let mail = matches!(channel, Channel::Mail | Channel::Canary);
    let html = if mail { notice.html.as_str() } else { "" };
    let payload = (channel == Channel::Webhook).then(|| notice.payload.to_string());
    transaction
        .execute(
            "INSERT INTO outbox (notice_id, channel, message_id, subject, body_text, body_html, payload,
                                 sent_at, suppressed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7::text::json, CASE WHEN $8 THEN now() END, CASE WHEN $9 THEN now() END)",
            &[
                &id,
                &channel.as_str(),
                &message_id,
                &one_line(&notice.subject),
                &notice.text,
                &html,
                &payload,
                &(fate == Fate::Ends),
                &(fate == Fate::Suppressed),
            ],
        )
        .await?;
    match fate {
        Fate::Waits => {}
        Fate::Ends => metrics::message(channel, MessageResult::Sent),
        Fate::Suppressed => metrics::message(channel, MessageResult::Suppressed),
    }
    Ok(())
}

/// A subject becomes a header: nothing in it may begin another.
fn one_line(subject: &str) -> String {
    subject.replace(|c: char| c.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_its_name_and_a_message_without_one_is_about_an_incident() {
        for kind in NoticeKind::ALL {
            assert_eq!(NoticeKind::named(Some(kind.as_str())), kind);
        }
        assert_eq!(NoticeKind::named(None), NoticeKind::Incident);
    }

    #[test]
    fn a_subject_begins_no_other_header() {
        assert_eq!(one_line("a\r\nBcc: b\tc"), "a  Bcc: b c");
    }
}
