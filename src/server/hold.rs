//! A socket under hyper's server: the heads that it reads are looked at, and it can hold the last one that is written back.
//!
//! The 101 that answers a reattach is not written by hyper: it is kept, and leaves in one write with the first of the
//! replay. hyper hands a head to its socket in one piece and flushes it before the upgrade completes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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

    fn arrival(&self) -> std::sync::MutexGuard<'_, Option<Box<Arrival>>> {
        self.arrival.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    fn answer(&self) {
        self.heard.store(false, Ordering::Relaxed);
        self.answered.store(true, Ordering::Relaxed);
    }
}

/// See the module.
pub(super) struct Hold {
    socket: Socket,
    wire: Arc<Wire>,
    framing: Framing,
    held: Vec<u8>,
}

impl Hold {
    /// Wraps `socket`, of which `wire` tells; a request's head is no larger than `max_head`.
    pub(super) fn new(socket: Socket, wire: Arc<Wire>, max_head: usize) -> Self {
        Self {
            socket,
            wire,
            framing: Framing::new(max_head),
            held: Vec::new(),
        }
    }

    /// The socket, and what was kept.
    pub(super) fn into_parts(self) -> (Socket, Vec<u8>) {
        (self.socket, self.held)
    }
}

impl AsyncRead for Hold {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
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
        Pin::new(&mut self.socket).poll_write(cx, buf)
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
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
