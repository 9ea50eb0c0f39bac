//! A socket under hyper's server: the heads that it reads are looked at, and it can hold the last one that is written back.
//!
//! The 101 that answers a reattach is not written by hyper: it is kept, and leaves in one write with the first of the
//! replay. hyper hands a head to its socket in one piece and flushes it before the upgrade completes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::{Fault, Framing};
use super::newcomer::Arrival;
use crate::transport::socket::Socket;

/// What a connection's socket and those who serve it tell each other. One task uses it, so no order is published by it.
#[derive(Default)]
pub(super) struct Wire {
    holding: AtomicBool,
    heard: AtomicBool,
    answered: AtomicBool,
    /// Heads that hyper found.
    asked: AtomicU64,
    /// Heads that [`Framing`] found.
    heads: AtomicU64,
    fault: OnceLock<Fault>,
    /// Who is to have the socket once hyper has done with it.
    arrival: Mutex<Option<Box<Arrival>>>,
    /// Bytes have been read or written since this was last asked.
    moved: AtomicBool,
    /// Here rather than in [`Hold`], which is hyper's: while it answers, hyper does not look whether the client is there if
    /// that has sent something beyond its request.
    socket: Mutex<Option<Socket>>,
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Talk {
    /// Nothing has come yet.
    Silent,
    /// Something has come and was not answered.
    Heard,
    /// All that came was answered.
    Answered,
}

impl Wire {
    /// Keeps what is written from here on.
    pub(super) fn hold(&self) {
        self.holding.store(true, Ordering::Relaxed);
    }

    fn holds(&self) -> bool {
        self.holding.load(Ordering::Relaxed)
    }

    /// Where the connection stands.
    pub(super) fn talk(&self) -> Talk {
        match (
            self.heard.load(Ordering::Relaxed),
            self.answered.load(Ordering::Relaxed),
        ) {
            (true, _) => Talk::Heard,
            (false, true) => Talk::Answered,
            (false, false) => Talk::Silent,
        }
    }

    /// hyper found a request's head.
    pub(super) fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a request's head was ever whole.
    pub(super) fn has_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) > 0
    }

    /// What is wrong with a head that was read; nothing that comes with it is to be answered otherwise.
    pub(super) fn fault(&self) -> Option<Fault> {
        let more = self.asked.load(Ordering::Relaxed) > self.heads.load(Ordering::Relaxed);
        self.fault
            .get()
            .copied()
            .or(more.then_some("a line that ends without CR"))
    }

    /// Whether the head that hyper would not read was whole, so that it is not its size that is too large.
    pub(super) fn is_head_whole(&self) -> bool {
        self.heads.load(Ordering::Relaxed) > self.asked.load(Ordering::Relaxed)
    }

    /// Once the 101 is written, or kept, the socket is this one's.
    pub(super) fn bring(&self, arrival: Arrival) {
        *self.arrival() = Some(Box::new(arrival));
    }

    /// Whose the socket is, where hyper has answered with a 101.
    pub(super) fn brought(&self) -> Option<Box<Arrival>> {
        self.arrival().take()
    }

    fn arrival(&self) -> MutexGuard<'_, Option<Box<Arrival>>> {
        self.arrival.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self) {
        self.moved.store(true, Ordering::Relaxed);
        self.heard.store(true, Ordering::Relaxed);
    }

    fn answer(&self) {
        self.moved.store(true, Ordering::Relaxed);
        self.heard.store(false, Ordering::Relaxed);
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Whether the client sends no more, and nothing has moved since this was last asked.
    pub(super) fn is_left(&self) -> bool {
        let moved = self.moved.swap(false, Ordering::Relaxed);
        !moved && self.socket().as_ref().is_some_and(Socket::is_half_closed)
    }

    fn socket(&self) -> MutexGuard<'_, Option<Socket>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the socket.
    fn with<T>(&self, on: impl FnOnce(Pin<&mut Socket>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut *self.socket() {
            Some(socket) => on(Pin::new(socket)),
            // it was taken out, and whoever asks for more than that is late
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

/// See the module.
pub(super) struct Hold {
    wire: Arc<Wire>,
    framing: Framing,
    held: Vec<u8>,
}

/// A socket that hyper has done with.
pub(super) struct Released {
    pub(super) socket: Socket,
    /// What is to be written to it first.
    pub(super) head: Vec<u8>,
}

impl Hold {
    /// Wraps `socket`, of which `wire` tells; a request's head is no larger than `max_head`.
    pub(super) fn new(socket: Socket, wire: Arc<Wire>, max_head: usize) -> Self {
        *wire.socket() = Some(socket);
        Self {
            wire,
            framing: Framing::new(max_head),
            held: Vec::new(),
        }
    }

    /// Takes the socket out, which nobody else does, and what was kept.
    pub(super) fn release(self) -> Option<Released> {
        let socket = self.wire.socket().take()?;
        Some(Released {
            socket,
            head: self.held,
        })
    }
}

impl AsyncRead for Hold {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = self.wire.with(|socket| socket.poll_read(cx, buf));
        let read = &buf.filled()[before..];
        if !read.is_empty() {
            self.wire.hear();
            if let Err(fault) = self.framing.read(read) {
                // the first is the one that counts
                let _ = self.wire.fault.set(fault);
            }
            self.wire.heads.store(self.framing.heads(), Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Hold {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.answer();
        if self.wire.holds() {
            self.held.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        self.wire.with(|socket| socket.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire.answer();
        if self.wire.holds() {
            bufs.iter().for_each(|buf| self.held.extend_from_slice(buf));
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        self.wire.with(|socket| socket.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.with(|socket| socket.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.with(|socket| socket.poll_shutdown(cx))
    }
}
