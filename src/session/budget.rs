//! How much all sessions together hold, and may: logs, messages that are not whole, what waits to be sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

/// What is counted is rounded up to so many bytes, for the count of all is every session's to change.
const GRAIN: usize = 1024;

/// See the module.
#[derive(Debug)]
pub struct Budget {
    limit: AtomicUsize,
    held: AtomicUsize,
    shares: AtomicUsize,
    gauge: IntGauge,
}

/// What one session, or one pending attachment, holds of it; given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    held: usize,
}

impl Budget {
    /// At most `limit` bytes; `gauge` shows how many there are.
    pub fn new(limit: usize, gauge: IntGauge) -> Self {
        Self {
            limit: AtomicUsize::new(limit),
            held: AtomicUsize::new(0),
            shares: AtomicUsize::new(0),
            gauge,
        }
    }

    /// Another limit from here on.
    pub fn bound(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// A share of nothing yet.
    pub fn share(self: &Arc<Self>) -> Share {
        self.shares.fetch_add(1, Ordering::Relaxed);
        Share {
            budget: Arc::clone(self),
            held: 0,
        }
    }

    /// Whether more is held than may be.
    pub fn is_exhausted(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.limit()
    }

    /// Whether so much is held that whoever gives back is to go on: an eighth below the limit, so that it is not for one
    /// message that all are asked.
    pub fn is_short(&self) -> bool {
        let limit = self.limit();
        self.held.load(Ordering::Relaxed) > limit - limit / 8
    }

    /// What all may hold.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// What nobody is asked to give back: the part that each has of half of it all. So whatever the others do, at most
    /// half as much again as the limit is held.
    pub fn fair(&self) -> usize {
        self.limit() / 2 / self.shares.load(Ordering::Relaxed).max(1)
    }
}

impl Share {
    /// Counts `bytes` in place of what was counted before.
    pub fn set(&mut self, bytes: usize) {
        let held = bytes.next_multiple_of(GRAIN);
        if held == self.held {
            return;
        }
        // a sum, and no other memory is published by it
        if held > self.held {
            self.budget.held.fetch_add(held - self.held, Ordering::Relaxed);
        } else {
            self.budget.held.fetch_sub(self.held - held, Ordering::Relaxed);
        }
        self.budget.gauge.add(held as i64 - self.held as i64);
        self.held = held;
    }

    /// Whether it is to take no more for now: there is too much of all, and this has more than its fair part.
    pub fn is_over(&self) -> bool {
        self.budget.is_exhausted() && self.held > self.budget.fair()
    }

    /// Another share of the same, of nothing yet.
    pub fn beside(&self) -> Self {
        self.budget.share()
    }

    /// What it is a share of.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
        self.budget.shares.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_are_given_back() {
        let gauge = IntGauge::new("a", "b").unwrap();
        let budget = Arc::new(Budget::new(10 * GRAIN, gauge.clone()));
        let (mut one, mut other) = (budget.share(), budget.share());
        assert_eq!(budget.fair(), 5 * GRAIN / 2);
        one.set(9 * GRAIN);
        other.set(1);
        assert!(!budget.is_exhausted());
        other.set(GRAIN + 1);
        assert!(budget.is_exhausted());
        assert!(one.is_over() && !other.is_over(), "who has little may go on");
        assert_eq!(gauge.get(), 11 * GRAIN as i64);
        one.set(0);
        assert!(!budget.is_exhausted() && !one.is_over());
        one.set(9 * GRAIN);
        budget.bound(8 * GRAIN);
        assert!(budget.is_exhausted() && one.is_over() && budget.limit() == 8 * GRAIN);
        drop((one, other));
        budget.bound(10 * GRAIN);
        assert_eq!((gauge.get(), budget.fair()), (0, 5 * GRAIN));
    }
}
