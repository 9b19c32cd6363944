//! A notifier in this process, and what one waits for of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use vigie::config::Config;
use vigie::desk::notifier;
use vigie::health::Health;

use super::database::count;
use super::eventually_within;
use super::vigie::LONG;

/// A notifier of its own; it ends when this is dropped or stopped.
pub struct Running {
    pub task: JoinHandle<anyhow::Result<()>>,
    pub health: Arc<Health>,
    stop: watch::Sender<bool>,
}

impl Running {
    /// Starts one with these settings.
    pub fn start(config: &Config) -> Self {
        let (stop, shutdown) = watch::channel(false);
        let (config, health) = (config.clone(), Health::new());
        let watched = Arc::clone(&health);
        let task = tokio::spawn(async move { notifier::run(&config, &health, shutdown).await });
        Self {
            task,
            health: watched,
            stop,
        }
    }

    /// Ends it, which must not take long.
    pub async fn stop(self) {
        self.stop.send(true).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), self.task).await;
        ended.expect("it ends within ten seconds").unwrap().unwrap();
    }
}

/// Waits until this holds in the database.
pub async fn wait_until(client: &Client, what: &str, condition: &str) {
    let query = format!("SELECT count(*) WHERE {condition}");
    eventually_within(LONG, what, async || {
        (count(client, &query).await == 1).then_some(())
    })
    .await;
}
