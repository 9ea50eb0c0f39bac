//! Attaches, and what must come of each.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sessmux::core::ReplayMode;
use sessmux::core::cause::{Cause, PageFacts, Parting};
use sessmux::core::close::{self, Close};
use sessmux::core::frame::{self, Opcode};
use sessmux::core::session::{Admission, Newcomer};

use super::super::page::{MAX_REST, Page};
use super::{Hello, PageFactsOf, World};

#[derive(Debug)]
enum Expected {
    Attached { cause: Option<Cause>, from: u64, gap: u64 },
    Refused(u16),
    OnPurpose(Option<u16>),
}

impl World {
    pub(super) fn attach(&mut self, of: PageFactsOf) {
        if self.page.is_some() && self.hello != Hello::Stands {
            return;
        }
        self.facts.seen = of.seen || of.rerequested;
        self.facts.rerequested = of.rerequested;
        if of.requests {
            self.facts.last_request = Some(self.now);
            // its socket comes after it
            self.now += Duration::from_millis(1);
        }
        let facts = self.facts;
        let mut head = Vec::new();
        frame::write(&mut head, Opcode::Binary, &self.epochs.to_be_bytes(), None);
        let given = head.clone();
        let takeover = self.page.is_some();
        let before = (self.core.log().tail() < 4096).then(|| format!("{:?}", self.core));
        let expected = self.expect_attach(facts);
        // one that goes without a word may dial again, unless it was being reloaded
        let reloads = |since: Instant, at: Instant| {
            let requested = facts.last_request.filter(|request| (since..=at).contains(request));
            requested.is_some_and(|request| at - request < Duration::from_secs(10))
        };
        let returns = match (&self.page, &self.last) {
            (Some(page), _) => (!page.gap_told).then(|| self.resume(page)),
            (None, Some(last)) if last.parting == Parting::Cut => {
                (!reloads(last.since, last.at)).then_some(last.resume)
            }
            _ => None,
        };
        let newcomer = Newcomer {
            since: self.now,
            facts,
            same_browser: true,
            head,
            answer: None,
        };
        match (self.core.attach(self.now, newcomer), expected) {
            (Admission::Attached(it), Expected::Attached { cause, from, gap }) => {
                assert_eq!((it.cause, it.from.position, it.gap), (cause, from, gap));
                assert_eq!(it.replayed, self.complete - from);
                assert_eq!(it.from.offset, self.start_of(self.first_after(from)));
                self.epochs += 1;
                assert_eq!(it.epoch, self.epochs);
                assert!(takeover || it.replaced.is_none());
                if let Some(mut old) = self.page.take() {
                    let few = old.rest(&self.frames) <= MAX_REST;
                    assert_eq!(it.replaced.is_some(), few, "one that lacks much is reset");
                    if let Some(mut rest) = it.replaced {
                        if !it.replaced_closed {
                            Close::new(close::REPLACED, "").write(&mut rest, None);
                        }
                        old.receive(&rest, &self.frames);
                        let code = old.close.as_ref().map(|close| close.code);
                        let ours = (!it.replaced_closed).then_some(close::REPLACED).or(self.end_code());
                        assert_eq!(code, Some(ours), "the replaced page is closed at once, and once");
                    }
                    self.remember(old);
                    if self.end.is_some() {
                        self.drop_incomplete();
                    }
                    self.takeover();
                }
                let mut head = VecDeque::from([given]);
                if cause.is_some() {
                    head.extend(self.answer.iter().cloned());
                }
                if cause == Some(Cause::Refresh) {
                    // the one that has least, for as long as a session is kept
                    let returns = returns.map(|resume| (resume, self.now + self.policy.grace));
                    self.elsewhere = returns.or(self.elsewhere);
                }
                self.page_pinged = self.now;
                let page = Page::new(it.epoch, self.now, head, self.first_after(from), from);
                self.page = Some(page);
                self.reattached = self.end.is_some();
                self.progress = self.now;
                (self.open, self.stalled) = (None, None);
            }
            (Admission::Refused(head, close), Expected::Refused(code)) => {
                assert_eq!((head, close.code), (given, Some(code)));
                match (&mut self.page, &mut self.last) {
                    _ if code != close::GAP => {
                        let after = before.as_ref().map(|_| format!("{:?}", self.core));
                        assert_eq!(before, after, "a refused attach changes nothing");
                    }
                    (Some(page), _) => page.gap_told = true,
                    (None, Some(last)) => last.parting = Parting::Gap,
                    (None, None) => panic!("a gap, and nobody was there before"),
                }
            }
            (Admission::OnPurpose(head, code), Expected::OnPurpose(expected)) => {
                assert_eq!((head, code), (given, expected));
                self.over = true;
            }
            (got, expected) => panic!("{got:?}, not {expected:?}"),
        }
    }

