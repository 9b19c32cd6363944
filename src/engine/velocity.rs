//! Windowed account state: exact sliding windows, owned by one lane, without locks.
//!
//! A [`Shard`] holds the accounts of one Kafka partition. It is a function of an offset prefix
//! of that partition and a cache over the stored payments: whatever it holds can be rebuilt
//! from them with [`Shard::restore`].
//!
//! What is absent: floats (windows add integers only), clocks (time is the event's), and tiles
//! (a window holds exactly the events with `t - w <= event_time < t`).

mod account;
mod ids;

use hashbrown::HashTable;

use super::batch::{Micros, Token};
use account::Account;

/// The windows that a plan reads and how long events are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Window lengths in microseconds, distinct, ascending.
    pub windows: Vec<Micros>,
    /// How late an event may be and still enter its account's history.
    pub lateness: Micros,
    /// Whether any feature reads a window's maximum.
    pub maxima: bool,
}

impl Reach {
    fn longest(&self) -> Micros {
        self.windows.last().copied().unwrap_or(0)
    }

    /// Events at or below this time are no longer part of the state: `watermark` is the
    /// partition's largest accepted event time.
    pub fn horizon(&self, watermark: Micros) -> Micros {
        watermark.saturating_sub(self.longest() + self.lateness)
    }
}

/// One event as its account's history sees it.
#[derive(Debug, Clone, Copy)]
pub struct Observed {
    /// Whose history.
    pub account: Token,
    /// Event time.
    pub time: Micros,
    /// Amount in minor units, at most 10^13.
    pub amount: i64,
    /// Hash of the transaction's id and business day, see [`identity`].
    pub id: u64,
    /// Hash of the event's body.
    pub body: u64,
}

/// What a window held when an event arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WindowStats {
    /// Events in the window.
    pub count: u64,
    /// Sum of their amounts, in minor units.
    pub sum: i128,
    /// Largest of their amounts; meaningless when there are none.
    pub max: i64,
}

/// What the shard knew of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A new payment; it is part of the history now, unless it lies at or below the horizon.
    New {
        /// Time of the account's latest strictly earlier event within the longest window.
        last: Option<Micros>,
    },
    /// The same payment again, body and all: nothing changed.
    Duplicate,
    /// The same payment with another body: nothing changed.
    Conflict,
}

