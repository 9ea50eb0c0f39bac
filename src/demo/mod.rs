//! `sessmux demo`: an agent server of our own, so that one reload shows what sessmux is for.

mod agent;
mod conversation;
mod counts;
mod page;
mod script;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio_util::sync::CancellationToken;

use crate::config::{Config, Upstream};
use crate::server::Server;

pub use agent::Agent;

/// Runs the demo agent alone, for a sessmux that is started apart.
///
/// # Errors
///
/// What the system says of `listen`.
pub async fn run_agent(listen: SocketAddr, shutdown: CancellationToken) -> io::Result<()> {
    let agent = Agent::bind(listen).await?;
    println!("the demo agent listens on {}", agent.local_addr());
    agent.run(shutdown).await;
    Ok(())
}

/// Runs the demo agent on a port of its own, sessmux in front of it on `listen`, and says which page to open.
///
/// # Errors
///
/// What the system says of `listen`.
pub async fn run(listen: SocketAddr, shutdown: CancellationToken) -> io::Result<()> {
    let agent = Agent::bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
    // what a person types who puts sessmux in front of the agent: where it is, and nothing else
    let upstream = Upstream::Tcp(agent.local_addr().to_string());
    let server = Server::bind(Config::plain(listen, upstream)).await?;
    println!("open http://{}", server.local_addr()?);
    if !listen.ip().is_loopback() {
        println!("the straight half of the page works on this machine only: its agent listens on loopback");
    }
    tokio::join!(agent.run(shutdown.clone()), server.run(shutdown));
    Ok(())
}
