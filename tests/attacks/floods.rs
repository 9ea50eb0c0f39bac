//! Slowloris, slow readers, and floods of connections, fragments, tiny messages and attaches.

use std::time::Duration;

use crate::beside::Beside;
use crate::common::raw::{Got, Raw, RawAgent};
use crate::common::{Proxy, config, route, soon};
use sessmux::config::{Config, KeySource, Limits};
use sessmux::metrics::Rule;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

async fn start(agent: &RawAgent, limits: Limits) -> Proxy {
    let mut route = route(agent.address, vec![KeySource::QueryParam("session".into())]);
    route.log_bytes = 64 << 10;
    Proxy::with(Config {
        limits,
        ..config(route)
    })
    .await
}

#[tokio::test]
async fn slowloris_dribbles_heads_and_is_cut_off() {
    let agent = RawAgent::start().await;
    let limits = Limits {
        head_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let proxy = start(&agent, limits).await;
    let beside = Beside::start(&proxy, &agent).await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut raw = Raw::connect(proxy.address).await;
        raw.write(b"GET /ws HTTP/1.1\r\nX-").await;
        slow.push(tokio::spawn(async move {
            let (mut read, mut write) = raw.stream.into_split();
            // a byte at a time, for as long as it is let
            let dribble = async {
                while write.write_all(b"a").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            let end = async { read.read_to_end(&mut Vec::new()).await };
            tokio::select! {
                () = dribble => {}
                // a reset is an end too
                _ = end => {}
            }
        }));
    }
    for slow in slow {
        soon("the end of a slow one", slow).await.unwrap();
    }
    assert_eq!(proxy.refused(Rule::HeadTimeout), 200);
    beside.undisturbed().await;
}

#[tokio::test]
async fn a_flood_of_connections_gets_no_more_than_there_are() {
    let agent = RawAgent::start().await;
    let limits = Limits {
        max_connections: 50,
        ..Limits::default()
    };
    let proxy = start(&agent, limits).await;
    let beside = Beside::start(&proxy, &agent).await;
    let mut held = Vec::new();
    for _ in 0..500 {
        held.push(Raw::connect(proxy.address).await);
    }
    let mut refused = 0;
    for raw in &mut held[50..] {
        refused += u64::from(raw.read_head().await == Some(503));
    }
    assert_eq!((refused, proxy.refused(Rule::MaxConnections)), (450, 450));
    beside.undisturbed().await;
}

#[tokio::test]
async fn pages_that_never_read() {
    let agent = RawAgent::start().await;
    let proxy = start(&agent, Limits::default()).await;
    let beside = Beside::start(&proxy, &agent).await;
    let (mut stuck, mut pages) = (JoinSet::new(), Vec::new());
    let part = vec![b'a'; 16 << 10];
    for number in 0..20 {
        let target = format!("/ws?session=stuck-{number}");
        let mut page = Raw::ask(proxy.address, &target, "").await;
        let mut server = agent.accept().await;
        server.switch("").await;
        page.switched().await;
        let (told, enough) = oneshot::channel();
        let part = part.clone();
        stuck.spawn(async move {
            for _ in 0..16 {
                server.frame_patiently(0x82, &part).await;
            }
            let _ = told.send(());
            // it has more to say than anybody takes
            loop {
                server.frame_patiently(0x82, &part).await;
            }
        });
        soon("more than the log holds", enough).await.unwrap();
        pages.push(page);
    }
    beside.undisturbed().await;
}

#[tokio::test]
async fn a_page_that_sends_its_message_in_a_hundred_thousand_pieces() {
    let agent = RawAgent::start().await;
    let proxy = start(&agent, Limits::default()).await;
    let beside = Beside::start(&proxy, &agent).await;
    let mut pair = agent.session(&proxy, "/ws?session=pieces").await;
    pair.page.frame(0x01, b"a").await;
    // nothing, and one byte, in turn; whoever is cut off cannot write on
    let pieces = [
        crate::common::raw::frame(0, b"", true),
        crate::common::raw::frame(0, b"b", true),
    ]
    .concat();
    for _ in 0..500 {
        if pair.page.stream.write_all(&pieces.repeat(100)).await.is_err() {
            break;
        }
    }
    beside.undisturbed().await;
}

#[tokio::test]
async fn tiny_messages_come_whole_and_in_order() {
    const MESSAGES: usize = 50_000;
    let agent = RawAgent::start().await;
    let proxy = start(&agent, Limits::default()).await;
    let beside = Beside::start(&proxy, &agent).await;
    let mut pair = agent.session(&proxy, "/ws?session=tiny").await;
    let flood: Vec<u8> = (0..MESSAGES)
        .flat_map(|number| crate::common::raw::frame(0x82, &[(number % 251) as u8], true))
        .collect();
    let (page, server) = (&mut pair.page, &mut pair.server);
    let sent = page.stream.write_all(&flood);
    let come = async {
        for number in 0..MESSAGES {
            match server.next_but_pings().await {
                Got::Frame(_, _, payload) => assert_eq!(payload, [(number % 251) as u8]),
                other => panic!("message {number}: {other:?}"),
            }
        }
    };
    let (sent, ()) = tokio::join!(sent, come);
    sent.unwrap();
    beside.undisturbed().await;
}

#[tokio::test]
async fn a_storm_of_attaches_to_one_session() {
    let agent = RawAgent::start().await;
    let proxy = start(&agent, Limits::default()).await;
    let beside = Beside::start(&proxy, &agent).await;
    let mut pair = agent.session(&proxy, "/ws?session=stormed").await;
    pair.server.send("approve?").await;
    let mut storm = JoinSet::new();
    for _ in 0..300 {
        let address = proxy.address;
        storm.spawn(async move {
            let mut page = Raw::upgraded(address, "/ws?session=stormed", "").await;
            // shown the question and then replaced, or closed at once for fighting
            loop {
                match page.next_but_pings().await {
                    Got::Frame(0x81, ..) => {}
                    Got::Frame(0x88, _, payload) => return u16::from_be_bytes([payload[0], payload[1]]),
                    other => panic!("{other:?}"),
                }
            }
        });
    }
    // all but the one that is attached
    for _ in 1..300 {
        let code = soon("the end of one", storm.join_next()).await.unwrap().unwrap();
        assert_eq!(code, 4001);
    }
    storm.shutdown().await;
    pair.page = Raw::upgraded(proxy.address, "/ws?session=stormed", "").await;
    assert_eq!(pair.page.text().await, "approve?");
    pair.works().await;
    assert!(!agent.is_dialed(), "it has the one connection that it had");
    beside.undisturbed().await;
}
