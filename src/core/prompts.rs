//! Server messages that wait for the person, and which of them were answered.

use std::collections::VecDeque;
use std::time::Instant;

use super::log::Mark;

/// Most prompts that are open at a time; of more, the oldest is a message like any other from then on.
const MAX_OPEN: usize = 64;
/// So many answered ones are remembered, to tell a late answer from one to something unknown.
const MAX_ANSWERED: usize = 256;

/// A prompt that is open.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// What its answer names, where the protocol has that.
    pub id: Option<String>,
    /// Since when it is open.
    pub since: Instant,
    /// Where it starts in the log.
    pub mark: Mark,
    /// Its frames, kept here too: it may be evicted from the log.
    pub wire: Vec<u8>,
}

/// What a new prompt ends.
#[derive(Debug)]
pub enum Older {
    /// This one, of the same id.
    Superseded(Prompt),
    /// This one, the oldest of too many.
    LetGo(Prompt),
}

/// What an answer is to the prompts.
#[derive(Debug)]
pub enum Answer {
    /// The first to this prompt.
    First(Prompt),
    /// To one that was answered before: the server must not see it.
    Late,
    /// To something that was never asked, as far as is known.
    Unknown,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Prompts {
    open: Vec<Prompt>,
    answered: VecDeque<Option<String>>,
}

impl Prompts {
    /// Whether one is open.
    pub fn any_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Those that are open, oldest first.
    pub fn open(&self) -> impl Iterator<Item = &Prompt> {
        self.open.iter()
    }

    /// The server asks something; returns the prompt that is not open any more for that.
    pub fn asked(&mut self, now: Instant, id: Option<String>, mark: Mark, wire: Vec<u8>) -> Option<Older> {
        let same = self.open.iter().position(|prompt| id.is_some() && prompt.id == id);
        let older = match same {
            Some(index) => Some(Older::Superseded(self.open.remove(index))),
            None if self.open.len() == MAX_OPEN => Some(Older::LetGo(self.open.remove(0))),
            None => None,
        };
        self.answered.retain(|answered| *answered != id);
        self.open.push(Prompt {
            id,
            since: now,
            mark,
            wire,
        });
        older
    }

    /// A page answers: the prompt of that id, or without one the oldest that is open.
    pub fn answered(&mut self, id: Option<&str>) -> Answer {
        let matching = |prompt: &Prompt| id.is_none() || prompt.id.as_deref() == id;
        if let Some(index) = self.open.iter().position(matching) {
            return Answer::First(self.close(index));
        }
        if self
            .answered
            .iter()
            .any(|answered| id.is_none() || answered.as_deref() == id)
        {
            Answer::Late
        } else {
            Answer::Unknown
        }
    }

    /// The server says that it does not wait any more: for the prompt of that id, or for any.
    pub fn ended(&mut self, id: Option<&str>) -> Vec<Prompt> {
        let mut closed = Vec::new();
        while let Some(index) = self
            .open
            .iter()
            .position(|prompt| id.is_none() || prompt.id.as_deref() == id)
        {
            closed.push(self.close(index));
        }
        closed
    }

    /// None is open any more, though the server did not say so of any: what answers one yet is the first answer that the
    /// server gets, which alone knows whether it waits.
    pub fn given_up(&mut self) -> Vec<Prompt> {
        std::mem::take(&mut self.open)
    }

    fn close(&mut self, index: usize) -> Prompt {
        let prompt = self.open.remove(index);
        if self.answered.len() == MAX_ANSWERED {
            self.answered.pop_front();
        }
        self.answered.push_back(prompt.id.clone());
        prompt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(position: u64) -> Mark {
        Mark {
            offset: 10 * position,
            position,
        }
    }

    fn asked(prompts: &mut Prompts, id: Option<&str>, position: u64) -> Option<Older> {
        prompts.asked(Instant::now(), id.map(ToOwned::to_owned), mark(position), vec![0; 10])
    }

    /// The prompt that is answered first by this.
    fn first(prompts: &mut Prompts, id: Option<&str>) -> Option<Mark> {
        match prompts.answered(id) {
            Answer::First(prompt) => Some(prompt.mark),
            Answer::Late | Answer::Unknown => None,
        }
    }

    #[test]
    fn the_first_answer_wins() {
        let mut prompts = Prompts::default();
        assert!(matches!(prompts.answered(Some("a")), Answer::Unknown));
        asked(&mut prompts, Some("a"), 1);
        asked(&mut prompts, Some("b"), 2);
        assert_eq!(first(&mut prompts, Some("b")), Some(mark(2)));
        assert!(matches!(prompts.answered(Some("b")), Answer::Late));
        assert!(matches!(prompts.answered(Some("c")), Answer::Unknown));
        assert_eq!(first(&mut prompts, Some("a")), Some(mark(1)));
        assert!(!prompts.any_open());
    }

    #[test]
    fn without_ids_answers_go_to_the_oldest() {
        let mut prompts = Prompts::default();
        assert!(matches!(prompts.answered(None), Answer::Unknown));
        asked(&mut prompts, None, 1);
        asked(&mut prompts, None, 2);
        assert_eq!(first(&mut prompts, None), Some(mark(1)));
        assert_eq!(first(&mut prompts, None), Some(mark(2)));
        assert!(matches!(prompts.answered(None), Answer::Late));
    }

    #[test]
    fn what_the_server_ends_cannot_be_answered_any_more() {
        let mut prompts = Prompts::default();
        for (position, id) in ["a", "b", "c"].into_iter().enumerate() {
            asked(&mut prompts, Some(id), position as u64);
        }
        assert_eq!(prompts.ended(Some("b")).len(), 1);
        assert!(matches!(prompts.answered(Some("b")), Answer::Late));
        assert_eq!(prompts.ended(None).len(), 2);
        assert!(matches!(prompts.answered(Some("a")), Answer::Late));
    }

    #[test]
    fn what_was_given_up_may_be_answered_yet() {
        let mut prompts = Prompts::default();
        asked(&mut prompts, Some("a"), 1);
        asked(&mut prompts, Some("b"), 2);
        assert!(first(&mut prompts, Some("a")).is_some());
        assert_eq!(prompts.given_up().len(), 1);
        assert!(!prompts.any_open());
        assert!(matches!(prompts.answered(Some("a")), Answer::Late));
        assert!(matches!(prompts.answered(Some("b")), Answer::Unknown));
    }

    #[test]
    fn one_that_is_asked_again_replaces_the_older_and_there_are_not_endlessly_many() {
        let mut prompts = Prompts::default();
        assert!(asked(&mut prompts, Some("a"), 1).is_none());
        let older = asked(&mut prompts, Some("a"), 2);
        assert!(matches!(older, Some(Older::Superseded(older)) if older.mark == mark(1)));
        assert_eq!(first(&mut prompts, Some("a")), Some(mark(2)));
        assert!(
            asked(&mut prompts, Some("a"), 3).is_none(),
            "asked again after it was answered"
        );
        assert_eq!(first(&mut prompts, Some("a")), Some(mark(3)));
        for position in 0..MAX_OPEN as u64 {
            assert!(asked(&mut prompts, None, position).is_none());
        }
        let oldest = asked(&mut prompts, None, 99);
        assert!(matches!(oldest, Some(Older::LetGo(oldest)) if oldest.mark == mark(0)));
    }
}
