//! Limits: whoever is over one is refused with the right status or close code, a line and a count that name it; what is
//! held already goes on, and a place that is given back is there for the next one.

mod common;

use std::time::Duration;

use common::capture::Log;
use common::raw::{Pair, Raw, RawAgent};
use common::{HELLO, Proxy, config, route, soon};
use sessmux::config::{Config, KeySource, Limits, Route};
use sessmux::metrics::Rule;
use sessmux::profile::Profile;
use tokio::io::AsyncReadExt;

fn keyed(agent: &RawAgent) -> Route {
    route(agent.address, vec![KeySource::QueryParam("session".into())])
}

async fn limited(route: Route, limits: Limits) -> Proxy {
    Proxy::with(Config {
        limits,
        ..config(route)
    })
    .await
}

/// The status of the answer to an upgrade request, and its `Retry-After`.
async fn refused(proxy: &Proxy, target: &str, lines: &str) -> (u16, Option<String>) {
    let mut page = Raw::ask(proxy.address, target, lines).await;
    let (status, _) = page.answered().await;
    (status, page.field("retry-after").map(str::to_owned))
}

/// Asks until the agent is dialled, and it answers.
async fn until_dialled(agent: &RawAgent, proxy: &Proxy, target: &str) -> Pair {
    loop {
        let mut page = Raw::ask(proxy.address, target, "").await;
        tokio::select! {
            mut server = agent.accept() => {
                server.switch("").await;
                page.switched().await;
                return Pair { page, server };
            }
            status = page.read_head() => assert_eq!(status, Some(503)),
        }
    }
}

