//! What the profile's rules say of a page's messages, done.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::SessionTask;
use super::hello::{opcode, replaced};
use crate::config::Foreign;
use crate::core::cause::Parting;
use crate::core::close::{self, Close};
use crate::core::frame::{self, Opcode};
use crate::core::prompts::Answer;
use crate::core::session::HelloFate;
use crate::metrics;
use crate::profile::{self, Kind, Profile, Role, Rule, Side};
use crate::session::page::{Message, beginning, kind, payload};
use crate::session::policy::first_is_hello;
use crate::session::registry::Naming;
use crate::session::timeline::What;

impl SessionTask {
    /// A whole message of the page, the `number`th of its life: goes upstream, unless a rule says otherwise.
    pub(super) fn client_message(&mut self, now: Instant, message: &Message<'_>, number: u64) {
        if !self.route.profile.wants(Side::Client) {
            let is_hello = number == 1 && first_is_hello(&self.route);
            return self.forward(message, is_hello);
        }
        let route = Arc::clone(&self.route);
        let mut text = Vec::new();
        let whole = beginning(message, &mut text);
        let state = self.state();
        let look = |text: &[u8], whole: bool| {
            let looked_at = profile::Message {
                kind: kind(message),
                number,
                payload: text,
                whole,
            };
            route.profile.rule_for(Side::Client, &looked_at, state)
        };
        let mut rule = look(&text, whole);
        if !whole && !matches!(rule, Ok(rule) if rule.is_none_or(|rule| !rule.needs_text())) {
            text.clear();
            payload(message, &mut text);
            rule = look(&text, true);
        }
        let rule = rule.unwrap_or(None);
        self.told.get_or_insert_default().judged = rule.map(|rule| rule.number);
        let is_hello = number == 1 && first_is_hello(&self.route);
        if self.is_guarded() && kind(message) == Kind::Text {
            if !whole {
                text.clear();
                payload(message, &mut text);
            }
            // else the server may read a hello where this has read none
            if !Profile::is_unambiguous(&text) {
                return self.refuse(now, "a message that is no unambiguous JSON", "no unambiguous JSON");
            }
        }
        match rule.map(|rule| rule.role) {
            Some(role @ (Role::Heartbeat | Role::Local)) => {
                if role == Role::Heartbeat {
                    self.heartbeat_answered(metrics::Side::Page);
                }
                if let Some(answer) = rule.and_then(|rule| rule.answer.as_ref()) {
                    let answer = answer.fill(&text, rule.and_then(|rule| rule.text.as_deref()));
                    self.say(&answer);
                }
            }
            Some(Role::Ignore) => tracing::debug!(session = %self.membership.id, number, "client message ignored"),
            Some(Role::Refused) => self.refuse_hello(now),
            Some(Role::Once) => {
                let number = rule.map_or(0, |rule| rule.number);
                let said_once = &mut self.told.get_or_insert_default().said_once;
                if said_once.contains(&number) {
                    tracing::debug!(session = %self.membership.id, number, "said before: absorbed");
                } else {
                    said_once.push(number);
                    self.forward(message, is_hello);
                }
            }
            Some(Role::Echo) => {
                self.forward(message, is_hello);
                if let Some(show) = rule.and_then(|rule| rule.show.as_ref()) {
                    let shown = show.fill(&text, rule.and_then(|rule| rule.text.as_deref()));
                    let mut wire = Vec::new();
                    frame::write(&mut wire, Opcode::Text, shown.as_bytes(), None);
                    self.core.echo(wire);
                }
            }
            Some(Role::End) => {
                self.forward(message, is_hello);
                self.conversation_over(now);
            }
            Some(Role::TurnStart) => {
                self.request(rule, message, &text, is_hello);
                self.core.turn_started(now);
            }
            Some(Role::Request) => self.request(rule, message, &text, is_hello),
            Some(Role::Cancel) => self.cancel(rule, message, &text),
            Some(Role::PromptAnswer) => {
                let id = rule.and_then(|rule| rule.key_of(&text));
                // one that should name a prompt and does not answers none: an error about another message, say
                if id.is_none() && rule.is_some_and(|rule| rule.id.is_some()) {
                    return self.forward(message, is_hello);
                }
                match self.core.prompt_answered(now, id.as_deref()) {
                    Answer::Late => {
                        let late = self.core.counts().late_answers;
                        tracing::info!(session = %self.membership.id, late, "an answer to what was answered before: dropped");
                    }
                    Answer::First(prompt) => {
                        let position = prompt.mark.position + 1;
                        self.note(now, What::Answer { position });
                        self.forward(message, is_hello);
                    }
                    Answer::Unknown => self.forward(message, is_hello),
                }
            }
            // only the first message was verified
            Some(Role::Hello) if number > 1 && self.core.awaits_hello() && self.is_guarded() => self.refuse_hello(now),
            Some(Role::Hello) if self.core.awaits_hello() => self.request(rule, message, &text, true),
            Some(Role::Hello) => {
                self.core.hello();
                let id = rule.and_then(|rule| rule.asked(&text));
                self.hello_absorbed(id.map(|id| &text[id]));
            }
            _ => self.forward(message, is_hello),
        }
    }

