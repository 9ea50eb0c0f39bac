//! A socket under hyper's server that can hold the last head back.
//!
//! The 101 that answers a reattach is not written by hyper: it is kept, and leaves in one write with the first of the
//! replay. hyper hands a head to its socket in one piece and flushes it before the upgrade completes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::socket::Socket;

/// What a connection's socket and those who serve it tell each other. One task uses it, so no order is published by it.
#[derive(Debug, Default)]
pub(super) struct Wire {
    holding: AtomicBool,
    heard: AtomicBool,
    answered: AtomicBool,
    asked: AtomicBool,
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

    /// A request's head is whole.
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether a request's head was ever whole.
    pub(super) fn has_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
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
#[derive(Debug)]
pub(super) struct Hold {
    socket: Socket,
    wire: Arc<Wire>,
    held: Vec<u8>,
}

impl Hold {
    /// Wraps `socket`, of which `wire` tells.
    pub(super) fn new(socket: Socket, wire: Arc<Wire>) -> Self {
        Self {
            socket,
            wire,
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
        if buf.filled().len() > before {
            self.wire.hear();
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
