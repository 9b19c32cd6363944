//! The desk: what people see and do. Incidents and their messages, dead letters, offsets, a demo's end.

pub mod alerts;
pub mod dead_letters;
pub mod figures;
pub mod incidents;
pub mod notifier;
pub mod offsets;
pub mod report;
pub mod reset;

pub mod text;

mod audit;
mod table;
