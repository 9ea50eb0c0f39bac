//! Cross-site WebSocket hijacking: a page of another origin, in the browser that has the owner's cookie, asks for the
//! owner's session. Browsers let pages do that; what stands in the way is that they say which origin it is.
//!
//! `tests/browser/hijack.test.mjs` does the same with real pages, and shows that it succeeds straight at an agent server.

use crate::beside::{browser, session};
use crate::common::capture::Log;
use crate::common::raw::{Raw, RawAgent};
use crate::common::{Proxy, config, route};
use sessmux::config::{Bind, Config, KeySource};
use sessmux::metrics::Rule;

async fn start(agent: &RawAgent) -> Proxy {
    Proxy::start(route(agent.address, vec![KeySource::QueryParam("session".into())])).await
}

/// The victim's browser, in a page of `origin`.
fn from(proxy: &Proxy, origin: &str) -> String {
    let own = format!("Origin: http://{}", proxy.address);
    browser(proxy, 'a').replace(&own, &format!("Origin: {origin}"))
}

#[tokio::test]
async fn a_page_of_another_origin_gets_no_socket() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = start(&agent).await;
    let mut victim = session(&proxy, &agent, "/ws?session=a", &browser(&proxy, 'a')).await;
    victim.server.send("approve?").await;
    assert_eq!(victim.page.text().await, "approve?");
    let (host, port) = (proxy.address.ip(), proxy.address.port());
    let origins = [
        ("another site", "https://evil.example".to_owned()),
        ("suffix", format!("http://evil.example.{host}:{port}")),
        ("prefix", format!("http://{host}.evil.example:{port}")),
        ("subdomain", format!("http://sub.{host}:{port}")),
        ("sibling port", format!("http://{host}:{}", port ^ 1)),
        ("no port", format!("http://{host}")),
        ("longer port", format!("http://{host}:{port}0")),
        ("another name of this machine", format!("http://localhost:{port}")),
        ("another scheme", format!("ws://{host}:{port}")),
        ("file", "file://".into()),
        ("extension", "chrome-extension://abcdefghijklmnop".into()),
        ("null", "null".into()),
        ("empty", String::new()),
        ("userinfo", format!("http://{host}:{port}@evil.example")),
        ("trailing dot", format!("http://{host}.:{port}")),
        ("trailing slash", format!("http://{host}:{port}/")),
        ("list", format!("http://{host}:{port} https://evil.example")),
        (
            "two fields",
            format!("http://{host}:{port}\r\nOrigin: https://evil.example"),
        ),
        ("IPv6-mapped", format!("http://[::ffff:{host}]:{port}")),
        ("in octal", format!("http://0177.0.0.1:{port}")),
        ("very long", format!("https://{}.example", "a".repeat(8000))),
    ];
    for (name, origin) in &origins {
        let mut evil = Raw::ask(proxy.address, "/ws?session=a", &from(&proxy, origin)).await;
        assert_eq!(evil.answered().await.0, 403, "{name}");
        assert!(evil.field("set-cookie").is_none() && evil.field("access-control-allow-origin").is_none());
    }
    assert_eq!(proxy.refused(Rule::Origin), origins.len() as u64);
    log.says(&["origin \"https://evil.example\"", "allow_origin would admit it"])
        .await;
    assert!(!agent.is_dialed());
    victim.works().await;
}

#[tokio::test]
async fn an_allowed_origin_has_its_own_sessions_and_not_the_cookies() {
    let agent = RawAgent::start().await;
    let mut route = route(agent.address, vec![KeySource::QueryParam("session".into())]);
    route.bind = vec![Bind::Key];
    let proxy = Proxy::with(Config {
        allow_origins: vec!["https://embed.example".parse().unwrap()],
        ..config(route)
    })
    .await;
    let lines = from(&proxy, "https://embed.example");
    let embedded = session(&proxy, &agent, "/ws?session=a", &lines).await;
    assert!(
        !embedded.server.head.contains("sessmux-"),
        "the cookie is not the agent's to see: {}",
        embedded.server.head
    );
    assert_eq!(
        embedded.page.field("set-cookie"),
        None,
        "nor is a foreign page given one"
    );
}

#[tokio::test]
async fn a_name_that_is_rebound_to_this_machine_is_not_served() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = start(&agent).await;
    let mut victim = session(&proxy, &agent, "/ws?session=a", &browser(&proxy, 'a')).await;
    let port = proxy.address.port();
    for request in ["GET /ws?session=a", "GET /", "POST /api"] {
        let mut evil = Raw::connect(proxy.address).await;
        // to the browser both are one origin, which the attacker's DNS now points here
        let head = format!(
            "{request} HTTP/1.1\r\nHost: evil.example:{port}\r\nOrigin: http://evil.example:{port}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        evil.write(head.as_bytes()).await;
        assert_eq!(evil.answered().await.0, 421, "{request}");
    }
    log.says(&["host \"evil.example\"", "public_origin would name it"])
        .await;
    assert_eq!(proxy.refused(Rule::Host), 3);
    assert!(!agent.is_dialed());
    victim.works().await;
}
