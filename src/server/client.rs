//! Who a request comes from: the peer, or whom a trusted proxy names.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client's address: of the way that `X-Forwarded-For` tells, the first from here that is no trusted proxy's.
///
/// Each proxy appends whom it has heard; what a proxy that is not trusted wrote may be anything, so nothing is read beyond
/// it. `Forwarded` (RFC 7239) is never read: proxies that write the one field pass on the other as the client made it.
#[must_use]
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    if !is_trusted(&client) {
        return client;
    }
    let fields: Vec<_> = headers.get_all(FORWARDED_FOR).into_iter().collect();
    let entries = fields
        .iter()
        .rev()
        .flat_map(|field| field.as_bytes().rsplit(|&byte| byte == b','));
    for entry in entries {
        // what no proxy writes ends what can be believed
        let Some(address) = address(entry) else { break };
        client = address;
        if !is_trusted(&client) {
            break;
        }
    }
    client
}

/// Whether a trusted proxy says that the page came to it by TLS; of several entries the last is its own.
#[must_use]
pub fn came_by_https(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> bool {
    let peer = peer.to_canonical();
    let Some(field) = headers.get_all(FORWARDED_PROTO).into_iter().next_back() else {
        return false;
    };
    let last = field.as_bytes().rsplit(|&byte| byte == b',').next().unwrap_or_default();
    let last = last.trim_ascii();
    trusted.iter().any(|network| network.contains(&peer))
        && (last.eq_ignore_ascii_case(b"https") || last.eq_ignore_ascii_case(b"wss"))
}

/// An entry: an address, which some proxies give a port, and IPv6 brackets.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse();
    let address = address.or_else(|_| text.parse().map(|with_port: SocketAddr| with_port.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn of(peer: &str, fields: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(field).unwrap());
        }
        let trusted = ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"].map(|network| network.parse().unwrap());
        client(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_a_trusted_peer_names_another() {
        assert_eq!(of("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(of("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(of("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(of("fd00::1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_a_client_wrote_itself_is_not_read() {
        assert_eq!(of("10.0.0.1", &["1.1.1.1, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(of("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(of("10.0.0.1", &["1.1.1.1", "198.51.100.1,10.0.0.2"]), "198.51.100.1");
        // somebody who claims to be a proxy of ours
        assert_eq!(of("10.0.0.1", &["127.0.0.1, 198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn what_is_no_address_ends_it() {
        assert_eq!(of("10.0.0.1", &["198.51.100.1, unknown"]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &["198.51.100.1, _hidden, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(of("10.0.0.1", &[""]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &["198.51.100.1,"]), "10.0.0.1");
    }

    #[test]
    fn ports_and_brackets() {
        assert_eq!(of("10.0.0.1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(of("10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(of("10.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(of("10.0.0.1", &["::ffff:198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn only_a_trusted_peer_says_how_the_page_came() {
        let said = |peer: &str, fields: &[&str]| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(FORWARDED_PROTO, HeaderValue::from_str(field).unwrap());
            }
            came_by_https(peer.parse().unwrap(), &headers, &["10.0.0.0/8".parse().unwrap()])
        };
        assert!(
            said("10.0.0.1", &["https"]) && said("10.0.0.1", &["http", "WSS"]) && said("10.0.0.1", &["http, https"])
        );
        assert!(!said("192.0.2.1", &["https"]));
        for other in [&[][..], &["http"], &["https, http"], &["https", "http"], &["httpsx"]] {
            assert!(!said("10.0.0.1", other), "{other:?}");
        }
    }
}
