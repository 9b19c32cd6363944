//! The live floor: one lane, from poll to commit.

pub mod store;
