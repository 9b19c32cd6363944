//! One account's history: a ring of events in the order of (time, arrival), and for each
//! window where it begins.
//!
//! An event in order costs the same whatever the history holds: windows' beginnings only move
//! forward, sums are differences of running totals, and one falling sequence of maxima serves
//! all windows, since all of them end at the same event. A late event may cost as much as the
//! history after it.

use std::collections::VecDeque;

use super::super::batch::{Micros, Token};
use super::ids::IdFilter;
use super::{Observed, Reach, Seen, Tally, WindowStats};

/// Up to this many events an id is found by looking at all of them.
const FILTER_FROM: usize = 16;

/// Amounts are at most 10^13, so a sum of this many is exact in 64 bits.
const EXACT_RUN: usize = 900_000;

#[derive(Debug, Clone, Copy)]
struct Event {
    time: Micros,
    /// Running total of amounts up to and with this event; wraps, only differences are read.
    total: i64,
    id: u64,
    body: u64,
}

#[derive(Debug)]
pub(super) struct Account {
    pub(super) token: Token,
    events: VecDeque<Event>,
    /// Events before this index are strictly earlier than the latest event's time; those from
    /// it on share that time, and no window that ends there may hold them.
    settled: u32,
    /// Sequence number of `events[0]`; wraps.
    first: u32,
    /// Running total before `events[0]`.
    base: i64,
    /// Sequence numbers of settled events that no later settled event equals or exceeds:
    /// ascending, with falling amounts. Some at the front may be gone from `events`.
    maxima: Vec<u32>,
    ids: Option<Box<IdFilter>>,
}

