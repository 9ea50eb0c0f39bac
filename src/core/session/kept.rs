//! Messages of which not every one is kept for later pages: prompts, and full states that supersede each other.

use std::time::Instant;

use super::Session;
use crate::core::log::Mark;
use crate::core::prompts::{Answer, Prompt};

/// Most kinds of full state of which the newest is known.
const MAX_KINDS: usize = 64;

impl Session {
    /// The message being received, which is whole, asks the person: it is open until answered. Call it before
    /// [`Self::received`].
    pub fn prompt(&mut self, now: Instant, id: Option<String>) {
        let mut wire = Vec::new();
        let mark = self.log.boundary();
        self.log.copy(mark.offset, self.log.tail(), &mut wire);
        self.log.pin(wire.len());
        let closed = self.prompts.asked(id, mark, wire);
        self.closed(now, closed.into_iter().collect());
    }

    /// The page answers a prompt: that of this id, or without one the oldest open one. A late answer is counted.
    pub fn prompt_answered(&mut self, now: Instant, id: Option<&str>) -> Answer {
        let answer = self.prompts.answered(id);
        match &answer {
            Answer::First(prompt) => {
                self.log.unpin(prompt.wire.len());
                self.remove(prompt.mark);
                self.regrace(now);
            }
            Answer::Late => self.counts.late_answers += 1,
            Answer::Unknown => {}
        }
        answer
    }

    /// The server does not wait for an answer any more: to the prompt of this id, or to any.
    pub fn prompts_ended(&mut self, now: Instant, id: Option<&str>) {
        let closed = self.prompts.ended(id);
        self.closed(now, closed);
    }

    fn closed(&mut self, now: Instant, closed: Vec<Prompt>) {
        for prompt in closed {
            self.log.unpin(prompt.wire.len());
            self.remove(prompt.mark);
        }
        self.regrace(now);
    }

    /// The message being received, which is whole, is the full state of this kind: older ones are not kept. Call it
    /// before [`Self::received`].
    pub fn latest(&mut self, kind: &str) {
        let mark = self.log.boundary();
        if let Some(older) = self.latest.get_mut(kind) {
            let older = std::mem::replace(older, mark);
            self.remove(older);
        } else if self.latest.len() < MAX_KINDS {
            self.latest.insert(kind.to_owned(), mark);
        }
    }

    /// Removes a message from the log, unless the page stands in it.
    fn remove(&mut self, mark: Mark) {
        let cursor = self.attached.as_ref().map(|attached| attached.out.cursor());
        self.log.remove(mark, cursor);
    }
}
