//! A page on its way to a session: its key, and its socket's way to the session's task.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::header::{self, HeaderValue};
use hyper::http::request;
use hyper::{Request, Response, StatusCode};
use tokio::sync::oneshot;

use super::body::{self, Body};
use super::cookie::BrowserId;
use super::headers;
use super::hello::Heard;
use super::hold::Released;
use super::key::{self, BadKey, KeyRequest};
use super::limits::bounded;
use super::live::Live;
use super::request::{Peer, Shared};
use super::upgrade::{accepted, refused};
use crate::config::{Captures, Foreign, Route};
use crate::core::close::{self, Close};
use crate::metrics::Rule;
use crate::profile::Role;
use crate::session::admission::Limit;
use crate::session::attach::Attach;
use crate::session::browser::Browser;
use crate::session::key::{Key, Owner};
use crate::session::mailbox::Mail;
use crate::session::quota::Place;
use crate::session::registry::{OpenError, Opened};
use crate::transport::dial::DialError;
use crate::transport::fields::tokens;

/// A page on its way to a session.
pub(super) struct Newcomer {
    pub(super) shared: Arc<Shared>,
    /// The configuration that its request met.
    pub(super) live: Arc<Live>,
    /// Where it comes from.
    pub(super) peer: Peer,
    pub(super) route: Arc<Route>,
    pub(super) captures: Captures,
    pub(super) head: request::Parts,
    pub(super) owner: Owner,
    pub(super) browser_id: Option<BrowserId>,
    pub(super) browser: Option<Arc<Browser>>,
    /// When its 101 was made.
    pub(super) since: Instant,
}

/// A page whose 101 was made, and who waits for its socket.
pub(super) enum Arrival {
    /// Its session is there.
    Expected {
        page: Newcomer,
        key: Arc<Key>,
        opened: Opened,
    },
    /// Its first message names the session, or proves whose it is.
    Silent {
        page: Newcomer,
        permit: Place<IpAddr>,
        /// The subprotocol that the 101 named.
        protocol: Option<HeaderValue>,
    },
}

impl Arrival {
    /// Takes the socket, and what was read of it behind the request, to the session.
    pub(super) async fn arrive(self, released: Released, unread: &[u8]) {
        match self {
            Self::Expected { page, key, opened } => {
                let attach = page.attach(released, unread);
                page.deliver(key, opened, attach, false).await;
            }
            Self::Silent { page, permit, protocol } => {
                let attach = page.attach(released, unread);
                // boxed, for most routes need none
                Box::pin(page.first_message(attach, permit, protocol)).await;
            }
        }
    }
}

impl Newcomer {
    /// Finds or creates the session; the 101, and what the socket needs to follow once that is out.
    pub(super) async fn open(&self, accept: &str) -> Result<(Response<Body>, Arc<Key>, Opened), Response<Body>> {
        let key = match self.key(None) {
            Ok(key) => key,
            Err(bad) => {
                tracing::info!(route = %self.route.path.text, cause = %bad, "no key");
                return Err(body::text(StatusCode::BAD_REQUEST, format!("{bad}\n")));
            }
        };
        let mut opened = self.open_session(&key).await.map_err(|error| refused(self, error))?;
        // also one that created it: the head that was dialled with may be another's, who left
        if let Some(protocol) = &opened.protocol
            && !tokens(&self.head.headers, &header::SEC_WEBSOCKET_PROTOCOL).any(|it| it.as_bytes() == protocol)
        {
            let cause = "the session speaks a subprotocol that the page does not offer";
            // which is not said: some applications put tokens there
            tracing::info!(route = %self.route.path.text, cause, "refused");
            return Err(body::line(
                StatusCode::BAD_REQUEST,
                "the session speaks another subprotocol\n",
            ));
        }
        let answer = accepted(accept, &mut opened);
        Ok((answer, key, opened))
    }

    pub(super) async fn open_session(&self, key: &Arc<Key>) -> Result<Opened, OpenError> {
        let sessions = &self.shared.sessions;
        let client = bounded(self.peer.client);
        let opened = sessions
            .open(key, &self.owner, client, &self.route, || self.offer())
            .await;
        if let Err(OpenError::Foreign) = opened {
            self.shared.metrics.refused(Rule::Foreign);
            let (client, route) = (self.peer.client, &self.route.path.text);
            tracing::warn!(%client, %route, session = %key.id(), cause = "it is another's, and foreign = \"refuse\"", "refused");
        }
        opened
    }

    /// The head that goes upstream, should it be the one that dials.
    fn offer(&self) -> Request<()> {
        Request::from_parts(headers::upgrade_request(&self.head, self.live.hop(&self.peer)), ())
    }