/// Joins the hash of a transaction's id with its business day: the same id on another day is
/// another payment.
pub fn identity(id_hash: u64, day: i32) -> u64 {
    // An odd constant (2^64 / golden ratio) spreads neighbouring days over all bits.
    id_hash ^ (day as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The accounts of one partition.
#[derive(Debug)]
pub struct Shard {
    reach: Reach,
    watermark: Option<Micros>,
    slots: HashTable<u32>,
    accounts: Vec<Account>,
    /// For each account, where each window begins; strided by the number of windows.
    starts: Vec<u32>,
    free: Vec<u32>,
    sweep: usize,
    tally: Tally,
}

/// How much a shard holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accounts with at least one event.
    pub accounts: usize,
    /// Events in all histories.
    pub events: usize,
    /// Bytes of all of it.
    pub bytes: usize,
}

impl Shard {
    /// An empty shard.
    pub fn new(reach: Reach) -> Self {
        Self {
            reach,
            watermark: None,
            slots: HashTable::new(),
            accounts: Vec::new(),
            starts: Vec::new(),
            free: Vec::new(),
            sweep: 0,
            tally: Tally::default(),
        }
    }

    /// The largest event time accepted so far.
    pub fn watermark(&self) -> Option<Micros> {
        self.watermark
    }

    /// How much it holds.
    pub fn tally(&self) -> Tally {
        let fixed = self.accounts.capacity() * size_of::<Account>()
            + self.starts.capacity() * size_of::<u32>()
            + self.slots.allocation_size();
        Tally {
            accounts: self.slots.len(),
            events: self.tally.events,
            bytes: self.tally.bytes + fixed,
        }
    }

    /// Scores `event` against what is known and strictly earlier, then adds it to the history.
    ///
    /// `stats` receives one entry per window of the reach, in its order; it is meaningful only
    /// when the event is new.
    pub fn observe(&mut self, event: &Observed, stats: &mut [WindowStats]) -> Seen {
        self.sweep_one();
        let horizon = self.watermark.map(|mark| self.reach.horizon(mark));
        if horizon.is_some_and(|horizon| event.time <= horizon) {
            stats.fill(WindowStats::default());
            return Seen::New { last: None };
        }
        let slot = self.slot_of(event.account);
        let stride = self.reach.windows.len();
        let starts = &mut self.starts[slot * stride..][..stride];
        let account = &mut self.accounts[slot];
        let before = account.held();
        if let Some(horizon) = horizon {
            account.evict(horizon, starts);
        }
        let seen = account.find(event.id, event.time).map_or_else(
            || account.observe(event, &self.reach, starts, stats),
            |body| {
                if body == event.body {
                    Seen::Duplicate
                } else {
                    Seen::Conflict
                }
            },
        );
        let after = account.held();
        self.tally.follow(before, after);
        if matches!(seen, Seen::New { .. }) {
            self.watermark = Some(
                self.watermark
                    .map_or(event.time, |mark| mark.max(event.time)),
            );
        }
        seen
    }

    /// Adds a stored payment to the history while it is rebuilt; the watermark stays as it is.
    pub fn restore(&mut self, event: &Observed) {
        let slot = self.slot_of(event.account);
        let stride = self.reach.windows.len();
        let starts = &mut self.starts[slot * stride..][..stride];
        let account = &mut self.accounts[slot];
        let before = account.held();
        account.insert(event, &self.reach, starts);
        self.tally.follow(before, account.held());
    }

    /// Sets the watermark that the stored offset carries, once the history is rebuilt.
    pub fn restore_watermark(&mut self, watermark: Option<Micros>) {
        self.watermark = watermark;
    }

    fn slot_of(&mut self, token: Token) -> usize {
        let hash = hash_of(token);
        let accounts = &self.accounts;
        if let Some(slot) = self
            .slots
            .find(hash, |slot| accounts[*slot as usize].token == token)
        {
            return *slot as usize;
        }
        let slot = match self.free.pop() {
            Some(slot) => slot as usize,
            None => self.push_slot(),
        };
        self.accounts[slot] = Account::new(token);
        let stride = self.reach.windows.len();
        self.starts[slot * stride..][..stride].fill(0);
        let accounts = &self.accounts;
        self.slots.insert_unique(hash, slot as u32, |slot| {
            hash_of(accounts[*slot as usize].token)
        });
        slot
    }

    fn push_slot(&mut self) -> usize {
        let slot = self.accounts.len();
        let stride = self.reach.windows.len();
        if slot == self.accounts.capacity() {
            // A sixteenth more at a time: doubling would hold up to twice the memory in use.
            let more = slot / 16 + 16;
            self.accounts.reserve_exact(more);
            self.starts.reserve_exact(more * stride);
        }
        self.accounts.push(Account::new(Token([0; 16])));
        self.starts.resize(self.starts.len() + stride, 0);
        slot
    }

    /// Visits one account per event, so that those never seen again are forgotten in time.
    fn sweep_one(&mut self) {
        let Some(watermark) = self.watermark else {
            return;
        };
        if self.accounts.is_empty() {
            return;
        }
        self.sweep = (self.sweep + 1) % self.accounts.len();
        let slot = self.sweep;
        let account = &mut self.accounts[slot];
        if account.is_empty() {
            return;
        }
        let before = account.held();
        let stride = self.reach.windows.len();
        let starts = &mut self.starts[slot * stride..][..stride];
        account.evict(self.reach.horizon(watermark), starts);
        if account.is_empty() {
            let token = account.token;
            *account = Account::new(token);
            self.forget(slot, token);
        }
        let after = self.accounts[slot].held();
        self.tally.follow(before, after);
    }

    fn forget(&mut self, slot: usize, token: Token) {
        if let Ok(entry) = self
            .slots
            .find_entry(hash_of(token), |found| *found as usize == slot)
        {
            entry.remove();
            self.free.push(slot as u32);
        }
    }
}

impl Tally {
    fn follow(&mut self, before: Tally, after: Tally) {
        self.events = self.events + after.events - before.events;
        self.bytes = self.bytes + after.bytes - before.bytes;
    }
}

/// Tokens are already uniformly distributed: eight of their bytes are a hash.
fn hash_of(token: Token) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = token.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests;
