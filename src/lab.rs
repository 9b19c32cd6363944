//! The lab: offline work with the code that serves, and on what it stored.

pub mod features;
pub mod reconcile;
