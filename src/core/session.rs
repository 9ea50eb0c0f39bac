//! One session: epochs, attachments, hello, replay, pauses and ends.
//!
//! Whatever a page does carries the epoch of its attachment; what acts for an older one changes nothing and is counted.

use std::io::IoSlice;
use std::time::Instant;

use super::acks::Acks;
use super::cause::{Cause, Detached, PageFacts, Parting, judge};
use super::close::{self, Close};
use super::deadlines::{CLIENT_MESSAGE, Deadlines, ECHO, FIRST_ATTACH, HEARTBEAT, JUDGE, STALL};
use super::fights::Fights;
use super::frame::{self, Opcode};
use super::log::{Log, Mark};
use super::outgoing::Outgoing;
use super::{Overflow, Policy, ReplayMode};

pub use super::deadlines::Due;

/// See the module.
#[derive(Debug)]
pub struct Session {
    policy: Policy,
    log: Log,
    epoch: u64,
    attached: Option<Attached>,
    last: Option<Detached>,
    hello: Hello,
    /// The oldest message that a refresh may be sent: behind the hello record.
    after_hello: Mark,
    turn: Option<Mark>,
    end: Option<End>,
    fights: Fights,
    deadlines: Deadlines,
    counts: Counts,
}

/// What was discarded or lost, over the session's life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events of older epochs.
    pub stale: u64,
    /// Messages evicted from the log.
    pub evicted: u64,
    /// Hellos that did not go upstream.
    pub absorbed: u64,
}

#[derive(Debug)]
struct Attached {
    since: Instant,
    acks: Acks,
    out: Outgoing,
    /// The frame that ends the session was queued, or the connection is to be ended without one.
    ending: bool,
}

#[derive(Debug)]
enum Hello {
    /// None is needed, or it was said, and answered if servers of this profile answer.
    Stands(Record),
    Wanted,
    Sent(Record),
}

/// What later pages are shown of the first hello.
#[derive(Debug, Default)]
struct Record {
    /// Server messages from before it, which let a page say hello.
    challenge: Vec<u8>,
    /// The server's answer; whole frames.
    answer: Vec<u8>,
}

/// How the upstream connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamEnd {
    /// With this close frame, or for this reason of ours; the page gets the same.
    Close(Close),
    /// Without one, and so does the page's.
    Abrupt,
}

#[derive(Debug)]
struct End {
    how: UpstreamEnd,
    /// A page has attached since, and gets replay and end: when it leaves, the session is forgotten.
    reattached: bool,
}

/// A page that asks to be attached.
#[derive(Debug)]
pub struct Newcomer {
    /// When its 101 was sent.
    pub since: Instant,
    /// What is known of its browser.
    pub facts: PageFacts,
    /// Bytes to send ahead of everything else.
    pub head: Vec<u8>,
}

/// Whether a newcomer is attached.
#[derive(Debug)]
pub enum Admission {
    /// It is, by one step: older attachments can neither read nor write from here on.
    Attached(Attachment),
    /// It is not: send it `head`, then this close.
    Refused(Vec<u8>, Close),
    /// The session was ended on purpose by its last page, which is only now certain; upstream is to be closed with
    /// that page's code, and the newcomer, whose head this is, starts a session of its own.
    OnPurpose(Vec<u8>, Option<u16>),
}

/// A new attachment.
#[derive(Debug)]
pub struct Attachment {
    /// Its epoch.
    pub epoch: u64,
    /// Why the last one ended; `None` on the first attach.
    pub cause: Option<Cause>,
    /// Where replay starts.
    pub from: Mark,
    /// How many messages the replay holds.
    pub replayed: u64,
    /// How many earlier messages can no longer be replayed, of those that it should have been sent.
    pub gap: u64,
    /// What the attachment that it replaces is still to be sent ahead of its close 4001.
    pub replaced: Option<Vec<u8>>,
}

/// What a detach leaves behind.
#[derive(Debug)]
pub struct Departure {
    /// The rest of the frame that the page stood in, to be sent ahead of a close frame.
    pub rest: Vec<u8>,
    /// Whether the page has been sent upstream's close frame, the end of `rest` included: no other may follow it.
    pub closed: bool,
    /// Whether the session is over with it.
    pub over: bool,
}

/// What becomes of a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloFate {
    /// It goes upstream.
    Forward,
    /// It was said before, and is not said twice.
    Absorb,
}

/// What a complete frame from upstream brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// It is in the log; so many messages were evicted for it.
    Logged(u64),
    /// Nobody is attached, the log is full and the route ends sessions then: call [`Session::upstream_ended`] with
    /// close 4009.
    Overflow,
}

