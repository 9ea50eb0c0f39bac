//! A replay that is under way: how long a page waits for what it missed.

use tokio::time::Instant;

use crate::metrics::{Metrics, Replay};

/// See the module.
#[derive(Debug)]
pub(super) struct Replaying {
    since: Instant,
    mode: Replay,
    /// Offset of its end in the log.
    end: u64,
}

impl Replaying {
    /// One that begins now, and ends at this offset.
    pub(super) fn new(mode: Replay, end: u64) -> Self {
        let since = Instant::now();
        Self { since, mode, end }
    }

    /// Offset in the log at which it is complete.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Counts how long it took.
    pub(super) fn count(&self, metrics: &Metrics) {
        let took = self.since.elapsed();
        metrics.replay_seconds.of(self.mode).observe(took.as_secs_f64());
    }
}
