//! `vigie-producer` as a person runs it, against a real broker.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

mod files;
mod poll;
mod replay;
mod simulate;
mod support;
