//! Messages of which not every one is kept for later pages: prompts, answers to what one page asked, and full states
//! that supersede each other.

use std::collections::HashMap;
use std::time::Instant;

use super::Session;
use crate::core::log::Mark;
use crate::core::prompts::{Answer, Older, Prompt, Prompts};
use crate::core::requests::Requests;

/// Most kinds of full state of which the newest is known; of more, that is forgotten which was sent longest ago: what
/// names kinds by calls or turns makes ever new ones, and is done with the old.
const MAX_KINDS: usize = 256;

/// What a profile's rules brought about, and the first hello; a session without any owns none of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    pub(super) prompts: Prompts,
    pub(super) requests: Requests,
    /// A turn has begun and not ended.
    pub(super) running: bool,
    /// A turn runs or a prompt is open.
    pub(super) open: bool,
    /// Where the newest turn starts.
    pub(super) turn: Option<Mark>,
    /// Offset before which the server spoke before any hello was said.
    pub(super) challenged: Option<u64>,
    /// Echoes that wait for the message being received to be whole; whole frames.
    pub(super) echoes: Vec<Vec<u8>>,
    /// Where the newest full state of each kind starts.
    latest: HashMap<String, Mark>,
    /// A message that is to be removed once the page does not stand amid it any more.
    leaving: Option<Mark>,
}

impl Kept {
    /// Bytes that it holds and that are not pinned in the log: those that pages may have much of.
    pub(super) fn held(&self) -> usize {
        self.requests.held() + self.echoes.iter().map(Vec::len).sum::<usize>()
    }
}

impl Session {
    /// The message being received, which is whole, asks the person: it is open until answered. Call it before
    /// [`Self::received`]. Returns the position of the prompt that is a message like any other from here on, for too many
    /// are open: it stays in the log, where it still is, and its answer goes upstream as often as it is given.
    pub fn prompt(&mut self, now: Instant, id: Option<String>) -> Option<u64> {
        let mut wire = Vec::new();
        let mark = self.log.boundary();
        self.log.copy(mark.offset, self.log.tail(), &mut wire);
        self.log.pin(wire.len());
        let older = self.kept.get_or_insert_default().prompts.asked(now, id, mark, wire);
        let let_go = match older {
            Some(Older::Superseded(prompt)) => {
                self.closed(now, vec![prompt]);
                None
            }
            Some(Older::LetGo(prompt)) => {
                self.log.unpin(prompt.wire.len());
                Some(prompt.mark.position + 1)
            }
            None => None,
        };
        self.regrace(now);
        let_go
    }

    /// Whether the message being received, which is whole, is an open prompt of this id once more, byte by byte: every
    /// page is shown that anyway, and once.
    pub fn asks_again(&self, id: &str) -> bool {
        let Some(open) = self.open_prompts().find(|prompt| prompt.id.as_deref() == Some(id)) else {
            return false;
        };
        let mut wire = Vec::new();
        self.log.copy(self.log.boundary().offset, self.log.tail(), &mut wire);
        wire == open.wire
    }

    /// The prompts that are open, oldest first; nobody waits any more once upstream has ended.
    pub fn open_prompts(&self) -> impl Iterator<Item = &Prompt> {
        let kept = self.kept.iter().filter(|_| self.end.is_none());
        kept.flat_map(|kept| kept.prompts.open())
    }

