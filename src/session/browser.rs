//! What is known of one browser's pages: how sessmux tells a reload from a cut connection.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::core::cause::PageFacts;

/// One browser, known by its minted cookie; shared by its requests and its sessions.
#[derive(Debug, Default)]
pub struct Browser(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    last_request: Option<Instant>,
    answered: bool,
    /// A page came that the browser may show again without asking.
    kept: bool,
    service_worker: bool,
}

impl Browser {
    /// Notes that a page request began.
    pub fn page_requested(&self, now: Instant) {
        let mut pages = self.pages();
        pages.last_request = pages.last_request.max(Some(now));
    }

    /// Notes that a page request was answered, and whether the browser has to ask again before it shows that page
    /// another time.
    pub fn page_answered(&self, rerequested: bool) {
        let mut pages = self.pages();
        pages.answered = true;
        pages.kept |= !rerequested;
    }

    /// Notes that a service worker's script was asked for: it may answer page loads by itself.
    pub fn service_worker_fetched(&self) {
        self.pages().service_worker = true;
    }

    /// What is known now.
    #[must_use]
    pub fn facts(&self) -> PageFacts {
        let pages = self.pages();
        PageFacts {
            seen: pages.answered,
            rerequested: pages.answered && !pages.kept && !pages.service_worker,
            last_request: pages.last_request,
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // each field is changed in one step, so a panic elsewhere does not spoil them
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
