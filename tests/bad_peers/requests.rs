//! Clients that are refused before they have a socket, or before they have a session.

use sessmux::config::KeySource;
use tokio::io::AsyncReadExt;

use crate::common::capture::Log;
use crate::common::raw::{Got, KEY, Pair, Raw, RawAgent, frame, upgrade};
use crate::common::{Proxy, route, soon};
use crate::{LIMIT, keyed};

#[tokio::test]
async fn requests_that_are_no_good_upgrade() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    let good = upgrade(proxy.address, "/ws?session=a", "");
    for (what, request, status, says) in [
        ("version", good.replace("Version: 13", "Version: 8"), 426, "version 13"),
        (
            "no version",
            good.replace("Sec-WebSocket-Version: 13\r\n", ""),
            426,
            "version 13",
        ),
        ("key", good.replace(KEY, "dGhlIHNhbXBsZQ=="), 400, "Sec-WebSocket-Key"),
        (
            "no key",
            good.replace("Sec-WebSocket-Key", "X-Key"),
            400,
            "Sec-WebSocket-Key",
        ),
        ("method", good.replace("GET", "POST"), 400, "is a GET"),
        (
            "a body",
            good.replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nhi"),
            400,
            "has no body",
        ),
        ("HTTP/1.0", good.replace("HTTP/1.1", "HTTP/1.0"), 400, "HTTP/1.1"),
        (
            "dots",
            good.replace("GET /ws", "GET /x/%2E./ws"),
            400,
            "segment of dots",
        ),
        (
            "no session key",
            good.replace("session=a", "other=a"),
            400,
            "query:session",
        ),
    ] {
        let mut page = Raw::connect(proxy.address).await;
        page.write(request.as_bytes()).await;
        let status_and_body = if what == "HTTP/1.0" {
            page.head = String::new();
            let mut all = Vec::new();
            page.stream.read_to_end(&mut all).await.unwrap();
            let text = String::from_utf8(all).unwrap();
            (text[9..12].parse().unwrap(), text)
        } else {
            page.answered().await
        };
        assert_eq!(status_and_body.0, status, "{what}");
        assert!(log.count(&[says]) >= 1, "{what}");
        if status == 426 {
            assert_eq!(page.field("sec-websocket-version"), Some("13"));
            assert_eq!(page.field("upgrade"), Some("websocket"));
        }
        if what == "no session key" {
            assert!(status_and_body.1.contains("query:session"), "{}", status_and_body.1);
        }
        beside.works().await;
    }
    assert!(!agent.is_dialed());
}

#[tokio::test]
async fn what_is_no_http_is_answered_400_and_closed() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nX-Long: {}\r\n\r\n",
        proxy.address,
        "x".repeat(32 * 1024)
    );
    for (request, status, cause) in [
        (
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n"[..],
            400,
            "cause=invalid HTTP method",
        ),
        (b"what is this?\r\n\r\n", 400, "cause=invalid HTTP version"),
        (
            b"GET / HTTP/1.1\r\nBad Field: x\r\n\r\n",
            400,
            "cause=invalid HTTP header",
        ),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "Host"),
        (
            b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: nonsense\r\n\r\n",
            400,
            "cause=invalid transfer-encoding",
        ),
        (long.as_bytes(), 431, "max_head=16384"),
    ] {
        let mut page = Raw::connect(proxy.address).await;
        page.write(request).await;
        assert_eq!(
            page.read_head().await,
            Some(status),
            "{}",
            String::from_utf8_lossy(request)
        );
        log.says(&[cause]).await;
        beside.works().await;
    }
    assert!(!agent.is_dialed());
}

