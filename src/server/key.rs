//! The values of a session key, out of the request that asks for the session.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use hyper::Uri;
use hyper::header::{self, HeaderMap};
use percent_encoding::percent_decode;

use crate::config::{KeyPart, KeySource, Route};
use crate::server::cookie::BrowserId;

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

/// The values of all parts of a key, in order, each preceded by its length, so that no two lists of values
/// are the same bytes; secret, so `Debug` does not show them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyValues(Box<[u8]>);

impl KeyValues {
    /// The bytes, for hashes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyValues(..)")
    }
}

/// A part of the key that none of its alternatives gave; it tells the rule, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key part {number} ({rule}) is not in the request")]
pub struct MissingKey {
    /// Which part, from 1.
    pub number: usize,
    /// The part as it is configured.
    pub rule: String,
}

/// Tells whether a key cannot be known before the first client message.
#[must_use]
pub fn needs_first(route: &Route) -> bool {
    route
        .key
        .iter()
        .flat_map(|part| &part.alternatives)
        .any(|source| matches!(source, KeySource::First(_)))
}

/// Takes the values of a route's key out of a request.
///
/// Of each part the first alternative that has a value counts; one that is there but empty has none, except
/// for the whole path, the whole query and captures. What the server is to answer is not looked for here.
///
/// # Errors
///
/// The first part without a value.
pub fn values(route: &Route, request: &KeyRequest<'_>) -> Result<KeyValues, MissingKey> {
    let mut bytes = Vec::new();
    for (index, part) in route.key.iter().enumerate() {
        let found = part.alternatives.iter().find_map(|source| value(source, request));
        let value = found.ok_or_else(|| MissingKey {
            number: index + 1,
            rule: rule(part),
        })?;
        bytes.extend_from_slice(&(value.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&value);
    }
    Ok(KeyValues(bytes.into()))
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
        KeySource::First(pointer) => json_at(request.first?, pointer).map(|text| Cow::Owned(text.into_bytes())),
        KeySource::Answer(_) => None,
        KeySource::Browser => request.browser.map(|browser| Cow::Owned(browser.as_bytes().to_vec())),
    };
    found.filter(|value| !value.is_empty())
}

/// The value of a request's cookie, as it is sent.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let fields = headers.get_all(header::COOKIE).into_iter();
    fields
        .flat_map(|field| field.as_bytes().split(|&byte| byte == b';'))
        .find_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// The parameters of a query, decoded as forms are: `+` is a space.
fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (decode(name), decode(value))
        })
}

fn decode(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode(spaced.as_bytes()).collect());
    }
    percent_decode(text.as_bytes()).into()
}

/// The string or number at a JSON pointer (RFC 6901); whatever else is there gives none.
fn json_at(payload: &[u8], pointer: &str) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(payload).ok()?;
    match document.pointer(pointer)? {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The one parameter in which two queries differ, by changing, coming or going; `None` where they differ in
/// more or not at all. It names a rotating token in the log.
#[must_use]
pub fn differs_in_one_query_param(one: &str, other: &str) -> Option<String> {
    let (one, other) = (by_name(one), by_name(other));
    let mut differing = one
        .iter()
        .filter(|(name, values)| other.get(*name) != Some(*values))
        .map(|(name, _)| name)
        .chain(other.keys().filter(|name| !one.contains_key(*name)));
    let name = differing.next()?;
    differing
        .next()
        .is_none()
        .then(|| String::from_utf8_lossy(name).into_owned())
}

fn by_name(query: &str) -> BTreeMap<Cow<'_, [u8]>, Vec<Cow<'_, [u8]>>> {
    let mut named: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (name, value) in parameters(query) {
        named.entry(name).or_default().push(value);
    }
    named
}

/// A part as the configuration writes it.
fn rule(part: &KeyPart) -> String {
    let alternatives = part.alternatives.iter().map(|source| match source {
        KeySource::PathCapture(name) => format!("path:{name}"),
        KeySource::Path => "path".into(),
        KeySource::QueryParam(name) => format!("query:{name}"),
        KeySource::Query => "query".into(),
        KeySource::Header(name) => format!("header:{name}"),
        KeySource::Cookie(name) => format!("cookie:{name}"),
        KeySource::First(pointer) => format!("first:{pointer}"),
        KeySource::Answer(pointer) => format!("answer:{pointer}"),
        KeySource::Browser => "browser".into(),
    });
    alternatives.collect::<Vec<_>>().join("|")
}

#[cfg(test)]
mod tests;
