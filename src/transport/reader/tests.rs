use proptest::prelude::*;

use super::*;

/// What a stream of frames came to: data bytes as on the wire, message payloads with their kind, control frames.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    wire: Vec<u8>,
    starts: usize,
    messages: Vec<bool>,
    controls: Vec<(u8, Vec<u8>)>,
}

fn read(reader: &mut FrameReader, mut bytes: &[u8], seen: &mut Seen) -> Result<(), Fault> {
    loop {
        match reader.next(&mut bytes)? {
            Event::More => return Ok(()),
            Event::Control(opcode, payload) => seen.controls.push((opcode as u8, payload.to_vec())),
            Event::Data(piece) => {
                seen.wire.extend_from_slice(&piece.carried);
                seen.wire.extend_from_slice(piece.raw);
                seen.starts += usize::from(piece.starts_message);
                if piece.ends_message {
                    assert!(piece.ends_frame);
                    seen.messages.push(piece.text);
                }
            }
        }
    }
}

fn raw_frame(out: &mut Vec<u8>, first: u8, payload: &[u8], mask: Option<[u8; 4]>) {
    let start = out.len();
    frame::write(out, Opcode::Binary, payload, mask);
    out[start] = first;
}

/// Text and binary messages in fragments, with pings between them.
fn stream() -> impl Strategy<Value = (Vec<u8>, Seen, Option<[u8; 4]>)> {
    let message = (
        any::<bool>(),
        proptest::collection::vec("\\PC{0,90}", 1..4),
        any::<bool>(),
    );
    (proptest::collection::vec(message, 0..8), any::<Option<[u8; 4]>>()).prop_map(|(messages, mask)| {
        let (mut bytes, mut seen) = (Vec::new(), Seen::default());
        for (text, fragments, ping) in messages {
            let last = fragments.len() - 1;
            for (index, payload) in fragments.iter().enumerate() {
                let opcode = if index > 0 {
                    0
                } else if text {
                    1
                } else {
                    2
                };
                let start = bytes.len();
                raw_frame(
                    &mut bytes,
                    opcode | if index == last { 0x80 } else { 0 },
                    payload.as_bytes(),
                    mask,
                );
                seen.wire.extend_from_slice(&bytes[start..]);
                if ping {
                    raw_frame(&mut bytes, 0x89, b"are you there", mask);
                    seen.controls.push((9, b"are you there".to_vec()));
                }
            }
            seen.starts += 1;
            seen.messages.push(text);
        }
        (bytes, seen, mask)
    })
}

/// As [`read`], but what may be taken in runs of at most `room` bytes is.
fn read_in_runs(reader: &mut FrameReader, mut bytes: &[u8], room: usize, seen: &mut Seen) -> Result<usize, Fault> {
    let mut whole = 0;
    while !bytes.is_empty() {
        if let Some(run) = reader.run(&mut bytes, room) {
            assert!(run.messages > 0 && run.bytes.len() <= room);
            let mut other = Seen::default();
            read(&mut FrameReader::new(reader.from, reader.bounds), run.bytes, &mut other).unwrap();
            assert_eq!((&other.wire[..], other.starts as u64), (run.bytes, run.messages));
            let (_, last) = run.bytes.split_at(run.bytes.len() - run.last);
            let header = frame::parse(last, reader.from).unwrap().unwrap();
            assert_eq!(header.total(), run.last as u64);
            seen.wire.extend(other.wire);
            seen.starts += other.starts;
            seen.messages.extend(other.messages);
            whole += run.bytes.len();
        }
        // one event, as the relay does
        let event = match reader.piece(&mut bytes) {
            Some(piece) => {
                let piece = piece?;
                assert!(piece.carried.is_empty(), "all of it is in these bytes");
                Event::Data(piece)
            }
            None => reader.next(&mut bytes)?,
        };
        match event {
            Event::More => {}
            Event::Control(opcode, payload) => seen.controls.push((opcode as u8, payload.to_vec())),
            Event::Data(piece) => {
                seen.wire.extend_from_slice(&piece.carried);
                seen.wire.extend_from_slice(piece.raw);
                seen.starts += usize::from(piece.starts_message);
                if piece.ends_message {
                    seen.messages.push(piece.text);
                }
            }
        }
    }
    Ok(whole)
}

