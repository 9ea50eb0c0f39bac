//! What holds for the next request: the configuration, and what is made of it. A reload puts another in its place.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::gate::Gate;
use super::headers::Hop;
use super::pass::Pass;
use super::request::Peer;
use crate::config::{Captures, Config, PathPattern, Route};
use crate::transport::tls::Roots;

/// See the module. A request takes it once, so that one half of it never meets the other half of another.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) config: Config,
    pub(super) gate: Gate,
    pub(super) pass: Pass,
    /// For WebSockets that no route claims: one-to-one, for it has no key.
    unrouted: Arc<Route>,
    /// Host and port of the one public origin, where there is one, without a port that its scheme implies.
    public_host: Option<String>,
}

impl Live {
    /// For a listener at `address`, and servers that `roots` vouch for.
    pub(super) fn new(config: Config, roots: Roots, address: SocketAddr) -> Self {
        Self {
            gate: Gate::new(
                address,
                config.tls.is_some(),
                &config.public_origins,
                &config.allow_origins,
            ),
            // its idle connections are not worth waiting for at the end
            pass: Pass::new(&TaskTracker::new(), roots),
            unrouted: Arc::new(Route::one_to_one(PathPattern::any(), config.upstream.clone())),
            public_host: match &config.public_origins[..] {
                [origin] => Some(origin.authority()),
                _ => None,
            },
            config,
        }
    }

    /// What upstream is told of the hop that `peer` came by.
    pub(super) fn hop(&self, peer: &Peer) -> Hop<'_> {
        Hop {
            client: peer.client,
            scheme: if peer.https { "https" } else { "http" },
            host: self.public_host.as_deref(),
        }
    }

    /// The first route that claims `path`, and what its pattern captured.
    pub(super) fn route(&self, path: &str) -> (Arc<Route>, Captures) {
        let claimed = self
            .config
            .routes
            .iter()
            .find_map(|route| Some((Arc::clone(route), route.path.matches(path)?)));
        claimed.unwrap_or_else(|| (Arc::clone(&self.unrouted), Captures::default()))
    }
}
