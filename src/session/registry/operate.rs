//! What an operator asks of all sessions: which there are, which ended lately, and to end one.

use std::sync::{Arc, PoisonError};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::membership::Membership;
use super::{Sessions, Slot};
use crate::config::Route;
use crate::session::description::Description;
use crate::session::key::SessionId;
use crate::session::mailbox::{Mail, Mailbox};

/// So many ended sessions are remembered, each with what happened last: about 1 MiB at most.
const ENDED: usize = 256;

/// Sessions, as an operator is told of them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Listing {
    /// Those there are: whose prompt has been open longest first, then the oldest.
    pub sessions: Vec<Description>,
    /// Those that ended lately, the last first.
    pub ended: Vec<Description>,
}

/// Why a session was not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotEnded {
    /// There is none.
    #[error("there is no such session")]
    Unknown,
    /// Its upstream is being dialled.
    #[error("the session is still being dialled for")]
    Dialing,
    /// The short hash is that of several.
    #[error("several sessions have this short hash")]
    Several,
}

impl Sessions {
    /// Those there are and those that ended lately; of this id only, and then with what happened lately.
    pub async fn list(&self, only: Option<SessionId>) -> Listing {
        let (to, mut told) = mpsc::unbounded_channel();
        let mut sessions = Vec::new();
        for (id, slot) in self.slots(only) {
            match slot {
                // one that has ended since tells nothing
                Entry::Live(mailbox) => drop(mailbox.post(Mail::Describe(to.clone(), only.is_some()))),
                Entry::Dialing(route) => sessions.push(Description::dialing(id, &route)),
            }
        }
        drop(to);
        while let Some(description) = told.recv().await {
            sessions.push(description);
        }
        sessions.sort_by_key(Description::rank);
        let ended = self.inner.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let matching = ended.iter().rev().filter(|it| only.is_none_or(|id| id == it.session));
        let mut ended: Vec<_> = matching.cloned().collect();
        if only.is_none() {
            for description in &mut ended {
                description.forget_timeline();
            }
        }
        Listing { sessions, ended }
    }

    /// Ends the session of this id; returns when it is forgotten.
    ///
    /// # Errors
    ///
    /// There is not exactly one that can be ended.
    pub async fn end(&self, id: SessionId) -> Result<(), NotEnded> {
        let mut slots = self.slots(Some(id)).into_iter();
        let mailbox = match (slots.next(), slots.next()) {
            (None, _) => return Err(NotEnded::Unknown),
            (Some(_), Some(_)) => return Err(NotEnded::Several),
            (Some((_, Entry::Dialing(_))), None) => return Err(NotEnded::Dialing),
            (Some((_, Entry::Live(mailbox))), None) => mailbox,
        };
        let (done, forgotten) = oneshot::channel();
        mailbox.post(Mail::End(done)).map_err(|_| NotEnded::Unknown)?;
        // nothing is sent: it ends when the session is forgotten
        let _ = forgotten.await;
        Ok(())
    }

    /// How many sessions can be named, and by none of these routes.
    pub fn stranded(&self, routes: &[Arc<Route>]) -> usize {
        let slots = self.inner.slots.iter();
        let named = slots.filter(|slot| !slot.key().is_alone());
        named
            .filter(|slot| !routes.iter().any(|route| slot.key().is_of(route)))
            .count()
    }

    /// Who is in the registry, of this id only where there is one; no shard is locked any more.
    fn slots(&self, only: Option<SessionId>) -> Vec<(SessionId, Entry)> {
        let matching = self.inner.slots.iter().filter_map(|slot| {
            let id = slot.key().id();
            let entry = match slot.value() {
                Slot::Live(mailbox) => Entry::Live(Arc::clone(mailbox)),
                Slot::Dialing(_) => Entry::Dialing(Arc::clone(&slot.key().route)),
            };
            only.is_none_or(|only| only == id).then_some((id, entry))
        });
        matching.collect()
    }
}

/// Whom the registry has under a key.
enum Entry {
    /// A route's session that is to be.
    Dialing(Arc<str>),
    Live(Arc<Mailbox>),
}

impl Membership {
    /// The session has ended like this.
    pub(in crate::session) fn remember(&self, description: Description) {
        let mut ended = self.inner.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() == ENDED {
            ended.pop_front();
        }
        ended.push_back(description);
    }
}
