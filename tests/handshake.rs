//! What passes through the two handshakes, and what does not.

mod common;

use std::time::Duration;

use common::capture::Log;
use common::raw::{Pair, Raw, RawAgent, frame};
use common::{Agent, Proxy, route};
use sessmux::config::KeySource;
use tokio::io::AsyncReadExt;

#[tokio::test]
async fn the_clients_head_goes_upstream_but_for_what_is_the_hops() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(route(agent.address, vec![KeySource::Path])).await;
    let port = proxy.address.port();
    let ours = format!("sessmux-{port}=0123456789abcdef0123456789abcdef");
    let lines = format!(
        "Origin: http://127.0.0.1:{port}\r\nAuthorization: Bearer secret\r\n\
         Cookie: theirs=1; {ours}; also=2\r\nSec-WebSocket-Protocol: one, two\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
         X-Forwarded-For: 192.0.2.1\r\nX-CamelCase: Kept\r\nKeep-Alive: timeout=5\r\n\
         Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nTracestate: a=b\r\n"
    );
    let mut page = Raw::ask(proxy.address, "/a%20b/ws?x=%2F&y=1+2", &lines).await;
    let mut server = agent.accept().await;
    assert!(
        server.head.starts_with("GET /a%20b/ws?x=%2F&y=1+2 HTTP/1.1\r\n"),
        "{}",
        server.head
    );
    for (name, value) in [
        ("host", proxy.address.to_string()),
        ("origin", format!("http://127.0.0.1:{port}")),
        ("authorization", "Bearer secret".into()),
        ("cookie", "theirs=1; also=2".into()),
        ("sec-websocket-protocol", "one, two".into()),
        ("sec-websocket-version", "13".into()),
        ("connection", "Upgrade".into()),
        ("upgrade", "websocket".into()),
        // so that the agent's spans join those of whatever is before sessmux (W3C Trace Context)
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        ),
        ("tracestate", "a=b".into()),
        ("x-forwarded-for", "127.0.0.1".into()),
        ("x-forwarded-proto", "http".into()),
        ("x-forwarded-host", proxy.address.to_string()),
    ] {
        assert_eq!(server.fields(name), [value.as_str()], "{name}");
    }
    for name in [
        "sec-websocket-extensions",
        "keep-alive",
        "content-length",
        "transfer-encoding",
    ] {
        assert_eq!(server.field(name), None, "{name}");
    }
    assert!(server.head.contains("X-CamelCase: Kept\r\n"), "spelling stays");

    server
        .switch(
            "Sec-WebSocket-Protocol: two\r\nSet-Cookie: login=1; Path=/\r\nSet-Cookie: sessmux-1=theirs\r\n\
             X-Agent: kept\r\n",
        )
        .await;
    page.switched().await;
    assert_eq!(page.fields("sec-websocket-protocol"), ["two"]);
    assert_eq!(page.fields("sec-websocket-accept"), ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
    assert_eq!(page.fields("connection").len(), 1);
    assert_eq!(page.fields("upgrade").len(), 1);
    assert_eq!(
        page.fields("set-cookie"),
        ["login=1; Path=/"],
        "it has our cookie already"
    );
    assert_eq!(page.field("x-agent"), Some("kept"));
    assert_eq!(page.field("sec-websocket-extensions"), None);
    Pair { page, server }.works().await;
}

#[tokio::test]
async fn a_browser_without_our_cookie_gets_it_with_the_101_beside_the_agents() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(route(agent.address, vec![KeySource::Browser])).await;
    let origin = format!("Origin: http://{}\r\n", proxy.address);
    let mut page = Raw::ask(proxy.address, "/ws", &origin).await;
    let mut server = agent.accept().await;
    assert_eq!(server.field("cookie"), None);
    server.switch("Set-Cookie: login=1\r\n").await;
    page.switched().await;
    let cookies = page.fields("set-cookie");
    let name = format!("sessmux-{}=", proxy.address.port());
    let ours = cookies.iter().find(|it| it.starts_with(&name)).expect("our cookie");
    assert!(ours.contains("HttpOnly") && ours.contains("SameSite=Lax"), "{ours}");
    assert!(cookies.contains(&"login=1"), "{cookies:?}");
    let cookie = ours.split(';').next().unwrap().to_owned();

    // with it the browser finds its session again, and is given neither cookie a second time
    let page = Raw::upgraded(proxy.address, "/ws", &format!("{origin}Cookie: {cookie}\r\n")).await;
    assert!(page.fields("set-cookie").is_empty());
    Pair { page, server }.works().await;
    // without it, it is a browser of its own
    let _page = Raw::ask(proxy.address, "/ws", &origin).await;
    agent.accept().await;
}

