//! The words of a message about fraud.

mod pages;

use std::collections::BTreeSet;

use serde_json::Value;

use super::shared::Shared;
use crate::desk::text::{Money, counted, major, moment, number, plain};
use crate::engine::batch::Micros;

/// What one message is about: counts and sums of all its alerts, and the riskiest few.
#[derive(Debug, Clone)]
pub struct Digest {
    /// When it was written: the messages in the outbox have the same moment.
    pub at: Micros,
    /// How many incidents it tells of.
    pub incidents: u64,
    /// How many of them are critical.
    pub critical: u64,
    /// How many payments are for review.
    pub review: u64,
    /// How many were blocked.
    pub block: u64,
    /// From the first alert to the last.
    pub window: (Micros, Micros),
    /// Sums per currency, the commonest first.
    pub totals: Vec<Money>,
    /// In how many other currencies there are some.
    pub other_currencies: u64,
    /// What many of the alerts share.
    pub shared: Option<Shared>,
    /// What on-call was told in the hour before.
    pub heard: Option<Heard>,
    /// The riskiest by amount, largest first.
    pub riskiest: Vec<Alert>,
    /// Against what is usual.
    pub observed: Observed,
    /// Thresholds of the policy: review and block.
    pub thresholds: Option<(f32, f32)>,
}

/// What on-call was told before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// In how many messages.
    pub messages: u64,
    /// Of how many alerts.
    pub alerts: u64,
    /// When the first of them was written.
    pub since: Micros,
}

/// How many alerts there are, and usually are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// Alerts of the last hour.
    pub last_hour: u64,
    /// Mean per hour of at most the seven days before; `None` without an hour of history.
    pub usual: Option<f64>,
}

/// One payment that was not allowed.
#[derive(Debug, Clone)]
pub struct Alert {
    /// The incident it belongs to.
    pub incident: i64,
    /// Its amount.
    pub amount: Money,
    /// The first characters of the account's token.
    pub account: String,
    /// Where the money goes.
    pub merchant: Option<String>,
    /// The transaction's id.
    pub payment: String,
    /// Risk, 0 to 1; `None` was not assessed.
    pub score: Option<f32>,
    /// Blocked, or for review.
    pub blocked: bool,
    /// Why.
    pub reasons: Vec<String>,
    /// Event time.
    pub time: Micros,
    /// Versions of the model and the policy, where the payment is still stored.
    pub versions: Option<(String, String)>,
}

/// Where a reader finds more.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Database server.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// Database.
    pub database: &'a str,
    /// Schema.
    pub schema: &'a str,
}

/// A message without its envelope.
#[derive(Debug, Clone)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// For plain readers.
    pub text: String,
    /// For the others.
    pub html: String,
    /// For programs.
    pub payload: Value,
}

impl Digest {
    /// How many alerts.
    pub fn alerts(&self) -> u64 {
        self.review + self.block
    }

    fn counts(&self) -> String {
        let of = |count: u64, what: &str| (count > 0).then(|| format!("{} {what}", number(count)));
        let parts = [of(self.block, "blocked"), of(self.review, "for review")];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn at_risk(&self) -> String {
        let mut totals: Vec<String> = self.totals.iter().map(major).collect();
        match self.other_currencies {
            0 => {}
            1 => totals.push("another currency".to_owned()),
            others => totals.push(format!("{others} other currencies")),
        }
        totals.join(" + ")
    }

    fn more(&self) -> u64 {
        self.alerts().saturating_sub(self.riskiest.len() as u64)
    }

    fn headline(&self) -> String {
        let critical = match self.critical {
            0 => String::new(),
            some if some == self.incidents => ", critical".to_owned(),
            some => format!(", {} of them critical", number(some)),
        };
        format!(
            "{} in {}{critical}: {}. At risk: {}.",
            counted(self.alerts(), "suspicious payment"),
            counted(self.incidents, "incident"),
            self.counts(),
            self.at_risk()
        )
    }

    fn subject(&self) -> String {
        let critical = if self.critical > 0 { "critical, " } else { "" };
        format!(
            "Vigie: {critical}{} ({}), {} at risk",
            counted(self.alerts(), "suspicious payment"),
            self.counts(),
            self.at_risk()
        )
    }

    /// Distinct versions of the models, and of the policies, that decided.
    pub(super) fn versions(&self) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let known = self
            .riskiest
            .iter()
            .filter_map(|alert| alert.versions.as_ref());
        known
            .map(|(model, policy)| (model.as_str(), policy.as_str()))
            .unzip()
    }

