//! What upstream sends, and what is evicted for it.

use sessmux::core::Overflow;
use sessmux::core::cause::Parting;
use sessmux::core::close::{self, Close};
use sessmux::core::frame::{self, Opcode};
use sessmux::core::log::Run;
use sessmux::core::session::{Received, UpstreamEnd};

use super::super::page::Frame;
use super::{Hello, World};

impl World {
    pub(super) fn frame(&mut self, size: usize, fin: bool) {
        if self.end.is_some() {
            return;
        }
        let opcode = if self.amid_message {
            Opcode::Continuation
        } else {
            Opcode::Text
        };
        self.fill = self.fill.wrapping_add(1);
        let mut wire = Vec::new();
        frame::write(&mut wire, opcode, &vec![self.fill; size], None);
        if !fin {
            wire[0] &= 0x7f;
        }
        self.amid_message = !fin;
        self.pipe.push_back((wire, fin));
    }

    pub(super) fn read(&mut self, most: usize) {
        let mut left = most.min(self.budget());
        self.read_run(&mut left);
        while let Some((wire, _)) = self.pipe.front()
            && left > 0
            && !self.over
        {
            let until = wire.len().min(self.read + left);
            self.core.receive(&wire[self.read..until]);
            let whole = until == wire.len();
            self.page_makes_room(until - self.read);
            left -= until - self.read;
            self.read = until;
            if whole && let Some((wire, fin)) = self.pipe.pop_front() {
                self.read = 0;
                self.received(wire, fin);
            }
        }
        self.fit();
        if left > 0 {
            self.core.upstream_idle();
            self.stalled = None;
        }
    }

    /// Takes whole messages of one frame each in one go, where that may be.
    fn read_run(&mut self, left: &mut usize) {
        if self.read > 0 || self.over || self.core.awaits_hello_answer() {
            return;
        }
        let (mut run, mut messages, mut last) = (Vec::new(), 0, 0);
        let room = self.core.run_room().min(*left);
        while let Some((wire, _)) = self.pipe.front().filter(|(wire, fin)| *fin && wire[0] & 0x0f != 0)
            && run.len() + wire.len() <= room
        {
            let (wire, fin) = self.pipe.pop_front().unwrap();
            run.extend_from_slice(&wire);
            (messages, last) = (messages + 1, wire.len());
            self.note(wire, fin);
            self.complete += 1;
        }
        if messages > 0 {
            *left -= run.len();
            self.page_makes_room(run.len());
            self.core.receive_run(Run {
                bytes: &run,
                messages,
                last,
            });
        }
    }

    fn page_makes_room(&mut self, bytes: usize) {
        if let Some((_, owed)) = &mut self.stalled {
            *owed = owed.saturating_sub(bytes);
        }
        self.stalled = self.stalled.filter(|(_, owed)| *owed > 0);
    }

    fn note(&mut self, wire: Vec<u8>, fin: bool) {
        let end = self.frames.last().map_or(0, |frame| frame.end) + wire.len() as u64;
        let position = self.complete + 1;
        self.frames.push(Frame {
            wire,
            position,
            end,
            fin,
        });
    }

    fn received(&mut self, wire: Vec<u8>, fin: bool) {
        let position = self.complete + 1;
        self.note(wire, fin);
        if fin && self.core.awaits_hello_answer() {
            self.core.hello_answered();
            self.after_hello = position;
            self.hello = Hello::Stands;
            let frames = self.frames.iter().filter(|frame| frame.position == position);
            self.answer = frames.map(|frame| frame.wire.clone()).collect();
            self.pinned += self.answer.iter().map(Vec::len).sum::<usize>();
        }
        self.core.received(fin);
        self.complete += u64::from(fin);
    }

    fn fit(&mut self) {
        let before = self.core.log().base();
        let received = self.core.fit_log();
        let after = self.core.log().base();
        match received {
            Received::Overflow => {
                assert!(self.page.is_none() && self.policy.overflow == Overflow::Close);
                let resume = self.last.as_ref().map_or(0, |last| last.resume);
                assert!(
                    after == before || after.position <= resume,
                    "what was not acknowledged stays"
                );
                assert!(self.retained_exceeds(after.position), "the log is full");
                assert!(
                    self.complete > after.position + 1,
                    "one that is kept above the bounds ends nothing"
                );
                self.upstream_ends(UpstreamEnd::Close(Close::new(close::GAP, "full")));
            }
            Received::Logged(evicted) => {
                assert!(evicted >= after.position - before.position);
                self.check_eviction(before.position, after.position);
            }
        }
    }

    /// Whether what is retained behind `position` may exceed the bounds.
    fn retained_exceeds(&self, position: u64) -> bool {
        let bytes = self.core.log().tail() - self.start_of(self.first_after(position));
        self.complete - position > self.policy.log.messages || bytes as usize + self.slack > self.bytes()
    }

    fn check_eviction(&self, before: u64, after: u64) {
        assert_eq!(
            self.core.log().base().offset,
            self.start_of(self.first_after(after)),
            "whole messages are evicted"
        );
        if after > before {
            assert!(
                self.retained_exceeds(after - 1),
                "none is evicted that the bounds allow"
            );
        }
        let next = after + 1;
        let unread = self.page.as_ref().is_some_and(|page| {
            let end = self.start_of(self.first_after(next));
            page.cursor(self.start_of(page.next)) < end
        });
        if next < self.complete && !unread {
            assert!(
                self.complete - after <= self.policy.log.messages,
                "the bound by count holds"
            );
            assert!(!self.core.log().over_bounds(), "the bound by bytes holds");
            assert!(
                self.core.log().allocated() <= self.bytes() + self.slab,
                "and so it does with a spare slab"
            );
        }
        assert!(after < self.complete.max(1), "the newest is kept");
    }

    /// Nobody gets a message any more that is never to be whole.
    pub(super) fn drop_incomplete(&mut self) {
        self.frames.truncate(self.first_after(self.complete));
        assert!(!self.core.log().amid_message(), "an incomplete message is dropped");
    }

    pub(super) fn upstream_ends(&mut self, how: UpstreamEnd) {
        let again = self.end.is_some();
        let boundary = self.start_of(self.first_after(self.complete));
        let amid = self
            .page
            .as_ref()
            .is_some_and(|page| page.cursor(self.start_of(page.next)) > boundary);
        let torn = self.core.upstream_ended(self.now, how.clone());
        if again {
            assert!(!torn, "only the first end counts");
            return;
        }
        let abrupt = how == UpstreamEnd::Abrupt;
        assert_eq!(
            torn,
            amid && abrupt,
            "a page that has part of a message is aborted, or is closed behind that"
        );
        self.end = Some(how);
        self.running = false;
        if let Some(last) = &mut self.last {
            last.until = last.until.min(self.now + self.policy.grace);
        }
        self.progress = self.now;
        self.pipe.clear();
        if torn {
            self.detach_now(Parting::Cut, false);
        }
        if torn || !amid {
            self.drop_incomplete();
        }
        if self.page.is_none() && self.hello != Hello::Stands {
            self.over = true;
        }
    }
}
