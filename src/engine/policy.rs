//! Score and policy in, decision and reason code out.

use super::batch::{Decision, ReasonCode};
use crate::bundle::{Fallback, PolicyDefaults};

/// The thresholds in force, and the name they are stored under.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Version, stored with every decision.
    pub version: String,
    thresholds: PolicyDefaults,
}

impl Policy {
    /// The policy that a bundle brings.
    pub fn of_bundle(version: &str, thresholds: PolicyDefaults) -> Self {
        Self {
            version: format!("bundle-{version}"),
            thresholds,
        }
    }

    /// Decides by the score; a missing one (NaN) is decided by the fallback and said to be
    /// not assessed.
    pub fn decide(&self, score: f32) -> (Decision, ReasonCode) {
        let PolicyDefaults {
            review,
            block,
            fallback,
        } = self.thresholds;
        if score.is_nan() {
            let decision = match fallback {
                Fallback::Allow => Decision::Allow,
                Fallback::Review => Decision::Review,
                Fallback::Block => Decision::Block,
            };
            (decision, ReasonCode::NotAssessed)
        } else if score >= block {
            (Decision::Block, ReasonCode::ScoreBlock)
        } else if score >= review {
            (Decision::Review, ReasonCode::ScoreReview)
        } else {
            (Decision::Allow, ReasonCode::None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_belong_to_the_stricter_side_and_no_score_is_the_fallback() {
        let policy = Policy::of_bundle(
            "1",
            PolicyDefaults {
                review: 0.3,
                block: 0.9,
                fallback: Fallback::Review,
            },
        );
        assert_eq!(policy.decide(0.29).0, Decision::Allow);
        assert_eq!(
            policy.decide(0.3),
            (Decision::Review, ReasonCode::ScoreReview)
        );
        assert_eq!(
            policy.decide(0.9),
            (Decision::Block, ReasonCode::ScoreBlock)
        );
        assert_eq!(
            policy.decide(f32::NAN),
            (Decision::Review, ReasonCode::NotAssessed)
        );
    }
}
