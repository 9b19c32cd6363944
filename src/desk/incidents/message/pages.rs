//! A message about fraud as text, as HTML, and as JSON for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Digest, Place};
use crate::desk::text::{Money, decimal, escape, moment, number, plain};
use crate::engine::batch::Micros;

/// For plain readers.
pub(super) fn text(digest: &Digest, place: &Place) -> String {
    let mut page = format!(
        "{}\n\n{}\n\nThe riskiest by amount:\n\n",
        digest.headline(),
        digest.circumstances().join("\n")
    );
    for (number, alert) in (1..).zip(&digest.riskiest) {
        let [
            amount,
            decision,
            score,
            reasons,
            time,
            account,
            merchant,
            payment,
            incident,
        ] = alert.cells();
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "{number}. {amount}  {decision}  score {score}  {reasons}  {time}\n   account {account}  merchant \
             {merchant}  payment {payment}  incident {incident}"
        );
    }
    if digest.more() > 0 {
        let _ = writeln!(page, "\n{} more.", number(digest.more()));
    }
    for (why, command) in digest.commands(place) {
        let _ = writeln!(page, "\n{why}\n\n{command}");
    }
    page
}

/// For mail readers that show more.
pub(super) fn html(digest: &Digest, place: &Place) -> String {
    let mut page = format!(
        "<html><body style=\"font-family:sans-serif\">\n<p><b>{}</b></p>\n<p>{}</p>\n\
         <table cellpadding=\"6\" style=\"border-collapse:collapse\" border=\"1\">\n\
         <tr><th>Amount</th><th>Decision</th><th>Score</th><th>Reasons</th><th>Time</th><th>Account</th>\
         <th>Merchant</th><th>Payment</th><th>Incident</th></tr>\n",
        escape(&digest.headline()),
        digest
            .circumstances()
            .iter()
            .map(|line| escape(line))
            .collect::<Vec<_>>()
            .join("<br>\n")
    );
    for alert in &digest.riskiest {
        let cells = alert
            .cells()
            .map(|cell| format!("<td>{}</td>", escape(&cell)));
        // Writing to a String cannot fail.
        let _ = writeln!(page, "<tr>{}</tr>", cells.concat());
    }
    page.push_str("</table>\n");
    if digest.more() > 0 {
        let _ = writeln!(page, "<p>{} more.</p>", number(digest.more()));
    }
    for (why, command) in digest.commands(place) {
        let _ = writeln!(
            page,
            "<p>{}</p>\n<pre>{}</pre>",
            escape(&why),
            escape(&command)
        );
    }
    page.push_str("</body></html>\n");
    page
}

/// For programs: the same figures and names.
pub(super) fn payload(digest: &Digest) -> Value {
    let (models, policies) = digest.versions();
    let money = |money: &Money| {
        let currency = money.currency.as_deref().map(plain);
        json!({ "amount": decimal(money), "currency": currency })
    };
    let payments = digest.riskiest.iter().map(|alert| {
        json!({
            "incident": alert.incident, "payment": plain(&alert.payment), "account": alert.account,
            "merchant": alert.merchant.as_deref().map(plain), "at_risk": money(&alert.amount),
            "score": alert.score.map(shortest), "decision": alert.decision(), "reasons": alert.reasons,
            "time": moment(alert.time),
        })
    });
    json!({
        "kind": "incident",
        "severity": if digest.critical > 0 { "critical" } else { "warning" },
        "incidents": digest.incidents, "critical": digest.critical,
        "alerts": digest.alerts(), "blocked": digest.block, "review": digest.review,
        "at_risk": digest.totals.iter().map(money).collect::<Vec<_>>(), "other_currencies": digest.other_currencies,
        "told_before": digest.heard.map_or(0, |heard| heard.alerts),
        "from": moment(digest.window.0), "to": moment(digest.window.1),
        "last_hour": digest.observed.last_hour, "usual_per_hour": digest.observed.usual,
        "models": models, "policies": policies,
        "review_from": digest.thresholds.map(|t| shortest(t.0)), "block_from": digest.thresholds.map(|t| shortest(t.1)),
        "riskiest": payments.collect::<Vec<_>>(), "more": digest.more(),
    })
}

/// As many digits as tell the figure from its neighbours.
fn shortest(figure: f32) -> f64 {
    figure.to_string().parse().unwrap_or_default()
}

/// A query worth running; the schema's name holds only letters, digits and underscores.
pub(super) fn look_further(at: Micros, place: &Place) -> String {
    let Place {
        host,
        port,
        database,
        schema,
    } = place;
    let at = jiff::Timestamp::from_microsecond(at).unwrap_or_default();
    format!(
        "psql \"host={host} port={port} dbname={database} user=vigie_desk\" -c \"SELECT a.incident_id, \
         a.event_time, a.trans_num, a.account, a.amount, a.currency, a.merchant, a.score, a.decision, a.reasons \
         FROM \\\"{schema}\\\".fraud_alerts AS a JOIN \\\"{schema}\\\".outbox AS o ON o.id = a.outbox_id \
         WHERE o.created_at = '{at}' ORDER BY a.amount DESC\""
    )
}
