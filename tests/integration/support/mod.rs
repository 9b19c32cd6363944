//! What the tests share: a schema of one's own, and batches of invented payments.

pub mod database;
pub mod payments;
pub mod sink;

use std::future::Future;
use std::time::{Duration, Instant};

/// Waits until `condition` gives a value, at most ten seconds.
pub async fn eventually<T, F>(what: &str, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
