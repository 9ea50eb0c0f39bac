//! Agent servers that are down, refuse, hang, lie or break the protocol.

use sessmux::config::KeySource;
use sessmux::metrics::Rule;

use crate::common::capture::Log;
use crate::common::raw::{Got, Pair, Raw, RawAgent, frame};
use crate::common::{Proxy, route};
use crate::{LIMIT, keyed};

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
    offend(false).await;
}

#[tokio::test]
async fn a_message_of_an_agents_that_is_too_large_is_called_that() {
    let (agent, log) = (RawAgent::start().await, Log::capture());
    let proxy = keyed(&agent).await;
    let Pair { mut page, mut server } = agent.session(&proxy, "/ws?session=a").await;
    server
        .write(&[&[0x82, 127][..], &(LIMIT as u64 + 1).to_be_bytes()].concat())
        .await;
    let reason = "a message of the agent server is too large";
    assert_eq!(page.closed().await, (1011, reason.into()));
    log.says(&["WARN", reason, "max_message = 1048576"]).await;
    assert_eq!(proxy.refused(Rule::MaxMessage), 1);
}

#[tokio::test]
async fn so_does_an_offence_behind_much_that_was_said() {
    offend(true).await;
}

async fn offend(behind_much: bool) {
    let agent = RawAgent::start().await;
    let mut it = route(agent.address, vec![KeySource::QueryParam("session".into())]);
    it.log_bytes = 8 << 20;
    let proxy = Proxy::start(it).await;
    let mut beside = agent.session(&proxy, "/ws?session=beside").await;
    for (number, (what, bytes, code, cause)) in upstream_offences().into_iter().enumerate() {
        let log = Log::capture();
        let target = format!("/ws?session={number}");
        let mut pair = agent.session(&proxy, &target).await;
        if behind_much {
            pair.fill().await;
        }
        let Pair { mut page, mut server } = pair;
        // in one write, most often read in one
        server.write(&[frame(0x81, b"before", false), bytes].concat()).await;
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
    let log = Log::capture();
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
        let cause = format!("refused the upgrade with {status}");
        assert_eq!(log.count(&["no session", &cause]), 1);
        beside.works().await;
    }
    agent.session(&proxy, "/ws?session=a").await.works().await;
}
