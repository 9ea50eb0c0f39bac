use hyper::Request;

use super::*;

const HOP: Hop<'static> = Hop {
    client: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)),
    scheme: "http",
    host: None,
};

fn head(target: &str, fields: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::get(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

const UPGRADE: [(&str, &str); 5] = [
    ("host", "localhost"),
    ("connection", "keep-alive, Upgrade"),
    ("upgrade", "WebSocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

fn upgrade_with(name: &str, value: Option<&str>) -> request::Parts {
    let mut fields: Vec<_> = UPGRADE.into_iter().filter(|(field, _)| *field != name).collect();
    fields.extend(value.map(|value| (name, value)));
    head("/ws", &fields)
}

#[test]
fn hop_by_hop_fields_end_here() {
    let mut head = head(
        "/",
        &[
            ("host", "a.example"),
            ("connection", "close, X-Named"),
            ("connection", "x-also"),
            ("x-named", "1"),
            ("x-also", "1"),
            ("keep-alive", "1"),
            ("proxy-connection", "1"),
            ("proxy-authorization", "1"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("trailer", "x-t"),
            ("x-kept", "1"),
        ],
    );
    forward_request(&mut head, HOP);
    assert_eq!(
        names(&head.headers),
        [
            "host",
            "trailer",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-kept"
        ]
    );
}

#[test]
fn connection_cannot_name_identity_away() {
    let identity = ["authorization", "cookie", "host", "origin"];
    let mut fields: Vec<_> = identity.iter().map(|name| (*name, "x")).collect();
    fields.push((
        "connection",
        "Authorization, cookie, host, origin, x-forwarded-for, forwarded",
    ));
    let mut head = head("/", &fields);
    forward_request(&mut head, HOP);
    for name in identity {
        assert!(head.headers.contains_key(name), "{name}");
    }
    assert_eq!(head.headers[FORWARDED_FOR], "192.0.2.7");
}

#[test]
fn an_acceptance_of_trailers_stays() {
    let mut head = head("/", &[("te", "gzip, Trailers"), ("connection", "TE, close")]);
    forward_request(&mut head, HOP);
    assert_eq!(head.headers[header::TE], "trailers");
    assert_eq!(head.headers[header::CONNECTION], "te");
}

#[test]
fn forwarding_fields_say_what_this_hop_saw() {
    let mut head = head(
        "/",
        &[
            ("host", "a.example:8080"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-prefix", "/admin"),
            ("forwarded", "for=10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
        ],
    );
    forward_request(
        &mut head,
        Hop {
            client: "::ffff:192.0.2.7".parse().unwrap(),
            scheme: "https",
            host: Some("agent.example"),
        },
    );
    assert_eq!(
        names(&head.headers),
        ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]
    );
    assert_eq!(
        head.headers.get_all(FORWARDED_FOR).iter().collect::<Vec<_>>(),
        ["192.0.2.7"]
    );
    assert_eq!(head.headers[FORWARDED_PROTO], "https");
    assert_eq!(head.headers[FORWARDED_HOST], "agent.example", "what pages know it by");
    assert_eq!(head.headers[header::HOST], "a.example:8080", "what was asked for");
}

#[test]
fn an_absolute_target_becomes_path_and_host() {
    let mut head = head("http://b.example:81/p?q=1", &[("host", "a.example")]);
    forward_request(&mut head, HOP);
    assert_eq!(head.uri, "/p?q=1");
    assert_eq!(head.headers[header::HOST], "b.example:81");
    assert_eq!(head.version, Version::HTTP_11);
}

#[test]
fn an_answer_loses_hop_by_hop_fields_only() {
    let mut headers = head(
        "/",
        &[
            ("connection", "x-a, set-cookie2"),
            ("x-a", "1"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
            ("proxy-authenticate", "Basic"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("content-length", "3"),
        ],
    )
    .headers;
    forward_response(&mut headers);
    assert_eq!(names(&headers), ["content-length", "set-cookie"]);
    assert_eq!(headers.get_all(header::SET_COOKIE).iter().count(), 2);
}

#[test]
fn a_good_upgrade_is_known() {
    assert_eq!(upgrade_asked(&head("/ws", &UPGRADE)), Ok(true));
    assert_eq!(
        upgrade_asked(&upgrade_with("upgrade", Some("TLS/1.0, websocket"))),
        Ok(true)
    );
    assert_eq!(upgrade_asked(&upgrade_with("content-length", Some("0"))), Ok(true));
}

#[test]
fn what_does_not_ask_is_plain_http() {
    for (name, value) in [
        ("upgrade", None),
        ("upgrade", Some("TLS/1.0")),
        ("connection", None),
        ("connection", Some("upgrades")),
    ] {
        assert_eq!(
            upgrade_asked(&upgrade_with(name, value)),
            Ok(false),
            "{name}: {value:?}"
        );
    }
}

#[test]
fn a_path_with_dots_gets_no_websocket() {
    let asked = |target: &str| {
        let mut head = upgrade_with("x-a", Some("b"));
        head.uri = target.parse().unwrap();
        upgrade_asked(&head)
    };
    for plain in ["/ws", "/.well-known/ws", "/a..b/...", "/ws?x=/../", "//ws"] {
        assert_eq!(asked(plain), Ok(true), "{plain}");
    }
    for dots in ["/./ws", "/x/../ws", "/ws/.", "/%2e/ws", "/x/.%2E/ws", "/x%2f..%2fws"] {
        assert!(matches!(asked(dots), Err(BadUpgrade::Request(_))), "{dots}");
    }
}

#[test]
fn a_bad_upgrade_is_refused() {
    for other in ["h2c", "websocket, H2C"] {
        let refused = upgrade_asked(&upgrade_with("upgrade", Some(other)));
        assert!(matches!(refused, Err(BadUpgrade::Request(_))), "{other}: {refused:?}");
    }
    for version in [None, Some("8"), Some("13, 8"), Some("")] {
        assert_eq!(
            upgrade_asked(&upgrade_with("sec-websocket-version", version)),
            Err(BadUpgrade::Version)
        );
    }
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    for bad in [
        "",
        "x",
        &key[1..],
        &key[..22],
        &key.replace('Q', "R"),
        &key.replace('d', "-"),
        &format!("{key},{key}"),
    ] {
        let answer = upgrade_asked(&upgrade_with("sec-websocket-key", Some(bad)));
        assert!(matches!(answer, Err(BadUpgrade::Request(_))), "{bad:?}");
    }
    let mut twice = head("/ws", &UPGRADE);
    twice.headers.append(
        header::SEC_WEBSOCKET_KEY,
        HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="),
    );
    let mut post = head("/ws", &UPGRADE);
    post.method = Method::POST;
    let mut old = head("/ws", &UPGRADE);
    old.version = Version::HTTP_10;
    let (length, chunked) = (
        upgrade_with("content-length", Some("1")),
        upgrade_with("transfer-encoding", Some("chunked")),
    );
    for bad in [
        upgrade_with("sec-websocket-key", None),
        twice,
        post,
        old,
        length,
        chunked,
    ] {
        assert!(matches!(upgrade_asked(&bad), Err(BadUpgrade::Request(_))), "{bad:?}");
    }
}

#[test]
fn the_upgrade_goes_upstream_as_the_client_sent_it() {
    let mut client = head("/ws?session=1", &UPGRADE);
    let more = [
        ("origin", "http://localhost"),
        ("cookie", "a=1"),
        ("authorization", "Bearer x"),
        ("sec-websocket-protocol", "graphql-ws, mcp"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("expect", "100-continue"),
        ("content-length", "0"),
    ];
    for (name, value) in more {
        client
            .headers
            .insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let head = upgrade_request(&client, HOP);
    assert_eq!(head.uri, "/ws?session=1");
    assert_eq!(head.headers[header::CONNECTION], "Upgrade");
    assert_eq!(head.headers[header::UPGRADE], "websocket");
    for name in [
        "host",
        "origin",
        "cookie",
        "authorization",
        "sec-websocket-protocol",
        "sec-websocket-key",
        "sec-websocket-version",
    ] {
        assert_eq!(head.headers[name], client.headers[name], "{name}");
    }
    for name in ["sec-websocket-extensions", "expect", "content-length"] {
        assert!(!head.headers.contains_key(name), "{name}");
    }
}
