//! G1: any number of first attaches dial once.

use std::time::Duration;

use futures_util::future::join_all;
use sessmux::profile::Profile;
use tokio::time::timeout;

use crate::common::capture::Log;
use crate::common::raw::{Got, Pair, Raw, RawAgent};
use crate::common::{HELLO, Proxy};
use crate::{by_session, keyed};

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
async fn g1_the_heir_of_a_dial_is_not_refused_for_the_head_of_the_one_that_left() {
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let stranger = Raw::ask(proxy.address, "/ws?session=a", "Authorization: stranger\r\n").await;
    let mut server = agent.accept().await;
    let mut friend = Raw::ask(proxy.address, "/ws?session=a", "Authorization: friend\r\n").await;
    proxy.settled().await;
    drop(stranger);
    proxy.settled().await;
    server
        .write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nwho?")
        .await;
    let mut server = agent.accept().await;
    assert_eq!(server.field("authorization"), Some("friend"));
    server.switch("").await;
    friend.switched().await;
    Pair { page: friend, server }.works().await;
}

#[tokio::test]
async fn a_creator_that_leaves_amid_the_handshake_leaves_no_session_behind_that_awaits_its_hello() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let mut it = by_session(agent.address);
    it.profile = Profile::parse(HELLO).unwrap();
    let proxy = Proxy::start(it).await;
    for _ in 0..20 {
        let page = Raw::ask(proxy.address, "/ws?session=a", "").await;
        let mut server = agent.accept().await;
        // both are there when sessmux looks next
        server.switch("").await;
        drop(page);
        while !matches!(server.next().await, Got::End | Got::Reset) {}
    }
    log.says(&["its page left before it was attached"]).await;
    assert_eq!(log.count(&["nobody came back"]), 0);
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
