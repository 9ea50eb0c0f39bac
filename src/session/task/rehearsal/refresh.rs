//! What a page would be sent that is loaded now, tried on a copy of the state, so that it does not happen.

use std::io::IoSlice;
use std::time::Instant;

use super::Rehearsal;
use super::wire::{Sent, messages, sent_to_page};
use crate::core::cause::{PageFacts, Parting};
use crate::core::close;
use crate::core::frame::{self, Opcode, Sender};
use crate::core::session::{Admission, Newcomer, Session};
use crate::profile::Role;
use crate::session::policy::needs_first_message;
use crate::session::task::SLICES;

/// What a page would get that is loaded now.
#[derive(Debug)]
pub enum Refresh {
    /// Nothing of this session, which ends with its page.
    Over,
    /// A close with this code.
    Refused(Option<u16>),
    /// This.
    Replay(Replay),
}

/// What a page is sent before live messages.
#[derive(Debug, Default)]
pub struct Replay {
    /// How many messages it needs to say its hello, and has as the recorded answer to that; they come first.
    pub hello: usize,
    /// The positions of the messages from the replay log, which come then.
    pub log: Vec<u64>,
    /// The positions of open prompts from before those, which come last.
    pub prompts: Vec<u64>,
    /// All of them, where they are wanted.
    pub sent: Vec<Sent>,
    /// The positions of all prompts that are open.
    pub open: Vec<u64>,
    /// Whether a turn runs.
    pub running: bool,
    /// How many messages it should have been sent and are not retained.
    pub gap: u64,
}

impl Rehearsal {
    /// What a page would get that is loaded now and says the hello that was said last; with `all`, the messages too.
    pub fn refresh(&self, now: Instant, all: bool) -> Refresh {
        // of a copy, so that it does not happen
        let mut core = self.task.core.clone();
        if self.task.over || (core.is_attached() && is_over(&mut core, now)) {
            return Refresh::Over;
        }
        let mut replay = Replay {
            open: core.open_prompts().map(|prompt| prompt.mark.position + 1).collect(),
            running: core.is_running(),
            ..Replay::default()
        };
        // who has to say hello first is shown what it needs for that
        let pending = self.task.route.profile.has(Role::Hello) && !needs_first_message(&self.task.route);
        let mut head = Vec::new();
        // no message, but with it there is a head in any case
        frame::write(&mut head, Opcode::Pong, &[], None);
        if pending {
            head.extend_from_slice(core.challenge());
        }
        let newcomer = Newcomer {
            since: now,
            facts: PageFacts {
                seen: true,
                rerequested: true,
                last_request: Some(now),
            },
            same_browser: true,
            answer: self.task.changed_answer(self.hello_id.as_deref()),
            head,
        };
        match core.attach(now, newcomer) {
            Admission::Attached(it) => {
                replay.gap = it.gap;
                replay.log = core.log().positions(it.from);
                if core.end().is_none() {
                    let before = core.open_prompts().map(|prompt| prompt.mark.position + 1);
                    replay.prompts = before.filter(|position| *position <= it.from.position).collect();
                }
                if all {
                    replay.sent = sent_to_page(&mut core, now).0;
                    let behind = replay.log.len() + replay.prompts.len();
                    replay.hello = replay.sent.len().saturating_sub(behind);
                } else {
                    // to make the messages of every refresh at every message would take long
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    core.slices(now, &mut slices);
                    let head = messages(&slices[0], Sender::Server).0.len();
                    // where there is nothing between, prompts are part of the head
                    let prompts = replay.log.is_empty().then_some(replay.prompts.len());
                    replay.hello = head.saturating_sub(prompts.unwrap_or(0));
                }
                Refresh::Replay(replay)
            }
            Admission::Refused(_, close) => Refresh::Refused(close.code),
            Admission::OnPurpose(..) => Refresh::Over,
        }
    }
}

/// Whether the session is over when its page reloads.
fn is_over(core: &mut Session, now: Instant) -> bool {
    let (epoch, parting) = (core.epoch(), Parting::Closed(Some(close::GOING_AWAY)));
    core.detach(now, epoch, parting).is_none_or(|departure| departure.over)
}
