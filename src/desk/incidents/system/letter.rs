//! The words of a message about the system.

use std::fmt::Write;

use serde_json::json;
use tokio_postgres::{Error, Row};

use super::Trouble;
use crate::database::Moment;
use crate::desk::notifier::outbox::{Notice, NoticeKind};
use crate::desk::text::{escape, moment};
use crate::engine::batch::Micros;

/// One incident, and what is new about it.
#[derive(Debug, Clone)]
pub(super) struct News {
    /// Its number.
    pub(super) incident: i64,
    name: String,
    stream: i16,
    severity: String,
    opened_at: Micros,
    is_open: bool,
    /// On-call has heard of it before.
    is_known: bool,
    detail: String,
}

impl News {
    pub(super) fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            incident: row.try_get("id")?,
            name: row.try_get("group_key")?,
            stream: row.try_get("stream")?,
            severity: row.try_get("severity")?,
            opened_at: row.try_get::<_, Moment>("opened_at")?.0,
            is_open: row.try_get("is_open")?,
            is_known: row.try_get("is_known")?,
            detail: row.try_get("detail")?,
        })
    }

    fn title(&self) -> &str {
        let known = Trouble::ALL
            .into_iter()
            .find(|trouble| trouble.as_str() == self.name);
        known.map_or(self.name.as_str(), |trouble| trouble.title())
    }

    fn state(&self) -> &'static str {
        match (self.is_open, self.is_known) {
            (false, _) => "over",
            (true, false) => "begins",
            (true, true) => "goes on",
        }
    }

    fn headline(&self) -> String {
        format!(
            "{}: {} ({}, stream {}, incident {}, since {})",
            self.title(),
            self.state(),
            self.severity,
            self.stream,
            self.incident,
            moment(self.opened_at)
        )
    }

    /// What was wrong or is, with what to do.
    fn body(&self) -> String {
        if self.is_open {
            format!(
                "{}\nTo silence it for a while: vigie alerts snooze --system {} --for 2h --why \"…\"",
                sentence(&self.detail),
                self.name
            )
        } else {
            format!("It was: {}", sentence(&self.detail))
        }
    }
}

/// Its first letter large.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

/// One notice about all of them.
pub(super) fn notice(news: &[News]) -> Notice {
    let worst = news
        .iter()
        .any(|one| one.is_open && one.severity == "critical");
    let titles: Vec<String> = news
        .iter()
        .map(|one| match one.is_open {
            true => one.title().to_owned(),
            false => format!("over: {}", one.title()),
        })
        .collect();
    let (mut text, mut html) = (
        String::new(),
        "<html><body style=\"font-family:sans-serif\">\n".to_owned(),
    );
    for one in news {
        // Writing to a String cannot fail.
        let _ = write!(text, "{}\n\n{}\n\n", sentence(&one.headline()), one.body());
        let _ = writeln!(
            html,
            "<p><b>{}</b></p>\n<p>{}</p>",
            escape(&sentence(&one.headline())),
            escape(&one.body()).replace('\n', "<br>\n")
        );
    }
    html.push_str("</body></html>\n");
    let incidents: Vec<_> = news
        .iter()
        .map(|one| {
            json!({
                "incident": one.incident, "trouble": one.name, "state": one.state(), "severity": one.severity,
                "stream": one.stream, "opened_at": moment(one.opened_at), "detail": one.detail,
            })
        })
        .collect();
    Notice {
        kind: NoticeKind::System,
        subject: format!(
            "Vigie: {}{}",
            if worst { "critical, " } else { "" },
            titles.join("; ")
        ),
        text,
        html,
        payload: json!({
            "kind": "system", "severity": if worst { "critical" } else { "warning" }, "incidents": incidents,
        }),
        attachments: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(is_open: bool, is_known: bool) -> News {
        News {
            incident: 7,
            name: "held_partition".into(),
            stream: 1,
            severity: "critical".into(),
            opened_at: 1_592_713_931_000_000,
            is_open,
            is_known,
            detail: "nothing is read from partition 3 (600 of <1000>)".into(),
        }
    }

    #[test]
    fn what_begins_goes_on_or_is_over_is_said_with_what_to_do() {
        let began = notice(&[news(true, false)]);
        assert_eq!(began.subject, "Vigie: critical, a held partition");
        for words in [
            "A held partition: begins (critical, stream 1, incident 7, since 2020-06-21 04:32:11 UTC)",
            "Nothing is read from partition 3",
            "vigie alerts snooze --system held_partition",
        ] {
            assert!(began.text.contains(words), "{}", began.text);
        }
        assert!(began.html.contains("600 of &lt;1000&gt;"), "{}", began.html);
        assert!(notice(&[news(true, true)]).text.contains("goes on"));
        let over = notice(&[news(false, true)]);
        assert_eq!(over.subject, "Vigie: over: a held partition");
        assert_eq!(over.payload["severity"], "warning");
        assert!(!over.text.contains("snooze"), "{}", over.text);
    }
}
