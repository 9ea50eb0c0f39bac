//! What is counted of a session: what happens, which its timeline has too, and how it stands at the end of each turn of
//! its task.

use std::time::Instant;

use super::SessionTask;
use crate::core::ReplayMode;
use crate::core::cause::Cause;
use crate::core::close;
use crate::core::log::Mark;
use crate::core::session::Attachment;
use crate::metrics::{self, Attach, Close, Detach, Discarded, Metrics, Replay, Stage, Traffic};
use crate::session::replaying::Replaying;
use crate::session::timeline::{Left, What};

/// What of a session's traffic the metrics have.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// Up to where messages of the server were counted.
    mark: Mark,
    /// Messages and bytes that went to the server since.
    to_agent: (u32, u32),
}

/// The open prompts that the metrics have.
#[derive(Debug, Default)]
pub(super) struct Asked {
    open: usize,
    oldest: Option<Instant>,
}

impl Counted {
    /// So many bytes of a message went to the server.
    pub(super) fn forwarded(&mut self, bytes: usize) {
        let (messages, all) = self.to_agent;
        self.to_agent = (
            messages + 1,
            all.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX)),
        );
    }
}

impl SessionTask {
    /// How it stands.
    pub(super) fn stage(&self) -> Stage {
        match () {
            () if self.core.end().is_some() => Stage::Ending,
            () if !self.core.stands() => Stage::Opening,
            () if self.core.is_attached() => Stage::Attached,
            () => Stage::Detached,
        }
    }

    /// This has happened.
    pub(super) fn note(&mut self, now: Instant, what: What) {
        self.timeline.note(now, what);
        let metrics = self.membership.metrics();
        match what {
            What::Attach { cause, .. } => metrics.attaches.of(attach(cause)).inc(),
            What::Refused { code: close::GAP } => metrics.attaches.of(Attach::Gap).inc(),
            What::Refused { code: close::REPLACED } => metrics.attaches.of(Attach::Fight).inc(),
            What::Refused { code: close::REFUSED } => metrics.attaches.of(Attach::Hello).inc(),
            What::Takeover { .. } => {
                metrics.takeovers.inc();
                metrics.detaches.of(Detach::Takeover).inc();
            }
            What::Detach { how, .. } => {
                metrics.detaches.of(detach(how)).inc();
                metrics.log_bytes.observe(self.core.held() as f64);
            }
            What::Gap { messages } => {
                metrics.gaps.inc();
                metrics.gap_messages.inc_by(messages);
            }
            What::UpstreamEnd { code } => metrics.closes.of(Close::of(code)).inc(),
            What::Refused { .. }
            | What::Overflow { .. }
            | What::Replay { .. }
            | What::Prompt { .. }
            | What::Answer { .. }
            | What::Withdrawn { .. }
            | What::LetGo { .. }
            | What::Named
            | What::UpstreamFault { .. } => {}
        }
    }

    /// Counts the replay of this attachment; returns it if there is something to be sent.
    pub(super) fn count_replay(&self, it: &Attachment) -> Option<Box<Replaying>> {
        it.cause?;
        let mode = match it.mode {
            ReplayMode::All => Replay::All,
            ReplayMode::Turn => Replay::Turn,
            ReplayMode::Missed => Replay::Missed,
            ReplayMode::None => Replay::None,
        };
        let metrics = self.membership.metrics();
        let log = self.core.log();
        let end = log.boundary().offset;
        metrics.replays.of(mode).inc();
        metrics.replayed_messages.of(mode).inc_by(it.replayed);
        metrics
            .replayed_bytes
            .of(mode)
            .inc_by(log.distance(it.from.offset, end));
        (it.replayed > 0).then(|| Box::new(Replaying::new(mode, end)))
    }

    /// Something was written to the page: perhaps its replay is complete.
    pub(super) fn replay_written(&mut self) {
        let Some(page) = &mut self.page else { return };
        let (sent, log) = (self.core.sent(), self.core.log());
        if let Some(replaying) = page.replaying.take_if(|it| log.reach(sent, it.end(), 1) == 0) {
            replaying.count(self.membership.metrics());
        }
    }

    /// Counts what has changed since it was last called.
    pub(super) fn count(&mut self) {
        let stage = self.stage();
        let metrics = self.membership.metrics();
        if stage != self.counted_stage {
            metrics.sessions.of(self.counted_stage).dec();
            metrics.sessions.of(stage).inc();
            self.counted_stage = stage;
        }
        let mark = self.core.log().boundary();
        let before = std::mem::replace(&mut self.counted.mark, mark);
        let (messages, bytes) = std::mem::take(&mut self.counted.to_agent);
        let to_page = Traffic {
            messages: mark.position - before.position,
            bytes: mark.offset - before.offset,
        };
        let to_agent = Traffic {
            messages: messages.into(),
            bytes: bytes.into(),
        };
        metrics.relayed(to_page, to_agent);
        if let Some(new) = self.core.news() {
            metrics.evicted.inc_by(new.evicted);
            let discarded = |what, count| metrics.discarded.of(what).inc_by(count);
            discarded(Discarded::StaleEpoch, new.stale);
            discarded(Discarded::Hello, new.absorbed);
            discarded(Discarded::LateAnswer, new.late_answers);
            discarded(Discarded::StrayAnswer, new.stray_answers);
            discarded(Discarded::StrayCancel, new.stray_cancels);
            discarded(Discarded::Unsaid, new.unsaid);
        }
        // only a profile tells of prompts
        if let Some(told) = &mut self.told {
            let open = self.core.open_prompts().count();
            let oldest = self.core.open_prompts().map(|prompt| prompt.since).min();
            told.asked.changed(metrics, Asked { open, oldest });
        }
    }

    /// The session is over: it counts no more among those that are.
    pub(super) fn count_out(&mut self) {
        self.count();
        let metrics = self.membership.metrics();
        metrics.sessions.of(self.counted_stage).dec();
        if let Some(told) = &mut self.told {
            told.asked.changed(metrics, Asked::default());
        }
    }

    /// A ping or heartbeat was answered.
    pub(super) fn heartbeat_answered(&self, side: metrics::Side) {
        self.membership.metrics().heartbeats.of(side).inc();
    }
}

impl Asked {
    fn changed(&mut self, metrics: &Metrics, now: Self) {
        if now.open != self.open {
            metrics.prompts.add(now.open as i64 - self.open as i64);
        }
        if now.oldest != self.oldest {
            metrics.oldest_prompt(self.oldest, now.oldest);
        }
        *self = now;
    }
}

fn attach(cause: Option<Cause>) -> Attach {
    match cause {
        None => Attach::First,
        Some(Cause::Blip) => Attach::Blip,
        // a close that was meant ends its session, and nobody is attached to that
        Some(Cause::Refresh | Cause::OnPurpose) => Attach::Refresh,
    }
}

fn detach(how: Left) -> Detach {
    match how {
        Left::Closed { .. } => Detach::Closed,
        Left::Cut => Detach::Cut,
        Left::Dismissed { .. } => Detach::Dismissed,
    }
}
