//! The upstream side of a session's task: reads what the agent server says, sends what pages said.

use std::io;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BufMut;

use super::SessionTask;
use crate::core::close::{self, Close};
use crate::core::frame::Opcode;
use crate::core::session::{Received, UpstreamEnd};
use crate::metrics::{self, Rule};
use crate::profile::Side;
use crate::session::scratch;
use crate::session::timeline::What;
use crate::transport::reader::{Event, Fault};

impl SessionTask {
    pub(super) fn flush_upstream(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(upstream) = self.upstream.as_mut().filter(|_| self.upstream_writable) else {
            return false;
        };
        match upstream.flush(cx) {
            Ok(moved) => moved,
            // its last messages and its close frame are still to be read; the end of that ends it
            Err(error) => {
                self.upstream_writable = false;
                tracing::debug!(session = %self.membership.id, cause = %error, "write to upstream failed");
                false
            }
        }
    }

    /// Reads; returns whether something came, and `Pending` where the socket tells when it does.
    pub(super) fn read_upstream(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<bool> {
        let budget = self.core.read_budget(now);
        if budget == 0 || self.is_over() || self.upstream.is_none() {
            return Poll::Ready(false);
        }
        let read = match self.lent() {
            Some(memory) => self.read_into_log(cx, now, memory, budget),
            None => self.read_into_scratch(cx, now, budget),
        };
        match read {
            None => {
                self.core.upstream_idle();
                return Poll::Pending;
            }
            Some(Ok(0)) => self.upstream_ended(now, UpstreamEnd::Abrupt, "it ended without a close frame"),
            Some(Ok(_)) => {}
            Some(Err(error)) => self.upstream_ended(now, UpstreamEnd::Abrupt, &format!("read failed: {error}")),
        }
        Poll::Ready(true)
    }

    fn read_into_scratch(&mut self, cx: &mut Context<'_>, now: Instant, budget: usize) -> Option<io::Result<usize>> {
        scratch::with(|buffer| {
            let limit = budget.min(buffer.len());
            let read = self.upstream.as_mut()?.read(cx, &mut &mut buffer[..limit])?;
            if let Ok(read) = read {
                self.upstream_bytes(&buffer[..read], now);
            }
            Some(read)
        })
    }

    /// The log's own memory to read into, if nothing that comes is looked at or cut out elsewhere first.
    fn lent(&mut self) -> Option<Vec<u8>> {
        let upstream = self.upstream.as_ref()?;
        let passes = !self.looks() && !upstream.reader.is_cut();
        passes.then(|| self.core.lend()).flatten()
    }

    /// Reads into the log's memory, of which all but data frames is taken out again: a stream's bytes are not copied.
    fn read_into_log(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        mut memory: Vec<u8>,
        budget: usize,
    ) -> Option<io::Result<usize>> {
        let held = memory.len();
        let room = budget.min(memory.capacity() - held);
        let upstream = self.upstream.as_mut();
        let read = upstream.and_then(|upstream| upstream.read(cx, &mut (&mut memory).limit(room)));
        let mut rest = &memory[held..];
        let adopted = self.adopt_frames(&mut rest);
        let rest = rest.to_vec();
        self.core.give_back(memory);
        if let Err(fault) = adopted {
            self.upstream_fault(now, fault.code(), &fault.to_string());
        }
        if read.is_some() {
            self.upstream_bytes(&rest, now);
        }
        read
    }

    /// Takes data frames off the front of `bytes`, which are in the log already.
    fn adopt_frames(&mut self, bytes: &mut &[u8]) -> Result<(), Fault> {
        let whole = self.route.profile.speaks_to_pages();
        while let Some(upstream) = &mut self.upstream {
            if let Some(run) = upstream.reader.run(bytes, usize::MAX) {
                self.core.adopt_run(run);
            }
            let Some(piece) = upstream.reader.piece(bytes) else {
                break;
            };
            let piece = piece?;
            self.core.adopt(piece.raw.len());
            if piece.ends_message || (piece.ends_frame && !whole) {
                self.core.received(piece.ends_message);
            }
        }
        Ok(())
    }

    /// Whether each message that comes is looked at.
    fn looks(&self) -> bool {
        self.route.profile.wants(Side::Server) || self.membership.tape.is_some()
    }

    pub(super) fn upstream_bytes(&mut self, bytes: &[u8], now: Instant) {
        self.take_frames(bytes, now);
        // once for all of them: a read is small beside the bounds
        let received = self.core.fit_log();
        self.logged(received, false, now);
    }

    fn take_frames(&mut self, mut bytes: &[u8], now: Instant) {
        let profile = &self.route.profile;
        let looks = profile.wants(Side::Server);
        // pages get none in parts that may yet be dropped, or that another message has to wait for
        let whole = looks || profile.speaks_to_pages();
        let runs = !self.looks();
        while let Some(upstream) = &mut self.upstream {
            let room = if runs { self.core.run_room() } else { 0 };
            if let Some(run) = upstream.reader.run(&mut bytes, room) {
                self.core.receive_run(run);
            }
            match upstream.reader.next(&mut bytes) {
                Ok(Event::More) => return,
                Ok(Event::Data(piece)) => {
                    if runs {
                        // nothing of it is dropped
                        self.core.reserve(piece.carried.len() + piece.raw.len() + bytes.len());
                    }
                    self.core.receive(&piece.carried);
                    self.core.receive(piece.raw);
                    if piece.ends_frame {
                        if whole && !piece.ends_message {
                            continue;
                        }
                        if piece.ends_message {
                            self.record_server(now);
                        }
                        if looks && !self.server_message(now) {
                            self.core.drop_message();
                            continue;
                        }
                        self.core.received(piece.ends_message);
                        if looks && self.told.as_ref().is_some_and(|told| told.over) {
                            // no page is there whose leaving would end it: the next one gets the rest, and the end
                            let close = Close::new(close::NORMAL, "");
                            self.upstream_ended(
                                now,
                                UpstreamEnd::Close(close),
                                "it said that the conversation is over",
                            );
                        }
                    }
                }
                // one that does not read what waits for it gets no pongs on top of that
                Ok(Event::Control(Opcode::Ping, payload)) if upstream.has_room() => {
                    upstream.send_control(Opcode::Pong, &payload);
                    self.heartbeat_answered(metrics::Side::Agent);
                }
                Ok(Event::Control(Opcode::Close, payload)) => match Close::parse(&payload) {
                    Some(close) => self.upstream_ended(now, UpstreamEnd::Close(close), "upstream closed"),
                    None => self.upstream_fault(now, close::PROTOCOL_ERROR, "bad close frame"),
                },
                // or a pong: whatever upstream sends shows that it lives
                Ok(Event::Control(..)) => {}
                Err(fault) => self.upstream_fault(now, fault.code(), &fault.to_string()),
            }
        }
    }

    /// What came of it that the log was brought within its bounds; `short` where those of all sessions' memory are narrower.
    pub(super) fn logged(&mut self, received: Received, short: bool, now: Instant) {
        match received {
            Received::Logged(0) => {}
            Received::Logged(evicted) => {
                self.note(now, What::Overflow { evicted });
                let total = self.core.counts().evicted;
                // the first loss is worth a line; the rest is in the counters and in every attach line
                if total == evicted && short {
                    tracing::warn!(
                        session = %self.membership.id, max_buffered = self.membership.share.budget().limit(),
                        "memory is short: the oldest messages can no longer be replayed"
                    );
                } else if total == evicted {
                    let dropping = metrics::Overflow::DropOldest;
                    self.membership.metrics().overflows.of(dropping).inc();
                    tracing::warn!(
                        session = %self.membership.id, log_bytes = self.route.log_bytes,
                        log_messages = self.route.log_messages, "log full: the oldest messages can no longer be replayed"
                    );
                }
            }
            Received::Overflow => {
                self.membership.metrics().overflows.of(metrics::Overflow::Close).inc();
                let close = Close::new(close::GAP, "the session's log was full");
                self.upstream_ended(now, UpstreamEnd::Close(close), "overflow = close: the log is full");
            }
        }
    }

    fn upstream_fault(&mut self, now: Instant, code: u16, what: &str) {
        if let Some(upstream) = self.upstream.take() {
            let (socket, rest) = upstream.finish(Some(&Close::new(code, "")));
            self.membership.farewell(socket, rest);
        }
        self.note(now, What::UpstreamFault { code });
        let reason = if code == close::TOO_BIG {
            self.membership.refused(Rule::MaxMessage);
            "a message of the agent server is too large"
        } else {
            "the agent server broke the protocol"
        };
        tracing::warn!(session = %self.membership.id, code, cause = what, "{reason}");
        let close = Close::new(close::UPSTREAM_FAULT, reason);
        self.upstream_ended(now, UpstreamEnd::Fault(close), what);
    }

    pub(super) fn upstream_ended(&mut self, now: Instant, how: UpstreamEnd, why: &str) {
        if let Some(upstream) = self.upstream.take() {
            let echo = how.close();
            let (socket, rest) = upstream.finish(echo);
            // a peer that ended without a close frame gets no bytes either
            self.membership
                .farewell(socket, if echo.is_some() { rest } else { Vec::new() });
        }
        self.record_end(now, &how);
        self.note_upstream_end(now, &how, why);
        tracing::info!(session = %self.membership.id, ?how, why, "upstream ended");
        if self.core.upstream_ended(now, how) {
            self.drop_page(now, "upstream ended amid a message");
        }
        // before the first attach its page is on the way, and gets the end
        if !self.core.is_attached() && !self.core.stands() && self.core.epoch() > 0 {
            self.over = true;
        }
    }
}
