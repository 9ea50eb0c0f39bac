//! The values of a session key, out of the request that asks for the session.

use std::borrow::Cow;

use hyper::Uri;
use hyper::header::{self, HeaderMap};
use percent_encoding::percent_decode;

use crate::config::{Foreign, KeySource, Route};
use crate::profile::{Profile, pointer};
use crate::server::cookie::BrowserId;
use crate::session::query::parameters;

/// Where the values of a key come from.
#[derive(Debug, Clone, Copy)]
pub struct KeyRequest<'a> {
    /// What the route's pattern captured, by name.
    pub captures: &'a [(String, String)],
    /// The request's target.
    pub uri: &'a Uri,
    /// The request's fields.
    pub headers: &'a HeaderMap,
    /// The browser, where one is known.
    pub browser: Option<BrowserId>,
    /// Payload of the first client message, where the route waits for it.
    pub first: Option<&'a [u8]>,
}

/// A part of the key that a request does not give; it tells the rule, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key part {number} ({rule}) {fault}")]
pub struct BadKey {
    /// Which part, from 1.
    pub number: usize,
    /// The part as it is configured.
    pub rule: String,
    /// What is wrong with it.
    pub fault: KeyFault,
}

/// Why a part of the key is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// By none of its alternatives.
    #[error("is not in the request")]
    Missing,
    /// The agent server may take it for another than sessmux would.
    #[error("can be read in two ways")]
    Ambiguous,
}

/// Takes the values of a route's key out of a request.
///
/// Of each part the first alternative that has a value counts; one that is there but empty has none, except
/// for the whole path, the whole query and captures. A part that only the server's answer can give has none yet.
///
/// # Errors
///
/// The first part without a value; or, where `foreign = "refuse"` says that the agent server hands a session to whoever
/// names it, with a value that is not plainly the only one: whoever has the first would be let in, and get the last's.
pub fn values(route: &Route, request: &KeyRequest<'_>) -> Result<Vec<Option<Vec<u8>>>, BadKey> {
    let mut values = Vec::with_capacity(route.key.len());
    let plainly = route.foreign == Foreign::Refuse;
    for (index, part) in route.key.iter().enumerate() {
        let bad = |fault| BadKey {
            number: index + 1,
            rule: part.to_string(),
            fault,
        };
        if plainly && part.alternatives.iter().any(|source| is_ambiguous(source, request)) {
            return Err(bad(KeyFault::Ambiguous));
        }
        let found = part.alternatives.iter().find_map(|source| value(source, request));
        let later = part
            .alternatives
            .iter()
            .any(|source| matches!(source, KeySource::Answer(_)));
        if found.is_none() && !later {
            return Err(bad(KeyFault::Missing));
        }
        values.push(found.map(Cow::into_owned));
    }
    Ok(values)
}

fn value<'a>(source: &KeySource, request: &KeyRequest<'a>) -> Option<Cow<'a, [u8]>> {
    let found = match source {
        KeySource::PathCapture(name) => {
            let capture = request.captures.iter().find(|(captured, _)| captured == name);
            return capture.map(|(_, value)| Cow::Borrowed(value.as_bytes()));
        }
        KeySource::Path => return Some(percent_decode(request.uri.path().as_bytes()).into()),
        KeySource::Query => return Some(Cow::Borrowed(request.uri.query().unwrap_or_default().as_bytes())),
        KeySource::QueryParam(name) => {
            let mut parameters = parameters(request.uri.query().unwrap_or_default());
            parameters
                .find(|(parameter, _)| **parameter == *name.as_bytes())
                .map(|(_, value)| value)
        }
        KeySource::Header(name) => request.headers.get(name).map(|value| Cow::Borrowed(value.as_bytes())),
        KeySource::Cookie(name) => cookie(request.headers, name).map(Cow::Borrowed),
        KeySource::First(pointer) => {
            pointer::find_key(request.first?, pointer).map(|text| Cow::Owned(text.into_bytes()))
        }
        KeySource::Answer(_) => None,
        KeySource::Browser => request.browser.map(|browser| Cow::Owned(browser.as_bytes().to_vec())),
    };
    found.filter(|value| !value.is_empty())
}

/// Whether others may read another value there: one of several, or one without its quotes.
fn is_ambiguous(source: &KeySource, request: &KeyRequest<'_>) -> bool {
    match source {
        KeySource::QueryParam(name) => {
            let parameters = parameters(request.uri.query().unwrap_or_default());
            parameters
                .filter(|(parameter, _)| **parameter == *name.as_bytes())
                .count()
                > 1
        }
        KeySource::Header(name) => request.headers.get_all(name).into_iter().count() > 1,
        KeySource::Cookie(name) => {
            let mut values = cookies(request.headers, name);
            values.next().is_some_and(|value| value.starts_with(b"\"")) || values.next().is_some()
        }
        KeySource::First(_) => request.first.is_some_and(|first| !Profile::is_unambiguous(first)),
        // there is one of each
        KeySource::PathCapture(_) | KeySource::Path | KeySource::Query | KeySource::Answer(_) | KeySource::Browser => {
            false
        }
    }
}

/// The value of a request's cookie, as it is sent.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    cookies(headers, name).next()
}

/// The values of all cookies of this name.
fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let fields = headers.get_all(header::COOKIE).into_iter();
    fields
        .flat_map(|field| field.as_bytes().split(|&byte| byte == b';'))
        .filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests;
