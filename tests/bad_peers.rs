//! Peers that break the protocol, lie, hang or leave: each has its status or close code and its log line, and the
//! session beside it goes on.

mod common;

use common::capture::Log;
use common::raw::{Got, KEY, Pair, Raw, RawAgent, frame, upgrade};
use common::{Proxy, route};
use sessmux::config::KeySource;
use tokio::io::AsyncReadExt;

async fn keyed(agent: &RawAgent) -> Proxy {
    Proxy::start(route(agent.address, vec![KeySource::QueryParam("session".into())])).await
}

const LIMIT: usize = 1 << 20;

/// What a page may not send, and the code that it is closed with.
fn page_offences() -> Vec<(&'static str, Vec<u8>, u16, &'static str)> {
    let masked = |first, payload: &[u8]| frame(first, payload, true);
    vec![
        ("unmasked", frame(0x81, b"hi", false), 1002, "unmasked client frame"),
        ("rsv1", masked(0xc1, b"hi"), 1002, "reserved bits"),
        ("rsv2", masked(0xa1, b"hi"), 1002, "reserved bits"),
        ("rsv3", masked(0x91, b"hi"), 1002, "reserved bits"),
        ("reserved data opcode", masked(0x83, b"hi"), 1002, "reserved opcode"),
        ("reserved control opcode", masked(0x8b, b"hi"), 1002, "reserved opcode"),
        (
            "fragment without a start",
            masked(0x80, b"hi"),
            1002,
            "fragments out of order",
        ),
        (
            "start within a message",
            [masked(0x01, b"a"), masked(0x81, b"b")].concat(),
            1002,
            "fragments out of order",
        ),
        ("long control frame", masked(0x89, &[0; 126]), 1002, "bad control frame"),
        (
            "fragmented control frame",
            masked(0x09, b"hi"),
            1002,
            "bad control frame",
        ),
        ("one byte of close code", masked(0x88, &[3]), 1002, "bad close frame"),
        (
            "close code 1005",
            masked(0x88, &1005u16.to_be_bytes()),
            1002,
            "bad close frame",
        ),
        (
            "close code 999",
            masked(0x88, &999u16.to_be_bytes()),
            1002,
            "bad close frame",
        ),
        (
            "close reason not UTF-8",
            masked(0x88, &[3, 0xe8, 0xff]),
            1002,
            "bad close frame",
        ),
        (
            "length not minimal",
            vec![0x81, 0xfe, 0, 2, 0, 0, 0, 0, b'h', b'i'],
            1002,
            "bad payload length",
        ),
        (
            "length beyond 63 bits",
            vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0],
            1002,
            "bad payload length",
        ),
        ("text not UTF-8", masked(0x81, b"a\xffb"), 1007, "text is not UTF-8"),
        (
            "text cut within a character",
            masked(0x81, &"\u{e9}".as_bytes()[..1]),
            1007,
            "text is not UTF-8",
        ),
        (
            "fragment not UTF-8",
            [masked(0x01, b"fine "), masked(0x80, b"\xc3\x28")].concat(),
            1007,
            "text is not UTF-8",
        ),
        // the header says it; no byte of payload is waited for
        (
            "too big",
            [&[0x82, 0xff][..], &(LIMIT as u64 + 1).to_be_bytes(), &[0; 4]].concat(),
            1009,
            "max_message",
        ),
        (
            "fragments too big",
            [masked(0x02, &[0; LIMIT / 2 + 1]), masked(0x80, &[0; LIMIT / 2])].concat(),
            1009,
            "max_message",
        ),
        (
            "a request",
            upgrade("127.0.0.1:1".parse().unwrap(), "/again", "").into_bytes(),
            1002,
            "reserved bits",
        ),
        ("zeros", vec![0; 64], 1002, "unmasked client frame"),
    ]
}

#[tokio::test]
async fn a_pages_offence_costs_it_its_connection_and_nobody_else_anything() {
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    for (number, (what, bytes, code, cause)) in page_offences().into_iter().enumerate() {
        let log = Log::capture();
        let target = format!("/ws?session={number}");
        let Pair { mut page, mut server } = agent.session(&proxy, &target).await;
        page.write(&bytes).await;
        assert_eq!(page.closed().await.0, code, "{what}");
        assert_eq!(page.next().await, Got::End, "{what}");
        assert_eq!(log.count(&["WARN", "page broke the protocol", cause]), 1, "{what}");

        // the session has seen nothing of it and stands
        let page = Raw::upgraded(proxy.address, &target, "").await;
        let mut pair = Pair { page, server };
        pair.works().await;
        server = pair.server;
        drop(server);
        beside.works().await;
    }
    assert!(!agent.is_dialed());
}

