//! The words of an alert mail. Everything that came with a payment is made harmless: control
//! characters, line breaks and markup in a merchant's name are only characters.

use std::fmt::Write;

use crate::desk::text::{Money, escape, major, moment, plain};
use crate::engine::batch::Micros;

/// What one message is about: counts and sums of all its alerts, and the riskiest few.
#[derive(Debug, Clone)]
pub struct Digest {
    /// The message's number in the outbox.
    pub message: i64,
    /// How many are for review.
    pub review: u64,
    /// How many were blocked.
    pub block: u64,
    /// Sums per currency, the commonest first.
    pub totals: Vec<Money>,
    /// The riskiest by amount, largest first.
    pub riskiest: Vec<Alert>,
}

/// One payment that was not allowed.
#[derive(Debug, Clone)]
pub struct Alert {
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
    /// Event time.
    pub time: Micros,
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
}

impl Digest {
    /// How many alerts.
    pub fn alerts(&self) -> u64 {
        self.review + self.block
    }

    fn counts(&self) -> String {
        let of = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
        let parts = [of(self.block, "blocked"), of(self.review, "for review")];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn at_risk(&self) -> String {
        let totals: Vec<String> = self.totals.iter().map(major).collect();
        totals.join(" + ")
    }

    fn payments(&self) -> &'static str {
        if self.alerts() == 1 {
            "payment"
        } else {
            "payments"
        }
    }

    fn more(&self) -> u64 {
        self.alerts().saturating_sub(self.riskiest.len() as u64)
    }
}

/// Writes the message.
pub fn render(digest: &Digest, place: &Place) -> Letter {
    let (alerts, payments) = (digest.alerts(), digest.payments());
    let (counts, at_risk) = (digest.counts(), digest.at_risk());
    let look = look_further(digest.message, place);
    Letter {
        subject: format!("Vigie: {alerts} suspicious {payments} ({counts}), {at_risk} at risk"),
        text: text(
            digest,
            &format!("{alerts} suspicious {payments}: {counts}. At risk: {at_risk}."),
            &look,
        ),
        html: html(
            digest,
            &format!("{alerts} suspicious {payments}: {counts}. At risk: {at_risk}."),
            &look,
        ),
    }
}

fn text(digest: &Digest, headline: &str, look: &str) -> String {
    let mut page = format!("{headline}\n\nThe riskiest by amount:\n\n");
    for (number, alert) in (1..).zip(&digest.riskiest) {
        let line = Line::of(alert);
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "{number}. {}  {}  score {}  {}\n   account {}  merchant {}  payment {}",
            line.amount,
            line.decision,
            line.score,
            line.time,
            line.account,
            line.merchant,
            line.payment
        );
    }
    if digest.more() > 0 {
        let _ = writeln!(page, "\n{} more.", digest.more());
    }
    let _ = write!(page, "\nAll of them:\n\n{look}\n");
    page
}

fn html(digest: &Digest, headline: &str, look: &str) -> String {
    let mut page = format!(
        "<html><body style=\"font-family:sans-serif\">\n<p><b>{}</b></p>\n\
         <table cellpadding=\"6\" style=\"border-collapse:collapse\" border=\"1\">\n\
         <tr><th>Amount</th><th>Decision</th><th>Score</th><th>Time</th><th>Account</th>\
         <th>Merchant</th><th>Payment</th></tr>\n",
        escape(headline)
    );
    for alert in &digest.riskiest {
        let line = Line::of(alert);
        let cells = [
            &line.amount,
            &line.decision,
            &line.score,
            &line.time,
            &line.account,
            &line.merchant,
            &line.payment,
        ];
        let cells: String = cells
            .iter()
            .map(|cell| format!("<td>{}</td>", escape(cell)))
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(page, "<tr>{cells}</tr>");
    }
    page.push_str("</table>\n");
    if digest.more() > 0 {
        let _ = writeln!(page, "<p>{} more.</p>", digest.more());
    }
    let _ = writeln!(
        page,
        "<p>All of them:</p>\n<pre>{}</pre>\n</body></html>",
        escape(look)
    );
    page
}

/// One alert in words.
struct Line {
    amount: String,
    decision: String,
    score: String,
    time: String,
    account: String,
    merchant: String,
    payment: String,
}

impl Line {
    fn of(alert: &Alert) -> Self {
        let score = alert.score.map(|score| format!("{score:.3}"));
        Self {
            amount: major(&alert.amount),
            decision: if alert.blocked { "blocked" } else { "review" }.to_owned(),
            score: score.unwrap_or_else(|| "not assessed".to_owned()),
            time: moment(alert.time),
            account: format!("{}…", plain(&alert.account)),
            merchant: alert
                .merchant
                .as_deref()
                .map_or_else(|| "unknown".to_owned(), plain),
            payment: plain(&alert.payment),
        }
    }
}

/// A query worth running; the schema's name holds only letters, digits and underscores.
fn look_further(message: i64, place: &Place) -> String {
    let Place {
        host,
        port,
        database,
        schema,
    } = place;
    format!(
        "psql \"host={host} port={port} dbname={database} user=vigie_desk\" -c 'SELECT event_time, \
         trans_num, account, amount, currency, merchant, score, decision FROM \"{schema}\".fraud_alerts \
         WHERE outbox_id = {message} ORDER BY amount DESC'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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
            amount: money(123_450, 2, None),
            account: "1a2b3c4d".into(),
            merchant: Some(merchant.into()),
            payment: "t1".into(),
            score: Some(0.987_6),
            blocked: true,
            time: 1_592_713_931_000_000,
        }
    }

    fn digest(riskiest: Vec<Alert>, block: u64, review: u64) -> Digest {
        Digest {
            message: 17,
            review,
            block,
            totals: vec![money(999_900, 2, Some("EUR"))],
            riskiest,
        }
    }

    #[test]
    fn a_mail_says_what_happened_how_much_and_where_to_look() {
        let letter = render(&digest(vec![alert("Corner shop")], 1, 0), &PLACE);
        assert_eq!(
            letter.subject,
            "Vigie: 1 suspicious payment (1 blocked), EUR 9,999.00 at risk"
        );
        for words in [
            "1,234.50",
            "score 0.988",
            "2020-06-21 04:32:11 UTC",
            "account 1a2b3c4d…",
            "Corner shop",
            "outbox_id = 17",
        ] {
            assert!(
                letter.text.contains(words),
                "{words} is not in\n{}",
                letter.text
            );
        }
        assert!(!letter.text.contains("more."), "{}", letter.text);
    }

    #[test]
    fn five_of_a_thousand_are_named_and_the_others_are_counted() {
        let letter = render(&digest(vec![alert("m"); 5], 900, 100), &PLACE);
        assert!(
            letter
                .subject
                .contains("1000 suspicious payments (900 blocked, 100 for review)")
        );
        assert!(letter.text.contains("\n5. ") && !letter.text.contains("\n6. "));
        assert!(letter.text.contains("\n995 more."), "{}", letter.text);
        assert!(letter.html.contains("<p>995 more.</p>"), "{}", letter.html);
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
    }

    #[test]
    fn a_long_name_is_cut() {
        let letter = render(&digest(vec![alert(&"é".repeat(5_000))], 1, 0), &PLACE);
        assert!(letter.text.len() < 1_000);
    }

    #[test]
    fn a_currency_with_a_line_break_stays_in_its_line() {
        let mut nasty = digest(vec![alert("m")], 1, 0);
        nasty.totals = vec![money(1, 2, Some("EUR\r\nBcc: a@b.c"))];
        assert!(!render(&nasty, &PLACE).subject.contains(['\r', '\n']));
    }
}