impl Session {
    /// A session whose upstream connection stands and to which nobody is attached.
    pub fn new(policy: Policy, now: Instant) -> Self {
        // nobody comes back to a session that ends with its page
        let wait = if policy.one_to_one || policy.hello {
            FIRST_ATTACH
        } else {
            policy.grace.max(FIRST_ATTACH)
        };
        let deadlines = Deadlines {
            grace: Some(now + wait),
            ping_upstream: Some(now + HEARTBEAT),
            ..Deadlines::default()
        };
        let hello = if policy.hello {
            Hello::Wanted
        } else {
            Hello::Stands(Record::default())
        };
        Self {
            policy,
            log: Log::new(policy.log),
            epoch: 0,
            attached: None,
            last: None,
            hello,
            after_hello: Mark::default(),
            turn: None,
            end: None,
            fights: Fights::default(),
            deadlines,
            counts: Counts::default(),
        }
    }

    /// The replay log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The newest epoch; 0 before the first attach.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether a page is attached.
    pub fn is_attached(&self) -> bool {
        self.attached.is_some()
    }

    /// Whether another page may attach: the hello was said, and answered where servers answer.
    pub fn stands(&self) -> bool {
        matches!(self.hello, Hello::Stands(_))
    }

    /// How upstream ended, if it has.
    pub fn end(&self) -> Option<&UpstreamEnd> {
        self.end.as_ref().map(|end| &end.how)
    }

    /// What was discarded or lost so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    // ---- upstream

    /// How many bytes may be read from upstream now; 0 while the page has too much to catch up on.
    pub fn read_budget(&mut self, now: Instant) -> usize {
        let room = self
            .attached
            .as_ref()
            .map_or(usize::MAX, |attached| self.log.room(attached.out.cursor()));
        if room > 0 {
            self.deadlines.stall = None;
        } else {
            self.deadlines.stall.get_or_insert(now + STALL);
        }
        room
    }

