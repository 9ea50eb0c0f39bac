//! Finds a session or creates it: any number of concurrent first attaches dial once.
//!
//! Creation belongs to the registry's entry, not to a request. The entry's dial uses the head of one waiter at a time:
//! a refusal by the agent server goes to that waiter, and the next one's head is tried; a dial that cannot connect
//! fails them all; with no waiter left the dial is cancelled.

mod create;
mod membership;
mod operate;
mod rehearsed;
mod relief;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use hyper::Request;
use hyper::header::HeaderValue;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::{Admission, Limit};
use super::budget::{Budget, Share};
use super::description::Description;
use super::key::{Key, Owner};
use super::lookalike::Lookalikes;
use super::mailbox::{Mail, Mailbox};
use super::seldom::Seldom;
use crate::capture::Recorder;
use crate::config::{Limits, Route};
use crate::metrics::Metrics;
use crate::transport::dial::DialError;
use crate::transport::tls::Roots;

use create::{Dialing, Queue, Waiter, create, lock};

pub use create::Creation;
pub(super) use membership::{Membership, Naming};
pub use operate::{Listing, NotEnded};
pub use relief::{Done, Relief};

/// All sessions of this process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sessions {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    slots: DashMap<Arc<Key>, Slot>,
    lookalikes: Lookalikes,
    tracker: TaskTracker,
    stopping: CancellationToken,
    /// The tasks of sessions alone.
    live: TaskTracker,
    draining: AtomicBool,
    recorder: Option<Recorder>,
    admission: Admission,
    budget: Arc<Budget>,
    /// Sessions are giving back.
    relieving: AtomicBool,
    /// That they did is told once a second.
    relieved: Mutex<Seldom>,
    metrics: Arc<Metrics>,
    /// Who may vouch for agent servers; read once a dial.
    roots: RwLock<Roots>,
    /// Sessions that ended lately, the newest last.
    ended: Mutex<VecDeque<Description>>,
}

#[derive(Debug, Clone)]
enum Slot {
    Dialing(Arc<Queue>),
    Live(Arc<Mailbox>),
}

/// A session to attach to.
#[derive(Debug)]
pub struct Opened {
    /// Reaches its task.
    pub mailbox: Arc<Mailbox>,
    /// The subprotocol that upstream chose.
    pub protocol: Option<HeaderValue>,
    /// For the request that created the session; `None` for all others.
    pub created: Option<Creation>,
}

impl Opened {
    /// The route that the session was opened by, and keeps.
    pub fn route(&self) -> &Arc<Route> {
        self.mailbox.route()
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
    /// It is another's, and the route refuses those who name such.
    #[error("the session is another's")]
    Foreign,
    /// There may be no more.
    #[error("no more sessions: {}", .0.rule.name())]
    Limit(Limit),
    /// sessmux is stopping.
    #[error("sessmux is stopping")]
    Stopping,
}

impl Sessions {
    /// No sessions yet; their tasks, and all that they start, run under `tracker`, and `recorder` hears them; `roots` vouch
    /// for agent servers.
    pub fn new(
        tracker: TaskTracker,
        recorder: Option<Recorder>,
        roots: Roots,
        limits: &Limits,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics
            .buffered_limit
            .set(i64::try_from(limits.max_buffered).unwrap_or(i64::MAX));
        Self {
            inner: Arc::new(Inner {
                slots: DashMap::new(),
                lookalikes: Lookalikes::new(),
                tracker,
                stopping: CancellationToken::new(),
                live: TaskTracker::new(),
                draining: AtomicBool::new(false),
                recorder,
                admission: Admission::new(limits),
                budget: Arc::new(Budget::new(limits.max_buffered, metrics.buffered.clone())),
                relieving: AtomicBool::new(false),
                relieved: Mutex::default(),
                metrics,
                roots: RwLock::new(roots),
                ended: Mutex::default(),
            }),
        }
    }

    /// The session of `owner` named `key`, created with `offer`, which makes the head of an upgrade request to upstream,
    /// if there is none of that name; then it is one of `client`'s, if that is bounded.
    pub async fn open(
        &self,
        key: &Arc<Key>,
        owner: &Owner,
        client: Option<IpAddr>,
        route: &Arc<Route>,
        offer: impl FnOnce() -> Request<()>,
    ) -> Result<Opened, OpenError> {
        if self.inner.stopping.is_cancelled() {
            return Err(OpenError::Stopping);
        }
        let (answer, opened) = oneshot::channel();
        let waiter = || Waiter {
            owner: owner.clone(),
            offer: offer(),
            answer,
        };
        match self.inner.slots.entry(Arc::clone(key)) {
            Entry::Occupied(slot) => match slot.get() {
                Slot::Live(mailbox) if mailbox.owner().unwrap_or(&key.owner) != owner => {
                    return Err(OpenError::Foreign);
                }
                Slot::Live(mailbox) => {
                    let mailbox = Arc::clone(mailbox);
                    let protocol = mailbox.protocol();
                    return Ok(Opened {
                        mailbox,
                        protocol,
                        created: None,
                    });
                }
                Slot::Dialing(queue) => lock(queue).push_back(waiter()),
            },
            Entry::Vacant(_) if self.inner.draining.load(Ordering::Relaxed) => return Err(OpenError::Stopping),
            Entry::Vacant(slot) => {
                let now = Instant::now().into_std();
                let admitted = self.inner.admission.admit(client, owner, now);
                let admitted = admitted.map_err(OpenError::Limit)?;
                let queue = Arc::new(Mutex::new(VecDeque::from([waiter()])));
                slot.insert(Slot::Dialing(Arc::clone(&queue)));
                let entry = Dialing::new(&self.inner, key, queue);
                // boxed, for it is large, and on its way into its task is moved five times
                let creating = Box::pin(create(entry, Arc::clone(route), admitted));
                self.inner.tracker.spawn(creating);
            }
        }
        opened.await.unwrap_or_else(|_| {
            let stopping = self.inner.stopping.is_cancelled();
            Err(if stopping {
                OpenError::Stopping
            } else {
                OpenError::Shared { timeout: false }
            })
        })
    }

    /// Other bounds and roots from here on; sessions that there are keep their places and their upstreams.
    pub fn reload(&self, limits: &Limits, roots: Roots) {
        let inner = &self.inner;
        inner.admission.bound(limits);
        inner.budget.bound(limits.max_buffered);
        inner
            .metrics
            .buffered_limit
            .set(i64::try_from(limits.max_buffered).unwrap_or(i64::MAX));
        *inner.roots.write().unwrap_or_else(PoisonError::into_inner) = roots;
        if inner.budget.is_exhausted() {
            // sessions notice as messages come, and those that hold most may be silent
            inner.relieve();
        }
    }

    /// From here on there are no new sessions; those that there are may be attached to and go on.
    pub fn drain(&self) {
        // those who ask from now on are told, and whoever asked before is one of those that there are
        self.inner.draining.store(true, Ordering::Relaxed);
        self.inner.live.close();
    }

    /// How many sessions there are.
    pub fn live(&self) -> usize {
        self.inner.live.len()
    }

    /// Returns when all sessions have ended; only after [`Self::drain`].
    pub async fn all_ended(&self) {
        self.inner.live.wait().await;
    }

    /// What a pending attachment holds of the memory that all have together.
    pub fn share(&self) -> Share {
        self.inner.budget.share()
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

impl Inner {
    /// Who may vouch for agent servers now.
    fn roots(&self) -> Roots {
        self.roots.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
