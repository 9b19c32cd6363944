//! Producer.
fn main() {}