proptest! {
    #[test]
    fn runs_do_not_matter(
        (bytes, expected, mask) in stream(), cuts in proptest::collection::vec(1..900usize, 1..60), room in 0..1000usize
    ) {
        let from = if mask.is_some() { Sender::Client } else { Sender::Server };
        let mut reader = FrameReader::new(from, up_to(1 << 20));
        let (mut seen, mut rest, mut cuts) = (Seen::default(), &bytes[..], cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            let whole = read_in_runs(&mut reader, now, room, &mut seen).unwrap();
            prop_assert!(mask.is_none() || whole == 0, "masked text is not looked at in runs");
            rest = later;
        }
        prop_assert!(!reader.amid_message());
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn pieces_do_not_matter((bytes, expected, mask) in stream(), cuts in proptest::collection::vec(1..40usize, 1..60)) {
        let from = if mask.is_some() { Sender::Client } else { Sender::Server };
        let mut reader = FrameReader::new(from, up_to(1 << 20));
        let (mut seen, mut rest, mut cuts) = (Seen::default(), &bytes[..], cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            read(&mut reader, now, &mut seen).unwrap();
            rest = later;
        }
        prop_assert!(!reader.amid_message());
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn anything_may_come(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 1..20usize) {
        let mut reader = FrameReader::new(Sender::Server, up_to(1000));
        for piece in bytes.chunks(cut) {
            if read(&mut reader, piece, &mut Seen::default()).is_err() {
                break;
            }
        }
    }

    /// A character may be split anywhere, also between fragments; a broken one is found wherever it is split.
    #[test]
    fn text_is_checked_across_fragments(text in "\\PC{1,20}", cut in 0..60usize, broken: bool) {
        let mut payload = text.into_bytes();
        if broken {
            payload.push(0xc3);
        }
        let (first, second) = payload.split_at(cut.min(payload.len()));
        let mut bytes = Vec::new();
        raw_frame(&mut bytes, 0x01, first, None);
        raw_frame(&mut bytes, 0x80, second, None);
        let result = read(&mut FrameReader::new(Sender::Server, up_to(1000)), &bytes, &mut Seen::default());
        prop_assert_eq!(result, if broken { Err(Fault::NotUtf8) } else { Ok(()) });
    }
}

fn up_to(bytes: u32) -> Bounds {
    Bounds { bytes, fragments: 4 }
}

#[test]
fn faults_and_their_codes() {
    let fault = |frames: &[(u8, &[u8])]| {
        let mut bytes = Vec::new();
        for (first, payload) in frames {
            raw_frame(&mut bytes, *first, payload, None);
        }
        read(
            &mut FrameReader::new(Sender::Server, up_to(100)),
            &bytes,
            &mut Seen::default(),
        )
        .unwrap_err()
    };
    assert_eq!(fault(&[(0x80, b"x")]), Fault::Fragments);
    assert_eq!(fault(&[(0x01, b"x"), (0x81, b"y")]), Fault::Fragments);
    assert_eq!(fault(&[(0x81, b"\xff")]), Fault::NotUtf8);
    assert_eq!(fault(&[(0x82, &[0; 101])]), Fault::TooBig(100));
    assert_eq!(fault(&[(0x02, &[0; 60]), (0x80, &[0; 41])]), Fault::TooBig(100));
    assert_eq!(fault(&[(0x83, b"")]).code(), 1002);
    assert_eq!(Fault::NotUtf8.code(), 1007);
    assert_eq!(Fault::TooBig(1).code(), 1009);
}

#[test]
fn a_run_ends_before_what_is_no_whole_message() {
    let mut good = Vec::new();
    raw_frame(&mut good, 0x81, "ä".as_bytes(), None);
    raw_frame(&mut good, 0x82, b"\xff", None);
    let all = Run {
        bytes: &good,
        messages: 2,
        last: 3,
    };
    let cases: [(u8, &[u8], Option<Fault>); 5] = [
        (0x81, b"\xff", Some(Fault::NotUtf8)),
        (0x82, &[0; 101], Some(Fault::TooBig(100))),
        (0x80, b"", Some(Fault::Fragments)),
        (0x89, b"ping", None),
        (0x01, b"part", None),
    ];
    for (first, payload, fault) in cases {
        let mut reader = FrameReader::new(Sender::Server, up_to(100));
        let mut bytes = good.clone();
        raw_frame(&mut bytes, first, payload, None);
        let mut rest = &bytes[..];
        assert_eq!(reader.run(&mut rest, usize::MAX), Some(all), "{first:#x}");
        assert_eq!(rest.len(), bytes.len() - good.len());
        assert_eq!(reader.next(&mut rest).err(), fault, "{first:#x}");
        // none of the next message, once one has begun
        let mut more = &good[..];
        assert_eq!(reader.run(&mut more, usize::MAX).is_some(), first != 0x01, "{first:#x}");
    }
    let mut reader = FrameReader::new(Sender::Server, up_to(100));
    let mut rest = &good[..];
    assert_eq!(
        reader.run(&mut rest, good.len() - 1).map(|run| run.messages),
        Some(1),
        "no room"
    );
    assert_eq!(reader.run(&mut rest, 0), None);
    assert_eq!(reader.run(&mut &rest[..2], 100), None, "not all there");
    assert_eq!(reader.run(&mut rest, 3).map(|run| run.last), Some(3));
}

#[test]
fn empty_fragments_are_bounded() {
    let mut bytes = Vec::new();
    raw_frame(&mut bytes, 0x02, b"", None);
    for _ in 0..60 {
        raw_frame(&mut bytes, 0x00, b"", None);
    }
    let result = read(
        &mut FrameReader::new(
            Sender::Server,
            Bounds {
                bytes: 100,
                fragments: 1000,
            },
        ),
        &bytes,
        &mut Seen::default(),
    );
    assert_eq!(result, Err(Fault::TooBig(100)));
}

#[test]
fn fragments_are_bounded_by_number() {
    let frames = |frames: &[(u8, &[u8])]| {
        let mut bytes = Vec::new();
        for (first, payload) in frames {
            raw_frame(&mut bytes, *first, payload, None);
        }
        bytes
    };
    let mut reader = FrameReader::new(Sender::Server, up_to(100));
    let four = frames(&[(0x01, b""), (0x00, b""), (0x00, b""), (0x00, b"")]);
    read(&mut reader, &four, &mut Seen::default()).unwrap();
    let one_more = read(&mut reader, &frames(&[(0x80, b"x")]), &mut Seen::default());
    assert_eq!(one_more, Err(Fault::TooMany(4)));
    // each message has its own
    let mut reader = FrameReader::new(Sender::Server, up_to(100));
    let three = frames(&[(0x01, b"a"), (0x00, b"b"), (0x80, b"c")]);
    read(&mut reader, &three.repeat(3), &mut Seen::default()).unwrap();
}
