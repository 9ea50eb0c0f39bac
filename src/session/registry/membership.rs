//! A session's place in the registry, from its creation to its end.

use std::sync::Arc;

use dashmap::mapref::entry::Entry;
use tokio_util::task::TaskTracker;

use super::{Inner, Slot};
use crate::config::{KeySource, Route};
use crate::profile::pointer;
use crate::session::key::{Key, SessionId};
use crate::session::mailbox::{Mail, Mailbox};

/// A session's place in the registry; it is given up when the session's task ends.
pub(in crate::session) struct Membership {
    pub(super) key: Key,
    pub(in crate::session) id: SessionId,
    pub(in crate::session) mailbox: Arc<Mailbox>,
    pub(in crate::session) tracker: TaskTracker,
    pub(super) inner: Arc<Inner>,
}

/// What the server's hello answer did to a session's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum Naming {
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
    pub(in crate::session) fn answered(&mut self, route: &Route, text: &[u8]) -> Naming {
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
    pub(in crate::session) fn leave(&self) -> Vec<Mail> {
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
