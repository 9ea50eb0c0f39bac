//! What `/metrics` shows of what happens, over real sockets. Metrics follow what a peer sees; they are waited for.

mod common;

use std::collections::BTreeSet;

use common::raw::{Pair, Raw, RawAgent};
use common::{Proxy, route, soon};
use sessmux::config::{KeySource, Route};
use sessmux::core::Overflow;
use sessmux::profile::Profile;
use tokio::time::{Duration, sleep};

const PROMPTS: &str = r#"
    [[rule]]
    from = "server"
    when = { "/type" = "ask" }
    id = "/id"
    role = "prompt"
    [[rule]]
    from = "client"
    when = { "/type" = "answer" }
    id = "/id"
    role = "prompt-answer"
    [[rule]]
    from = "client"
    text = "^beat$"
    role = "heartbeat"
    answer = "here"
"#;

fn keyed(agent: &RawAgent) -> Route {
    route(agent.address, vec![KeySource::QueryParam("s".into())])
}

/// Waits until these metrics show this.
async fn shows(proxy: &Proxy, expected: &[(&str, i64)]) {
    for (name, value) in expected {
        soon(&format!("{name} {value}"), async {
            while proxy.gauge(name) != *value {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn sessions_by_state_attaches_and_detaches() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(keyed(&agent)).await;
    let dialing = Raw::ask(proxy.address, "/ws?s=1", "");
    let (mut page, mut server) = tokio::join!(dialing, agent.accept());
    shows(&proxy, &[("sessmux_sessions{state=\"dialing\"}", 1)]).await;
    server.switch("").await;
    page.switched().await;
    shows(
        &proxy,
        &[
            ("sessmux_sessions{state=\"dialing\"}", 0),
            ("sessmux_sessions{state=\"attached\"}", 1),
            ("sessmux_attaches_total{result=\"first\"}", 1),
            ("sessmux_upstream_dials_total{result=\"upgraded\"}", 1),
        ],
    )
    .await;
    page.cut();
    shows(
        &proxy,
        &[
            ("sessmux_sessions{state=\"detached\"}", 1),
            ("sessmux_detaches_total{cause=\"cut\"}", 1),
            ("sessmux_log_bytes_count", 1),
        ],
    )
    .await;
    let first = Raw::upgraded(proxy.address, "/ws?s=1", "").await;
    let mut second = Raw::upgraded(proxy.address, "/ws?s=1", "").await;
    shows(
        &proxy,
        &[
            ("sessmux_attaches_total{result=\"refresh\"}", 2),
            ("sessmux_takeovers_total", 1),
            ("sessmux_detaches_total{cause=\"takeover\"}", 1),
        ],
    )
    .await;
    drop(first);
    second.close(1001, "").await;
    shows(&proxy, &[("sessmux_detaches_total{cause=\"closed\"}", 1)]).await;
    server.close(4000, "over").await;
    shows(
        &proxy,
        &[
            ("sessmux_upstream_closes_total{code=\"4xxx\"}", 1),
            ("sessmux_sessions{state=\"ending\"}", 1),
        ],
    )
    .await;
    let mut last = Raw::upgraded(proxy.address, "/ws?s=1", "").await;
    assert_eq!(last.closed().await.0, 4000);
    last.close(4000, "").await;
    shows(&proxy, &[("sessmux_sessions", 0)]).await;
}

#[tokio::test]
async fn connections_that_sessmux_ends_count_as_those_that_agents_end() {
    let agent = RawAgent::start().await;
    let mut it = keyed(&agent);
    it.grace = Duration::ZERO;
    let proxy = Proxy::start(it).await;
    let Pair { page, mut server } = agent.session(&proxy, "/ws?s=1").await;
    page.cut();
    assert_eq!(server.closed().await.0, 1001);
    let Pair { mut page, mut server } = agent.session(&proxy, "/ws?s=2").await;
    server.close(1001, "").await;
    assert_eq!(page.closed().await.0, 1001);
    page.close(1001, "").await;
    let Pair { mut page, mut server } = agent.session(&proxy, "/ws?s=3").await;
    server.frame(0x83, b"no opcode of RFC 6455").await;
    assert_eq!(page.closed().await.0, 1011);
    shows(
        &proxy,
        &[
            ("sessmux_upstream_closes_total{code=\"1001\"}", 2),
            ("sessmux_upstream_closes_total{code=\"1011\"}", 1),
            ("sessmux_upstream_closes_total", 3),
            ("sessmux_upstream_dials_total", 3),
        ],
    )
    .await;
}

#[tokio::test]
async fn replays_and_gaps_in_messages_and_bytes() {
    let agent = RawAgent::start().await;
    let mut it = keyed(&agent);
    it.log_messages = 10;
    let proxy = Proxy::start(it).await;
    let Pair { page, mut server } = agent.session(&proxy, "/ws?s=1").await;
    page.cut();
    shows(&proxy, &[("sessmux_sessions{state=\"detached\"}", 1)]).await;
    for number in 10..25 {
        server.send(&number.to_string()).await;
    }
    server.heard().await;
    let mut page = Raw::upgraded(proxy.address, "/ws?s=1", "").await;
    for number in 15..25 {
        assert_eq!(page.text().await, number.to_string());
    }
    shows(
        &proxy,
        &[
            ("sessmux_replays_total{mode=\"all\"}", 1),
            ("sessmux_replayed_messages_total{mode=\"all\"}", 10),
            // a header of two bytes and two digits each
            ("sessmux_replayed_bytes_total{mode=\"all\"}", 40),
            ("sessmux_replay_seconds_count{mode=\"all\"}", 1),
            ("sessmux_replay_seconds_count{mode=\"missed\"}", 0),
            ("sessmux_gaps_total", 1),
            ("sessmux_gap_messages_total", 5),
            ("sessmux_evicted_messages_total", 5),
            ("sessmux_overflows_total{policy=\"drop-oldest\"}", 1),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_full_log_that_ends_its_session() {
    let agent = RawAgent::start().await;
    let mut it = keyed(&agent);
    (it.log_messages, it.overflow) = (2, Overflow::Close);
    let proxy = Proxy::start(it).await;
    let Pair { page, mut server } = agent.session(&proxy, "/ws?s=1").await;
    page.cut();
    shows(&proxy, &[("sessmux_sessions{state=\"detached\"}", 1)]).await;
    for text in ["one", "two", "three"] {
        server.send(text).await;
    }
    shows(
        &proxy,
        &[
            ("sessmux_overflows_total{policy=\"close\"}", 1),
            ("sessmux_overflows_total{policy=\"drop-oldest\"}", 0),
            ("sessmux_sessions{state=\"ending\"}", 1),
        ],
    )
    .await;
}

#[tokio::test]
async fn traffic_and_heartbeats_by_direction() {
    let agent = RawAgent::start().await;
    let mut it = keyed(&agent);
    it.profile = Profile::parse(PROMPTS).unwrap();
    let proxy = Proxy::start(it).await;
    let Pair { mut page, mut server } = agent.session(&proxy, "/ws?s=1").await;
    server.send("12345678").await;
    assert_eq!(page.text().await, "12345678");
    for _ in 0..2 {
        page.send("1234").await;
        assert_eq!(server.text().await, "1234");
    }
    page.send("beat").await;
    assert_eq!(page.text().await, "here");
    page.frame(0x89, b"").await;
    server.frame(0x89, b"").await;
    shows(
        &proxy,
        &[
            ("sessmux_relayed_messages_total{direction=\"to-page\"}", 1),
            ("sessmux_relayed_bytes_total{direction=\"to-page\"}", 10),
            ("sessmux_relayed_messages_total{direction=\"to-agent\"}", 2),
            // with their masks
            ("sessmux_relayed_bytes_total{direction=\"to-agent\"}", 20),
            ("sessmux_heartbeats_answered_total{side=\"page\"}", 2),
            ("sessmux_heartbeats_answered_total{side=\"agent\"}", 1),
        ],
    )
    .await;
    // asked twice, it counts once
    assert_eq!(proxy.gauge("sessmux_relayed_messages_total"), 3);
    assert_eq!(proxy.gauge("sessmux_relayed_messages_total"), 3);
}

#[tokio::test]
async fn open_prompts_and_the_age_of_the_oldest() {
    let agent = RawAgent::start().await;
    let mut it = keyed(&agent);
    it.profile = Profile::parse(PROMPTS).unwrap();
    let proxy = Proxy::start(it).await;
    let mut one = agent.session(&proxy, "/ws?s=1").await;
    let mut two = agent.session(&proxy, "/ws?s=2").await;
    one.server.send(r#"{"type":"ask","id":"a"}"#).await;
    two.server.send(r#"{"type":"ask","id":"b"}"#).await;
    shows(&proxy, &[("sessmux_open_prompts", 2)]).await;
    let oldest = || {
        let text = proxy.metrics.text().unwrap();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix("sessmux_oldest_prompt_seconds "));
        value.unwrap().parse::<f64>().unwrap()
    };
    let before = oldest();
    assert!(before > 0.0 && oldest() > before, "it grows older");
    one.page.send(r#"{"type":"answer","id":"a"}"#).await;
    one.page.send(r#"{"type":"answer","id":"a"}"#).await;
    shows(
        &proxy,
        &[
            ("sessmux_open_prompts", 1),
            ("sessmux_discarded_total{what=\"late-answer\"}", 1),
        ],
    )
    .await;
    assert!(oldest() > 0.0, "the other is still open");
    // a session that ends takes its prompts with it
    two.server.cut();
    two.page.cut();
    let Pair { page, server } = one;
    drop((page, server));
    shows(&proxy, &[("sessmux_open_prompts", 0)]).await;
    assert!(oldest() == 0.0);
}

#[tokio::test]
async fn dials_by_what_came_of_them() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(keyed(&agent)).await;
    let mut page = Raw::ask(proxy.address, "/ws?s=1", "").await;
    let mut server = agent.accept().await;
    server
        .write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(page.answered().await.0, 403);
    shows(&proxy, &[("sessmux_upstream_dials_total{result=\"refused\"}", 1)]).await;
    let mut page = Raw::ask(proxy.address, "/ws?s=1", "").await;
    let mut server = agent.accept().await;
    server.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await;
    assert_eq!(page.answered().await.0, 502);
    shows(&proxy, &[("sessmux_upstream_dials_total{result=\"broken\"}", 1)]).await;
    drop(agent);
    let mut page = Raw::ask(proxy.address, "/ws?s=1", "").await;
    assert_eq!(page.answered().await.0, 502);
    shows(
        &proxy,
        &[
            ("sessmux_upstream_dials_total{result=\"unreachable\"}", 1),
            ("sessmux_sessions", 0),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_readme_names_every_metric_and_no_other() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(keyed(&agent)).await;
    let text = proxy.metrics.text().unwrap();
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let names: BTreeSet<&str> = names.collect();
    let readme = include_str!("../README.md").split('`');
    let named = readme.filter(|code| code.starts_with("sessmux_"));
    let named: BTreeSet<&str> = named.filter_map(|code| code.split('{').next()).collect();
    assert_eq!(names, named);
}
