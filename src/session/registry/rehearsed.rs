//! A place for a session that nobody dials and nobody finds: one that a capture is run through.

use std::sync::Arc;

use super::Sessions;
use super::membership::Membership;
use crate::config::Route;
use crate::session::key::{Key, Owner};
use crate::session::mailbox::Mailbox;

impl Sessions {
    /// A place under a name of its own, for a session of this route.
    pub(in crate::session) fn rehearsed(&self, route: &Arc<Route>) -> Membership {
        let values = route.key.iter().map(|_| &[][..]);
        let key = Arc::new(Key::new(route, Owner::Bearer, values));
        Membership {
            id: key.id(),
            key,
            mailbox: Arc::new(Mailbox::new(None, None, Arc::clone(route))),
            tape: None,
            _admitted: None,
            share: self.inner.budget.share(),
            inner: Arc::clone(&self.inner),
        }
    }
}
