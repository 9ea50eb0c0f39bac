//! A route's configuration in the core's terms.

use super::key::Key;
use crate::config::{KeyPart, KeySource, Route};
use crate::core::Policy;
use crate::core::log::Bounds;
use crate::profile::Role;
use crate::transport::reader;

/// What the core needs of a route for the session named `key`.
pub(super) fn policy(route: &Route, key: &Key) -> Policy {
    Policy {
        replay_refresh: route.replay_refresh,
        replay_blip: route.replay_blip,
        blip_1006: route.blip_1006,
        explicit_id: route
            .key
            .iter()
            .zip(key.values())
            .any(|(part, value)| names_conversation(part, value)),
        hello: route.profile.has(Role::Hello) || first_is_hello(route),
        hello_answer: route.profile.has(Role::HelloAnswer),
        // without a key nobody can come back
        one_to_one: route.key.is_empty(),
        grace: route.grace,
        grace_open: route.grace_open,
        log: Bounds {
            bytes: route.log_bytes,
            messages: route.log_messages as u64,
        },
        overflow: route.overflow,
        slow_reader: route.slow_reader,
        acks: route.acks,
        fights: route.fights,
    }
}

/// The bounds of this route's messages.
pub fn bounds(route: &Route) -> reader::Bounds {
    reader::Bounds {
        // which may be no more
        bytes: u32::try_from(route.max_message).unwrap_or(u32::MAX),
        // and of more frames than that a message would be too large
        fragments: u32::try_from(route.max_fragments).unwrap_or(u32::MAX),
    }
}

/// Whether the first message of every page is its hello: on a first-message route without a hello rule.
pub(super) fn first_is_hello(route: &Route) -> bool {
    needs_first_message(route) && !route.profile.has(Role::Hello)
}

/// Whether the first client message has to be read before it is known whose session it is, and which.
pub fn needs_first_message(route: &Route) -> bool {
    let mut sources = route.key.iter().flat_map(|part| &part.alternatives);
    // nor is its owner, where a hello proves who that is
    sources.any(|source| matches!(source, KeySource::First(_))) || route.profile.is_signed()
}

/// Whether this part of a key is an id that somebody chose; `browser` and the path say only where an application lives.
fn names_conversation(part: &KeyPart, value: &[u8]) -> bool {
    part.alternatives.iter().any(|source| match source {
        KeySource::Browser | KeySource::Path => false,
        KeySource::Query => !value.is_empty(),
        _ => true,
    })
}
