//! The store: one transaction per batch, taking partitions, the upsert, warm-up, migrations, rights.

mod commit;
mod migrations;
mod rights;
mod take;

use vigie::engine::batch::{DeadLetter, Reason};

/// For batches in which nothing is stored already.
fn no_conflict(row: usize) -> DeadLetter {
    panic!("event {row} was refused as a conflict")
}

fn conflict(partition: i32, offset: i64) -> impl Fn(usize) -> DeadLetter {
    move |_| super::support::payments::dead_letter(partition, offset, Reason::ConflictingDuplicate)
}
