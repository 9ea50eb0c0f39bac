//! A WebSocket upgrade: route, key, session, 101, and the socket's way to the session's task.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request;
use hyper::upgrade::{OnUpgrade, Parts};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::body::{Body, line};
use super::cookie::BrowserId;
use super::gate::OriginClass;
use super::hold::Hold;
use super::key::{self, KeyRequest, MissingKey};
use super::request::{Peer, Shared};
use super::{body, cookie, headers};
use crate::config::Route;
use crate::core::close::{self, Close};
use crate::profile::{Role, Side};
use crate::session::attach::Attach;
use crate::session::browser::Browser;
use crate::session::key::{Key, Owner};
use crate::session::mailbox::Mail;
use crate::session::pending;
use crate::session::policy::needs_first_message;
use crate::session::registry::{OpenError, Opened};
use crate::transport::dial::DialError;

/// A page on its way to a session.
struct Newcomer {
    shared: Arc<Shared>,
    route: Arc<Route>,
    captures: Vec<(String, String)>,
    head: request::Parts,
    owner: Owner,
    browser_id: Option<BrowserId>,
    browser: Option<Arc<Browser>>,
    /// The head that goes upstream, should it be the one that dials.
    offer: Request<()>,
    /// When its 101 was made.
    since: Instant,
}

/// Answers an upgrade request that the gate let in.
pub(super) async fn answer(
    shared: Arc<Shared>,
    peer: Peer,
    mut request: Request<Incoming>,
    class: OriginClass,
) -> Response<Body> {
    let since = Instant::now();
    let upgraded = hyper::upgrade::on(&mut request);
    let (mut head, _) = request.into_parts();
    let (route, captures) = shared.route(head.uri.path());

    let name = shared.cookie_name(&head);
    let known = name.read(&head.headers);
    cookie::strip(&mut head.headers);
    // a foreign origin's page cannot use the cookie: it would be anybody's page in the owner's browser
    let known = known.filter(|_| class != OriginClass::Allowed);
    let browser_id = known.or_else(|| (class != OriginClass::Allowed).then(BrowserId::mint));
    let owner = match (class, browser_id) {
        (OriginClass::Same, Some(id)) => Owner::Browser(*id.as_bytes()),
        _ => Owner::Bearer,
    };
    // a value minted now is no browser's whose pages were seen
    let browser = known.map(|id| shared.browsers.of(id));
    let offer = Request::from_parts(headers::upgrade_request(&head, shared.hop(&peer)), ());
    let accept = derive_accept_key(head.headers[header::SEC_WEBSOCKET_KEY].as_bytes());
    let page = Newcomer {
        shared,
        route,
        captures,
        head,
        owner,
        browser_id,
        browser,
        offer,
        since,
    };

    let mut answer = if needs_first_message(&page.route) {
        let Ok(permit) = Arc::clone(&page.shared.pending).try_acquire_owned() else {
            tracing::warn!(client = %peer.address, "too many pending attachments");
            return line(StatusCode::SERVICE_UNAVAILABLE, "too many pending attachments\n");
        };
        let answer = switching(
            &accept,
            page.route.subprotocol.as_deref().and_then(|it| it.parse().ok()),
        );
        let tracker = page.shared.tracker.clone();
        tracker.spawn(page.first_message(upgraded, permit));
        answer
    } else {
        match page.open(upgraded, &accept).await {
            Ok(answer) => {
                // the 101 is kept, to leave in one write with the replay
                peer.holding.store(true, Ordering::Relaxed);
                answer
            }
            Err(answer) => return answer,
        }
    };
    cookie::drop_foreign(answer.headers_mut());
    if let (None, Some(id)) = (known, browser_id) {
        cookie::give(answer.headers_mut(), &name, id);
    }
    answer
}

impl Newcomer {
    /// Finds or creates the session, then lets the socket follow once the 101 is out.
    async fn open(self, upgraded: OnUpgrade, accept: &str) -> Result<Response<Body>, Response<Body>> {
        let key = match self.key(None) {
            Ok(key) => key,
            Err(missing) => {
                tracing::info!(route = %self.route.path.text, cause = %missing, "no key");
                return Err(body::text(StatusCode::BAD_REQUEST, format!("{missing}\n")));
            }
        };
        let opened = self
            .shared
            .sessions
            .open(&key, &self.route, self.offer.clone())
            .await
            .map_err(refused)?;
        let answer = match &opened.created {
            // the creator gets what upstream said, its cookies included
            Some(head) => {
                let mut answer = switching(accept, None);
                let mut theirs = head.headers.clone();
                headers::forward_response(&mut theirs);
                theirs.extend(std::mem::take(answer.headers_mut()));
                *answer.headers_mut() = theirs;
                answer
            }
            None => switching(accept, opened.protocol.clone()),
        };
        let tracker = self.shared.tracker.clone();
        tracker.spawn(async move {
            if let Some(attach) = self.attach(upgraded).await {
                self.deliver(key, opened, attach, false).await;
            }
        });
        Ok(answer)
    }

