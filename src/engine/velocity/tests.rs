//! The shard against a naive oracle that keeps everything and looks at all of it.

use proptest::prelude::*;

use super::*;

const MINUTE: Micros = 60_000_000;

fn reach() -> Reach {
    Reach {
        windows: vec![MINUTE, 5 * MINUTE, 60 * MINUTE],
        lateness: 30 * MINUTE,
        maxima: true,
    }
}

fn event(account: u8, time: Micros, amount: i64, id: u64) -> Observed {
    Observed {
        account: Token([account; 16]),
        time,
        amount,
        id: id.wrapping_mul(0xD129_0F8A_71E3_2B4D),
        body: amount as u64,
    }
}

/// What 4.2 of the design says, in the plainest words.
#[derive(Default)]
struct Oracle {
    events: Vec<Observed>,
    watermark: Option<Micros>,
}

impl Oracle {
    fn observe(&mut self, event: &Observed, reach: &Reach) -> (Seen, Vec<WindowStats>) {
        let none = vec![WindowStats::default(); reach.windows.len()];
        let horizon = self
            .watermark
            .map_or(Micros::MIN, |mark| reach.horizon(mark));
        if event.time <= horizon {
            return (Seen::New { last: None }, none);
        }
        let retained: Vec<&Observed> = self
            .events
            .iter()
            .filter(|old| old.account == event.account && old.time > horizon)
            .collect();
        if let Some(old) = retained.iter().find(|old| old.id == event.id) {
            let seen = if old.body == event.body {
                Seen::Duplicate
            } else {
                Seen::Conflict
            };
            return (seen, none);
        }
        let last = retained
            .iter()
            .map(|old| old.time)
            .filter(|time| *time < event.time && *time >= event.time - reach.longest())
            .max();
        let stats = reach
            .windows
            .iter()
            .map(|window| {
                let inside = retained
                    .iter()
                    .filter(|old| old.time >= event.time - window && old.time < event.time);
                WindowStats {
                    count: inside.clone().count() as u64,
                    sum: inside.clone().map(|old| i128::from(old.amount)).sum(),
                    max: inside.map(|old| old.amount).max().unwrap_or(0),
                }
            })
            .collect();
        self.events.push(*event);
        self.watermark = Some(
            self.watermark
                .map_or(event.time, |mark| mark.max(event.time)),
        );
        (Seen::New { last }, stats)
    }
}

fn check(events: &[Observed], rebuild_at: usize) {
    let reach = reach();
    let mut shard = Shard::new(reach.clone());
    let mut oracle = Oracle::default();
    for (n, event) in events.iter().enumerate() {
        if n == rebuild_at {
            shard = rebuilt(&oracle, &reach);
        }
        let mut stats = vec![WindowStats::default(); reach.windows.len()];
        let seen = shard.observe(event, &mut stats);
        let (expected, expected_stats) = oracle.observe(event, &reach);
        assert_eq!(seen, expected, "event {n}: {event:?}");
        if matches!(seen, Seen::New { .. }) {
            for stat in stats.iter_mut().filter(|stat| stat.count == 0) {
                stat.max = 0;
            }
            assert_eq!(stats, expected_stats, "event {n}: {event:?}");
        }
    }
    assert_eq!(shard.watermark(), oracle.watermark);
}

fn rebuilt(oracle: &Oracle, reach: &Reach) -> Shard {
    let mut shard = Shard::new(reach.clone());
    let horizon = oracle
        .watermark
        .map_or(Micros::MIN, |mark| reach.horizon(mark));
    // Stored rows come sorted by time within a batch, not by arrival.
    let mut rows: Vec<&Observed> = oracle.events.iter().filter(|e| e.time > horizon).collect();
    for batch in rows.chunks_mut(7) {
        batch.sort_by_key(|event| event.time);
    }
    for row in rows {
        shard.restore(row);
    }
    shard.restore_watermark(oracle.watermark);
    shard
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_window_holds_what_the_contract_says_in_any_order_and_after_any_rebuild(
        steps in prop::collection::vec((0u8..3, -4i64..12, 0i64..1_000, 0u64..120), 1..160),
        rebuild_at in 0usize..160,
    ) {
        let mut clock = 0;
        let events: Vec<Observed> = steps
            .iter()
            .map(|(account, step, amount, id)| {
                clock += step * MINUTE / 2;
                event(*account, clock, *amount, *id)
            })
            .collect();
        check(&events, rebuild_at);
    }

    #[test]
    fn very_late_events_and_long_gaps_agree_with_the_contract(
        steps in prop::collection::vec((0u8..2, 0i64..300, 0i64..1_000), 1..200),
        rebuild_at in 0usize..200,
    ) {
        let events: Vec<Observed> = steps
            .iter()
            .enumerate()
            .map(|(n, (account, minute, amount))| {
                event(*account, n as i64 / 2 * MINUTE + minute * MINUTE, *amount, n as u64)
            })
            .collect();
        check(&events, rebuild_at);
    }
}

#[test]
fn sums_of_the_largest_amounts_are_exact_beyond_64_bits() {
    let reach = Reach {
        windows: vec![90 * 24 * 60 * MINUTE],
        lateness: 0,
        maxima: false,
    };
    let mut shard = Shard::new(reach);
    let mut stats = [WindowStats::default()];
    let count = 1_000_000;
    for n in 0..=count {
        shard.observe(&event(1, n, 10_000_000_000_000, n as u64), &mut stats);
    }
    assert_eq!(stats[0].sum, i128::from(count) * 10_000_000_000_000);
}

#[test]
fn accounts_that_never_return_are_forgotten() {
    let mut shard = Shard::new(reach());
    let mut stats = vec![WindowStats::default(); 3];
    for n in 0..100 {
        shard.observe(&event(n, 0, 1, u64::from(n)), &mut stats);
    }
    assert_eq!(shard.tally().accounts, 100);
    for n in 0..300 {
        shard.observe(
            &event(200, (1_000 + n) * MINUTE, 1, 1_000 + n as u64),
            &mut stats,
        );
    }
    assert_eq!(shard.tally().accounts, 1);
    assert_eq!(shard.tally().events, 91);
}

#[test]
fn a_retained_event_costs_at_most_48_bytes_and_an_account_128() {
    let day = 24 * 60 * MINUTE;
    let reach = Reach {
        windows: [1, 6, 24, 48, 168, 720]
            .map(|hours| hours * 60 * MINUTE)
            .to_vec(),
        lateness: 7 * day,
        maxima: true,
    };
    for (accounts, events) in [(20_000u64, 3u64), (2_000, 60), (4, 100_000)] {
        let mut shard = Shard::new(reach.clone());
        let mut stats = [WindowStats::default(); 6];
        for n in 0..events {
            for account in 0..accounts {
                let mut token = [0; 16];
                token[..8]
                    .copy_from_slice(&account.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
                let amount = (n.wrapping_mul(7_919) ^ account) as i64 % 10_000;
                let observed = Observed {
                    account: Token(token),
                    ..event(0, (n * 20_000_000) as i64, amount, n)
                };
                shard.observe(&observed, &mut stats);
            }
        }
        let tally = shard.tally();
        let allowed = tally.events * 48 + tally.accounts * 128;
        assert!(
            tally.bytes <= allowed,
            "{accounts} accounts with {events} events: {} bytes, {allowed} allowed",
            tally.bytes
        );
    }
}
