//! Batches of invented payments of the `card` bundle, as the engine would hand them on.

use vigie::bundle::schema::Kind;
use vigie::bundle::{Bundle, EventKind, FeatureKind};
use vigie::engine::batch::{
    Column, DeadLetter, Decided, Decision, Events, FeatureColumn, Features, Micros, Origin, Reason,
    ReasonCode, Records, Texts, Token,
};
use vigie::stream::store::{Span, Taken, Versions};

pub const HOUR: Micros = 3_600_000_000;
pub const DAY: Micros = 24 * HOUR;
/// 2026-03-01T00:00:00Z
pub const MARCH: Micros = 1_772_323_200_000_000;

/// One invented payment.
#[derive(Debug, Clone)]
pub struct Payment {
    pub partition: i32,
    pub offset: i64,
    pub id: String,
    pub account: u8,
    pub time: Micros,
    pub amount: i64,
    pub score: f32,
    pub body: u64,
    pub label: Option<bool>,
}

/// A payment that is allowed, an hour after the one at the offset before.
pub fn payment(partition: i32, offset: i64) -> Payment {
    Payment {
        partition,
        offset,
        id: format!("t-{partition}-{offset}"),
        account: (offset % 7) as u8,
        time: MARCH + offset * HOUR,
        amount: 100 + offset,
        score: 0.01,
        body: (offset as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        label: None,
    }
}

pub fn versions() -> Versions {
    Versions {
        model: "card 2026.11.1".into(),
        policy: "card 2026.11.1".into(),
    }
}

/// What the engine makes of these payments.
pub fn decided(bundle: &Bundle, payments: &[Payment]) -> Decided {
    let mut records = Records::default();
    for payment in payments {
        let position = (payment.partition, payment.offset);
        records.push(position, payment.time, None, Some(b"{}"));
    }
    let rows = payments.len();
    Decided {
        heads: records.heads().to_vec(),
        events: Events {
            record: (0..rows as u32).collect(),
            columns: columns(bundle, payments),
            account: payments.iter().map(|p| Token([p.account; 16])).collect(),
            time: payments.iter().map(|p| p.time).collect(),
            day: payments
                .iter()
                .map(|p| p.time.div_euclid(DAY) as i32)
                .collect(),
            amount: payments.iter().map(|p| p.amount).collect(),
            id_hash: vec![0; rows],
            body_hash: payments.iter().map(|p| p.body).collect(),
        },
        features: features(bundle, payments),
        scores: payments.iter().map(|p| p.score).collect(),
        decisions: payments.iter().map(|p| decision(p.score)).collect(),
        reasons: payments.iter().map(|p| reason(p.score)).collect(),
        origins: vec![Origin::Live; rows],
        dead_letters: Vec::new(),
        duplicates: Vec::new(),
        score_error: None,
    }
}

fn decision(score: f32) -> Decision {
    match score {
        s if s >= 0.9 => Decision::Block,
        s if s >= 0.35 || s.is_nan() => Decision::Review,
        _ => Decision::Allow,
    }
}

fn reason(score: f32) -> ReasonCode {
    match decision(score) {
        _ if score.is_nan() => ReasonCode::NotAssessed,
        Decision::Allow => ReasonCode::None,
        Decision::Review => ReasonCode::ScoreReview,
        Decision::Block => ReasonCode::ScoreBlock,
    }
}

fn columns(bundle: &Bundle, payments: &[Payment]) -> Vec<Column> {
    let rows = payments.len();
    let roles = bundle.schema.roles;
    let column = |(index, kind): (usize, &Kind)| match kind {
        Kind::Text { .. } => {
            let mut texts = Texts::default();
            for payment in payments {
                texts.push(Some(match index {
                    _ if index == roles.id => &payment.id,
                    _ if Some(index) == roles.merchant => "fraud_Kirlin \"and\" Sons",
                    _ if Some(index) == roles.category => "grocery_pos",
                    _ if Some(index) == roles.country => "NY",
                    _ => "Zürich",
                }));
            }
            Column::Text(texts)
        }
        Kind::Number { .. } => Column::Number(vec![41.25; rows]),
        Kind::Integer { .. } => Column::Integer(vec![Some(-3495); rows]),
        Kind::Amount { .. } => Column::Amount(payments.iter().map(|p| Some(p.amount)).collect()),
        Kind::Time { .. } => Column::Time(vec![Some(573_868_800_000_000); rows]),
        Kind::Label => Column::Label(payments.iter().map(|p| p.label).collect()),
    };
    let kinds = bundle.schema.fields.iter().map(|field| &field.kind);
    kinds.enumerate().map(column).collect()
}

fn features(bundle: &Bundle, payments: &[Payment]) -> Features {
    let is_text = |kind: &FeatureKind| match kind {
        FeatureKind::Event(EventKind::Value(field)) => {
            matches!(bundle.schema.field(*field).kind, Kind::Text { .. })
        }
        _ => false,
    };
    let column = |(number, kind): (usize, &FeatureKind)| {
        if is_text(kind) {
            let mut texts = Texts::default();
            payments
                .iter()
                .for_each(|_| texts.push(Some("grocery_pos")));
            return FeatureColumn::Text(texts);
        }
        FeatureColumn::Number(
            payments
                .iter()
                .map(|p| p.amount as f32 / 3.0 - number as f32)
                .collect(),
        )
    };
    let kinds = bundle.features.iter().map(|feature| &feature.kind);
    Features {
        columns: kinds.enumerate().map(column).collect(),
    }
}

pub fn dead_letter(partition: i32, offset: i64, reason: Reason) -> DeadLetter {
    DeadLetter {
        partition,
        offset,
        timestamp: MARCH,
        key: Some("card ****".into()),
        reason,
        field: Some("amt".into()),
        message: "expected a number".into(),
        payload: "{\"amt\": \"\0\"}".into(),
        payload_bytes: 12,
        payload_hash: [7; 32],
    }
}

/// What a batch does to a partition that was just taken, when all its records are payments.
pub fn span(taken: &Taken, scored: i64) -> Span {
    Span {
        partition: taken.partition,
        epoch: taken.epoch,
        from: taken.next_offset,
        to: taken.next_offset + scored,
        scored,
        dead: 0,
        duplicates: 0,
        skipped: 0,
        watermark: Some(MARCH + (taken.next_offset + scored - 1) * HOUR),
        recent: vec![0b1010],
        held: None,
        published: None,
    }
}
