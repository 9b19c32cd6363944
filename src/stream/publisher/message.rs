//! A decision as it is published: the same bytes whether it has just been taken or is read back
//! from its row.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::engine::batch::{Micros, Token};

/// A decision and what an authoriser needs to act on it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message<'a> {
    /// The payment's id.
    pub id: &'a str,
    /// Its account.
    #[serde(serialize_with = "as_text")]
    pub account: Token,
    /// `allow`, `review` or `block`.
    pub decision: &'static str,
    /// 0 to 1; null is not assessed.
    pub score: Option<f32>,
    /// Why; empty when nothing spoke against it.
    pub reasons: &'a [&'a str],
    /// When the payment happened.
    #[serde(serialize_with = "as_moment")]
    pub event_time: Micros,
    /// In minor units.
    pub amount: i64,
    /// How many decimals of the major unit those are.
    pub amount_scale: i16,
    /// Name and version of the model.
    pub model_version: &'a str,
    /// Version of the policy.
    pub policy_version: &'a str,
    /// The record that it was decided for.
    pub source: Source<'a>,
}

/// Where a record stands: no two decisions have the same, and a repeat has that of the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source<'a> {
    /// The topic that was read.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
}

fn as_text<S: Serializer>(token: &Token, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(token)
}

fn as_moment<S: Serializer>(time: &Micros, serializer: S) -> Result<S::Ok, S::Error> {
    match Timestamp::from_microsecond(*time) {
        Ok(moment) => serializer.collect_str(&moment),
        // Beyond the calendar, which decode refuses.
        Err(_) => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_one_json_object_with_the_position_of_its_record() {
        let message = Message {
            id: "t \"1\"",
            account: Token([0xab; 16]),
            decision: "block",
            score: Some(0.97),
            reasons: &["score_block"],
            event_time: 1_772_323_200_500_000,
            amount: 1234,
            amount_scale: 2,
            model_version: "card-1",
            policy_version: "bundle-1",
            source: Source {
                topic: "payments",
                partition: 3,
                offset: 77,
            },
        };
        assert_eq!(
            serde_json::to_string(&message).unwrap(),
            "{\"id\":\"t \\\"1\\\"\",\"account\":\"abababababababababababababababab\",\
             \"decision\":\"block\",\"score\":0.97,\"reasons\":[\"score_block\"],\
             \"event_time\":\"2026-03-01T00:00:00.5Z\",\"amount\":1234,\"amount_scale\":2,\
             \"model_version\":\"card-1\",\"policy_version\":\"bundle-1\",\
             \"source\":{\"topic\":\"payments\",\"partition\":3,\"offset\":77}}"
        );
    }
}
