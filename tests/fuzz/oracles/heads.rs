//! Request heads behind hyper's parser: the gate, what goes upstream, cookies, keys, and who the client is.
//!
//! Input: lines. `@public`, `@allow`, `@trusted`, `@https`, `@listen` and `@peer` with a value are the configuration; the
//! first other line is `METHOD TARGET`, the following are fields.

mod cookies;
mod forwarded;
mod gate;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Uri};
use sessmux::config::Origin;

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
    gate::gate(&asked);
    gate::who(&asked);
    forwarded::forwarded(&asked);
    cookies::cookies(&asked);
    cookies::keys(&asked.head);
    cookies::pages(&asked.head.headers);
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

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a HeaderValue> {
    headers.get_all(name).iter().collect()
}
