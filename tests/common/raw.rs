//! Peers that send what no library would: every byte is the test's.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Proxy, soon};

/// The key of every raw handshake (RFC 6455 section 1.3).
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// One end of a connection, page or agent.
pub struct Raw {
    pub stream: TcpStream,
    pub buffer: Vec<u8>,
    /// The last head that was read.
    pub head: String,
    /// Whether it is the client's end, which masks.
    client: bool,
}

/// What came over the wire.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// A frame: its first byte, whether it was masked, its payload in clear.
    Frame(u8, bool, Vec<u8>),
    /// The connection ended in order.
    End,
    /// It was reset.
    Reset,
}

/// A frame as it goes over the wire.
pub fn frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(bit | length as u8),
        length @ 126..=65_535 => {
            bytes.push(bit | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(bit | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    if masked {
        let mask = [0x11, 0x22, 0x33, 0x44];
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        bytes.extend_from_slice(payload);
    }
    bytes
}

impl Raw {
    fn new(stream: TcpStream, client: bool) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
            head: String::new(),
            client,
        }
    }

    pub async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap(), true)
    }

    /// As [`Self::upgraded`], with room for little that it does not read.
    pub async fn narrow(address: SocketAddr, target: &str) -> Self {
        let mut raw = Self::narrow_asked(address, target).await;
        raw.switched().await;
        raw
    }

    /// As [`Self::narrow`], but reads nothing yet.
    pub async fn narrow_asked(address: SocketAddr, target: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        let mut raw = Self::new(socket.connect(address).await.unwrap(), true);
        raw.write(upgrade(address, target, "").as_bytes()).await;
        raw
    }

    /// Connects and sends the upgrade request for `target`, with further header lines.
    pub async fn ask(address: SocketAddr, target: &str, lines: &str) -> Self {
        let mut raw = Self::connect(address).await;
        raw.write(upgrade(address, target, lines).as_bytes()).await;
        raw
    }

    /// As [`Self::ask`], and reads the 101.
    pub async fn upgraded(address: SocketAddr, target: &str, lines: &str) -> Self {
        let mut raw = Self::ask(address, target, lines).await;
        raw.switched().await;
        raw
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        soon("a write", self.stream.write_all(bytes)).await.unwrap();
    }

    /// Sends a frame as this end is to: the client's masked.
    pub async fn frame(&mut self, first: u8, payload: &[u8]) {
        let bytes = frame(first, payload, self.client);
        self.write(&bytes).await;
    }

    /// As [`Self::frame`], but reads nothing and waits as long as it takes.
    pub async fn frame_patiently(&mut self, first: u8, payload: &[u8]) {
        let bytes = frame(first, payload, self.client);
        self.stream.write_all(&bytes).await.unwrap();
    }

    pub async fn send(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes()).await;
    }

    pub async fn close(&mut self, code: u16, reason: &str) {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        self.frame(0x88, &payload).await;
    }

    /// Reads a head into `head`, and returns its status where it has one.
    pub async fn read_head(&mut self) -> Option<u16> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|it| it == b"\r\n\r\n") {
                break end + 4;
            }
            let read = soon("a head", self.stream.read_buf(&mut self.buffer)).await.unwrap();
            assert!(read > 0, "the connection ended within a head");
        };
        self.head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        self.head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
    }

    /// What was read beyond what was asked for.
    pub fn buffered(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Reads a 101.
    pub async fn switched(&mut self) {
        assert_eq!(self.read_head().await, Some(101), "{}", self.head);
    }

    /// Reads an answer with a `Content-Length`; returns its status and body.
    pub async fn answered(&mut self) -> (u16, String) {
        let status = self.read_head().await.unwrap();
        let length = self.field("content-length").map_or(0, |length| length.parse().unwrap());
        while self.buffer.len() < length {
            let read = soon("a body", self.stream.read_buf(&mut self.buffer)).await.unwrap();
            assert!(read > 0, "the connection ended within a body");
        }
        (
            status,
            String::from_utf8(self.buffer.drain(..length).collect()).unwrap(),
        )
    }

    /// A field of the last head.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).first().copied()
    }

    /// All fields of one name.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        let pairs = self.head.lines().filter_map(|line| line.split_once(':'));
        pairs
            .filter(|(it, _)| it.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    /// As an agent: answers the upgrade with a good 101 and further header lines.
    pub async fn switch(&mut self, lines: &str) {
        let accept = derive_accept_key(self.field("sec-websocket-key").unwrap().as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
        );
        self.write(head.as_bytes()).await;
    }

    /// The next frame, or how the connection ended.
    pub async fn next(&mut self) -> Got {
        loop {
            if let Some(frame) = self.parse() {
                return frame;
            }
            match soon("a frame", self.stream.read_buf(&mut self.buffer)).await {
                Ok(0) => {
                    assert!(self.buffer.is_empty(), "ended within a frame");
                    return Got::End;
                }
                Ok(_) => {}
                Err(_) => return Got::Reset,
            }
        }
    }

    fn parse(&mut self) -> Option<Got> {
        let (first, second) = (*self.buffer.first()?, *self.buffer.get(1)?);
        let (size, length) = match second & 0x7f {
            126 => (
                4,
                usize::from(u16::from_be_bytes(self.buffer.get(2..4)?.try_into().unwrap())),
            ),
            127 => (
                10,
                u64::from_be_bytes(self.buffer.get(2..10)?.try_into().unwrap()) as usize,
            ),
            length => (2, usize::from(length)),
        };
        let masked = second & 0x80 != 0;
        let start = if masked { size + 4 } else { size };
        let mut payload = self.buffer.get(start..start + length)?.to_vec();
        if masked {
            let mask = self.buffer[size..start].iter().cycle();
            payload.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        }
        self.buffer.drain(..start + length);
        Some(Got::Frame(first, masked, payload))
    }

    /// The next frame that is neither ping nor pong, or how the connection ended.
    pub async fn next_but_pings(&mut self) -> Got {
        loop {
            match self.next().await {
                Got::Frame(0x89 | 0x8a, ..) => {}
                other => return other,
            }
        }
    }

    /// The next message, which is text in one frame.
    pub async fn text(&mut self) -> String {
        match self.next_but_pings().await {
            Got::Frame(0x81, masked, payload) => {
                assert_eq!(masked, !self.client, "masks are the client's");
                String::from_utf8(payload).unwrap()
            }
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// The code and reason of the next frame, which is a close; 1005 where it has none.
    pub async fn closed(&mut self) -> (u16, String) {
        match self.next_but_pings().await {
            Got::Frame(0x88, masked, payload) => {
                assert_eq!(masked, !self.client, "masks are the client's");
                match payload.split_first_chunk() {
                    Some((code, reason)) => (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap()),
                    None => (1005, String::new()),
                }
            }
            other => panic!("expected a close, got {other:?}"),
        }
    }

    /// Sends a ping and awaits its pong: all that was sent before is read.
    pub async fn heard(&mut self) {
        self.frame(0x89, b"heard?").await;
        let pong = Got::Frame(0x8a, !self.client, b"heard?".to_vec());
        loop {
            match self.next().await {
                Got::Frame(0x89, ..) => {}
                other => return assert_eq!(other, pong),
            }
        }
    }

    /// Leaves as a cut does: with a reset, which follows what was sent.
    pub fn cut(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// An upgrade request.
pub fn upgrade(host: SocketAddr, target: &str, lines: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{lines}\r\n"
    )
}

/// An agent server whose every byte is the test's.
pub struct RawAgent {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl RawAgent {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// The next connection, its request head read.
    pub async fn accept(&self) -> Raw {
        let mut raw = self.accept_silently().await;
        raw.read_head().await;
        raw
    }

    pub async fn accept_silently(&self) -> Raw {
        let (stream, _) = soon("a connection at the agent", self.listener.accept()).await.unwrap();
        Raw::new(stream, false)
    }

    /// Its listener, for whoever serves it from now on.
    pub fn into_listener(self) -> std::net::TcpListener {
        self.listener.into_std().unwrap()
    }

    /// Whether a connection waits to be accepted.
    pub fn is_dialed(&self) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        self.listener.poll_accept(&mut context).is_ready()
    }

    /// A session with its page.
    pub async fn session(&self, proxy: &Proxy, target: &str) -> Pair {
        let mut page = Raw::ask(proxy.address, target, "").await;
        let mut server = self.accept().await;
        server.switch("").await;
        page.switched().await;
        Pair { page, server }
    }
}

/// Both ends of a session.
pub struct Pair {
    pub page: Raw,
    pub server: Raw,
}

impl Pair {
    /// Says so much that a log of 8 MiB is read into from then on (`Log::lend`).
    pub async fn fill(&mut self) {
        let text = "x".repeat(600_000);
        for _ in 0..5 {
            let (_, got) = tokio::join!(self.server.send(&text), self.page.text());
            assert!(got == text);
        }
    }

    /// Messages go both ways.
    pub async fn works(&mut self) {
        self.page.send("there?").await;
        assert_eq!(self.server.text().await, "there?");
        self.server.send("here").await;
        assert_eq!(self.page.text().await, "here");
    }
}

impl Proxy {
    /// Returns when sessmux has read all that was sent to it before; on the runtime's one thread it is served in
    /// order of arrival.
    pub async fn settled(&self) {
        let mut raw = Raw::connect(self.address).await;
        raw.write(b"GET / HTTP/1.1\r\nHost: not.served.here\r\n\r\n").await;
        assert_eq!(raw.answered().await.0, 421);
    }
}
