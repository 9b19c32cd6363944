//! The wish to stop, shared by all lanes: the batch in flight is finished, but not for ever.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How long a batch in flight may still take.
const GRACE: Duration = Duration::from_secs(5);

/// Whether the process is to stop; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<OnceLock<Instant>>);

impl Stop {
    /// Asks every holder to stop.
    pub fn request(&self) {
        self.0.get_or_init(Instant::now);
    }

    /// Whether stopping was asked for.
    pub fn is_requested(&self) -> bool {
        self.0.get().is_some()
    }

    /// Whether what is still going on must be given up.
    pub fn grace_is_over(&self) -> bool {
        self.0.get().is_some_and(|since| since.elapsed() > GRACE)
    }
}