    /// What fired, in which time, and what is usual: a line each.
    fn circumstances(&self) -> Vec<String> {
        let (models, policies) = self.versions();
        let listed = |versions: BTreeSet<&str>| match versions.is_empty() {
            true => "unknown".to_owned(),
            false => plain(&versions.into_iter().collect::<Vec<_>>().join(", ")),
        };
        let thresholds = self.thresholds.map(|(review, block)| {
            format!(" (review from a score of {review}, block from {block})")
        });
        let usual = match self.observed.usual {
            Some(mean) => format!("usual are {mean:.1} an hour (mean of the last 7 days)"),
            None => "what is usual is not known yet".to_owned(),
        };
        let heard = self.heard.map(|heard| {
            format!(
                "Before: {} in {} since {}; {} with these.",
                counted(heard.alerts, "suspicious payment"),
                counted(heard.messages, "message"),
                moment(heard.since),
                number(heard.alerts + self.alerts())
            )
        });
        let mut lines = vec![
            format!(
                "What fired: model {}, policy {}{}.",
                listed(models),
                listed(policies),
                thresholds.unwrap_or_default()
            ),
            format!(
                "When: alerts from {} to {}.",
                moment(self.window.0),
                moment(self.window.1)
            ),
            format!(
                "Observed: {} in the last hour; {usual}.",
                counted(self.observed.last_hour, "alert")
            ),
        ];
        lines.extend(heard);
        lines
    }

    /// What to run next: a line that says why, and the command.
    fn commands(&self, place: &Place) -> Vec<(String, String)> {
        let incident = self.riskiest.first().map_or(0, |alert| alert.incident);
        let silence = match self.incidents {
            1 => "To silence it for a while:",
            _ => "To silence the incident of the first for a while:",
        };
        let mut commands = vec![
            (
                "All of these alerts:".to_owned(),
                pages::look_further(self.at, place),
            ),
            (
                "The incident of the first, and all that are open:".to_owned(),
                format!("vigie alerts show {incident}; vigie alerts list"),
            ),
            (
                silence.to_owned(),
                format!("vigie alerts snooze --incident {incident} --for 2h --why \"…\""),
            ),
        ];
        if self.incidents > 1 {
            commands.extend(self.shared.as_ref().map(Shared::command));
        }
        commands
    }
}

/// Writes the message.
pub fn render(digest: &Digest, place: &Place) -> Letter {
    Letter {
        subject: digest.subject(),
        text: pages::text(digest, place),
        html: pages::html(digest, place),
        payload: pages::payload(digest),
    }
}

