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

/// See the module.
#[derive(Debug)]
pub(super) struct Hold {
    socket: Socket,
    holding: Arc<AtomicBool>,
    held: Vec<u8>,
}

impl Hold {
    /// Wraps `socket`; what is written while `holding` is set is kept.
    pub(super) fn new(socket: Socket, holding: Arc<AtomicBool>) -> Self {
        Self {
            socket,
            holding,
            held: Vec::new(),
        }
    }

    /// The socket, and what was kept.
    pub(super) fn into_parts(self) -> (Socket, Vec<u8>) {
        (self.socket, self.held)
    }

    fn holds(&self) -> bool {
        // one task writes and reads the flag; nothing else is published by it
        self.holding.load(Ordering::Relaxed)
    }
}

impl AsyncRead for Hold {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Hold {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.holds() {
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
        if self.holds() {
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
