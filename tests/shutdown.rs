//! sessmux stops: whoever is there is told to come back, and nothing is dialled any more.

mod common;

use common::capture::Log;
use common::raw::{Got, Pair, Raw, RawAgent};
use common::{HELLO, PATIENCE, config, route};
use sessmux::config::{Config, KeyPart, KeySource, PathPattern, Route};
use sessmux::metrics::Metrics;
use sessmux::profile::Profile;
use sessmux::server::Server;
use sessmux::server::reload::Reload;
use sessmux::shutdown::Shutdown;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::Barrier;
use tokio::task::{JoinHandle, JoinSet};
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

/// A proxy that is asked to drain first.
struct Draining {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    asked: Shutdown,
    running: JoinHandle<()>,
}

impl Draining {
    async fn start(route: Route, drain_timeout: Duration) -> Self {
        let config = Config {
            drain_timeout,
            ..config(route)
        };
        Self::run(Server::bind(config).await.unwrap())
    }

    fn run(server: Server) -> Self {
        let (address, metrics, asked) = (server.local_addr().unwrap(), server.metrics(), Shutdown::default());
        let running = tokio::spawn(server.run(asked.clone()));
        Self {
            address,
            metrics,
            asked,
            running,
        }
    }

    async fn ended(self) -> String {
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
        self.metrics.text().unwrap()
    }
}

async fn session(agent: &RawAgent, address: SocketAddr, target: &str) -> Pair {
    let mut page = Raw::ask(address, target, "").await;
    let mut server = agent.accept().await;
    server.switch("").await;
    page.switched().await;
    Pair { page, server }
}

#[tokio::test]
async fn while_it_drains_known_sessions_go_on_and_new_ones_are_refused() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = Draining::start(keyed(agent.address), PATIENCE).await;
    let mut pair = session(&agent, proxy.address, "/ws?session=a").await;
    let mut away = session(&agent, proxy.address, "/ws?session=b").await;
    away.server.send("approve?").await;
    assert_eq!(away.page.text().await, "approve?");
    away.page.close(1001, "").await;
    away.page.closed().await;
    proxy.asked.drain.cancel();
    log.says(&["draining", "sessions=2"]).await;

    let mut new = Raw::ask(proxy.address, "/ws?session=c", "").await;
    assert_eq!(new.answered().await.0, 503);
    assert!(!agent.is_dialed());
    pair.works().await;
    // a reload amid it
    pair.page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    assert_eq!(pair.page.text().await, "here");
    pair.works().await;
    // and one that was away comes back to its question
    away.page = Raw::upgraded(proxy.address, "/ws?session=b", "").await;
    assert_eq!(away.page.text().await, "approve?");

    // when the last has ended it is over, long before its time
    for mut pair in [pair, away] {
        pair.server.close(1000, "done").await;
        assert_eq!(pair.page.closed().await.0, 1000);
        pair.page.close(1000, "").await;
    }
    let metrics = proxy.ended().await;
    assert!(metrics.contains("\nsessmux_cut_sessions_total 0\n"), "{metrics}");
    let started = "sessmux_drain_started_timestamp_seconds ";
    assert!(
        metrics.contains(started) && !metrics.contains(&format!("{started}0\n")),
        "{metrics}"
    );
    log.says(&["drained"]).await;
}

