//! `sessmux demo`: an agent server of our own, so that one reload shows what sessmux is for.

mod agent;
mod conversation;
mod counts;
mod page;
mod script;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio_util::sync::CancellationToken;

use crate::config::settings::Settings;
use crate::config::{self, Config};
use crate::server::Server;

pub use agent::Agent;

/// Runs the demo agent on a port of its own, sessmux in front of it on `listen`, and says which page to open.
///
/// # Errors
///
/// What the system says of `listen`.
pub async fn run(listen: SocketAddr, shutdown: CancellationToken) -> io::Result<()> {
    let agent = Agent::bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let server = Server::bind(proxy(listen, agent.local_addr())?).await?;
    println!("open http://{}", server.local_addr()?);
    tokio::join!(agent.run(shutdown.clone()), server.run(shutdown));
    Ok(())
}

/// What a person types who puts sessmux in front of the agent: where it is, and nothing else.
fn proxy(listen: SocketAddr, agent: SocketAddr) -> io::Result<Config> {
    let mut settings = Settings::default();
    settings.process.listen = Some(listen.to_string());
    settings.route.upstream = Some(format!("http://{agent}"));
    config::load(settings).map_err(io::Error::other)
}