    /// Whether a prompt is open.
    pub fn is_asking(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.prompts.any_open())
    }

    /// The page answers a prompt: that of this id, or without one the oldest open one. A late answer is counted.
    pub fn prompt_answered(&mut self, now: Instant, id: Option<&str>) -> Answer {
        let kept = self.kept.as_mut();
        let answer = kept.map_or(Answer::Unknown, |kept| kept.prompts.answered(id));
        match &answer {
            Answer::First(prompt) => {
                self.log.unpin(prompt.wire.len());
                self.remove(prompt.mark);
                self.regrace(now);
            }
            Answer::Late => self.count().late_answers += 1,
            Answer::Unknown => {}
        }
        answer
    }

    /// The server does not wait for an answer any more: to the prompt of this id, or to any.
    pub fn prompts_ended(&mut self, now: Instant, id: Option<&str>) {
        let closed = self.kept.as_mut().map(|kept| kept.prompts.ended(id));
        self.closed(now, closed.unwrap_or_default());
    }

    /// Nothing is asked any more, for the turn is over.
    pub(super) fn prompts_given_up(&mut self, now: Instant) {
        let closed = self.kept.as_mut().map(|kept| kept.prompts.given_up());
        self.closed(now, closed.unwrap_or_default());
    }

    fn closed(&mut self, now: Instant, closed: Vec<Prompt>) {
        for prompt in closed {
            self.log.unpin(prompt.wire.len());
            self.remove(prompt.mark);
        }
        self.regrace(now);
    }

    /// The page asks the server something under this id of its own; returns the id that goes upstream.
    pub fn requested(&mut self, id: &[u8]) -> u64 {
        self.kept.get_or_insert_default().requests.asked(id)
    }

    /// The page says something about its request of this id; returns the id under which the server knows that. Where none
    /// waits the server is to hear nothing, and that is counted.
    pub fn cancelled(&mut self, id: &[u8]) -> Option<u64> {
        let upstream = self.kept.as_ref().and_then(|kept| kept.requests.waits(id));
        if upstream.is_none() {
            self.count().stray_cancels += 1;
        }
        upstream
    }

    /// The id under which the last request went upstream; 0 before the first.
    pub fn last_asked(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| kept.requests.last())
    }

    /// The server answers the request of this id: returns the id under which the page asked, where it is still attached, or
    /// was last. Else the answer is nobody's, and counted.
    pub fn answered(&mut self, id: Option<u64>) -> Option<Box<[u8]>> {
        let own = id
            .zip(self.kept.as_mut())
            .and_then(|(id, kept)| kept.requests.answered(id));
        if own.is_none() {
            self.count().stray_answers += 1;
        }
        own
    }

    /// The message being received, which is whole, answers the page alone: it is not replayed to another. Call it before
    /// [`Self::received`].
    pub fn answer(&mut self) {
        let requests = &mut self.kept.get_or_insert_default().requests;
        requests.logged(self.log.boundary(), self.log.base());
    }

    /// Another attachment is about to be: it does not get the answers to the one before.
    pub(super) fn forget_answers(&mut self) {
        let answers = self.kept.as_mut().map(|kept| kept.requests.next_epoch());
        for mark in answers.into_iter().flatten() {
            self.remove(mark);
        }
    }

    /// The message being received, which is whole, is the full state of this kind: older ones are not kept. Call it
    /// before [`Self::received`].
    pub fn latest(&mut self, kind: &str) {
        let mark = self.log.boundary();
        let latest = &mut self.kept.get_or_insert_default().latest;
        if let Some(older) = latest.get_mut(kind) {
            let older = std::mem::replace(older, mark);
            self.remove(older);
            return;
        }
        if latest.len() == MAX_KINDS
            && let Some(oldest) = latest.values().map(|mark| mark.offset).min()
        {
            latest.retain(|_, mark| mark.offset != oldest);
        }
        latest.insert(kind.to_owned(), mark);
    }

    /// Removes a message from the log; one that the page stands amid goes when that has left, at the latest.
    fn remove(&mut self, mark: Mark) {
        let cursor = self.attached.as_ref().map(|attached| attached.out.cursor());
        if self.log.remove(mark, cursor) || !self.log.holds(mark) {
            return;
        }
        // there is one only that the page can stand amid
        let earlier = self.kept.get_or_insert_default().leaving.replace(mark);
        if let Some(earlier) = earlier.filter(|earlier| *earlier != mark) {
            self.log.remove(earlier, cursor);
        }
    }

    /// The page has left that stood amid a message that was to be removed.
    pub(super) fn remove_leaving(&mut self) {
        if let Some(mark) = self.kept.as_mut().and_then(|kept| kept.leaving.take()) {
            self.log.remove(mark, None);
        }
    }
}
