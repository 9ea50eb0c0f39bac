use super::*;

fn read(bytes: &[u8]) -> Result<u64, Fault> {
    let mut framing = Framing::new(1 << 10);
    framing.read(bytes)?;
    Ok(framing.heads())
}

/// A head with these lines, each ended.
fn head(lines: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

#[test]
fn what_is_clear_passes() {
    for (bytes, heads) in [
        (head(""), 1),
        (head("Content-Length: 2\r\n"), 1),
        (head("content-length:2\r\n"), 1),
        (head("Transfer-Encoding: Chunked\r\n"), 1),
        (head("X: a\tb  \r\nY:\r\nZ: \u{e9}\r\n"), 1),
        (b"\r\nGET / HTTP/1.0\r\n\r\n".to_vec(), 1),
        ([head(""), head("")].concat(), 2),
        (
            [head("Content-Length: 3\r\n"), b"\n\n\n".to_vec(), head("")].concat(),
            2,
        ),
        // what follows chunks, or a question for another protocol, is not looked at
        (
            [head("Upgrade: websocket\r\n"), b"\x81\x84\0\0\0\0\r\n\r\n".to_vec()].concat(),
            1,
        ),
        (
            [head("Transfer-Encoding: chunked\r\n"), b"\0\0\0\0".to_vec()].concat(),
            1,
        ),
    ] {
        assert_eq!(read(&bytes), Ok(heads), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn what_can_be_read_in_two_ways_does_not() {
    for (lines, fault) in [
        ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "beside"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "beside"),
        ("Content-Length: 2\r\nContent-Length: 2\r\n", "Content-Length twice"),
        ("Content-Length: 2\r\nContent-Length: 3\r\n", "Content-Length twice"),
        ("Content-Length: 2, 2\r\n", "no number"),
        ("Content-Length: +2\r\n", "no number"),
        ("Content-Length: 0x2\r\n", "no number"),
        ("Content-Length: 2 3\r\n", "no number"),
        ("Content-Length:\r\n", "no number"),
        ("Content-Length: 99999999999999999999\r\n", "no number"),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding twice",
        ),
        ("Transfer-Encoding: gzip, chunked\r\n", "not chunked"),
        ("Transfer-Encoding: chunked, identity\r\n", "not chunked"),
        ("Transfer-Encoding: identity\r\n", "not chunked"),
        ("Transfer-Encoding: xchunked\r\n", "not chunked"),
        ("Transfer-Encoding: \"chunked\"\r\n", "not chunked"),
        ("Transfer-Encoding:\r\n", "not chunked"),
        ("Transfer-Encoding : chunked\r\n", "field name"),
        ("Transfer-Encoding\t: chunked\r\n", "field name"),
        (": a\r\n", "field name"),
        ("X\u{a0}: a\r\n", "field name"),
        ("X: a\r\n Content-Length: 2\r\n", "folded"),
        ("X: a\r\n\tb\r\n", "folded"),
        ("X: a\nContent-Length: 2\r\n", "without CR"),
        ("X: a\rContent-Length: 2\r\n", "a CR within"),
        ("X: a\0b\r\n", "control byte"),
        ("X: a\u{b}b\r\n", "control byte"),
        ("X: a\u{7f}\r\n", "control byte"),
        ("X\r\n", "without a colon"),
    ] {
        let fault_of = read(&head(lines)).expect_err(lines);
        assert!(fault_of.contains(fault), "{lines:?}: {fault_of}");
    }
}

#[test]
fn request_lines() {
    for (line, fault) in [
        ("GET / HTTP/1.1", None),
        ("OPTIONS * HTTP/1.1", None),
        ("GET http://a/ HTTP/1.1", None),
        ("GET  / HTTP/1.1", Some("request line")),
        ("GET /  HTTP/1.1", Some("request line")),
        ("GET / HTTP/1.1 x", Some("request line")),
        ("GET /a b HTTP/1.1", Some("request line")),
        ("GET /\ta HTTP/1.1", Some("request line")),
        (" GET / HTTP/1.1", Some("request line")),
        ("GET /a#b HTTP/1.1", Some("request line")),
        ("GET / http/1.1", Some("request line")),
        ("GET / HTTP/1.2", Some("request line")),
        ("GET / HTTP/01.1", Some("request line")),
        ("PRI * HTTP/2.0", Some("request line")),
        ("GET /", Some("request line")),
        ("G(T / HTTP/1.1", Some("request line")),
    ] {
        let read = read(format!("{line}\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!(read.is_err(), fault.is_some(), "{line}: {read:?}");
    }
    let old = read(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(old, Err("Transfer-Encoding in HTTP/1.0"));
}

#[test]
fn wherever_the_bytes_are_parted_the_same_is_found() {
    let two = [
        head("Content-Length: 5\r\n"),
        b"12345".to_vec(),
        head("X: y\r\n"),
        head("Content-Length: 1\r\nContent-Length: 1\r\n"),
    ]
    .concat();
    for first in 0..two.len() {
        for second in first..two.len() {
            let mut framing = Framing::new(1 << 10);
            let parts = [&two[..first], &two[first..second], &two[second..]];
            let found = parts.into_iter().find_map(|part| framing.read(part).err());
            assert_eq!(
                (found, framing.heads()),
                (Some("Content-Length twice"), 3),
                "{first} {second}"
            );
        }
    }
}

#[test]
fn a_head_without_end_is_not_kept_beyond_the_bound() {
    let mut framing = Framing::new(1 << 10);
    for _ in 0..100 {
        framing.read(&[b'a'; 100]).unwrap();
    }
    assert!(matches!(framing.state, State::Last));
}