    /// Reads the first message, in which the key is; then finds or creates the session.
    async fn first_message(self, upgraded: OnUpgrade, permit: OwnedSemaphorePermit) {
        let Some(mut attach) = self.attach(upgraded).await else {
            return;
        };
        let first = match pending::first_message(&mut attach, self.route.max_message).await {
            Ok(first) => first,
            Err(close) => return self.turn_away(*attach, &close),
        };
        drop(permit);
        let key = match self.key(Some(&first)) {
            Ok(key) => key,
            Err(missing) => {
                let close = Close::new(close::POLICY, "the first message lacks the key");
                tracing::info!(route = %self.route.path.text, cause = %missing, "no key");
                return self.turn_away(*attach, &close);
            }
        };
        let is_hello = !self.route.profile.has(Role::Hello) || self.is_hello(&first);
        match self.shared.sessions.open(&key, &self.route, self.offer.clone()).await {
            Ok(opened) => self.deliver(key, opened, attach, is_hello).await,
            Err(error) => self.turn_away(*attach, &after_accept(&error)),
        }
    }

    /// Brings the socket to the session's task, and to another's if that one ends meanwhile.
    async fn deliver(self, key: Key, mut opened: Opened, mut attach: Box<Attach>, mut said_hello: bool) {
        loop {
            if !said_hello && opened.created.is_none() && self.route.profile.has(Role::Hello) {
                if let Err(close) = self.hello(&opened, &mut attach).await {
                    return self.turn_away(*attach, &close);
                }
                said_hello = true;
            }
            let (retry, back) = oneshot::channel();
            attach.retry = Some(retry);
            attach = match opened.mailbox.post(Mail::Attach(attach)) {
                Err(Mail::Attach(attach)) => attach,
                Err(_) => return,
                Ok(()) => match back.await {
                    Ok(attach) => attach,
                    // it is attached, or was told why not
                    Err(_) => return,
                },
            };
            opened = match self.shared.sessions.open(&key, &self.route, self.offer.clone()).await {
                Ok(opened) => opened,
                Err(error) => return self.turn_away(*attach, &after_accept(&error)),
            };
        }
    }

    /// Shows a pending page what it needs to say its hello, and waits for that.
    async fn hello(&self, opened: &Opened, attach: &mut Attach) -> Result<(), Close> {
        let Ok(_permit) = self.shared.pending.try_acquire() else {
            return Err(Close::new(close::TRY_LATER, "too many pending attachments"));
        };
        let (asked, challenge) = oneshot::channel();
        // a session that has just ended shows nothing; the attach then finds or creates another
        let _ = opened.mailbox.post(Mail::Challenge(asked));
        let challenge = challenge.await.unwrap_or_default();
        pending::hello(attach, &challenge, self.route.max_message, |text| self.is_hello(text)).await
    }

    fn is_hello(&self, text: &[u8]) -> bool {
        self.route.profile.role(Side::Client, text) == Some(Role::Hello)
    }

    fn key(&self, first: Option<&[u8]>) -> Result<Key, MissingKey> {
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
        let values = values.into_iter().map(Option::unwrap_or_default).collect();
        let key = Key::new(self.route.path.text.as_str().into(), self.owner.clone(), values);
        Ok(if alone { key.alone() } else { key })
    }

    /// The socket, once the 101 is written or kept.
    async fn attach(&self, upgraded: OnUpgrade) -> Option<Box<Attach>> {
        let upgraded = upgraded.await.ok()?;
        let Ok(Parts { io, read_buf, .. }) = upgraded.downcast::<TokioIo<Hold>>() else {
            return None;
        };
        let (socket, head) = io.into_inner().into_parts();
        let unread = read_buf.to_vec();
        Some(Box::new(Attach {
            socket,
            head,
            unread,
            since: self.since,
            browser: self.browser.clone(),
            retry: None,
        }))
    }

    fn turn_away(&self, attach: Attach, close: &Close) {
        tracing::info!(route = %self.route.path.text, code = close.code, reason = %close.reason, "turned away");
        attach.turn_away(&self.shared.tracker, close);
    }
}

/// A 101 (RFC 6455 section 4.2.2).
fn switching(accept: &str, protocol: Option<HeaderValue>) -> Response<Body> {
    let mut answer = body::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    answer
}

/// The answer to a request whose dial failed before the 101; a refusal passes through whole.
fn refused(error: OpenError) -> Response<Body> {
    match error {
        OpenError::Dial(DialError::Refused(mut answer)) => {
            headers::forward_response(answer.headers_mut());
            (*answer).map(Either::Left)
        }
        OpenError::Dial(DialError::Timeout { .. }) | OpenError::Shared { timeout: true } => {
            line(StatusCode::GATEWAY_TIMEOUT, "the agent server did not answer in time\n")
        }
        OpenError::Stopping => line(StatusCode::SERVICE_UNAVAILABLE, "sessmux is stopping\n"),
        OpenError::Dial(_) | OpenError::Shared { .. } => {
            line(StatusCode::BAD_GATEWAY, "the agent server cannot be reached\n")
        }
    }
}

/// The close of a page whose dial failed after the 101.
fn after_accept(error: &OpenError) -> Close {
    match error {
        OpenError::Stopping => Close::new(close::RESTART, "sessmux is stopping"),
        OpenError::Dial(DialError::Refused(_)) => Close::new(close::BAD_GATEWAY, "the agent server refused"),
        _ => Close::new(close::BAD_GATEWAY, "the agent server cannot be reached"),
    }
}
