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

    /// Whether it is complete when the page was sent the log up to this offset.
    pub(super) fn is_over(&self, sent: u64) -> bool {
        sent >= self.end
    }

    /// Counts how long it took.
    pub(super) fn count(&self, metrics: &Metrics) {
        let took = self.since.elapsed();
        metrics.replay_seconds.of(self.mode).observe(took.as_secs_f64());
    }
}
