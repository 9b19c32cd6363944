//! What nobody wants to hear of just now.

use super::MERCHANT_CHARS;

/// Whether alert `a` is snoozed, as a condition. It stands in the query itself: a function that is
/// called for each alert of a flood costs twenty times as much.
pub(super) fn snoozed() -> String {
    format!(
        "EXISTS (SELECT FROM snoozes AS s
                 WHERE s.ended_at IS NULL AND s.until > now()
                   AND CASE s.what
                           WHEN 'account' THEN starts_with(encode(a.account, 'hex'), s.key)
                           WHEN 'merchant' THEN s.key = left(coalesce(a.merchant, ''), {MERCHANT_CHARS})
                           WHEN 'rule' THEN s.key = ANY (a.reasons)
                           ELSE false
                       END)"
    )
}
