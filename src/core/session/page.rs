//! Traffic with the attached page: what to write to it, and the control frames that it sends.

use std::io::IoSlice;
use std::time::Instant;

use super::Session;
use super::upstream::UpstreamEnd;
use crate::core::deadlines::{CLIENT_MESSAGE, ECHO};
use crate::core::frame::{self, Opcode};

impl Session {
    /// Whether the page has sent part of a message; one that stays incomplete for 30 s is due.
    pub fn client_message_open(&mut self, now: Instant, open: bool) {
        let Some(attached) = &mut self.attached else { return };
        let deadline = &mut attached.deadlines.client_message;
        if open {
            deadline.get_or_insert(now + CLIENT_MESSAGE);
        } else {
            *deadline = None;
        }
    }

    /// The page sent a ping: it is answered, unless the page is being sent the end.
    pub fn page_ping(&mut self, epoch: u64, payload: &[u8]) {
        if !self.current(epoch) {
            return;
        }
        if let Some(attached) = self.attached.as_mut().filter(|_| self.end.is_none()) {
            attached
                .out
                .push_control(&self.log, |out| frame::write(out, Opcode::Pong, payload, None));
        }
    }

    /// Sends the attached page a message of sessmux's own: no position, not in the log. Returns whether it was taken.
    pub fn say(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let attached = self.attached.as_mut().filter(|_| self.end.is_none());
        let taken = attached.map(|attached| attached.out.push_message(write));
        if taken == Some(false) {
            self.count().unsaid += 1;
        }
        taken == Some(true)
    }

    /// The page's browser answered a ping.
    pub fn page_pong(&mut self, epoch: u64, payload: &[u8]) {
        if !self.current(epoch) {
            return;
        }
        if let Some(attached) = &mut self.attached {
            attached.acks.pong(epoch, payload);
        }
    }

    /// Up to which offset of the log the page was sent what there is; 0 while nobody is attached.
    pub fn sent(&self) -> u64 {
        self.attached.as_ref().map_or(0, |attached| attached.out.cursor())
    }

    /// Whether there may be something to write to the page.
    pub fn has_to_send(&self) -> bool {
        let attached = self.attached.as_ref();
        attached.is_some_and(|attached| self.end.is_some() || !attached.out.is_empty(&self.log))
    }

    /// What to write to the page next, at most as many slices as `out` takes; returns how many.
    pub fn slices<'a>(&'a mut self, now: Instant, out: &mut [IoSlice<'a>]) -> usize {
        let Some(attached) = &mut self.attached else { return 0 };
        let log = &self.log;
        if attached.out.is_stopped(log) {
            // those that are still open, and that somebody waits for
            let (from, waits) = (attached.from, self.end.is_none());
            let prompts = self.kept.iter().flat_map(|kept| kept.prompts.open());
            let before = prompts.filter(|prompt| waits && prompt.mark.offset < from);
            let wire: Vec<u8> = before.flat_map(|prompt| prompt.wire.iter().copied()).collect();
            attached.out.add(&wire);
        }
        attached.out.place_messages(log);
        if let Some(end) = &mut self.end {
            end.echo.get_or_insert(now + ECHO);
            if let Some(close) = end.how.close()
                && !attached.ending
            {
                attached.ending = attached.out.push_control_last(log, |out| close.write(out, None));
            }
        } else if self.policy.acks && !attached.out.has_control() && attached.out.lacks_data(log) {
            if !attached.out.is_behind(log) {
                attached.ping_last(log, now, self.epoch);
            } else if attached.acks.rested(now) {
                // amid a backlog, for what was sent of it: its end may be far
                let passed = attached.out.passed(log);
                if let Some(payload) = attached.acks.ping(now, self.epoch, passed) {
                    let ping = |out: &mut Vec<u8>| frame::write(out, Opcode::Ping, &payload, None);
                    attached.out.push_control(log, ping);
                }
            }
        }
        attached.out.slices(log, out)
    }

    /// `written` bytes of what [`Self::slices`] gave are on their way.
    pub fn wrote(&mut self, now: Instant, written: usize) {
        if let Some(attached) = &mut self.attached {
            attached.out.wrote(written, &self.log);
            if let Some(end) = self.end.as_mut().filter(|_| written > 0) {
                end.echo = Some(now + ECHO);
            }
        }
    }

    /// Whether the page has everything, and its connection is now to be ended as upstream's was, without a close frame,
    /// and be detached as [`Parting::Cut`](crate::core::cause::Parting::Cut).
    pub fn page_ends_abruptly(&self) -> bool {
        matches!(self.end(), Some(UpstreamEnd::Abrupt))
            && self
                .attached
                .as_ref()
                .is_some_and(|attached| attached.out.is_empty(&self.log))
    }
}
