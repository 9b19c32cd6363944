//! How far the decisions of each partition are published. Pure: it is told what was handed to
//! the broker and what was acknowledged.
//!
//! Acknowledgements come in any order, since an account's decisions go to the output's partition
//! of that account. What is durable is a position below which none is missing, so it moves by
//! whole batches, in their order.

use std::collections::{BTreeMap, VecDeque};

use crate::stream::store::{Published, Span};

/// All partitions of one lane.
#[derive(Debug, Default)]
pub struct Progress {
    partitions: BTreeMap<i32, Partition>,
    /// Numbers what is begun anew, so that an answer of before is known as such.
    runs: u64,
}

/// Goes with each decision and comes back with its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    partition: i32,
    run: u64,
    batch: u64,
}

/// Stored decisions that were not handed over: where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The partition.
    pub partition: i32,
    /// First offset.
    pub from: i64,
    /// One past the last.
    pub to: i64,
    /// The earliest business day among them; `None` when no decision is among them.
    pub first_day: Option<i32>,
}

#[derive(Debug)]
struct Partition {
    run: u64,
    /// Decisions at lower offsets are acknowledged.
    acknowledged_to: i64,
    /// Decisions at lower offsets were handed over.
    handed_to: i64,
    /// Decisions from here on are not stored yet.
    next_offset: i64,
    /// Handed over and not acknowledged, oldest first.
    batches: VecDeque<Batch>,
    /// The number of the oldest.
    oldest: u64,
    /// Earliest day of what is stored, or being stored, from `handed_to` on.
    rest_day: Option<i32>,
    /// What the database holds of all this.
    stored: Published,
}

#[derive(Debug)]
struct Batch {
    to: i64,
    first_day: Option<i32>,
    /// Decisions without an acknowledgement, and one more while the batch is open.
    waiting: usize,
}

impl Progress {
    /// Goes on with a partition from what the database holds: decisions below `next_offset`, and
    /// how far they were published.
    pub fn begin(&mut self, partition: i32, next_offset: i64, stored: Published) {
        self.runs += 1;
        let begun = Partition {
            run: self.runs,
            acknowledged_to: stored.to,
            handed_to: stored.to,
            next_offset,
            batches: VecDeque::new(),
            oldest: 0,
            rest_day: stored.first_day,
            stored,
        };
        self.partitions.insert(partition, begun);
    }

    /// Forgets a partition that is no longer this lane's.
    pub fn forget(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    /// The spans are about to be stored with decisions on these days: writes into them how far
    /// their partitions are.
    pub fn stamp(&mut self, spans: &mut [Span], first_day: impl Fn(i32) -> Option<i32>) {
        for span in spans {
            if let Some(known) = self.partitions.get_mut(&span.partition) {
                known.rest_day = earlier(known.rest_day, first_day(span.partition));
                span.published = Some(known.standing());
            }
        }
    }

    /// The spans were stored, and so was what [`Progress::stamp`] wrote into them.
    pub fn stored(&mut self, spans: &[Span]) {
        for span in spans {
            if let (Some(known), Some(published)) =
                (self.partitions.get_mut(&span.partition), span.published)
            {
                known.stored = published;
                known.next_offset = span.to;
            }
        }
    }

    /// Opens the batch that goes from `from` to `to`. `None` when the decisions before it were
    /// not handed over: they are to be read back first.
    pub fn open(&mut self, partition: i32, from: i64, to: i64) -> Option<Ticket> {
        let known = self.partitions.get_mut(&partition)?;
        if known.handed_to != from {
            return None;
        }
        known.batches.push_back(Batch {
            to,
            first_day: known.rest_day,
            waiting: 1,
        });
        Some(Ticket {
            partition,
            run: known.run,
            batch: known.oldest + known.batches.len() as u64 - 1,
        })
    }

    /// Whether the ticket's batch still takes decisions.
    pub fn takes(&self, ticket: Ticket) -> bool {
        let known = self.partitions.get(&ticket.partition);
        known.is_some_and(|known| known.run == ticket.run)
    }

    /// One more decision of the ticket's batch was handed over.
    pub fn handed(&mut self, ticket: Ticket) {
        if let Some(batch) = self.batch(ticket) {
            batch.waiting += 1;
        }
    }

    /// All of the ticket's batch was handed over.
    pub fn close(&mut self, ticket: Ticket) {
        let Some(to) = self.batch(ticket).map(|batch| batch.to) else {
            return;
        };
        if let Some(known) = self.partitions.get_mut(&ticket.partition) {
            known.handed_to = to;
            if to >= known.next_offset {
                known.rest_day = None;
            }
        }
        self.acknowledged(ticket);
    }

    /// A decision of the ticket's batch was acknowledged.
    pub fn acknowledged(&mut self, ticket: Ticket) {
        let Some(batch) = self.batch(ticket) else {
            return;
        };
        batch.waiting -= 1;
        let Some(known) = self.partitions.get_mut(&ticket.partition) else {
            return;
        };
        while known
            .batches
            .front()
            .is_some_and(|batch| batch.waiting == 0)
        {
            if let Some(done) = known.batches.pop_front() {
                known.acknowledged_to = done.to;
                known.oldest += 1;
            }
        }
    }

    /// Whatever was handed over and not acknowledged is to be read back and handed over again.
    pub fn start_over(&mut self) {
        for known in self.partitions.values_mut() {
            self.runs += 1;
            known.run = self.runs;
            known.rest_day = known.standing().first_day;
            known.handed_to = known.acknowledged_to;
            known.batches.clear();
        }
    }

    /// What is stored and was not handed over, of the first partition that has such.
    pub fn gap(&self) -> Option<Gap> {
        let behind = |(_, known): &(&i32, &Partition)| known.handed_to < known.next_offset;
        let (partition, known) = self.partitions.iter().find(behind)?;
        Some(Gap {
            partition: *partition,
            from: known.handed_to,
            to: known.next_offset,
            first_day: known.rest_day,
        })
    }

    /// How many offsets are stored and were not handed over.
    pub fn behind(&self) -> u64 {
        let known = self.partitions.values();
        known
            .map(|known| (known.next_offset - known.handed_to).unsigned_abs())
            .sum()
    }

    /// How far the partition is, when the database holds something else.
    pub fn unstored(&self, partition: i32) -> Option<Published> {
        let known = self.partitions.get(&partition)?;
        let now = known.standing();
        (now != known.stored).then_some(now)
    }

    /// The database holds this of the partition now.
    pub fn settled(&mut self, partition: i32, stored: Published) {
        if let Some(known) = self.partitions.get_mut(&partition) {
            known.stored = stored;
        }
    }

    fn batch(&mut self, ticket: Ticket) -> Option<&mut Batch> {
        let known = self.partitions.get_mut(&ticket.partition)?;
        if known.run != ticket.run {
            return None;
        }
        let place = ticket.batch.checked_sub(known.oldest)?;
        known.batches.get_mut(place as usize)
    }
}

impl Partition {
    /// What a process that takes over must know.
    fn standing(&self) -> Published {
        let of_batches = self.batches.iter().map(|batch| batch.first_day);
        Published {
            to: self.acknowledged_to,
            first_day: of_batches.fold(self.rest_day, earlier),
        }
    }
}

fn earlier(a: Option<i32>, b: Option<i32>) -> Option<i32> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests;
