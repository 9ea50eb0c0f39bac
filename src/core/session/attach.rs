//! Pages come and go: the one step in which an attach takes effect, and what a detach leaves behind.

use std::num::NonZeroU64;
use std::time::Instant;

use super::hello::Hello;
use super::upstream::UpstreamEnd;
use super::{Elsewhere, Session};
use crate::core::ReplayMode;
use crate::core::acks::Acks;
use crate::core::cause::{Cause, Detached, PageFacts, Parting, judge};
use crate::core::close::{self, Close};
use crate::core::deadlines::{Deadlines, HEARTBEAT, JUDGE};
use crate::core::frame::{self, Opcode};
use crate::core::log::{Log, Mark};
use crate::core::outgoing::Outgoing;

#[derive(Debug, Clone)]
pub(super) struct Attached {
    pub(super) since: Instant,
    pub(super) acks: Acks,
    pub(super) out: Outgoing,
    /// Offset at which its replay began.
    pub(super) from: u64,
    /// Offset at which it was sent open prompts from before that.
    prompted: Option<NonZeroU64>,
    pub(super) deadlines: Deadlines,
    /// Bytes that upstream has yet to be read before the pause that the page has made is over.
    pub(super) owed: u32,
    /// The close frame that ends the session was queued.
    pub(super) ending: bool,
    /// Its browser dialled again and was told that messages were lost: it is not a blip any more.
    gap_told: bool,
}

impl Attached {
    /// What the end of its connection, or a takeover, means.
    fn parting(&self, seen: Parting) -> Parting {
        match seen {
            Parting::Cut | Parting::Takeover if self.gap_told => Parting::Gap,
            seen => seen,
        }
    }

    /// Whether it was to be sent open prompts out of position, and has acknowledged nothing behind them.
    fn owes_prompts(&self) -> bool {
        let acknowledged = self.acks.acknowledged().offset;
        self.prompted.is_some_and(|at| acknowledged <= at.get())
    }

    /// Whether a ping that is queued now is soon on its way.
    pub(super) fn takes_ping(&self, log: &Log) -> bool {
        !self.out.has_control() && !self.out.is_behind(log)
    }

    /// Asks for the acknowledgement of all that the log has now, behind that, if it is time; returns whether it is.
    pub(super) fn ping_last(&mut self, log: &Log, now: Instant, epoch: u64) -> bool {
        let payload = self.acks.ping(now, epoch, log.boundary());
        payload.is_some_and(|payload| {
            let ping = |out: &mut Vec<u8>| frame::write(out, Opcode::Ping, &payload, None);
            self.out.push_control_last(log, ping)
        })
    }

    /// What completes the frame that the page stands in, if that is not too much, and whether the close that ends the
    /// session was sent or is part of it.
    fn rest(self, log: &Log) -> (Option<Vec<u8>>, bool) {
        let closed = self.ending && self.out.has_begun_control();
        (self.out.rest_of_frame(log), closed)
    }
}

/// A page that asks to be attached.
#[derive(Debug)]
pub struct Newcomer {
    /// When its 101 was sent.
    pub since: Instant,
    /// What is known of its browser.
    pub facts: PageFacts,
    /// That is the browser of the page that was attached last.
    pub same_browser: bool,
    /// Bytes to send ahead of everything else.
    pub head: Vec<u8>,
    /// What it is shown instead of the recorded answer to the first hello; whole frames.
    pub answer: Option<Vec<u8>>,
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
    /// What it is sent before live messages.
    pub mode: ReplayMode,
    /// Where replay starts.
    pub from: Mark,
    /// How many messages the replay holds.
    pub replayed: u64,
    /// How many earlier messages can no longer be replayed, of those that it should have been sent.
    pub gap: u64,
    /// What the attachment that it replaces is still to be sent ahead of its close 4001; where there was one and this is
    /// none, its connection is to be reset: it stands amid a large message, of which it has most yet to take.
    pub replaced: Option<Vec<u8>>,
    /// The replaced attachment is or was sent the close that ended the session: no other may follow.
    pub replaced_closed: bool,
}

/// What a detach leaves behind.
#[derive(Debug)]
pub struct Departure {
    /// The rest of the frame that the page stood in, to be sent ahead of a close frame; where that is too much there is
    /// none, and its connection is to be reset.
    pub rest: Option<Vec<u8>>,
    /// The page is or was sent the close that ended the session: no other may follow.
    pub closed: bool,
    /// Whether the session is over with it.
    pub over: bool,
}

