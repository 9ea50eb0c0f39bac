//! Finds a session or creates it: any number of concurrent first attaches dial once.
//!
//! Creation belongs to the registry's entry, not to a request. The entry's dial uses the head of one waiter at a time:
//! a refusal by the agent server goes to that waiter, and the next one's head is tried; a dial that cannot connect
//! fails them all; with no waiter left the dial is cancelled.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use hyper::http::response;
use hyper::{Request, Uri};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::key::{Key, SessionId};
use super::lookalike::Lookalikes;
use super::mailbox::{Mail, Mailbox};
use super::policy::policy;
use super::task::SessionTask;
use crate::config::{KeySource, Route};
use crate::core::session::Session;
use crate::profile::pointer;
use crate::transport::dial::{self, DialError, Upgraded};

/// All sessions of this process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sessions {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    slots: DashMap<Key, Slot>,
    lookalikes: Lookalikes,
    tracker: TaskTracker,
    stopping: CancellationToken,
}

#[derive(Debug, Clone)]
enum Slot {
    Dialing(Arc<Queue>),
    Live(Arc<Mailbox>),
}

/// Requests that wait for one dial.
type Queue = Mutex<VecDeque<Waiter>>;

#[derive(Debug)]
struct Waiter {
    offer: Request<()>,
    answer: oneshot::Sender<Result<Opened, OpenError>>,
}

/// A session to attach to.
#[derive(Debug)]
pub struct Opened {
    /// Reaches its task.
    pub mailbox: Arc<Mailbox>,
    /// The subprotocol that upstream chose.
    pub protocol: Option<hyper::header::HeaderValue>,
    /// For the request that created the session; `None` for all others.
    pub created: Option<Creation>,
}

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

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The dial that this request's head was used for failed.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Somebody else's dial failed, for all who waited.
    #[error("the dial of another request failed")]
    Shared {
        /// It timed out.
        timeout: bool,
    },
    /// sessmux is stopping.
    #[error("sessmux is stopping")]
    Stopping,
}

/// A session's place in the registry; it is given up when the session's task ends.
pub(super) struct Membership {
    key: Key,
    pub(super) id: SessionId,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) tracker: TaskTracker,
    inner: Arc<Inner>,
}

impl Sessions {
    /// No sessions yet; their tasks, and all that they start, run under `tracker`.
    pub fn new(tracker: TaskTracker) -> Self {
        Self {
            inner: Arc::new(Inner {
                slots: DashMap::new(),
                lookalikes: Lookalikes::new(),
                tracker,
                stopping: CancellationToken::new(),
            }),
        }
    }

    /// The session named `key`, created with `offer`, the head of an upgrade request to upstream, if there is none.
    pub async fn open(&self, key: &Key, route: &Arc<Route>, offer: Request<()>) -> Result<Opened, OpenError> {
        if self.inner.stopping.is_cancelled() {
            return Err(OpenError::Stopping);
        }
        let (answer, opened) = oneshot::channel();
        let waiter = Waiter { offer, answer };
        match self.inner.slots.entry(key.clone()) {
            Entry::Occupied(slot) => match slot.get() {
                Slot::Live(mailbox) => {
                    let mailbox = Arc::clone(mailbox);
                    let protocol = mailbox.protocol();
                    return Ok(Opened {
                        mailbox,
                        protocol,
                        created: None,
                    });
                }
                Slot::Dialing(queue) => lock(queue).push_back(waiter),
            },
            Entry::Vacant(slot) => {
                let queue = Arc::new(Mutex::new(VecDeque::from([waiter])));
                slot.insert(Slot::Dialing(Arc::clone(&queue)));
                self.inner
                    .tracker
                    .spawn(create(Arc::clone(&self.inner), key.clone(), Arc::clone(route), queue));
            }
        }
        opened.await.unwrap_or(Err(OpenError::Stopping))
    }

    /// Cancelled once sessmux stops.
    pub fn stopping(&self) -> &CancellationToken {
        &self.inner.stopping
    }

    /// Tells every session that sessmux stops; those that are dialled for end before they begin.
    pub fn shut_down(&self) {
        self.inner.stopping.cancel();
        let live: Vec<_> = self
            .inner
            .slots
            .iter()
            .filter_map(|slot| match slot.value() {
                Slot::Live(mailbox) => Some(Arc::clone(mailbox)),
                Slot::Dialing(_) => None,
            })
            .collect();
        for mailbox in live {
            // one that has ended needs no telling
            let _ = mailbox.post(Mail::Shutdown);
        }
    }
}