#[tokio::test]
async fn connections_in_all() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let limits = Limits {
        max_connections: 2,
        ..Limits::default()
    };
    let proxy = limited(keyed(&agent), limits).await;
    // a session's page is no HTTP connection any more
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    let held = [Raw::connect(proxy.address).await, Raw::connect(proxy.address).await];
    let mut third = Raw::connect(proxy.address).await;
    assert_eq!(third.answered().await.0, 503);
    assert_eq!(
        (third.field("retry-after"), third.field("connection")),
        (Some("1"), Some("close"))
    );
    log.says(&["over a limit", "max_connections"]).await;
    assert_eq!(proxy.refused(Rule::MaxConnections), 1);
    beside.works().await;
    drop(held);
    soon("a place", async {
        loop {
            let mut next = Raw::connect(proxy.address).await;
            next.write(b"GET / HTTP/1.1\r\nHost: not.served.here\r\n\r\n").await;
            if next.answered().await.0 == 421 {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_first_head_and_then_idle() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let limits = Limits {
        head_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(400),
        ..Limits::default()
    };
    let proxy = limited(keyed(&agent), limits).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;

    // a request that runs, and a connection whose request was answered
    let mut running = Raw::connect(proxy.address).await;
    running.write(b"GET /slow HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await;
    let mut server = agent.accept().await;
    server.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbe").await;
    assert_eq!(running.read_head().await, Some(200));
    let mut idle = Raw::connect(proxy.address).await;
    idle.write(b"GET / HTTP/1.1\r\nHost: not.served.here\r\n\r\n").await;
    assert_eq!(idle.answered().await.0, 421);

    let mut silent = Raw::connect(proxy.address).await;
    let mut half = Raw::connect(proxy.address).await;
    half.write(b"GET /ws?session=a HTTP/1.1\r\nHost: 127.").await;
    for raw in [&mut silent, &mut half, &mut idle] {
        soon("the end", raw.stream.read_to_end(&mut Vec::new())).await.unwrap();
    }
    log.says(&["closed", "no request came in time", "head_timeout=200ms"])
        .await;
    log.says(&["closed", "not whole in time", "head_timeout=200ms"]).await;
    assert_eq!(proxy.refused(Rule::HeadTimeout), 2, "who is idle is not refused");
    beside.works().await;
    // it is older than the idle one, and was never idle
    server.write(b"st").await;
    let mut body = [0; 4];
    let rest = running.buffered();
    body[..rest.len()].copy_from_slice(&rest);
    soon("the rest", running.stream.read_exact(&mut body[rest.len()..]))
        .await
        .unwrap();
    assert_eq!(&body, b"best");
}

#[tokio::test]
async fn nobody_is_idle_for_longer_before_the_first_request_than_behind_it() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let limits = Limits {
        idle_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let proxy = limited(keyed(&agent), limits).await;
    let mut silent = Raw::connect(proxy.address).await;
    soon("the end", silent.stream.read_to_end(&mut Vec::new()))
        .await
        .unwrap();
    log.says(&["closed", "no request came in time", "idle_timeout=200ms"])
        .await;
    assert_eq!(proxy.refused(Rule::HeadTimeout), 1);
}

#[tokio::test]
async fn a_head_that_is_too_large() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let limits = Limits {
        max_head: 8 << 10,
        ..Limits::default()
    };
    let proxy = limited(keyed(&agent), limits).await;
    let long = format!("X-Long: {}\r\n", "a".repeat(8 << 10));
    assert_eq!(refused(&proxy, "/ws?session=a", &long).await.0, 431);
    log.says(&["bad request", "max_head=8192"]).await;
    assert_eq!(proxy.refused(Rule::MaxHead), 1);
    // here another max_head is no help
    let many: String = (0..101).map(|number| format!("A{number}: a\r\n")).collect();
    assert_eq!(refused(&proxy, "/ws?session=a", &many).await.0, 431);
    log.says(&["bad request", "more than 100 fields"]).await;
    assert_eq!(log.count(&["bad request", "max_head"]), 1);
    assert_eq!((proxy.refused(Rule::MaxHead), proxy.refused(Rule::Request)), (1, 1));
    let mut pair = agent.session(&proxy, "/ws?session=a").await;
    pair.works().await;
}

#[tokio::test]
async fn pages_that_have_yet_to_say_their_first_message() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let limits = Limits {
        max_pending: 2,
        ..Limits::default()
    };
    let first = route(agent.address, vec![KeySource::First("/session".parse().unwrap())]);
    let proxy = limited(first, limits).await;
    let mut held = Raw::upgraded(proxy.address, "/ws", "").await;
    let _other = Raw::upgraded(proxy.address, "/ws", "").await;
    assert_eq!(refused(&proxy, "/ws", "").await, (503, Some("10".into())));
    log.says(&["over a limit", "max_pending"]).await;
    assert_eq!(proxy.refused(Rule::MaxPending), 1);
    assert!(!agent.is_dialed());
    // who says it makes room
    held.send(r#"{"session":"a"}"#).await;
    let mut server = agent.accept().await;
    server.switch("").await;
    assert_eq!(server.text().await, r#"{"session":"a"}"#);
    soon("a place", async {
        while Raw::ask(proxy.address, "/ws", "").await.read_head().await != Some(101) {}
    })
    .await;
}

#[tokio::test]
async fn pages_that_have_yet_to_say_their_hello() {
    let agent = RawAgent::start().await;
    let limits = Limits {
        max_pending: 1,
        ..Limits::default()
    };
    let mut hello = keyed(&agent);
    hello.profile = Profile::parse(HELLO).unwrap();
    let proxy = limited(hello, limits).await;
    let mut pair = agent.session(&proxy, "/ws?session=a").await;
    pair.page.send(r#"{"type":"hello"}"#).await;
    assert_eq!(pair.server.text().await, r#"{"type":"hello"}"#);
    let _held = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    let mut second = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    assert_eq!(second.closed().await.0, 1013);
    assert_eq!(proxy.refused(Rule::MaxPending), 1);
    pair.works().await;
}

#[tokio::test]
async fn sessions_in_all() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let limits = Limits {
        max_sessions: 2,
        ..Limits::default()
    };
    let proxy = limited(keyed(&agent), limits).await;
    let mut first = agent.session(&proxy, "/ws?session=a").await;
    let mut second = agent.session(&proxy, "/ws?session=b").await;
    assert_eq!(refused(&proxy, "/ws?session=c", "").await, (503, Some("10".into())));
    log.says(&["over a limit", "max_sessions"]).await;
    assert_eq!(proxy.refused(Rule::MaxSessions), 1);
    assert!(!agent.is_dialed(), "nothing is dialled for who is refused");
    // a session that is there may be attached to, now as ever
    first.page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    first.works().await;
    // and one that ends makes room
    second.server.close(1000, "done").await;
    assert_eq!(second.page.closed().await.0, 1000);
    second.page.close(1000, "").await;
    drop(soon("a place", until_dialled(&agent, &proxy, "/ws?session=c")).await);
}

#[tokio::test]
async fn sessions_in_all_where_the_page_was_accepted_first() {
    let agent = RawAgent::start().await;
    let limits = Limits {
        max_sessions: 1,
        ..Limits::default()
    };
    let first = route(agent.address, vec![KeySource::First("/session".parse().unwrap())]);
    let proxy = limited(first, limits).await;
    let mut page = Raw::upgraded(proxy.address, "/ws", "").await;
    page.send(r#"{"session":"a"}"#).await;
    let mut server = agent.accept().await;
    server.switch("").await;
    let mut second = Raw::upgraded(proxy.address, "/ws", "").await;
    second.send(r#"{"session":"b"}"#).await;
    let (code, reason) = second.closed().await;
    assert_eq!((code, reason.as_str()), (1013, "over a limit: try again later"));
    assert_eq!(proxy.refused(Rule::MaxSessions), 1);
}

#[tokio::test]
async fn sessions_of_one_owner() {
    let agent = RawAgent::start().await;
    let limits = Limits {
        max_owner_sessions: 1,
        ..Limits::default()
    };
    let proxy = limited(keyed(&agent), limits).await;
    let browser = |id: char| {
        let id: String = std::iter::repeat_n(id, 32).collect();
        let port = proxy.address.port();
        format!("Origin: http://{}\r\nCookie: sessmux-{port}={id}\r\n", proxy.address)
    };
    let mut page = Raw::ask(proxy.address, "/ws?session=a", &browser('a')).await;
    let mut server = agent.accept().await;
    server.switch("").await;
    page.switched().await;
    assert_eq!(
        refused(&proxy, "/ws?session=b", &browser('a')).await,
        (429, Some("10".into()))
    );
    assert_eq!(proxy.refused(Rule::MaxOwnerSessions), 1);
    // another browser has its own, and so has whoever is nobody in particular
    for (session, lines) in [("b", browser('b')), ("c", String::new()), ("d", String::new())] {
        let mut page = Raw::ask(proxy.address, &format!("/ws?session={session}"), &lines).await;
        let mut server = agent.accept().await;
        server.switch("").await;
        page.switched().await;
    }
}

/// Behind a proxy that says who its clients are.
async fn behind_proxy(agent: &RawAgent, limits: Limits) -> Proxy {
    Proxy::with(Config {
        limits,
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        ..config(keyed(agent))
    })
    .await
}

fn from(client: &str) -> String {
    format!("X-Forwarded-For: {client}\r\n")
}

#[tokio::test]
async fn sessions_of_one_client() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let limits = Limits {
        max_client_sessions: 1,
        ..Limits::default()
    };
    let proxy = behind_proxy(&agent, limits).await;
    let mut held = Vec::new();
    // the second is another client, and so are whoever is on this machine and a network of IPv6
    for (session, client) in [
        ("a", from("192.0.2.1")),
        ("b", from("192.0.2.2")),
        ("c", String::new()),
        ("d", String::new()),
        ("e", from("2001:db8::1")),
    ] {
        let mut page = Raw::ask(proxy.address, &format!("/ws?session={session}"), &client).await;
        let mut server = agent.accept().await;
        server.switch("").await;
        page.switched().await;
        held.push((page, server));
    }
    // what the client wrote itself changes nothing
    for client in ["192.0.2.1", "1.1.1.1, 192.0.2.1", "2001:db8::ffff"] {
        assert_eq!(
            refused(&proxy, "/ws?session=f", &from(client)).await,
            (429, Some("10".into())),
            "{client}"
        );
    }
    log.says(&["over a limit", "client=192.0.2.1", "max_client_sessions"])
        .await;
    assert_eq!(proxy.refused(Rule::MaxClientSessions), 3);
    assert!(!agent.is_dialed());
    // it may come back to the one that it has
    let _again = Raw::upgraded(proxy.address, "/ws?session=a", &from("192.0.2.1")).await;
}

#[tokio::test]
async fn rates_of_one_client() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let limits = Limits {
        attach_rate: 2,
        session_rate: 1,
        ..Limits::default()
    };
    let proxy = behind_proxy(&agent, limits).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    // ten seconds' worth of sessions, and what comes in meanwhile
    let (mut held, mut number) = (Vec::new(), 0);
    loop {
        let mut page = Raw::ask(proxy.address, &format!("/ws?session={number}"), &from("192.0.2.1")).await;
        let mut server = tokio::select! {
            server = agent.accept() => server,
            status = page.read_head() => {
                assert_eq!((status, page.field("retry-after")), (Some(429), Some("1")));
                break;
            }
        };
        server.switch("").await;
        page.switched().await;
        held.push((page, server));
        number += 1;
    }
    assert!(number >= 10, "{number}");
    assert_eq!(proxy.refused(Rule::SessionRate), 1);
    // and of attaches; each of those was one
    let mut attaches = number + 1;
    loop {
        let mut page = Raw::ask(proxy.address, "/ws?session=0", &from("192.0.2.1")).await;
        if page.read_head().await != Some(101) {
            assert_eq!(page.field("retry-after"), Some("1"));
            break;
        }
        held[0].0 = page;
        attaches += 1;
    }
    assert!(attaches >= 20, "{attaches}");
    log.says(&["over a limit", "client=192.0.2.1", "attach_rate"]).await;
    assert_eq!(proxy.refused(Rule::AttachRate), 1);
    // others are not meant
    let other = Raw::ask(proxy.address, "/ws?session=0", &from("192.0.2.2"))
        .await
        .read_head()
        .await;
    assert_eq!(other, Some(101));
    beside.works().await;
}

#[tokio::test]
async fn pending_pages_and_connections_of_one_client() {
    let agent = RawAgent::start().await;
    let limits = Limits {
        max_client_pending: 1,
        ..Limits::default()
    };
    let first = route(agent.address, vec![KeySource::First("/session".parse().unwrap())]);
    let proxy = Proxy::with(Config {
        limits,
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        ..config(first)
    })
    .await;
    let _held = Raw::upgraded(proxy.address, "/ws", &from("192.0.2.1")).await;
    assert_eq!(
        refused(&proxy, "/ws", &from("192.0.2.1")).await,
        (429, Some("10".into()))
    );
    assert_eq!(proxy.refused(Rule::MaxClientPending), 1);
    let _other = Raw::upgraded(proxy.address, "/ws", &from("192.0.2.2")).await;
}

#[tokio::test]
async fn who_is_no_trusted_proxy_speaks_for_itself() {
    let agent = RawAgent::start().await;
    let limits = Limits {
        max_client_sessions: 1,
        ..Limits::default()
    };
    let proxy = limited(keyed(&agent), limits).await;
    for session in ["a", "b"] {
        let mut page = Raw::ask(proxy.address, &format!("/ws?session={session}"), &from("192.0.2.1")).await;
        let mut server = agent.accept().await;
        assert_eq!(server.field("x-forwarded-for"), Some("127.0.0.1"));
        server.switch("").await;
        page.switched().await;
    }
}

#[tokio::test]
async fn a_flood_of_refusals_is_no_flood_of_lines() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let limits = Limits {
        max_sessions: 1,
        ..Limits::default()
    };
    let proxy = limited(keyed(&agent), limits).await;
    let mut beside = agent.session(&proxy, "/ws?session=a").await;
    for _ in 0..50 {
        assert_eq!(refused(&proxy, "/ws?session=b", "").await.0, 503);
    }
    assert_eq!(proxy.refused(Rule::MaxSessions), 50);
    // one a second, and these took some
    assert!(log.count(&["over a limit", "max_sessions"]) < 25);
    beside.works().await;
}
