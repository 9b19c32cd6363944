//! SIGINT and SIGTERM as a count: the first asks to stop, the second to stop waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

/// How often the process was asked to end.
#[derive(Clone, Default)]
pub struct Signals(Arc<AtomicU32>);

impl Signals {
    /// Starts to count on a thread of its own.
    pub fn listen() -> anyhow::Result<Self> {
        let signals = Self::default();
        let counted = signals.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("cannot listen for signals")?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            )
        };
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                runtime.block_on(async {
                    loop {
                        tokio::select! {
                            _ = interrupt.recv() => {}
                            _ = terminate.recv() => {}
                        }
                        counted.0.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })?;
        Ok(signals)
    }

    /// Nothing more is to be sent.
    pub fn stop(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= 1
    }

    /// Nothing more is to be waited for.
    pub fn at_once(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= 2
    }
}
