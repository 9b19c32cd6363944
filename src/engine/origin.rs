//! Where payments come from: of a customer, loaded from the past, or our own canary.

use super::batch::{Events, Micros, Origin, RecordHead, Token};

/// A payment that says that it was loaded from the past is believed when it happened longer
/// than this before its record was sent.
const PAST: Micros = 86_400_000_000;

/// Tells origins apart.
#[derive(Debug, Clone, Default)]
pub struct OriginRule {
    /// The account whose payments are our own, if we send any.
    pub canary: Option<Token>,
}

impl OriginRule {
    /// The origin of each event. A header alone makes no backfill: whoever may write to the
    /// topic could otherwise silence the alert on a payment that happens now.
    pub fn of_events(&self, heads: &[RecordHead], events: &Events) -> Vec<Origin> {
        let rows = events.record.iter().zip(&events.account).zip(&events.time);
        rows.map(|((record, account), time)| {
            let head = &heads[*record as usize];
            if self.canary.as_ref() == Some(account) {
                Origin::Canary
            } else if head.backfill && head.timestamp.saturating_sub(*time) > PAST {
                Origin::Backfill
            } else {
                Origin::Live
            }
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Decided, Decision, Records};
    use super::*;

    const OURS: Token = Token([9; 16]);
    const SENT: Micros = 1_790_000_000_000_000;

    /// Whether its header says backfill, how long before its record it happened, and whose it is.
    fn origins(payments: &[(bool, Micros, Token)], canary: Option<Token>) -> Vec<Origin> {
        let mut records = Records::default();
        let mut events = Events::default();
        for (row, (backfill, age, account)) in payments.iter().enumerate() {
            records.push((0, row as i64), SENT, None, None).backfill = *backfill;
            events.record.push(row as u32);
            events.account.push(*account);
            events.time.push(SENT - age);
        }
        OriginRule { canary }.of_events(records.heads(), &events)
    }

    #[test]
    fn backfill_is_believed_only_of_what_happened_more_than_a_day_before_its_record() {
        let (somebody, day) = (Token([1; 16]), PAST);
        let payments = [
            (true, day + 1, somebody),
            (true, day, somebody),
            (true, 0, somebody),
            (true, -1, somebody),
            (false, 400 * day, somebody),
        ];
        let expected = [
            Origin::Backfill,
            Origin::Live,
            Origin::Live,
            Origin::Live,
            Origin::Live,
        ];
        assert_eq!(origins(&payments, None), expected);
    }

    #[test]
    fn the_canary_is_known_by_its_account_whatever_its_header_says() {
        let payments = [
            (false, 0, OURS),
            (true, 2 * PAST, OURS),
            (false, 0, Token([1; 16])),
        ];
        assert_eq!(
            origins(&payments, Some(OURS)),
            [Origin::Canary, Origin::Canary, Origin::Live]
        );
        assert_eq!(
            origins(&payments, None),
            [Origin::Live, Origin::Backfill, Origin::Live]
        );
    }

    #[test]
    fn a_backfill_alerts_nobody_and_a_canary_always_does() {
        let decided = |origin, decision| Decided {
            origins: vec![origin],
            decisions: vec![decision],
            ..Decided::default()
        };
        for (origin, allowed, blocked) in [
            (Origin::Live, false, true),
            (Origin::Backfill, false, false),
            (Origin::Canary, true, true),
        ] {
            let alerts = |decision| decided(origin, decision).raises_alert(0);
            assert_eq!(
                (alerts(Decision::Allow), alerts(Decision::Block)),
                (allowed, blocked)
            );
        }
    }
}
