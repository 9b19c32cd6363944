//! Vigie: a real-time payment-fraud stream processor.
//!
//! The modules in reading order. The [`engine`] is pure: records in, decisions out. Three
//! floors use it and never import each other: the live stream, the desk that people look at,
//! and the lab for model work.

pub mod config;

pub mod bundle;

pub mod engine;

pub mod kafka;

pub mod input;

pub mod progress;

pub mod apart;

pub mod tls;

pub mod database;

pub mod migrate;

pub mod stream;

pub mod desk;

pub mod lab;

pub mod health;

pub mod http;

pub mod metrics;

pub mod morning;

pub mod run;

pub mod check;

pub mod exit;

pub mod logging;
