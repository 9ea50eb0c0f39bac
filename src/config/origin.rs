//! Origins and the authorities within them (RFC 6454, RFC 3986 section 3.2).

use std::fmt;
use std::net::Ipv6Addr;

use super::Invalid;

/// `scheme://host[:port]`, lower case, the scheme's default port made explicit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// `http` or `https`.
    pub scheme: String,
    /// Host without port; IPv6 in brackets.
    pub host: String,
    /// Port, explicit.
    pub port: u16,
}

impl Origin {
    /// Reads an origin; an IPv6 host comes out in its canonical form.
    ///
    /// # Errors
    ///
    /// Whatever is not exactly a scheme, a host and perhaps a port.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let Some((scheme, authority)) = text.split_once("://") else {
            return Err("an origin is http://HOST[:PORT] or https://HOST[:PORT]".into());
        };
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return Err("the scheme of an origin is http or https".into()),
        };
        if authority.contains(['/', '?', '#']) {
            return Err("an origin has no path, not even a / at its end".into());
        }
        let (host, port) = host_and_port(authority)?;
        let port = port.unwrap_or(default_port);
        Ok(Self { scheme, host, port })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match (self.scheme.as_str(), self.port) {
            ("http", 80) | ("https", 443) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}

/// Reads `HOST[:PORT]`: the host comes out in lower case, IPv6 in brackets and in its canonical form.
pub(super) fn host_and_port(text: &str) -> Result<(String, Option<u16>), Invalid> {
    if text.contains('@') {
        return Err("user information has no place here".into());
    }
    let (host, rest) = if let Some(inner) = text.strip_prefix('[') {
        let (address, rest) = inner.split_once(']').ok_or("the ] after an IPv6 address is missing")?;
        let address: Ipv6Addr = address.parse().map_err(|_| "not an IPv6 address within [ ]")?;
        (format!("[{address}]"), rest)
    } else {
        let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
        if host.is_empty() {
            return Err("the host is missing".into());
        }
        if rest.matches(':').count() > 1 {
            return Err("an IPv6 address stands in [ ]".into());
        }
        if !host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        {
            return Err("a host is letters, digits, dots and hyphens".into());
        }
        (host.to_ascii_lowercase(), rest)
    };
    if rest.is_empty() {
        return Ok((host, None));
    }
    // `u16::from_str` would take a sign.
    let digits = rest
        .strip_prefix(':')
        .filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(port) if port != 0 => Ok((host, Some(port))),
        _ => Err("a port is a number from 1 to 65535".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_normalised_and_shown_as_browsers_write_them() {
        for (text, host, port, shown) in [
            ("http://Example.org", "example.org", 80, "http://example.org"),
            ("HTTPS://example.org:443", "example.org", 443, "https://example.org"),
            ("https://a-b_c:80", "a-b_c", 80, "https://a-b_c:80"),
            ("http://[0:0::1]:3000", "[::1]", 3000, "http://[::1]:3000"),
            ("http://127.0.0.1:8080", "127.0.0.1", 8080, "http://127.0.0.1:8080"),
        ] {
            let origin = Origin::parse(text).unwrap();
            assert_eq!((origin.host.as_str(), origin.port), (host, port), "{text}");
            assert_eq!(origin.to_string(), shown);
            assert_eq!(Origin::parse(shown).unwrap(), origin);
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "null",
            "*",
            "example.org",
            "ftp://example.org",
            "http://",
            "http://:80",
            "http://a/",
            "http://a?b",
            "http://a#b",
            "http://u@a",
            "http://a b",
            "http://*.a",
            "http://::1",
            "http://[::1",
            "http://[::1]x",
            "http://[v4]",
            "http://a:",
            "http://a:0",
            "http://a:+1",
            "http://a:65536",
            "http://a:1:2",
        ] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }
}
