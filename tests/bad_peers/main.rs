//! Peers that break the protocol, lie, hang or leave: each has its status or close code and its log line, and the
//! session beside it goes on.

mod agents;
#[path = "../common/mod.rs"]
mod common;
mod pages;
mod requests;

use common::raw::RawAgent;
use common::{Proxy, route};
use sessmux::config::KeySource;

/// Largest message of [`keyed`]'s route, in bytes.
const LIMIT: usize = 1 << 20;

/// A proxy whose sessions are named by `?session=`.
async fn keyed(agent: &RawAgent) -> Proxy {
    Proxy::start(route(agent.address, vec![KeySource::QueryParam("session".into())])).await
}
