//! A session between a naive upstream and a naive page, with the model that says what must come of each operation.

mod attach;
mod pages;
mod upstream;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sessmux::core::Policy;
use sessmux::core::cause::{PageFacts, Parting};
use sessmux::core::session::{Due, Session, UpstreamEnd};

use super::page::{Frame, Page, Ping};

/// What has to be read of upstream before a pause is over.
const PACE: usize = 64 * 1024;

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
    /// A page is requested; its socket comes later.
    Request,
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
    TurnEnded,
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
    /// When the grace is over.
    until: Instant,
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
    running: bool,
    pub end: Option<UpstreamEnd>,
    reattached: bool,
    pub over: bool,
    /// Since when upstream waits for the page, and how much of it must be read before that is over.
    stalled: Option<(Instant, usize)>,
    /// Up to where any page has acknowledged that may be alive, though another was loaded since.
    elsewhere: Option<(u64, Instant)>,
    /// Bytes kept beside the log that count with it.
    pinned: usize,
    /// Messages between hello and answer that were evicted before that came.
    missing: u64,
    open: Option<Instant>,
    progress: Instant,
    pinged: Instant,
    /// When the page was attached, or a ping to it was last due.
    page_pinged: Instant,
    takeovers: Vec<Instant>,
    damped: Option<Instant>,
    epochs: u64,
    stale: u64,
    pings: Vec<Ping>,
    /// The log's largest slab.
    slab: usize,
    /// Most bytes that a log holds above what is retained: evicted ones, free ones and a spare slab.
    slack: usize,
}

impl World {
    pub fn new(policy: Policy) -> Self {
        let born = Instant::now();
        let slab = (policy.log.bytes / 8).next_power_of_two().clamp(256, 256 * 1024);
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
            running: false,
            end: None,
            reattached: false,
            over: false,
            stalled: None,
            elsewhere: None,
            pinned: 0,
            missing: 0,
            open: None,
            progress: born,
            pinged: born,
            page_pinged: born,
            takeovers: Vec::new(),
            damped: None,
            epochs: 0,
            stale: 0,
            pings: Vec::new(),
            slab,
            slack: 3 * slab,
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
            Operation::Request => {
                self.facts.last_request = Some(self.now);
                self.now += Duration::from_millis(1);
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
                self.core.turn_started(self.now);
                self.turn = Some(self.complete);
                self.runs(true);
            }
            Operation::TurnEnded => {
                self.core.turn_ended(self.now);
                self.runs(false);
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

    /// A turn begins or ends: whoever is away has anew another time to come back.
    fn runs(&mut self, running: bool) {
        if self.end.is_some() {
            return;
        }
        if self.running != running
            && let Some(last) = &mut self.last
        {
            last.until = self.now
                + if running {
                    self.policy.grace_open
                } else {
                    self.policy.grace
                };
        }
        self.running = running;
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
        self.check_deadlines();
        self.check_budget();
        let held = self.core.log().tail() - self.core.log().base().offset;
        assert!(self.core.log().allocated() as u64 <= held + self.slack as u64);
    }

    /// Nothing that is due was left out.
    fn check_deadlines(&self) {
        let within = |since: Instant, seconds| self.now < since + Duration::from_secs(seconds);
        match (&self.page, &self.last) {
            (None, None) => assert!(within(self.born, 10), "nobody came"),
            (None, Some(last)) => assert!(self.now < last.until, "nobody came back"),
            (Some(_), _) => assert!(self.open.is_none_or(|open| within(open, 30)), "an incomplete message"),
        }
        if self.end.is_none() {
            assert!(within(self.pinged, 30), "upstream's heartbeat");
            assert!(
                self.page.is_none() || within(self.page_pinged, 30),
                "the page's heartbeat"
            );
        }
    }

    /// How much may be read, and what that means for a pause.
    fn budget(&mut self) -> usize {
        let budget = self.core.read_budget(self.now);
        match budget {
            0 => {
                self.stalled.get_or_insert((self.now, PACE));
            }
            usize::MAX => self.stalled = None,
            _ => {}
        }
        budget
    }

    fn check_budget(&mut self) {
        let budget = self.budget();
        let Some(page) = self.page.as_ref().filter(|_| self.end.is_none()) else {
            assert_eq!(budget, usize::MAX, "nobody to wait for");
            return;
        };
        let cursor = page.cursor(self.start_of(page.next));
        let unread = self.core.log().tail() - cursor;
        let behind = self
            .frames
            .iter()
            .filter(|frame| frame.fin && frame.end > cursor)
            .count() as u64;
        let full = unread >= self.bytes() as u64 || behind > self.policy.log.messages;
        // it stands in the newest complete message, which is kept above the bounds, or behind it
        let newest = cursor >= self.start_of(self.first_after(self.complete.saturating_sub(1)));
        assert_eq!(
            budget == 0,
            full && !newest,
            "read unless that loses what the page has yet to get"
        );
        if let Some((since, _)) = self.stalled {
            assert!(self.now < since + Duration::from_secs(10), "10 s unread");
        }
    }

    /// The bound by bytes, less what is pinned.
    fn bytes(&self) -> usize {
        self.policy.log.bytes - self.pinned.min(self.policy.log.bytes / 2)
    }

    fn start_of(&self, index: usize) -> u64 {
        index.checked_sub(1).map_or(0, |before| self.frames[before].end)
    }

    fn first_after(&self, position: u64) -> usize {
        self.frames.partition_point(|frame| frame.position <= position)
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
                    let (stalled, _) = self.stalled.take().expect("a page that holds upstream up");
                    assert!(self.now >= stalled + seconds(10));
                    self.detach_now(Parting::Cut, true);
                }
                Due::IncompleteMessage => {
                    let open = self.open.take().expect("a message that is not complete");
                    assert!(self.now >= open + seconds(30));
                    self.detach_now(Parting::Cut, true);
                }
                Due::NoEcho => {
                    assert!(self.end.is_some() && self.now >= self.progress + seconds(15));
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
                    let until = self.last.as_ref().map_or(self.born + seconds(10), |last| last.until);
                    assert!(self.now >= until);
                    self.over = true;
                }
                Due::PingUpstream => {
                    assert!(self.end.is_none() && self.now >= self.pinged + seconds(30));
                    self.pinged = self.now;
                }
                Due::PagePing | Due::PageHeartbeat => {
                    assert!(self.page.is_some() && self.end.is_none());
                    self.page_pinged = self.now;
                }
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