#[tokio::test]
async fn what_comes_with_the_request_is_read_as_frames() {
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    for (what, bytes) in [
        (
            "a second upgrade",
            upgrade(proxy.address, "/ws?session=b", "").into_bytes(),
        ),
        ("garbage", b"\x16\x03\x01 no WebSocket".to_vec()),
    ] {
        let target = format!("/ws?session={}", what.len());
        let mut page = Raw::connect(proxy.address).await;
        page.write(&[upgrade(proxy.address, &target, "").as_bytes(), &bytes].concat())
            .await;
        let mut server = agent.accept().await;
        assert!(server.buffer.is_empty(), "nothing goes upstream before the 101");
        server.switch("").await;
        page.switched().await;
        assert_eq!(page.closed().await.0, 1002, "{what}");
        let page = Raw::upgraded(proxy.address, &target, "").await;
        Pair { page, server }.works().await;
    }

    // and so is what is well-formed
    let mut page = Raw::connect(proxy.address).await;
    let early = [
        upgrade(proxy.address, "/ws?session=early", "").as_bytes(),
        &frame(0x81, b"early", true),
    ]
    .concat();
    page.write(&early).await;
    let mut server = agent.accept().await;
    server.switch("").await;
    page.switched().await;
    assert_eq!(server.text().await, "early");
}

/// What an agent server may not send, and the code that it is closed with.
fn upstream_offences() -> Vec<(&'static str, Vec<u8>, u16, &'static str)> {
    let clear = |first, payload: &[u8]| frame(first, payload, false);
    vec![
        ("masked", frame(0x81, b"hi", true), 1002, "masked server frame"),
        ("rsv1", clear(0xc1, b"hi"), 1002, "reserved bits"),
        ("reserved data opcode", clear(0x85, b"hi"), 1002, "reserved opcode"),
        ("reserved control opcode", clear(0x8f, b"hi"), 1002, "reserved opcode"),
        (
            "fragment without a start",
            clear(0x80, b"hi"),
            1002,
            "fragments out of order",
        ),
        ("long control frame", clear(0x89, &[0; 126]), 1002, "bad control frame"),
        (
            "fragmented control frame",
            clear(0x09, b"hi"),
            1002,
            "bad control frame",
        ),
        (
            "close code 1006",
            clear(0x88, &1006u16.to_be_bytes()),
            1002,
            "bad close frame",
        ),
        (
            "length not minimal",
            [&[0x81, 126, 0, 2][..], b"hi"].concat(),
            1002,
            "bad payload length",
        ),
        ("text not UTF-8", clear(0x81, b"a\xffb"), 1007, "text is not UTF-8"),
        (
            "text cut within a character",
            clear(0x81, &"\u{e9}".as_bytes()[..1]),
            1007,
            "text is not UTF-8",
        ),
        (
            "too big",
            [&[0x82, 127][..], &(LIMIT as u64 + 1).to_be_bytes()].concat(),
            1009,
            "max_message",
        ),
    ]
}

#[tokio::test]
async fn an_upstreams_offence_ends_its_session_and_no_other() {
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    for (number, (what, bytes, code, cause)) in upstream_offences().into_iter().enumerate() {
        let log = Log::capture();
        let target = format!("/ws?session={number}");
        let Pair { mut page, mut server } = agent.session(&proxy, &target).await;
        server.send("before").await;
        server.write(&bytes).await;
        assert_eq!(page.text().await, "before", "{what}");
        assert_eq!(page.closed().await.0, 1011, "{what}");
        assert_eq!(server.closed().await.0, code, "{what}");
        assert_eq!(server.next().await, Got::End, "{what}");
        page.close(1011, "").await;
        assert_eq!(page.next().await, Got::End, "{what}");
        assert_eq!(log.count(&["upstream ended", cause]), 1, "{what}");

        beside.works().await;
        // the page has echoed, so the session is forgotten
        agent.session(&proxy, &target).await.works().await;
    }
}

#[tokio::test]
async fn an_upstreams_offence_within_a_message_aborts_the_page() {
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    for (number, bytes) in [
        frame(0x81, b"start within", false),
        frame(0x80, b"\xff", false),
        Vec::new(),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("/ws?session={number}");
        let Pair { mut page, mut server } = agent.session(&proxy, &target).await;
        server.send("whole").await;
        server.frame(0x01, b"part").await;
        assert_eq!(page.text().await, "whole");
        assert_eq!(page.next_but_pings().await, Got::Frame(0x01, false, b"part".to_vec()));
        if bytes.is_empty() {
            server.cut();
        } else {
            server.write(&bytes).await;
        }
        assert!(
            matches!(page.next_but_pings().await, Got::Reset | Got::End),
            "no close frame"
        );

        // the next load gets what was whole, then the end
        let mut page = Raw::upgraded(proxy.address, &target, "").await;
        assert_eq!(page.text().await, "whole");
        let end = page.next_but_pings().await;
        if bytes.is_empty() {
            assert_eq!(end, Got::End);
        } else {
            assert!(
                matches!(&end, Got::Frame(0x88, _, payload) if payload[..2] == 1011u16.to_be_bytes()),
                "{end:?}"
            );
        }
        beside.works().await;
    }
}