    /// From where a page is replayed to that may be this one, or one that is alive elsewhere.
    pub(super) fn resume(&self, page: &Page) -> u64 {
        let elsewhere = self.elsewhere.filter(|(_, until)| self.now < *until);
        page.acknowledged.min(elsewhere.map_or(u64::MAX, |(resume, _)| resume))
    }

    fn expect_attach(&self, facts: PageFacts) -> Expected {
        let takeover = self.page.is_some();
        let loading = facts
            .last_request
            .is_some_and(|at| self.now - at < Duration::from_secs(10));
        let requested = |since: Instant| facts.last_request.is_some_and(|at| at >= since);
        let (since, parting, resume) = match (&self.page, &self.last) {
            (Some(page), _) => {
                if self.policy.fights && !requested(page.since) && self.damped.is_some_and(|until| self.now < until) {
                    return Expected::Refused(close::REPLACED);
                }
                let parting = if page.gap_told { Parting::Gap } else { Parting::Cut };
                (page.since, parting, self.resume(page))
            }
            (None, Some(last)) => (last.since, last.parting, last.resume),
            (None, None) => {
                let evicted = self.core.counts().evicted;
                let from = self.after_hello.max(evicted);
                return Expected::Attached {
                    cause: None,
                    from,
                    gap: from - self.after_hello,
                };
            }
        };
        let cause = match parting {
            Parting::Cut if self.policy.blip_1006 && !takeover && !requested(since) => Cause::Blip,
            // the same page, as far as all that is known tells
            Parting::Cut if facts.rerequested && !requested(since) && !(takeover && loading) => Cause::Blip,
            Parting::Closed(code @ (None | Some(1000)))
                if facts.seen
                    && !requested(since)
                    && !self.policy.explicit_id
                    && self
                        .last
                        .as_ref()
                        .is_some_and(|last| last.judged.is_none_or(|at| self.now < at)) =>
            {
                return Expected::OnPurpose(code);
            }
            _ => Cause::Refresh,
        };
        let mode = if cause == Cause::Blip {
            self.policy.replay_blip
        } else {
            self.policy.replay_refresh
        };
        let wanted = match mode {
            ReplayMode::All => self.after_hello,
            ReplayMode::Turn => self.turn.unwrap_or(self.complete),
            ReplayMode::Missed => resume,
            ReplayMode::None => self.complete,
        };
        let wanted = wanted.max(self.after_hello);
        let from = wanted.max(self.core.counts().evicted);
        if cause == Cause::Blip && self.core.counts().evicted > resume.max(self.after_hello) {
            return Expected::Refused(close::GAP);
        }
        Expected::Attached {
            cause: Some(cause),
            from,
            gap: from - wanted + self.missing,
        }
    }

    fn takeover(&mut self) {
        self.takeovers.retain(|at| self.now - *at <= Duration::from_secs(10));
        self.takeovers.push(self.now);
        if self.takeovers.len() == 3 {
            self.takeovers.clear();
            self.damped = Some(self.now + Duration::from_secs(30));
        }
    }
}