impl Alert {
    fn decision(&self) -> &'static str {
        if self.blocked { "blocked" } else { "review" }
    }

    /// Amount, decision, score, reasons, time, account, merchant, payment and incident, in words.
    fn cells(&self) -> [String; 9] {
        let score = self.score.map(|score| format!("{score:.3}"));
        [
            major(&self.amount),
            self.decision().to_owned(),
            score.unwrap_or_else(|| "not assessed".to_owned()),
            plain(&self.reasons.join(", ")),
            moment(self.time),
            format!("{}…", plain(&self.account)),
            self.merchant
                .as_deref()
                .map_or_else(|| "unknown".to_owned(), plain),
            plain(&self.payment),
            self.incident.to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::text::escape;

    const PLACE: Place = Place {
        host: "127.0.0.1",
        port: 5432,
        database: "vigie",
        schema: "vigie",
    };

    fn money(minor: i64, scale: u32, currency: Option<&str>) -> Money {
        Money {
            minor,
            scale,
            currency: currency.map(str::to_owned),
        }
    }

    fn alert(merchant: &str) -> Alert {
        Alert {
            incident: 31,
            amount: money(123_450, 2, None),
            account: "1a2b3c4d".into(),
            merchant: Some(merchant.into()),
            payment: "t1".into(),
            score: Some(0.987_6),
            blocked: true,
            reasons: vec!["score_block".into()],
            time: 1_592_713_931_000_000,
            versions: Some(("card 2026.11.1".into(), "bundle-2026.11.1".into())),
        }
    }

    fn digest(riskiest: Vec<Alert>, block: u64, review: u64) -> Digest {
        Digest {
            at: 1_592_713_950_000_001,
            incidents: 1,
            critical: 0,
            review,
            block,
            window: (1_592_713_931_000_000, 1_592_713_949_000_000),
            totals: vec![money(999_900, 2, Some("EUR"))],
            other_currencies: 0,
            shared: None,
            heard: None,
            riskiest,
            observed: Observed {
                last_hour: 12,
                usual: Some(1.25),
            },
            thresholds: Some((0.328_1, 0.444_8)),
        }
    }

    #[test]
    fn a_message_says_what_happened_how_much_why_and_where_to_look() {
        let letter = render(&digest(vec![alert("Corner shop")], 1, 0), &PLACE);
        assert_eq!(
            letter.subject,
            "Vigie: 1 suspicious payment (1 blocked), EUR 9,999.00 at risk"
        );
        for words in [
            "1,234.50",
            "score 0.988",
            "score_block",
            "2020-06-21 04:32:11 UTC",
            "account 1a2b3c4d…",
            "Corner shop",
            "model card 2026.11.1, policy bundle-2026.11.1 (review from a score of 0.3281, block from 0.4448)",
            "alerts from 2020-06-21 04:32:11 UTC to 2020-06-21 04:32:29 UTC",
            "12 alerts in the last hour; usual are 1.2 an hour",
            "o.created_at = '2020-06-21T04:32:30.000001Z'",
            "vigie alerts show 31",
            "vigie alerts snooze --incident 31 --for 2h --why",
        ] {
            assert!(
                letter.text.contains(words),
                "{words} is not in\n{}",
                letter.text
            );
            assert!(
                letter.html.contains(&escape(words))
                    || words.starts_with("score 0")
                    || words.starts_with("account"),
                "{words} is not in\n{}",
                letter.html
            );
        }
        assert!(!letter.text.contains("more."), "{}", letter.text);
        assert_eq!(letter.payload["at_risk"][0]["amount"], "9999.00");
        assert_eq!(letter.payload["riskiest"][0]["reasons"][0], "score_block");
        assert_eq!(letter.payload["severity"], "warning");
        assert_eq!(letter.payload["riskiest"][0]["score"], 0.987_6);
    }

    #[test]
    fn five_of_a_thousand_are_named_and_the_others_are_counted() {
        let mut thousands = digest(vec![alert("m"); 5], 4_900, 100);
        thousands.incidents = 5_000;
        thousands.critical = 17;
        thousands.shared = Some(Shared::merchant("Corner shop", 4_000));
        thousands.other_currencies = 3;
        thousands.heard = Some(Heard {
            messages: 1,
            alerts: 247,
            since: 1_592_713_931_000_000,
        });
        let letter = render(&thousands, &PLACE);
        assert!(
            letter
                .subject
                .contains("critical, 5,000 suspicious payments (4,900 blocked, 100 for review)"),
            "{}",
            letter.subject
        );
        assert!(
            letter
                .text
                .contains("in 5,000 incidents, 17 of them critical")
        );
        for words in [
            "EUR 9,999.00 + 3 other currencies",
            "To silence the incident of the first",
            "the merchant that 4,000 of them share",
            "vigie alerts snooze --merchant \"Corner shop\" --for 2h",
            "Before: 247 suspicious payments in 1 message since 2020-06-21 04:32:11 UTC; 5,247 with these.",
        ] {
            assert!(
                letter.text.contains(words),
                "{words} is not in\n{}",
                letter.text
            );
        }
        assert_eq!(letter.payload["told_before"], 247);
        assert!(letter.text.contains("\n5. ") && !letter.text.contains("\n6. "));
        assert!(letter.text.contains("\n4,995 more."), "{}", letter.text);
        assert!(
            letter.html.contains("<p>4,995 more.</p>"),
            "{}",
            letter.html
        );
        assert_eq!(letter.payload["more"], 4_995);
    }

    #[test]
    fn a_merchant_with_markup_and_line_breaks_is_only_a_name() {
        let nasty = "<script>alert('x')</script>\r\nBcc: all@example.org\u{202e}\0";
        let letter = render(&digest(vec![alert(nasty)], 1, 0), &PLACE);
        assert!(!letter.html.contains("<script>"), "{}", letter.html);
        assert!(
            letter
                .html
                .contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;")
        );
        assert!(!letter.text.contains("\nBcc:") && !letter.text.contains(['\0', '\r', '\u{202e}']));
        assert!(
            letter.text.contains("Bcc: all@example.org"),
            "{}",
            letter.text
        );
        let merchant = letter.payload["riskiest"][0]["merchant"].as_str().unwrap();
        assert!(
            !merchant.contains(['\n', '\r', '\u{202e}', '\0']),
            "{merchant:?}"
        );
    }

    #[test]
    fn a_currency_with_a_line_break_stays_in_its_line() {
        let mut nasty = digest(vec![alert("m")], 1, 0);
        nasty.totals = vec![money(1, 2, Some("EUR\r\nBcc: a@b.c"))];
        assert!(!render(&nasty, &PLACE).subject.contains(['\r', '\n']));
    }

    #[test]
    fn without_history_and_without_the_payments_it_says_so() {
        let mut first = digest(vec![alert("m")], 1, 0);
        first.observed.usual = None;
        first.riskiest[0].versions = None;
        let letter = render(&first, &PLACE);
        assert!(letter.text.contains("what is usual is not known yet"));
        assert!(letter.text.contains("model unknown, policy unknown"));
    }
}
