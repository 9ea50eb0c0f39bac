use hyper::header::HeaderValue;

use super::*;

fn origin(text: &str) -> Origin {
    parse(text).unwrap()
}

fn head(host: &str, origin: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
    if let Some(origin) = origin {
        headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
    }
    headers
}

fn gate(public: &[&str], allow: &[&str]) -> Gate {
    let origins = |texts: &[&str]| texts.iter().map(|text| origin(text)).collect::<Vec<_>>();
    Gate::new(
        "127.0.0.1:8080".parse().unwrap(),
        false,
        &origins(public),
        &origins(allow),
    )
}

/// What the gate says to a page of `origin` that asks `host`; `None` is a 403.
fn class(gate: &Gate, host: &str, origin: &str) -> Option<OriginClass> {
    match gate.check_origin(&Uri::default(), &head(host, Some(origin)), false) {
        Ok(class) => Some(class),
        Err(refusal) => {
            assert_eq!(refusal.status, StatusCode::FORBIDDEN);
            None
        }
    }
}

fn same(host: &str, origin: &str) -> bool {
    class(&gate(&[], &[]), host, origin) == Some(OriginClass::Same)
}

fn serves(gate: &Gate, host: &str) -> Result<(), StatusCode> {
    gate.check_host(&Uri::default(), &head(host, None))
        .map_err(|refusal| refusal.status)
}

#[test]
fn a_loopback_listener_serves_literals_localhost_and_public_hosts() {
    let gate = gate(&["https://agent.example"], &["https://friend.example"]);
    for host in [
        "localhost",
        "LocalHost:8080",
        "127.0.0.1:9",
        "10.1.2.3",
        "[::1]:8080",
        "agent.example",
        "AGENT.example:8443",
    ] {
        assert_eq!(serves(&gate, host), Ok(()), "{host}");
    }
    for host in [
        "evil.example",
        "friend.example",
        "localhost.evil.example",
        "evil.localhost",
        "localhost.",
        "127.0.0.1.evil.example",
        "0x7f.1",
        "2130706433",
        "127.1",
        "xagent.example",
    ] {
        assert_eq!(serves(&gate, host), Err(StatusCode::MISDIRECTED_REQUEST), "{host}");
    }
}

#[test]
fn whom_operators_ask_by_another_name_hears_of_no_setting() {
    let gate = Gate::of_admin("127.0.0.1:9090".parse().unwrap());
    assert_eq!(serves(&gate, "localhost:9090"), Ok(()));
    let refusal = gate
        .check_host(&Uri::default(), &head("evil.example", None))
        .unwrap_err();
    assert!(
        refusal.log.contains("an IP address, or for localhost") && !refusal.log.contains("public_origin"),
        "{refusal:?}"
    );
}

#[test]
fn a_malformed_host_is_a_bad_request() {
    for host in [
        "",
        "localhost:http",
        "localhost:+80",
        "localhost:99999",
        "a b",
        "user@localhost",
        "[::1",
        "[::1%25lo]",
        "::1",
        "localhost/x",
    ] {
        assert_eq!(serves(&gate(&[], &[]), host), Err(StatusCode::BAD_REQUEST), "{host:?}");
    }
}

#[test]
fn two_hosts_or_none_are_a_bad_request() {
    let gate = gate(&[], &[]);
    let mut headers = head("localhost", None);
    headers.append(header::HOST, HeaderValue::from_static("localhost"));
    assert_eq!(
        gate.check_host(&Uri::default(), &headers).unwrap_err().status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        gate.check_host(&Uri::default(), &HeaderMap::new()).unwrap_err().status,
        StatusCode::BAD_REQUEST
    );
}

#[test]
fn the_target_s_authority_counts_before_host() {
    let uri = Uri::from_static("http://evil.example/");
    let refusal = gate(&[], &[]).check_host(&uri, &head("localhost", None)).unwrap_err();
    assert_eq!(refusal.status, StatusCode::MISDIRECTED_REQUEST);
    assert!(
        refusal.log.contains("public_origin") && refusal.log.contains("evil.example"),
        "{}",
        refusal.log
    );
}

