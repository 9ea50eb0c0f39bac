//! A session between a naive upstream and a naive page, with the model that says what must come of each operation.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use sessmux::core::cause::{Cause, PageFacts, Parting};
use sessmux::core::close::{self, Close};
use sessmux::core::frame::{self, Opcode};
use sessmux::core::session::{Admission, Due, HelloFate, Newcomer, Received, Session, UpstreamEnd};
use sessmux::core::{Overflow, Policy, ReplayMode};

use super::page::{Frame, Page, Ping};

/// The largest slab of a log.
const SLAB: usize = 64 * 1024;

/// What may happen to a session; what does not apply at the moment does nothing.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Upstream sends a data frame.
    Frame {
        size: usize,
        fin: bool,
    },
    /// At most so many bytes are read from upstream.
    Read(usize),
    /// The page's socket takes at most so many bytes, of so many slices.
    Write(usize, usize),
    Attach(PageFactsOf),
    Detach(Parting),
    Hello,
    /// The page pings.
    PagePing,
    /// A pong to one of the pings that pages ever received, counted from the newest.
    Pong(usize),
    /// The page has sent part of a message, or all of it.
    ClientMessage(bool),
    TurnStarted,
    UpstreamEnds(UpstreamEnd),
    /// What acts for an older epoch: a ping, a pong, an end.
    Stale,
    /// Time jumps to the next deadline.
    NextDeadline,
    Wait(u64),
}

/// What is known of a newcomer's browser.
#[derive(Debug, Clone, Copy)]
pub struct PageFactsOf {
    pub seen: bool,
    pub rerequested: bool,
    /// It requests a page just now.
    pub requests: bool,
}

struct Left {
    at: Instant,
    since: Instant,
    parting: Parting,
    resume: u64,
    /// When the time to judge a normal close of it is over.
    judged: Option<Instant>,
}

#[derive(PartialEq, Clone, Copy)]
enum Hello {
    Stands,
    Wanted,
    Sent,
}

/// See the module.
pub struct World {
    pub core: Session,
    policy: Policy,
    born: Instant,
    pub now: Instant,
    /// What upstream sent and nobody read, as frames with their fin flags.
    pipe: VecDeque<(Vec<u8>, bool)>,
    /// Bytes read of the first of them.
    read: usize,
    amid_message: bool,
    fill: u8,
    /// Whole frames read.
    pub frames: Vec<Frame>,
    /// Complete messages.
    pub complete: u64,
    pub page: Option<Page>,
    last: Option<Left>,
    facts: PageFacts,
    hello: Hello,
    after_hello: u64,
    answer: Vec<Vec<u8>>,
    turn: Option<u64>,
    pub end: Option<UpstreamEnd>,
    reattached: bool,
    pub over: bool,
    stalled: Option<Instant>,
    open: Option<Instant>,
    progress: Instant,
    pinged: Instant,
    takeovers: Vec<Instant>,
    damped: Option<Instant>,
    epochs: u64,
    stale: u64,
    pings: Vec<Ping>,
    /// Most bytes that a log holds above what is retained: evicted ones, free ones and a spare slab.
    slack: usize,
}

impl World {
    pub fn new(policy: Policy) -> Self {
        let born = Instant::now();
        Self {
            core: Session::new(policy, born),
            policy,
            born,
            now: born,
            pipe: VecDeque::new(),
            read: 0,
            amid_message: false,
            fill: 0,
            frames: Vec::new(),
            complete: 0,
            page: None,
            last: None,
            facts: PageFacts::default(),
            hello: if policy.hello { Hello::Wanted } else { Hello::Stands },
            after_hello: 0,
            answer: Vec::new(),
            turn: None,
            end: None,
            reattached: false,
            over: false,
            stalled: None,
            open: None,
            progress: born,
            pinged: born,
            takeovers: Vec::new(),
            damped: None,
            epochs: 0,
            stale: 0,
            pings: Vec::new(),
            slack: 3 * SLAB,
        }
    }

