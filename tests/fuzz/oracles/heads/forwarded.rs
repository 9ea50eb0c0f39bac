//! What of a head goes upstream.

use hyper::header::HeaderName;
use sessmux::server::headers::{self, Hop};

use super::{Asked, all};

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

pub(super) fn forwarded(asked: &Asked) {
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
