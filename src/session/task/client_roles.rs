//! What the profile's rules say of a page's messages, done.

use std::sync::Arc;
use std::time::Instant;

use super::SessionTask;
use super::hello::{opcode, replaced};
use crate::core::cause::Parting;
use crate::core::close::{self, Close};
use crate::core::frame::{self, Opcode};
use crate::core::prompts::Answer;
use crate::core::session::HelloFate;
use crate::profile::{self, Role, Rule, Side};
use crate::session::page::{Message, beginning, kind, payload};
use crate::session::policy::first_is_hello;
use crate::session::registry::Naming;

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
        let is_hello = number == 1 && first_is_hello(&self.route);
        match rule.map(|rule| rule.role) {
            Some(Role::Heartbeat | Role::Local) => {
                if let Some(answer) = rule.and_then(|rule| rule.answer.as_ref()) {
                    let answer = answer.fill(&text, rule.and_then(|rule| rule.text.as_ref()));
                    self.say(&answer);
                }
            }
            Some(Role::Ignore) => tracing::debug!(session = %self.membership.id, number, "client message ignored"),
            Some(Role::Refused) => {
                tracing::warn!(session = %self.membership.id, "a signed hello in a tunnel");
                let close = Close::new(close::REFUSED, "a hello is a connection's first message");
                self.close_page(now, Some(&close), Parting::Cut);
            }
            Some(Role::Once) => {
                let number = rule.map_or(0, |rule| rule.number);
                if self.said_once.contains(&number) {
                    tracing::debug!(session = %self.membership.id, number, "said before: absorbed");
                } else {
                    self.said_once.push(number);
                    self.forward(message, is_hello);
                }
            }
            Some(Role::Echo) => {
                self.forward(message, is_hello);
                if let Some(show) = rule.and_then(|rule| rule.show.as_ref()) {
                    let shown = show.fill(&text, rule.and_then(|rule| rule.text.as_ref()));
                    let mut wire = Vec::new();
                    frame::write(&mut wire, Opcode::Text, shown.as_bytes(), None);
                    self.core.echo(wire);
                }
            }
            Some(Role::TurnStart) => {
                self.request(rule, message, &text, is_hello);
                self.core.turn_started(now);
            }
            Some(Role::Request) => self.request(rule, message, &text, is_hello),
            Some(Role::PromptAnswer) => {
                let id = rule.and_then(|rule| rule.id_of(&text));
                if let Answer::Late = self.core.prompt_answered(now, id.as_deref()) {
                    let late = self.core.counts().late_answers;
                    tracing::info!(session = %self.membership.id, late, "an answer to what was answered before: dropped");
                } else {
                    self.forward(message, is_hello);
                }
            }
            Some(Role::Hello) if self.core.awaits_hello() => self.request(rule, message, &text, true),
            Some(Role::Hello) => {
                self.core.hello();
                let id = rule.and_then(|rule| rule.id_span(&text));
                self.hello_absorbed(id.map(|id| &text[id]));
            }
            _ => self.forward(message, is_hello),
        }
    }

    /// Forwards what the server answers by id, where its rule says so, under an id that no other page's has.
    fn request(&mut self, rule: Option<&Rule>, message: &Message<'_>, text: &[u8], is_hello: bool) {
        let asks = rule.filter(|rule| rule.asks());
        let Some(own) = asks.and_then(|rule| rule.id_span(text)) else {
            return self.forward(message, is_hello);
        };
        let id = self.core.requested(&text[own.clone()]);
        if is_hello {
            self.hello_id = Some(id);
        }
        let id = id.to_string();
        // an id that is a string stays one
        let id = if text[own.start] == b'"' {
            format!("\"{id}\"")
        } else {
            id
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