#[tokio::test]
async fn a_page_that_was_accepted_before_its_key_was_known_hears_1012_while_it_drains() {
    let agent = RawAgent::start().await;
    let first = route(agent.address, vec![KeySource::First("/session".into())]);
    let proxy = Draining::start(first, PATIENCE).await;
    let mut known = Raw::upgraded(proxy.address, "/ws", "").await;
    known.send(r#"{"session":"a"}"#).await;
    let mut server = agent.accept().await;
    server.switch("").await;
    assert_eq!(server.text().await, r#"{"session":"a"}"#);
    proxy.asked.drain.cancel();
    let mut new = Raw::upgraded(proxy.address, "/ws", "").await;
    new.send(r#"{"session":"b"}"#).await;
    assert_eq!(new.closed().await.0, 1012);
    proxy.asked.stop.cancel();
    assert_eq!(known.closed().await.0, 1012);
    proxy.ended().await;
}

#[tokio::test]
async fn what_has_not_ended_when_the_time_is_over_is_cut_and_counted() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = Draining::start(keyed(agent.address), Duration::from_millis(100)).await;
    let mut pair = session(&agent, proxy.address, "/ws?session=a").await;
    proxy.asked.drain.cancel();
    assert_eq!(pair.page.closed().await.0, 1012);
    assert_eq!(pair.server.closed().await.0, 1001);
    let metrics = proxy.ended().await;
    assert!(metrics.contains("\nsessmux_cut_sessions_total 1\n"), "{metrics}");
    log.says(&["had not ended", "cut=1", "drain_timeout=100ms"]).await;
}

#[tokio::test]
async fn it_may_be_hurried() {
    let agent = RawAgent::start().await;
    let proxy = Draining::start(keyed(agent.address), Duration::from_secs(3600)).await;
    let mut pair = session(&agent, proxy.address, "/ws?session=a").await;
    proxy.asked.drain.cancel();
    pair.works().await;
    proxy.asked.stop.cancel();
    assert_eq!(pair.page.closed().await.0, 1012);
    proxy.ended().await;
}

#[tokio::test]
async fn what_is_cut_without_a_drain_is_counted_too() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = Draining::start(keyed(agent.address), PATIENCE).await;
    let mut pair = session(&agent, proxy.address, "/ws?session=a").await;
    proxy.asked.stop.cancel();
    proxy.asked.drain.cancel();
    assert_eq!(pair.page.closed().await.0, 1012);
    let metrics = proxy.ended().await;
    assert!(metrics.contains("\nsessmux_cut_sessions_total 1\n"), "{metrics}");
    log.says(&["had not ended", "cut=1"]).await;
}

#[tokio::test]
async fn a_reload_gives_the_drain_under_way_another_time() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let lasting = move |drain_timeout| Config {
        drain_timeout,
        ..config(keyed(agent.address))
    };
    let server = Server::bind(lasting(Duration::from_secs(3600))).await.unwrap();
    let address = server.local_addr().unwrap();
    let reload = Arc::new(Reload::new(&server, move || {
        Ok(Config {
            listen: address,
            ..lasting(Duration::from_millis(100))
        })
    }));
    let proxy = Draining::run(server);
    let mut pair = session(&agent, proxy.address, "/ws?session=a").await;
    proxy.asked.drain.cancel();
    log.says(&["draining", "drain_timeout=3600s"]).await;
    pair.works().await;
    assert_eq!(reload.run().await.unwrap().changed, ["drain_timeout"]);
    assert_eq!(pair.page.closed().await.0, 1012);
    proxy.ended().await;
    log.says(&["had not ended", "drain_timeout=100ms"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_under_way_has_the_drains_time_without_sessions_too() {
    let log = Log::capture();
    // while something blocks, the clock stands still but where it is advanced
    let (done, waits) = std::sync::mpsc::channel::<()>();
    let blocking = tokio::task::spawn_blocking(move || waits.recv_timeout(Duration::from_secs(60)));
    let agent = RawAgent::start().await;
    let proxy = Draining::start(keyed(agent.address), Duration::from_secs(60)).await;
    let mut page = Raw::connect(proxy.address).await;
    page.write(format!("GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address).as_bytes())
        .await;
    let mut server = agent.accept().await;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    server.write(head.as_bytes()).await;
    assert_eq!(page.read_head().await, Some(200));
    proxy.asked.drain.cancel();
    log.says(&["drained"]).await;
    // longer than everything has that sessmux itself ends
    tokio::time::advance(Duration::from_secs(50)).await;
    server.write(b"4\r\nlast\r\n0\r\n\r\n").await;
    let mut rest = page.buffered();
    timeout(PATIENCE, page.stream.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(rest.ends_with(b"4\r\nlast\r\n0\r\n\r\n"), "{rest:?}");
    drop(page);
    proxy.ended().await;
    assert_eq!(log.count(&["stopped with connections still open"]), 0);
    drop(done);
    let _ = blocking.await.unwrap();
}

#[tokio::test]
async fn five_hundred_sessions_under_traffic() {
    const SESSIONS: usize = 500;
    let agent = RawAgent::start().await;
    let proxy = Draining::start(keyed(agent.address), PATIENCE).await;
    let (mut talking, under_way) = (JoinSet::new(), Arc::new(Barrier::new(SESSIONS + 1)));
    for number in 0..SESSIONS {
        let mut pair = session(&agent, proxy.address, &format!("/ws?session={number}")).await;
        let (under_way, address) = (Arc::clone(&under_way), proxy.address);
        talking.spawn(async move {
            under_way.wait().await;
            for _ in 0..3 {
                pair.works().await;
            }
            // half of them reload amid it, and are shown what they were
            if number % 2 == 0 {
                pair.page = Raw::upgraded(address, &format!("/ws?session={number}"), "").await;
                for _ in 0..3 {
                    assert_eq!(pair.page.text().await, "here");
                }
                pair.works().await;
            }
            pair.server.close(1000, "done").await;
            assert_eq!(pair.page.closed().await, (1000, "done".into()));
            pair.page.close(1000, "").await;
        });
    }
    under_way.wait().await;
    proxy.asked.drain.cancel();
    while let Some(talked) = talking.join_next().await {
        talked.unwrap();
    }
    let metrics = proxy.ended().await;
    assert!(metrics.contains("\nsessmux_cut_sessions_total 0\n"), "{metrics}");
}
