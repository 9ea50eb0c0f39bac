//! Request heads behind hyper's parser: the gate, what goes upstream, cookies, keys, and who the client is.
//!
//! Input: lines. `@public`, `@allow`, `@trusted`, `@https`, `@listen` and `@peer` with a value are the configuration; the first
//! other line is `METHOD TARGET`, the following are fields.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode, Uri};
use sessmux::config::{KeyPart, Origin, PathPattern, Route, Upstream};
use sessmux::server::client::{came_by_https, client};
use sessmux::server::cookie::{self, BrowserId, CookieName};
use sessmux::server::gate::{Gate, OriginClass};
use sessmux::server::headers::{self, Hop};
use sessmux::server::{key, pages};

/// A request and what it meets.
struct Asked {
    head: Parts,
    public: Vec<Origin>,
    allow: Vec<Origin>,
    trusted: Vec<String>,
    https: bool,
    listen: SocketAddr,
    peer: IpAddr,
}

pub fn check(data: &[u8]) {
    let Some(asked) = read(data) else { return };
    gate(&asked);
    who(&asked);
    forwarded(&asked);
    cookies(&asked);
    keys(&asked.head);
    pages(&asked.head.headers);
}

fn read(data: &[u8]) -> Option<Asked> {
    let mut asked = Asked {
        head: Request::new(()).into_parts().0,
        public: Vec::new(),
        allow: Vec::new(),
        trusted: Vec::new(),
        https: false,
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
        peer: Ipv4Addr::LOCALHOST.into(),
    };
    let mut has_target = false;
    for line in data.split(|byte| *byte == b'\n') {
        if line.first() == Some(&b'@') {
            let (name, value) = std::str::from_utf8(line).ok()?.split_once(' ')?;
            match name {
                "@public" => asked.public.push(value.parse().ok()?),
                "@allow" => asked.allow.push(value.parse().ok()?),
                "@trusted" => asked.trusted.push(value.to_owned()),
                "@https" => asked.https = value == "yes",
                "@listen" => asked.listen = value.parse().ok()?,
                "@peer" => asked.peer = value.parse().ok()?,
                _ => return None,
            }
        } else if has_target {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
            asked.head.headers.append(name, value);
        } else {
            let space = line.iter().position(|byte| *byte == b' ')?;
            asked.head.method = Method::from_bytes(&line[..space]).ok()?;
            asked.head.uri = Uri::try_from(&line[space + 1..]).ok()?;
            has_target = true;
        }
    }
    has_target.then_some(asked)
}

/// Host in lower case, addresses in their one form.
fn plain(host: &str) -> String {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    address.map_or_else(|_| host.to_ascii_lowercase(), |address| address.to_string())
}

fn gate(asked: &Asked) {
    let (uri, headers) = (&asked.head.uri, &asked.head.headers);
    let gate = Gate::new(asked.listen, false, &asked.public, &asked.allow);
    let authority = headers::authority(uri, headers);
    let named: Option<Authority> = authority.and_then(|text| text.parse().ok());
    let host = gate.check_host(uri, headers);
    if host.is_ok() {
        let named = named.as_ref().expect("a host that is one");
        assert!(!named.as_str().contains('@') && headers.get_all(header::HOST).iter().count() < 2);
        let host = plain(named.host());
        let own = host == "localhost" || host.parse::<IpAddr>().is_ok();
        let public = asked.public.iter().any(|origin| plain(&origin.host) == host);
        assert!(own || public || !asked.listen.ip().to_canonical().is_loopback());
    }
    let class = gate.check_origin(uri, headers, asked.https);
    let fields: Vec<_> = headers.get_all(header::ORIGIN).iter().collect();
    let [field] = fields[..] else {
        assert_eq!(class.is_ok(), fields.is_empty());
        return;
    };
    // none of the sort of `null`, nor with a path, a user or anything else beside a host
    let origin = field
        .to_str()
        .ok()
        .and_then(|text| text.parse::<Uri>().ok())
        .filter(|uri| uri.scheme().is_some());
    let of_origin = origin.as_ref().and_then(|uri| {
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        Some((https, plain(uri.host()?), port))
    });
    let listed = |list: &[Origin]| {
        list.iter()
            .any(|it| Some((it.scheme == "https", plain(&it.host), it.port)) == of_origin)
    };
    match class {
        Ok(OriginClass::Absent) => panic!("there is an Origin"),
        Ok(OriginClass::Allowed) => assert!(listed(&asked.allow)),
        Ok(OriginClass::Same) if asked.public.is_empty() => {
            let (https, host, port) = of_origin.clone().expect("an origin with a host");
            assert!(https || !asked.https);
            let own = named.as_ref().expect("a host that is one");
            assert_eq!(
                (host, port),
                (
                    plain(own.host()),
                    own.port_u16().unwrap_or(if https { 443 } else { 80 })
                )
            );
        }
        Ok(OriginClass::Same) => assert!(listed(&asked.public)),
        Err(_) => {}
    }
    let bytes = field.as_bytes();
    if class.is_ok() {
        assert!(
            bytes
                .iter()
                .all(|byte| byte.is_ascii_graphic() && !b"@/?#\\%*".contains(byte) || *byte == b'/')
        );
        assert_eq!(bytes.iter().filter(|byte| **byte == b'/').count(), 2);
    }
    // letters are the same in either case
    let mut louder = headers.clone();
    let loud = HeaderValue::from_bytes(&bytes.to_ascii_uppercase()).expect("a field still");
    louder.insert(header::ORIGIN, loud);
    assert_eq!(gate.check_origin(uri, &louder, asked.https).ok(), class.ok());
}

