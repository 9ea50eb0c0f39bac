//! What a browser is known by, its pages, and the keys of sessions.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use sessmux::config::{KeyPart, PathPattern, Route, Upstream};
use sessmux::server::cookie::{self, BrowserId, CookieName};
use sessmux::server::{headers, key, pages};

use super::{Asked, all};

/// The name of a pair as an agent server reads it, and whether a sessmux mints it.
fn is_ours(pair: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pair);
    let name = text.split('=').next().unwrap_or_default().trim_ascii();
    let port = name.strip_prefix("sessmux-");
    name == "__Host-sessmux"
        || port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn pairs(headers: &HeaderMap) -> Vec<&[u8]> {
    let fields = headers.get_all(header::COOKIE).into_iter();
    let pairs = fields
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii);
    pairs.filter(|pair| !pair.is_empty()).collect()
}

pub(super) fn cookies(asked: &Asked) {
    let headers = &asked.head.headers;
    let name = CookieName::of(
        asked.https,
        headers::authority(&asked.head.uri, headers),
        asked.listen.port(),
    );
    let known = name.read(headers);
    let own = name.set(fixed(&name));
    let own = own.as_bytes().split(|byte| *byte == b'=').next().expect("a name");
    let values = pairs(headers)
        .into_iter()
        .filter_map(|pair| pair.strip_prefix(own)?.strip_prefix(b"="));
    let well_formed = |value: &&[u8]| value.len() == 32 && value.iter().all(|byte| b"0123456789abcdef".contains(byte));
    let values: BTreeSet<&[u8]> = values.filter(well_formed).collect();
    assert_eq!(known.is_err(), values.len() > 1, "two of which one was planted");
    let known = known.ok().flatten();
    assert_eq!(
        known.is_some(),
        values.len() == 1,
        "one that is well-formed, and no other"
    );
    let mut stripped = headers.clone();
    cookie::strip(&mut stripped);
    let kept: Vec<&[u8]> = pairs(headers).into_iter().filter(|pair| !is_ours(pair)).collect();
    assert_eq!(pairs(&stripped), kept, "all but ours, as they were");
    assert_eq!(name.read(&stripped), Ok(None));

    // what is given comes back, and nobody else gives it
    let id = known.unwrap_or_else(|| fixed(&name));
    let mut answer = headers.clone();
    cookie::drop_foreign(&mut answer);
    let foreign = |field: &HeaderValue| {
        let text = field.as_bytes().trim_ascii_start();
        let pair = text
            .strip_prefix(b"=")
            .unwrap_or(text)
            .split(|byte| *byte == b';')
            .next();
        pair.is_some_and(is_ours)
    };
    let left: Vec<_> = all(headers, "set-cookie")
        .into_iter()
        .filter(|field| !foreign(field))
        .collect();
    assert_eq!(all(&answer, "set-cookie"), left);
    cookie::give(&mut answer, &name, id);
    let given = all(&answer, "set-cookie").pop().expect("what was given").as_bytes();
    let pair = given.split(|byte| *byte == b';').next().expect("name and value");
    let mut back = HeaderMap::new();
    back.insert(header::COOKIE, HeaderValue::from_bytes(pair).expect("a field"));
    assert!(is_ours(pair) && name.read(&back) == Ok(Some(id)));
    let [control] = all(&answer, "cache-control")[..] else {
        panic!("one Cache-Control")
    };
    let control = control.to_str().expect("ASCII").to_ascii_lowercase();
    let bare = control.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    let directives: Vec<&str> = bare
        .split(',')
        .map(|it| it.split('=').next().unwrap_or_default().trim())
        .collect();
    assert!(
        directives.contains(&"private") || directives.contains(&"no-store"),
        "{control}"
    );
    assert!(
        !directives.contains(&"public") && !directives.contains(&"s-maxage"),
        "{control}"
    );
}

/// An id that is the same on every run.
fn fixed(name: &CookieName) -> BrowserId {
    let minted = name.set(BrowserId::mint());
    let minted = minted.to_str().expect("ASCII");
    let own = minted.split('=').next().expect("a name");
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(&format!("{own}=0123456789abcdef0123456789abcdef"));
    headers.insert(header::COOKIE, value.expect("a field"));
    let read = name.read(&headers).expect("one value");
    read.expect("a well-formed value")
}

pub(super) fn pages(headers: &HeaderMap) {
    let mut early = headers.clone();
    early.insert("sec-purpose", HeaderValue::from_static("prefetch;prerender"));
    assert!(!pages::is_page_request(&early), "it may never be shown");
    let mut stored = headers.clone();
    stored.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    assert!(pages::must_be_rerequested(StatusCode::OK, &stored));
    stored.append(
        header::CACHE_CONTROL,
        HeaderValue::from_static("stale-while-revalidate=1"),
    );
    assert!(!pages::must_be_rerequested(StatusCode::OK, &stored));
}

static ROUTE: LazyLock<Arc<Route>> = LazyLock::new(|| {
    let part = |text: &str| text.parse::<KeyPart>().expect("a key");
    Arc::new(Route {
        key: [
            "path:id|browser",
            "path",
            "query",
            "query:id|path",
            "header:x-id|path",
            "cookie:id|path",
        ]
        .map(part)
        .into(),
        ..Route::one_to_one(
            PathPattern::parse("/ws/{id}").expect("a path"),
            Upstream::Tcp("127.0.0.1:9".into()),
        )
    })
});

pub(super) fn keys(head: &Parts) {
    let captures = ROUTE.path.matches(head.uri.path());
    let request = key::KeyRequest {
        captures: captures.as_deref().unwrap_or_default(),
        uri: &head.uri,
        headers: &head.headers,
        browser: None,
        first: None,
    };
    match key::values(&ROUTE, &request) {
        Err(missing) => assert!(missing.number == 1 && captures.is_none()),
        Ok(values) => {
            let values: Vec<Vec<u8>> = values.into_iter().map(|value| value.expect("a value")).collect();
            let id = captures.expect("a path that matches").remove(0).1;
            assert!(!id.is_empty() && values[0] == id.as_bytes());
            assert!(values[1].ends_with(id.as_bytes()), "the path, decoded");
            assert_eq!(values[2], head.uri.query().unwrap_or_default().as_bytes());
            let header = head.headers.get("x-id").filter(|value| !value.is_empty());
            assert_eq!(values[4], header.map_or(&values[1][..], HeaderValue::as_bytes));
            let found = pairs(&head.headers)
                .into_iter()
                .find_map(|pair| pair.strip_prefix(b"id="));
            assert_eq!(values[5], found.filter(|value| !value.is_empty()).unwrap_or(&values[1]));
        }
    }
}
