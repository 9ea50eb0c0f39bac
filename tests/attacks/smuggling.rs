//! Request smuggling and its relatives: whatever could be read in two ways is refused, in both directions, and nobody gets
//! another's answer.

use crate::beside::Beside;
use crate::common::capture::Log;
use crate::common::raw::{Raw, RawAgent, frame, upgrade};
use crate::common::{Proxy, route, soon};
use sessmux::config::KeySource;
use sessmux::metrics::Rule;
use tokio::io::AsyncReadExt;

async fn start(agent: &RawAgent) -> Proxy {
    Proxy::start(route(agent.address, vec![KeySource::QueryParam("session".into())])).await
}

/// A request and, behind it, one that is to be smuggled.
fn with_hidden(head: &str) -> String {
    format!("{head}GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
}

/// An honest request, answered by the agent on a connection of its own or on one that is pooled.
async fn honest(proxy: &Proxy, agent: &RawAgent) {
    let mut client = Raw::connect(proxy.address).await;
    client.write(b"GET /honest HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await;
    let mut server = agent.accept().await;
    assert!(server.head.starts_with("GET /honest HTTP/1.1\r\n"), "{}", server.head);
    server
        .write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhonest")
        .await;
    assert_eq!(client.answered().await, (200, "honest".into()));
}

/// All that comes until the end of the connection.
async fn rest(raw: &mut Raw) -> String {
    let mut bytes = raw.buffered();
    // a reset is an end too
    let _ = soon("the end", raw.stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn requests_that_can_be_read_in_two_ways() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = start(&agent).await;
    let beside = Beside::start(&proxy, &agent).await;
    let post = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n";
    let cases = [
        ("CL.TE", format!("{post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("TE.CL", format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n")),
        ("CL.0 beside TE", format!("{post}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("CL.CL, different", format!("{post}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab")),
        ("CL.CL, the same", format!("{post}Content-Length: 2\r\nContent-Length: 2\r\n\r\nab")),
        ("CL list", format!("{post}Content-Length: 2, 2\r\n\r\nab")),
        ("CL with a sign", format!("{post}Content-Length: +2\r\n\r\nab")),
        ("CL in hexadecimal", format!("{post}Content-Length: 0x2\r\n\r\nab")),
        ("CL too large", format!("{post}Content-Length: 18446744073709551618\r\n\r\nab")),
        ("TE.TE", format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n")),
        ("TE twice", format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("TE not last", format!("{post}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n")),
        ("TE misspelt", format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")),
        ("TE behind a vertical tab", format!("{post}Transfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n")),
        ("TE with a space before the colon", format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n")),
        ("TE in HTTP/1.0", format!("{}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", post.replace("1.1", "1.0"))),
        ("a folded line", format!("{post}X: a\r\n Content-Length: 2\r\n\r\nab")),
        ("a folded TE", format!("{post}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n")),
        ("a bare LF", format!("{post}X: a\nContent-Length: 2\r\n\r\nab")),
        ("bare LFs alone", "GET / HTTP/1.1\nHost: 127.0.0.1\n\n".into()),
        ("an end of bare LFs", format!("{post}X: a\n\n")),
        ("a bare CR", format!("{post}X: a\rContent-Length: 2\r\n\r\nab")),
        ("a zero byte", format!("{post}X: a\0b\r\n\r\n")),
        ("a tab in the target", "GET /\ta HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".into()),
        ("two spaces", "GET  / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".into()),
        ("HTTP/0.9", "GET /\r\n\r\n".into()),
        ("two Hosts", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n".into()),
        ("no Host", "GET / HTTP/1.1\r\n\r\n".into()),
        ("HTTP/2 at once", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        ("h2c", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n".into()),
        ("an upgrade with a body", upgrade(proxy.address, "/ws?session=a", "Content-Length: 4\r\n")),
        ("an upgrade with chunks", upgrade(proxy.address, "/ws?session=a", "Transfer-Encoding: chunked\r\n")),
        ("Connection names who asks", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-User: ann\r\nConnection: x-user\r\n\r\n".into()),
        ("Connection names the login", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: a\r\nConnection: authorization\r\n\r\n".into()),
    ];
    for (index, (name, head)) in cases.iter().enumerate() {
        let mut client = Raw::connect(proxy.address).await;
        client.write(with_hidden(head).as_bytes()).await;
        let answer = rest(&mut client).await;
        // who speaks HTTP/2 would not understand one
        let answered = usize::from(*name != "HTTP/2 at once");
        assert_eq!(answer.matches("HTTP/1.1 400 ").count(), answered, "{name}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), answered, "{name}: {answer}");
        assert!(!agent.is_dialed(), "{name}: the agent server was asked");
        assert_eq!(proxy.refused(Rule::Request), index as u64 + 1, "{name}");
    }
    // each has a line, but for the second of the two about Host: the same within a second are counted in the next
    log.says_times(cases.len() - 1, &["client="]).await;
    honest(&proxy, &agent).await;
    beside.undisturbed().await;
}

#[tokio::test]
async fn chunks_that_are_none() {
    let agent = RawAgent::start().await;
    let proxy = start(&agent).await;
    for (name, chunks) in [
        ("no number", "zz\r\nab\r\n0\r\n\r\n"),
        ("a sign", "+2\r\nab\r\n0\r\n\r\n"),
        ("0x", "0x2\r\nab\r\n0\r\n\r\n"),
        ("too large", "10000000000000002\r\nab\r\n0\r\n\r\n"),
        ("no end of a chunk", "2\r\nabGET /smuggled HTTP/1.1\r\n\r\n"),
        ("a bare LF", "2\nab\n0\n\n"),
    ] {
        let mut client = Raw::connect(proxy.address).await;
        let head = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.write(with_hidden(&format!("{head}{chunks}")).as_bytes()).await;
        // what reaches the agent is cut short, wherever: a request that has no end is none
        let mut server = agent.accept_silently().await;
        let got = rest(&mut server).await;
        assert!(!got.contains("0\r\n\r\n"), "{name}: {got}");
        assert!(!got.contains("GET /smuggled HTTP/1.1\r\n\r\n"), "{name}: {got}");
        drop(server);
        let answer = rest(&mut client).await;
        assert!(
            answer.matches("HTTP/1.1 ").count() <= 1 && !answer.contains("200"),
            "{name}: {answer}"
        );
        assert!(!agent.is_dialed(), "{name}: the agent server was asked again");
    }
    honest(&proxy, &agent).await;
}

#[tokio::test]
async fn a_request_in_chunks_is_its_connections_last() {
    let agent = RawAgent::start().await;
    let proxy = start(&agent).await;
    let mut client = Raw::connect(proxy.address).await;
    let head = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    client.write(with_hidden(head).as_bytes()).await;
    let mut server = agent.accept().await;
    assert_eq!(server.field("transfer-encoding"), Some("chunked"));
    server.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.answered().await, (200, "ok".into()));
    assert_eq!(client.field("connection"), Some("close"));
    assert_eq!(rest(&mut client).await, "");
    assert!(!agent.is_dialed());
}

#[tokio::test]
async fn answers_that_can_be_read_in_two_ways() {
    let agent = RawAgent::start().await;
    let proxy = start(&agent).await;
    let beside = Beside::start(&proxy, &agent).await;
    // what a second answer in the first one's bytes would look like
    let hidden = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    let ok = "HTTP/1.1 200 OK\r\n";
    for (name, answer, status) in [
        (
            "CL.TE",
            format!("{ok}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            None,
        ),
        (
            "TE.CL",
            format!("{ok}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
            None,
        ),
        (
            "CL.CL",
            format!("{ok}Content-Length: 2\r\nContent-Length: 5\r\n\r\nabcde"),
            Some(502),
        ),
        ("CL list", format!("{ok}Content-Length: 2, 5\r\n\r\nabcde"), Some(502)),
        ("CL with a sign", format!("{ok}Content-Length: +2\r\n\r\nab"), Some(502)),
        ("a zero byte", format!("{ok}X: a\0b\r\n\r\n"), Some(502)),
        ("two answers", format!("{ok}Content-Length: 2\r\n\r\nab"), Some(200)),
        ("a body with 204", "HTTP/1.1 204 No Content\r\n\r\n".into(), Some(204)),
        (
            "a body with 304",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n".into(),
            Some(304),
        ),
        (
            "a 101 unasked",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".into(),
            Some(502),
        ),
        (
            "a status of four digits",
            "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n".into(),
            Some(502),
        ),
        ("no HTTP", "hello\r\n\r\n".into(), Some(502)),
    ] {
        let mut client = Raw::connect(proxy.address).await;
        client.write(b"GET /first HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await;
        let mut server = agent.accept().await;
        server.write(format!("{answer}{hidden}").as_bytes()).await;
        let got = client.read_head().await;
        if let Some(status) = status {
            assert_eq!(got, Some(status), "{name}: {}", client.head);
        }
        let lengths = client.fields("content-length").len() + client.fields("transfer-encoding").len();
        assert!(lengths <= 1, "{name}: {}", client.head);
        assert!(
            lengths == 1 || matches!(got, Some(204 | 304)),
            "{name}: {}",
            client.head
        );
        // the next request, on whichever connections, has its own answer
        honest(&proxy, &agent).await;
        drop((client, server));
    }
    beside.undisturbed().await;
}

#[tokio::test]
async fn a_handshake_that_is_answered_ambiguously() {
    let agent = RawAgent::start().await;
    let proxy = start(&agent).await;
    for (name, answer) in [
        (
            "no Accept",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        ),
        (
            "a wrong Accept",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
        ),
        (
            "another protocol",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        ),
        (
            "a page",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        ),
        ("no HTTP", "hello\r\n\r\n"),
    ] {
        let mut page = Raw::ask(proxy.address, "/ws?session=a", "").await;
        let mut server = agent.accept().await;
        // frames behind what is no 101 are nobody's
        server
            .write(&[answer.as_bytes(), &frame(0x81, b"smuggled", false)].concat())
            .await;
        assert_eq!(page.answered().await.0, 502, "{name}");
        drop(page);
    }
    let mut pair = agent.session(&proxy, "/ws?session=a").await;
    pair.works().await;
}

#[tokio::test]
async fn nothing_is_forwarded_before_both_have_switched() {
    let agent = RawAgent::start().await;
    let proxy = start(&agent).await;
    // a client that does not wait, and what it says would be a request to whoever takes it for one
    let early = [
        upgrade(proxy.address, "/ws?session=a", "").as_bytes(),
        &frame(0x81, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", true),
    ]
    .concat();
    let mut page = Raw::connect(proxy.address).await;
    page.write(&early).await;
    let mut server = agent.accept().await;
    proxy.settled().await;
    assert_eq!(server.buffered(), b"", "the agent server has the head and nothing else");
    // and a server that refuses hears nothing of it
    server
        .write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(page.answered().await.0, 403);
    assert_eq!(rest(&mut server).await, "");
    drop(page);
    // one that accepts gets the frame, once both have switched
    let mut page = Raw::connect(proxy.address).await;
    page.write(&early).await;
    let mut server = agent.accept().await;
    server.switch("").await;
    page.switched().await;
    assert_eq!(server.text().await, "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[tokio::test]
async fn no_request_chooses_where_it_goes() {
    let agent = RawAgent::start().await;
    let other = RawAgent::start().await;
    let proxy = start(&agent).await;
    let evil = other.address;
    for target in [
        format!("http://{evil}/a"),
        format!("//{evil}/a"),
        format!("/@{evil}/a"),
        format!("/\\{evil}/a"),
        format!("/a%0d%0aHost:%20{evil}"),
        format!("/..//{evil}/a"),
        format!("/a?http://{evil}"),
        format!("http://127.0.0.1@{evil}/a"),
    ] {
        let mut client = Raw::connect(proxy.address).await;
        client
            .write(format!("GET {target} HTTP/1.1\r\nHost: {evil}\r\nConnection: close\r\n\r\n").as_bytes())
            .await;
        tokio::select! {
            status = client.read_head() => assert_eq!(status, Some(400), "{target}"),
            mut server = agent.accept() => {
                assert_eq!(server.fields("host").len(), 1, "{target}: {}", server.head);
                server.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
                assert_eq!(client.read_head().await, Some(200), "{target}");
            }
        }
        assert!(!other.is_dialed(), "{target}");
    }
}

#[tokio::test]
async fn fields_that_only_proxies_set_are_nobodys_to_claim() {
    let agent = RawAgent::start().await;
    let proxy = start(&agent).await;
    let mut client = Raw::connect(proxy.address).await;
    let claims = [
        "X-Forwarded-For: 1.1.1.1",
        "x-forwarded-proto: https",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Anything: 1",
        "Forwarded: for=1.1.1.1",
        "X-Real-IP: 1.1.1.1",
        "X_Forwarded_For: 1.1.1.1",
        "X-Forwarded_For: 1.1.1.1",
        "X_Real_IP: 1.1.1.1",
        "X_User: admin",
    ];
    let lines = claims.join("\r\n");
    client
        .write(format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nApi_Key: mine\r\n{lines}\r\n\r\n").as_bytes())
        .await;
    let server = agent.accept().await;
    let head = server.head.to_lowercase();
    for (field, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "127.0.0.1"),
        ("api_key", "mine"),
    ] {
        assert_eq!(server.fields(field), [value], "{head}");
    }
    for gone in ["1.1.1.1", "evil", "admin", "anything", "forwarded:"] {
        assert!(!head.contains(gone), "{gone}: {head}");
    }
}