    pub fn apply(&mut self, operation: &Operation) {
        if self.over {
            return;
        }
        match operation {
            Operation::Frame { size, fin } => self.frame(*size, *fin),
            Operation::Read(most) => self.read(*most),
            Operation::Write(most, slots) => {
                self.write(*most, *slots);
            }
            Operation::Attach(facts) => self.attach(*facts),
            Operation::Detach(parting) => self.detach(*parting),
            Operation::Hello => self.hello(),
            Operation::PagePing => self.page_ping(),
            Operation::Pong(back) => self.pong(*back),
            Operation::ClientMessage(open) => {
                if self.page.is_some() {
                    self.core.client_message_open(self.now, *open);
                    self.open = open.then(|| self.open.unwrap_or(self.now));
                }
            }
            Operation::TurnStarted => {
                self.core.turn_started();
                self.turn = Some(self.complete);
            }
            Operation::UpstreamEnds(how) => self.upstream_ends(how.clone()),
            Operation::Stale => self.stale(),
            Operation::NextDeadline => {
                if let Some(next) = self.core.next_deadline() {
                    self.now = self.now.max(next);
                }
            }
            Operation::Wait(milliseconds) => self.now += Duration::from_millis(*milliseconds),
        }
        self.fire();
        self.check();
    }

    /// What holds at any time.
    pub fn check(&mut self) {
        if self.over {
            return;
        }
        let (log, counts) = (self.core.log(), self.core.counts());
        assert_eq!(counts.evicted, log.base().position, "every eviction is counted");
        assert_eq!(counts.stale, self.stale, "what is stale is counted, and nothing else");
        assert_eq!(log.boundary().position, self.complete);
        assert_eq!(self.core.epoch(), self.epochs);
        assert_eq!(self.core.is_attached(), self.page.is_some());
        assert_eq!(self.core.end(), self.end.as_ref());
        assert_eq!(self.core.stands(), self.hello == Hello::Stands);
        if let Some(next) = self.core.next_deadline() {
            assert!(next > self.now, "nothing is due, and yet the next deadline has come");
        }
        self.check_budget();
        let held = self.core.log().tail() - self.core.log().base().offset;
        assert!(self.core.log().allocated() as u64 <= held + self.slack as u64);
    }

    fn check_budget(&mut self) {
        let budget = self.core.read_budget(self.now);
        let Some(page) = self.page.as_ref().filter(|_| self.end.is_none()) else {
            assert_eq!(budget, usize::MAX, "nobody to wait for");
            self.stalled = None;
            return;
        };
        let cursor = page.cursor(self.start_of(page.next));
        let unread = self.core.log().tail() - cursor;
        let behind = self
            .frames
            .iter()
            .filter(|frame| frame.fin && frame.end > cursor)
            .count() as u64;
        let full = unread >= self.policy.log.bytes as u64 || behind > self.policy.log.messages;
        let all = page.next == self.frames.len();
        assert_eq!(
            budget == 0,
            full && !all,
            "read unless that loses what the page has yet to get"
        );
        if budget > 0 {
            self.stalled = None;
            return;
        }
        let since = *self.stalled.get_or_insert(self.now);
        assert!(self.now < since + Duration::from_secs(10), "10 s unread");
    }

    fn start_of(&self, index: usize) -> u64 {
        index.checked_sub(1).map_or(0, |before| self.frames[before].end)
    }

    fn first_after(&self, position: u64) -> usize {
        self.frames.partition_point(|frame| frame.position <= position)
    }

    // ---- upstream

