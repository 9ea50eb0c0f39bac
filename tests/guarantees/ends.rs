//! G9: ends end, whoever ends.

use std::time::{Duration, Instant};

use sessmux::config::KeySource;

use crate::common::capture::Log;
use crate::common::raw::{Got, Pair, Raw, RawAgent, frame};
use crate::common::{Proxy, route};
use crate::keyed;

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
async fn g9_a_close_between_the_frames_of_a_message_reaches_the_page_there() {
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let Pair { mut page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    server.send("whole").await;
    server.frame(0x01, b"part").await;
    assert_eq!(page.text().await, "whole");
    assert_eq!(page.next_but_pings().await, Got::Frame(0x01, false, b"part".to_vec()));
    // what a server does whose generator of fragments fails
    let close = [&1011u16.to_be_bytes()[..], b"it failed"].concat();
    server
        .write(&[frame(0x00, b" of it", false), frame(0x88, &close, false)].concat())
        .await;
    assert_eq!(page.next_but_pings().await, Got::Frame(0x00, false, b" of it".to_vec()));
    assert_eq!(page.closed().await, (1011, "it failed".into()));

    // another load gets what was whole
    let mut page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    assert_eq!(page.text().await, "whole");
    assert_eq!(page.closed().await, (1011, "it failed".into()));
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
