//! The guarantees, one after the other, over real sockets. A test is named after its guarantee.

mod common;

use std::time::{Duration, Instant};

use common::capture::Log;
use common::raw::{Got, Pair, Raw, RawAgent, frame};
use common::{Agent, Proxy, route, soon};
use futures_util::future::join_all;
use sessmux::config::{KeySource, Overflow, Route};
use sessmux::profile::Profile;
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
        match page.next_but_pings().await {
            Got::Frame(0x81, ..) => got += 1,
            Got::Frame(0x88, _, payload) => assert_eq!(payload[..2], 4001u16.to_be_bytes()),
            other => panic!("{other:?}"),
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
    server
        .write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nwho?")
        .await;
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
    assert!(
        timeout(Duration::from_millis(50), server.next()).await.is_err(),
        "still dialling"
    );
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
    server.heard().await;
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
    server.heard().await;
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
    assert!(
        got.ends_with(&["two".into()]) || got.ends_with(&["three".into()]),
        "{got:?}"
    );
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
    server.heard().await;
    let mut page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    assert_eq!(page.text().await.len(), part.len());
}

/// More than a narrow page, its connection and a log of [`ROOMY`] bytes take at once, and less than those and upstream's.
const MUCH: usize = 12 << 20;
const ROOMY: usize = 16 << 20;

