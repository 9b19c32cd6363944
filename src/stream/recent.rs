//! The outcomes of a partition's last 1,000 records, kept with its offset: when too many of
//! them are dead letters, the partition is held instead of emptying the topic into a table.

/// How many records are looked back at.
const LENGTH: usize = 1_000;
const BYTES: usize = LENGTH.div_ceil(8);

/// A ring of outcomes; a set bit is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    bits: [u8; BYTES],
    at: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            bits: [0; BYTES],
            at: 0,
        }
    }
}

impl Recent {
    /// Reads what [`Recent::to_bytes`] wrote; anything else, as in a row that was never
    /// written or was released, is an empty ring.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut recent = Self::default();
        if let Some((at, bits)) = bytes.split_first_chunk::<2>()
            && bits.len() == BYTES
        {
            recent.at = usize::from(u16::from_be_bytes(*at)) % LENGTH;
            recent.bits.copy_from_slice(bits);
        }
        recent
    }

    /// The ring as it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = (self.at as u16).to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.bits);
        bytes
    }

    /// Adds a record's outcome and forgets that of the record 1,000 before it.
    pub fn push(&mut self, dead: bool) {
        let mask = 1 << (self.at % 8);
        let byte = &mut self.bits[self.at / 8];
        *byte = if dead { *byte | mask } else { *byte & !mask };
        self.at = (self.at + 1) % LENGTH;
    }

    /// How many of the last 1,000 records were dead letters.
    pub fn dead(&self) -> u32 {
        self.bits.iter().map(|byte| byte.count_ones()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_counts_the_last_thousand_and_survives_being_stored() {
        let mut recent = Recent::default();
        for n in 0..2_500 {
            recent.push(n % 5 == 0);
            recent = Recent::from_bytes(&recent.to_bytes());
        }
        assert_eq!(recent.dead(), 200);
        for _ in 0..1_000 {
            recent.push(false);
        }
        assert_eq!(recent.dead(), 0);
        assert_eq!(Recent::from_bytes(b"nonsense"), Recent::default());
    }
}