    /// Brings the socket to the session's task, and to another's if that one ends meanwhile.
    pub(super) async fn deliver(
        &self,
        key: Arc<Key>,
        mut opened: Opened,
        mut attach: Box<Attach>,
        mut said_hello: bool,
    ) {
        let protocol = opened.protocol.clone();
        attach.key = Some(Arc::clone(&key));
        loop {
            // by the session's own rules, which those of now need not be
            let pending = !said_hello && opened.created.is_none() && opened.route().profile.has(Role::Hello);
            let heard = if pending {
                // boxed, for most routes have none, and it would be the larger part of this
                Box::pin(self.unless_stopping(self.hello(&opened, &mut attach))).await
            } else {
                Ok(Heard::Hello { challenged: false })
            };
            match heard {
                Ok(Heard::Hello { challenged }) => {
                    said_hello |= pending;
                    match hand_over(opened, attach).await {
                        // another challenges anew, and this page has had its challenge
                        Some(back) if challenged => return self.turn_away(*back, &lost()),
                        Some(back) => attach = back,
                        None => return,
                    }
                }
                // the next one may be this page's own
                Ok(Heard::SessionEnded) => {}
                Err(close) => return self.turn_away(*attach, &close),
            }
            opened = match Box::pin(self.open_session(&key)).await {
                Ok(opened) if opened.protocol == protocol => opened,
                // the 101 has named another
                Ok(_) => return self.turn_away(*attach, &restart()),
                Err(error) => return self.turn_away(*attach, &self.after_accept(&error)),
            };
        }
    }

    /// What a pending page is waited for, unless sessmux stops first.
    pub(super) async fn unless_stopping<T>(&self, pending: impl Future<Output = Result<T, Close>>) -> Result<T, Close> {
        let stopping = self.shared.sessions.stopping();
        stopping
            .run_until_cancelled(pending)
            .await
            .unwrap_or_else(|| Err(restart()))
    }

    pub(super) fn key(&self, first: Option<&[u8]>) -> Result<Arc<Key>, BadKey> {
        let request = KeyRequest {
            captures: &self.captures,
            uri: &self.head.uri,
            headers: &self.head.headers,
            browser: self.browser_id,
            first,
        };
        let values = key::values(&self.route, &request)?;
        // a key that is not known yet, or never, is nobody else's
        let alone = self.route.key.is_empty() || values.iter().any(Option::is_none);
        let values = values.iter().map(|value| value.as_deref().unwrap_or_default());
        let owner = match self.route.foreign {
            Foreign::Separate => self.owner.clone(),
            Foreign::Refuse => Owner::Anyone,
        };
        let key = Key::new(&self.route, owner, values);
        Ok(Arc::new(if alone { key.alone() } else { key }))
    }

    /// What the session's task is to have of the socket, and of the bytes that came behind the request.
    pub(super) fn attach(&self, released: Released, unread: &[u8]) -> Box<Attach> {
        let Released { socket, head } = released;
        Box::new(Attach {
            socket,
            head,
            unread: unread.to_vec(),
            since: self.since,
            browser: self.browser.clone(),
            key: None,
            proof: None,
            hello_id: None,
            permit: None,
            share: Some(self.shared.sessions.share()),
            retry: None,
        })
    }

    /// The close of a page whose dial failed after the 101.
    pub(super) fn after_accept(&self, error: &OpenError) -> Close {
        match error {
            OpenError::Stopping => Close::new(close::RESTART, "sessmux is stopping"),
            OpenError::Foreign => Close::new(close::REFUSED, "the session is another's"),
            OpenError::Limit(limit) => self.over(*limit),
            OpenError::Dial(DialError::Refused(_)) => Close::new(close::BAD_GATEWAY, "the agent server refused"),
            _ => Close::new(close::BAD_GATEWAY, "the agent server cannot be reached"),
        }
    }

    /// The close of a page that is over a limit.
    pub(super) fn over(&self, limit: Limit) -> Close {
        self.shared.limits.refused(self.peer.client, limit);
        Close::new(close::TRY_LATER, "over a limit: try again later")
    }

    pub(super) fn turn_away(&self, attach: Attach, close: &Close) {
        tracing::info!(route = %self.route.path.text, code = close.code, reason = %close.reason, "turned away");
        attach.turn_away(&self.shared.tracker, close);
    }
}

/// Posts the page to its session's task; it comes back if the session ends before it took effect.
async fn hand_over(mut opened: Opened, mut attach: Box<Attach>) -> Option<Box<Attach>> {
    let (retry, back) = oneshot::channel();
    attach.retry = Some(retry);
    if let Err(mail) = opened.mailbox.post(Mail::Attach(attach)) {
        return match mail {
            Mail::Attach(attach) => Some(attach),
            _ => None,
        };
    }
    let back = back.await.ok();
    if let Some(creation) = opened.created.take() {
        // it is attached, or the session has ended
        creation.kept();
    }
    back
}

fn restart() -> Close {
    Close::new(close::RESTART, "try again")
}

/// The close of a page that was challenged by an agent connection that is no more.
fn lost() -> Close {
    Close::new(close::RESTART, "the session that challenged it ended; try again")
}
