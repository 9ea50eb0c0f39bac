//! G2 to G5: newest wins, whole and in order, no silent loss.

use std::time::Duration;

use sessmux::config::Overflow;
use tokio::time::timeout;

use crate::common::capture::Log;
use crate::common::raw::{Got, Pair, Raw, RawAgent, frame};
use crate::common::{Agent, Proxy};
use crate::{by_session, keyed};

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
    for upto in [1, 100, 1000, 2500, MESSAGES] {
        // each load sees everything from the start, and whatever streams meanwhile
        let mut page = proxy.page("/ws?session=a").await;
        for number in 0..upto {
            assert_eq!(page.text().await, number.to_string());
        }
        if upto % 200 == 0 {
            page.leave().await;
        }
    }
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

#[tokio::test]
async fn g4_what_is_read_into_the_log_is_whole_however_it_is_cut() {
    let agent = RawAgent::start().await;
    let mut it = by_session(agent.address);
    it.log_bytes = 8 << 20;
    let proxy = Proxy::start(it).await;
    let mut pair = agent.session(&proxy, "/ws?session=a").await;
    pair.fill().await;
    let Pair { mut page, mut server } = pair;
    // text and binary messages in up to three frames, of all forms of length, with pings between and amid them
    let (mut wire, mut expected) = (Vec::new(), Vec::new());
    for number in 0..600_usize {
        let size = [3, 130, 800, 70_000][if number % 97 == 0 { 3 } else { number % 3 }];
        let frames = 1 + number % 3;
        for index in 0..frames {
            let opcode = if index > 0 { 0 } else { 1 + (number % 2) as u8 };
            let first = opcode | if index + 1 == frames { 0x80 } else { 0 };
            // of characters of two bytes, which cuts split
            let payload = "\u{e9}".repeat(size);
            wire.extend(frame(first, payload.as_bytes(), false));
            expected.push(Got::Frame(first, false, payload.into_bytes()));
            if number % 50 == 0 {
                wire.extend(frame(0x89, format!("{number} {index}").as_bytes(), false));
            }
        }
    }
    let agent_side = async {
        let mut sizes = [1, 7, 900, 3, 65_536, 20_000, 2, 130_000].into_iter().cycle();
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(sizes.next().unwrap().min(rest.len()));
            server.write(now).await;
            rest = later;
        }
        for number in (0..600).step_by(50) {
            for index in 0..1 + number % 3 {
                let pong = Got::Frame(0x8a, true, format!("{number} {index}").into_bytes());
                assert_eq!(server.next().await, pong);
            }
        }
    };
    let page_side = async {
        for frame in &expected {
            assert!(page.next_but_pings().await == *frame);
        }
    };
    tokio::join!(agent_side, page_side);
    // and so is its replay
    page.cut();
    let mut page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    for _ in 0..5 {
        assert_eq!(page.text().await.len(), 600_000);
    }
    for frame in &expected {
        assert!(page.next_but_pings().await == *frame);
    }
    Pair { page, server }.works().await;
}

#[tokio::test]
async fn g4_a_page_that_a_stream_is_far_ahead_of_gets_all_of_it() {
    const MESSAGES: u32 = 500;
    let agent = RawAgent::start().await;
    let mut it = by_session(agent.address);
    it.log_bytes = 4 << 20;
    let proxy = Proxy::start(it).await;
    let Pair { page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    page.cut();
    // takes little that it does not read, so that the log is what waits
    let mut page = Raw::narrow(proxy.address, "/ws?session=a").await;
    let (paused, is_paused) = tokio::sync::oneshot::channel();
    let agent_side = async {
        let mut paused = Some(paused);
        for number in 0..MESSAGES {
            let message = [&number.to_be_bytes()[..], &[b'x'; 100_000]].concat();
            let mut sent = Box::pin(server.frame_patiently(0x82, &message));
            // 50 MB are more than the log and both sockets hold
            if timeout(Duration::from_millis(200), &mut sent).await.is_err() {
                if let Some(paused) = paused.take() {
                    paused.send(()).unwrap();
                }
                sent.await;
            }
        }
    };
    let page_side = async {
        is_paused.await.unwrap();
        for number in 0..MESSAGES {
            match page.next_but_pings().await {
                Got::Frame(0x82, false, message) => assert_eq!(message[..4], number.to_be_bytes()),
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::join!(agent_side, page_side);
    assert_eq!(proxy.gauge("sessmux_gaps_total"), 0);
    Pair { page, server }.works().await;
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
    assert_eq!(proxy.gauge("sessmux_evicted_messages_total"), 15);
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
