//! A page comes to the session: it is attached in one step, waits, or is told that it may not be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::SessionTask;
use crate::core::cause::Cause;
use crate::core::close::{self, Close};
use crate::core::session::{Admission, Newcomer};
use crate::session::attach::Attach;
use crate::session::key::SessionId;
use crate::session::page::Page;
use crate::session::pending;
use crate::session::policy::bounds;
use crate::session::timeline::What;

/// A page waits so long for a hello answer that another page's hello asked for.
const ANSWER: Duration = Duration::from_secs(10);

/// A page that was attached: what there is to log of it, and what it sent behind its request.
pub(super) struct Came {
    epoch: u64,
    cause: Option<Cause>,
    from: u64,
    replay: u64,
    gap: u64,
    takeover: bool,
    pub(super) unread: Vec<u8>,
}

impl Came {
    pub(super) fn log(&self, session: &SessionId) {
        tracing::info!(
            %session, epoch = self.epoch, cause = self.cause.map(Cause::name), from = self.from, replay = self.replay,
            gap = self.gap, takeover = self.takeover, "attach"
        );
    }
}

impl SessionTask {
    /// Attaches the page, or tells it that it may not be; returns one that was attached.
    pub(super) fn attach(&mut self, mut attach: Box<Attach>, now: Instant) -> Option<Came> {
        // it may have come for a name that the session had until the server chose another
        if self.over || attach.key.as_ref() != Some(&self.membership.key) {
            attach.give_back();
            return None;
        }
        self.hear_out(now);
        if self.over {
            attach.give_back();
            return None;
        }
        // one that has gone while it waited takes nothing from who is there
        if self.page.is_some()
            && let Some(close) = pending::left(&mut attach, bounds(&self.route))
        {
            let cause = "it left, or broke the protocol, before it was attached";
            tracing::info!(session = %self.membership.id, code = close.code, reason = %close.reason, cause, "turned away");
            attach.turn_away(self.membership.tracker(), &close);
            return None;
        }
        if let Some(proof) = &attach.proof
            && let Err(why) = self.told.get_or_insert_default().proofs.check(now, proof)
        {
            tracing::warn!(session = %self.membership.id, cause = why, "attach refused");
            self.note(now, What::Refused { code: close::REFUSED });
            attach.turn_away(self.membership.tracker(), &Close::new(close::REFUSED, why));
            return None;
        }
        if self.page.is_some() && !self.core.stands() {
            let waiting = &mut self.told.get_or_insert_default().waiting;
            waiting.push((now + ANSWER, attach));
            return None;
        }
        let newcomer = Newcomer {
            since: attach.since,
            facts: attach.facts(),
            same_browser: match (&self.browser, &attach.browser) {
                (Some(last), Some(browser)) => Arc::ptr_eq(last, browser),
                (last, browser) => last.is_none() && browser.is_none(),
            },
            answer: self.changed_answer(attach.hello_id.as_deref()),
            head: std::mem::take(&mut attach.head),
        };
        match self.core.attach(now, newcomer) {
            Admission::Attached(it) => {
                self.record_attach(now, it.epoch, it.cause);
                let older = self.page.take();
                let replaying = self.count_replay(&it);
                self.note_attach(now, &it, older.as_deref());
                let takeover = older.is_some();
                match (older, it.replaced) {
                    (Some(older), Some(mut rest)) => {
                        if !it.replaced_closed {
                            Close::new(close::REPLACED, "opened elsewhere").write(&mut rest, None);
                        }
                        self.membership.farewell(older.socket, rest);
                    }
                    (Some(older), None) => older.socket.reset(),
                    (None, _) => {}
                }
                let Attach {
                    socket,
                    unread,
                    browser,
                    proof,
                    ..
                } = *attach;
                if let Some(proof) = proof {
                    self.told.get_or_insert_default().proofs.note(now, proof);
                }
                self.browser = browser;
                self.membership.mailbox.set_attached(true);
                let mut page = Page::new(socket, it.epoch, bounds(&self.route));
                page.replaying = replaying;
                page.hello_answered = it.cause.is_some();
                self.page = Some(Box::new(page));
                Some(Came {
                    epoch: it.epoch,
                    cause: it.cause,
                    from: it.from.position + 1,
                    replay: it.replayed,
                    gap: it.gap,
                    takeover,
                    unread,
                })
            }
            Admission::Refused(head, close) => {
                self.note(
                    now,
                    What::Refused {
                        code: close.code.unwrap_or(close::NO_CODE),
                    },
                );
                tracing::info!(session = %self.membership.id, code = close.code, reason = %close.reason, "attach refused");
                attach.head = head;
                attach.turn_away(self.membership.tracker(), &close);
                None
            }
            Admission::OnPurpose(head, code) => {
                attach.head = head;
                self.end(
                    Some(&Close {
                        code,
                        reason: String::new(),
                    }),
                    "its page closed it",
                );
                attach.give_back();
                None
            }
        }
    }
}
