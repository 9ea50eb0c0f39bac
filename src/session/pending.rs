//! A pending attachment: a socket that has been accepted and has yet to say its first message or its hello.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::attach::Attach;
use super::page::{kind, payload};
use super::scratch;
use crate::core::close::{self, Close};
use crate::core::frame::{self, Opcode, Sender};
use crate::profile::{self, Kind};
use crate::transport::reader::{Bounds, Event, FrameReader};

/// A page has this long to say its first message, on a route whose key is in it.
const FIRST_MESSAGE: Duration = Duration::from_secs(5);
/// And this long to say its hello; so has the page that the session was created for, once others wait for that.
pub(super) const HELLO: Duration = Duration::from_secs(10);
/// What a page is told that says none.
pub(super) const NO_HELLO: &str = "no hello in time";
/// How much is read at once of a page that waits, in bytes.
const READ: usize = 64 * 1024;

/// Reads on until the first message is whole, and returns its kind and payload; `attach.unread` keeps the bytes as they came.
pub async fn first_message(attach: &mut Attach, bounds: Bounds) -> Result<(Kind, Vec<u8>), Close> {
    let late = "no first message in time; this route's key is in it, so its server cannot speak first";
    let whole = |message: &profile::Message<'_>| Some((message.kind, message.payload.to_vec()));
    until(attach, bounds, FIRST_MESSAGE, late, whole).await
}

/// Sends `challenge` and reads on until `hello` finds a message to be one; `attach.unread` keeps all that came.
pub async fn hello<T>(
    attach: &mut Attach,
    challenge: &[u8],
    bounds: Bounds,
    hello: impl Fn(&profile::Message<'_>) -> Option<T>,
) -> Result<T, Close> {
    attach.head.extend_from_slice(challenge);
    until(attach, bounds, HELLO, NO_HELLO, hello).await
}

/// Reads what a page has sent while it waited to be attached, as much as may come before a hello, and returns the close
/// that it is owed if it has left since, or broken the protocol; `attach.unread` keeps the bytes as they came.
pub(super) fn left(attach: &mut Attach, bounds: Bounds) -> Option<Close> {
    let mut ended = false;
    while !ended && attach.unread.len() <= most(bounds) {
        let read = scratch::with(|buffer| {
            let read = attach.socket.read_now(&mut buffer[..READ])?;
            attach.unread.extend_from_slice(&buffer[..read]);
            Ok::<_, io::Error>(read)
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            read => ended = !matches!(read, Ok(1..)),
        }
        if attach.holds_too_much() {
            break;
        }
    }
    let mut reader = FrameReader::new(Sender::Client, bounds);
    let mut bytes = &attach.unread[..];
    loop {
        match reader.next(&mut bytes) {
            Ok(Event::More) => return ended.then(Close::default),
            Ok(Event::Control(Opcode::Close, payload)) => return Some(echo(&payload)),
            Ok(_) => {}
            Err(fault) => return Some(Close::new(fault.code(), "bad frame before it was attached")),
        }
    }
}

/// How much may come before a hello, in bytes.
fn most(bounds: Bounds) -> usize {
    bounds.bytes as usize + frame::MAX_HEADER
}

/// What answers a page's close frame.
fn echo(payload: &[u8]) -> Close {
    let close = Close::parse(payload).unwrap_or(Close::new(close::PROTOCOL_ERROR, ""));
    // its reason is the page's own, and not for the log
    Close {
        reason: String::new(),
        ..close
    }
}

async fn until<T>(
    attach: &mut Attach,
    bounds: Bounds,
    within: Duration,
    late: &'static str,
    wanted: impl Fn(&profile::Message<'_>) -> Option<T>,
) -> Result<T, Close> {
    let reading = async {
        let gone = |_| Close::default();
        attach
            .socket
            .write_all(&std::mem::take(&mut attach.head))
            .await
            .map_err(gone)?;
        let mut reader = FrameReader::new(Sender::Client, bounds);
        let (mut message, mut number, mut seen) = (Vec::new(), 0, 0);
        loop {
            let mut bytes = &attach.unread[seen..];
            loop {
                match reader
                    .next(&mut bytes)
                    .map_err(|fault| Close::new(fault.code(), "bad frame before the hello"))?
                {
                    Event::More => break,
                    Event::Data(piece) => {
                        message.extend_from_slice(&piece.carried);
                        message.extend_from_slice(piece.raw);
                        if piece.ends_message {
                            let mut text = Vec::new();
                            payload(&message, &mut text);
                            number += 1;
                            let it = profile::Message {
                                kind: kind(&message),
                                number,
                                payload: &text,
                                whole: true,
                            };
                            if let Some(found) = wanted(&it) {
                                return Ok(found);
                            }
                            message.clear();
                        }
                    }
                    Event::Control(Opcode::Close, payload) => return Err(echo(&payload)),
                    // pings are answered once it is attached, as the bytes are read again then
                    Event::Control(..) => {}
                }
            }
            seen = attach.unread.len();
            if attach.holds_too_much() {
                return Err(Close::new(close::TRY_LATER, "over a limit: try again later"));
            }
            if seen > most(bounds) {
                return Err(Close::new(close::TOO_BIG, "too much before the hello"));
            }
            if attach.socket.read_buf(&mut attach.unread).await.map_err(gone)? == 0 {
                return Err(Close::default());
            }
        }
    };
    timeout(within, reading)
        .await
        .unwrap_or_else(|_| Err(Close::new(close::POLICY, late)))
}
