//! The model floor: work beside the stream, on what it stored.

pub mod reconcile;
