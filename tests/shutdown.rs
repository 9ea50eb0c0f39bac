//! sessmux stops: whoever is there is told to come back, and nothing is dialled any more.

mod common;

use common::capture::Log;
use common::raw::{Got, Raw, RawAgent};
use common::{HELLO, PATIENCE, config, route};
use sessmux::config::{Config, KeyPart, KeySource, PathPattern, Route};
use sessmux::profile::Profile;
use sessmux::server::Server;
use std::net::SocketAddr;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A proxy that a test stops.
struct Stoppable {
    address: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Stoppable {
    async fn start(config: Config) -> Self {
        let server = Server::bind(config).await.unwrap();
        let (address, stop) = (server.local_addr().unwrap(), CancellationToken::new());
        let running = tokio::spawn(server.run(stop.clone()));
        Self { address, stop, running }
    }

    /// Waits for the end, which nothing may keep until patience runs out.
    async fn stopped(self, log: &Log) {
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
        assert_eq!(log.count(&["stopped with connections still open"]), 0);
    }
}

fn keyed(agent: SocketAddr) -> Route {
    route(agent, vec![KeySource::QueryParam("session".into())])
}

#[tokio::test]
async fn an_attached_page_hears_1012_and_its_agent_1001() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = Stoppable::start(config(keyed(agent.address))).await;
    let mut page = Raw::ask(proxy.address, "/ws?session=a", "").await;
    let mut server = agent.accept().await;
    server.switch("").await;
    page.switched().await;
    proxy.stop.cancel();
    assert_eq!(page.closed().await.0, 1012);
    assert_eq!(server.closed().await.0, 1001);
    assert_eq!((page.next().await, server.next().await), (Got::End, Got::End));
    proxy.stopped(&log).await;
}

#[tokio::test]
async fn a_dial_under_way_is_given_up() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = Stoppable::start(config(keyed(agent.address))).await;
    let mut first = Raw::ask(proxy.address, "/ws?session=a", "").await;
    let mut server = agent.accept().await;
    let mut second = Raw::ask(proxy.address, "/ws?session=a", "").await;
    let mut settled = Raw::connect(proxy.address).await;
    settled.write(b"GET / HTTP/1.1\r\nHost: not.served.here\r\n\r\n").await;
    assert_eq!(settled.answered().await.0, 421);
    drop(settled);
    proxy.stop.cancel();
    assert_eq!(first.answered().await.0, 503);
    assert_eq!(second.answered().await.0, 503);
    assert_eq!(server.next().await, Got::End);
    proxy.stopped(&log).await;
    assert!(!agent.is_dialed());
}

#[tokio::test]
async fn pending_pages_hear_1012() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let first = route(agent.address, vec![KeySource::First("/session".into())]);
    let mut hello = keyed(agent.address);
    hello.path = PathPattern::parse("/hello").unwrap();
    hello.profile = Profile::parse(HELLO).unwrap();
    hello.key = vec!["query:session".parse::<KeyPart>().unwrap()];
    let mut both = config(first);
    both.routes.insert(0, hello.into());
    let proxy = Stoppable::start(both).await;

    let mut speechless = Raw::upgraded(proxy.address, "/ws", "").await;
    let (mut creators, mut servers, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for target in ["/hello?session=a", "/hello?session=b"] {
        let mut creator = Raw::ask(proxy.address, target, "").await;
        let mut server = agent.accept().await;
        server.switch("").await;
        creator.switched().await;
        creators.push(creator);
        servers.push(server);
        waiting.push(Raw::ask(proxy.address, target, "").await);
    }
    // one page waits for the creator's hello; the other knows of it and has not said its own
    creators[0].send(r#"{"type":"hello"}"#).await;
    assert_eq!(servers[0].text().await, r#"{"type":"hello"}"#);
    waiting[0].switched().await;

    proxy.stop.cancel();
    waiting[1].switched().await;
    for page in [&mut speechless].into_iter().chain(&mut waiting).chain(&mut creators) {
        assert_eq!(page.closed().await.0, 1012);
        assert_eq!(page.next().await, Got::End);
    }
    proxy.stopped(&log).await;
    assert!(!agent.is_dialed());
}
