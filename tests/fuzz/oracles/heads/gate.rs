//! Who is let in: the gate, and whom a request counts as.

use std::net::{IpAddr, SocketAddr};

use hyper::Uri;
use hyper::header::{self, HeaderValue};
use hyper::http::uri::Authority;
use sessmux::config::Origin;
use sessmux::server::client::{came_by_https, client};
use sessmux::server::gate::{Gate, OriginClass};
use sessmux::server::headers;

use super::Asked;

/// Host in lower case, addresses in their one form.
fn plain(host: &str) -> String {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    address.map_or_else(|_| host.to_ascii_lowercase(), |address| address.to_string())
}

pub(super) fn gate(asked: &Asked) {
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
pub(super) fn who(asked: &Asked) {
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
