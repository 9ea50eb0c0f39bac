//! What of a head goes on: hop-by-hop fields, forwarding fields, the upgrade request.

use std::borrow::Cow;
use std::net::IpAddr;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Uri, Version};
use percent_encoding::percent_decode;

use crate::transport::fields::{single, tokens};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Fields that end at each hop, besides those that `Connection` names (RFC 9110 7.6.1, and 11.7 for
/// credentials of a proxy). `Trailer` is not among them: trailers are forwarded.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HTTP2_SETTINGS,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What the forwarding fields say of the hop before this one.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// The scheme under which pages are reached, `http` or `https`.
    pub scheme: &'static str,
    /// The host under which they are, where that is known; else the request's own is named.
    pub host: Option<&'a str>,
}

/// The host and port that a request is for, as written: the URI's authority, else the only `Host` field
/// (RFC 9112 3.2.2); `None` where there is none, more than one, or one that is not ASCII.
#[must_use]
pub fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut hosts = headers.get_all(header::HOST).into_iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return None;
    }
    match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => host?.to_str().ok(),
    }
}

/// Makes a client's head the head of a plain HTTP request to an upstream.
///
/// Hop-by-hop fields go, an acceptance of trailers stays, the forwarding fields say what this hop saw.
/// A cookie of ours is the caller's to strip.
pub fn forward_request(head: &mut request::Parts, hop: Hop<'_>) {
    let trailers = tokens(&head.headers, &header::TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    to_upstream(head, hop);
    if trailers {
        head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Removes what concerns only the hop to the upstream from the head of its answer.
pub fn forward_response(headers: &mut HeaderMap) {
    // where both are there, the length is not the body's (RFC 9112 6.3)
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    remove_hop_by_hop(headers);
}

/// The upgrade request that goes upstream for a client's, which [`upgrade_asked`] has found good.
///
/// Everything end-to-end goes unchanged, the client's `Sec-WebSocket-Key`, `-Version` and `-Protocol`
/// included; extensions are never offered, because the relay could not judge the frames they alter.
#[must_use]
pub fn upgrade_request(client_head: &request::Parts, hop: Hop<'_>) -> request::Parts {
    let mut head = client_head.clone();
    to_upstream(&mut head, hop);
    // The client's own upgrade is not the upstream's affair; the spelling of its fields stays.
    head.extensions.remove::<OnUpgrade>();
    let headers = &mut head.headers;
    headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
    // An upgrade has no body: what frames one would let the upstream take frames for it.
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::EXPECT);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    head
}

/// A client's upgrade request as a plain one, to ask another server about it: without what makes it an upgrade, and for
/// whichever host that server is.
#[must_use]
pub fn question(client_head: &request::Parts, hop: Hop<'_>) -> request::Parts {
    let mut head = client_head.clone();
    to_upstream(&mut head, hop);
    head.extensions.remove::<OnUpgrade>();
    remove(&mut head.headers, |name| name.as_str().starts_with("sec-websocket-"));
    for name in [header::HOST, header::CONTENT_LENGTH, header::EXPECT] {
        head.headers.remove(name);
    }
    head
}

/// Why a request that asks for a WebSocket gets none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUpgrade {
    /// 426 with `Sec-WebSocket-Version: 13` (RFC 6455 4.4).
    #[error("only WebSocket version 13 is spoken here")]
    Version,
    /// 400, with what is wrong.
    #[error("{0}")]
    Request(&'static str),
}

/// Whether a path, read in any way, has a segment that stands for its own folder or the one above.
fn has_dots(path: &str) -> bool {
    let decoded: Cow<'_, [u8]> = percent_decode(path.as_bytes()).into();
    decoded
        .split(|&byte| byte == b'/')
        .any(|segment| matches!(segment, b"." | b".."))
}

/// Tells whether a request asks for a WebSocket (RFC 6455 4.2.1); whatever does not is plain HTTP.
///
/// # Errors
///
/// It asks for one, but not as RFC 6455 wants it.
pub fn upgrade_asked(head: &request::Parts) -> Result<bool, BadUpgrade> {
    let headers = &head.headers;
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    if has_body && headers.contains_key(header::UPGRADE) {
        return Err(BadUpgrade::Request("an upgrade has no body"));
    }
    if tokens(headers, &header::UPGRADE).any(|token| token.eq_ignore_ascii_case("h2c")) {
        return Err(BadUpgrade::Request("HTTP/2 is not spoken here"));
    }
    let asks = tokens(headers, &header::UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket"))
        && tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    if !asks {
        return Ok(false);
    }
    if head.method != Method::GET {
        return Err(BadUpgrade::Request("a WebSocket upgrade is a GET"));
    }
    if head.version != Version::HTTP_11 {
        return Err(BadUpgrade::Request("a WebSocket upgrade needs HTTP/1.1"));
    }
    // no client sends one (RFC 3986 section 5.2.4), and whose the path is would be another's to say
    if has_dots(head.uri.path()) {
        return Err(BadUpgrade::Request("the path has a segment of dots"));
    }
    if single(headers, &header::SEC_WEBSOCKET_VERSION) != Ok(Some("13")) {
        return Err(BadUpgrade::Version);
    }
    if !matches!(single(headers, &header::SEC_WEBSOCKET_KEY), Ok(Some(key)) if is_key(key)) {
        return Err(BadUpgrade::Request("Sec-WebSocket-Key is not 16 bytes in base64"));
    }
    Ok(true)
}

/// 16 bytes in base64: 22 digits, of which the last carries two bits only, and two of padding.
fn is_key(key: &str) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    match key.as_bytes() {
        [digits @ .., b'=', b'='] => {
            digits.len() == 22 && digits.iter().all(digit) && matches!(digits[21], b'A' | b'Q' | b'g' | b'w')
        }
        _ => false,
    }
}

/// What every request to an upstream has in common.
fn to_upstream(head: &mut request::Parts, hop: Hop<'_>) {
    let host = authority(&head.uri, &head.headers).and_then(|host| HeaderValue::from_str(host).ok());
    let path = head.uri.path_and_query().cloned();
    head.uri = path.map_or_else(Uri::default, Uri::from);
    head.version = Version::HTTP_11;
    let headers = &mut head.headers;
    remove_hop_by_hop(headers);
    // Whatever a proxy before this one is believed has been read by now. CGI and its heirs take `X_Name` for `X-Name`,
    // so that is a way to claim what only proxies set.
    let folded = |name: &HeaderName| name.as_str().starts_with("x_") || is_identity(&hyphened(name));
    remove(headers, |name| {
        is_forwarding(name) || (name.as_str().contains('_') && folded(name))
    });
    if let Ok(address) = HeaderValue::from_str(&hop.client.to_canonical().to_string()) {
        headers.insert(FORWARDED_FOR, address);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(hop.scheme));
    if let Some(host) = host {
        let public = hop.host.and_then(|host| HeaderValue::from_str(host).ok());
        headers.insert(FORWARDED_HOST, public.unwrap_or_else(|| host.clone()));
        headers.insert(header::HOST, host);
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &header::CONNECTION)
        .filter_map(|token| token.parse().ok())
        .filter(|name| !is_identity(name))
        .collect();
    remove(headers, |name| HOP_BY_HOP.contains(name) || named.contains(name));
}

/// Removes the fields of all names that are `gone`.
fn remove(headers: &mut HeaderMap, gone: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| gone(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// The field that CGI takes this one for.
fn hyphened(name: &HeaderName) -> HeaderName {
    let hyphened = name.as_str().replace('_', "-").parse();
    hyphened.unwrap_or_else(|_| name.clone())
}

/// A field of the request that its `Connection` names though it is for the agent server: a way to have a proxy lose what
/// another one before it has set.
#[must_use]
pub fn stolen_by_connection(headers: &HeaderMap) -> Option<HeaderName> {
    let named = tokens(headers, &header::CONNECTION).filter_map(|token| token.parse::<HeaderName>().ok());
    let end_to_end = |name: &HeaderName| !HOP_BY_HOP.contains(name) && *name != header::TRAILER;
    named.filter(end_to_end).find(|name| headers.contains_key(name))
}

/// Fields that say who asks; `Connection` cannot make a proxy lose them.
fn is_identity(name: &HeaderName) -> bool {
    [header::AUTHORIZATION, header::COOKIE, header::HOST, header::ORIGIN].contains(name) || is_forwarding(name)
}

/// Fields by which a proxy says what it saw.
fn is_forwarding(name: &HeaderName) -> bool {
    *name == header::FORWARDED || *name == REAL_IP || name.as_str().starts_with("x-forwarded-")
}

#[cfg(test)]
mod tests;