/// The peer, or someone named by proxies that are all trusted.
fn who(asked: &Asked) {
    let Ok(trusted) = asked
        .trusted
        .iter()
        .map(|network| network.parse())
        .collect::<Result<Vec<_>, _>>()
    else {
        return;
    };
    let headers = &asked.head.headers;
    let found = client(asked.peer, headers, &trusted);
    assert_eq!(found, found.to_canonical());
    let peer = asked.peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    assert!(is_trusted(peer) || !came_by_https(asked.peer, headers, &trusted));
    if found == peer {
        return;
    }
    assert!(is_trusted(peer));
    let fields = headers
        .get_all("x-forwarded-for")
        .iter()
        .map(|field| String::from_utf8_lossy(field.as_bytes()));
    let fields: Vec<_> = fields.collect();
    let entries = fields.iter().flat_map(|field| field.split(',')).map(|entry| {
        let entry = entry.trim();
        let with_port = entry.parse().map(|address: SocketAddr| address.ip());
        let bare = with_port.or_else(|_| entry.trim_matches(['[', ']']).parse());
        bare.ok().map(|address: IpAddr| address.to_canonical())
    });
    let entries: Vec<Option<IpAddr>> = entries.collect();
    let named = entries
        .iter()
        .rposition(|entry| *entry == Some(found))
        .expect("somebody who was named");
    assert!(entries[named + 1..].iter().all(|entry| entry.is_some_and(is_trusted)));
}

/// What a proxy before this one alone may say, in any spelling that CGI takes for it.
fn is_claim(name: &str) -> bool {
    let name = name.replace('_', "-");
    name == "forwarded" || name == "x-real-ip" || name.starts_with("x-forwarded-")
}

const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a HeaderValue> {
    headers.get_all(name).iter().collect()
}

fn forwarded(asked: &Asked) {
    let head = &asked.head;
    let hop = Hop {
        client: asked.peer,
        scheme: "http",
        host: None,
    };
    let stolen = headers::stolen_by_connection(&head.headers);
    let mut plain = head.clone();
    headers::forward_request(&mut plain, hop);
    let question = headers::question(head, hop);
    let upgrade = headers::upgrade_asked(head);
    let mut sent = vec![&plain, &question];
    let upgraded = headers::upgrade_request(head, hop);
    if upgrade == Ok(true) {
        assert_eq!(headers::upgrade_asked(&upgraded), Ok(true));
        let set = &upgraded.headers;
        assert_eq!(all(set, "upgrade"), ["websocket"]);
        assert_eq!(all(set, "connection"), ["Upgrade"]);
        assert_eq!(all(set, "sec-websocket-key"), all(&head.headers, "sec-websocket-key"));
        for name in [
            "sec-websocket-extensions",
            "content-length",
            "transfer-encoding",
            "expect",
        ] {
            assert!(!set.contains_key(name), "{name}");
        }
        sent.push(&upgraded);
    }
    for sent in sent {
        let question = std::ptr::eq(sent, &question);
        assert!(sent.uri.authority().is_none());
        for name in sent.headers.keys() {
            let ours = matches!(
                name.as_str(),
                "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host"
            );
            assert!(ours || !is_claim(name.as_str()), "{name}");
            assert!(!ours || all(&sent.headers, name.as_str()).len() == 1, "{name}");
        }
        let client = asked.peer.to_canonical().to_string();
        assert_eq!(all(&sent.headers, "x-forwarded-for"), [client.as_str()]);
        // nothing of what is between the client and the agent server is lost
        for name in head.headers.keys().map(HeaderName::as_str) {
            let dropped = HOP_BY_HOP.contains(&name) || is_claim(name) || name.starts_with("x_");
            let of_upgrade = name.starts_with("sec-websocket-") || ["content-length", "expect", "host"].contains(&name);
            let masked =
                name.contains('_') && ["authorization", "cookie", "host", "origin"].contains(&&*name.replace('_', "-"));
            if stolen.is_some()
                || dropped
                || masked
                || name == "host"
                || name == "trailer"
                || (of_upgrade && !std::ptr::eq(sent, &plain))
            {
                continue;
            }
            assert_eq!(all(&sent.headers, name), all(&head.headers, name), "{name}");
        }
        // whatever Connection names
        for name in ["authorization", "cookie", "origin"] {
            assert_eq!(all(&sent.headers, name), all(&head.headers, name), "{name}");
        }
        if let (Some(host), false) = (headers::authority(&head.uri, &head.headers), question) {
            assert_eq!(all(&sent.headers, "host"), [host]);
        }
    }
    let mut again = plain.clone();
    headers::forward_request(&mut again, hop);
    assert_eq!((again.headers, again.uri), (plain.headers, plain.uri), "once is enough");
    let mut answer = head.headers.clone();
    headers::forward_response(&mut answer);
    assert!(HOP_BY_HOP.iter().all(|name| !answer.contains_key(*name)));
}

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

fn cookies(asked: &Asked) {
    let headers = &asked.head.headers;
    let name = CookieName::of(
        asked.https,
        headers::authority(&asked.head.uri, headers),
        asked.listen.port(),
    );
    let known = name.read(headers);
    let mut stripped = headers.clone();
    cookie::strip(&mut stripped);
    let kept: Vec<&[u8]> = pairs(headers).into_iter().filter(|pair| !is_ours(pair)).collect();
    assert_eq!(pairs(&stripped), kept, "all but ours, as they were");
    assert_eq!(name.read(&stripped), None);

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
    assert!(is_ours(pair) && name.read(&back) == Some(id));
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
    name.read(&headers).expect("a well-formed value")
}

fn pages(headers: &HeaderMap) {
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

fn keys(head: &Parts) {
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