    fn frame(&mut self, size: usize, fin: bool) {
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

    fn read(&mut self, most: usize) {
        let mut left = most.min(self.core.read_budget(self.now));
        while let Some((wire, fin)) = self.pipe.front()
            && left > 0
            && !self.over
        {
            let until = wire.len().min(self.read + left);
            self.core.receive(&wire[self.read..until]);
            left -= until - self.read;
            self.read = until;
            if until == wire.len() {
                let (wire, fin) = (wire.clone(), *fin);
                self.pipe.pop_front();
                self.read = 0;
                self.received(wire, fin);
            }
        }
    }

    fn received(&mut self, wire: Vec<u8>, fin: bool) {
        let end = self.frames.last().map_or(0, |frame| frame.end) + wire.len() as u64;
        let position = self.complete + 1;
        self.frames.push(Frame {
            wire,
            position,
            end,
            fin,
        });
        if fin && self.core.awaits_hello_answer() {
            self.core.hello_answered();
            self.after_hello = position;
            self.hello = Hello::Stands;
            let frames = self.frames.iter().filter(|frame| frame.position == position);
            self.answer = frames.map(|frame| frame.wire.clone()).collect();
        }
        let before = self.core.log().base();
        let received = self.core.received(fin);
        self.complete += u64::from(fin);
        let after = self.core.log().base();
        match received {
            Received::Overflow => {
                assert!(self.page.is_none() && self.policy.overflow == Overflow::Close);
                assert_eq!(before, after, "what is retained stays");
                assert!(self.retained_exceeds(before.position), "the log is full");
                assert!(
                    self.complete > before.position + 1,
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
        self.complete - position > self.policy.log.messages || bytes as usize + self.slack > self.policy.log.bytes
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
                self.core.log().allocated() <= self.policy.log.bytes + SLAB,
                "and so it does with a spare slab"
            );
        }
        assert!(after < self.complete.max(1), "the newest is kept");
    }

    fn upstream_ends(&mut self, how: UpstreamEnd) {
        let again = self.end.is_some();
        let boundary = self.start_of(self.first_after(self.complete));
        let amid = self
            .page
            .as_ref()
            .is_some_and(|page| page.cursor(self.start_of(page.next)) > boundary);
        let torn = self.core.upstream_ended(how.clone());
        if again {
            assert!(!torn, "only the first end counts");
            return;
        }
        assert_eq!(torn, amid, "a page that has part of a message is aborted");
        self.end = Some(how);
        self.progress = self.now;
        self.pipe.clear();
        if torn {
            self.detach_now(Parting::Cut, false);
        }
        self.frames.truncate(self.first_after(self.complete));
        assert!(!self.core.log().amid_message(), "an incomplete message is dropped");
        if self.page.is_none() && self.hello != Hello::Stands {
            self.over = true;
        }
    }

    // ---- pages

    fn attach(&mut self, of: PageFactsOf) {
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
        let newcomer = Newcomer {
            since: self.now,
            facts,
            head,
        };
        match (self.core.attach(self.now, newcomer), expected) {
            (Admission::Attached(it), Expected::Attached { cause, from, gap }) => {
                assert_eq!((it.cause, it.from.position, it.gap), (cause, from, gap));
                assert_eq!(it.replayed, self.complete - from);
                assert_eq!(it.from.offset, self.start_of(self.first_after(from)));
                self.epochs += 1;
                assert_eq!(it.epoch, self.epochs);
                assert_eq!(it.replaced.is_some(), takeover);
                if let (Some(mut old), Some(mut rest)) = (self.page.take(), it.replaced) {
                    if !it.replaced_closed {
                        Close::new(close::REPLACED, "").write(&mut rest, None);
                    }
                    old.receive(&rest, &self.frames);
                    let code = old.close.as_ref().map(|close| close.code);
                    let ours = (!it.replaced_closed).then_some(close::REPLACED).or(self.end_code());
                    assert_eq!(code, Some(ours), "the replaced page is closed at once, and once");
                    self.remember(old);
                    self.takeover();
                }
                let mut head = VecDeque::from([given]);
                if cause.is_some() {
                    head.extend(self.answer.iter().cloned());
                }
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

    fn expect_attach(&self, facts: PageFacts) -> Expected {
        let requested = |since: Instant| facts.last_request.is_some_and(|at| at >= since);
        let (since, parting, resume) = match (&self.page, &self.last) {
            (Some(page), _) => {
                if self.policy.fights && !requested(page.since) && self.damped.is_some_and(|until| self.now < until) {
                    return Expected::Refused(close::REPLACED);
                }
                let parting = if page.gap_told { Parting::Gap } else { Parting::Cut };
                (page.since, parting, page.acknowledged)
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
            Parting::Cut if self.policy.blip_1006 || (facts.rerequested && !requested(since)) => Cause::Blip,
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
        if cause == Cause::Blip && from > wanted {
            return Expected::Refused(close::GAP);
        }
        Expected::Attached {
            cause: Some(cause),
            from,
            gap: from - wanted,
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

    fn end_code(&self) -> Option<u16> {
        match &self.end {
            Some(UpstreamEnd::Close(close)) => close.code,
            _ => None,
        }
    }

    fn remember(&mut self, page: Page) {
        self.pings.extend(page.pings);
    }

    fn detach(&mut self, parting: Parting) {
        if self.page.is_some() {
            self.detach_now(parting, true);
        }
    }

    fn detach_now(&mut self, parting: Parting, closes: bool) {
        let mut page = self.page.take().expect("an attached page");
        let departure = self.core.detach(self.now, page.epoch, parting).expect("its own epoch");
        let ours = self.end_code();
        // 1001 is what a page says that leaves by itself
        let left = parting == Parting::Closed(Some(1001)) && ours != Some(1001);
        let echoed = page.close.is_some() && matches!(parting, Parting::Closed(_)) && !left;
        let over =
            echoed || (self.end.is_some() && self.reattached) || self.policy.one_to_one || self.hello != Hello::Stands;
        assert_eq!(
            departure.over, over,
            "forgotten if its page echoed the end, or was shown it anew"
        );
        if closes {
            let mut rest = departure.rest;
            if !departure.closed {
                Close::new(close::RESTART, "").write(&mut rest, None);
            }
            page.receive(&rest, &self.frames);
            assert!(
                page.close.is_some() && !page.amid_frame(),
                "its frame is completed, then it is closed"
            );
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
            resume: page.acknowledged,
            judged: self.end.is_none().then(|| self.now + Duration::from_secs(2)),
        });
        self.over = over;
        self.stalled = None;
        self.remember(page);
    }

    fn hello(&mut self) {
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
    }

    fn page_ping(&mut self) {
        let Some(page) = &mut self.page else { return };
        self.fill = self.fill.wrapping_add(1);
        let payload = vec![b'p', self.fill];
        self.core.page_ping(page.epoch, &payload);
        page.unanswered.push_back(payload);
    }

    fn pong(&mut self, back: usize) {
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

    fn stale(&mut self) {
        let before = (self.core.log().tail() < 4096).then(|| format!("{:?}", self.core));
        let epoch = self.epochs.wrapping_sub(u64::from(self.page.is_some()));
        self.core.page_ping(epoch, b"late");
        self.core.page_pong(epoch, b"late");
        assert!(self.core.detach(self.now, epoch, Parting::Closed(Some(1000))).is_none());
        let counted = |stale| format!("stale: {stale},");
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

    // ---- time

    /// What is due, as the owner of a session does it.
    fn fire(&mut self) {
        while !self.over
            && let Some(due) = self.core.due(self.now, self.facts)
        {
            let seconds = Duration::from_secs;
            match due {
                Due::TooSlow => {
                    let stalled = self.stalled.take().expect("a page that holds upstream up");
                    assert!(self.now >= stalled + seconds(10));
                    self.detach_now(Parting::Cut, true);
                }
                Due::IncompleteMessage => {
                    let open = self.open.take().expect("a message that is not complete");
                    assert!(self.now >= open + seconds(30));
                    self.detach_now(Parting::Cut, true);
                }
                Due::NoEcho => {
                    assert!(self.end.is_some() && self.now >= self.progress + seconds(5));
                    self.detach_now(Parting::Cut, false);
                }
                Due::OnPurpose(code) => {
                    let last = self.last.as_ref().expect("a page that left");
                    assert!(self.now >= last.at + seconds(2) && self.page.is_none());
                    assert_eq!(last.parting, Parting::Closed(code));
                    assert!(matches!(code, None | Some(1000)) && !self.policy.explicit_id && self.facts.seen);
                    assert!(self.facts.last_request.is_none_or(|at| at < last.since));
                    self.over = true;
                }
                Due::GraceOver => {
                    assert!(self.page.is_none());
                    // a session that no page was ever attached to is not kept for the whole grace
                    let kept = |last: &Left| last.at + self.policy.grace;
                    let until = self.last.as_ref().map_or(self.born + seconds(10), kept);
                    assert!(self.now >= until);
                    self.over = true;
                }
                Due::PingUpstream => {
                    assert!(self.end.is_none() && self.now >= self.pinged + seconds(30));
                    self.pinged = self.now;
                }
                Due::PagePing => assert!(self.page.is_some() && self.end.is_none()),
            }
        }
    }

    /// The page reads all there is; then another load gets what it must.
    pub fn finish(&mut self) {
        self.drain();
        let load = Operation::Attach(PageFactsOf {
            seen: true,
            rerequested: true,
            requests: true,
        });
        self.apply(&load);
        if self.page.is_none() {
            // a gap: the page was told to reload
            self.apply(&load);
        }
        assert!(self.over || self.page.is_some(), "a load is let in");
        self.drain();
        if let (false, Some(UpstreamEnd::Close(close))) = (self.over, self.end.clone()) {
            self.apply(&Operation::Detach(Parting::Closed(close.code)));
            assert!(self.over, "the end was echoed: the next load starts afresh");
        }
    }

    pub fn drain(&mut self) {
        while !self.over && self.write(1 << 20, 16) {
            self.fire();
            self.check();
        }
    }
}

#[derive(Debug)]
enum Expected {
    Attached { cause: Option<Cause>, from: u64, gap: u64 },
    Refused(u16),
    OnPurpose(Option<u16>),
}