impl Session {
    /// Attaches a page, if nothing speaks against it. The session must stand, or nobody be attached.
    pub fn attach(&mut self, now: Instant, mut page: Newcomer) -> Admission {
        let since = self.attached.as_ref().map(|attached| attached.since);
        if let Some(since) = since {
            let requested = page.facts.last_request.is_some_and(|at| at >= since);
            let fights = self.fights.as_ref().filter(|_| self.policy.fights);
            if fights.is_some_and(|fights| fights.turns_away(now, requested)) {
                return Admission::Refused(
                    page.head,
                    Close::new(close::REPLACED, "replaced too often; reload to return"),
                );
            }
        }
        let last = match &self.attached {
            Some(attached) => Some(self.detached(now, attached, Parting::Takeover)),
            None => self.last(),
        };
        let cause = last.as_ref().map(|last| self.judge(last, page.facts));
        if let (Some(Cause::OnPurpose), Some(Parting::Closed(code))) = (cause, last.map(|last| last.parting)) {
            return Admission::OnPurpose(page.head, code);
        }
        let mode = cause.map_or(ReplayMode::All, |cause| self.policy.mode(cause));
        let (from, lost) = self.replay_from(mode, last.as_ref());
        let resume = last.as_ref().map_or(self.after_hello(), |last| last.resume);
        let resumes = self.log.base().position <= resume.position.max(self.after_hello().position);
        if cause == Some(Cause::Blip) && !resumes {
            let last = self.past.as_mut().and_then(|past| past.last.as_mut());
            match (&mut self.attached, last) {
                (Some(attached), _) => attached.gap_told = true,
                (None, Some(last)) => last.parting = Parting::Gap,
                (None, None) => {}
            }
            return Admission::Refused(
                page.head,
                Close::new(close::GAP, "messages were lost; reload to rebuild"),
            );
        }
        // what another browser requested tells nothing of that page
        let facts = if page.same_browser {
            page.facts
        } else {
            PageFacts::default()
        };
        if let (Some(Cause::Refresh), Some(last)) = (cause, last.filter(|last| last.may_return(facts))) {
            self.past.get_or_insert_default().elsewhere = Some(Elsewhere {
                mark: last.resume,
                owed_prompts: last.owed_prompts,
                until: now + self.policy.grace,
            });
        }
        self.epoch += 1;
        let (replaced, replaced_closed) = self.attached.take().map(|old| old.rest(&self.log)).unzip();
        if replaced_closed.is_some() {
            self.fights.get_or_insert_default().takeover(now);
        }
        if self.end.is_some() {
            // the page that had part of it has what it got
            self.log.abandon_message();
        }
        self.forget_answers();
        self.remove_leaving();
        let mut missing = 0;
        if let (Hello::Stands(Some(record)), Some(_)) = (&self.hello, cause) {
            let (before, recorded) = record.answer.split_at(record.answer_at);
            page.head.extend_from_slice(before);
            page.head.extend_from_slice(page.answer.as_deref().unwrap_or(recorded));
            missing = record.missing;
        }
        if let Some(end) = &mut self.end {
            end.reattached = true;
            end.echo = None;
        }
        // on a blip only what was perhaps not received
        let owed = cause != Some(Cause::Blip) || last.as_ref().is_some_and(|last| last.owed_prompts);
        let before = owed && self.end.is_none() && self.open_prompts().any(|prompt| prompt.mark.offset < from.offset);
        let prompted = NonZeroU64::new(self.log.boundary().offset).filter(|_| before);
        self.attached = Some(Box::new(Attached {
            since: page.since,
            acks: Acks::new(from, now),
            out: Outgoing::stopping(page.head, from, prompted),
            from: from.offset,
            prompted,
            deadlines: Deadlines {
                ping_page: self.end.is_none().then(|| now + HEARTBEAT),
                ..Deadlines::default()
            },
            owed: 0,
            ending: false,
            gap_told: false,
        }));
        if let Some(past) = &mut self.past {
            past.judge = None;
        }
        self.grace = None;
        let replayed = self.log.messages_from(from);
        Admission::Attached(Attachment {
            epoch: self.epoch,
            cause,
            mode,
            from,
            replayed,
            gap: lost + missing,
            replaced: replaced.flatten(),
            replaced_closed: replaced_closed.unwrap_or(false),
        })
    }

