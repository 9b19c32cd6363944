//! `vigie run`: the lanes, the notifier and the pages in one process.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::health::Health;
use crate::stream::Stop;
use crate::{desk, http, metrics, morning, stream};

/// How long notifier and pages may take to end after the lanes.
const END_WITHIN: Duration = Duration::from_secs(2);

/// Settings that are often changed from one run to the next.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example: vigie run --lanes 4")]
pub struct RunArgs {
    /// Consumers in this process (stream.lanes)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    lanes: Option<u16>,
}

/// Runs until SIGTERM, SIGINT or an error that a person must mend; returns its last words.
///
/// # Errors
/// See [`stream::run`].
pub fn run(config: &Config, args: &RunArgs) -> Result<String> {
    let mut config = config.clone();
    if let Some(lanes) = args.lanes {
        config.stream.lanes = usize::from(lanes);
    }
    let health = Health::new();
    let stop = Stop::default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start")?;
    let (end, ending) = tokio::sync::watch::channel(false);
    runtime.block_on(async {
        listen_for_signals(stop.clone())?;
        // Without the pages nobody asks for metrics, and nobody would fold them up.
        let pages = match http::listen(&config.http).await? {
            Some(pages) => {
                let topic = &config.stream.topic;
                let exposition = metrics::install(topic).context("cannot record metrics")?;
                tokio::spawn(pages.serve(health.clone(), exposition, ending.clone()))
            }
            None => tokio::spawn(async { Ok(()) }),
        };
        let notifier = {
            let (config, health, stop) = (config.clone(), health.clone(), stop.clone());
            tokio::spawn(async move {
                let ended = desk::notifier::run(&config, &health, ending).await;
                if ended.is_err() {
                    // Its settings make no sense: better not to run than to alert nobody.
                    stop.request();
                }
                ended
            })
        };
        // Beside the notifier, so that no mail waits for a count.
        let morning = {
            let (config, ending) = (config.clone(), end.subscribe());
            tokio::spawn(async move { morning::keep(&config, ending).await })
        };
        let lanes = tokio::task::spawn_blocking({
            let (config, health, stop) = (config.clone(), health.clone(), stop.clone());
            move || stream::run(&config, &health, &stop)
        });
        let ended = lanes.await.context("the lanes ended in a bug")?;
        // Nobody listening any more is as good as told.
        let _ = end.send(true);
        if let Ok(Ok(Err(error))) = tokio::time::timeout(END_WITHIN, pages).await {
            tracing::warn!(%error, "the health and metrics pages ended early");
        }
        let mut ended = ended;
        for part in [notifier, morning] {
            if let Ok(Ok(told)) = tokio::time::timeout(END_WITHIN, part).await {
                ended = ended.and(told);
            }
        }
        ended
    })?;
    Ok("stopped: everything that was read and decided is stored\n".to_owned())
}

fn listen_for_signals(stop: Stop) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot hear SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot hear SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: the batches in flight are finished first");
        stop.request();
    });
    Ok(())
}
