//! The hello: said upstream once, and recorded for the pages that come later.

use super::Session;
use crate::core::log::{Log, Mark};

/// Where a session stands with its hello.
#[derive(Debug, Clone)]
pub(super) enum Hello {
    /// None is needed, or it was said, and answered if servers of this profile answer.
    Stands(Option<Box<Record>>),
    /// The first page has yet to say it.
    Wanted,
    /// It went upstream; the answer is awaited.
    Sent(Box<Record>),
    /// It was refused: the page may say another, or do what the server asks for and be answered after all.
    Refused(Box<Record>),
}

/// What later pages are shown of the first hello.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    /// Server messages from before it, which let a page say hello.
    challenge: Vec<u8>,
    /// The server's answer, and what it said since the hello before that; whole frames.
    pub(super) answer: Vec<u8>,
    /// Where in that the answer itself begins.
    pub(super) answer_at: usize,
    /// How many messages between hello and answer were evicted before that came.
    pub(super) missing: u64,
    /// Behind it: the oldest message that a refresh may be sent.
    behind: Mark,
}

/// What becomes of a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloFate {
    /// It goes upstream.
    Forward,
    /// It was said before, and is not said twice.
    Absorb,
}

impl Session {
    /// Whether another page may attach: the hello was said, and answered where servers answer.
    pub fn stands(&self) -> bool {
        matches!(self.hello, Hello::Stands(_))
    }

    /// Whether no page has said a hello.
    pub fn is_unsaid(&self) -> bool {
        matches!(self.hello, Hello::Wanted)
    }

    /// Whether the first page has yet to say its hello, or another where that was refused.
    pub fn awaits_hello(&self) -> bool {
        matches!(self.hello, Hello::Wanted | Hello::Refused(_))
    }

    /// Whether the server's answer to the hello is awaited, or may yet come.
    pub fn awaits_hello_answer(&self) -> bool {
        matches!(self.hello, Hello::Sent(_) | Hello::Refused(_))
    }

    /// Server messages from before the first hello, which a page needs to say its own; nothing until it was said.
    pub fn challenge(&self) -> &[u8] {
        match &self.hello {
            Hello::Stands(Some(record)) | Hello::Sent(record) => &record.challenge,
            Hello::Stands(None) | Hello::Wanted | Hello::Refused(_) => &[],
        }
    }

    /// The server's answer to the first hello as it came, whole frames; empty where there is none.
    pub fn recorded_answer(&self) -> &[u8] {
        match &self.hello {
            Hello::Stands(Some(record)) => &record.answer[record.answer_at..],
            Hello::Stands(None) | Hello::Wanted | Hello::Sent(_) | Hello::Refused(_) => &[],
        }
    }

    /// The oldest message that a refresh may be sent: behind the hello record.
    pub(super) fn after_hello(&self) -> Mark {
        match &self.hello {
            Hello::Stands(Some(record)) | Hello::Sent(record) | Hello::Refused(record) => record.behind,
            Hello::Stands(None) | Hello::Wanted => Mark::default(),
        }
    }

    /// The page said hello.
    pub fn hello(&mut self) -> HelloFate {
        match &self.hello {
            Hello::Wanted => {}
            Hello::Refused(record) => self.log.unpin(record.challenge.len()),
            Hello::Sent(_) | Hello::Stands(_) => {
                self.count().absorbed += 1;
                return HelloFate::Absorb;
            }
        }
        let mut record = Box::<Record>::default();
        let (oldest, before) = (self.log.base(), self.log.boundary());
        // what came behind a hello that was refused is no challenge
        let challenged = *self
            .kept
            .get_or_insert_default()
            .challenged
            .get_or_insert(before.offset);
        if oldest.offset < challenged {
            // prompts are shown while they are open
            let prompts = self.kept.iter().flat_map(|kept| kept.prompts.open());
            let prompts = prompts
                .map(|prompt| prompt.mark)
                .filter(|mark| mark.offset >= oldest.offset);
            copy_without(
                &self.log,
                oldest.offset,
                challenged,
                prompts.collect(),
                &mut record.challenge,
            );
        }
        self.log.pin(record.challenge.len());
        record.behind = before;
        self.hello = if self.policy.hello_answer {
            Hello::Sent(record)
        } else {
            Hello::Stands(Some(record))
        };
        HelloFate::Forward
    }

    /// The server refused the hello, or asks for more, by the message that starts at the newest boundary and ends here;
    /// call it before [`Self::received`] with `fin`. Up to here nothing is shown to later pages.
    pub fn hello_refused(&mut self) {
        if let Hello::Sent(record) | Hello::Refused(record) = &mut self.hello {
            let mut record = std::mem::take(record);
            record.behind = self.behind_message();
            self.hello = Hello::Refused(record);
        }
    }

    /// The mark behind the message being received, which is whole.
    fn behind_message(&self) -> Mark {
        Mark {
            offset: self.log.tail(),
            position: self.log.boundary().position + 1,
        }
    }

    /// The server's answer to the first hello is the message that starts at the newest boundary and ends here; call
    /// it before [`Self::received`] with `fin`. Pages that come later are shown it as it is, and what the server said
    /// between hello and answer before it.
    pub fn hello_answered(&mut self) {
        if let Hello::Sent(record) | Hello::Refused(record) = &mut self.hello {
            let base = self.log.base();
            let from = record.behind.offset.max(base.offset);
            record.missing = base.position.saturating_sub(record.behind.position);
            // what one page alone was answered is not for later ones, and prompts they are shown while those are open
            let kept = self.kept.iter();
            let own = kept.flat_map(|kept| {
                kept.requests
                    .answers()
                    .chain(kept.prompts.open().map(|prompt| prompt.mark))
            });
            let own = own.filter(|mark| mark.offset >= from).collect();
            copy_without(&self.log, from, self.log.boundary().offset, own, &mut record.answer);
            record.answer_at = record.answer.len();
            self.log
                .copy(self.log.boundary().offset, self.log.tail(), &mut record.answer);
            self.log.pin(record.answer.len());
            let mut record = std::mem::take(record);
            record.behind = self.behind_message();
            self.hello = Hello::Stands(Some(record));
        }
    }
}

/// Copies what is from one boundary to another, but for the messages at these marks, which are between.
fn copy_without(log: &Log, from: u64, to: u64, mut marks: Vec<Mark>, out: &mut Vec<u8>) {
    marks.sort_unstable_by_key(|mark| mark.offset);
    let mut at = from;
    for mark in marks.into_iter().filter(|mark| mark.offset < to) {
        log.copy(at, mark.offset, out);
        at = log.next_message(mark).offset;
    }
    log.copy(at, to, out);
}
