//! Single steps, and two lanes that lose, take and commit partitions in every order over one
//! table of offsets: whatever happens, each offset is stored once.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::engine::batch::{DeadLetter, Reason, Records};

fn taken(partition: i32, epoch: i64, next_offset: i64) -> Taken {
    Taken {
        partition,
        epoch,
        next_offset,
        first: false,
        watermark: Some(7),
        recent: Vec::new(),
        held: None,
        published: None,
    }
}

fn owning(partition: i32, epoch: i64, next_offset: i64) -> Ownership {
    let mut ownership = Ownership::new(500);
    ownership.assigned(&[partition]);
    ownership.taken(vec![taken(partition, epoch, next_offset)]);
    assert!(ownership.rebuilt(partition, epoch).is_some());
    ownership
}

fn batch(partition: i32, offsets: &[i64]) -> Decided {
    let mut records = Records::default();
    for offset in offsets {
        records.push((partition, *offset), 0, None, None);
    }
    Decided {
        heads: records.heads().to_vec(),
        ..Decided::default()
    }
}

fn dead(partition: i32, offset: i64) -> DeadLetter {
    DeadLetter {
        partition,
        offset,
        timestamp: 0,
        key: None,
        reason: Reason::NotJson,
        field: None,
        message: String::new(),
        payload: String::new(),
        payload_bytes: 0,
        payload_hash: [0; 32],
    }
}

#[test]
fn a_partition_is_read_only_after_its_row_is_taken_and_its_history_rebuilt() {
    let mut ownership = Ownership::new(500);
    ownership.assigned(&[3]);
    assert_eq!(ownership.to_take(), [3]);
    assert!(!ownership.admits(3, 10));
    assert_eq!(ownership.taken(vec![taken(3, 5, 10)]).len(), 1);
    assert!(!ownership.admits(3, 10));
    let ready = ownership.rebuilt(3, 5).unwrap();
    assert_eq!((ready.offset, ready.watermark), (10, Some(7)));
    assert!(ownership.admits(3, 10));
    assert!(!ownership.admits(3, 10), "the same record comes once");
}

#[test]
fn a_rebuild_that_ends_after_the_partition_was_revoked_is_thrown_away() {
    let mut ownership = Ownership::new(500);
    ownership.assigned(&[3]);
    ownership.taken(vec![taken(3, 5, 10)]);
    ownership.revoked(&[3]);
    ownership.assigned(&[3]);
    assert!(ownership.rebuilt(3, 5).is_none());
    ownership.taken(vec![taken(3, 6, 12)]);
    assert!(ownership.rebuilt(3, 5).is_none(), "of an older epoch");
    assert!(ownership.rebuilt(3, 6).is_some());
}

#[test]
fn gaps_in_the_offsets_are_counted_as_skipped() {
    let ownership = owning(0, 1, 10);
    let mut decided = batch(0, &[10, 12, 15]);
    decided.dead_letters.push(dead(0, 12));
    decided.duplicates.push((0, 15));
    let spans = ownership.spans(&decided, |_| Some(9));
    assert_eq!(spans.len(), 1);
    let span = &spans[0];
    assert_eq!((span.from, span.to), (10, 16));
    assert_eq!(
        (span.scored, span.dead, span.duplicates, span.skipped),
        (1, 1, 1, 3)
    );
    assert_eq!(span.watermark, Some(9));
}

#[test]
fn too_many_dead_letters_hold_the_partition_until_it_is_released() {
    let mut ownership = owning(0, 1, 0);
    let offsets: Vec<i64> = (0..600).collect();
    let mut decided = batch(0, &offsets);
    decided
        .dead_letters
        .extend(offsets.iter().take(500).map(|offset| dead(0, *offset)));
    let spans = ownership.spans(&decided, |_| None);
    assert_eq!(spans[0].held, None, "500 are allowed");
    decided.dead_letters.push(dead(0, 500));
    let spans = ownership.spans(&decided, |_| None);
    assert!(spans[0].held.is_some());
    assert_eq!(ownership.committed(&spans), [0]);
    assert!(!ownership.admits(0, 600));
    assert_eq!(ownership.owned(), [0], "held is still owned");
    assert_eq!(ownership.released(0), Some(600));
    assert!(ownership.admits(0, 600));
    assert_eq!(ownership.released(0), None);
}

#[test]
fn after_an_unknown_end_the_database_says_what_became_of_the_batch() {
    let spans = |ownership: &Ownership| ownership.spans(&batch(0, &[10, 11]), |_| None);
    let mut ownership = owning(0, 1, 10);
    let sent = spans(&ownership);
    let verdict = ownership.compare(&sent, &[taken(0, 2, 10)]);
    assert_eq!(verdict.resend, [0]);
    let mut ownership = owning(0, 1, 10);
    let verdict = ownership.compare(&sent, &[taken(0, 2, 12)]);
    assert_eq!(verdict.committed, [0]);
    let mut ownership = owning(0, 1, 10);
    let verdict = ownership.compare(&sent, &[taken(0, 2, 11)]);
    assert_eq!(verdict.lost, [0]);
    let mut ownership = owning(0, 1, 10);
    let verdict = ownership.compare(&sent, &[]);
    assert_eq!(verdict.lost, [0]);
    assert_eq!(ownership.to_take(), [0], "the group still wants it here");
}

/// The table of offsets as the database keeps it, and what was stored.
#[derive(Default)]
struct Table {
    rows: BTreeMap<i32, (i64, i64)>,
    stored: Vec<(i32, i64)>,
}

