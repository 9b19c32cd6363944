//! Which partitions are this lane's, and how far each is. Pure: it is told what happened and
//! says what to do; the stream and a simulation drive the same one.
//!
//! A partition is wanted by the group first, then taken in the database, then its history is
//! rebuilt, and only then are its records read. A lane that is fenced begins again: as long as
//! the group wants the partition of it, it takes it anew.

use std::collections::{BTreeMap, BTreeSet};

use super::recent::Recent;
use super::store::{Position, Span, Taken};
use crate::engine::batch::{Decided, Micros};

/// The partitions that the group wants of this lane.
#[derive(Debug)]
pub struct Ownership {
    partitions: BTreeMap<i32, Stage>,
    /// Dead letters among the last 1,000 records above which a partition is held.
    dead_letter_limit: u32,
}

#[derive(Debug)]
enum Stage {
    /// Its row is not this lane's yet.
    Wanted,
    /// Its row is; its history is being rebuilt.
    Rebuilding(Taken),
    /// Its records are read.
    Owned(Owned),
}

#[derive(Debug)]
struct Owned {
    epoch: i64,
    /// The next offset that the database does not hold.
    next_offset: i64,
    /// The next offset that this lane has not read.
    read_to: i64,
    recent: Recent,
    held: Option<String>,
}

/// A partition whose history is there: read it from `offset`, unless it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Which.
    pub partition: i32,
    /// Where reading begins.
    pub offset: i64,
    /// Its watermark, for the shard.
    pub watermark: Option<Micros>,
    /// Why it is held, if it is.
    pub held: Option<String>,
}

/// What became of a batch whose commit had an unknown end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Partitions whose rows must be sent again.
    pub resend: Vec<i32>,
    /// Partitions whose rows were committed after all.
    pub committed: Vec<i32>,
    /// Partitions that are no longer this lane's: drop their rows and histories.
    pub lost: Vec<i32>,
}

impl Ownership {
    /// Nothing is wanted yet.
    pub fn new(dead_letter_limit: u32) -> Self {
        Self {
            partitions: BTreeMap::new(),
            dead_letter_limit,
        }
    }

