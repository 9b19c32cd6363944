//! From a key of the payload to the field that is read from it.

use xxhash_rust::xxh3::xxh3_64;

use crate::bundle::Schema;

/// A table with open addressing, at most a quarter full.
#[derive(Debug)]
pub struct Keys {
    slots: Vec<Option<(Box<str>, usize)>>,
}

impl Keys {
    /// The keys of all declared fields.
    pub fn of(schema: &Schema) -> Self {
        let size = (schema.fields.len() * 4).next_power_of_two();
        let mut keys = Self {
            slots: vec![None; size],
        };
        for (index, field) in schema.fields.iter().enumerate() {
            let mut at = keys.start(&field.key);
            while keys.slots[at].is_some() {
                at = keys.after(at);
            }
            keys.slots[at] = Some((field.key.as_str().into(), index));
        }
        keys
    }

    /// The field with this key.
    pub fn find(&self, key: &str) -> Option<usize> {
        let mut at = self.start(key);
        while let Some((found, index)) = &self.slots[at] {
            if **found == *key {
                return Some(*index);
            }
            at = self.after(at);
        }
        None
    }

    fn start(&self, key: &str) -> usize {
        xxh3_64(key.as_bytes()) as usize & (self.slots.len() - 1)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }
}
