//! What an attached page says, is written, and how it leaves.

use std::io::IoSlice;
use std::time::Duration;

use sessmux::core::cause::Parting;
use sessmux::core::close::{self, Close};
use sessmux::core::session::{Counts, HelloFate, UpstreamEnd};

use super::super::page::{MAX_REST, Page, Ping};
use super::{Hello, Left, World};

impl World {
    pub(super) fn end_code(&self) -> Option<u16> {
        match &self.end {
            Some(UpstreamEnd::Close(close)) => close.code,
            _ => None,
        }
    }

    pub(super) fn remember(&mut self, page: Page) {
        self.pings.extend(page.pings);
    }

    pub(super) fn detach(&mut self, parting: Parting) {
        if self.page.is_some() {
            self.detach_now(parting, true);
        }
    }

    pub(super) fn detach_now(&mut self, parting: Parting, closes: bool) {
        let mut page = self.page.take().expect("an attached page");
        let departure = self.core.detach(self.now, page.epoch, parting).expect("its own epoch");
        let ours = self.end_code();
        // 1001 is what a page says that leaves by itself
        let left = parting == Parting::Closed(Some(1001)) && ours != Some(1001);
        let echoed = page.close.is_some() && matches!(parting, Parting::Closed(_)) && !left;
        let ended = page.close.is_some() || self.end == Some(UpstreamEnd::Abrupt);
        let shown = self.reattached && ended && page.has_all(&self.frames);
        let over = echoed || shown || self.policy.one_to_one || self.hello != Hello::Stands;
        assert_eq!(
            departure.over, over,
            "forgotten if its page echoed the end, or was sent all of it anew"
        );
        let few = page.rest(&self.frames) <= MAX_REST;
        assert_eq!(departure.rest.is_some(), few, "one that lacks much is reset");
        if let Some(mut rest) = departure.rest.filter(|_| closes) {
            if !departure.closed {
                Close::new(close::RESTART, "").write(&mut rest, None);
            }
            page.receive(&rest, &self.frames);
            assert!(
                page.close.is_some() && !page.amid_frame(),
                "its frame is completed, then it is closed"
            );
        }
        if self.end.is_some() {
            self.drop_incomplete();
        }
        let parting = if page.gap_told && parting == Parting::Cut {
            Parting::Gap
        } else {
            parting
        };
        self.last = Some(Left {
            at: self.now,
            since: page.since,
            parting,
            resume: self.resume(&page),
            until: self.now
                + if self.running {
                    self.policy.grace_open
                } else {
                    self.policy.grace
                },
            judged: self.end.is_none().then(|| self.now + Duration::from_secs(2)),
        });
        self.over = over;
        self.stalled = None;
        self.remember(page);
    }

    pub(super) fn hello(&mut self) {
        let absorbed = self.core.counts().absorbed;
        let fate = self.core.hello();
        if self.hello != Hello::Wanted {
            assert_eq!(fate, HelloFate::Absorb);
            assert_eq!(self.core.counts().absorbed, absorbed + 1);
            return;
        }
        assert_eq!(fate, HelloFate::Forward);
        self.after_hello = self.complete;
        self.hello = if self.policy.hello_answer {
            Hello::Sent
        } else {
            Hello::Stands
        };
        let oldest = self.first_after(self.core.counts().evicted);
        let challenge: Vec<u8> = self.frames[oldest..self.first_after(self.complete)]
            .iter()
            .flat_map(|frame| frame.wire.iter().copied())
            .collect();
        assert!(
            self.core.challenge() == challenge,
            "the challenge is what was said before the hello"
        );
        self.pinned += challenge.len();
    }

    pub(super) fn page_ping(&mut self) {
        let Some(page) = &mut self.page else { return };
        self.fill = self.fill.wrapping_add(1);
        let payload = vec![b'p', self.fill];
        self.core.page_ping(page.epoch, &payload);
        page.unanswered.push_back(payload);
    }

    pub(super) fn pong(&mut self, back: usize) {
        let here = self.page.iter().flat_map(|page| page.pings.iter());
        let all: Vec<Ping> = self.pings.iter().chain(here).cloned().collect();
        let Some(ping) = all
            .len()
            .checked_sub(1 + back % all.len().max(1))
            .map(|index| &all[index])
        else {
            return;
        };
        self.core.page_pong(ping.epoch, &ping.payload);
        match &mut self.page {
            Some(page) if page.epoch == ping.epoch => {
                if page.pings.last().is_some_and(|last| last.payload == ping.payload) {
                    page.answered = page.pings.len();
                    page.acknowledged = ping.position;
                }
            }
            _ => self.stale += 1,
        }
    }

    pub(super) fn stale(&mut self) {
        let before = (self.core.log().tail() < 4096).then(|| format!("{:?}", self.core));
        let epoch = self.epochs.wrapping_sub(u64::from(self.page.is_some()));
        self.core.page_ping(epoch, b"late");
        self.core.page_pong(epoch, b"late");
        assert!(self.core.detach(self.now, epoch, Parting::Closed(Some(1000))).is_none());
        let counted = |stale| format!("all: Counts {{ stale: {stale},");
        // nothing is counted yet
        let zero = Counts::default();
        let zero = format!("counts: Some(Tally {{ all: {zero:?}, told: {zero:?}, logged: 0 }})");
        let before = before.map(|text| text.replace("counts: None", &zero));
        let before = before.map(|text| text.replace(&counted(self.stale), &counted(self.stale + 3)));
        self.stale += 3;
        let after = before.as_ref().map(|_| format!("{:?}", self.core));
        assert_eq!(before, after, "what is stale changes nothing");
    }

    /// The page's socket takes at most `most` bytes; returns whether there was anything to write.
    pub fn write(&mut self, most: usize, slots: usize) -> bool {
        let mut bytes = Vec::new();
        let mut slices = vec![IoSlice::new(&[]); slots];
        let count = self.core.slices(self.now, &mut slices);
        for slice in &slices[..count] {
            assert!(!slice.is_empty(), "an empty slice");
            let left = most - bytes.len();
            bytes.extend_from_slice(&slice[..slice.len().min(left)]);
        }
        let Some(page) = &mut self.page else {
            assert_eq!(count, 0, "nobody to write to");
            return false;
        };
        page.receive(&bytes, &self.frames);
        self.core.wrote(self.now, bytes.len());
        if !bytes.is_empty() {
            self.progress = self.now;
        }
        if count == 0 {
            assert!(
                page.has_all(&self.frames),
                "nothing to write, and yet the page lacks something"
            );
            if let Some(UpstreamEnd::Close(close)) = &self.end {
                assert_eq!(page.close.as_ref(), Some(close), "the same close, behind all the rest");
            }
            let asked = page.answered < page.pings.len();
            if self.policy.acks && self.end.is_none() && !asked && page.acknowledged < self.complete {
                let soon = self.now + Duration::from_secs(1);
                let next = self.core.next_deadline();
                assert!(next.is_some_and(|next| next <= soon), "it is asked within a second");
            }
            let abrupt = self.end == Some(UpstreamEnd::Abrupt);
            assert_eq!(self.core.page_ends_abruptly(), abrupt);
            if abrupt {
                self.detach_now(Parting::Cut, false);
            }
        } else if page.next < self.frames.len() {
            assert!(!self.core.page_ends_abruptly(), "the rest comes first");
        }
        count > 0
    }
}
