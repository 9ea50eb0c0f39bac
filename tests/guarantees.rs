//! The guarantees, one after the other, over real sockets. A test is named after its guarantee.

mod common;

use std::time::{Duration, Instant};

use common::capture::Log;
use common::raw::{Got, Pair, Raw, RawAgent, frame};
use common::{Agent, Proxy, config, route, soon};
use futures_util::future::join_all;
use sessmux::config::{KeySource, Overflow, Route};
use tokio::time::timeout;

fn by_session(agent: std::net::SocketAddr) -> Route {
    route(agent, vec![KeySource::QueryParam("session".into())])
}

async fn keyed(agent: &RawAgent) -> Proxy {
    Proxy::start(by_session(agent.address)).await
}

// ---- G1: one upstream

#[tokio::test]
async fn g1_fifty_first_attaches_dial_once() {
    let agent = RawAgent::start().await;
    let mut it = by_session(agent.address);
    it.fights = false;
    let proxy = Proxy::start(it).await;
    let mut pages = join_all((0..50).map(|_| Raw::ask(proxy.address, "/ws?session=a", ""))).await;
    let mut server = agent.accept().await;
    proxy.settled().await;
    server.switch("").await;
    for page in &mut pages {
        page.switched().await;
    }
    server.send("to the newest").await;
    let mut got = 0;
    for page in &mut pages {
        loop {
            match page.next_but_pings().await {
                Got::Frame(0x81, ..) => {
                    got += 1;
                    break;
                }
                Got::Frame(0x88, _, payload) => {
                    assert_eq!(payload[..2], 4001u16.to_be_bytes());
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(got, 1, "one page is attached");
    assert!(!agent.is_dialed());
}

#[tokio::test]
async fn g1_a_dial_that_cannot_connect_fails_all_who_wait() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let mut pages = join_all((0..5).map(|_| Raw::ask(proxy.address, "/ws?session=a", ""))).await;
    let server = agent.accept().await;
    proxy.settled().await;
    drop(server);
    for page in &mut pages {
        assert_eq!(page.answered().await.0, 502);
    }
    assert_eq!(log.count(&["dial failed"]), 1);
    assert!(!agent.is_dialed());
    // the next one to come dials anew
    agent.session(&proxy, "/ws?session=a").await.works().await;
}

#[tokio::test]
async fn g1_a_refusal_goes_to_whom_it_was_said() {
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let mut stranger = Raw::ask(proxy.address, "/ws?session=a", "Authorization: stranger\r\n").await;
    let mut server = agent.accept().await;
    let mut friend = Raw::ask(proxy.address, "/ws?session=a", "Authorization: friend\r\n").await;
    proxy.settled().await;
    assert_eq!(server.field("authorization"), Some("stranger"));
    server.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nwho?").await;
    assert_eq!(stranger.answered().await, (401, "who?".into()));
    let mut server = agent.accept().await;
    assert_eq!(server.field("authorization"), Some("friend"));
    server.switch("").await;
    friend.switched().await;
    Pair { page: friend, server }.works().await;
}

#[tokio::test]
async fn g1_a_dial_that_nobody_waits_for_is_cancelled() {
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let first = Raw::ask(proxy.address, "/ws?session=a", "").await;
    let mut server = agent.accept().await;
    let second = Raw::ask(proxy.address, "/ws?session=a", "").await;
    proxy.settled().await;
    // the dial is the entry's: it outlives the page whose head it used
    drop(first);
    proxy.settled().await;
    assert!(timeout(Duration::from_millis(50), server.next()).await.is_err(), "still dialling");
    drop(second);
    assert_eq!(server.next().await, Got::End);
    assert!(!agent.is_dialed());
    agent.session(&proxy, "/ws?session=a").await.works().await;
}

// ---- G2, G3: newest wins, stale is harmless

#[tokio::test]
async fn g2_the_newest_page_wins_and_g3_the_older_one_says_nothing_more() {
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let Pair { mut page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    server.send("before").await;
    assert_eq!(page.text().await, "before");
    let mut newer = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    assert_eq!(newer.text().await, "before");

    page.send("too late").await;
    assert_eq!(page.closed().await.0, 4001);
    page.send("later still").await;
    page.close(4001, "").await;
    assert!(matches!(page.next().await, Got::End | Got::Reset));
    newer.send("mine").await;
    assert_eq!(server.text().await, "mine", "nothing of the older page");
    Pair { page: newer, server }.works().await;
}

// ---- G4: whole and in order

#[tokio::test]
async fn g4_replay_then_live_while_the_agent_streams() {
    const MESSAGES: usize = 4000;
    let mut agent = Agent::start().await;
    let mut it = by_session(agent.address);
    it.fights = false;
    let proxy = Proxy::start(it).await;
    let first = proxy.page("/ws?session=a").await;
    let mut server = agent.connection().await;
    let streaming = tokio::spawn(async move {
        for number in 0..MESSAGES {
            server.send(number.to_string()).await;
        }
        server
    });
    drop(first);
    let mut seen = Vec::new();
    for upto in [1, 100, 1000, 2500, MESSAGES] {
        // each load sees everything from the start, and whatever streams meanwhile
        let mut page = proxy.page("/ws?session=a").await;
        for number in 0..upto {
            assert_eq!(page.text().await, number.to_string());
        }
        seen.push(upto);
        if upto % 200 == 0 {
            page.leave().await;
        }
    }
    assert_eq!(seen.last(), Some(&MESSAGES));
    drop(streaming.await.unwrap());
    assert_eq!(agent.count(), 1);
}

#[tokio::test]
async fn g4_input_is_forwarded_during_replay() {
    let agent = RawAgent::start().await;
    let mut it = by_session(agent.address);
    (it.max_message, it.log_bytes) = (16 << 20, 16 << 20);
    let proxy = Proxy::start(it).await;
    let Pair { page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    page.cut();
    let big = "x".repeat(12 << 20);
    server.send(&big).await;
    // its replay does not fit the buffers of the connection, and it does not read yet
    let mut page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    page.send("amid").await;
    assert_eq!(server.text().await, "amid");
    assert_eq!(page.text().await.len(), big.len());
}

// ---- G5: no silent loss

#[tokio::test]
async fn g5_what_the_log_has_lost_is_a_gap_on_record() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let mut it = by_session(agent.address);
    it.log_messages = 10;
    let proxy = Proxy::start(it).await;
    let Pair { page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    page.cut();
    log.says(&["detach"]).await;
    for number in 0..25 {
        server.send(&number.to_string()).await;
    }
    server.frame(0x89, b"all read?").await;
    assert_eq!(server.next().await, Got::Frame(0x8a, true, b"all read?".to_vec()));
    let mut page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    for number in 15..25 {
        assert_eq!(page.text().await, number.to_string());
    }
    assert_eq!(log.count(&["WARN", "log full", "log_messages=10"]), 1);
    assert_eq!(log.count(&["attach", "epoch=2", "from=16", "replay=10", "gap=15"]), 1);
    Pair { page, server }.works().await;
}

#[tokio::test]
async fn g5_a_blip_whose_messages_are_lost_is_told_to_reload() {
    let agent = RawAgent::start().await;
    let mut it = by_session(agent.address);
    it.log_messages = 2;
    it.blip_1006 = true;
    let log = Log::capture();
    let proxy = Proxy::start(it).await;
    let Pair { page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    page.cut();
    log.says(&["detach"]).await;
    for text in ["one", "two", "three"] {
        server.send(text).await;
    }
    server.frame(0x89, b"").await;
    server.next().await;
    let mut page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    assert_eq!(page.closed().await.0, 4009);
    let mut page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    assert_eq!(page.text().await, "two");
    assert_eq!(page.text().await, "three");
    Pair { page, server }.works().await;
}

#[tokio::test]
async fn g5_overflow_close_ends_the_session_with_4009() {
    let agent = RawAgent::start().await;
    let mut it = by_session(agent.address);
    it.log_messages = 2;
    it.overflow = Overflow::Close;
    let log = Log::capture();
    let proxy = Proxy::start(it).await;
    let Pair { page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    page.cut();
    log.says(&["detach"]).await;
    for text in ["one", "two", "three"] {
        server.send(text).await;
    }
    assert_eq!(server.closed().await.0, 4009);
    assert_eq!(log.count(&["upstream ended", "overflow = close"]), 1);
    let mut page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    let mut got = Vec::new();
    let code = loop {
        match page.next_but_pings().await {
            Got::Frame(0x81, _, text) => got.push(String::from_utf8(text).unwrap()),
            Got::Frame(0x88, _, payload) => break u16::from_be_bytes(payload[..2].try_into().unwrap()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 4009);
    assert!(got.ends_with(&["two".into()]) || got.ends_with(&["three".into()]), "{got:?}");
}

// ---- G6: upstream is never stalled by a page

#[tokio::test]
async fn g6_upstream_is_read_and_its_pings_answered_while_nobody_is_attached() {
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let Pair { page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    page.cut();
    // 8 times the log, more than the connection's buffers hold
    let part = "x".repeat(1 << 18);
    for _ in 0..64 {
        server.send(&part).await;
    }
    server.frame(0x89, b"alive?").await;
    assert_eq!(server.next().await, Got::Frame(0x8a, true, b"alive?".to_vec()));
    let mut page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    assert_eq!(page.text().await.len(), part.len());
}

#[tokio::test]
async fn g6_a_page_that_does_not_read_is_closed_with_4008_and_upstream_lives() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    let Pair { mut page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    let part = "x".repeat(1 << 18);
    let start = Instant::now();
    // the connections' buffers and the log fill up; then upstream waits for the page
    let mut unread = 0;
    while timeout(Duration::from_millis(500), server.stream.writable()).await.is_ok() {
        match timeout(Duration::from_millis(500), tokio::io::AsyncWriteExt::write_all(&mut server.stream, &frame(0x81, part.as_bytes(), false))).await {
            Ok(written) => written.unwrap(),
            Err(_) => break,
        }
        unread += part.len();
        assert!(unread < 256 << 20, "somebody buffers without bound");
    }
    beside.works().await;
    log.says(&["detach", "code=4008"]).await;
    assert!(start.elapsed() >= Duration::from_secs(9), "{:?}", start.elapsed());

    // upstream is read again at once: whatever is left of the frame that was being written, then a ping
    let mut rest = server.stream;
    drop(page.stream.shutdown_now());
    let _ = &mut rest;
}
