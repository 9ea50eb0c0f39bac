//! The guarantees over real sockets; a test is named after its guarantee.

#[path = "../common/mod.rs"]
mod common;
mod ends;
mod one_upstream;
mod order;
mod pages;

use std::net::SocketAddr;

use common::raw::RawAgent;
use common::{Proxy, route};
use sessmux::config::{KeySource, Route};

/// A route whose sessions are named by `?session=`.
fn by_session(agent: SocketAddr) -> Route {
    route(agent, vec![KeySource::QueryParam("session".into())])
}

/// A proxy with that route alone.
async fn keyed(agent: &RawAgent) -> Proxy {
    Proxy::start(by_session(agent.address)).await
}
