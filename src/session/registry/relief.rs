//! When all sessions together hold more than they may: who gives back, and in which order.
//!
//! First what pages were sent already, of sessions that have more than their part. Then logs are bounded more and more
//! closely, which overflow policies answer; so the largest give first, and who has little is left alone. If that does not
//! do, pages that do not take what they are sent are let go, and at last sessions end whose one message is too large.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{Inner, Slot};
use crate::metrics::Rule;
use crate::session::mailbox::Mail;

/// Between two rounds of asking, where the first was not enough.
const AGAIN: Duration = Duration::from_secs(1);

/// What sessions are asked to give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relief {
    /// What pages were sent, above so many bytes.
    Delivered(usize),
    /// What is above so many bytes, as if the log were full.
    Bound(usize),
    /// The page that keeps more than that.
    Slow(usize),
    /// The session that still has more.
    End(usize),
    /// Nothing more: go on.
    Over,
}

/// Held until a session has done what it was asked for.
pub type Done = mpsc::Sender<()>;

impl Inner {
    /// Has sessions give back, unless they are about it already.
    pub(super) fn relieve(self: &Arc<Self>) {
        if self.relieving.swap(true, Ordering::Relaxed) {
            return;
        }
        let inner = Arc::clone(self);
        self.tracker.spawn(async move {
            inner.metrics.refused(Rule::MaxBuffered);
            let relieved = async {
                let reached = inner.give_back().await;
                inner.tell(reached);
                // nobody has more than the least that is left to each: until some end, who was stopped is asked anew
                while inner.budget.is_exhausted() {
                    sleep(AGAIN).await;
                    inner.give_back().await;
                }
            };
            inner.stopping.run_until_cancelled(relieved).await;
            // whoever finds too much again from here on begins anew
            inner.relieving.store(false, Ordering::Relaxed);
            inner.ask(Relief::Over).await;
        });
    }

    fn tell(&self, reached: Relief) {
        let mut seldom = self.relieved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unlogged) = seldom.happened(Instant::now()) {
            tracing::warn!(
                max_buffered = self.budget.limit(),
                ?reached,
                unlogged,
                "all sessions together hold too much: history was evicted, the largest first"
            );
        }
    }

    /// Asks for more and more until it is enough; returns the last that was asked for.
    async fn give_back(&self) -> Relief {
        let fair = self.budget.fair();
        let mut asked = Relief::Delivered(fair);
        self.ask(asked).await;
        for step in [Relief::Bound, Relief::Slow, Relief::End] {
            let mut bytes = self.budget.limit() / 2;
            while bytes >= fair && self.budget.is_short() {
                asked = step(bytes);
                self.ask(asked).await;
                bytes /= 2;
            }
        }
        asked
    }

    /// Asks all sessions, and returns when all have answered or ended.
    async fn ask(&self, relief: Relief) {
        let live: Vec<_> = self
            .slots
            .iter()
            .filter_map(|slot| match slot.value() {
                Slot::Live(mailbox) => Some(Arc::clone(mailbox)),
                Slot::Dialing(_) => None,
            })
            .collect();
        let (done, mut all) = mpsc::channel(1);
        for mailbox in live {
            // one that has ended holds nothing
            let _ = mailbox.post(Mail::Relieve(relief, done.clone()));
        }
        drop(done);
        // nothing is sent: it ends when the last is dropped
        let _ = all.recv().await;
    }
}
