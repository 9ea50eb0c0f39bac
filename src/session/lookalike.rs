//! How people find a rotating token in their key: a new session is compared with those that the same browser left
//! behind at the same path.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use lru::LruCache;

use super::key::{Key, Owner, SessionId};
use super::mailbox::Mailbox;
use super::query::changes_in_one_parameter;

/// Places remembered; whoever is forgotten misses a hint.
const PLACES: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
/// Sessions remembered for each.
const EACH: usize = 4;
/// Paths and queries that together are longer than this, in bytes, are not remembered: all places hold 20 MB at most.
const LONG: usize = 1024;

/// Where a session was opened: route, owner, path.
type Place = (Arc<str>, Owner, String);

/// The newest sessions of each place.
#[derive(Debug)]
pub(super) struct Lookalikes(Mutex<LruCache<Place, Vec<Seen>>>);

#[derive(Debug)]
struct Seen {
    query: String,
    id: SessionId,
    mailbox: Weak<Mailbox>,
}

impl Lookalikes {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(PLACES)))
    }

    /// Notes a new session; returns a detached one that has another value in one query parameter only, and in which.
    pub(super) fn note(
        &self,
        key: &Key,
        path: &str,
        query: &str,
        mailbox: &Arc<Mailbox>,
    ) -> Option<(SessionId, String)> {
        if matches!(key.owner, Owner::Bearer | Owner::Anyone) {
            // nothing tells one bearer from the next
            return None;
        }
        if path.len() + query.len() > LONG {
            return None;
        }
        let place = (Arc::clone(&key.route), key.owner.clone(), path.to_owned());
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = places.get_or_insert_mut(place, Vec::new);
        seen.retain(|seen| seen.mailbox.strong_count() > 0);
        let like = seen.iter().rev().find_map(|seen| {
            let detached = seen.mailbox.upgrade().is_some_and(|mailbox| !mailbox.is_attached());
            Some((
                seen.id,
                detached
                    .then(|| changes_in_one_parameter(&seen.query, query))
                    .flatten()?,
            ))
        });
        if seen.len() == EACH {
            seen.remove(0);
        }
        seen.push(Seen {
            query: query.to_owned(),
            id: key.id(),
            mailbox: Arc::downgrade(mailbox),
        });
        like
    }
}