/// hyper does not look for the end of a connection of which there are bytes that it has not used.
#[tokio::test(start_paused = true)]
async fn who_leaves_amid_an_answer_takes_its_request_along() {
    // while something blocks, the clock stands still but where it is advanced
    let (done, waits) = std::sync::mpsc::channel::<()>();
    let blocking = tokio::task::spawn_blocking(move || waits.recv_timeout(std::time::Duration::from_secs(60)));
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let mut page = Raw::connect(proxy.address).await;
    // an empty line more than there should be
    page.write(format!("GET /events HTTP/1.1\r\nHost: {}\r\n\r\n\r\n", proxy.address).as_bytes())
        .await;
    let mut server = agent.accept().await;
    server.write(b"HTTP/1.1 200 OK\r\n\r\nfirst").await;
    assert_eq!(page.read_head().await, Some(200));
    let ended = tokio::spawn(async move { server.stream.read_to_end(&mut Vec::new()).await });
    for _ in 0..20 {
        tokio::time::advance(std::time::Duration::from_secs(5)).await;
    }
    assert!(!ended.is_finished(), "it waits, and so does its answer");
    drop(page);
    let mut looks = 0;
    while !ended.is_finished() {
        looks += 1;
        assert!(looks < 1000, "it goes on");
        tokio::time::advance(std::time::Duration::from_secs(5)).await;
    }
    drop(done);
    let _ = blocking.await.unwrap();
}

#[tokio::test]
async fn who_is_answered_amid_an_upload_may_send_the_rest() {
    const LENGTH: usize = 16 << 20;
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let mut page = Raw::connect(proxy.address).await;
    let head = format!(
        "POST /files HTTP/1.1\r\nHost: {}\r\nContent-Length: {LENGTH}\r\n\r\n",
        proxy.address
    );
    page.write(head.as_bytes()).await;
    let mut server = agent.accept().await;
    server
        .write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .await;
    soon("the answer", page.stream.peek(&mut [0])).await.unwrap();
    drop(server);
    // it is read once all is sent
    page.write(&vec![b'x'; LENGTH]).await;
    assert_eq!(page.answered().await.0, 413);
}

#[tokio::test]
async fn who_sends_no_head_is_let_go() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    let mut silent = Raw::connect(proxy.address).await;
    let mut half = Raw::connect(proxy.address).await;
    half.write(b"GET /ws?session=a HTTP/1.1\r\nHost: 127.").await;
    for raw in [&mut silent, &mut half] {
        // with an answer or without one
        let mut answer = Vec::new();
        soon("the end", raw.stream.read_to_end(&mut answer)).await.unwrap();
    }
    log.says(&["closed", "no request came in time"]).await;
    log.says(&["closed", "not whole in time"]).await;
    beside.works().await;
    assert!(!agent.is_dialed());
}

#[tokio::test]
async fn a_first_message_without_the_key_is_a_1008() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(route(agent.address, vec![KeySource::First("/session_id".into())])).await;
    let mut late = Raw::upgraded(proxy.address, "/ws", "").await;

    let mut beside = Raw::upgraded(proxy.address, "/ws", "").await;
    beside.send(r#"{"session_id":"beside"}"#).await;
    let mut server = agent.accept().await;
    server.switch("").await;
    assert_eq!(server.text().await, r#"{"session_id":"beside"}"#);
    let mut beside = Pair { page: beside, server };

    for first in [
        "not JSON",
        "{}",
        r#"{"session_id":null}"#,
        r#"{"session_id":["a"]}"#,
        "",
    ] {
        let mut page = Raw::upgraded(proxy.address, "/ws", "").await;
        page.send(first).await;
        assert_eq!(page.closed().await.0, 1008, "{first}");
        assert_eq!(page.next().await, Got::End);
        beside.works().await;
    }
    assert_eq!(log.count(&["no key", "first:/session_id"]), 5);
    for (bytes, code) in [
        (frame(0x81, b"{}", false), 1002),
        (frame(0x81, b"\xff", true), 1007),
        (
            [&[0x82, 0xff][..], &(LIMIT as u64 + 1).to_be_bytes(), &[0; 4]].concat(),
            1009,
        ),
    ] {
        let mut page = Raw::upgraded(proxy.address, "/ws", "").await;
        page.write(&bytes).await;
        assert_eq!(page.closed().await.0, code);
        beside.works().await;
    }
    // one that said nothing for 5 s
    let (code, reason) = late.closed().await;
    assert_eq!(code, 1008);
    assert!(reason.contains("no first message in time"), "{reason}");
    beside.works().await;
    assert!(!agent.is_dialed());
}
