//! Creation: dials with one waiter's head after the other's until there is a session, or nobody wants one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::http::response;
use hyper::{Request, Uri};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::membership::Membership;
use super::{Inner, OpenError, Opened, Slot};
use crate::config::Route;
use crate::core::session::Session;
use crate::metrics::{self, Stage};
use crate::session::admission::Admitted;
use crate::session::key::{Key, Owner};
use crate::session::mailbox::{Mail, Mailbox};
use crate::session::policy::policy;
use crate::session::task::SessionTask;
use crate::transport::dial::{self, DialError, Upgraded};

/// What the creator of a session is given. Dropped before [`Self::kept`], it tells the session that nobody will come.
#[derive(Debug)]
pub struct Creation {
    /// The head of upstream's 101.
    pub head: response::Parts,
    mailbox: Option<Arc<Mailbox>>,
}

impl Creation {
    /// The creator has attached.
    pub fn kept(mut self) {
        self.mailbox = None;
    }
}

impl Drop for Creation {
    fn drop(&mut self) {
        if let Some(mailbox) = self.mailbox.take() {
            // one that has ended needs no telling
            let _ = mailbox.post(Mail::Abandoned);
        }
    }
}

/// Requests that wait for one dial.
pub(super) type Queue = Mutex<VecDeque<Waiter>>;

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) owner: Owner,
    pub(super) offer: Request<()>,
    pub(super) answer: oneshot::Sender<Result<Opened, OpenError>>,
}

/// An entry that has no session yet. Dropped, it is none any more, and its waiters hear the end of their channels.
pub(super) struct Dialing {
    pub(super) inner: Arc<Inner>,
    pub(super) key: Arc<Key>,
    pub(super) queue: Arc<Queue>,
}

impl Dialing {
    /// The entry under `key`, which is there already.
    pub(super) fn new(inner: &Arc<Inner>, key: &Arc<Key>, queue: Arc<Queue>) -> Self {
        inner.metrics.sessions.of(Stage::Dialing).inc();
        Self {
            inner: Arc::clone(inner),
            key: Arc::clone(key),
            queue,
        }
    }

    /// Removes the entry, if it is still this one and `also` holds; nobody joins its queue from then on.
    fn give_up(&self, also: impl Fn() -> bool) -> bool {
        let this = |slot: &Slot| matches!(slot, Slot::Dialing(queue) if Arc::ptr_eq(queue, &self.queue));
        let removed = self.inner.slots.remove_if(&self.key, |_, slot| this(slot) && also());
        removed.is_some()
    }
}

impl Drop for Dialing {
    fn drop(&mut self) {
        self.give_up(|| true);
        lock(&self.queue).clear();
        self.inner.metrics.sessions.of(Stage::Dialing).dec();
    }
}

/// Dials with one waiter's head after the other's until there is a session, or nobody wants one.
pub(super) async fn create(entry: Dialing, route: Arc<Route>, admitted: Admitted) {
    let (inner, queue) = (Arc::clone(&entry.inner), Arc::clone(&entry.queue));
    loop {
        let Some(waiter) = next_waiter(&queue) else {
            if entry.give_up(|| lock(&queue).is_empty()) {
                return;
            }
            continue;
        };
        let mut dial = Dial {
            waiter,
            inherited: false,
        };
        // nobody needs it again: whoever takes this one's place has an own
        let offer = std::mem::take(&mut dial.waiter.offer);
        let target = offer.uri().clone();
        let roots = inner.roots();
        let dialed = tokio::select! {
            dialed = dial::upgrade(&route.upstream, &roots, offer.into_parts().0, &inner.tracker) => dialed,
            () = dial.abandoned(&queue) => continue,
            () = inner.stopping.cancelled() => return,
        };
        inner.metrics.dials.of(outcome(&dialed)).inc();
        match dialed {
            Ok(upgraded) => return establish(&entry, route, upgraded, dial.waiter, &target, admitted),
            Err(refused @ DialError::Refused(_)) => {
                tracing::info!(route = %route.path.text, upstream = %route.upstream, cause = %refused, "no session");
                if dial.inherited {
                    // it was the head of one that left that was refused: this one's is yet to be tried
                    lock(&queue).push_front(dial.waiter);
                } else {
                    let _ = dial.waiter.answer.send(Err(refused.into()));
                }
            }
            Err(error) => {
                tracing::warn!(route = %route.path.text, upstream = %route.upstream, cause = %error, "dial failed");
                let timeout = matches!(error, DialError::Timeout { .. });
                let _ = dial.waiter.answer.send(Err(error.into()));
                entry.give_up(|| true);
                for waiter in lock(&queue).drain(..) {
                    let _ = waiter.answer.send(Err(OpenError::Shared { timeout }));
                }
                return;
            }
        }
    }
}

