//! Addresses: agent servers and origins.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use hyper::Uri;
use tokio_rustls::rustls::pki_types::ServerName;

/// Address of an agent server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// `http://HOST[:PORT]`: the authority to connect to, port included.
    Tcp(String),
    /// `https://HOST[:PORT]`: the same, by TLS.
    Tls(String),
    /// `unix:PATH`.
    Unix(PathBuf),
}

/// Where the admin surface listens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Admin {
    /// At a socket in the runtime directory, which is its user's alone.
    #[default]
    Runtime,
    /// Nowhere.
    Off,
    /// `ADDRESS:PORT`.
    Tcp(SocketAddr),
    /// `unix:PATH`; the file is its owner's alone.
    Unix(PathBuf),
}

impl FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("lacks the socket's path".into()),
            Some(path) => Ok(Self::Unix(path.into())),
            None if text == "off" => Ok(Self::Off),
            None => text.parse().map(Self::Tcp).map_err(|_| {
                "is neither off nor unix:PATH, nor ADDRESS:PORT with an IP address, such as 127.0.0.1:9090".into()
            }),
        }
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime => f.write_str("a socket in the runtime directory"),
            Self::Off => f.write_str("off"),
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

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

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err("lacks the socket's path".into())
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let url = text.strip_suffix('/').unwrap_or(text);
        // how those spell it who think of its WebSockets
        let url = match url.split_once("://") {
            Some(("ws", rest)) => &format!("http://{rest}"),
            Some(("wss", rest)) => &format!("https://{rest}"),
            _ => url,
        };
        let origin: Origin = url
            .parse()
            .map_err(|_| "is not http://HOST[:PORT], https://HOST[:PORT] or unix:PATH, without path, query or user")?;
        let authority = format!("{}:{}", origin.host, origin.port);
        if origin.scheme == "http" {
            return Ok(Self::Tcp(authority));
        }
        let host = origin.host.trim_matches(['[', ']']);
        ServerName::try_from(host).map_err(|_| format!("no certificate has a name such as {host}"))?;
        Ok(Self::Tls(authority))
    }
}

impl Origin {
    /// Host and port as a `Host` field names them: without a port that the scheme implies.
    #[must_use]
    pub fn authority(&self) -> String {
        match (self.scheme.as_str(), self.port) {
            ("http", 80) | ("https", 443) => self.host.clone(),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "is not http://HOST[:PORT] or https://HOST[:PORT]";
        let uri: Uri = text.parse().map_err(|_| form)?;
        let scheme = uri.scheme_str().ok_or(form)?;
        let authority = uri.authority().ok_or(form)?;
        let default = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(form.into()),
        };
        let rest = text.get(scheme.len() + 3..).unwrap_or_default();
        if !rest.eq_ignore_ascii_case(authority.as_str()) || rest.contains('@') {
            return Err(format!("{form}, without path, query or user"));
        }
        let port = match authority.port() {
            Some(port) => port.as_str().parse().map_err(|_| form)?,
            // a port that is none, or too large
            None if authority.as_str().len() > authority.host().len() => return Err(form.into()),
            None => default,
        };
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if !authority.host().starts_with('[') && !authority.host().bytes().all(letter) {
            return Err("has a host that no browser names; wildcards are not supported".into());
        }
        Ok(Self {
            scheme: scheme.to_owned(),
            host: authority.host().to_ascii_lowercase(),
            port,
        })
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Tls(authority) => write!(f, "https://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams() {
        let parsed = |text: &str| text.parse::<Upstream>().map(|it| it.to_string());
        assert_eq!(parsed("http://127.0.0.1:8000").unwrap(), "http://127.0.0.1:8000");
        assert_eq!(parsed("http://agent/").unwrap(), "http://agent:80");
        assert_eq!(parsed("http://[::1]:8000").unwrap(), "http://[::1]:8000");
        assert_eq!(parsed("https://Agent").unwrap(), "https://agent:443");
        assert_eq!(parsed("https://[::1]:8443").unwrap(), "https://[::1]:8443");
        assert_eq!(parsed("ws://agent").unwrap(), "http://agent:80");
        assert_eq!(parsed("wss://agent").unwrap(), "https://agent:443");
        assert_eq!(parsed("unix:/run/a.sock").unwrap(), "unix:/run/a.sock");
        for text in [
            "",
            "127.0.0.1:8000",
            "https://-",
            "wss://",
            "wss://a/b",
            "ftp://a",
            "http://",
            "http://a/b",
            "http://a?b",
            "http://u@a",
            "http://a:",
            "http://a:99999",
            "unix:",
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn origins() {
        let parsed = |text: &str| text.parse::<Origin>().map(|it| it.to_string());
        assert_eq!(parsed("https://Agent.Example").unwrap(), "https://agent.example:443");
        assert_eq!(parsed("http://localhost:3000").unwrap(), "http://localhost:3000");
        for wildcard in ["https://*.example.com", "http://a*", "https://*"] {
            assert!(parsed(wildcard).unwrap_err().contains("wildcards"), "{wildcard}");
        }
        let authority = |text: &str| text.parse::<Origin>().unwrap().authority();
        assert_eq!(authority("https://a.example:443"), "a.example");
        assert_eq!(authority("https://a.example:80"), "a.example:80");
        assert_eq!(authority("http://[::1]"), "[::1]");
        assert!(parsed("https://a/").is_err() && parsed("null").is_err() && parsed("*").is_err());
    }
}
