//! One end of a WebSocket: unfragmented messages, pings answered, nothing else. Its peers are on this machine and do
//! nothing odd.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::ops::Range;

use sessmux::core::frame::{self, Header, Opcode, Sender};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The key of every handshake (RFC 6455 section 1.3).
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a page masks with; that it is known to all does no harm here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Largest request or answer head.
const MAX_HEAD: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of `buffer` was read and not yet taken.
    unread: Range<usize>,
    /// Who sends what is read here.
    peer: Sender,
    /// It has said that it leaves.
    leaving: bool,
}

/// A frame as a page sends it, or as a server does.
pub fn message(page: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + frame::MAX_HEADER);
    frame::write(&mut bytes, Opcode::Text, payload, page.then_some(MASK));
    bytes
}

fn broken(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidData, what.into())
}

impl Socket {
    fn new(stream: TcpStream, peer: Sender) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; 4096],
            unread: 0..0,
            peer,
            leaving: false,
        })
    }

    /// A page's: connects, and returns once the 101 is there.
    pub async fn open(address: SocketAddr, target: &str) -> Result<Self> {
        let mut socket = Self::new(TcpStream::connect(address).await?, Sender::Server)?;
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        socket.write(head.as_bytes()).await?;
        let head = socket.head().await?;
        if !head.starts_with("HTTP/1.1 101 ") {
            return Err(broken(head));
        }
        Ok(socket)
    }

    /// An agent server's: reads the request, and returns its target; the 101 goes out in one write with `first`.
    pub async fn accept(stream: TcpStream, first: impl FnOnce(&str) -> Vec<u8>) -> Result<Self> {
        let mut socket = Self::new(stream, Sender::Client)?;
        let head = socket.head().await?;
        let key = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
        let Some((_, key)) = key else {
            return Err(broken("no WebSocket request"));
        };
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.trim().as_bytes())
        )
        .into_bytes();
        answer.extend(first(head.split(' ').nth(1).unwrap_or_default()));
        socket.write(&answer).await?;
        Ok(socket)
    }

    /// Reads up to so much at a time.
    pub fn widen(&mut self, size: usize) {
        self.buffer.resize(size.max(self.buffer.len()), 0);
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends a message.
    pub async fn send(&mut self, payload: &[u8]) -> Result<()> {
        let bytes = message(self.peer == Sender::Server, payload);
        self.write(&bytes).await
    }

    /// The next message's payload; valid until the next call.
    pub async fn next(&mut self) -> Result<&mut [u8]> {
        loop {
            let header = self.frame().await?;
            let payload = self.unread.start + header.size()..self.unread.start + header.total() as usize;
            self.unread.start = payload.end;
            if let Some(mask) = header.mask {
                frame::apply_mask(&mut self.buffer[payload.clone()], mask, 0);
            }
            match header.opcode {
                Opcode::Continuation | Opcode::Text | Opcode::Binary => return Ok(&mut self.buffer[payload]),
                Opcode::Pong => {}
                Opcode::Ping => {
                    let mask = (self.peer == Sender::Server).then_some(MASK);
                    let mut pong = Vec::new();
                    frame::write(&mut pong, Opcode::Pong, &self.buffer[payload], mask);
                    self.write(&pong).await?;
                }
                Opcode::Close => {
                    let mask = (self.peer == Sender::Server).then_some(MASK);
                    let mut close = Vec::new();
                    frame::write(&mut close, Opcode::Close, &self.buffer[payload], mask);
                    if !self.leaving {
                        // whoever has gone needs no answer
                        let _ = self.write(&close).await;
                    }
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }

    /// Reads so many messages, and forgets them.
    pub async fn skip(&mut self, messages: u64) -> Result<()> {
        for _ in 0..messages {
            self.next().await?;
        }
        Ok(())
    }

    /// Leaves as a reload does, and waits for the end.
    pub async fn leave(mut self) -> Result<()> {
        let mut close = Vec::new();
        frame::write(&mut close, Opcode::Close, &1001_u16.to_be_bytes(), Some(MASK));
        self.leaving = true;
        self.write(&close).await?;
        // the close frame that answers it is an end too
        while self.next().await.is_ok() {}
        Ok(())
    }

    /// Leaves by a reset.
    pub fn cut(self) {
        // it ends either way
        let _ = self.stream.set_zero_linger();
    }

    /// A whole frame is in the buffer.
    async fn frame(&mut self) -> Result<Header> {
        loop {
            let bytes = &self.buffer[self.unread.clone()];
            match frame::parse(bytes, self.peer).map_err(|error| broken(error.to_string()))? {
                Some(header) if header.total() <= bytes.len() as u64 => return Ok(header),
                Some(header) => self.room(header.total() as usize),
                None => self.room(frame::MAX_HEADER),
            }
            self.read().await?;
        }
    }

    async fn head(&mut self) -> Result<String> {
        loop {
            let bytes = &self.buffer[self.unread.clone()];
            if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
                self.unread.start += end + 4;
                return Ok(head);
            }
            self.room(MAX_HEAD.min(bytes.len() * 2));
            self.read().await?;
        }
    }

    /// There is room for `size` bytes from the first unread one on, and some of it is free.
    fn room(&mut self, size: usize) {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.buffer.len() - self.unread.start < size || self.unread.end == self.buffer.len() {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        self.widen(size.max(self.unread.len() + 1));
    }

    async fn read(&mut self) -> Result<()> {
        let read = self.stream.read(&mut self.buffer[self.unread.end..]).await?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.unread.end += read;
        Ok(())
    }
}
