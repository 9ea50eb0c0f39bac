use std::time::{Duration, Instant};

use hyper::header::HeaderValue;

use super::*;
use crate::core::cause::PageFacts;

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let fields = fields.iter();
    fields
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect()
}

#[test]
fn documents_and_frames_are_pages() {
    for dest in ["document", "iframe", "frame", "embed", "object"] {
        assert!(is_page_request(&headers(&[("sec-fetch-dest", dest)])), "{dest}");
    }
    for dest in ["empty", "script", "websocket", "serviceworker", "worker", "image", ""] {
        let headers = headers(&[("sec-fetch-dest", dest), ("accept", "text/html")]);
        assert!(
            !is_page_request(&headers),
            "{dest:?} is known, so Accept does not count"
        );
    }
}

#[test]
fn accept_counts_where_the_destination_is_unknown() {
    assert!(is_page_request(&headers(&[(
        "accept",
        "text/html,application/xhtml+xml,*/*;q=0.8"
    )])));
    assert!(is_page_request(&headers(&[(
        "accept",
        "application/json, Text/HTML;q=0.9"
    )])));
    assert!(!is_page_request(&headers(&[("accept", "*/*")])));
    assert!(!is_page_request(&headers(&[(
        "accept",
        "text/html5, application/json"
    )])));
    assert!(!is_page_request(&HeaderMap::new()));
}

#[test]
fn a_prefetch_is_no_page() {
    for (name, value) in [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "Prefetch"),
        ("x-moz", "prefetch"),
    ] {
        let headers = headers(&[("sec-fetch-dest", "document"), ("accept", "text/html"), (name, value)]);
        assert!(!is_page_request(&headers), "{name}: {value}");
    }
    assert!(is_page_request(&headers(&[
        ("sec-fetch-dest", "document"),
        ("purpose", "other")
    ])));
}

#[test]
fn a_service_worker_script_tells_itself() {
    assert!(is_service_worker_script(&headers(&[("service-worker", "script")])));
    assert!(!is_service_worker_script(&HeaderMap::new()));
}

fn rerequested(status: u16, fields: &[(&'static str, &str)]) -> bool {
    must_be_rerequested(StatusCode::from_u16(status).unwrap(), &headers(fields))
}

#[test]
fn pages_that_no_cache_may_show_are_rerequested() {
    for control in [
        "no-store",
        "no-cache",
        "max-age=0",
        "Max-Age=0, must-revalidate",
        "private, no-cache",
        "max-age=\"0\"",
    ] {
        assert!(rerequested(200, &[("cache-control", control)]), "{control}");
        assert!(
            rerequested(200, &[("cache-control", control), ("last-modified", "x")]),
            "{control}"
        );
    }
    assert!(rerequested(200, &[]));
    assert!(rerequested(200, &[("etag", "x")]));
}

#[test]
fn pages_that_a_cache_may_show_are_not() {
    for control in [
        "max-age=1",
        "max-age=00",
        "private",
        "no-cache=\"Set-Cookie\"",
        "x=\"no-store\"",
        "x=\", no-store\"",
        "max-age=0, stale-while-revalidate=60",
    ] {
        assert!(!rerequested(200, &[("cache-control", control)]), "{control}");
    }
    assert!(!rerequested(200, &[("last-modified", "x")]));
    assert!(!rerequested(200, &[("expires", "0")]));
}

#[test]
fn what_a_304_lacks_proves_nothing() {
    assert!(!rerequested(304, &[("etag", "x")]));
    assert!(rerequested(304, &[("cache-control", "no-cache")]));
}

#[test]
fn one_page_that_is_kept_spoils_the_proof() {
    let browser = Browser::default();
    assert_eq!(browser.facts(), PageFacts::default());
    browser.page_answered(must_be_rerequested(StatusCode::OK, &headers(&[])));
    assert!(browser.facts().seen && browser.facts().rerequested);
    browser.page_answered(must_be_rerequested(
        StatusCode::OK,
        &headers(&[("cache-control", "max-age=60")]),
    ));
    browser.page_answered(must_be_rerequested(
        StatusCode::OK,
        &headers(&[("cache-control", "no-store")]),
    ));
    assert!(browser.facts().seen && !browser.facts().rerequested);
}

#[test]
fn a_service_worker_spoils_the_proof() {
    let browser = Browser::default();
    browser.page_answered(must_be_rerequested(StatusCode::OK, &headers(&[])));
    browser.service_worker_fetched();
    assert!(browser.facts().seen && !browser.facts().rerequested);
}

#[test]
fn the_last_request_never_goes_back() {
    let browser = Browser::default();
    let now = Instant::now();
    browser.page_requested(now + Duration::from_secs(1));
    browser.page_requested(now);
    assert_eq!(browser.facts().last_request, Some(now + Duration::from_secs(1)));
    assert!(!browser.facts().seen, "a page that was not answered tells nothing");
}

#[test]
fn browsers_are_told_apart_and_remembered() {
    let browsers = Browsers::new();
    let (one, other) = (BrowserId::mint(), BrowserId::mint());
    browsers.of(one).page_requested(Instant::now());
    assert!(browsers.of(one).facts().last_request.is_some());
    assert!(browsers.of(other).facts().last_request.is_none());
}

#[test]
fn the_browser_unused_longest_is_forgotten() {
    let browsers = Browsers::new();
    let (first, second) = (BrowserId::mint(), BrowserId::mint());
    browsers.of(first).service_worker_fetched();
    let (kept, forgotten) = (browsers.of(second), browsers.of(first));
    assert!(Arc::ptr_eq(&kept, &browsers.of(second)));
    for _ in 1..REMEMBERED.get() {
        let _ = browsers.of(BrowserId::mint());
    }
    assert!(Arc::ptr_eq(&kept, &browsers.of(second)), "it was used last");
    assert!(!Arc::ptr_eq(&forgotten, &browsers.of(first)));
}
