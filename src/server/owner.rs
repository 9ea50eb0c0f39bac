//! Whose session a request asks for: what its route binds sessions to, or the browser's cookie.

use std::time::Duration;

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::{Method, Response, StatusCode};
use tokio::time::timeout;

use super::body::{self, Body, line};
use super::cookie::BrowserId;
use super::gate::OriginClass;
use super::headers;
use super::key::cookie;
use super::live::Live;
use super::request::{Peer, Shared};
use crate::config::{AuthUrl, Bind, Route};
use crate::metrics::Rule;
use crate::session::key::{Bound, Owner};

/// The server that is asked has so long to answer; then the answer is no.
const ASKED: Duration = Duration::from_secs(5);

const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// The owner as far as the request's head proves one; the answer to a request that does not prove what it should. A hello
/// that proves its signer comes later.
pub(super) async fn owner(
    shared: &Shared,
    live: &Live,
    route: &Route,
    peer: &Peer,
    head: &request::Parts,
    class: OriginClass,
    browser: Option<BrowserId>,
) -> Result<Owner, Response<Body>> {
    let mut bound = Bound::default();
    for bind in &route.bind {
        let value = match bind {
            Bind::Header(name) => head.headers.get(name).map(|value| value.as_bytes().to_vec()),
            Bind::Cookie(name) => cookie(&head.headers, name).map(<[u8]>::to_vec),
            Bind::AuthRequest => Some(subject(shared, live, route, peer, head).await?),
            Bind::Hello | Bind::Key => continue,
        };
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            shared.metrics.refused(Rule::Bind);
            tracing::info!(client = %peer, route = %route.path.text, cause = %format!("no {bind}"), "no proof");
            return Err(body::text(
                StatusCode::FORBIDDEN,
                format!("{bind} is not in the request\n"),
            ));
        };
        bound.add(&value);
    }
    if !bound.is_empty() {
        return Ok(Owner::Bound(Box::new(bound)));
    }
    Ok(match (class, browser) {
        (OriginClass::Same, Some(id)) if route.bind.is_empty() => Owner::Browser(*id.as_bytes()),
        _ => Owner::Bearer,
    })
}

/// Asks the route's authorisation server who this is; its no is the answer to the request.
async fn subject(
    shared: &Shared,
    live: &Live,
    route: &Route,
    peer: &Peer,
    head: &request::Parts,
) -> Result<Vec<u8>, Response<Body>> {
    let Some((url, name)) = route.auth_request.as_ref().zip(route.auth_subject.as_ref()) else {
        return Err(line(StatusCode::FORBIDDEN, "nobody can be asked\n"));
    };
    let refused = |cause: &str, status| {
        shared.metrics.refused(Rule::AuthRequest);
        tracing::warn!(client = %peer, route = %route.path.text, auth_request = %url, cause, "refused");
        line(status, "not authorised\n")
    };
    let asking = live.pass.ask(&url.server, question(live, url, peer, head));
    match timeout(ASKED, asking).await {
        Err(_) => Err(refused("it gave no answer in time", StatusCode::SERVICE_UNAVAILABLE)),
        Ok(Err(cause)) => Err(refused(&cause, StatusCode::SERVICE_UNAVAILABLE)),
        Ok(Ok(answer)) => match answer.status() {
            status if status.is_success() => match answer.headers().get(name).filter(|subject| !subject.is_empty()) {
                Some(subject) => Ok(subject.as_bytes().to_vec()),
                None => Err(refused("its answer lacks the auth_subject", StatusCode::FORBIDDEN)),
            },
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                let mut refusal = refused("it says no", status);
                // which a 401 must have (RFC 9110 section 15.5.2)
                for challenge in answer.headers().get_all(header::WWW_AUTHENTICATE) {
                    refusal
                        .headers_mut()
                        .append(header::WWW_AUTHENTICATE, challenge.clone());
                }
                Err(refusal)
            }
            status => Err(refused(&status.to_string(), StatusCode::SERVICE_UNAVAILABLE)),
        },
    }
}

/// The client's head as the authorisation server is asked: what it is for stands in the forwarding fields.
fn question(live: &Live, url: &AuthUrl, peer: &Peer, head: &request::Parts) -> request::Parts {
    let target = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let target = HeaderValue::from_str(target).ok();
    let mut asked = headers::question(head, live.hop(peer));
    asked.method = Method::GET;
    asked.uri = url.path.parse().unwrap_or_default();
    asked.headers.insert(FORWARDED_METHOD, HeaderValue::from_static("GET"));
    if let Some(target) = target {
        asked.headers.insert(FORWARDED_URI, target);
    }
    asked
}