    /// The group wants these of this lane.
    pub fn assigned(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.partitions.entry(*partition).or_insert(Stage::Wanted);
        }
    }

    /// The group wants these elsewhere: drop their rows, histories and warm-ups.
    pub fn revoked(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.partitions.remove(partition);
        }
    }

    /// Partitions whose rows are to be taken.
    pub fn to_take(&self) -> Vec<i32> {
        self.in_stage(|stage| matches!(stage, Stage::Wanted))
    }

    /// Their rows were taken: rebuild their histories. Says which of them are still wanted.
    pub fn taken(&mut self, taken: Vec<Taken>) -> Vec<Taken> {
        let mut rebuild = Vec::new();
        for row in taken {
            if let Some(stage) = self.partitions.get_mut(&row.partition) {
                rebuild.push(row.clone());
                *stage = Stage::Rebuilding(row);
            }
        }
        rebuild
    }

    /// A history was rebuilt under `epoch`; `None` when the partition has moved on since.
    pub fn rebuilt(&mut self, partition: i32, epoch: i64) -> Option<Ready> {
        let stage = self.partitions.get_mut(&partition)?;
        let Stage::Rebuilding(taken) = stage else {
            return None;
        };
        if taken.epoch != epoch {
            return None;
        }
        let ready = Ready {
            partition,
            offset: taken.next_offset,
            watermark: taken.watermark,
            held: taken.held.clone(),
        };
        *stage = Stage::Owned(Owned {
            epoch,
            next_offset: taken.next_offset,
            read_to: taken.next_offset,
            recent: Recent::from_bytes(&taken.recent),
            held: taken.held.clone(),
        });
        Some(ready)
    }

    /// Whether this lane may decide records of the partition.
    pub fn owns(&self, partition: i32) -> bool {
        matches!(self.partitions.get(&partition), Some(Stage::Owned(owned)) if owned.held.is_none())
    }

    /// Whether a record that was just read is the next of a partition that is owned. Records
    /// come again after a pause, and may still come after a partition is gone.
    pub fn admits(&mut self, partition: i32, offset: i64) -> bool {
        match self.partitions.get_mut(&partition) {
            Some(Stage::Owned(owned)) if owned.held.is_none() && offset >= owned.read_to => {
                owned.read_to = offset + 1;
                true
            }
            _ => false,
        }
    }

    /// All partitions that are read or held.
    pub fn owned(&self) -> Vec<i32> {
        self.in_stage(|stage| matches!(stage, Stage::Owned(_)))
    }

    /// Partitions whose histories are being rebuilt.
    pub fn rebuilding(&self) -> Vec<i32> {
        self.in_stage(|stage| matches!(stage, Stage::Rebuilding(_)))
    }

    /// Held partitions and why.
    pub fn held(&self) -> Vec<(i32, &str)> {
        self.partitions
            .iter()
            .filter_map(|(partition, stage)| match stage {
                Stage::Owned(owned) => Some((*partition, owned.held.as_deref()?)),
                _ => None,
            })
            .collect()
    }

    /// What the database holds of the owned partitions, as far as this lane knows.
    pub fn positions(&self) -> Vec<Position> {
        self.partitions
            .iter()
            .filter_map(|(partition, stage)| match stage {
                Stage::Owned(owned) => Some(Position {
                    partition: *partition,
                    epoch: owned.epoch,
                    next_offset: owned.next_offset,
                }),
                _ => None,
            })
            .collect()
    }

    /// What a decided batch does to each of its partitions. A partition whose dead letters
    /// exceed the limit is held from the end of this batch on.
    ///
    /// `watermark` is that of the partition's history after the batch.
    pub fn spans(&self, decided: &Decided, watermark: impl Fn(i32) -> Option<Micros>) -> Vec<Span> {
        let dead: BTreeSet<(i32, i64)> = decided
            .dead_letters
            .iter()
            .map(|letter| (letter.partition, letter.offset))
            .collect();
        let repeated: BTreeSet<(i32, i64)> = decided.duplicates.iter().copied().collect();
        let mut spans = BTreeMap::new();
        for head in &decided.heads {
            let Some(Stage::Owned(owned)) = self.partitions.get(&head.partition) else {
                continue;
            };
            let (span, recent) = spans
                .entry(head.partition)
                .or_insert_with(|| (owned.empty_span(head.partition), owned.recent.clone()));
            let position = (head.partition, head.offset);
            let is_dead = dead.contains(&position);
            recent.push(is_dead);
            if is_dead {
                span.dead += 1;
            } else if repeated.contains(&position) {
                span.duplicates += 1;
            } else {
                span.scored += 1;
            }
            span.skipped += head.offset - span.to;
            span.to = head.offset + 1;
        }
        spans
            .into_values()
            .map(|(mut span, recent)| {
                span.watermark = watermark(span.partition);
                span.held = self.verdict_on(&recent);
                span.recent = recent.to_bytes();
                span
            })
            .collect()
    }

    fn verdict_on(&self, recent: &Recent) -> Option<String> {
        let dead = recent.dead();
        (dead > self.dead_letter_limit).then(|| {
            format!(
                "{dead} of the last 1,000 records were dead letters (stream.dead_letter_limit = {})",
                self.dead_letter_limit
            )
        })
    }

    /// These spans are in the database now. Returns the partitions that are held from here on.
    pub fn committed(&mut self, spans: &[Span]) -> Vec<i32> {
        let mut held = Vec::new();
        for span in spans {
            if let Some(Stage::Owned(owned)) = self.partitions.get_mut(&span.partition)
                && owned.epoch == span.epoch
            {
                owned.next_offset = span.to;
                owned.recent = Recent::from_bytes(&span.recent);
                owned.held.clone_from(&span.held);
                if owned.held.is_some() {
                    held.push(span.partition);
                }
            }
        }
        held
    }

    /// The database says that these are another's: begin again with them, as long as the group
    /// wants them here.
    pub fn fenced(&mut self, partitions: &[i32]) {
        for partition in partitions {
            if let Some(stage) = self.partitions.get_mut(partition) {
                *stage = Stage::Wanted;
            }
        }
    }

    /// Compares what the database holds, after a commit of `spans` with an unknown end, with
    /// what this lane knows. `taken` are the rows that were still this lane's.
    pub fn compare(&mut self, spans: &[Span], taken: &[Taken]) -> Verdict {
        let mut verdict = Verdict::default();
        for partition in self.owned() {
            let Some(Stage::Owned(owned)) = self.partitions.get_mut(&partition) else {
                continue;
            };
            let row = taken.iter().find(|row| row.partition == partition);
            let span = spans.iter().find(|span| span.partition == partition);
            let Some(row) = row else {
                verdict.lost.push(partition);
                continue;
            };
            owned.epoch = row.epoch;
            match span {
                None if row.next_offset == owned.next_offset => {}
                Some(span) if row.next_offset == span.from => verdict.resend.push(partition),
                Some(span) if row.next_offset == span.to => verdict.committed.push(partition),
                _ => verdict.lost.push(partition),
            }
        }
        self.fenced(&verdict.lost);
        verdict
    }

    /// Somebody released a held partition: go on from where it is.
    pub fn released(&mut self, partition: i32) -> Option<i64> {
        match self.partitions.get_mut(&partition) {
            Some(Stage::Owned(owned)) if owned.held.is_some() => {
                owned.held = None;
                owned.recent = Recent::default();
                owned.read_to = owned.next_offset;
                Some(owned.next_offset)
            }
            _ => None,
        }
    }

    fn in_stage(&self, fits: impl Fn(&Stage) -> bool) -> Vec<i32> {
        self.partitions
            .iter()
            .filter(|(_, stage)| fits(stage))
            .map(|(partition, _)| *partition)
            .collect()
    }
}

impl Owned {
    fn empty_span(&self, partition: i32) -> Span {
        Span {
            partition,
            epoch: self.epoch,
            from: self.next_offset,
            to: self.next_offset,
            scored: 0,
            dead: 0,
            duplicates: 0,
            skipped: 0,
            watermark: None,
            recent: Vec::new(),
            held: None,
            published: None,
        }
    }
}

#[cfg(test)]
mod tests;
