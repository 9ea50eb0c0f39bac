//! Where the agent server is.

use std::fmt;
use std::path::PathBuf;

use super::Invalid;
use super::origin::host_and_port;

/// Address of an agent server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// `http://HOST[:PORT]`: the authority to connect to, port included.
    Tcp(String),
    /// `unix:PATH`.
    Unix(PathBuf),
}

impl Upstream {
    /// Reads an upstream.
    ///
    /// # Errors
    ///
    /// Whatever is neither `http://HOST[:PORT]` nor `unix:PATH`, with a hint where the meaning is plain.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() || path.contains('\0') {
                return Err("unix: is followed by the path of a socket".into());
            }
            return Ok(Self::Unix(path.into()));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("an upstream is http://HOST[:PORT] or unix:PATH".into());
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" => {}
            "https" => return Err("https is not supported yet, use http:// or unix:PATH".into()),
            "ws" => return Err("write http:// for ws://".into()),
            "wss" => return Err("TLS is not supported yet, use http:// or unix:PATH".into()),
            _ => return Err("an upstream is http://HOST[:PORT] or unix:PATH".into()),
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err("an upstream has no path and no query: requests keep their own".into());
        }
        let (host, port) = host_and_port(authority)?;
        Ok(Self::Tcp(format!("{host}:{}", port.unwrap_or(80))))
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_shown_with_their_port() {
        for (text, shown) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://Agent", "http://agent:80"),
            ("http://agent:8000/", "http://agent:8000"),
            ("http://[::1]", "http://[::1]:80"),
            ("unix:/run/agent.sock", "unix:/run/agent.sock"),
            ("unix:agent.sock", "unix:agent.sock"),
        ] {
            let upstream = Upstream::parse(text).unwrap();
            assert_eq!(upstream.to_string(), shown);
            assert_eq!(Upstream::parse(shown).unwrap(), upstream);
        }
    }

    #[test]
    fn what_is_no_upstream_is_refused_with_a_hint() {
        for (text, hint) in [
            ("", "http://HOST[:PORT] or unix:PATH"),
            ("127.0.0.1:8000", "http://HOST[:PORT] or unix:PATH"),
            ("https://a", "not supported yet"),
            ("ws://a", "http:// for ws://"),
            ("wss://a", "not supported yet"),
            ("ftp://a", "http://HOST[:PORT]"),
            ("http://", "host is missing"),
            ("http://a/b", "no path"),
            ("http://a?b", "no path and no query"),
            ("http://u:p@a", "user information"),
            ("http://a:0", "1 to 65535"),
            ("unix:", "path of a socket"),
        ] {
            let reason = Upstream::parse(text).unwrap_err().to_string();
            assert!(reason.contains(hint), "{text}: {reason}");
        }
    }
}