fn outcome(dialed: &Result<Upgraded, DialError>) -> metrics::Dial {
    match dialed {
        Ok(_) => metrics::Dial::Upgraded,
        Err(DialError::Refused(_)) => metrics::Dial::Refused,
        Err(DialError::Connect(_)) => metrics::Dial::Unreachable,
        Err(DialError::Timeout { .. }) => metrics::Dial::Timeout,
        Err(DialError::Bad(_)) => metrics::Dial::Broken,
    }
}

/// A dial under way.
struct Dial {
    /// Who is to have its outcome.
    waiter: Waiter,
    /// It was begun with the head of another, which has left.
    inherited: bool,
}

impl Dial {
    /// Ends when the request that it is for has gone, and no other waits.
    async fn abandoned(&mut self, queue: &Queue) {
        self.waiter.answer.closed().await;
        loop {
            // the next one takes the place of the one that left: the dial is the entry's
            let Some(next) = next_waiter(queue) else { return };
            (self.waiter, self.inherited) = (next, true);
            self.waiter.answer.closed().await;
        }
    }
}

fn establish(
    entry: &Dialing,
    route: Arc<Route>,
    upgraded: Upgraded,
    creator: Waiter,
    target: &Uri,
    admitted: Admitted,
) {
    let (inner, key) = (Arc::clone(&entry.inner), Arc::clone(&entry.key));
    let Upgraded { socket, read, head } = upgraded;
    let protocol = head.headers.get(hyper::header::SEC_WEBSOCKET_PROTOCOL).cloned();
    let mailbox = Arc::new(Mailbox::new(
        (creator.owner != key.owner).then(|| creator.owner.clone()),
        protocol.clone(),
        Arc::clone(&route),
    ));
    let id = key.id();
    let like = inner
        .lookalikes
        .note(&key, target.path(), target.query().unwrap_or_default(), &mailbox);
    // a detached session that differs in one parameter only: that one is perhaps a token that rotates, and no id
    match like {
        Some((like, parameter)) => {
            tracing::info!(session = %id, route = %route.path, %like, parameter, "new session");
        }
        None => tracing::info!(session = %id, route = %route.path, "new session"),
    }
    inner.slots.insert(Arc::clone(&key), Slot::Live(Arc::clone(&mailbox)));
    let now = Instant::now().into_std();
    let policy = policy(&route, &key);
    let (tracker, live, stopping) = (inner.tracker.clone(), inner.live.clone(), inner.stopping.clone());
    let membership = Membership {
        key,
        id,
        mailbox: Arc::clone(&mailbox),
        tape: inner.recorder.as_ref().map(|recorder| Box::new(recorder.tape(id))),
        _admitted: Some(Box::new(admitted)),
        share: inner.budget.share(),
        inner,
    };
    let task = SessionTask::new(Session::new(policy, now), route, membership, socket, &read, now);
    tracker.spawn(live.track_future(task));
    if stopping.is_cancelled() {
        // its slot was perhaps not yet live when all sessions were told
        let _ = mailbox.post(Mail::Shutdown);
    }
    // if it has gone, this is dropped and tells the session
    let _ = creator.answer.send(Ok(Opened {
        mailbox: Arc::clone(&mailbox),
        protocol: protocol.clone(),
        created: Some(Creation {
            head,
            mailbox: Some(Arc::clone(&mailbox)),
        }),
    }));
    for waiter in lock(&entry.queue).drain(..) {
        let own = waiter.owner == creator.owner;
        let opened = own.then(|| Opened {
            mailbox: Arc::clone(&mailbox),
            protocol: protocol.clone(),
            created: None,
        });
        let _ = waiter.answer.send(opened.ok_or(OpenError::Foreign));
    }
}

fn next_waiter(queue: &Queue) -> Option<Waiter> {
    let mut queue = lock(queue);
    while let Some(waiter) = queue.pop_front() {
        if !waiter.answer.is_closed() {
            return Some(waiter);
        }
    }
    None
}

/// Locks a queue.
pub(super) fn lock(queue: &Queue) -> std::sync::MutexGuard<'_, VecDeque<Waiter>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
