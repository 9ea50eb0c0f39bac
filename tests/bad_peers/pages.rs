//! Pages that break the protocol once they have their socket.

use std::time::Duration;

use sessmux::metrics::Rule;

use crate::common::capture::Log;
use crate::common::raw::{Got, Pair, Raw, RawAgent, frame, upgrade};
use crate::{LIMIT, keyed};

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
async fn a_message_that_stays_incomplete_costs_its_page_the_connection() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = keyed(&agent).await;
    let Pair { mut page, server } = agent.session(&proxy, "/ws?session=a").await;
    page.frame(0x01, b"half of ").await;
    page.heard().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(30)).await;
    tokio::time::resume();
    assert_eq!(page.closed().await, (1013, "message incomplete after 30 s".into()));
    assert_eq!(log.count(&["WARN", "a message of the page was incomplete for 30 s"]), 1);
    assert_eq!(proxy.refused(Rule::IncompleteMessage), 1);
    let page = Raw::upgraded(proxy.address, "/ws?session=a", "").await;
    Pair { page, server }.works().await;
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