    /// Where a replay of this mode starts, and how many messages before that are lost to it.
    fn replay_from(&self, mode: ReplayMode, last: Option<&Detached>) -> (Mark, u64) {
        let (base, after_hello) = (self.log.base(), self.after_hello());
        let later = |one: Mark, other: Mark| if one.offset > other.offset { one } else { other };
        let oldest = later(base, after_hello);
        let wanted = match mode {
            ReplayMode::All => after_hello,
            ReplayMode::Turn => {
                let turn = self.kept.as_ref().and_then(|kept| kept.turn);
                turn.unwrap_or(self.log.boundary())
            }
            ReplayMode::Missed => last.map_or(oldest, |last| last.resume),
            ReplayMode::None => self.log.boundary(),
        };
        let lost = base.position.saturating_sub(wanted.position.max(after_hello.position));
        // what was removed before it came to that is not lost
        let lost = lost.min(self.counts().evicted);
        (later(wanted, oldest), lost)
    }

    /// This attachment as one that ended. Whoever dials after it has to be replayed to from where it stood, or from where
    /// a page stood that is alive elsewhere and has perhaps got less.
    fn detached(&self, now: Instant, attached: &Attached, parting: Parting) -> Detached {
        let past = self.past.as_ref();
        let elsewhere = past.and_then(|past| past.elsewhere).filter(|it| now < it.until);
        let acknowledged = attached.acks.acknowledged();
        Detached {
            at: now,
            since: attached.since,
            parting: attached.parting(parting),
            resume: elsewhere
                .map(|it| it.mark)
                .filter(|mark| mark.offset < acknowledged.offset)
                .unwrap_or(acknowledged),
            owed_prompts: attached.owes_prompts() || elsewhere.is_some_and(|it| it.owed_prompts),
        }
    }

    /// Judges a detach; one whose time to be judged has passed does not end the session any more.
    pub(super) fn judge(&self, last: &Detached, facts: PageFacts) -> Cause {
        match judge(last, facts, self.policy.blip_1006, self.policy.explicit_id) {
            Cause::OnPurpose if self.past.as_ref().is_some_and(|past| past.judged) => Cause::Refresh,
            cause => cause,
        }
    }

    /// The attachment of `epoch` is over.
    pub fn detach(&mut self, now: Instant, epoch: u64, parting: Parting) -> Option<Departure> {
        let attached = self.current(epoch).then(|| self.attached.take()).flatten()?;
        let last = self.detached(now, &attached, parting);
        let meant = matches!(parting, Parting::Closed(None | Some(1000))) && self.end.is_none();
        let past = self.past.get_or_insert_default();
        past.judged = false;
        past.judge = meant.then(|| now + JUDGE);
        past.last = Some(last);
        let echoed = attached.ending && !attached.out.has_control() && self.is_echo(parting);
        let whole =
            attached.out.is_empty(&self.log) && (attached.ending || matches!(self.end(), Some(UpstreamEnd::Abrupt)));
        let shown = whole && self.end.as_ref().is_some_and(|end| end.reattached);
        let over = echoed || shown || self.ends_with_page();
        let (rest, closed) = attached.rest(&self.log);
        self.remove_leaving();
        self.grace = Some(now + self.grace());
        if let Some(end) = &mut self.end {
            end.echo = None;
            self.log.abandon_message();
        }
        self.log.shrink();
        Some(Departure { rest, closed, over })
    }

    /// Whether the session is over when its page leaves: nobody else can name it, or its hello is not done.
    pub fn ends_with_page(&self) -> bool {
        self.policy.one_to_one || !self.stands()
    }

    /// Whether a close answers upstream's: a page that leaves by itself says 1001, which crosses it.
    fn is_echo(&self, parting: Parting) -> bool {
        let away = Some(close::GOING_AWAY);
        match (self.end().and_then(UpstreamEnd::close), parting) {
            (Some(ours), Parting::Closed(code)) => code != away || ours.code == away,
            _ => false,
        }
    }

    /// Whether `epoch` is that of the attached page; if not, what acts for it is discarded, and counted.
    pub fn current(&mut self, epoch: u64) -> bool {
        let current = self.attached.is_some() && epoch == self.epoch;
        if !current {
            self.count().stale += 1;
        }
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between what the runtime aligns there are holes of 256 bytes, 8 of them the allocator's own; what fits costs no
    /// further memory.
    #[test]
    fn an_attachment_fits_into_the_allocators_holes() {
        assert!(size_of::<Attached>() <= 248);
    }
}
