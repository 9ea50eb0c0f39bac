//! What the demo agent saw of each half of the page.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Which half of the page a connection belongs to; the last segment of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The page dialled the agent itself.
    Straight,
    /// The page dialled sessmux, and sessmux the agent.
    Sessmux,
}

impl Side {
    /// The side whose agent socket or page has this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "straight" => Some(Self::Straight),
            "sessmux" => Some(Self::Sessmux),
            _ => None,
        }
    }
}

/// Counters of both sides, since the agent began; what `GET /stats` answers.
#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    straight: SideCounts,
    sessmux: SideCounts,
}

impl Counts {
    /// The counters of one side.
    pub(super) fn of(&self, side: Side) -> &SideCounts {
        match side {
            Side::Straight => &self.straight,
            Side::Sessmux => &self.sessmux,
        }
    }
}

/// Counters of one side.
#[derive(Debug, Default, Serialize)]
pub(super) struct SideCounts {
    /// WebSocket connections ever opened.
    connections: AtomicU64,
    /// Turns begun.
    turns: AtomicU64,
    /// Turns that ended because their socket went away.
    cancelled: AtomicU64,
    /// Runs of the pretend shell tool.
    tool_runs: AtomicU64,
}

impl SideCounts {
    /// Counts a connection.
    pub(super) fn connected(&self) {
        bump(&self.connections);
    }

    /// Counts a run of the tool.
    pub(super) fn tool_ran(&self) {
        bump(&self.tool_runs);
    }

    /// Counts a turn; it counts as cancelled unless it is told to be [finished](RunningTurn::finish).
    pub(super) fn begin_turn(&self) -> RunningTurn<'_> {
        bump(&self.turns);
        RunningTurn { counts: self }
    }
}

/// A turn that has not ended; dropping it is what "the turn was cancelled" means.
#[derive(Debug)]
pub(super) struct RunningTurn<'a> {
    counts: &'a SideCounts,
}

impl RunningTurn<'_> {
    /// Ends the turn as one that was not cancelled.
    pub(super) fn finish(self) {
        std::mem::forget(self);
    }
}

impl Drop for RunningTurn<'_> {
    fn drop(&mut self) {
        bump(&self.counts.cancelled);
    }
}

/// The counters are independent of each other and order nothing, hence relaxed.
fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