#[test]
fn other_listeners_serve_every_host() {
    let gate = Gate::new("0.0.0.0:8080".parse().unwrap(), false, &[], &[]);
    assert_eq!(serves(&gate, "whatever.example"), Ok(()));
}

#[test]
fn no_origin_is_absent() {
    let answer = gate(&[], &[]).check_origin(&Uri::default(), &head("localhost", None), false);
    assert_eq!(answer, Ok(OriginClass::Absent));
    let answer = gate(&["https://a.example"], &[]).check_origin(&Uri::default(), &head("a.example", None), false);
    assert_eq!(answer, Ok(OriginClass::Absent));
}

#[test]
fn the_host_s_own_origin_is_same() {
    assert!(same("localhost:8080", "http://localhost:8080"));
    assert!(same("agent.example", "http://agent.example"));
    assert!(same("agent.example", "https://agent.example"));
    assert!(same("agent.example:80", "http://agent.example"));
    assert!(same("agent.example", "https://agent.example:443"));
    assert!(same("agent.example:443", "https://agent.example"));
}

#[test]
fn bypass_by_suffix() {
    assert!(!same("agent.example", "http://evil-agent.example"));
    assert!(!same("localhost:8080", "http://evil.localhost:8080"));
}

#[test]
fn bypass_by_prefix() {
    assert!(!same("agent.example", "http://agent.example.evil.example"));
    assert!(!same("localhost:80", "http://localhost:8080"));
    assert!(!same("localhost:8080", "http://localhost:80"));
}

#[test]
fn bypass_by_subdomain() {
    assert!(!same("agent.example", "http://sub.agent.example"));
    assert!(!same("sub.agent.example", "http://agent.example"));
}

#[test]
fn bypass_by_scheme() {
    for origin in [
        "file://localhost:8080",
        "ftp://localhost:8080",
        "chrome-extension://localhost:8080",
        "ws://localhost:8080",
        "//localhost:8080",
        "localhost:8080",
    ] {
        assert!(!same("localhost:8080", origin), "{origin}");
    }
    let gate = gate(&["https://agent.example"], &[]);
    assert_eq!(class(&gate, "agent.example", "http://agent.example"), None);
    assert_eq!(class(&gate, "agent.example", "http://agent.example:443"), None);
}

#[test]
fn bypass_by_port() {
    assert!(!same("localhost:8080", "http://localhost"));
    assert!(!same("localhost", "http://localhost:8080"));
    assert!(!same("localhost:80", "https://localhost"));
    assert!(!same("localhost:8080", "http://localhost:8080:80"));
    assert!(!same("localhost:8080", "http://localhost:+8080"));
}

#[test]
fn bypass_by_null() {
    assert!(!same("localhost", "null"));
    assert!(!same("null", "null"));
    assert!(!same("null", "http://null:1"));
    assert_eq!(class(&gate(&["https://null"], &["http://null"]), "null", "null"), None);
}

#[test]
fn bypass_by_case() {
    assert!(
        same("LOCALHOST:8080", "http://localhost:8080"),
        "host names have no case"
    );
    assert!(same("localhost:8080", "HTTP://LocalHost:8080"));
    assert!(
        !same("localhost:8080", "http://loca%C5%BFhost:8080"),
        "a long s is no s"
    );
}

#[test]
fn bypass_by_trailing_dot() {
    assert!(!same("localhost:8080", "http://localhost.:8080"));
    assert!(!same("localhost.:8080", "http://localhost:8080"));
}

#[test]
fn bypass_by_userinfo() {
    assert!(!same("localhost", "http://localhost@evil.example"));
    assert!(!same("localhost", "http://evil@localhost"));
    assert!(!same("localhost:8080", "http://localhost:8080@evil.example"));
}

