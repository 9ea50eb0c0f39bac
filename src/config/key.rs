//! Key parts as they are written: `path:id`, `query:session|header:x-session`.

use std::fmt;
use std::str::FromStr;

use super::values::is_token;
use crate::profile::pointer;

/// One part of a session key: the first alternative that a request has gives its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyPart {
    /// Never empty.
    pub alternatives: Vec<KeySource>,
}

/// Where a key value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// `path:NAME`: a capture of the route's pattern.
    PathCapture(String),
    /// `path`: the whole path.
    Path,
    /// `query:NAME`: one query parameter, decoded.
    QueryParam(String),
    /// `query`: the whole query string.
    Query,
    /// `header:NAME`, lower case.
    Header(String),
    /// `cookie:NAME`.
    Cookie(String),
    /// `first:/json/pointer` into the first client message.
    First(String),
    /// `answer:/json/pointer` into the server's hello answer.
    Answer(String),
    /// `browser`: the cookie that sessmux mints.
    Browser,
}

impl FromStr for KeyPart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let alternatives: Vec<KeySource> = text
            .split('|')
            .map(|source| source.trim().parse())
            .collect::<Result<_, _>>()?;
        let client_side = alternatives
            .iter()
            .any(|source| !matches!(source, KeySource::Answer(_)));
        if !client_side {
            return Err("needs an alternative from the client too, for pages that come back: answer:…|first:…".into());
        }
        Ok(Self { alternatives })
    }
}

impl FromStr for KeySource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once(':') {
            Some((_, "")) => return Err(format!("{text} lacks what follows the colon")),
            Some((kind, name)) => (kind, Some(name)),
            None => (text, None),
        };
        let pointer = |name: &str| pointer::check(name).map(|()| name.to_owned());
        Ok(match (kind, name) {
            ("path", Some(name)) => Self::PathCapture(name.to_owned()),
            ("path", None) => Self::Path,
            ("query", Some(name)) => Self::QueryParam(name.to_owned()),
            ("query", None) => Self::Query,
            ("header", Some(name)) => match hyper::header::HeaderName::from_str(name) {
                Ok(name) => Self::Header(name.as_str().to_owned()),
                Err(_) => return Err(format!("{name} is not a header's name")),
            },
            ("cookie", Some(name)) if !is_token(name) => return Err(format!("{name} is not a cookie's name")),
            ("cookie", Some(name)) => Self::Cookie(name.to_owned()),
            ("first", Some(name)) => Self::First(pointer(name)?),
            ("answer", Some(name)) => Self::Answer(pointer(name)?),
            ("browser", None) => Self::Browser,
            _ => {
                return Err(
                    "is none of path:NAME, path, query:NAME, query, header:NAME, cookie:NAME, \
                            first:/POINTER, answer:/POINTER, browser"
                        .into(),
                );
            }
        })
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PathCapture(name) => write!(f, "path:{name}"),
            Self::Path => f.write_str("path"),
            Self::QueryParam(name) => write!(f, "query:{name}"),
            Self::Query => f.write_str("query"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::First(pointer) => write!(f, "first:{pointer}"),
            Self::Answer(pointer) => write!(f, "answer:{pointer}"),
            Self::Browser => f.write_str("browser"),
        }
    }
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, source) in self.alternatives.iter().enumerate() {
            write!(f, "{}{source}", if index > 0 { "|" } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "path:id",
            "path",
            "query:a|query:b",
            "query",
            "header:x-id",
            "cookie:sid",
            "answer:/id|first:/a~1b",
            "browser",
        ] {
            assert_eq!(text.parse::<KeyPart>().unwrap().to_string(), text);
        }
        assert_eq!(
            " path | browser ".parse::<KeyPart>().unwrap().to_string(),
            "path|browser"
        );
        assert_eq!("header:X-Id".parse::<KeyPart>().unwrap().to_string(), "header:x-id");
    }

    #[test]
    fn what_is_no_key() {
        for text in [
            "",
            "pth",
            "query:",
            "first:id",
            "answer:/id",
            "browser:x",
            "header:a b",
            "cookie:a=b",
            "path|",
            "first",
        ] {
            assert!(text.parse::<KeyPart>().is_err(), "{text}");
        }
    }
}
