//! The upstream leg of a session: its socket, its reader, and what waits to be sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BufMut;
use tokio::io::AsyncWrite;

use crate::core::close::Close;
use crate::core::frame::{self, Opcode, Sender};
use crate::session::scratch;
use crate::transport::reader::{Bounds, FrameReader};
use crate::transport::socket::Socket;

/// While this much waits to be sent, in bytes, pages are not read.
const ENOUGH: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Upstream {
    socket: Socket,
    pub(super) reader: FrameReader,
    /// Whole frames, under the masks of the pages they came from.
    queue: Vec<u8>,
    sent: usize,
}

impl Upstream {
    pub(super) fn new(socket: Socket, bounds: Bounds) -> Self {
        Self {
            socket,
            reader: FrameReader::new(Sender::Server, bounds),
            queue: Vec::new(),
            sent: 0,
        }
    }

    /// Whether more client messages may be queued.
    pub(super) fn has_room(&self) -> bool {
        self.waiting() < ENOUGH
    }

    /// How many bytes wait to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len() - self.sent
    }

    /// Queues a whole message.
    pub(super) fn send(&mut self, message: &[u8]) {
        if self.queue.capacity() == 0 {
            self.queue = scratch::queue();
        }
        self.queue.extend_from_slice(message);
    }

    /// Takes what waits to be sent, whole frames.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.queue.drain(..self.sent);
        self.sent = 0;
        std::mem::take(&mut self.queue)
    }

    /// Queues a text of sessmux's own, under a fresh mask (RFC 6455 section 5.3).
    pub(super) fn send_text(&mut self, text: &str) {
        frame::write(&mut self.queue, Opcode::Text, text.as_bytes(), Some(rand::random()));
    }

    /// Queues a control frame, under a fresh mask (RFC 6455 section 5.3).
    pub(super) fn send_control(&mut self, opcode: Opcode, payload: &[u8]) {
        frame::write(&mut self.queue, opcode, payload, Some(rand::random()));
    }

    /// Sends what waits; returns whether something moved. After an error it is not to be called any more.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut moved = false;
        while self.sent < self.queue.len() {
            let written = match Pin::new(&mut self.socket).poll_write(cx, &self.queue[self.sent..]) {
                Poll::Pending => {
                    // what was sent is given back, or a queue that never runs dry would grow
                    if self.sent >= ENOUGH {
                        self.queue.drain(..self.sent);
                        self.sent = 0;
                    }
                    return Ok(moved);
                }
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => written?,
            };
            self.sent += written;
            moved = true;
        }
        if moved {
            // an idle session keeps no buffer
            scratch::give_back(std::mem::take(&mut self.queue));
            self.sent = 0;
        }
        self.socket.push(cx)?;
        Ok(moved)
    }

    /// Reads once into `buffer`, which has room; `None` when there is nothing to read yet.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, buffer: &mut impl BufMut) -> Option<io::Result<usize>> {
        match self.socket.poll_frames(cx, buffer) {
            Poll::Pending => None,
            Poll::Ready(read) => Some(read),
        }
    }

    /// Ends the leg: its socket, and what is still to be sent before it is closed, `close` last.
    pub(super) fn finish(mut self, close: Option<&Close>) -> (Socket, Vec<u8>) {
        if let Some(close) = close {
            close.write(&mut self.queue, Some(rand::random()));
        }
        self.queue.drain(..self.sent);
        (self.socket, self.queue)
    }
}