#[tokio::test]
async fn a_reattach_speaks_the_sessions_subprotocol() {
    let mut agent = Agent::choosing(Some("two")).await;
    let proxy = Proxy::start(route(agent.address, vec![KeySource::Path])).await;
    let offer = [("sec-websocket-protocol", "one, two")];
    let page = proxy.page_with("/ws", &offer).await.unwrap();
    let _server = agent.connection().await;
    page.leave().await;
    let page = proxy.page_with("/ws", &offer).await.unwrap();
    assert_eq!(page.answer.headers()["sec-websocket-protocol"], "two");
    assert_eq!(agent.count(), 1);
}

#[tokio::test]
async fn messages_that_come_with_the_agents_101_are_not_lost() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(route(agent.address, vec![KeySource::Path])).await;
    let mut page = Raw::ask(proxy.address, "/ws", "").await;
    let mut server = agent.accept().await;
    let early = [
        frame(0x81, b"one", false),
        frame(0x89, b"ping", false),
        frame(0x81, b"two", false),
    ]
    .concat();
    // what is cut amid a frame goes on behind it
    let (with, after) = early.split_at(early.len() - 2);
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    server.write(&[head.as_bytes(), with].concat()).await;
    page.switched().await;
    assert_eq!(page.text().await, "one");
    server.write(after).await;
    assert_eq!(page.text().await, "two");
    Pair { page, server }.works().await;
}

#[tokio::test]
async fn the_101_and_the_replay_leave_in_one_write() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(route(agent.address, vec![KeySource::Path])).await;
    let Pair { mut page, mut server } = agent.session(&proxy, "/ws").await;
    for text in ["one", "two", "three"] {
        server.send(text).await;
        assert_eq!(page.text().await, text);
    }
    page.cut();

    let mut page = Raw::ask(proxy.address, "/ws", "").await;
    let mut bytes = vec![0; 64 * 1024];
    let read = common::soon("the first bytes", page.stream.read(&mut bytes))
        .await
        .unwrap();
    page.buffer.extend_from_slice(&bytes[..read]);
    page.switched().await;
    let replay = [b"one".as_slice(), b"two", b"three"]
        .map(|text| frame(0x81, text, false))
        .concat();
    assert!(
        page.buffer.starts_with(&replay),
        "one read had the head and {:?}",
        page.buffer
    );
}

