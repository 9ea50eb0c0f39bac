//! What an operator asks of a session's task: how it stands and what happened lately, and to end it.

use std::time::Instant;

use tokio::sync::oneshot;

use super::SessionTask;
use crate::core::cause::Parting;
use crate::core::close::{self, Close};
use crate::core::session::{Attachment, Session, UpstreamEnd};
use crate::profile::Role;
use crate::session::description::{Clocks, Description, End, Life, State, Turn};
use crate::session::mailbox::Mail;
use crate::session::page::Page;
use crate::session::timeline::{Left, What};

impl SessionTask {
    /// How it stands; with `whole` what happened lately, too.
    pub(super) fn describe(&self, now: Instant, whole: bool) -> Description {
        let report = self.core.report();
        let profile = &self.route.profile;
        let turn = if report.running { Turn::Running } else { Turn::Idle };
        let state = if self.over {
            State::Ended
        } else {
            State::from(self.stage())
        };
        let clocks = Clocks::at(now);
        let end = self.why.as_deref().map(|(at, why)| End {
            moment: clocks.moment(*at),
            why: why.clone(),
            code: self
                .core
                .end()
                .and_then(UpstreamEnd::close)
                .and_then(|close| close.code),
        });
        Description {
            session: self.membership.id,
            route: self.route.path.text.to_string(),
            profile: Some(profile.name.clone()).filter(|name| !name.is_empty()),
            state,
            turn: profile.has(Role::TurnStart).then_some(turn),
            life: Some(Life::new(clocks, &report, &self.timeline, end, whole)),
        }
    }

    /// How it ended.
    pub(super) fn describe_end(&mut self, now: Instant) -> Description {
        self.over = true;
        // only a task that was dropped amid its work has not said
        self.note_end("a fault of sessmux: the log says more");
        self.describe(now, true)
    }

    /// Ends it for both sides; `done` is dropped with the mailbox, when nobody finds the session any more.
    pub(super) fn end_by_operator(&mut self, now: Instant, done: oneshot::Sender<()>) {
        let close = Close::new(close::NORMAL, "ended by an operator");
        self.note_end(&close.reason);
        self.close_page(now, Some(&close), Parting::Cut);
        self.end(Some(&Close::new(close::GOING_AWAY, "")), &close.reason);
        // it comes back only where the mailbox is closed already
        let _ = self.membership.mailbox.post(Mail::End(done));
    }

    pub(super) fn note_attach(&mut self, now: Instant, it: &Attachment, older: Option<&Page>) {
        if let Some(older) = older {
            let epoch = short(older.epoch);
            self.note(now, What::Takeover { epoch });
        }
        let (epoch, cause) = (short(it.epoch), it.cause);
        self.note(now, What::Attach { epoch, cause });
        if it.gap > 0 {
            self.note(now, What::Gap { messages: it.gap });
        }
        if it.replayed > 0 {
            let (from, messages) = (it.from.position + 1, short(it.replayed));
            self.note(now, What::Replay { from, messages });
        }
    }

    pub(super) fn note_detach(&mut self, now: Instant, epoch: u64, how: Left) {
        let epoch = short(epoch);
        self.note(now, What::Detach { epoch, how });
    }

    pub(super) fn note_upstream_end(&mut self, now: Instant, how: &UpstreamEnd, why: &str) {
        let code = how.close().map(|close| close.code.unwrap_or(close::NO_CODE));
        self.note(now, What::UpstreamEnd { code });
        self.note_end(&format!("upstream ended: {why}"));
    }

    /// It is over, or its upstream connection is; what came first is the reason.
    pub(super) fn note_end(&mut self, why: &str) {
        let now = tokio::time::Instant::now().into_std();
        self.why.get_or_insert_with(|| Box::new((now, why.to_owned())));
    }

    /// The turn is over, and nobody is waited for any more.
    pub(super) fn turn_ended(&mut self, now: Instant) {
        self.withdrawing(now, |core| core.turn_ended(now));
    }

    /// Does what may close prompts without an answer, and notes how many.
    pub(super) fn withdrawing(&mut self, now: Instant, act: impl FnOnce(&mut Session)) {
        let before = self.core.open_prompts().count();
        act(&mut self.core);
        let prompts = before.saturating_sub(self.core.open_prompts().count()) as u32;
        if prompts > 0 {
            self.note(now, What::Withdrawn { prompts });
        }
    }
}

/// A number that is no longer told exactly where it does not fit.
fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
