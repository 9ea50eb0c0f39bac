//! Ten thousand pages come and go, by chance and on many sessions at once: nothing is lost, nothing out of order,
//! nothing doubled within an attachment, and across a blip comes only what was not acknowledged.

mod agent;
mod browser;
#[path = "../common/mod.rs"]
mod common;

use std::collections::HashMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sessmux::config::{Config, KeySource, Upstream};
use tokio::task::JoinSet;

use agent::{Ledger, serve};
use browser::{Browser, PageServer, Pages};
use common::{Agent, Proxy, config, route, soon};

const SESSIONS: usize = 100;
const CYCLES: usize = 100;

/// A third of the sessions each belongs to browsers of one kind.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_cycles_lose_nothing() {
    let seed = std::env::var("SESSMUX_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("SESSMUX_TEST_SEED={seed} starts with the same choices");
    let mut choices = StdRng::seed_from_u64(seed);

    let mut agent = Agent::start().await;
    let page_server = PageServer::start().await;
    let mut route = route(agent.address, vec![KeySource::QueryParam("session".into())]);
    route.fights = false;
    // nothing is to be evicted here
    route.log_bytes = 64 << 20;
    let proxy = Arc::new(
        Proxy::with(Config {
            upstream: Upstream::Tcp(page_server.address.to_string()),
            ..config(route)
        })
        .await,
    );

    let mut browsers = JoinSet::new();
    let mut ledgers = HashMap::new();
    for number in 0..SESSIONS {
        let (ledger, orders) = Ledger::new();
        let pages = [Pages::Elsewhere, Pages::Often, Pages::Once][number % 3];
        let target = format!("/ws?session={number}");
        ledgers.insert(target.clone(), (Arc::clone(&ledger), orders));
        let (proxy, choices) = (Arc::clone(&proxy), StdRng::seed_from_u64(choices.random()));
        browsers.spawn(Browser::run(proxy, target, ledger, choices, pages, CYCLES));
    }
    let mut connections = JoinSet::new();
    for _ in 0..SESSIONS {
        let connection = agent.connection().await;
        let (ledger, orders) = ledgers.remove(&connection.uri).unwrap_or_else(|| {
            panic!("a second connection of {}", connection.uri);
        });
        connections.spawn(serve(connection.socket, ledger, orders));
    }
    while let Some(ended) = browsers.join_next().await {
        ended.unwrap();
    }
    assert_eq!(agent.count(), SESSIONS, "one upstream connection a session");
    // their ledgers are gone, so they end by themselves
    while let Some(ended) = soon("the agents' end", connections.join_next()).await {
        ended.unwrap();
    }
}
