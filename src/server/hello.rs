//! What a page says before it is attached: the first message, where the key or the owner is in it, and the hello.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::HeaderValue;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::key::KeyFault;
use super::newcomer::Newcomer;
use crate::config::Foreign;
use crate::core::close::{self, Close};
use crate::core::proofs::Proof;
use crate::metrics;
use crate::profile::{Message, Profile, Role, Rule, Side, Signer, State};
use crate::session::attach::Attach;
use crate::session::mailbox::Mail;
use crate::session::pending;
use crate::session::policy::bounds;
use crate::session::quota::Place;
use crate::session::registry::Opened;

/// A page waits so long for the hello of the one before it: a second more than that one has for it, so that it gets the
/// session and is not turned away in the same moment.
const OTHER_HELLO: Duration = Duration::from_secs(11);

/// What became of a pending page's hello.
pub(super) enum Heard {
    /// It said it.
    Hello {
        /// In answer to a challenge of this session's, which no other will take.
        challenged: bool,
    },
    /// The session ended first.
    SessionEnded,
}

impl Newcomer {
    /// Reads the first message, in which the key is; then finds or creates the session.
    pub(super) async fn first_message(
        mut self,
        mut attach: Box<Attach>,
        permit: Place<IpAddr>,
        answered: Option<HeaderValue>,
    ) {
        attach.permit = Some(permit);
        let first = pending::first_message(&mut attach, bounds(&self.route));
        let (kind, first) = match self.unless_stopping(first).await {
            Ok(first) => first,
            Err(close) => return self.turn_away(*attach, &close),
        };
        let looked_at = Message {
            kind,
            ..Message::text(&first)
        };
        let rule = self.route.profile.rule_for(Side::Client, &looked_at, State::BEGINNING);
        match rule.ok().flatten() {
            Some(rule) if rule.role == Role::Tunnel => self.tunnel(),
            rule if self.route.profile.is_signed() => {
                match proved(rule, &first, self.peer.client) {
                    Ok((signer, proof)) => {
                        self.owner = self.owner.clone().signed(signer);
                        attach.proof = Some(proof);
                    }
                    Err(cause) => {
                        self.shared.metrics.refused(metrics::Rule::Hello);
                        tracing::warn!(client = %self.peer.client, route = %self.route.path.text, %cause, "unproved hello");
                        if self.route.foreign == Foreign::Refuse {
                            let close = Close::new(close::REFUSED, "the hello proves nobody");
                            return self.turn_away(*attach, &close);
                        }
                        // the server may judge it, but nobody comes back to it
                        self.tunnel();
                    }
                }
            }
            _ => {}
        }
        let key = match self.key(Some(&first)) {
            Ok(key) => key,
            Err(bad) => {
                let reason = match bad.fault {
                    KeyFault::Missing => "the first message lacks the key",
                    KeyFault::Ambiguous => "the first message can be read in two ways",
                };
                let close = Close::new(close::POLICY, reason);
                tracing::info!(route = %self.route.path.text, cause = %bad, "no key");
                return self.turn_away(*attach, &close);
            }
        };
        match self.open_session(&key).await {
            Ok(opened) if opened.protocol == answered => {
                let profile = &opened.route().profile;
                let hello = hello_in(profile, &looked_at);
                let is_hello = !profile.has(Role::Hello) || hello.is_some();
                attach.hello_id = hello.flatten();
                self.deliver(key, opened, attach, is_hello).await;
            }
            Ok(_) => {
                let cause = "the agent server chose another subprotocol than the route's subprotocol names";
                tracing::warn!(route = %self.route.path.text, cause, "no session");
                let close = Close::new(close::BAD_GATEWAY, "the agent server speaks another subprotocol");
                self.turn_away(*attach, &close);
            }
            Err(error) => self.turn_away(*attach, &self.after_accept(&error)),
        }
    }

    /// Nothing more is looked into, and nobody comes back to it.
    fn tunnel(&mut self) {
        self.route = Arc::new(self.route.tunnelled());
    }

    /// Shows a pending page what it needs to say its hello, and waits for that.
    pub(super) async fn hello(&self, opened: &Opened, attach: &mut Attach) -> Result<Heard, Close> {
        if attach.permit.is_none() {
            let permit = self.shared.limits.pending(self.peer.client);
            attach.permit = Some(permit.map_err(|limit| self.over(limit))?);
        }
        let (asked, challenge) = oneshot::channel();
        if opened.mailbox.post(Mail::Challenge(asked)).is_err() {
            return Ok(Heard::SessionEnded);
        }
        let challenge = match timeout(OTHER_HELLO, challenge).await {
            Ok(Ok(challenge)) => challenge,
            Ok(Err(_)) => return Ok(Heard::SessionEnded),
            Err(_) => return Err(Close::new(close::TRY_LATER, "another page has yet to say its hello")),
        };
        let route = opened.route();
        let hello = |message: &Message<'_>| hello_in(&route.profile, message);
        attach.hello_id = pending::hello(attach, &challenge, bounds(route), hello).await?;
        let challenged = !challenge.is_empty();
        Ok(Heard::Hello { challenged })
    }
}

/// The id of a hello, where it has one; `None` if the message is none.
fn hello_in(profile: &Profile, message: &Message<'_>) -> Option<Option<Vec<u8>>> {
    let rule = profile.rule_for(Side::Client, message, State::BEGINNING).ok().flatten();
    let rule = rule.filter(|rule| rule.role == Role::Hello)?;
    Some(rule.asked(message.payload).map(|id| message.payload[id].to_vec()))
}

/// Who said this hello, and the proof of it, which is used up once.
fn proved(rule: Option<&Rule>, hello: &[u8], address: IpAddr) -> Result<(Signer, Proof), String> {
    let signed = rule.and_then(|rule| rule.signed.as_ref());
    let signed = signed.ok_or("the first message is no signed hello")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let proof = signed.verify(hello, now).map_err(|cause| cause.to_string())?;
    let until = tokio::time::Instant::now().into_std() + proof.fresh;
    let signature = proof.signature;
    Ok((
        proof.signer,
        Proof {
            signature,
            address,
            until,
        },
    ))
}
