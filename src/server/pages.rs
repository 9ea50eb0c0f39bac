//! What is known of each browser's pages: how sessmux tells a reload from a cut connection.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderName};
use lru::LruCache;

use crate::server::cookie::{BrowserId, directives};
use crate::session::browser::Browser;

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");

/// Fields by which browsers, old ones too, mark a fetch that no page may ever come of.
const PREFETCH: [HeaderName; 3] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-moz"),
];

/// How many browsers are remembered: a few MB when full; who is forgotten is judged as unknown.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// Tells whether a request loads a page, or a frame that may hold one, and is no prefetch.
#[must_use]
pub fn is_page_request(headers: &HeaderMap) -> bool {
    if PREFETCH.iter().any(|name| says_prefetch(headers, name)) {
        return false;
    }
    match headers.get(SEC_FETCH_DEST) {
        Some(dest) => [&b"document"[..], b"iframe", b"frame", b"embed", b"object"].contains(&dest.as_bytes()),
        None => headers
            .get_all(header::ACCEPT)
            .into_iter()
            .filter_map(|accept| accept.to_str().ok())
            .flat_map(|accept| accept.split(','))
            .any(|range| {
                range
                    .split(';')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .eq_ignore_ascii_case("text/html")
            }),
    }
}

/// Tells whether a request fetches the script of a service worker, which may answer page loads by itself.
#[must_use]
pub fn is_service_worker_script(headers: &HeaderMap) -> bool {
    headers.get(SERVICE_WORKER).is_some_and(|value| value == "script")
}

fn says_prefetch(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get(name).is_some_and(|value| {
        let first = value.as_bytes().split(|byte| matches!(byte, b';' | b',')).next();
        first.is_some_and(|purpose| purpose.trim_ascii().eq_ignore_ascii_case(b"prefetch"))
    })
}

/// The browsers that were seen last, each by the cookie that names it.
#[derive(Debug)]
pub struct Browsers(Mutex<LruCache<BrowserId, Arc<Browser>>>);

impl Browsers {
    /// Knows nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Mutex::new(LruCache::sparse(REMEMBERED)))
    }

    /// The record of a browser, a new one if there is none; the one unused longest is forgotten for it.
    #[must_use]
    pub fn of(&self, id: BrowserId) -> Arc<Browser> {
        lock(&self.0).get_or_insert(id, Arc::default).clone()
    }
}

impl Default for Browsers {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells whether a browser has to ask again before it shows this answer, as upstream sent it, a second time
/// (RFC 9111 4.2).
#[must_use]
pub fn must_be_rerequested(status: StatusCode, headers: &HeaderMap) -> bool {
    let mut asked = false;
    for field in headers.get_all(header::CACHE_CONTROL) {
        let Ok(text) = field.to_str() else { return false };
        for directive in directives(text) {
            let directive = directive.to_ascii_lowercase();
            match directive.split('=').next().unwrap_or_default().trim() {
                // Lets the browser show what it has and ask behind the page's back.
                "stale-while-revalidate" => return false,
                "no-store" | "no-cache" | "max-age" => {
                    asked |= matches!(
                        directive.replace([' ', '"'], "").as_str(),
                        "no-store" | "no-cache" | "max-age=0"
                    );
                }
                _ => {}
            }
        }
    }
    // A 304 leaves out fields that the stored page may have, so what it lacks proves nothing.
    let silent = [header::CACHE_CONTROL, header::EXPIRES, header::LAST_MODIFIED]
        .iter()
        .all(|name| !headers.contains_key(name));
    asked || (silent && status != StatusCode::NOT_MODIFIED)
}

/// Poisoning cannot leave these halfway: each is changed in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