/// Answers of an agent server that are no WebSocket handshake, and what the log says of them.
const BAD_ANSWERS: [(&str, &str); 9] = [
    ("", "broke the handshake"),
    ("HTTP/1.1 101 Switching Pro", "broke the handshake"),
    ("what do you want?\r\n\r\n", "broke the handshake"),
    ("SSH-2.0-OpenSSH_9.6\r\n", "broke the handshake"),
    (
        "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: bm90IHRoZSBrZXkncw==\r\n\r\n",
        "Sec-WebSocket-Accept does not belong",
    ),
    (
        "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "Sec-WebSocket-Accept does not belong",
    ),
    (
        "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        "no Upgrade: websocket",
    ),
    (
        "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        "extension that was not offered",
    ),
    (
        "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
        "subprotocol that was not offered",
    ),
];

#[tokio::test]
async fn an_upstream_that_breaks_the_handshake_is_a_502() {
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    for (answer, cause) in BAD_ANSWERS {
        let log = Log::capture();
        let mut page = Raw::ask(proxy.address, "/ws?session=a", "").await;
        let mut server = agent.accept().await;
        server.write(answer.as_bytes()).await;
        drop(server);
        let (status, body) = page.answered().await;
        assert_eq!(
            (status, body.as_str()),
            (502, "the agent server cannot be reached\n"),
            "{answer}"
        );
        assert_eq!(
            log.count(&["WARN", "dial failed", &agent.address.to_string(), cause]),
            1,
            "{answer}"
        );
        beside.works().await;
    }
    agent.session(&proxy, "/ws?session=a").await.works().await;
}

#[tokio::test]
async fn an_upstream_that_is_down_is_a_502() {
    let log = Log::capture();
    let nobody = RawAgent::start().await.address;
    let proxy = Proxy::start(route(nobody, vec![KeySource::Path])).await;
    let mut page = Raw::ask(proxy.address, "/ws", "").await;
    assert_eq!(page.answered().await.0, 502);
    assert_eq!(
        log.count(&["WARN", "dial failed", &nobody.to_string(), "cannot be reached"]),
        1
    );
}

#[tokio::test]
async fn an_upstream_that_hangs_is_a_504() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    let mut page = Raw::ask(proxy.address, "/ws?session=a", "").await;
    let mut server = agent.accept().await;
    assert_eq!(page.answered().await.0, 504);
    assert_eq!(
        log.count(&["WARN", "dial failed", "no answer to the upgrade within 10 s"]),
        1
    );
    assert_eq!(server.next().await, Got::End, "the dial is given up");
    beside.works().await;
}

#[tokio::test]
async fn a_refusal_passes_through_whole() {
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    for (status, field, body) in [
        (
            "401 Unauthorized",
            "WWW-Authenticate: Bearer realm=\"agents\"",
            "who are you?",
        ),
        ("403 Forbidden", "X-Reason: origin", "{\"detail\":\"no\"}"),
        ("404 Not Found", "X-Reason: path", ""),
        ("200 OK", "X-Reason: a page", "<p>not a socket</p>"),
        ("302 Found", "Location: /login", "moved"),
        ("503 Service Unavailable", "Retry-After: 7", "busy"),
    ] {
        let mut page = Raw::ask(proxy.address, "/ws?session=a", "").await;
        let mut server = agent.accept().await;
        let answer = format!(
            "HTTP/1.1 {status}\r\n{field}\r\nContent-Type: text/x-test\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        server.write(answer.as_bytes()).await;
        assert_eq!(page.answered().await, (status[..3].parse().unwrap(), body.to_owned()));
        let (name, value) = field.split_once(": ").unwrap();
        assert_eq!(page.field(name), Some(value));
        assert_eq!(page.field("content-type"), Some("text/x-test"));
        beside.works().await;
    }
    agent.session(&proxy, "/ws?session=a").await.works().await;
}

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
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nX-Long: {}\r\n\r\n",
        proxy.address,
        "x".repeat(32 * 1024)
    );
    for (request, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n"[..], 400),
        (b"what is this?\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nBad Field: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: nonsense\r\n\r\n",
            400,
        ),
        (long.as_bytes(), 431),
    ] {
        let mut page = Raw::connect(proxy.address).await;
        page.write(request).await;
        assert_eq!(
            page.read_head().await,
            Some(status),
            "{}",
            String::from_utf8_lossy(request)
        );
        beside.works().await;
    }
    assert!(!agent.is_dialed());
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
        common::soon("the end", raw.stream.read_to_end(&mut answer))
            .await
            .unwrap();
    }
    let line = ["connection ended", "read header from client timeout"];
    log.says_times(2, &line).await;
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