    /// Appends bytes of the data frame being received, as they came over the wire.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.log.push(bytes);
    }

    /// The frames received are complete; with `fin` their message is.
    pub fn received(&mut self, fin: bool) -> Received {
        self.log.commit(fin);
        if !self.log.over_bounds() {
            return Received::Logged(0);
        }
        if self.attached.is_none() && self.policy.overflow == Overflow::Close && self.end.is_none() {
            return Received::Overflow;
        }
        let evicted = self
            .log
            .evict(self.attached.as_ref().map(|attached| attached.out.cursor()));
        self.counts.evicted += evicted;
        Received::Logged(evicted)
    }

    /// The upstream connection is over; only the first call counts. Returns whether the attached page has part of a
    /// message that will never be complete: its connection must be aborted, and it be detached as [`Parting::Cut`].
    pub fn upstream_ended(&mut self, how: UpstreamEnd) -> bool {
        if self.end.is_some() {
            return false;
        }
        let whole = self.log.boundary().offset;
        let torn = self
            .attached
            .as_ref()
            .is_some_and(|attached| attached.out.cursor() > whole);
        if !torn {
            self.log.abandon_message();
            if let Some(attached) = &mut self.attached {
                attached.out.rewind(&self.log);
            }
        }
        self.deadlines.ping_upstream = None;
        self.deadlines.stall = None;
        self.end = Some(End { how, reattached: false });
        torn
    }

    /// The server's answer to the first hello is the message that starts at the newest boundary and ends here; call
    /// it before [`Self::received`] with `fin`. Pages that come later are shown it as it is.
    pub fn hello_answered(&mut self) {
        if let Hello::Sent(record) = &mut self.hello {
            let start = self.log.boundary();
            self.log.copy(start.offset, self.log.tail(), &mut record.answer);
            self.after_hello = Mark {
                offset: self.log.tail(),
                position: start.position + 1,
            };
            self.hello = Hello::Stands(std::mem::take(record));
        }
    }

    /// The session ends with its page from here on: nobody else can name it.
    pub fn stay_one_to_one(&mut self) {
        self.policy.one_to_one = true;
    }

    /// Whether the server's answer to the hello is awaited.
    pub fn awaits_hello_answer(&self) -> bool {
        matches!(self.hello, Hello::Sent(_))
    }

    /// A turn begins with the next upstream message.
    pub fn turn_started(&mut self) {
        self.turn = Some(self.log.boundary());
    }

    // ---- pages

    /// Server messages from before the first hello, which a page needs to say its own.
    pub fn challenge(&self) -> &[u8] {
        match &self.hello {
            Hello::Stands(record) | Hello::Sent(record) => &record.challenge,
            Hello::Wanted => &[],
        }
    }

    /// Attaches a page, if nothing speaks against it. The session must stand, or nobody be attached.
    pub fn attach(&mut self, now: Instant, mut page: Newcomer) -> Admission {
        let since = self.attached.as_ref().map(|attached| attached.since);
        if let Some(since) = since {
            let requested = page.facts.last_request.is_some_and(|at| at >= since);
            if self.policy.fights && self.fights.turns_away(now, requested) {
                return Admission::Refused(
                    page.head,
                    Close::new(close::REPLACED, "replaced too often; reload to return"),
                );
            }
        }
        let last = match &self.attached {
            Some(attached) => Some(Detached {
                at: now,
                since: attached.since,
                parting: Parting::Cut,
                resume: attached.acks.acknowledged(),
            }),
            None => self.last,
        };
        let cause = last
            .as_ref()
            .map(|last| judge(last, page.facts, self.policy.blip_1006, self.policy.explicit_id));
        if let (Some(Cause::OnPurpose), Some(Parting::Closed(code))) = (cause, last.map(|last| last.parting)) {
            return Admission::OnPurpose(page.head, code);
        }
        let oldest = if self.log.base().offset > self.after_hello.offset {
            self.log.base()
        } else {
            self.after_hello
        };
        let wanted = match cause.map(|cause| self.policy.mode(cause)) {
            None | Some(ReplayMode::All) => self.after_hello,
            Some(ReplayMode::Turn) => self.turn.unwrap_or(self.log.boundary()),
            Some(ReplayMode::Missed) => last.map_or(oldest, |last| last.resume),
            Some(ReplayMode::None) => self.log.boundary(),
        };
        let lost = self
            .log
            .base()
            .position
            .saturating_sub(wanted.position.max(self.after_hello.position));
        if lost > 0 && cause == Some(Cause::Blip) {
            if let Some(last) = &mut self.last {
                last.parting = Parting::Gap;
            }
            return Admission::Refused(
                page.head,
                Close::new(close::GAP, "messages were lost; reload to rebuild"),
            );
        }
        let from = if wanted.offset > oldest.offset { wanted } else { oldest };

        self.epoch += 1;
        let replaced = self.attached.take().map(|old| old.out.rest_of_frame(&self.log));
        if replaced.is_some() {
            self.fights.takeover(now);
        }
        if let (Hello::Stands(record), Some(_)) = (&self.hello, cause) {
            page.head.extend_from_slice(&record.answer);
        }
        if let Some(end) = &mut self.end {
            end.reattached = true;
        }
        self.attached = Some(Attached {
            since: page.since,
            acks: Acks::new(self.epoch, from, now),
            out: Outgoing::new(page.head, from),
            ending: false,
        });
        self.deadlines.detached();
        self.deadlines.judge = None;
        self.deadlines.grace = None;
        self.deadlines.ping_page = Some(now + HEARTBEAT);
        let replayed = self.log.boundary().position - from.position;
        Admission::Attached(Attachment {
            epoch: self.epoch,
            cause,
            from,
            replayed,
            gap: lost,
            replaced,
        })
    }

    /// The attachment of `epoch` is over.
    pub fn detach(&mut self, now: Instant, epoch: u64, parting: Parting) -> Option<Departure> {
        let attached = self.current(epoch).then(|| self.attached.take()).flatten()?;
        let resume = attached.acks.acknowledged();
        self.last = Some(Detached {
            at: now,
            since: attached.since,
            parting,
            resume,
        });
        let echoed = attached.ending && matches!(parting, Parting::Closed(_));
        let shown = self.end.as_ref().is_some_and(|end| end.reattached);
        let over = echoed || shown || self.policy.one_to_one || !self.stands();
        let closed = attached.ending && !attached.out.has_whole_control();
        let rest = attached.out.rest_of_frame(&self.log);
        self.deadlines.detached();
        self.deadlines.grace = Some(now + self.policy.grace);
        if matches!(parting, Parting::Closed(None | Some(1000))) && self.end.is_none() {
            self.deadlines.judge = Some(now + JUDGE);
        }
        if self.end.is_some() {
            self.log.abandon_message();
        }
        self.log.shrink();
        Some(Departure { rest, closed, over })
    }

    /// Whether `epoch` is that of the attached page; if not, what acts for it is discarded, and counted.
    pub fn current(&mut self, epoch: u64) -> bool {
        let current = self.attached.is_some() && epoch == self.epoch;
        if !current {
            self.counts.stale += 1;
        }
        current
    }

    /// The page said hello.
    pub fn hello(&mut self) -> HelloFate {
        if !matches!(self.hello, Hello::Wanted) {
            self.counts.absorbed += 1;
            return HelloFate::Absorb;
        }
        let mut record = Record::default();
        let (oldest, before) = (self.log.base(), self.log.boundary());
        self.log.copy(oldest.offset, before.offset, &mut record.challenge);
        self.after_hello = before;
        self.hello = if self.policy.hello_answer {
            Hello::Sent(record)
        } else {
            Hello::Stands(record)
        };
        HelloFate::Forward
    }

    /// Whether the page has sent part of a message; one that stays incomplete for 30 s is due.
    pub fn client_message_open(&mut self, now: Instant, open: bool) {
        if open {
            self.deadlines.client_message.get_or_insert(now + CLIENT_MESSAGE);
        } else {
            self.deadlines.client_message = None;
        }
    }

    /// The page sent a ping: it is answered.
    pub fn page_ping(&mut self, epoch: u64, payload: &[u8]) {
        if !self.current(epoch) {
            return;
        }
        if let Some(attached) = self.attached.as_mut().filter(|attached| !attached.ending) {
            attached
                .out
                .push_control(&self.log, |out| frame::write(out, Opcode::Pong, payload, None));
        }
    }

    /// The page's browser answered a ping.
    pub fn page_pong(&mut self, epoch: u64, payload: &[u8]) {
        if !self.current(epoch) {
            return;
        }
        if let Some(attached) = &mut self.attached {
            attached.acks.pong(payload);
        }
    }

    /// What to write to the page next, at most as many slices as `out` takes; returns how many.
    pub fn slices<'a>(&'a mut self, now: Instant, out: &mut [IoSlice<'a>]) -> usize {
        let Some(attached) = &mut self.attached else { return 0 };
        let log = &self.log;
        if let Some(End {
            how: UpstreamEnd::Close(close),
            ..
        }) = &self.end
        {
            if !attached.ending && attached.out.push_control_last(log, |out| close.write(out, None)) {
                attached.ending = true;
                self.deadlines.echo = Some(now + ECHO);
            }
        } else if self.policy.acks
            && attached.out.cursor() < log.end()
            && let Some(payload) = attached.acks.ping(now, log.boundary())
        {
            attached
                .out
                .push_control_last(log, |out| frame::write(out, Opcode::Ping, &payload, None));
        }
        attached.out.slices(log, out)
    }

    /// `written` bytes of what [`Self::slices`] gave are on their way.
    pub fn wrote(&mut self, now: Instant, written: usize) {
        if let Some(attached) = &mut self.attached {
            attached.out.wrote(written, &self.log);
            if attached.ending {
                self.deadlines.echo = Some(now + ECHO);
            }
        }
    }

    /// Whether the page has everything, and its connection is now to be ended as upstream's was, without a close frame,
    /// and be detached as [`Parting::Cut`].
    pub fn page_ends_abruptly(&self) -> bool {
        matches!(self.end(), Some(UpstreamEnd::Abrupt))
            && self
                .attached
                .as_ref()
                .is_some_and(|attached| attached.out.is_empty(&self.log))
    }

    // ---- time

    /// When [`Self::due`] is to be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let ack = self
            .attached
            .as_ref()
            .filter(|_| self.policy.acks && self.end.is_none());
        let ack = ack.and_then(|attached| attached.acks.due(self.log.boundary()));
        self.deadlines.next().into_iter().chain(ack).min()
    }

    /// What is due at `now`; call it until it gives nothing. `facts` are of the browser whose page left last.
    pub fn due(&mut self, now: Instant, facts: PageFacts) -> Option<Due> {
        let deadlines = &mut self.deadlines;
        if Deadlines::take(&mut deadlines.stall, now) {
            return Some(Due::TooSlow);
        }
        if Deadlines::take(&mut deadlines.client_message, now) {
            return Some(Due::IncompleteMessage);
        }
        if Deadlines::take(&mut deadlines.echo, now) {
            return Some(Due::NoEcho);
        }
        if Deadlines::take(&mut deadlines.judge, now)
            && let Some(last) = &self.last
            && let Parting::Closed(code) = last.parting
            && judge(last, facts, self.policy.blip_1006, self.policy.explicit_id) == Cause::OnPurpose
        {
            return Some(Due::OnPurpose(code));
        }
        if Deadlines::take(&mut self.deadlines.grace, now) {
            return Some(Due::GraceOver);
        }
        if Deadlines::take(&mut self.deadlines.ping_upstream, now) {
            self.deadlines.ping_upstream = Some(now + HEARTBEAT);
            return Some(Due::PingUpstream);
        }
        let attached = self.attached.as_mut().filter(|attached| !attached.ending)?;
        if Deadlines::take(&mut self.deadlines.ping_page, now) {
            self.deadlines.ping_page = Some(now + HEARTBEAT);
            attached
                .out
                .push_control(&self.log, |out| frame::write(out, Opcode::Ping, &[], None));
            return Some(Due::PagePing);
        }
        if self.policy.acks
            && let Some(payload) = attached.acks.ping(now, self.log.boundary())
        {
            attached
                .out
                .push_control_last(&self.log, |out| frame::write(out, Opcode::Ping, &payload, None));
            return Some(Due::PagePing);
        }
        None
    }
}
