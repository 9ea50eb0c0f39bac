//! Whether one more session may be.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::key::Owner;
use super::quota::{Over, Place, Quota};
use super::rate::Rate;
use crate::config::Limits;
use crate::metrics::Rule;

/// Bounds on sessions, in all and of each client and owner.
#[derive(Debug)]
pub(super) struct Admission {
    clients: Arc<Quota<IpAddr>>,
    /// By a keyed hash of the owner, which is a secret and larger.
    owners: Arc<Quota<u64>>,
    hasher: RandomState,
    rate: Rate,
}

/// A session's leave to be; dropped with it.
#[derive(Debug)]
pub(super) struct Admitted {
    _client: Place<IpAddr>,
    _owner: Option<Place<u64>>,
}

/// A bound that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Which.
    pub rule: Rule,
    /// When to come again.
    pub retry: Duration,
}

/// Sessions last; whoever finds no place for one is to come again after this.
const PLACE: Duration = Duration::from_secs(10);

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            clients: Arc::new(Quota::new(limits.max_sessions, limits.max_client_sessions, None)),
            owners: Arc::new(Quota::new(usize::MAX, limits.max_owner_sessions, None)),
            hasher: RandomState::new(),
            rate: Rate::per_second(limits.session_rate),
        }
    }

    /// Other bounds from here on.
    pub(super) fn bound(&self, limits: &Limits) {
        self.clients.bound(limits.max_sessions, limits.max_client_sessions);
        self.owners.bound(usize::MAX, limits.max_owner_sessions);
        self.rate.bound(limits.session_rate);
    }

    /// One more for `owner`, created by `client`, if that is one that is bounded.
    pub(super) fn admit(&self, client: Option<IpAddr>, owner: &Owner, now: Instant) -> Result<Admitted, Limit> {
        let full = |rule| Limit { rule, retry: PLACE };
        let place = self.clients.take(client).map_err(|over| {
            full(match over {
                Over::All => Rule::MaxSessions,
                Over::Each => Rule::MaxClientSessions,
            })
        })?;
        let owner = match owner {
            Owner::Browser(_) | Owner::Bound(_) => {
                let place = self.owners.take(Some(self.hasher.hash_one(owner)));
                Some(place.map_err(|_| full(Rule::MaxOwnerSessions))?)
            }
            // nobody in particular
            Owner::Bearer | Owner::Anyone => None,
        };
        if let Some(client) = client {
            let rule = Rule::SessionRate;
            self.rate.check(client, now).map_err(|retry| Limit { rule, retry })?;
        }
        Ok(Admitted {
            _client: place,
            _owner: owner,
        })
    }
}
