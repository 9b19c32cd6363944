//! What the tests share: a schema and a topic of one's own, the real process, payments to send,
//! batches of invented payments.

pub mod bundle;
pub mod database;
pub mod event;
pub mod history;
pub mod notifier;
pub mod output;
pub mod payments;
pub mod proxy;
pub mod receiver;
pub mod sink;
pub mod topic;
pub mod vigie;

use std::future::Future;
use std::time::{Duration, Instant};

/// Waits until `condition` gives a value, at most ten seconds.
pub async fn eventually<T, F>(what: &str, condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    eventually_within(Duration::from_secs(10), what, condition).await
}

/// Waits until `condition` gives a value, at most `within`.
pub async fn eventually_within<T, F>(
    within: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
