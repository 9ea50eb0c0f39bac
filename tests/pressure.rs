//! What all sessions together may hold: whoever has most gives back first, what pages were sent before what they were not,
//! and no flood of readers that do not read brings the process above its bound.

mod common;

use std::time::Duration;

use common::capture::Log;
use common::raw::{Got, Pair, Raw, RawAgent, frame};
use common::{Proxy, config, route, soon};
use sessmux::config::{Config, KeySource, Limits, Overflow, Route};
use sessmux::metrics::Rule;
use sessmux::profile::{Profile, built_in};
use tokio::task::JoinSet;

const LIMIT: usize = 1 << 20;

fn keyed(agent: &RawAgent) -> Route {
    route(agent.address, vec![KeySource::QueryParam("session".into())])
}

async fn start(route: Route) -> Proxy {
    let limits = Limits {
        max_buffered: LIMIT,
        ..Limits::default()
    };
    Proxy::with(Config {
        limits,
        ..config(route)
    })
    .await
}

/// What sessions hold, as the metrics say.
fn buffered(proxy: &Proxy) -> usize {
    proxy.gauge("sessmux_buffered_bytes") as usize
}

/// The agent says so many messages of 16 KiB, and the page reads them.
async fn says(pair: &mut Pair, messages: usize) {
    for _ in 0..messages {
        pair.server.frame(0x82, &[b'a'; 16 << 10]).await;
        assert!(matches!(pair.page.next_but_pings().await, Got::Frame(0x82, ..)));
    }
}

