//! Against real services; one that is missing fails the tests that need it.

mod producer;
mod store;
mod support;
