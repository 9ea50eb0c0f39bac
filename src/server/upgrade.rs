//! A WebSocket upgrade: who asks, for which route, and the 101.

use std::sync::Arc;
use std::time::Instant;

use http_body_util::Either;
use hyper::header::{self, HeaderValue};
use hyper::http::request;
use hyper::{Response, StatusCode, Version};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::body::{Body, line};
use super::cookie::BrowserId;
use super::gate::OriginClass;
use super::hold::Wire;
use super::live::Live;
use super::newcomer::{Arrival, Newcomer};
use super::owner;
use super::request::{Peer, Shared};
use super::{body, cookie, headers};
use crate::session::policy::needs_first_message;
use crate::session::registry::{OpenError, Opened};
use crate::transport::dial::DialError;
use crate::transport::fields::tokens;

/// Answers an upgrade request that the gate let in.
pub(super) async fn answer(
    shared: Arc<Shared>,
    live: Arc<Live>,
    peer: Peer,
    wire: &Wire,
    mut head: request::Parts,
    class: OriginClass,
) -> Response<Body> {
    let since = Instant::now();
    let (route, captures) = live.route(head.uri.path());

    let name = shared.cookie_name(&peer, &head);
    let known = shared.browser_id(&peer, &name, &head.headers);
    cookie::strip(&mut head.headers);
    // a foreign origin's page cannot use the cookie: it would be anybody's page in the owner's browser
    let known = known.filter(|_| class != OriginClass::Allowed);
    let browser_id = known.or_else(|| (class != OriginClass::Allowed).then(BrowserId::mint));
    let owner = match owner::owner(&shared, &live, &route, &peer, &head, class, browser_id).await {
        Ok(owner) => owner,
        Err(refusal) => return refusal,
    };
    // a value minted now is no browser's whose pages were seen
    let browser = known.map(|id| shared.browsers.of(id));
    let accept = derive_accept_key(head.headers[header::SEC_WEBSOCKET_KEY].as_bytes());
    let page = Newcomer {
        shared,
        live,
        peer,
        route,
        captures,
        head,
        owner,
        browser_id,
        browser,
        since,
    };

    let mut answer = if needs_first_message(&page.route) {
        let permit = match page.shared.limits.pending(page.peer.client) {
            Ok(permit) => permit,
            Err(limit) => return page.shared.limits.refuse(page.peer.client, limit),
        };
        let named = page.route.subprotocol.as_deref();
        let offers = tokens(&page.head.headers, &header::SEC_WEBSOCKET_PROTOCOL);
        let (mut any, mut fits) = (false, false);
        for offered in offers {
            any = true;
            fits |= Some(offered) == named;
        }
        if any && !fits {
            let cause = "the page offers subprotocols, and not the one that the route's subprotocol names";
            tracing::info!(client = %page.peer, route = %page.route.path.text, subprotocol = named, cause, "refused");
            return line(StatusCode::BAD_REQUEST, "no such subprotocol here\n");
        }
        let protocol = named.filter(|_| fits).and_then(|it| it.parse().ok());
        let answer = switching(&accept, protocol.clone());
        wire.bring(Arrival::Silent { page, permit, protocol });
        answer
    } else {
        match page.open(&accept).await {
            Ok((answer, key, opened)) => {
                // the 101 is kept, to leave in one write with the replay
                wire.hold();
                wire.bring(Arrival::Expected { page, key, opened });
                answer
            }
            Err(mut answer) => {
                cookie::drop_foreign(answer.headers_mut());
                return answer;
            }
        }
    };
    cookie::drop_foreign(answer.headers_mut());
    if let (None, Some(id)) = (known, browser_id) {
        cookie::give(answer.headers_mut(), &name, id);
    }
    answer
}

/// The 101 of a page that came to `opened`.
pub(super) fn accepted(accept: &str, opened: &mut Opened) -> Response<Body> {
    let Some(creation) = &mut opened.created else {
        return switching(accept, opened.protocol.clone());
    };
    // the creator gets what upstream said, its cookies included
    let mut answer = switching(accept, None);
    let mut theirs = std::mem::take(&mut creation.head.headers);
    headers::forward_response(&mut theirs);
    theirs.extend(std::mem::take(answer.headers_mut()));
    *answer.headers_mut() = theirs;
    answer
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
pub(super) fn refused(page: &Newcomer, error: OpenError) -> Response<Body> {
    match error {
        OpenError::Dial(DialError::Refused(mut answer)) => {
            headers::forward_response(answer.headers_mut());
            *answer.version_mut() = Version::HTTP_11;
            (*answer).map(Either::Left)
        }
        OpenError::Dial(DialError::Timeout { .. }) | OpenError::Shared { timeout: true } => {
            line(StatusCode::GATEWAY_TIMEOUT, "the agent server did not answer in time\n")
        }
        OpenError::Foreign => line(StatusCode::FORBIDDEN, "the session is another's\n"),
        OpenError::Stopping => line(StatusCode::SERVICE_UNAVAILABLE, "sessmux is stopping\n"),
        OpenError::Limit(limit) => page.shared.limits.refuse(page.peer.client, limit),
        OpenError::Dial(_) | OpenError::Shared { .. } => {
            line(StatusCode::BAD_GATEWAY, "the agent server cannot be reached\n")
        }
    }
}
