//! One session: epochs, attachments, hello, replay, pauses and ends.
//!
//! Whatever a page does carries the epoch of its attachment; what acts for an older one changes nothing and is counted.
//! This file has the state and its deadlines; [`attach`] has pages that come and go, [`hello`] what they say first,
//! [`upstream`] and [`page`] the traffic with either side, [`relief`] what it gives back, `kept` which messages are not kept for later
//! pages, [`report`] what an operator is told.

pub mod attach;
pub mod hello;
mod kept;
pub mod page;
pub mod relief;
pub mod report;
pub mod upstream;

use std::time::Instant;

use super::Policy;
use super::cause::{Cause, Detached, PageFacts, Parting};
use super::deadlines::{FIRST_ATTACH, HEARTBEAT, sooner, take};
use super::fights::Fights;
use super::frame::{self, Opcode};
use super::log::{Log, Mark};
use attach::Attached;
use hello::Hello;
use kept::Kept;
use upstream::End;

pub use super::deadlines::Due;
pub use attach::{Admission, Attachment, Departure, Newcomer};
pub use hello::HelloFate;
pub use report::Report;
pub use upstream::{Received, UpstreamEnd};

/// See the module. A copy tells what would come of something, without its happening.
#[derive(Debug, Clone)]
pub struct Session {
    policy: Policy,
    log: Log,
    epoch: u64,
    hello: Hello,
    // boxed, for it goes when the page does, and most sessions have none of the others yet
    attached: Option<Box<Attached>>,
    past: Option<Box<Past>>,
    kept: Option<Box<Kept>>,
    end: Option<Box<End>>,
    fights: Option<Box<Fights>>,
    /// When a session that nobody is attached to ends.
    grace: Option<Instant>,
    ping_upstream: Option<Instant>,
    counts: Option<Box<Tally>>,
}

/// What earlier attachments left behind.
#[derive(Debug, Clone, Default)]
struct Past {
    last: Option<Detached>,
    elsewhere: Option<Elsewhere>,
    /// When `last` is to be judged.
    judge: Option<Instant>,
    /// That time came, and it was not meant to end the session.
    judged: bool,
}

/// A page that is not the attached one and may be alive: it was cut or replaced, and another loaded since. Of several, the
/// one that has least.
#[derive(Debug, Clone, Copy)]
struct Elsewhere {
    /// Up to where it has acknowledged.
    mark: Mark,
    /// It has perhaps not received the open prompts that it was to be sent out of position.
    owed_prompts: bool,
    /// Until when it is waited for: no page comes back after the grace.
    until: Instant,
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
    /// Answers to prompts that were answered before.
    pub late_answers: u64,
    /// Answers to requests of pages that have gone, and to none.
    pub stray_answers: u64,
    /// What was said about requests that do not wait, or are of pages that have gone.
    pub stray_cancels: u64,
    /// Messages of sessmux's own that were not sent, for too many waited.
    pub unsaid: u64,
}

/// What was counted, and how much of it [`Session::news`] has told; of evictions [`Received::Logged`] tells, too.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    all: Counts,
    told: Counts,
    logged: u64,
}

impl Session {
    /// A session whose upstream connection stands and to which nobody is attached.
    pub fn new(policy: Policy, now: Instant) -> Self {
        let hello = if policy.hello {
            Hello::Wanted
        } else {
            Hello::Stands(None)
        };
        Self {
            policy,
            log: Log::new(policy.log),
            epoch: 0,
            attached: None,
            hello,
            past: None,
            kept: None,
            end: None,
            fights: None,
            grace: Some(now + FIRST_ATTACH),
            ping_upstream: Some(now + HEARTBEAT),
            counts: None,
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

    /// How upstream ended, if it has.
    pub fn end(&self) -> Option<&UpstreamEnd> {
        self.end.as_ref().map(|end| &end.how)
    }

    /// The last detach.
    fn last(&self) -> Option<Detached> {
        self.past.as_ref().and_then(|past| past.last)
    }

    /// What was discarded or lost so far.
    pub fn counts(&self) -> Counts {
        self.counts.as_ref().map(|tally| tally.all).unwrap_or_default()
    }

    fn count(&mut self) -> &mut Counts {
        &mut self.counts.get_or_insert_default().all
    }

    /// What was discarded or lost since this was last asked, if anything was.
    pub fn news(&mut self) -> Option<Counts> {
        let Tally { all, told, .. } = &mut **self.counts.as_mut()?;
        let before = std::mem::replace(told, *all);
        (before != *all).then(|| Counts {
            stale: all.stale - before.stale,
            evicted: all.evicted - before.evicted,
            absorbed: all.absorbed - before.absorbed,
            late_answers: all.late_answers - before.late_answers,
            stray_answers: all.stray_answers - before.stray_answers,
            stray_cancels: all.stray_cancels - before.stray_cancels,
            unsaid: all.unsaid - before.unsaid,
        })
    }

    /// The session ends with its page from here on: nobody else can name it.
    pub fn stay_one_to_one(&mut self) {
        self.policy.one_to_one = true;
    }

    /// When [`Self::due`] is to be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let ack = self
            .attached
            .as_ref()
            .filter(|attached| self.policy.acks && self.end.is_none() && attached.takes_ping(&self.log));
        let ack = ack.and_then(|attached| attached.acks.due(self.log.boundary()));
        let echo = self.end.as_ref().and_then(|end| end.echo);
        let judge = self.past.as_ref().and_then(|past| past.judge);
        let attached = self.attached.as_ref().and_then(|attached| attached.deadlines.next());
        let others = [ack, echo, judge, self.grace, self.ping_upstream];
        others.into_iter().fold(attached, sooner)
    }

    /// What is due at `now`; call it until it gives nothing. `facts` are of the browser whose page left last.
    pub fn due(&mut self, now: Instant, facts: PageFacts) -> Option<Due> {
        if let Some(attached) = &mut self.attached {
            if take(&mut attached.deadlines.stall, now) {
                return Some(Due::TooSlow);
            }
            if take(&mut attached.deadlines.client_message, now) {
                return Some(Due::IncompleteMessage);
            }
        }
        let end = self.end.as_mut();
        if end.is_some_and(|end| take(&mut end.echo, now)) {
            return Some(Due::NoEcho);
        }
        let past = self.past.as_mut();
        if past.is_some_and(|past| take(&mut past.judge, now))
            && let Some(last) = self.last()
            && let Parting::Closed(code) = last.parting
        {
            if self.judge(&last, facts) == Cause::OnPurpose {
                return Some(Due::OnPurpose(code));
            }
            self.past.get_or_insert_default().judged = true;
        }
        if take(&mut self.grace, now) {
            return Some(Due::GraceOver);
        }
        if take(&mut self.ping_upstream, now) {
            self.ping_upstream = Some(now + HEARTBEAT);
            return Some(Due::PingUpstream);
        }
        let attached = self.attached.as_mut().filter(|_| self.end.is_none())?;
        if take(&mut attached.deadlines.ping_page, now) {
            attached.deadlines.ping_page = Some(now + HEARTBEAT);
            attached
                .out
                .push_control(&self.log, |out| frame::write(out, Opcode::Ping, &[], None));
            return Some(Due::PageHeartbeat);
        }
        // one that would have to wait behind much, or other control frames, is due when those are on their way
        let pinged =
            self.policy.acks && attached.takes_ping(&self.log) && attached.ping_last(&self.log, now, self.epoch);
        pinged.then_some(Due::PagePing)
    }
}
