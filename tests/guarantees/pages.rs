//! G6 to G8: what pages that are stuck, leave, fight or say nothing cannot do.

use std::time::{Duration, Instant};

use sessmux::profile::Profile;
use tokio::io::AsyncWriteExt;

use crate::common::capture::Log;
use crate::common::raw::{Got, Pair, Raw, RawAgent, frame};
use crate::common::{HELLO, Proxy, soon};
use crate::{by_session, keyed};

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
async fn g8_a_first_page_that_says_no_hello_keeps_the_session_from_others_for_10_s() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let mut it = by_session(agent.address);
    it.profile = Profile::parse(HELLO).unwrap();
    let proxy = Proxy::start(it).await;
    let mut alone = agent.session(&proxy, "/ws?session=alone").await;
    let start = Instant::now();
    let Pair { mut page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    server.send("challenge").await;
    assert_eq!(page.text().await, "challenge");
    let mut next = Raw::ask(proxy.address, "/ws?session=a", "").await;
    assert_eq!(page.closed().await, (1008, "no hello in time".into()));
    assert!(start.elapsed() >= Duration::from_millis(9_500), "{:?}", start.elapsed());
    log.says(&["turned away", "code=1008", "no hello in time"]).await;
    assert_eq!(server.closed().await.0, 1001);
    // who waited has a session of its own
    let mut server = agent.accept().await;
    server.switch("").await;
    next.switched().await;
    next.send(r#"{"type":"hello"}"#).await;
    assert_eq!(server.text().await, r#"{"type":"hello"}"#);
    Pair { page: next, server }.works().await;
    // and whom nobody waits for may take its time
    alone.works().await;
}

const ANSWER: &str = "[[rule]]\nfrom = \"server\"\nwhen = { \"/type\" = \"ready\" }\nrole = \"hello-answer\"\n";

#[tokio::test]
async fn g8_a_page_that_left_while_it_waited_takes_nothing_from_who_is_there() {
    let agent = RawAgent::start().await;
    let mut it = by_session(agent.address);
    it.profile = Profile::parse(&[HELLO, ANSWER].concat()).unwrap();
    let proxy = Proxy::start(it).await;
    for (end, code) in [
        ("close", 1001),
        ("close and end", 1001),
        ("end", 1005),
        ("cut", 0),
        ("break the protocol", 1002),
    ] {
        let log = Log::capture();
        let target = format!("/ws?session={}", end.replace(' ', "-"));
        let Pair { mut page, mut server } = agent.session(&proxy, &target).await;
        page.send(r#"{"type":"hello"}"#).await;
        assert_eq!(server.text().await, r#"{"type":"hello"}"#);
        let mut waiting = Raw::upgraded(proxy.address, &target, "").await;
        waiting.send(r#"{"type":"hello"}"#).await;
        waiting.send("and what it wants").await;
        proxy.settled().await;
        match end {
            "close" | "close and end" => waiting.close(1001, "").await,
            "break the protocol" => waiting.write(&frame(0x81, b"unmasked", false)).await,
            _ => {}
        }
        if end.ends_with("end") {
            waiting.stream.shutdown().await.unwrap();
        }
        let gone = if end == "cut" {
            waiting.cut();
            None
        } else {
            Some(waiting)
        };
        proxy.settled().await;
        server.send(r#"{"type":"ready"}"#).await;
        assert_eq!(page.text().await, r#"{"type":"ready"}"#);
        if let Some(mut gone) = gone {
            assert_eq!(gone.closed().await.0, code, "{end}");
        }
        log.says(&["turned away", "it left, or broke the protocol"]).await;
        // none of what it said has reached the agent
        let mut there = Pair { page, server };
        there.works().await;
        // and one that is there is let in
        let mut next = Raw::upgraded(proxy.address, &target, "").await;
        next.send(r#"{"type":"hello"}"#).await;
        assert_eq!(next.text().await, r#"{"type":"ready"}"#);
        assert_eq!(there.page.closed().await.0, 4001);
    }
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