#[test]
fn bypass_by_path_or_list() {
    for origin in [
        "http://localhost/",
        "http://localhost/x",
        "http://localhost#",
        "http://localhost?x",
        "http://localhost http://evil.example",
        "http://localhost,http://evil.example",
        "http://localhost\\x",
        "",
    ] {
        assert!(!same("localhost", origin), "{origin:?}");
    }
}

#[test]
fn bypass_by_a_second_origin() {
    let mut headers = head("localhost", Some("http://localhost"));
    headers.append(header::ORIGIN, HeaderValue::from_static("http://evil.example"));
    let refusal = gate(&[], &[])
        .check_origin(&Uri::default(), &headers, false)
        .unwrap_err();
    assert_eq!(refusal.status, StatusCode::FORBIDDEN);
}

#[test]
fn ipv6_forms_are_one_address_and_no_other() {
    assert!(same("[::1]:8080", "http://[::1]:8080"));
    assert!(same("[0:0:0:0:0:0:0:1]:8080", "http://[::1]:8080"));
    assert!(same("[2001:DB8::A]", "http://[2001:db8::a]"));
    assert!(!same("[::1]:8080", "http://[::2]:8080"));
    assert!(!same("[::1]:8080", "http://::1:8080"));
    assert!(!same("[::1]", "http://[::1%251]"));
    assert!(!same("[::1]", "http://[::1].evil.example"));
    assert!(!same("127.0.0.1", "http://[::ffff:127.0.0.1]"));
}

#[test]
fn a_public_origin_excludes_all_others() {
    let gate = gate(&["https://agent.example", "https://alias.example:8443"], &[]);
    assert_eq!(
        class(&gate, "localhost:8080", "https://agent.example"),
        Some(OriginClass::Same)
    );
    assert_eq!(
        class(&gate, "agent.example", "https://alias.example:8443"),
        Some(OriginClass::Same)
    );
    assert_eq!(class(&gate, "alias.example", "https://alias.example"), None);
    assert_eq!(class(&gate, "localhost:8080", "http://localhost:8080"), None);
}

#[test]
fn the_allow_list_is_exact_and_is_not_same() {
    let gate = gate(&[], &["https://friend.example", "http://[2001:db8::1]:3000"]);
    assert_eq!(
        class(&gate, "localhost", "https://friend.example"),
        Some(OriginClass::Allowed)
    );
    assert_eq!(
        class(&gate, "localhost", "https://friend.example:443"),
        Some(OriginClass::Allowed)
    );
    assert_eq!(
        class(&gate, "localhost", "http://[2001:db8:0::1]:3000"),
        Some(OriginClass::Allowed)
    );
    for foreign in [
        "http://friend.example",
        "https://friend.example:8443",
        "https://x.friend.example",
        "https://friend.example.",
    ] {
        assert_eq!(class(&gate, "localhost", foreign), None, "{foreign}");
    }
}

#[test]
fn a_refusal_names_the_setting_and_stays_one_line() {
    let headers = |origin: &[u8]| {
        let mut headers = head("localhost:8080", None);
        headers.insert(header::ORIGIN, HeaderValue::from_bytes(origin).unwrap());
        headers
    };
    let refusal = gate(&[], &[])
        .check_origin(&Uri::default(), &headers(b"https://evil.example"), false)
        .unwrap_err();
    assert!(
        refusal.log.contains("allow_origin") && refusal.log.contains("public_origin"),
        "{}",
        refusal.log
    );
    assert!(
        refusal.log.contains("https://evil.example") && refusal.log.contains("localhost:8080"),
        "{}",
        refusal.log
    );
    let refusal =
        gate(&["https://a.example"], &[]).check_origin(&Uri::default(), &headers(b"https://b.example"), false);
    assert!(refusal.unwrap_err().log.contains("not a public_origin"));
    let refusal = gate(&[], &[])
        .check_origin(&Uri::default(), &headers(b"\xff\xc2\x85\tx"), false)
        .unwrap_err();
    assert!(!refusal.log.chars().any(char::is_control), "{:?}", refusal.log);
}
