//! What a session's task holds of the memory that all have together, and how it gives back.

use std::time::Instant;

use super::SessionTask;
use crate::core::cause::Parting;
use crate::core::close::{self, Close};
use crate::metrics::Rule;
use crate::session::registry::Relief;

impl SessionTask {
    /// Counts what it did and holds; asks all sessions to give back where that is too much.
    pub(super) fn account(&mut self) {
        self.count();
        let held = self.held();
        self.membership.share.set(held);
        if self.membership.share.budget().is_exhausted() {
            self.membership.relieve();
        }
    }

    fn held(&self) -> usize {
        let page = self.page.as_ref().map_or(0, |page| page.held());
        let upstream = self.upstream.as_ref().map_or(0, |upstream| upstream.waiting());
        self.core.held() + page + upstream
    }

    /// Whether it is to read no more for now.
    pub(super) fn is_over(&self) -> bool {
        self.membership.share.is_over()
    }

    pub(super) fn relieve(&mut self, relief: Relief, now: Instant) {
        match relief {
            Relief::Delivered(bytes) => {
                self.core.evict_delivered(bytes);
            }
            Relief::Bound(bytes) => self.bound(bytes, now),
            Relief::Slow(bytes) => {
                if self.page.is_some() && self.core.page_keeps_more_than(bytes) {
                    let close = Close::new(close::TOO_SLOW, "too much waits for the page, and memory is short");
                    self.cut_off(now, &close, "it does not take what waits for it");
                }
                self.bound(bytes, now);
            }
            Relief::End(bytes) => {
                if self.page.as_ref().is_some_and(|page| page.held() > bytes) {
                    let close = Close::new(close::TRY_LATER, "over a limit: try again later");
                    self.cut_off(now, &close, "it has sent much of a message");
                }
                if self.held() > bytes {
                    let close = Close::new(close::GAP, "memory is short");
                    let why = "max_buffered: it held too much";
                    self.note_end(why);
                    self.cut_off(now, &close, "its session holds too much");
                    self.end(Some(&Close::new(close::GOING_AWAY, "")), why);
                }
            }
            Relief::Over => self.core.unbound_log(),
        }
        self.account();
    }

    /// Closes the page, if there is one, for `cause`: all sessions together hold too much.
    fn cut_off(&mut self, now: Instant, close: &Close, cause: &str) {
        if self.page.is_none() {
            return;
        }
        self.membership.refused(Rule::MaxBuffered);
        let max_buffered = self.membership.share.budget().limit();
        tracing::warn!(session = %self.membership.id, max_buffered, cause, "memory is short: the page was closed");
        self.close_page(now, Some(close), Parting::Cut);
    }

    fn bound(&mut self, bytes: usize, now: Instant) {
        let received = self.core.bound_log(bytes);
        self.logged(received, true, now);
    }
}
