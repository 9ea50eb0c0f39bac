//! The answer to the session's hello: recorded, and shown to the pages that come later.

use std::ops::Range;
use std::time::Instant;

use super::SessionTask;
use crate::core::frame::{self, Opcode, Sender};
use crate::profile::Kind;
use crate::session::mailbox::Mail;
use crate::session::page::{kind, payload_of};
use crate::session::registry::Naming;
use crate::session::timeline::What;

impl SessionTask {
    /// This is the answer to the hello.
    pub(super) fn hello_answer(&mut self, now: Instant, text: &[u8]) {
        self.core.hello_answered();
        let naming = self.membership.answered(&self.route, text);
        if naming == Naming::Changed {
            self.note(now, What::Named);
        }
        // nor does anybody find one whose server should have named it and did not
        if naming == Naming::Taken || self.membership.key.is_alone() {
            self.core.stay_one_to_one();
        }
        self.release_waiting(naming);
    }

    /// The session stands: lets those in who wait for that.
    pub(super) fn release_waiting(&mut self, naming: Naming) {
        let waiting = self.told.as_mut().map(|told| std::mem::take(&mut told.waiting));
        for (_, attach) in waiting.unwrap_or_default() {
            if naming != Naming::Kept {
                // it asked for another name than the session now has
                attach.give_back();
            } else if let Err(Mail::Attach(attach)) = self.membership.mailbox.post(Mail::Attach(attach)) {
                // as mail it comes in behind what made the session stand
                attach.give_back();
            }
        }
    }

    /// What a page whose hello has this id is shown of the recorded answer, where that is not as it was recorded.
    pub(super) fn changed_answer(&self, hello_id: Option<&[u8]>) -> Option<Vec<u8>> {
        let number = self.told.as_ref()?.answer_rule?;
        let rule = self.route.profile.rules.get(number)?;
        if rule.edit.is_empty() && (rule.id.is_none() || hello_id.is_none()) {
            return None;
        }
        let recorded = self.core.recorded_answer();
        let mut text = Vec::new();
        payload_of(recorded, Sender::Server, &mut text);
        if let Some(edited) = rule.edit.apply(&text, self.core.is_running()) {
            text = edited;
        }
        if let (Some(place), Some(id)) = (rule.id_span(&text), hello_id) {
            text = replaced(&text, place, id);
        }
        let mut wire = Vec::new();
        frame::write(&mut wire, opcode(kind(recorded)), &text, None);
        Some(wire)
    }

    /// A hello that is not the session's first, with its id: its page was shown the recorded answer when it was
    /// attached, for the first that it says, and is now for any other.
    pub(super) fn hello_absorbed(&mut self, id: Option<&[u8]>) {
        tracing::debug!(session = %self.membership.id, "hello absorbed");
        let answered = self
            .page
            .as_mut()
            .is_some_and(|page| std::mem::take(&mut page.hello_answered));
        if !answered {
            let answer = self.changed_answer(id);
            let answer = answer.unwrap_or_else(|| self.core.recorded_answer().to_vec());
            if !answer.is_empty() {
                self.core.say(|out| out.extend_from_slice(&answer));
            }
        }
    }
}

/// The text with something else in that place.
pub(super) fn replaced(text: &[u8], place: Range<usize>, by: &[u8]) -> Vec<u8> {
    [&text[..place.start], by, &text[place.end..]].concat()
}

/// The opcode of a message of this kind.
pub(super) fn opcode(kind: Kind) -> Opcode {
    match kind {
        Kind::Text => Opcode::Text,
        Kind::Binary => Opcode::Binary,
    }
}
