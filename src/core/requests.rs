//! Requests of pages that the server answers by id.
//!
//! Pages count their requests anew on every load, and some whenever they dial. So each goes upstream under an id that no
//! other has, and its answer comes back under its own, to the attachment that asked and to no other.

use std::collections::{BTreeMap, VecDeque};

use super::log::Mark;

/// Most requests that wait for their answers; a page that asks more goes without the answer to its oldest.
const MAX_WAITING: usize = 1024;
/// What one that waits takes beside its id, in bytes.
const ENTRY: usize = size_of::<(u64, (u64, Box<[u8]>))>();

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    /// Of the attachment that asks now.
    epoch: u64,
    /// Id of the last request.
    last: u64,
    /// By the id upstream: who asked, and under which id.
    waiting: BTreeMap<u64, (u64, Box<[u8]>)>,
    /// Bytes of the pages' own ids in that.
    ids: usize,
    /// Answers to the attachment that asks now, oldest first.
    answers: VecDeque<Mark>,
}

impl Requests {
    /// The page asks under this id, as it stands in the message; returns the id upstream.
    pub fn asked(&mut self, id: &[u8]) -> u64 {
        self.last += 1;
        self.waiting.insert(self.last, (self.epoch, id.into()));
        self.ids += id.len();
        if self.waiting.len() > MAX_WAITING
            && let Some((_, (_, oldest))) = self.waiting.pop_first()
        {
            self.ids -= oldest.len();
        }
        self.last
    }

    /// The id upstream of the newest request that the page asked under this id and that waits for its answer.
    pub fn waits(&self, id: &[u8]) -> Option<u64> {
        let mut waiting = self.waiting.iter().rev();
        waiting.find_map(|(upstream, (epoch, own))| (*epoch == self.epoch && **own == *id).then_some(*upstream))
    }

    /// Bytes that those take that wait.
    pub fn held(&self) -> usize {
        self.ids + self.waiting.len() * ENTRY
    }

    /// The id upstream of the last request; 0 before the first.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The server answers the request of this id; returns the page's own id for it, if the page is still there.
    pub fn answered(&mut self, id: u64) -> Option<Box<[u8]>> {
        let (epoch, own) = self.waiting.remove(&id)?;
        self.ids -= own.len();
        (epoch == self.epoch).then_some(own)
    }

    /// An answer to the page stands in the log here; what was evicted up to `base` is forgotten.
    pub fn logged(&mut self, mark: Mark, base: Mark) {
        while self.answers.front().is_some_and(|oldest| oldest.offset < base.offset) {
            self.answers.pop_front();
        }
        self.answers.push_back(mark);
    }

    /// Where the answers to the attachment that asks now stand in the log.
    pub fn answers(&self) -> impl Iterator<Item = Mark> {
        self.answers.iter().copied()
    }

    /// Another attachment asks from here on; returns the answers that the one before got, the newest first.
    pub fn next_epoch(&mut self) -> impl Iterator<Item = Mark> + use<> {
        self.epoch += 1;
        std::mem::take(&mut self.answers).into_iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(requests: &mut Requests, id: u64) -> Option<Vec<u8>> {
        requests.answered(id).map(Vec::from)
    }

    #[test]
    fn an_answer_finds_the_page_that_asked_and_no_other() {
        let mut requests = Requests::default();
        let (one, two) = (requests.asked(b"0"), requests.asked(b"\"0\""));
        assert_ne!(one, two);
        assert_eq!(own(&mut requests, two), Some(b"\"0\"".to_vec()));
        assert_eq!(own(&mut requests, two), None, "once");
        drop(requests.next_epoch());
        assert_eq!(requests.waits(b"0"), None);
        let three = requests.asked(b"0");
        assert_eq!((requests.waits(b"0"), requests.waits(b"1")), (Some(three), None));
        assert_eq!(own(&mut requests, one), None, "that page has gone");
        assert_eq!(own(&mut requests, three), Some(b"0".to_vec()));
        assert_eq!(own(&mut requests, 99), None);
    }

    #[test]
    fn a_page_that_asks_without_end_is_forgotten_from_its_oldest_on() {
        let mut requests = Requests::default();
        let first = requests.asked(b"zero");
        let ids: Vec<u64> = (0..MAX_WAITING).map(|_| requests.asked(b"1")).collect();
        assert_eq!(requests.held(), MAX_WAITING * (1 + ENTRY));
        assert_eq!(own(&mut requests, first), None);
        assert!(ids.into_iter().all(|id| own(&mut requests, id).is_some()));
        assert_eq!(requests.held(), 0);
    }

    #[test]
    fn answers_that_were_evicted_are_forgotten() {
        let mut requests = Requests::default();
        let mark = |at| Mark {
            offset: at,
            position: at,
        };
        for at in 0..10 {
            requests.logged(mark(at), mark(at.saturating_sub(2)));
        }
        let newest_first: Vec<Mark> = requests.next_epoch().collect();
        assert_eq!(newest_first, [mark(9), mark(8), mark(7)]);
        assert_eq!(requests.next_epoch().count(), 0);
    }
}
