//! Against real services; one that is missing fails the tests that need it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

mod bad_input;
mod canary;
mod desk;
mod figures;
mod http;
mod incidents;
mod mail;
mod morning;
mod producer;
mod reconcile;
mod report;
mod reset;
mod start;
mod store;
mod stream;
mod support;
mod tls;
mod webhooks;
