//! Frames: however the bytes are cut, they say the same; what is forwarded is what came; another reader reads it too.
//!
//! Input: who sends (lowest bit) and the largest message (the rest of the byte, in 16 bytes), how the bytes are cut, and
//! the bytes.

use std::io::{self, Read, Write};

use sessmux::core::frame::{self, Opcode, Sender};
use sessmux::transport::reader::{Bounds, Event, Fault, FrameReader};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

/// What a stream of bytes came to.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    /// Data frames as they came.
    wire: Vec<u8>,
    /// Where in that messages start.
    starts: Vec<usize>,
    /// Where in that frames end, and whether their message does, and is text.
    ends: Vec<(usize, Option<bool>)>,
    /// Control frames, and where they stood.
    controls: Vec<(usize, Opcode, Vec<u8>)>,
}

pub fn check(data: &[u8]) {
    let [flags, cut, bytes @ ..] = data else { return };
    let from = if flags & 1 == 0 { Sender::Client } else { Sender::Server };
    let bounds = Bounds {
        bytes: u32::from(flags >> 1) * 16,
        fragments: 6,
    };

    let mut whole = Seen::default();
    let mut reader = FrameReader::new(from, bounds);
    let fault = read(&mut reader, bytes, &mut whole).err();

    let (wire, open) = data_frames(bytes, from);
    assert!(wire.starts_with(&whole.wire), "what is forwarded is what came");
    for cut in [0, *cut] {
        let mut parts = Seen::default();
        let mut parted = FrameReader::new(from, bounds);
        let fault_of_parts = pieces(bytes, cut).find_map(|piece| read(&mut parted, piece, &mut parts).err());
        assert_eq!(fault, fault_of_parts);
        assert!(wire.starts_with(&parts.wire), "what is forwarded is what came");
        if fault.is_some() {
            // of a frame that is at fault more or less was passed on before it showed
            assert_eq!((&whole.controls, &whole.ends), (&parts.controls, &parts.ends));
        } else {
            assert_eq!(whole, parts);
            assert_eq!(reader.amid_message(), parted.amid_message());
        }
    }
    match fault {
        None => {
            assert_eq!((wire.len(), open), (whole.wire.len(), reader.amid_message()));
            another(bytes, from, &whole);
        }
        Some(fault) => assert!(matches!(fault.code(), 1002 | 1007 | 1009)),
    }
}

/// Single bytes for 0; else pieces of any length, short ones mostly.
fn pieces(mut bytes: &[u8], cut: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(cut);
    std::iter::from_fn(move || {
        let mut length = 1;
        if cut > 0 {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            length += (state >> 16) as usize % if state & 0x100 == 0 { 4 } else { 300 };
        }
        let (piece, rest) = bytes.split_at(length.min(bytes.len()));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

fn read(reader: &mut FrameReader, mut bytes: &[u8], seen: &mut Seen) -> Result<(), Fault> {
    loop {
        match reader.next(&mut bytes)? {
            Event::More => {
                assert!(bytes.is_empty());
                return Ok(());
            }
            Event::Control(opcode, payload) => seen.controls.push((seen.wire.len(), opcode, payload.to_vec())),
            Event::Data(piece) => {
                if piece.starts_message {
                    seen.starts.push(seen.wire.len());
                }
                seen.wire.extend_from_slice(&piece.carried);
                seen.wire.extend_from_slice(piece.raw);
                if piece.ends_frame {
                    let message = piece.ends_message.then_some(piece.text);
                    seen.ends.push((seen.wire.len(), message));
                }
            }
        }
    }
}

/// The data frames of the bytes, up to what is none, and whether more has to come.
fn data_frames(mut bytes: &[u8], from: Sender) -> (Vec<u8>, bool) {
    let (mut wire, mut open) = (Vec::new(), false);
    while let Ok(Some(header)) = frame::parse(bytes, from) {
        let here = header.total().min(bytes.len() as u64) as usize;
        if header.opcode.is_control() {
            if (here as u64) < header.total() {
                return (wire, true);
            }
        } else {
            wire.extend_from_slice(&bytes[..here]);
            open = !header.fin || (here as u64) < header.total();
        }
        bytes = &bytes[here..];
    }
    (wire, open || !bytes.is_empty())
}

/// Bytes that can be read and then no more; what is written is gone.
struct Half<'a>(&'a [u8]);

impl Read for Half<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.read(buffer)
    }
}

impl Write for Half<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// tungstenite reads the same messages, up to a close, if all is well.
fn another(bytes: &[u8], from: Sender, seen: &Seen) {
    let role = if from == Sender::Client {
        Role::Server
    } else {
        Role::Client
    };
    let config = WebSocketConfig::default()
        .max_message_size(None)
        .max_frame_size(None)
        .read_buffer_size(4096);
    let mut socket = WebSocket::from_raw_socket(Half(bytes), role, Some(config));
    let closes = seen.controls.iter().any(|(_, opcode, _)| *opcode == Opcode::Close);
    let mut kinds = seen.ends.iter().filter_map(|(_, message)| *message);
    let mut controls = seen.controls.iter();
    loop {
        match socket.read() {
            Ok(Message::Close(_)) | Err(_) if closes => return,
            Ok(Message::Text(_)) => assert_eq!(kinds.next(), Some(true)),
            Ok(Message::Binary(_)) => assert_eq!(kinds.next(), Some(false)),
            Ok(Message::Ping(payload)) => assert_eq!(control(&mut controls), (Opcode::Ping, &payload[..])),
            Ok(Message::Pong(payload)) => assert_eq!(control(&mut controls), (Opcode::Pong, &payload[..])),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                assert_eq!((kinds.next(), controls.next()), (None, None));
                return;
            }
            other => panic!("tungstenite reads {other:?}"),
        }
    }
}

fn control<'a>(controls: &mut impl Iterator<Item = &'a (usize, Opcode, Vec<u8>)>) -> (Opcode, &'a [u8]) {
    let (_, opcode, payload) = controls.next().expect("a control frame that was not seen");
    (*opcode, payload)
}
