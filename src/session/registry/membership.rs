//! A session's place in the registry, from its creation to its end.

use std::sync::Arc;

use dashmap::mapref::entry::Entry;
use tokio_util::task::TaskTracker;

use super::{Inner, Slot};
use crate::capture::Tape;
use crate::config::{KeySource, Route};
use crate::metrics::{Metrics, Rule};
use crate::profile::pointer;
use crate::session::admission::Admitted;
use crate::session::budget::Share;
use crate::session::farewell;
use crate::session::key::{Key, SessionId};
use crate::session::mailbox::{Mail, Mailbox};
use crate::transport::socket::Socket;

/// A session's place in the registry; it is given up when the session's task ends.
pub(in crate::session) struct Membership {
    pub(in crate::session) key: Arc<Key>,
    pub(in crate::session) id: SessionId,
    pub(in crate::session) mailbox: Arc<Mailbox>,
    /// What records it, where traffic is recorded.
    pub(in crate::session) tape: Option<Box<Tape>>,
    /// What it holds of the memory that all have together.
    pub(in crate::session) share: Share,
    /// Its leave to be; none for a rehearsal.
    pub(super) _admitted: Option<Box<Admitted>>,
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
    /// What the session starts runs under it.
    pub(in crate::session) fn tracker(&self) -> &TaskTracker {
        &self.inner.tracker
    }

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
        let key = Arc::new(self.key.with_value(index, value.as_bytes()));
        if key == self.key {
            return Naming::Kept;
        }
        if self.enter(Arc::clone(&key)) {
            let id = key.id();
            tracing::info!(session = %self.id, now = %id, "the server chose the session's id");
            self.forget();
            (self.key, self.id) = (key, id);
            Naming::Changed
        } else {
            tracing::warn!(session = %self.id, "the id that the server chose is taken: one-to-one from here on");
            self.stand_alone();
            Naming::Taken
        }
    }

    /// Nobody finds it by its name from here on; it stays in the registry, for who lists or stops all sessions.
    pub(in crate::session) fn stand_alone(&mut self) {
        let alone = Arc::new(Key::clone(&self.key).alone());
        self.enter(Arc::clone(&alone));
        self.forget();
        self.key = alone;
    }

    /// All sessions are asked to give memory back.
    pub(in crate::session) fn relieve(&self) {
        self.inner.relieve();
    }

    /// Where it is counted what happens.
    pub(in crate::session) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Writes last bytes to a socket that the session does not need any more, [in a task of its own](farewell::farewell).
    pub(in crate::session) fn farewell(&self, socket: Socket, bytes: Vec<u8>) {
        farewell::farewell(self.tracker(), Some(self.share.beside()), socket, bytes);
    }

    /// As [`Self::farewell`], but without a close frame.
    pub(in crate::session) fn farewell_unsaid(&self, socket: Socket, bytes: Vec<u8>) {
        farewell::end(self.tracker(), Some(self.share.beside()), socket, bytes);
    }

    /// Its page was cut off by this rule.
    pub(in crate::session) fn refused(&self, rule: Rule) {
        self.inner.metrics.refused(rule);
    }

    /// Takes a further name, if that is free.
    fn enter(&self, key: Arc<Key>) -> bool {
        let Entry::Vacant(slot) = self.inner.slots.entry(key) else {
            return false;
        };
        slot.insert(Slot::Live(Arc::clone(&self.mailbox)));
        if self.inner.stopping.is_cancelled() {
            // whoever told all sessions may have passed both names
            let _ = self.mailbox.post(Mail::Shutdown);
        }
        true
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
