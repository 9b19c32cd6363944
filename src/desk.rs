//! The desk: what people see and do. Alerts by mail, dead letters, offsets.

pub mod dead_letters;
pub mod notifier;
pub mod offsets;

pub mod text;

mod table;
