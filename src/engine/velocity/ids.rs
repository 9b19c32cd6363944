//! Says quickly that an id is new: a compact set of 32-bit prints of identities.
//!
//! It may say "perhaps" for an id it does not hold (one in 2^32 and entry), never "no" for one
//! it holds; the history itself has the last word.

/// Fullest a table may be, in entries per hundred slots: probes stay short, memory small.
const FULLEST: usize = 75;

/// Open addressing with linear probing; 0 is an empty slot.
#[derive(Debug, Default)]
pub(super) struct IdFilter {
    slots: Vec<u32>,
    len: usize,
}

impl IdFilter {
    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u32>() + size_of::<Self>()
    }

    pub(super) fn may_hold(&self, id: u64) -> bool {
        self.position(print_of(id)).is_some()
    }

    pub(super) fn insert(&mut self, id: u64) {
        if (self.len + 1) * 100 > self.slots.len() * FULLEST {
            self.grow();
        }
        place(&mut self.slots, print_of(id));
        self.len += 1;
    }

    /// Removes one entry of that id, if there is one.
    pub(super) fn remove(&mut self, id: u64) {
        let Some(mut hole) = self.position(print_of(id)) else {
            return;
        };
        // Entries behind the hole move up when that brings them no nearer than their home.
        let size = self.slots.len();
        let mut next = hole;
        loop {
            next = (next + 1) % size;
            let print = self.slots[next];
            if print == 0 {
                break;
            }
            let from_home = (next + size - home(print, size)) % size;
            let from_hole = (next + size - hole) % size;
            if from_home >= from_hole {
                self.slots[hole] = print;
                hole = next;
            }
        }
        self.slots[hole] = 0;
        self.len -= 1;
    }

    fn position(&self, print: u32) -> Option<usize> {
        let size = self.slots.len();
        if size == 0 {
            return None;
        }
        let mut index = home(print, size);
        while self.slots[index] != 0 {
            if self.slots[index] == print {
                return Some(index);
            }
            index = if index + 1 == size { 0 } else { index + 1 };
        }
        None
    }

    fn grow(&mut self) {
        let size = self.slots.len() + self.slots.len() / 4 + 24;
        let mut slots = vec![0; size];
        for print in self.slots.iter().filter(|print| **print != 0) {
            place(&mut slots, *print);
        }
        self.slots = slots;
    }
}

fn place(slots: &mut [u32], print: u32) {
    let mut index = home(print, slots.len());
    while slots[index] != 0 {
        index = if index + 1 == slots.len() {
            0
        } else {
            index + 1
        };
    }
    slots[index] = print;
}

fn print_of(id: u64) -> u32 {
    ((id >> 32) as u32).max(1)
}

/// Spreads prints evenly over any number of slots.
fn home(print: u32, size: usize) -> usize {
    ((u64::from(print) * size as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_filter_agrees_with_a_multiset_of_prints(
            steps in prop::collection::vec((any::<bool>(), 0u64..200), 1..600)
        ) {
            let mut filter = IdFilter::default();
            let mut held: HashMap<u64, usize> = HashMap::new();
            for (insert, n) in steps {
                let id = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                if insert {
                    filter.insert(id);
                    *held.entry(id).or_default() += 1;
                } else if held.get(&id).is_some_and(|count| *count > 0) {
                    filter.remove(id);
                    held.entry(id).and_modify(|count| *count -= 1);
                }
                for n in 0..200u64 {
                    let id = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                    let expected = held.get(&id).is_some_and(|count| *count > 0);
                    prop_assert_eq!(filter.may_hold(id), expected);
                }
            }
        }
    }
}
