//! The page's side of a session's task: writes what the log has for it, reads what it says, lets it go.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};
use std::time::Instant;

use super::{SLICES, SessionTask};
use crate::core::cause::Parting;
use crate::core::close::{self, Close};
use crate::core::frame::Opcode;
use crate::metrics::{Rule, Side};
use crate::session::scratch;
use crate::session::timeline::Left;
use crate::transport::reader::Event;

/// How much of a page is read at a time, in bytes: so much more may wait for the agent than is enough.
const READ: usize = 64 * 1024;

/// Reads of a page that is replaced: 8 MiB, more than a socket holds, so that one that sends without end ends.
const LAST_READS: usize = 128;

/// When so much was written in one round, in bytes, others get their turn.
const ENOUGH: usize = 256 * 1024;

impl SessionTask {
    pub(super) fn flush_page(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let moved = self.write_page(cx, now);
        if self.page.is_some() && self.core.page_ends_abruptly() {
            self.close_page(now, None, Parting::Cut);
            return true;
        }
        moved
    }

    /// Writes what there is for the page, as long as it takes it; returns whether something moved.
    pub(super) fn write_page(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let (mut moved, mut sent) = (false, 0);
        while let Some(page) = self.page.as_mut().filter(|page| page.writable && sent < ENOUGH) {
            let mut slices;
            let mut next: &[IoSlice<'_>] = &[];
            // most calls have nothing to write, and an array of slices takes longer to fill than to find that out
            if self.core.has_to_send() {
                slices = [IoSlice::new(&[]); SLICES];
                let count = self.core.slices(now, &mut slices);
                next = &slices[..count];
            }
            let written = if next.is_empty() {
                page.socket.push(cx).err().map(Err)
            } else {
                page.write(cx, next)
            };
            match written {
                None => break,
                Some(Ok(written)) => {
                    self.core.wrote(now, written);
                    self.replay_written();
                    (moved, sent) = (true, sent + written);
                }
                // it has gone, but what it said before that, its close frame too, is still to be read; the end of
                // that detaches it
                Some(Err(error)) => {
                    page.writable = false;
                    tracing::debug!(session = %self.membership.id, epoch = page.epoch, cause = %error, "write failed");
                }
            }
        }
        moved
    }

    /// Reads once; returns whether something came, and `Pending` where the socket tells when it does.
    pub(super) fn read_page(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<bool> {
        if self.upstream.as_ref().is_some_and(|upstream| !upstream.has_room()) {
            // that its message stays incomplete is not the page's doing
            self.core.client_message_open(now, false);
            return Poll::Ready(false);
        }
        if self.page.is_none() || self.is_over() {
            return Poll::Ready(false);
        }
        scratch::with(|buffer| {
            let buffer = &mut buffer[..READ];
            match self.page.as_mut().and_then(|page| page.read(cx, buffer)) {
                None => Poll::Pending,
                read => Poll::Ready(self.page_read(read, buffer, now)),
            }
        })
    }

    /// Reads all that the page has sent so far, for another is about to take its place: it belongs to the session
    /// (G7, "approve, then reload" approves), and a close frame among it tells a reload from a cut.
    pub(super) fn hear_out(&mut self, now: Instant) {
        for _ in 0..LAST_READS {
            // an agent that does not read is not owed without end
            if self
                .upstream
                .as_ref()
                .is_some_and(|upstream| upstream.waiting() > self.route.max_message)
            {
                return;
            }
            let read = scratch::with(|buffer| {
                let buffer = &mut buffer[..READ];
                let read = self.page.as_mut().and_then(|page| page.read_now(buffer));
                self.page_read(read, buffer, now)
            });
            if !read {
                return;
            }
        }
    }

    fn page_read(&mut self, read: Option<io::Result<usize>>, buffer: &[u8], now: Instant) -> bool {
        match read {
            None => return false,
            Some(Ok(0)) => self.close_page(now, None, Parting::Cut),
            Some(Ok(read)) => self.page_bytes(&buffer[..read], now),
            Some(Err(error)) => self.drop_page(now, &format!("read failed: {error}")),
        }
        true
    }

    pub(super) fn page_bytes(&mut self, mut bytes: &[u8], now: Instant) {
        while let Some(page) = &mut self.page {
            let epoch = page.epoch;
            match page.reader.next(&mut bytes) {
                Ok(Event::More) => {
                    let open = page.reader.amid_message();
                    self.core.client_message_open(now, open);
                    return;
                }
                Ok(Event::Data(piece)) => {
                    if let Some(message) = page.collect(&piece) {
                        page.messages += 1;
                        let number = page.messages;
                        self.core.client_message_open(now, false);
                        let asked = self.core.last_asked();
                        self.client_message(now, &message, number);
                        self.record_client(now, &message, asked);
                    }
                }
                Ok(Event::Control(Opcode::Ping, payload)) => {
                    self.core.page_ping(epoch, &payload);
                    self.heartbeat_answered(Side::Page);
                }
                Ok(Event::Control(Opcode::Close, payload)) => match Close::parse(&payload) {
                    Some(close) => {
                        let parting = Parting::Closed(close.code);
                        self.close_page(now, Some(&close), parting);
                    }
                    None => self.page_fault(now, close::PROTOCOL_ERROR, "bad close frame"),
                },
                Ok(Event::Control(_, payload)) => self.core.page_pong(epoch, &payload),
                Err(fault) => self.page_fault(now, fault.code(), &fault.to_string()),
            }
        }
    }

    fn page_fault(&mut self, now: Instant, code: u16, what: &str) {
        if code == close::TOO_BIG {
            self.membership.refused(Rule::MaxMessage);
        }
        tracing::warn!(session = %self.membership.id, code, cause = what, "page broke the protocol");
        // the reason names the offence to whoever debugs the page; it is short and ours
        let reason = if code == close::TOO_BIG {
            "message too large"
        } else {
            ""
        };
        self.close_page(now, Some(&Close::new(code, reason)), Parting::Cut);
    }

    /// Detaches the page with what completes its frame and `close`, and lets its socket go; without either, where that is
    /// too much.
    pub(super) fn close_page(&mut self, now: Instant, close: Option<&Close>, parting: Parting) {
        let Some(page) = self.page.take() else { return };
        let Some(departure) = self.core.detach(now, page.epoch, parting) else {
            return;
        };
        self.record_detach(now, page.epoch, parting);
        let left = Left::of(parting, close.and_then(|close| close.code));
        self.note_detach(now, page.epoch, left);
        tracing::info!(
            session = %self.membership.id, epoch = page.epoch, cause = left.name(),
            code = left.code(), position = self.core.log().boundary().position, "detach"
        );
        match departure.rest {
            None => page.socket.reset(),
            Some(mut rest) => {
                if let Some(close) = close.filter(|_| !departure.closed) {
                    close.write(&mut rest, None);
                }
                if close.is_none() && self.core.end().is_some() {
                    self.membership.farewell_unsaid(page.socket, rest);
                } else {
                    self.membership.farewell(page.socket, rest);
                }
            }
        }
        self.departed(departure.over, parting);
    }

    /// Detaches the page and resets its connection.
    pub(super) fn drop_page(&mut self, now: Instant, why: &str) {
        let Some(page) = self.page.take() else { return };
        let Some(departure) = self.core.detach(now, page.epoch, Parting::Cut) else {
            return;
        };
        self.record_detach(now, page.epoch, Parting::Cut);
        self.note_detach(now, page.epoch, Left::Cut);
        tracing::info!(
            session = %self.membership.id, epoch = page.epoch, why, position = self.core.log().boundary().position, "detach"
        );
        page.socket.reset();
        self.departed(departure.over, Parting::Cut);
    }

    fn departed(&mut self, over: bool, parting: Parting) {
        self.membership.mailbox.set_attached(false);
        if over {
            let code = match parting {
                Parting::Closed(code) => code,
                _ => Some(close::GOING_AWAY),
            };
            self.end(
                Some(&Close {
                    code,
                    reason: String::new(),
                }),
                "its page left",
            );
        }
    }
}
