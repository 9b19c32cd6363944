//! The engine: records in, decisions out. No clock, no I/O but the model's graph.

pub mod batch;
pub mod decode;
pub mod features;
pub mod mask;
pub mod policy;
pub mod score;
pub mod token;
pub mod velocity;