impl Table {
    fn take(&mut self, partitions: &[i32]) -> Vec<Taken> {
        let take = |partition: &i32| {
            let row = self.rows.entry(*partition).or_default();
            row.0 += 1;
            taken(*partition, row.0, row.1)
        };
        partitions.iter().map(take).collect()
    }

    fn retake(&mut self, positions: &[Position]) -> Vec<Taken> {
        let mut again = Vec::new();
        for position in positions {
            let row = self.rows.entry(position.partition).or_default();
            if row.0 == position.epoch {
                row.0 += 1;
                again.push(taken(position.partition, row.0, row.1));
            }
        }
        again
    }

    /// The partitions whose rows are another's.
    fn commit(&mut self, spans: &[Span], decided: &Decided) -> Result<(), Vec<i32>> {
        let fits = |span: &Span| self.rows.get(&span.partition) == Some(&(span.epoch, span.from));
        let fenced: Vec<i32> = spans
            .iter()
            .filter(|span| !fits(span))
            .map(|span| span.partition)
            .collect();
        if !fenced.is_empty() {
            return Err(fenced);
        }
        for span in spans {
            if let Some(row) = self.rows.get_mut(&span.partition) {
                row.1 = span.to;
            }
        }
        let sent = |partition| spans.iter().any(|span| span.partition == partition);
        let heads = decided.heads.iter().filter(|head| sent(head.partition));
        self.stored
            .extend(heads.map(|head| (head.partition, head.offset)));
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Happening {
    Assign(usize, i32),
    Revoke(usize, i32),
    Take(usize),
    Rebuilt(usize),
    Round { lane: usize, fault: Fault },
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    LostBefore,
    LostAfter,
}

fn happening() -> impl Strategy<Value = Happening> {
    let lane = 0usize..2;
    let fault = prop_oneof![
        3 => Just(Fault::None),
        1 => Just(Fault::LostBefore),
        1 => Just(Fault::LostAfter)
    ];
    prop_oneof![
        (lane.clone(), 0i32..2).prop_map(|(lane, partition)| Happening::Assign(lane, partition)),
        (lane.clone(), 0i32..2).prop_map(|(lane, partition)| Happening::Revoke(lane, partition)),
        lane.clone().prop_map(Happening::Take),
        lane.clone().prop_map(Happening::Rebuilt),
        (lane, fault).prop_map(|(lane, fault)| Happening::Round { lane, fault }),
    ]
}

/// One round of a lane: read two records of each partition, decide, commit with that fault.
fn round(ownership: &mut Ownership, table: &mut Table, fault: Fault) {
    let mut records = Records::default();
    for position in ownership.positions() {
        for offset in position.next_offset..position.next_offset + 2 {
            ownership.admits(position.partition, offset);
            records.push((position.partition, offset), 0, None, None);
        }
    }
    let decided = Decided {
        heads: records.heads().to_vec(),
        ..Decided::default()
    };
    let mut spans = ownership.spans(&decided, |_| None);
    let mut fault = fault;
    while !spans.is_empty() {
        if let Fault::LostBefore | Fault::LostAfter = fault {
            if let Fault::LostAfter = fault {
                let _ = table.commit(&spans, &decided);
            }
            fault = Fault::None;
            let again = table.retake(&ownership.positions());
            let verdict = ownership.compare(&spans, &again);
            let (done, open): (Vec<Span>, Vec<Span>) = spans
                .into_iter()
                .partition(|span| verdict.committed.contains(&span.partition));
            ownership.committed(&done);
            spans = open;
            spans.retain(|span| !verdict.lost.contains(&span.partition));
            for span in &mut spans {
                let row = again.iter().find(|row| row.partition == span.partition);
                span.epoch = row.map_or(span.epoch, |row| row.epoch);
            }
            continue;
        }
        match table.commit(&spans, &decided) {
            Ok(()) => {
                ownership.committed(&spans);
                spans.clear();
            }
            Err(fenced) => {
                ownership.fenced(&fenced);
                spans.retain(|span| !fenced.contains(&span.partition));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn whoever_believes_to_own_a_partition_each_offset_is_stored_once_and_in_order(
        happenings in prop::collection::vec(happening(), 1..120)
    ) {
        let mut table = Table::default();
        let mut lanes = [Ownership::new(500), Ownership::new(500)];
        let mut warming: [Vec<Taken>; 2] = [Vec::new(), Vec::new()];
        for happening in happenings {
            match happening {
                Happening::Assign(lane, partition) => lanes[lane].assigned(&[partition]),
                Happening::Revoke(lane, partition) => lanes[lane].revoked(&[partition]),
                Happening::Take(lane) => {
                    let rows = table.take(&lanes[lane].to_take());
                    warming[lane].extend(lanes[lane].taken(rows));
                }
                Happening::Rebuilt(lane) => {
                    for row in warming[lane].drain(..) {
                        lanes[lane].rebuilt(row.partition, row.epoch);
                    }
                }
                Happening::Round { lane, fault } => round(&mut lanes[lane], &mut table, fault),
            }
        }
        for partition in 0..2 {
            let offsets: Vec<i64> = table
                .stored
                .iter()
                .filter(|(stored, _)| *stored == partition)
                .map(|(_, offset)| *offset)
                .collect();
            let expected: Vec<i64> = (0..offsets.len() as i64).collect();
            prop_assert_eq!(offsets, expected);
        }
    }
}
