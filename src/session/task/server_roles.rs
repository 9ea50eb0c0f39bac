//! What the profile's rules say of the server's messages, done.

use std::sync::Arc;
use std::time::Instant;

use super::SessionTask;
use super::hello::replaced;
use crate::core::frame::{self, Opcode};
use crate::metrics;
use crate::profile::{self, Kind, MAX_ID, Role, Rule, Side, State};
use crate::session::timeline::What;

impl SessionTask {
    /// A message of the server is complete and not yet committed; whether it goes into the log.
    pub(super) fn server_message(&mut self, now: Instant) -> bool {
        let (state, log) = (self.state(), self.core.log());
        let told = self.told.get_or_insert_default();
        told.upstream_messages += 1;
        let start = log.boundary().offset;
        let (beginning, whole, opcode) = log.beginning(start);
        let looked_at = profile::Message {
            kind: if opcode == Opcode::Text {
                Kind::Text
            } else {
                Kind::Binary
            },
            number: told.upstream_messages,
            payload: beginning,
            whole,
        };
        let route = Arc::clone(&self.route);
        let mut text = Vec::new();
        let rule = route.profile.rule_for(Side::Server, &looked_at, state).or_else(|_| {
            log.payload(start, &mut text);
            let looked_at = profile::Message {
                payload: &text,
                whole: true,
                ..looked_at
            };
            route.profile.rule_for(Side::Server, &looked_at, state)
        });
        let Ok(Some(mut rule)) = rule else { return true };
        told.judged = Some(rule.number);
        if rule.needs_text() && text.is_empty() {
            log.payload(start, &mut text);
        }
        if rule.answers()
            && let Some(id) = rule.id_of(&text)
        {
            let long = id.len() > MAX_ID;
            let id = id.parse().ok();
            if matches!(rule.role, Role::HelloAnswer | Role::HelloRefused) && id != told.hello_id {
                // to another request, which need not wait for the answer to the hello
                let whole = profile::Message {
                    payload: &text,
                    whole: true,
                    ..looked_at
                };
                let state = State {
                    awaits_answer: false,
                    ..state
                };
                let other = route.profile.rule_for(Side::Server, &whole, state);
                let other = other.ok().flatten();
                told.judged = other.map(|rule| rule.number);
                let Some(other) = other else { return true };
                rule = other;
            }
            if rule.answers() {
                // a request of so long an id went upstream as it was
                let asked = long && self.core.is_attached();
                if !asked && !self.own_answer(rule, id, opcode, &mut text) {
                    if rule.role == Role::TurnEnd {
                        self.turn_ended(now);
                    }
                    return false;
                }
                if matches!(rule.role, Role::Answer | Role::TurnEnd) {
                    self.core.answer();
                }
            }
        }
        match rule.role {
            Role::HelloAnswer => {
                self.told.get_or_insert_default().answer_rule = Some(rule.number);
                self.hello_answer(now, &text);
            }
            Role::Answer => {}
            Role::Heartbeat => {
                self.answer_upstream(rule, &text);
                return false;
            }
            Role::Ignore => return false,
            Role::TurnStart => self.core.turn_started(now),
            Role::TurnEnd => self.turn_ended(now),
            Role::End if self.core.is_attached() || self.core.epoch() == 0 => self.conversation_over(now),
            Role::End => {
                self.turn_ended(now);
                self.told.get_or_insert_default().over = true;
            }
            Role::Latest => self
                .core
                .latest(&format!("{}:{}", rule.number, rule.key_of(&text).unwrap_or_default())),
            Role::Prompt => {
                let id = rule.key_of(&text);
                if id.as_ref().is_some_and(|id| self.core.asks_again(id)) {
                    tracing::debug!(session = %self.membership.id, "an open prompt once more: it is shown already");
                    return false;
                }
                let position = self.core.log().boundary().position + 1;
                self.note(now, What::Prompt { position });
                if let Some(position) = self.core.prompt(now, id) {
                    self.note(now, What::LetGo { position });
                    tracing::info!(session = %self.membership.id, position, "too many prompts are open: the oldest is a message like any other now");
                }
            }
            Role::PromptEnd => {
                let id = rule.key_of(&text);
                // one that should name a prompt and does not ends none
                if id.is_some() || rule.id.is_none() {
                    self.withdrawing(now, |core| core.prompts_ended(now, id.as_deref()));
                }
            }
            Role::HelloRefused => self.core.hello_refused(),
            Role::Hello
            | Role::Local
            | Role::PromptAnswer
            | Role::Tunnel
            | Role::Once
            | Role::Request
            | Role::Cancel
            | Role::Echo
            | Role::Refused => {}
        }
        true
    }

    /// How the session stands, as rules see it.
    pub(super) fn state(&self) -> State {
        State {
            awaits_answer: self.core.awaits_hello_answer(),
            asking: self.core.is_asking(),
            running: self.core.is_running(),
        }
    }

    /// The message being received answers a page's request of this id upstream. Gives it the id under which the page
    /// asked; `false` where that page is not attached any more.
    fn own_answer(&mut self, rule: &Rule, id: Option<u64>, opcode: Opcode, text: &mut Vec<u8>) -> bool {
        let Some(own) = self.core.answered(id) else {
            let stray = self.core.counts().stray_answers;
            tracing::debug!(session = %self.membership.id, stray, "an answer to what no attached page asked: dropped");
            return false;
        };
        if let Some(place) = rule.id_span(text) {
            *text = replaced(text, place, &own);
            let mut wire = Vec::new();
            frame::write(&mut wire, opcode, text, None);
            self.core.drop_message();
            self.core.receive(&wire);
        }
        true
    }

    fn answer_upstream(&mut self, rule: &Rule, text: &[u8]) {
        if let (Some(answer), Some(upstream)) = (&rule.answer, &mut self.upstream)
            && upstream.has_room()
        {
            upstream.send_text(&answer.fill(text, rule.text.as_deref()));
            self.heartbeat_answered(metrics::Side::Agent);
        }
    }
}
