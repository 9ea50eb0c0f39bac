//! The attached page's leg of a session: its socket, its reader, and the message it is sending.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::core::frame::{self, Sender};
use crate::profile::Kind;
use crate::session::replaying::Replaying;
use crate::transport::reader::{Bounds, FrameReader, Piece};
use crate::transport::socket::Socket;

/// See the module.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) socket: Socket,
    pub(super) epoch: u64,
    pub(super) reader: FrameReader,
    /// The frames of a message that is not complete, control frames taken out.
    held: Vec<u8>,
    /// How many whole messages it has sent.
    pub(super) messages: u64,
    /// It was shown the recorded answer to the hello that it is yet to be heard saying.
    pub(super) hello_answered: bool,
    /// What it is being sent of earlier messages.
    pub(super) replaying: Option<Box<Replaying>>,
    /// No write has failed.
    pub(super) writable: bool,
}

/// A whole client message as it came over the wire.
#[derive(Debug)]
pub(super) enum Message<'a> {
    /// All of it in the bytes just read.
    Here(&'a [u8]),
    /// Collected from earlier reads.
    Held(Vec<u8>),
}

impl std::ops::Deref for Message<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Here(bytes) => bytes,
            Self::Held(bytes) => bytes,
        }
    }
}

impl Page {
    pub(super) fn new(socket: Socket, epoch: u64, bounds: Bounds) -> Self {
        let reader = FrameReader::new(Sender::Client, bounds);
        Self {
            socket,
            epoch,
            reader,
            held: Vec::new(),
            messages: 0,
            hello_answered: false,
            replaying: None,
            writable: true,
        }
    }

    /// Bytes that it holds of a message that is not whole.
    pub(super) fn held(&self) -> usize {
        self.held.capacity()
    }

    /// Takes a piece of a message; returns the message once it is whole.
    pub(super) fn collect<'a>(&mut self, piece: &Piece<'a>) -> Option<Message<'a>> {
        if piece.starts_message && piece.ends_message && piece.carried.is_empty() {
            return Some(Message::Here(piece.raw));
        }
        self.held.extend_from_slice(&piece.carried);
        self.held.extend_from_slice(piece.raw);
        piece
            .ends_message
            .then(|| Message::Held(std::mem::take(&mut self.held)))
    }

    /// Reads once into `buffer`; `None` when there is nothing yet.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match self.socket.poll_frames(cx, &mut &mut *buffer) {
            Poll::Pending => None,
            Poll::Ready(read) => Some(read),
        }
    }

    /// Reads as [`Self::read`] does, but asks the system itself: the runtime may not have heard yet of what came last.
    pub(super) fn read_now(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match self.socket.read_now(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            read => Some(read),
        }
    }

    /// Writes once; `None` when the socket takes nothing now.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
        let socket = Pin::new(&mut self.socket);
        let written = match slices {
            [one] => socket.poll_write(cx, one),
            many => socket.poll_write_vectored(cx, many),
        };
        match written {
            Poll::Pending => None,
            Poll::Ready(Ok(0)) => Some(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(result) => Some(result),
        }
    }
}

/// Bytes of a client message that are unmasked to begin with: more than what most rules look at.
const BEGINNING: usize = 4096;

/// Appends the beginning of the payload of a whole client message, unmasked; whether that is all of it.
pub(super) fn beginning(message: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(Some(header)) = frame::parse(message, Sender::Client) else {
        return false;
    };
    let frame = &message[header.size()..header.total() as usize];
    let some = &frame[..frame.len().min(BEGINNING)];
    out.extend_from_slice(some);
    frame::apply_mask(out, header.mask.unwrap_or_default(), 0);
    header.fin && some.len() == frame.len()
}

/// The kind of a whole message, of either side, as its first frame says.
pub(super) fn kind(message: &[u8]) -> Kind {
    // the low bits are the opcode (RFC 6455 section 5.2)
    if message.first().is_some_and(|first| first & 0x0f == 1) {
        Kind::Text
    } else {
        Kind::Binary
    }
}

/// Appends the payload of a whole client message, unmasked.
pub(super) fn payload(message: &[u8], out: &mut Vec<u8>) {
    payload_of(message, Sender::Client, out);
}

/// Appends the payload of a whole message of either side, unmasked.
pub(super) fn payload_of(message: &[u8], sender: Sender, out: &mut Vec<u8>) {
    let mut rest = message;
    while let Ok(Some(header)) = frame::parse(rest, sender) {
        let (whole, later) = rest.split_at(header.total() as usize);
        let start = out.len();
        out.extend_from_slice(&whole[header.size()..]);
        frame::apply_mask(&mut out[start..], header.mask.unwrap_or_default(), 0);
        rest = later;
    }
}