#[tokio::test]
async fn g6_a_page_that_does_not_read_is_closed_with_4008_and_upstream_lives() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    let Pair { mut page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    let part = "x".repeat(1 << 12);
    let start = Instant::now();
    let streaming = tokio::spawn(async move {
        // far more than all buffers on the way: it ends when the page is let go and upstream is read again
        for _ in 0..64 << 8 {
            server.frame_patiently(0x81, part.as_bytes()).await;
        }
        server.heard().await;
        server
    });
    beside.works().await;
    log.says(&["detach", "code=4008"]).await;
    assert!(start.elapsed() >= Duration::from_secs(9), "{:?}", start.elapsed());
    loop {
        match page.next_but_pings().await {
            Got::Frame(0x81, ..) => {}
            Got::Frame(0x88, _, payload) => {
                assert_eq!(payload[..2], 4008u16.to_be_bytes());
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let server = soon("the rest of the stream", streaming).await.unwrap();
    let mut page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    assert_eq!(page.text().await.len(), 1 << 12);
    page.send("still there").await;
    let mut server = server;
    assert_eq!(server.text().await, "still there");
    beside.works().await;
}

// ---- G7: input whole, at most once

#[tokio::test]
async fn g7_a_message_whose_page_leaves_amid_it_never_reaches_the_agent() {
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let Pair { mut page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    // cut, closed, replaced: within a fragmented message, and within a frame
    for end in ["cut", "close", "replace"] {
        page.frame(0x01, b"half of ").await;
        page.heard().await;
        match end {
            "cut" => page.cut(),
            "close" => {
                page.close(1001, "").await;
                assert_eq!(page.closed().await.0, 1001);
            }
            _ => {}
        }
        page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
        page.send(end).await;
        assert_eq!(server.text().await, end);

        let frame = frame(0x81, b"cut within a frame", true);
        page.write(&frame[..frame.len() - 1]).await;
        page.cut();
        page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
        page.send("whole").await;
        assert_eq!(server.text().await, "whole");
    }
}

#[tokio::test]
async fn g7_fragments_reach_the_agent_as_one_message_without_the_control_frames_between() {
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let Pair { mut page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    page.frame(0x01, b"one ").await;
    page.heard().await;
    page.frame(0x00, b"two ").await;
    page.frame(0x8a, b"nobody asked").await;
    page.frame(0x80, b"three").await;
    for (first, payload) in [(0x01, "one "), (0x00, "two "), (0x80, "three")] {
        assert_eq!(server.next().await, Got::Frame(first, true, payload.into()));
    }
    Pair { page, server }.works().await;
}

#[tokio::test]
async fn g7_approve_then_leave_in_one_breath_approves_once() {
    let agent = RawAgent::start().await;
    let mut it = by_session(agent.address);
    (it.log_bytes, it.fights) = (ROOMY, false);
    let proxy = Proxy::start(it).await;
    let Pair { page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    drop(page);
    for end in [
        "cut",
        "close",
        "replace",
        "cut amid the replay",
        "replace amid the replay",
    ] {
        if end == "cut amid the replay" {
            // the page's connection is full of what it has not read
            for _ in 0..MUCH / (1 << 18) {
                server.frame_patiently(0x81, &[b'x'; 1 << 18]).await;
            }
            server.heard().await;
        }
        let mut page = Raw::narrow(proxy.address, "/ws?session=a").await;
        if end.ends_with("amid the replay") {
            page.stream.readable().await.unwrap();
            proxy.settled().await;
        }
        let approve = frame(0x81, b"approve", true);
        match end {
            "close" => page.write(&[approve, frame(0x88, &[3, 0xe9], true)].concat()).await,
            _ => page.write(&approve).await,
        }
        if end.starts_with("cut") {
            page.cut();
        }
        let mut next = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
        next.send("and then").await;
        assert_eq!(server.text().await, "approve", "{end}");
        assert_eq!(server.text().await, "and then", "{end}");
        next.cut();
    }
    assert!(!agent.is_dialed());
}

// ---- G8: a refused attach is nearly free

#[tokio::test]
async fn g8_a_page_that_says_no_hello_sees_nothing_disturbs_nobody_and_is_told() {
    let agent = RawAgent::start().await;
    let mut it = by_session(agent.address);
    let rules = "[[rule]]\nfrom = \"client\"\nwhen = { \"/type\" = \"hello\" }\nrole = \"hello\"\n";
    it.profile = Profile::parse(rules).unwrap();
    let proxy = Proxy::start(it).await;
    let Pair { mut page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    page.send(r#"{"type":"hello"}"#).await;
    assert_eq!(server.text().await, r#"{"type":"hello"}"#);
    server.send("secret").await;
    assert_eq!(page.text().await, "secret");
    let mut attached = Pair { page, server };

    let start = Instant::now();
    let mut pending = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    pending.send("no hello").await;
    attached.works().await;
    assert_eq!(pending.closed().await, (1008, "no hello in time".into()));
    assert!(start.elapsed() >= Duration::from_millis(9_500), "{:?}", start.elapsed());
    attached.works().await;
    assert!(!agent.is_dialed());
}

#[tokio::test]
async fn g8_a_fight_ends_with_who_is_there() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let Pair { page, server } = agent.session(&proxy, "/ws?session=a").await;
    let mut pages = vec![page];
    for _ in 0..3 {
        pages.push(Raw::upgraded(proxy.address, "/ws?session=a", "").await);
        let replaced = pages.len() - 2;
        assert_eq!(pages[replaced].closed().await, (4001, "opened elsewhere".into()));
    }
    let mut redial = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    assert_eq!(redial.closed().await.0, 4001);
    assert_eq!(log.count(&["attach refused", "4001"]), 1);
    let mut pair = Pair {
        page: pages.pop().unwrap(),
        server,
    };
    pair.works().await;
    // with nobody attached everybody is let in
    pair.page.cut();
    log.says(&["detach"]).await;
    let page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    Pair {
        page,
        server: pair.server,
    }
    .works()
    .await;
}

// ---- G9: ends end

#[tokio::test]
async fn g9_upstreams_close_reaches_the_page_behind_the_rest() {
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    for (code, reason) in [(1000, "done"), (4123, "quota: \u{20ac}"), (1011, ""), (1005, "")] {
        let Pair { mut page, mut server } = agent.session(&proxy, "/ws?session=a").await;
        let close = if code == 1005 {
            frame(0x88, &[], false)
        } else {
            frame(0x88, &[&u16::to_be_bytes(code)[..], reason.as_bytes()].concat(), false)
        };
        server.write(&[frame(0x81, b"the rest", false), close].concat()).await;
        assert_eq!(page.text().await, "the rest");
        assert_eq!(page.closed().await, (code, reason.into()));
        assert_eq!(server.closed().await, (code, reason.into()), "echoed");
        assert_eq!(server.next().await, Got::End);
        if code == 1005 {
            page.frame(0x88, &[]).await;
        } else {
            page.close(code, "").await;
        }
        assert_eq!(page.next().await, Got::End);
        // the echo has ended the session, so the next round is a new one
    }
}

#[tokio::test]
async fn g9_an_end_without_a_close_frame_stays_one() {
    for reset in [false, true] {
        let agent = RawAgent::start().await;
        let proxy = keyed(&agent).await;
        let Pair { mut page, mut server } = agent.session(&proxy, "/ws?session=a").await;
        server.send("the rest").await;
        if reset {
            server.heard().await;
            server.cut();
        } else {
            drop(server);
        }
        assert_eq!(page.text().await, "the rest");
        assert_eq!(page.next_but_pings().await, Got::End);

        let mut page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
        assert_eq!(page.text().await, "the rest");
        assert_eq!(page.next_but_pings().await, Got::End);
        drop(page);
        agent.session(&proxy, "/ws?session=a").await.works().await;
    }
}

#[tokio::test]
async fn g9_who_was_away_at_the_end_gets_the_replay_and_the_end_and_then_starts_afresh() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let Pair { page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    page.cut();
    log.says(&["detach"]).await;
    server.send("result").await;
    server.close(4123, "done").await;
    assert_eq!(server.closed().await, (4123, "done".into()));

    let mut page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    assert_eq!(page.text().await, "result");
    assert_eq!(page.closed().await, (4123, "done".into()));
    assert!(!agent.is_dialed());
    // it need not echo: it was shown the end
    page.cut();
    log.says(&["end", "its page left"]).await;
    agent.session(&proxy, "/ws?session=a").await.works().await;
}

// ---- ended on purpose

/// A browser: it has loaded a page through sessmux and holds its cookie.
async fn browser(proxy: &Proxy, agent: &RawAgent) -> String {
    let mut raw = Raw::connect(proxy.address).await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n\r\n",
        proxy.address
    );
    raw.write(request.as_bytes()).await;
    let mut server = agent.accept().await;
    server
        .write(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 4\r\n\r\npage")
        .await;
    assert_eq!(raw.answered().await, (200, "page".into()));
    let cookie = raw.field("set-cookie").unwrap().split(';').next().unwrap();
    format!("Origin: http://{}\r\nCookie: {cookie}\r\n", proxy.address)
}

async fn open(proxy: &Proxy, agent: &RawAgent, browser: &str) -> Pair {
    let mut page = Raw::ask(proxy.address, "/ws", browser).await;
    let mut server = agent.accept().await;
    server.switch("").await;
    page.switched().await;
    Pair { page, server }
}

#[tokio::test]
async fn a_normal_close_of_a_page_that_was_not_reloaded_ends_the_session() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(route(agent.address, vec![KeySource::Browser])).await;
    let browser = browser(&proxy, &agent).await;
    let Pair { mut page, mut server } = open(&proxy, &agent, &browser).await;
    let start = Instant::now();
    page.close(1000, "").await;
    assert_eq!(page.closed().await.0, 1000);
    assert_eq!(server.closed().await.0, 1000);
    assert!(start.elapsed() >= Duration::from_millis(1_900), "{:?}", start.elapsed());

    // the next attach does not wait for the time to be over
    let Pair { mut page, mut server } = open(&proxy, &agent, &browser).await;
    page.close(1000, "").await;
    assert_eq!(page.closed().await.0, 1000);
    let mut fresh = open(&proxy, &agent, &browser).await;
    assert_eq!(server.closed().await.0, 1000);
    fresh.works().await;
}

#[tokio::test]
async fn a_normal_close_before_a_reload_ends_nothing() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(route(agent.address, vec![KeySource::Browser])).await;
    let browser_fields = browser(&proxy, &agent).await;
    let Pair { mut page, mut server } = open(&proxy, &agent, &browser_fields).await;
    server.send("before").await;
    assert_eq!(page.text().await, "before");
    page.close(1000, "").await;
    assert_eq!(page.closed().await.0, 1000);
    let mut raw = Raw::connect(proxy.address).await;
    let cookie = browser_fields.lines().find(|line| line.starts_with("Cookie")).unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nSec-Fetch-Dest: document\r\n{cookie}\r\n\r\n",
        proxy.address
    );
    raw.write(request.as_bytes()).await;
    let mut page = Raw::upgraded(proxy.address, "/ws", &browser_fields).await;
    assert_eq!(page.text().await, "before");
    Pair { page, server }.works().await;
}
