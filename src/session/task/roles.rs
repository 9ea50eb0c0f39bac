//! What the profile's rules say of messages, done.

use std::time::Instant;

use super::SessionTask;
use crate::core::frame::{self, Opcode, Sender};
use crate::core::prompts::Answer;
use crate::core::session::HelloFate;
use crate::profile::{self, Kind, Role, Rule, Side};
use crate::session::mailbox::Mail;
use crate::session::page::{Message, beginning, kind, payload, payload_of};
use crate::session::policy::first_is_hello;
use crate::session::registry::Naming;

impl SessionTask {
    /// A whole message of the page, the `number`th of its life: goes upstream, unless a rule says otherwise.
    pub(super) fn client_message(&mut self, now: Instant, message: &Message<'_>, number: u64) {
        let profile = &self.route.profile;
        if !profile.wants(Side::Client) {
            let is_hello = number == 1 && first_is_hello(&self.route);
            return self.forward(message, is_hello);
        }
        let mut text = Vec::new();
        let whole = beginning(message, &mut text);
        let look = |text: &[u8], whole: bool| {
            let looked_at = profile::Message {
                kind: kind(message),
                number,
                payload: text,
                whole,
            };
            profile.rule_for(Side::Client, &looked_at, true)
        };
        let mut rule = look(&text, whole);
        if !whole && !matches!(rule, Ok(rule) if rule.is_none_or(|rule| !rule.needs_text())) {
            text.clear();
            payload(message, &mut text);
            rule = look(&text, true);
        }
        let rule = rule.unwrap_or(None);
        let is_hello = !profile.has(Role::Hello) && number == 1 && first_is_hello(&self.route);
        match rule.map(|rule| rule.role) {
            Some(Role::Heartbeat | Role::Local) => {
                if let Some(answer) = rule.and_then(|rule| rule.answer.as_ref()) {
                    let answer = answer.fill(&text);
                    self.say(&answer);
                }
            }
            Some(Role::Ignore) => tracing::debug!(session = %self.membership.id, number, "client message ignored"),
            Some(Role::TurnStart) => {
                self.forward(message, is_hello);
                self.core.turn_started(now);
            }
            Some(Role::PromptAnswer) => {
                let id = rule.and_then(|rule| rule.id_of(&text));
                if let Answer::Late = self.core.prompt_answered(now, id.as_deref()) {
                    let late = self.core.counts().late_answers;
                    tracing::info!(session = %self.membership.id, late, "an answer to what was answered before: dropped");
                } else {
                    self.forward(message, is_hello);
                }
            }
            Some(Role::Hello) => self.forward(message, true),
            _ => self.forward(message, is_hello),
        }
    }

    fn forward(&mut self, message: &[u8], is_hello: bool) {
        let Some(upstream) = &mut self.upstream else { return };
        if is_hello && self.core.hello() == HelloFate::Absorb {
            tracing::debug!(session = %self.membership.id, "hello absorbed");
            return;
        }
        upstream.send(message);
        if is_hello {
            self.answer_askers();
            if self.core.stands() {
                self.release_waiting(Naming::Kept);
            }
        }
    }

    /// Sends the page a text of sessmux's own.
    pub(super) fn say(&mut self, text: &str) {
        if !self
            .core
            .say(|out| frame::write(out, Opcode::Text, text.as_bytes(), None))
        {
            tracing::debug!(session = %self.membership.id, unsaid = self.core.counts().unsaid, "the page takes no answers");
        }
    }

    /// A message of the server is complete and not yet committed; whether it goes into the log.
    pub(super) fn server_message(&mut self, now: Instant) -> bool {
        self.upstream_messages += 1;
        let (log, awaited) = (self.core.log(), self.core.awaits_hello_answer());
        let start = log.boundary().offset;
        let (beginning, whole, opcode) = log.beginning(start);
        let looked_at = profile::Message {
            kind: if opcode == Opcode::Text {
                Kind::Text
            } else {
                Kind::Binary
            },
            number: self.upstream_messages,
            payload: beginning,
            whole,
        };
        let route = std::sync::Arc::clone(&self.route);
        let mut text = Vec::new();
        let rule = route.profile.rule_for(Side::Server, &looked_at, awaited).or_else(|_| {
            log.payload(start, &mut text);
            let looked_at = profile::Message {
                payload: &text,
                whole: true,
                ..looked_at
            };
            route.profile.rule_for(Side::Server, &looked_at, awaited)
        });
        let Ok(Some(rule)) = rule else { return true };
        if rule.needs_text() && text.is_empty() {
            log.payload(start, &mut text);
        }
        match rule.role {
            Role::HelloAnswer => {
                self.answer_rule = Some(rule.number);
                self.hello_answer(&text);
            }
            Role::Heartbeat => {
                self.answer_upstream(rule, &text);
                return false;
            }
            Role::Ignore => return false,
            Role::TurnStart => self.core.turn_started(now),
            Role::TurnEnd => self.core.turn_ended(now),
            Role::Latest => self
                .core
                .latest(&format!("{}:{}", rule.number, rule.id_of(&text).unwrap_or_default())),
            Role::Prompt => self.core.prompt(now, rule.id_of(&text)),
            Role::PromptEnd => {
                let id = rule.id_of(&text);
                // one that should name a prompt and does not ends none
                if id.is_some() || rule.id.is_none() {
                    self.core.prompts_ended(now, id.as_deref());
                }
            }
            Role::HelloRefused => self.core.hello_refused(),
            Role::Hello | Role::Local | Role::PromptAnswer | Role::Tunnel => {}
        }
        true
    }

    fn answer_upstream(&mut self, rule: &Rule, text: &[u8]) {
        if let (Some(answer), Some(upstream)) = (&rule.answer, &mut self.upstream)
            && upstream.has_room()
        {
            upstream.send_text(&answer.fill(text));
        }
    }

    /// What a page that comes now is shown of the recorded answer, where its rule changes that.
    pub(super) fn edited_answer(&self) -> Option<Vec<u8>> {
        let rule = self
            .answer_rule
            .and_then(|number| self.route.profile.rules.get(number))?;
        if rule.edit.is_empty() {
            return None;
        }
        let mut text = Vec::new();
        payload_of(self.core.recorded_answer(), Sender::Server, &mut text);
        let edited = rule.edit.apply(&text, self.core.is_running())?;
        let mut wire = Vec::new();
        frame::write(&mut wire, Opcode::Text, &edited, None);
        Some(wire)
    }

    fn hello_answer(&mut self, text: &[u8]) {
        self.core.hello_answered();
        let naming = self.membership.answered(&self.route, text);
        // nor does anybody find one whose server should have named it and did not
        if naming == Naming::Taken || self.membership.key.is_alone() {
            self.core.stay_one_to_one();
        }
        self.release_waiting(naming);
    }

    /// The session stands: lets those in who wait for that.
    fn release_waiting(&mut self, naming: Naming) {
        for (_, attach) in std::mem::take(&mut self.waiting) {
            if naming != Naming::Kept {
                // it asked for another name than the session now has
                attach.give_back();
            } else if let Err(Mail::Attach(attach)) = self.membership.mailbox.post(Mail::Attach(attach)) {
                // as mail it comes in behind what made the session stand
                attach.give_back();
            }
        }
    }
}