#[tokio::test]
async fn a_route_with_its_key_in_the_first_message_names_its_subprotocol() {
    let agent = RawAgent::start().await;
    let mut it = route(agent.address, vec![KeySource::First("/session_id".into())]);
    it.subprotocol = Some("two".into());
    let proxy = Proxy::start(it).await;
    let mut page = Raw::upgraded(proxy.address, "/ws", "Sec-WebSocket-Protocol: one, two\r\n").await;
    assert_eq!(page.field("sec-websocket-protocol"), Some("two"));
    assert!(!agent.is_dialed(), "the key is not known");
    page.send(r#"{"session_id":7}"#).await;
    let mut server = agent.accept().await;
    server.switch("Sec-WebSocket-Protocol: two\r\n").await;
    assert_eq!(server.text().await, r#"{"session_id":7}"#);
    Pair { page, server }.works().await;
}

#[tokio::test]
async fn a_dial_that_fails_after_the_101_is_a_1014() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(route(agent.address, vec![KeySource::First("/id".into())])).await;
    let mut page = Raw::upgraded(proxy.address, "/ws", "").await;
    page.send(r#"{"id":"a"}"#).await;
    let mut server = agent.accept().await;
    server
        .write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(page.closed().await, (1014, "the agent server refused".into()));

    let mut page = Raw::upgraded(proxy.address, "/ws", "").await;
    page.send(r#"{"id":"a"}"#).await;
    drop(agent.accept().await);
    assert_eq!(page.closed().await, (1014, "the agent server cannot be reached".into()));
}

#[tokio::test]
async fn an_agent_that_closes_at_once_is_heard_whatever_the_key() {
    for key in [KeySource::Path, KeySource::First("/id".into())] {
        let agent = RawAgent::start().await;
        let first_message = matches!(key, KeySource::First(_));
        let proxy = Proxy::start(route(agent.address, vec![key])).await;
        let mut page = Raw::ask(proxy.address, "/ws", "").await;
        if first_message {
            page.switched().await;
            page.send(r#"{"id":"a"}"#).await;
        }
        let mut server = agent.accept().await;
        server.switch("").await;
        server.close(4401, "log in").await;
        if !first_message {
            page.switched().await;
        }
        assert_eq!(page.closed().await, (4401, "log in".into()));
        assert!(!agent.is_dialed(), "it is not dialled again by itself");
    }
}

#[tokio::test]
async fn a_session_without_grace_lasts_as_long_as_its_page() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let mut it = route(agent.address, vec![KeySource::Path]);
    it.grace = Duration::ZERO;
    let proxy = Proxy::start(it).await;
    let Pair { mut page, mut server } = agent.session(&proxy, "/ws").await;
    page.send("there?").await;
    assert_eq!(server.text().await, "there?");
    page.close(1001, "").await;
    assert_eq!(server.closed().await.0, 1001);
    log.says(&["end", "within the grace"]).await;
    assert!(!agent.is_dialed());
}

#[tokio::test]
async fn a_websocket_that_no_route_claims_is_one_to_one() {
    let agent = RawAgent::start().await;
    let mut config = common::config(route(agent.address, Vec::new()));
    config.routes.clear();
    let proxy = Proxy::with(config).await;
    let mut one = agent.session(&proxy, "/ws").await;
    let mut other = agent.session(&proxy, "/ws").await;
    one.works().await;
    other.works().await;
    one.page.close(1001, "").await;
    assert_eq!(one.server.closed().await.0, 1001);
    other.works().await;
}

#[tokio::test]
async fn a_page_that_does_not_offer_the_sessions_subprotocol_disturbs_nobody() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(route(agent.address, vec![KeySource::Path])).await;
    let mut page = Raw::ask(proxy.address, "/ws", "Sec-WebSocket-Protocol: chat\r\n").await;
    let mut server = agent.accept().await;
    server.switch("Sec-WebSocket-Protocol: chat\r\n").await;
    page.switched().await;
    for lines in ["", "Sec-WebSocket-Protocol: other\r\n"] {
        let mut other = Raw::ask(proxy.address, "/ws", lines).await;
        assert_eq!(other.answered().await.0, 400);
    }
    assert_eq!(log.count(&["refused", "subprotocol"]), 2);
    Pair { page, server }.works().await;
    assert!(!agent.is_dialed());
}

#[tokio::test]
async fn a_first_message_route_answers_with_what_was_offered_or_not_at_all() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let mut it = route(agent.address, vec![KeySource::First("/id".into())]);
    it.subprotocol = Some("chat".into());
    let proxy = Proxy::start(it).await;
    let page = Raw::upgraded(proxy.address, "/ws", "").await;
    assert_eq!(page.field("sec-websocket-protocol"), None, "nothing was offered");
    let mut other = Raw::ask(proxy.address, "/ws", "Sec-WebSocket-Protocol: other\r\n").await;
    assert_eq!(other.answered().await.0, 400);
    log.says(&["refused", "subprotocol=\"chat\""]).await;

    // a server that then speaks another one has no page
    let mut page = Raw::upgraded(proxy.address, "/ws", "Sec-WebSocket-Protocol: chat, talk\r\n").await;
    page.send(r#"{"id":"a"}"#).await;
    agent.accept().await.switch("Sec-WebSocket-Protocol: talk\r\n").await;
    assert_eq!(page.closed().await.0, 1014);
    log.says(&["no session", "another subprotocol"]).await;
}

#[tokio::test]
async fn a_refusal_loses_a_cookie_of_our_name() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(route(agent.address, vec![KeySource::Path])).await;
    let mut page = Raw::ask(proxy.address, "/ws", "").await;
    let port = proxy.address.port();
    let answer = format!(
        "HTTP/1.1 401 Unauthorized\r\nSet-Cookie: login=1\r\n\
         Set-Cookie: sessmux-{port}=0123456789abcdef0123456789abcdef\r\nContent-Length: 0\r\n\r\n"
    );
    agent.accept().await.write(answer.as_bytes()).await;
    assert_eq!(page.answered().await.0, 401);
    assert_eq!(page.fields("set-cookie"), ["login=1"]);
}

#[tokio::test]
async fn a_tunnel_is_not_dug() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(route(agent.address, vec![KeySource::Path])).await;
    let mut client = Raw::connect(proxy.address).await;
    let request = format!("CONNECT localhost:80 HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address);
    client.write(request.as_bytes()).await;
    assert_eq!(client.answered().await.0, 501);
    assert!(!agent.is_dialed());
}

#[tokio::test]
async fn the_log_names_the_parameter_in_which_a_new_session_differs_from_one_left_behind() {
    let log = Log::capture();
    let mut agent = Agent::start().await;
    let proxy = Proxy::start(route(agent.address, vec![KeySource::Path, KeySource::Query])).await;
    let origin = format!("http://{}", proxy.address);
    let cookie = format!("sessmux-{}=0123456789abcdef0123456789abcdef", proxy.address.port());
    let browser = [("origin", origin.as_str()), ("cookie", cookie.as_str())];
    let page = proxy.page_with("/ws?id=7&token=first", &browser).await.unwrap();
    let _first = agent.connection().await;
    log.says(&["attach", "epoch=1"]).await;
    // beside one that is attached, a second one is nobody's rotating token
    let other = proxy.page_with("/ws?id=7&token=second", &browser).await.unwrap();
    let _second = agent.connection().await;
    assert_eq!(log.count(&["new session", "like="]), 0);
    page.leave().await;
    other.leave().await;
    let _page = proxy.page_with("/ws?id=7&token=third", &browser).await.unwrap();
    log.says(&["new session", "like=", "parameter=\"token\""]).await;
}
