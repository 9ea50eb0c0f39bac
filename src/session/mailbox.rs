//! What reaches a session's task from outside: a small queue and a waker, for a channel per session costs more memory
//! than all the rest of an idle session.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use hyper::header::HeaderValue;
use tokio::sync::{mpsc, oneshot};

use super::attach::Attach;
use super::description::Description;
use super::key::Owner;
use super::registry::{Done, Relief};
use crate::config::Route;

/// A message to a session's task.
#[derive(Debug)]
pub enum Mail {
    /// A page asks to be attached.
    Attach(Box<Attach>),
    /// A pending page asks what the server said before the first hello; answered once that was said.
    Challenge(oneshot::Sender<Vec<u8>>),
    /// The page that the session was created for will not attach.
    Abandoned,
    /// All sessions together hold too much: it gives back what is asked for, and then drops the other.
    Relieve(Relief, Done),
    /// An operator asks how it stands, and with the flag what happened lately.
    Describe(mpsc::UnboundedSender<Description>, bool),
    /// An operator ends it; the other is dropped once it is forgotten.
    End(oneshot::Sender<()>),
    /// sessmux stops: upstream is closed in order and the page told to come back.
    Shutdown,
}

/// See the module.
#[derive(Debug)]
pub struct Mailbox {
    /// Whose session it is, where its key does not say.
    owner: Option<Box<Owner>>,
    /// The subprotocol that the session speaks.
    protocol: Option<Box<HeaderValue>>,
    /// The route as it was when the session was opened.
    route: Arc<Route>,
    attached: AtomicBool,
    /// There may be mail, or no waker is known: what a task looks at in each turn, for a lock costs more.
    news: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `None` once the task has ended.
    mail: Option<Vec<Mail>>,
    waker: Option<Waker>,
}

impl Mailbox {
    /// The mailbox of a session that speaks this subprotocol, opened by this route, and of this owner, where its key does
    /// not say whose it is.
    pub(super) fn new(owner: Option<Owner>, protocol: Option<HeaderValue>, route: Arc<Route>) -> Self {
        Self {
            owner: owner.map(Box::new),
            protocol: protocol.map(Box::new),
            route,
            attached: AtomicBool::new(false),
            news: AtomicBool::new(true),
            inner: Mutex::new(Inner {
                mail: Some(Vec::new()),
                waker: None,
            }),
        }
    }

    /// Whose session it is, where its key does not say.
    pub(super) fn owner(&self) -> Option<&Owner> {
        self.owner.as_deref()
    }

    /// The subprotocol that the session speaks.
    pub fn protocol(&self) -> Option<HeaderValue> {
        self.protocol.as_deref().cloned()
    }

    /// The route that the session was opened by, and keeps, whatever the configuration says by now.
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Whether a page is attached, as far as the session's task has said; it tells others, and decides nothing.
    pub(super) fn is_attached(&self) -> bool {
        self.attached.load(Ordering::Relaxed)
    }

    /// Says whether a page is attached.
    pub(super) fn set_attached(&self, attached: bool) {
        self.attached.store(attached, Ordering::Relaxed);
    }

    /// Leaves a message; it comes back if the task has ended.
    pub fn post(&self, mail: Mail) -> Result<(), Mail> {
        let waker = {
            let mut inner = self.lock();
            let Some(left) = &mut inner.mail else {
                return Err(mail);
            };
            left.push(mail);
            self.news.store(true, Ordering::Release);
            inner.waker.take()
        };
        // woken after unlocking, so that the task does not meet the lock
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Takes what is there; the next message wakes `waker`, which is the same each time: a task's is.
    pub(super) fn take(&self, waker: &Waker) -> Vec<Mail> {
        // whoever leaves a message says so before it wakes
        if !self.news.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut inner = self.lock();
        self.news.store(false, Ordering::Relaxed);
        if !inner.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
        inner.mail.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes what is left; from here on messages come back to their senders.
    pub(super) fn close(&self) -> Vec<Mail> {
        let mut inner = self.lock();
        inner.waker = None;
        inner.mail.take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // the state is whole at every unlock, so a panic elsewhere does not spoil it
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The runtime's aligned allocations, three a session, leave holes of this size; what fits costs no further memory.
    #[test]
    fn it_fits_into_the_allocators_holes() {
        let counters = 2 * size_of::<usize>();
        assert!(size_of::<Mailbox>() + counters <= 104);
    }
}
