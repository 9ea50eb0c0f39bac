//! Deadlines of a session's task: the core's, and those of pages that wait for it to stand, or keep others waiting.

use std::task::Context;
use std::time::Instant;

use tokio::time::sleep_until;

use super::{SessionTask, Told};
use crate::core::cause::{PageFacts, Parting};
use crate::core::close::{self, Close};
use crate::core::frame::Opcode;
use crate::core::session::Due;
use crate::metrics::Rule;
use crate::session::pending;

impl SessionTask {
    fn facts(&self) -> PageFacts {
        self.browser
            .as_ref()
            .map_or_else(PageFacts::default, |browser| browser.facts())
    }

    /// Whether something may be due; what it did since the timer was armed is looked at when it is armed next.
    pub(super) fn may_be_due(&self, now: Instant) -> bool {
        let timer = self.timer.as_ref().filter(|_| self.armed);
        timer.is_none_or(|timer| timer.deadline().into_std() <= now)
    }

    pub(super) fn fire(&mut self, now: Instant) {
        while let Some(due) = self.core.due(now, self.facts()) {
            match due {
                Due::TooSlow => {
                    self.membership.refused(Rule::SlowReader);
                    let slow_reader = self.route.slow_reader;
                    tracing::warn!(session = %self.membership.id, ?slow_reader, "the page is too slow: the agent server waited for it");
                    let close = Close::new(close::TOO_SLOW, "the page did not read in time");
                    self.close_page(now, Some(&close), Parting::Cut);
                }
                Due::IncompleteMessage => {
                    self.membership.refused(Rule::IncompleteMessage);
                    tracing::warn!(session = %self.membership.id, "a message of the page was incomplete for 30 s");
                    let close = Close::new(close::TRY_LATER, "message incomplete after 30 s");
                    self.close_page(now, Some(&close), Parting::Cut);
                }
                Due::NoEcho => self.drop_page(now, "did not echo the close"),
                Due::OnPurpose(code) => self.end(
                    Some(&Close {
                        code,
                        reason: String::new(),
                    }),
                    "its page closed it",
                ),
                Due::GraceOver => self.end(
                    Some(&Close::new(close::GOING_AWAY, "")),
                    "nobody came back within the grace",
                ),
                Due::PingUpstream => {
                    if let Some(upstream) = &mut self.upstream {
                        upstream.send_control(Opcode::Ping, &[]);
                    }
                }
                Due::PageHeartbeat => {
                    let route = std::sync::Arc::clone(&self.route);
                    if let Some(text) = route.profile.page_heartbeat() {
                        self.say(text);
                    }
                }
                Due::PagePing => {}
            }
        }
        if self.hello_due().is_some_and(|until| until <= now) {
            let close = Close::new(close::POLICY, pending::NO_HELLO);
            let (session, route) = (&self.membership.id, &self.route.path.text);
            let cause = "other pages wait for its hello";
            tracing::info!(%session, %route, code = close.code, reason = %close.reason, cause, "turned away");
            self.close_page(now, Some(&close), Parting::Cut);
        }
        if self.over {
            // whoever waits is given back
            return;
        }
        let late = |told: &mut Box<Told>| {
            let index = told.waiting.iter().position(|(until, _)| *until <= now)?;
            Some(told.waiting.remove(index))
        };
        while let Some((_, attach)) = self.told.as_mut().and_then(late) {
            let close = Close::new(close::TRY_LATER, "the hello of another page is not answered");
            let (session, route) = (&self.membership.id, &self.route.path.text);
            tracing::info!(%session, %route, code = close.code, reason = %close.reason, "turned away");
            attach.turn_away(self.membership.tracker(), &close);
        }
    }

    /// Until when the page may keep others waiting for the session's first hello. While nobody waits it may take its time:
    /// without sessmux it could as well.
    fn hello_due(&self) -> Option<Instant> {
        let keeps = self.core.is_unsaid() && self.page.is_some() && self.core.end().is_none();
        let told = self.told.as_ref().filter(|_| keeps)?;
        let waited_for = !told.waiting.is_empty() || told.asking.iter().any(|asking| !asking.is_closed());
        waited_for.then(|| self.timeline.opened() + pending::HELLO)
    }

    /// Waits for the next deadline; `false` if it has come already.
    pub(super) fn arm(&mut self, cx: &mut Context<'_>) -> bool {
        let waiting = self.told.iter().flat_map(|told| &told.waiting);
        let next = self
            .core
            .next_deadline()
            .into_iter()
            .chain(waiting.map(|(until, _)| *until))
            .chain(self.hello_due())
            .min();
        let Some(next) = next.map(tokio::time::Instant::from_std) else {
            return true;
        };
        match &mut self.timer {
            // left as it is, and the task with it, when it fires earlier than needed: deadlines move back with every message
            Some(timer) if timer.deadline() <= next && !timer.is_elapsed() => return true,
            Some(timer) => timer.as_mut().reset(next),
            None => self.timer = Some(Box::pin(sleep_until(next))),
        }
        self.timer
            .as_mut()
            .is_none_or(|timer| timer.as_mut().poll(cx).is_pending())
    }
}
