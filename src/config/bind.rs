//! Proofs that bind a session to its owner: `header:authorization`, `cookie:sid`, `hello`, `auth_request`, `key`.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use hyper::header::HeaderName;

use super::Upstream;
use super::error::masked;
use super::values::is_token;

/// What a client has to show, on every attach, to be the owner of a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bind {
    /// `header:NAME`: the same value, lower-case name.
    Header(String),
    /// `cookie:NAME`: the same value.
    Cookie(String),
    /// `hello`: a hello that is signed by the same key.
    Hello,
    /// `auth_request`: a server that is asked says yes, and names the same subject.
    AuthRequest,
    /// `key`: nothing; whoever knows the key has the session.
    Key,
}

impl FromStr for Bind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("header", name)) => match HeaderName::from_str(name) {
                Ok(name) => Ok(Self::Header(name.as_str().to_owned())),
                Err(_) => Err(format!("{name:?} is not a header's name")),
            },
            Some(("cookie", name)) if is_token(name) => Ok(Self::Cookie(name.to_owned())),
            Some(("cookie", name)) => Err(format!("{name:?} is not a cookie's name")),
            None if text == "hello" => Ok(Self::Hello),
            None if text == "auth_request" => Ok(Self::AuthRequest),
            None if text == "key" => Ok(Self::Key),
            _ => Err("is none of header:NAME, cookie:NAME, hello, auth_request, key".into()),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Hello => f.write_str("hello"),
            Self::AuthRequest => f.write_str("auth_request"),
            Self::Key => f.write_str("key"),
        }
    }
}

/// The server that is asked, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthUrl {
    /// Where it is.
    pub server: Upstream,
    /// Path and query.
    pub path: String,
}

impl FromStr for AuthUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "is not http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH";
        let uri: Uri = text.parse().map_err(|_| form)?;
        let authority = uri.authority().ok_or(form)?;
        let scheme = uri
            .scheme_str()
            .filter(|scheme| scheme.starts_with("http"))
            .ok_or(form)?;
        let server = format!("{scheme}://{authority}").parse();
        Ok(Self {
            server: server.map_err(|_| form)?,
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

/// Without its query, which may be what shows the server who asks.
impl fmt::Display for AuthUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&format!("{}{}", self.server, self.path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_are_read_as_they_are_written() {
        for text in ["header:authorization", "cookie:sid", "hello", "auth_request", "key"] {
            assert_eq!(text.parse::<Bind>().unwrap().to_string(), text);
        }
        assert_eq!("header:X-User".parse(), Ok(Bind::Header("x-user".into())));
        for text in [
            "header",
            "header:",
            "header:a b",
            "cookie:",
            "cookie:a;b",
            "key:x",
            "Hello",
            "",
        ] {
            assert!(text.parse::<Bind>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_server_that_is_asked_is_a_whole_url() {
        let url: AuthUrl = "http://127.0.0.1:9000/auth?x=1".parse().unwrap();
        assert_eq!(
            (url.server.to_string().as_str(), url.path.as_str()),
            ("http://127.0.0.1:9000", "/auth?x=1")
        );
        let url: AuthUrl = "https://login.example/auth".parse().unwrap();
        assert_eq!(url.server, Upstream::Tls("login.example:443".into()));
        for text in [
            "/auth",
            "127.0.0.1:9000",
            "ws://a/auth",
            "http://u@a/auth",
            "ftp://a/",
            "",
        ] {
            assert!(text.parse::<AuthUrl>().is_err(), "{text}");
        }
    }
}