impl Account {
    pub(super) fn new(token: Token) -> Self {
        Self {
            token,
            events: VecDeque::new(),
            settled: 0,
            first: 0,
            base: 0,
            maxima: Vec::new(),
            ids: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(super) fn held(&self) -> Tally {
        let filter = self.ids.as_ref().map_or(0, |ids| ids.bytes());
        Tally {
            accounts: 0,
            events: self.events.len(),
            bytes: self.events.capacity() * size_of::<Event>()
                + self.maxima.capacity() * 4
                + filter,
        }
    }

    /// Forgets the events at or below the horizon.
    pub(super) fn evict(&mut self, horizon: Micros, starts: &mut [u32]) {
        let mut gone = 0;
        while let Some(event) = self.events.front().filter(|event| event.time <= horizon) {
            self.base = event.total;
            if let Some(ids) = &mut self.ids {
                ids.remove(event.id);
            }
            self.events.pop_front();
            gone += 1;
        }
        if gone == 0 {
            return;
        }
        self.first = self.first.wrapping_add(gone);
        self.settled = self.settled.saturating_sub(gone);
        for start in starts {
            *start = start.saturating_sub(gone);
        }
        self.drop_dead_maxima();
        if self.events.capacity() > 2 * self.events.len() + 8 {
            self.events
                .shrink_to(self.events.len() + self.events.len() / 4);
        }
    }

    /// The body of the payment with that identity, if it is part of the history.
    pub(super) fn find(&self, id: u64, time: Micros) -> Option<u64> {
        if self.ids.as_ref().is_some_and(|ids| !ids.may_hold(id)) {
            return None;
        }
        // A repeat nearly always has its original's time.
        let from = self.events.partition_point(|event| event.time < time);
        self.events
            .range(from..)
            .take_while(|event| event.time == time)
            .chain(self.events.iter())
            .find(|event| event.id == id)
            .map(|event| event.body)
    }

    pub(super) fn observe(
        &mut self,
        event: &Observed,
        reach: &Reach,
        starts: &mut [u32],
        stats: &mut [WindowStats],
    ) -> Seen {
        let end = self.advance(event.time, reach, starts);
        let last = end
            .checked_sub(1)
            .map(|index| self.events[index].time)
            .filter(|time| *time >= event.time - reach.longest());
        if self.is_latest(event.time) {
            self.read_in_order(reach, starts, stats);
        } else {
            self.read_late(event.time, end, reach, stats);
        }
        self.insert(event, reach, starts);
        Seen::New { last }
    }

    fn is_latest(&self, time: Micros) -> bool {
        self.events.back().is_none_or(|latest| latest.time <= time)
    }

    /// Settles what is strictly earlier than `time` and moves the windows' beginnings, when
    /// `time` is in order; returns how many events are strictly earlier.
    fn advance(&mut self, time: Micros, reach: &Reach, starts: &mut [u32]) -> usize {
        if !self.is_latest(time) {
            return self.events.partition_point(|event| event.time < time);
        }
        self.settle(time, reach.maxima);
        let settled = self.settled as usize;
        for (window, start) in reach.windows.iter().zip(starts) {
            let earliest = time - window;
            let mut index = *start as usize;
            while index < settled && self.events[index].time < earliest {
                index += 1;
            }
            *start = index as u32;
        }
        settled
    }

    fn settle(&mut self, time: Micros, maxima: bool) {
        if self.events.back().is_none_or(|latest| latest.time == time) {
            return;
        }
        if maxima {
            for index in self.settled as usize..self.events.len() {
                self.push_maximum(index);
            }
        }
        self.settled = self.events.len() as u32;
    }

    fn push_maximum(&mut self, index: usize) {
        let amount = self.amount(index);
        while let Some(&seq) = self.maxima.last() {
            let at = self.index_of(seq);
            if at >= 0 && self.amount(at as usize) > amount {
                break;
            }
            self.maxima.pop();
        }
        self.maxima.push(self.first.wrapping_add(index as u32));
    }

    fn read_in_order(&self, reach: &Reach, starts: &[u32], stats: &mut [WindowStats]) {
        let end = self.settled as usize;
        for (stat, start) in stats.iter_mut().zip(starts) {
            let start = *start as usize;
            *stat = WindowStats {
                count: (end - start) as u64,
                sum: self.sum(start, end),
                max: 0,
            };
            if reach.maxima && start < end {
                let from = self
                    .maxima
                    .partition_point(|seq| self.index_of(*seq) < start as i64);
                stat.max = self.amount(self.index_of(self.maxima[from]) as usize);
            }
        }
    }

    fn read_late(&self, time: Micros, end: usize, reach: &Reach, stats: &mut [WindowStats]) {
        let mut largest = i64::MIN;
        let mut seen_to = end;
        for (stat, window) in stats.iter_mut().zip(&reach.windows) {
            let start = self
                .events
                .partition_point(|event| event.time < time - window);
            for index in start..seen_to {
                largest = largest.max(self.amount(index));
            }
            seen_to = start.min(seen_to);
            *stat = WindowStats {
                count: (end - start) as u64,
                sum: self.sum(start, end),
                max: largest,
            };
        }
    }

    /// Adds an event behind all of its time or earlier.
    pub(super) fn insert(&mut self, event: &Observed, reach: &Reach, starts: &mut [u32]) {
        if self.events.len() == self.events.capacity() {
            self.events.reserve_exact(self.events.len() / 4 + 1);
        }
        let entry = Event {
            time: event.time,
            total: 0,
            id: event.id,
            body: event.body,
        };
        if self.is_latest(event.time) {
            self.settle(event.time, reach.maxima);
            let total = self
                .total_before(self.events.len())
                .wrapping_add(event.amount);
            self.events.push_back(Event { total, ..entry });
        } else {
            self.insert_late(entry, event.amount, reach.maxima, starts);
        }
        self.remember_id(event.id);
    }

    fn insert_late(&mut self, entry: Event, amount: i64, maxima: bool, starts: &mut [u32]) {
        let at = self
            .events
            .partition_point(|event| event.time <= entry.time);
        let total = self.total_before(at);
        self.events.insert(at, Event { total, ..entry });
        for event in self.events.range_mut(at..) {
            event.total = event.total.wrapping_add(amount);
        }
        // It is strictly earlier than the latest event, so it is settled.
        self.settled += 1;
        for start in starts {
            // Before a window's beginning everything is earlier than the window.
            *start += u32::from(at < *start as usize);
        }
        if maxima {
            self.rebuild_maxima();
        }
    }

    fn rebuild_maxima(&mut self) {
        self.maxima.clear();
        for index in 0..self.settled as usize {
            self.push_maximum(index);
        }
    }

    fn remember_id(&mut self, id: u64) {
        match &mut self.ids {
            Some(ids) => ids.insert(id),
            None if self.events.len() > FILTER_FROM => {
                let mut ids = IdFilter::default();
                for event in &self.events {
                    ids.insert(event.id);
                }
                self.ids = Some(Box::new(ids));
            }
            None => {}
        }
    }

    fn drop_dead_maxima(&mut self) {
        let dead = self.maxima.partition_point(|seq| self.index_of(*seq) < 0);
        // Half at a time: each removal is paid for by as many insertions.
        if dead * 2 > self.maxima.len() {
            self.maxima.drain(..dead);
        }
    }

    /// Where the event of that sequence number stands; negative when it is gone.
    fn index_of(&self, seq: u32) -> i64 {
        i64::from(seq.wrapping_sub(self.first) as i32)
    }

    fn total_before(&self, index: usize) -> i64 {
        match index.checked_sub(1) {
            Some(before) => self.events[before].total,
            None => self.base,
        }
    }

    fn amount(&self, index: usize) -> i64 {
        self.events[index]
            .total
            .wrapping_sub(self.total_before(index))
    }

    fn sum(&self, start: usize, end: usize) -> i128 {
        let mut sum = 0;
        let mut from = start;
        while from < end {
            let to = end.min(from + EXACT_RUN);
            sum += i128::from(self.total_before(to).wrapping_sub(self.total_before(from)));
            from = to;
        }
        sum
    }
}