/// What a page that comes anew is replayed.
async fn replayed(proxy: &Proxy, pair: &mut Pair, target: &str) -> usize {
    pair.page = Raw::upgraded(proxy.address, target, "").await;
    pair.server.send("end").await;
    let mut messages = 0;
    loop {
        match pair.page.next_but_pings().await {
            Got::Frame(0x82, ..) => messages += 1,
            Got::Frame(0x81, ..) => return messages,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_pages_were_sent_goes_first_and_who_has_little_keeps_it() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = start(keyed(&agent)).await;
    let mut large = agent.session(&proxy, "/ws?session=large").await;
    let mut small = agent.session(&proxy, "/ws?session=small").await;
    says(&mut small, 4).await;
    // more than all may hold, and less than its own log may
    says(&mut large, 63).await;
    assert_eq!(proxy.refused(Rule::MaxBuffered), 1);
    log.says(&["all sessions together hold too much", "max_buffered=1048576"])
        .await;
    assert!(buffered(&proxy) <= LIMIT, "{}", buffered(&proxy));
    large.works().await;
    assert_eq!(replayed(&proxy, &mut small, "/ws?session=small").await, 4);
    let left = replayed(&proxy, &mut large, "/ws?session=large").await;
    assert!((1..63).contains(&left), "{left}");
}

#[tokio::test]
async fn what_nobody_was_sent_goes_next_by_the_routes_policy() {
    for overflow in [Overflow::DropOldest, Overflow::Close] {
        let log = Log::capture();
        let agent = RawAgent::start().await;
        let mut route = keyed(&agent);
        route.overflow = overflow;
        let proxy = start(route).await;
        let mut away = agent.session(&proxy, "/ws?session=away").await;
        let mut beside = agent.session(&proxy, "/ws?session=beside").await;
        away.page.close(1001, "").await;
        away.page.closed().await;
        for _ in 0..70 {
            // a session that ends takes no more
            if away.server.stream.try_write(&[]).is_err() {
                break;
            }
            away.server.frame_patiently(0x82, &[b'a'; 16 << 10]).await;
        }
        log.says(&["all sessions together hold too much"]).await;
        beside.works().await;
        match overflow {
            Overflow::DropOldest => {
                let left = replayed(&proxy, &mut away, "/ws?session=away").await;
                assert!((1..70).contains(&left), "{left}");
            }
            Overflow::Close => assert_eq!(away.server.closed().await.0, 4009),
        }
        assert!(buffered(&proxy) <= LIMIT, "{}", buffered(&proxy));
    }
}

#[tokio::test]
async fn messages_that_are_not_whole_count_and_the_largest_goes() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let mut route = keyed(&agent);
    route.max_message = 4 << 20;
    let proxy = start(route).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    let mut pair = agent.session(&proxy, "/ws?session=a").await;
    // more than all may hold, and no more than a message may have
    pair.page.frame(0x02, &vec![b'a'; 3 << 20]).await;
    assert_eq!(pair.page.closed().await.0, 1013);
    log.says(&["all sessions together hold too much"]).await;
    let cause = [
        "WARN",
        "the page was closed",
        "max_buffered=1048576",
        "much of a message",
    ];
    assert_eq!(log.count(&cause), 1);
    assert_eq!(proxy.refused(Rule::MaxBuffered), 2, "all were asked, and it was closed");
    beside.works().await;
    // the session is there for the next page
    pair.page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    pair.works().await;
}

#[tokio::test]
async fn ids_of_requests_that_wait_for_their_answers_count() {
    let agent = RawAgent::start().await;
    let mut route = keyed(&agent);
    route.profile = Profile::parse(built_in("json-rpc").unwrap()).unwrap();
    let proxy = start(route).await;
    let mut pair = agent.session(&proxy, "/ws?session=a").await;
    let mut asks = async |length: usize| {
        let id = "x".repeat(length);
        pair.page.send(&format!(r#"{{"id":"{id}","method":"list"}}"#)).await;
        pair.server.text().await
    };
    for _ in 0..100 {
        asks(256).await;
    }
    proxy.settled().await;
    let held = buffered(&proxy);
    assert!((100 * 256..100 * 400).contains(&held), "{held}");
    // one that is longer is not kept
    assert!(asks(100_000).await.len() > 100_000);
    proxy.settled().await;
    assert_eq!(buffered(&proxy), held);
}

#[tokio::test]
async fn what_pending_pages_say_counts_too() {
    let agent = RawAgent::start().await;
    let mut first = route(agent.address, vec![KeySource::First("/session".parse().unwrap())]);
    first.max_message = 4 << 20;
    let proxy = start(first).await;
    let mut page = Raw::upgraded(proxy.address, "/ws", "").await;
    page.frame(0x02, &vec![b'a'; 3 << 20]).await;
    assert_eq!(page.closed().await.0, 1013);
    assert_eq!(buffered(&proxy), 0);
    assert!(!agent.is_dialed());
}

#[tokio::test]
async fn a_message_of_the_servers_that_is_larger_than_all_may_hold_ends_its_session() {
    for alone in [false, true] {
        let log = Log::capture();
        let agent = RawAgent::start().await;
        let mut route = keyed(&agent);
        (route.max_message, route.log_bytes) = (4 << 20, 4 << 20);
        let proxy = start(route).await;
        let mut beside = None;
        if !alone {
            beside = Some(agent.session(&proxy, "/ws?session=beside").await);
        }
        let mut pair = agent.session(&proxy, "/ws?session=a").await;
        // whoever stops reading amid it breaks it off
        let _ = soon("the message", async {
            use tokio::io::AsyncWriteExt;
            pair.server
                .stream
                .write_all(&frame(0x82, &vec![b'a'; 3 << 20], false))
                .await
        })
        .await;
        assert_eq!(pair.page.closed().await.0, 4009);
        log.says(&[
            "WARN",
            "the page was closed",
            "max_buffered=1048576",
            "its session holds too much",
        ])
        .await;
        log.says(&["end", "max_buffered: it held too much"]).await;
        if let Some(beside) = &mut beside {
            beside.works().await;
        }
    }
}

#[tokio::test]
async fn a_message_in_too_many_pieces() {
    let agent = RawAgent::start().await;
    let mut route = keyed(&agent);
    route.max_fragments = 10;
    let proxy = start(route).await;
    let mut pair = agent.session(&proxy, "/ws?session=a").await;
    pair.page.frame(0x01, b"a").await;
    for _ in 0..10 {
        pair.page.frame(0x00, b"").await;
    }
    assert_eq!(pair.page.closed().await.0, 1009);
    assert_eq!(proxy.refused(Rule::MaxMessage), 1);
    pair.page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    pair.works().await;
}

#[tokio::test]
async fn a_page_that_keeps_the_server_waiting() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let mut route = keyed(&agent);
    (route.log_bytes, route.slow_reader) = (64 << 10, Duration::from_millis(200));
    let proxy = start(route).await;
    let mut page = Raw::narrow_asked(proxy.address, "/ws?session=a").await;
    let mut server = agent.accept().await;
    server.switch("").await;
    page.switched().await;
    let said = tokio::spawn(async move {
        for _ in 0..400 {
            server.frame_patiently(0x82, &[b'a'; 16 << 10]).await;
        }
        server
    });
    log.says(&["the page is too slow", "slow_reader=200ms"]).await;
    // read on without it
    soon("all of it read", said).await.unwrap();
    assert_eq!(proxy.refused(Rule::SlowReader), 1);
}

#[tokio::test]
async fn a_page_that_is_replaced_amid_a_large_message_leaves_no_copy_of_it() {
    // what is left of the second is not worth a word
    for (size, is_told) in [(300 << 10, true), (4 << 20, false)] {
        let agent = RawAgent::start().await;
        let mut route = keyed(&agent);
        (route.max_message, route.log_bytes) = (8 << 20, 8 << 20);
        let proxy = Proxy::start(route).await;
        let mut older = Raw::narrow_asked(proxy.address, "/ws?session=a").await;
        let mut server = agent.accept().await;
        server.switch("").await;
        older.switched().await;
        let message = vec![b'a'; size];
        server.frame_patiently(0x82, &message).await;
        server.heard().await;
        older.stream.readable().await.unwrap();
        proxy.settled().await;
        let mut page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
        assert_eq!(page.next_but_pings().await, Got::Frame(0x82, false, message.clone()));
        let held = buffered(&proxy);
        assert!((size..size + (1 << 20)).contains(&held), "{held}");
        if is_told {
            assert_eq!(older.next_but_pings().await, Got::Frame(0x82, false, message));
            assert_eq!(older.closed().await.0, 4001);
        } else {
            assert_eq!(older.next().await, Got::Reset);
        }
        Pair { page, server }.works().await;
    }
}

#[tokio::test]
async fn a_thousand_readers_that_do_not_read() {
    const READERS: usize = 1000;
    let agent = RawAgent::start().await;
    let proxy = start(keyed(&agent)).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    let (mut pages, mut servers) = (Vec::new(), JoinSet::new());
    for number in 0..READERS {
        // it takes 16 KiB, and the system some more for it
        let mut page = Raw::narrow_asked(proxy.address, &format!("/ws?session={number}")).await;
        let mut server = agent.accept().await;
        server.switch("").await;
        page.switched().await;
        pages.push(page);
        servers.spawn(async move {
            for _ in 0..16 {
                server.frame_patiently(0x82, &[b'a'; 16 << 10]).await;
            }
            server
        });
    }
    let mut most = 0;
    for _ in 0..100 {
        beside.works().await;
        most = most.max(buffered(&proxy));
    }
    assert!(proxy.refused(Rule::MaxBuffered) > 0, "there was no need: {most}");
    // what each has that nobody asks it for, and the reads under way
    assert!(most <= LIMIT + LIMIT / 2 + (128 << 10), "{most}");
    drop(pages);
    servers.shutdown().await;
}
