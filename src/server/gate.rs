//! The gate: which hosts are served, and which origins may open WebSockets.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use hyper::header::{self, HeaderMap};
use hyper::{StatusCode, Uri};

use crate::config::Origin;
use crate::server::headers::authority;

/// The rules of Host and Origin.
#[derive(Debug)]
pub struct Gate {
    /// A loopback listener is reached by the machine's own browsers, whatever name they were told.
    loopback: bool,
    /// No setting names hosts: the listener is for operators.
    fixed: bool,
    /// The listener speaks TLS, so that the scheme of its own origin is known.
    tls: bool,
    /// Where any is set, exactly these are same-origin.
    public: Vec<Origin>,
    /// Foreign origins that may open WebSockets.
    allow: Vec<Origin>,
}

/// Where a page comes from that opens a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginClass {
    /// From the origin that sessmux itself serves.
    Same,
    /// No `Origin` field: not a browser.
    Absent,
    /// From a foreign origin on the allow-list.
    Allowed,
}

/// Why the gate stays shut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Status of the answer.
    pub status: StatusCode,
    /// For the operator: what was refused and which setting would let it in.
    pub log: String,
    /// For the client; it tells nothing of the settings.
    pub body: &'static str,
}

impl Gate {
    /// Makes the rules for a listener.
    #[must_use]
    pub fn new(listen: SocketAddr, tls: bool, public: &[Origin], allow: &[Origin]) -> Self {
        Self {
            loopback: listen.ip().to_canonical().is_loopback(),
            fixed: false,
            tls,
            public: public.to_vec(),
            allow: allow.to_vec(),
        }
    }

    /// The rules of a listener for operators: pages have no business there, whatever their origin.
    #[must_use]
    pub fn of_admin(listen: SocketAddr) -> Self {
        Self {
            fixed: true,
            ..Self::new(listen, false, &[], &[])
        }
    }

    /// Checks the host that a request names.
    ///
    /// A page that rebinds its own name to this machine shows itself by that name, so a loopback listener
    /// serves IP literals, `localhost` and the hosts of `public_origin` only. The port is not compared: it
    /// changes on the way through forwarded ports.
    ///
    /// # Errors
    ///
    /// 400 without exactly one well-formed host, 421 for a host that is not served.
    pub fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some((host, _)) = authority(uri, headers).and_then(host_and_port) else {
            return Err(Refusal {
                status: StatusCode::BAD_REQUEST,
                log: "request without exactly one well-formed Host".into(),
                body: "bad Host\n",
            });
        };
        let served = !self.loopback
            || host == "localhost"
            || host.starts_with('[')
            || host.parse::<Ipv4Addr>().is_ok()
            || self.public.iter().any(|origin| is_host(origin, &host));
        if served {
            return Ok(());
        }
        Err(Refusal {
            status: StatusCode::MISDIRECTED_REQUEST,
            log: if self.fixed {
                format!("host {host:?} is not served on a loopback listener: ask for an IP address, or for localhost")
            } else if self.public.is_empty() {
                format!("host {host:?} is not served on a loopback listener; public_origin would name it")
            } else {
                format!(
                    "host {host:?} is not that of a public_origin; a proxy in front has to keep Host, or to send \
                     127.0.0.1"
                )
            },
            body: "this host is not served here\n",
        })
    }

    /// Checks the origin of a page that opens a WebSocket; `https` says that the page is known to have come by TLS.
    ///
    /// # Errors
    ///
    /// 403 for an origin that is neither sessmux's own nor on the allow-list, or that is `null`, malformed
    /// or given twice.
    pub fn check_origin(&self, uri: &Uri, headers: &HeaderMap, https: bool) -> Result<OriginClass, Refusal> {
        let https = https || self.tls;
        let mut fields = headers.get_all(header::ORIGIN).into_iter();
        let Some(field) = fields.next() else {
            return Ok(OriginClass::Absent);
        };
        let text = String::from_utf8_lossy(field.as_bytes());
        if fields.next().is_some() {
            return Err(forbidden("more than one Origin field was sent".into()));
        }
        let Some(origin) = parse(&text) else {
            return Err(forbidden(format!(
                "origin {text:?} is not http:// or https:// with a host; no setting admits it"
            )));
        };
        if self.public.is_empty() {
            let own = authority(uri, headers).and_then(host_and_port);
            // Host does not say its scheme, so a port that it leaves out is that of the page's scheme: without TLS here
            // there may be some in front.
            let same = own.as_ref().filter(|_| !https || origin.scheme == "https");
            let same = same.is_some_and(|(host, port)| {
                *host == origin.host && port.unwrap_or_else(|| default_port(&origin.scheme)) == origin.port
            });
            if same {
                return Ok(OriginClass::Same);
            }
        } else if self.public.iter().any(|public| is_origin(public, &origin)) {
            return Ok(OriginClass::Same);
        }
        if self.allow.iter().any(|allowed| is_origin(allowed, &origin)) {
            return Ok(OriginClass::Allowed);
        }
        Err(forbidden(if self.public.is_empty() {
            let host = authority(uri, headers).unwrap_or_default();
            let by = if https { " by https" } else { "" };
            format!(
                "origin {text:?} is not that of host {host:?}{by}; allow_origin would admit it as foreign, \
                 public_origin would make it the only one of its own"
            )
        } else {
            format!("origin {text:?} is not a public_origin; allow_origin would admit it as foreign")
        }))
    }
}

fn forbidden(log: String) -> Refusal {
    Refusal {
        status: StatusCode::FORBIDDEN,
        log,
        body: "this origin may not connect\n",
    }
}

fn is_origin(configured: &Origin, origin: &Origin) -> bool {
    configured.scheme == origin.scheme && configured.port == origin.port && is_host(configured, &origin.host)
}

/// Compares a configured host, however its IPv6 form was written, with a canonical one.
fn is_host(configured: &Origin, host: &str) -> bool {
    host_and_port(&configured.host).is_some_and(|(configured, _)| configured == host)
}

/// Reads `scheme://host[:port]` and nothing beyond (RFC 6454 6.2); the host comes out canonical.
fn parse(text: &str) -> Option<Origin> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return None;
    }
    let (host, port) = host_and_port(rest)?;
    let port = port.unwrap_or_else(|| default_port(&scheme));
    Some(Origin { scheme, host, port })
}

fn default_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

/// Reads `host[:port]`, strictly: the host comes out in lower case, IPv6 in brackets and in its one
/// canonical form; user information, zones, paths and whatever no host has are refused.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let (address, rest) = inner.split_once(']')?;
            (format!("[{}]", address.parse::<Ipv6Addr>().ok()?), rest)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (host, rest) = text.split_at(end);
            let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            if host.is_empty() || !host.bytes().all(letter) {
                return None;
            }
            (host.to_ascii_lowercase(), rest)
        }
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        // `u16::from_str` would take a sign.
        Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    Some((host, port))
}

#[cfg(test)]
mod tests;