    /// The page or the server has said that nothing follows: nobody comes back to this.
    pub(super) fn conversation_over(&mut self, now: Instant) {
        self.turn_ended(now);
        self.core.stay_one_to_one();
        if !self.membership.key.is_alone() {
            // whoever comes now, while its page is still here, begins another
            self.membership.stand_alone();
            self.release_waiting(Naming::Taken);
        }
    }

    /// Whether no hello may reach the server that sessmux has not verified: those that name another's session are refused.
    fn is_guarded(&self) -> bool {
        let profile = &self.route.profile;
        self.route.foreign == Foreign::Refuse && (profile.is_signed() || profile.has(Role::Refused))
    }

    fn refuse_hello(&mut self, now: Instant) {
        let cause = "a signed hello that is not its connection's first message";
        self.refuse(now, cause, "a hello is a connection's first message");
    }

    fn refuse(&mut self, now: Instant, cause: &str, reason: &str) {
        tracing::warn!(session = %self.membership.id, cause, "page refused");
        self.close_page(now, Some(&Close::new(close::REFUSED, reason)), Parting::Cut);
    }

    /// Forwards what the server answers by id, where its rule says so, under an id that no other page's has; as it is,
    /// where the page's own is too long to be kept.
    fn request(&mut self, rule: Option<&Rule>, message: &Message<'_>, text: &[u8], is_hello: bool) {
        let asks = rule.filter(|rule| rule.asks());
        let Some(own) = asks.and_then(|rule| rule.asked(text)) else {
            if is_hello {
                self.told.get_or_insert_default().hello_id = None;
            }
            return self.forward(message, is_hello);
        };
        let id = self.core.requested(&text[own.clone()]);
        if is_hello {
            self.told.get_or_insert_default().hello_id = Some(id);
        }
        self.forward_under(message, text, own, id, is_hello);
    }

    /// Forwards what the page says about its own request, by the id that the server knows that by. By the page's the
    /// server may know another, of a page before this one.
    fn cancel(&mut self, rule: Option<&Rule>, message: &Message<'_>, text: &[u8]) {
        // a request of a longer id went as it is, and so does this
        let Some(own) = rule.and_then(|rule| rule.asked(text)) else {
            return self.forward(message, false);
        };
        if let Some(id) = self.core.cancelled(&text[own.clone()]) {
            self.forward_under(message, text, own, id, false);
        } else {
            let stray = self.core.counts().stray_cancels;
            tracing::debug!(session = %self.membership.id, stray, "it is about a request that does not wait: dropped");
        }
    }

    /// Forwards a message with another id in that place.
    fn forward_under(&mut self, message: &Message<'_>, text: &[u8], own: Range<usize>, id: u64, is_hello: bool) {
        // an id that is a string stays one
        let id = if text[own.start] == b'"' {
            format!("\"{id}\"")
        } else {
            id.to_string()
        };
        let mut wire = Vec::new();
        let asked = replaced(text, own, id.as_bytes());
        frame::write(&mut wire, opcode(kind(message)), &asked, Some(rand::random()));
        self.forward(&wire, is_hello);
    }

    fn forward(&mut self, message: &[u8], is_hello: bool) {
        if self.upstream.is_none() {
            return;
        }
        if is_hello && self.core.hello() == HelloFate::Absorb {
            return self.hello_absorbed(None);
        }
        if let Some(upstream) = &mut self.upstream {
            upstream.send(message);
            self.counted.forwarded(message.len());
        }
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
}