/// Dials with one waiter's head after the other's until there is a session, or nobody wants one.
async fn create(inner: Arc<Inner>, key: Key, route: Arc<Route>, queue: Arc<Queue>) {
    loop {
        let Some(waiter) = next_waiter(&queue) else {
            // decided under the entry's lock, so that nobody joins a queue that is given up
            if inner
                .slots
                .remove_if(&key, |_, slot| is_dialing(slot, &queue) && lock(&queue).is_empty())
                .is_some()
            {
                return;
            }
            continue;
        };
        let mut dial = Dial {
            waiter,
            inherited: false,
        };
        let offer = dial.waiter.offer.clone();
        let target = offer.uri().clone();
        let dialed = tokio::select! {
            dialed = dial::upgrade(&route.upstream, offer.into_parts().0, &inner.tracker) => dialed,
            () = dial.abandoned(&queue) => continue,
            () = inner.stopping.cancelled() => {
                // the waiters are told by the end of their channels
                inner.slots.remove_if(&key, |_, slot| is_dialing(slot, &queue));
                return lock(&queue).clear();
            }
        };
        match dialed {
            Ok(upgraded) => return establish(inner, key, route, &queue, upgraded, dial.waiter.answer, &target),
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
                inner.slots.remove_if(&key, |_, slot| is_dialing(slot, &queue));
                for waiter in lock(&queue).drain(..) {
                    let _ = waiter.answer.send(Err(OpenError::Shared { timeout }));
                }
                return;
            }
        }
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
    inner: Arc<Inner>,
    key: Key,
    route: Arc<Route>,
    queue: &Arc<Queue>,
    upgraded: Upgraded,
    creator: oneshot::Sender<Result<Opened, OpenError>>,
    target: &Uri,
) {
    let Upgraded { socket, read, head } = upgraded;
    let protocol = head.headers.get(hyper::header::SEC_WEBSOCKET_PROTOCOL).cloned();
    let mailbox = Arc::new(Mailbox::new(protocol.clone()));
    let id = key.id();
    let like = inner
        .lookalikes
        .note(&key, target.path(), target.query().unwrap_or_default(), &mailbox);
    let (like, parameter) = like.map_or((None, None), |(like, parameter)| {
        (Some(like.to_string()), Some(parameter))
    });
    // a detached session that differs in one parameter only: that one is perhaps a token that rotates, and no id
    tracing::info!(session = %id, route = %route.path, like, parameter, "new session");
    inner.slots.insert(key.clone(), Slot::Live(Arc::clone(&mailbox)));
    let now = Instant::now().into_std();
    let policy = policy(&route, &key);
    let (tracker, stopping) = (inner.tracker.clone(), inner.stopping.clone());
    let membership = Membership {
        key,
        id,
        mailbox: Arc::clone(&mailbox),
        tracker: tracker.clone(),
        inner,
    };
    tracker.spawn(SessionTask::new(
        Session::new(policy, now),
        route,
        membership,
        socket,
        &read,
        now,
    ));
    if stopping.is_cancelled() {
        // its slot was perhaps not yet live when all sessions were told
        let _ = mailbox.post(Mail::Shutdown);
    }
    // if it has gone, this is dropped and tells the session
    let _ = creator.send(Ok(Opened {
        mailbox: Arc::clone(&mailbox),
        protocol: protocol.clone(),
        created: Some(Creation {
            head,
            mailbox: Some(Arc::clone(&mailbox)),
        }),
    }));
    for waiter in lock(queue).drain(..) {
        let opened = Opened {
            mailbox: Arc::clone(&mailbox),
            protocol: protocol.clone(),
            created: None,
        };
        let _ = waiter.answer.send(Ok(opened));
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

fn is_dialing(slot: &Slot, queue: &Arc<Queue>) -> bool {
    matches!(slot, Slot::Dialing(other) if Arc::ptr_eq(other, queue))
}

fn lock(queue: &Queue) -> std::sync::MutexGuard<'_, VecDeque<Waiter>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the server's hello answer did to a session's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// Nothing.
    Kept,
    /// The server chose another.
    Changed,
    /// The server chose one that another session has: this one stays one-to-one.
    Taken,
}

impl Membership {
    /// The server answered the hello: where the key has a part that the server chooses, the session is found under
    /// that from now on, if it is free.
    pub(super) fn answered(&mut self, route: &Route, text: &[u8]) -> Naming {
        let chosen = route.key.iter().enumerate().find_map(|(index, part)| {
            let value = part.alternatives.iter().find_map(|source| match source {
                KeySource::Answer(pointer) => pointer::find_key(text, pointer),
                _ => None,
            });
            Some((index, value?))
        });
        let Some((index, value)) = chosen else {
            return Naming::Kept;
        };
        let key = self.key.with_value(index, value.into_bytes());
        if key == self.key {
            return Naming::Kept;
        }
        let free = match self.inner.slots.entry(key.clone()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(slot) => {
                slot.insert(Slot::Live(Arc::clone(&self.mailbox)));
                true
            }
        };
        self.forget();
        if free {
            let id = key.id();
            tracing::info!(session = %self.id, now = %id, "the server chose the session's id");
            (self.key, self.id) = (key, id);
            Naming::Changed
        } else {
            tracing::warn!(session = %self.id, "the id that the server chose is taken: one-to-one from here on");
            Naming::Taken
        }
    }

    /// Gives the place up; returns the mail that was not read.
    pub(super) fn leave(&self) -> Vec<Mail> {
        self.forget();
        self.mailbox.close()
    }

    /// By identity, not by key: another session may have the key by now.
    fn forget(&self) {
        self.inner.slots.remove_if(
            &self.key,
            |_, slot| matches!(slot, Slot::Live(it) if Arc::ptr_eq(it, &self.mailbox)),
        );
    }
}
