//! What a session gives back when all of them together hold too much.

use super::{Received, Session};

impl Session {
    /// Bytes that it holds: its log, what is kept beside that, and what waits for the page beside that.
    pub fn held(&self) -> usize {
        let kept = self.kept.as_ref().map_or(0, |kept| kept.held());
        let waiting = self.attached.as_ref().map_or(0, |attached| attached.out.held());
        self.log.held() + kept + waiting
    }

    /// Evicts what a page was sent, the oldest first, until the log has no more than `bytes`; returns whether something
    /// went. While nobody is attached, that is what the last page has acknowledged.
    pub fn evict_delivered(&mut self, bytes: usize) -> bool {
        let sent = match (&self.attached, self.last()) {
            (Some(attached), _) => attached.out.cursor(),
            (None, Some(last)) => last.resume.offset,
            (None, None) => return false,
        };
        let evicted = self.log.evict_to(bytes, Some(sent));
        self.count_evicted(evicted);
        evicted > 0
    }

    /// From here on the log is bounded by `bytes` too, if that is less than its own bound, and what is over goes as if it
    /// were full.
    pub fn bound_log(&mut self, bytes: usize) -> Received {
        self.log.set_bytes(bytes.min(self.policy.log.bytes));
        self.fit_log()
    }

    /// The log has its own bound again, and no other.
    pub fn unbound_log(&mut self) {
        self.log.set_bytes(self.policy.log.bytes);
    }

    /// Whether a page that has yet to take it keeps the log above `bytes`.
    pub fn page_keeps_more_than(&self, bytes: usize) -> bool {
        let unread = self
            .attached
            .as_ref()
            .is_some_and(|attached| attached.out.held() > 0 || self.log.end() > attached.out.cursor());
        self.end.is_none() && unread && self.held() > bytes
    }
}
