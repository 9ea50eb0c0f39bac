use hyper::header::{HeaderName, HeaderValue};

use super::*;
use crate::config::{KeyPart, PathPattern, Upstream};

fn route(key: &[&[KeySource]]) -> Route {
    let mut route = Route::one_to_one(PathPattern::any(), Upstream::Tcp("127.0.0.1:1".into()));
    let parts = key.iter().map(|alternatives| KeyPart {
        alternatives: alternatives.to_vec(),
    });
    route.key = parts.collect();
    route
}

fn get(
    key: &[&[KeySource]],
    target: &str,
    fields: &[(&'static str, &str)],
    first: Option<&[u8]>,
) -> Result<Vec<Vec<u8>>, BadKey> {
    let headers: HeaderMap = fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    let uri: Uri = target.parse().unwrap();
    let captures = [
        ("id".to_owned(), "seven".to_owned()),
        ("rest".to_owned(), String::new()),
    ];
    let request = KeyRequest {
        captures: &captures,
        uri: &uri,
        headers: &headers,
        browser: None,
        first,
    };
    values(&route(key), &request).map(|values| values.into_iter().flatten().collect())
}

fn query(name: &str) -> KeySource {
    KeySource::QueryParam(name.into())
}

#[test]
fn every_source_gives_its_value() {
    let key: &[&[KeySource]] = &[
        &[KeySource::PathCapture("id".into())],
        &[KeySource::PathCapture("rest".into())],
        &[KeySource::Path],
        &[query("s d")],
        &[KeySource::Query],
        &[KeySource::Header("x-session".into())],
        &[KeySource::Cookie("sid".into())],
        &[KeySource::First("/a/0".into())],
        &[KeySource::First("/n".into())],
    ];
    let fields = [("x-session", "h"), ("cookie", "xsid=0; sid=c=d; sid=e")];
    let values = get(
        key,
        "/p%61th?x=1&s+d=v%2B+w&s+d=2",
        &fields,
        Some(br#"{"a":["f"],"n":12}"#),
    )
    .unwrap();
    let expected: [&[u8]; 9] = [
        b"seven",
        b"",
        b"/path",
        b"v+ w",
        b"x=1&s+d=v%2B+w&s+d=2",
        b"h",
        b"c=d",
        b"f",
        b"12",
    ];
    assert_eq!(values, expected);
}

#[test]
fn the_browser_is_a_value_where_one_is_known() {
    let uri = Uri::default();
    let headers = HeaderMap::new();
    let browser = BrowserId::mint();
    let known = KeyRequest {
        captures: &[],
        uri: &uri,
        headers: &headers,
        browser: Some(browser),
        first: None,
    };
    let route = route(&[&[KeySource::Browser]]);
    assert_eq!(values(&route, &known).unwrap(), [Some(browser.as_bytes().to_vec())]);
    let unknown = KeyRequest { browser: None, ..known };
    assert_eq!(
        values(&route, &unknown).unwrap_err().to_string(),
        "key part 1 (browser) is not in the request"
    );
}

#[test]
fn the_first_alternative_with_a_value_counts() {
    let key: &[&[KeySource]] = &[&[
        KeySource::Answer("/id".into()),
        query("s"),
        KeySource::Header("x-s".into()),
    ]];
    assert_eq!(get(key, "/?s=q", &[("x-s", "h")], None).unwrap(), [b"q"]);
    assert_eq!(get(key, "/?s=", &[("x-s", "h")], None).unwrap(), [b"h"]);
    assert_eq!(get(key, "/?s", &[("x-s", "h")], None).unwrap(), [b"h"]);
    assert_eq!(get(key, "/", &[("x-s", "h")], None).unwrap(), [b"h"]);
}

#[test]
fn a_missing_part_names_its_rule() {
    let key: &[&[KeySource]] = &[
        &[KeySource::Path],
        &[query("session"), KeySource::Header("x-session".into())],
    ];
    let missing = get(key, "/?other=secret", &[], None).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "key part 2 (query:session|header:x-session) is not in the request"
    );
    assert!(get(key, "/?session=1", &[], None).is_ok());
}

#[test]
fn a_whole_query_may_be_empty() {
    assert_eq!(
        get(&[&[KeySource::Path], &[KeySource::Query]], "/ws", &[], None).unwrap(),
        [&b"/ws"[..], b""]
    );
}

#[test]
fn values_cannot_run_into_each_other() {
    let key: &[&[KeySource]] = &[&[query("a")], &[query("b")]];
    assert_ne!(get(key, "/?a=12&b=3", &[], None), get(key, "/?a=1&b=23", &[], None));
    let request = |uri: &Uri| {
        let headers = HeaderMap::new();
        let request = KeyRequest {
            captures: &[],
            uri,
            headers: &headers,
            browser: None,
            first: None,
        };
        values(&route(key), &request).unwrap()
    };
    assert_ne!(
        request(&"/?a=12&b=3".parse().unwrap()),
        request(&"/?a=1&b=23".parse().unwrap())
    );
}

#[test]
fn only_strings_and_numbers_of_the_first_message_count() {
    let key: &[&[KeySource]] = &[&[KeySource::First("/id".into())]];
    for payload in [
        &br#"{"id":null}"#[..],
        br#"{"id":true}"#,
        br#"{"id":{}}"#,
        br#"{"id":""}"#,
        br#"{"x":1}"#,
        b"no json",
        b"",
    ] {
        assert!(get(key, "/", &[], Some(payload)).is_err(), "{payload:?}");
    }
    assert!(get(key, "/", &[], None).is_err());
    assert_eq!(get(key, "/", &[], Some(br#"{"id":-7}"#)).unwrap(), [b"-7"]);
}

#[test]
fn where_a_name_gives_the_session_it_is_there_once() {
    let sources = [
        query("s d"),
        KeySource::Header("x-session".into()),
        KeySource::Cookie("sid".into()),
        KeySource::First("/s".into()),
    ];
    let headers = |fields: &[(&'static str, &'static str)]| {
        let fields = fields.iter().map(|(name, value)| {
            let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
            (name, value)
        });
        fields.collect::<HeaderMap>()
    };
    let said = |foreign, source: &KeySource, target: &str, fields: &[(&'static str, &'static str)], first: &[u8]| {
        let mut route = route(&[std::slice::from_ref(source)]);
        route.foreign = foreign;
        let request = KeyRequest {
            captures: &[],
            uri: &target.parse().unwrap(),
            headers: &headers(fields),
            browser: None,
            first: Some(first),
        };
        values(&route, &request)
    };
    let plain = (
        "/?s+d=mine",
        [("x-session", "mine"), ("cookie", "sid=mine; xsid=b")],
        &br#"{"s":"mine"}"#[..],
    );
    let twice = (
        "/?s+d=mine&s%20d=another's",
        [
            ("x-session", "mine"),
            ("x-session", "another's"),
            ("cookie", "sid=mine"),
            ("cookie", "sid=another's"),
        ],
        &br#"{"s":"mine","s":"another's"}"#[..],
    );
    for source in &sources {
        let mine = Ok(vec![Some(b"mine".to_vec())]);
        for foreign in [Foreign::Separate, Foreign::Refuse] {
            assert_eq!(said(foreign, source, plain.0, &plain.1, plain.2), mine, "{source:?}");
        }
        assert_eq!(
            said(Foreign::Separate, source, twice.0, &twice.1, twice.2),
            mine,
            "{source:?}"
        );
        let refused = said(Foreign::Refuse, source, twice.0, &twice.1, twice.2).unwrap_err();
        assert_eq!(refused.fault, KeyFault::Ambiguous, "{source:?}");
    }
    // which some servers take the quotes off
    let quoted = [("cookie", "sid=\"mine\"")];
    assert!(said(Foreign::Separate, &sources[2], "/", &quoted, b"").is_ok());
    assert!(said(Foreign::Refuse, &sources[2], "/", &quoted, b"").is_err());
}
