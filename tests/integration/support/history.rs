//! Payments in the database as lanes leave them: rows, labels, alerts, dead letters and offsets,
//! a batch in a transaction. Unlike a lane it can be told any merchant, currency and origin.

use serde_json::{Value, json};
use tokio_postgres::Client;
use vigie::config::Config;

use super::database::{migrated, writer};

/// A payment at a position.
#[derive(Debug, Clone)]
pub struct Paid {
    pub partition: i32,
    pub offset: i64,
    /// Microseconds since 1970.
    pub time: i64,
    /// From event time to stored.
    pub latency_ms: i64,
    pub account: u8,
    /// Minor units.
    pub amount: i64,
    pub currency: Option<&'static str>,
    pub merchant: Option<String>,
    pub score: Option<f32>,
    pub decision: i16,
    pub label: Option<bool>,
    /// 0 live, 1 backfill, 2 canary.
    pub origin: i16,
}

/// What became of a record that is no payment.
#[derive(Debug, Clone, Copy)]
pub enum Other {
    Dead(&'static str),
    Duplicate,
    Skipped,
}

/// A live payment of 12.34 that is allowed.
pub fn paid(partition: i32, offset: i64, time: i64) -> Paid {
    Paid {
        partition,
        offset,
        time,
        latency_ms: 40,
        account: 1,
        amount: 1_234,
        currency: None,
        merchant: Some("Corner shop".into()),
        score: Some(0.01),
        decision: 0,
        label: None,
        origin: 0,
    }
}

/// A stream of so many partitions that nothing was read of; its days begin in `zone`.
pub async fn stream(partitions: i32, zone: &str) -> (Config, Client) {
    let mut config = migrated().await;
    config.events.business_zone = zone.to_owned();
    config.report.at = None;
    let client = writer(&config).await;
    client
        .execute(
            "INSERT INTO streams (stream, topic, topic_id, cluster_id, partitions, consumer_group,
                                  token_fingerprint, business_zone, amount_scale, bound_at)
             VALUES (1, 't', 't', 'c', $1, 'g', 'f', $2, 2, now() - interval '100 days')",
            &[&partitions, &zone],
        )
        .await
        .unwrap();
    client
        .execute(
            "INSERT INTO stream_offsets (stream, partition, first_offset, next_offset)
             SELECT 1, p, 0, 0 FROM generate_series(0, $1 - 1) AS p",
            &[&partitions],
        )
        .await
        .unwrap();
    (config, client)
}

/// Stores what lies at these positions, in one transaction.
pub async fn store(client: &mut Client, payments: &[Paid], others: &[(i32, i64, Other)]) {
    let rows = json!(payments.iter().map(row).collect::<Vec<Value>>()).to_string();
    let days = "SELECT ensure_days(array_agg(DISTINCT (to_timestamp((p->>'time')::bigint / 1e6)
                                                         AT TIME ZONE s.business_zone)::date))
                FROM json_array_elements($1::text::json) AS p, streams AS s";
    client.execute(days, &[&rows]).await.unwrap();
    let transaction = client.transaction().await.unwrap();
    for statement in [PAYMENTS, LABELS, ALERTS, OFFSETS] {
        transaction.execute(statement, &[&rows]).await.unwrap();
    }
    for (partition, offset, other) in others {
        let column = match other {
            Other::Dead(reason) => {
                let insert = "INSERT INTO dead_letters (stream, source_partition, source_offset, topic, record_time,
                                  reason, message, payload, payload_bytes, payload_hash)
                              VALUES (1, $1, $2, 't', now(), $3, 'no', '{', 1, '\\xab')";
                transaction
                    .execute(insert, &[partition, offset, reason])
                    .await
                    .unwrap();
                "dead"
            }
            Other::Duplicate => "duplicates",
            Other::Skipped => "skipped",
        };
        let moved = format!(
            "UPDATE stream_offsets SET {column} = {column} + 1, next_offset = greatest(next_offset, $2::bigint + 1),
                                       moved_at = now()
             WHERE partition = $1"
        );
        transaction
            .execute(&moved, &[partition, offset])
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
}

fn row(payment: &Paid) -> Value {
    json!({
        "partition": payment.partition,
        "position": payment.offset,
        "time": payment.time,
        "latency_ms": payment.latency_ms,
        "account": format!("{:02x}", payment.account).repeat(16),
        "amount": payment.amount,
        "currency": payment.currency,
        "merchant": payment.merchant,
        "score": payment.score,
        "decision": payment.decision,
        "label": payment.label,
        "origin": payment.origin,
    })
}

/// Every statement reads the same rows.
macro_rules! over_rows {
    ($statement:literal) => {
        concat!(
            "WITH r AS (
                SELECT r.*, to_timestamp(r.time / 1e6) AS event_time,
                       (to_timestamp(r.time / 1e6) AT TIME ZONE s.business_zone)::date AS event_day,
                       't-' || r.partition || '-' || r.position AS trans_num, decode(r.account, 'hex') AS token
                FROM json_to_recordset($1::text::json) AS r (partition integer, position bigint, time bigint,
                         latency_ms bigint, account text, amount bigint, currency text, merchant text, score real,
                         decision smallint, label boolean, origin smallint),
                     streams AS s) ",
            $statement
        )
    };
}

const PAYMENTS: &str = over_rows!(
    "INSERT INTO payments_scored (event_time, scored_at, amount, body_hash, source_offset, source_partition,
         event_day, score, stream, decision, account, trans_num, currency, merchant, category, country, features,
         event, model_version, policy_version, origin)
     SELECT event_time, event_time + latency_ms * interval '1 ms', amount, position, position, partition, event_day,
            score, 1, decision, token, trans_num, currency, merchant, 'grocery_pos', 'NY', '', '{}', 'm 1', 'p 1', origin
     FROM r"
);

const LABELS: &str = over_rows!(
    "INSERT INTO labels (event_time, event_day, stream, label, account, trans_num, source)
     SELECT event_time, event_day, 1, label, token, trans_num, 'payload' FROM r WHERE label IS NOT NULL"
);

const ALERTS: &str = over_rows!(
    "INSERT INTO fraud_alerts (stream, source_partition, source_offset, event_day, event_time, trans_num, account,
         amount, currency, merchant, category, country, score, decision, reasons, origin)
     SELECT 1, partition, position, event_day, event_time, trans_num, token, amount, currency, merchant,
            'grocery_pos', 'NY', score, greatest(decision, 1::smallint), ARRAY['score_block'], origin
     FROM r WHERE decision > 0 AND origin = 0 OR origin = 2"
);

const OFFSETS: &str = over_rows!(
    "UPDATE stream_offsets AS o
     SET next_offset = greatest(o.next_offset, n.next), scored = o.scored + n.payments,
         watermark = greatest(o.watermark, n.newest), moved_at = now()
     FROM (SELECT partition, max(position) + 1 AS next, count(*) AS payments, max(event_time) AS newest
           FROM r GROUP BY partition) AS n
     WHERE o.stream = 1 AND o.partition = n.partition"
);
