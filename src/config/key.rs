//! What tells one session of a route from another.

use std::fmt;

use super::Invalid;
use crate::profile::pointer;

/// One part of a session key: the first alternative that a request has gives its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPart {
    /// Never empty.
    pub alternatives: Vec<KeySource>,
}

/// Where a key value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl KeyPart {
    /// Reads `SOURCE` or `SOURCE|SOURCE...`.
    ///
    /// # Errors
    ///
    /// The first alternative that is no source of a key value.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let alternatives = text.split('|').map(|source| KeySource::parse(source.trim()));
        Ok(Self {
            alternatives: alternatives.collect::<Result<_, _>>()?,
        })
    }

    /// The key of a route for which none is configured: the browser, the path and the query.
    pub(super) fn default_key() -> Vec<Self> {
        let one = |source| Self {
            alternatives: vec![source],
        };
        vec![one(KeySource::Browser), one(KeySource::Path), one(KeySource::Query)]
    }
}

impl KeySource {
    /// Reads one source.
    ///
    /// # Errors
    ///
    /// Whatever is no source, or names what cannot be there.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "path" => return Ok(Self::Path),
            "query" => return Ok(Self::Query),
            "browser" => return Ok(Self::Browser),
            _ => {}
        }
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let source = match kind {
            "path" => Self::PathCapture(name.to_owned()),
            "query" => Self::QueryParam(name.to_owned()),
            "header" if !name.is_empty() && !is_token(name) => {
                return Err("this is not the name of a header".into());
            }
            "header" => Self::Header(name.to_ascii_lowercase()),
            "cookie" if !name.is_empty() && !is_token(name) => {
                return Err("this is not the name of a cookie".into());
            }
            "cookie" => Self::Cookie(name.to_owned()),
            "first" | "answer" => {
                pointer::check(name)?;
                if kind == "first" {
                    Self::First(name.to_owned())
                } else {
                    Self::Answer(name.to_owned())
                }
            }
            _ => {
                return Err(
                    "a key is path[:NAME], query[:NAME], header:NAME, cookie:NAME, first:/POINTER, answer:/POINTER \
                     or browser"
                        .into(),
                );
            }
        };
        if name.is_empty() {
            return Err(match kind {
                "first" | "answer" => format!("{kind}: is followed by a JSON pointer, such as {kind}:/session_id"),
                _ => format!("{kind}: is followed by a name"),
            }
            .into());
        }
        Ok(source)
    }

    /// Tells whether every request has a value from here, so that no later alternative counts.
    pub(super) fn is_always_there(&self) -> bool {
        matches!(self, Self::Path | Self::PathCapture(_) | Self::Query)
    }
}

/// Tells whether a text is a token (RFC 9110 section 5.6.2), as names of headers and cookies are.
fn is_token(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, source) in self.alternatives.iter().enumerate() {
            let bar = if index == 0 { "" } else { "|" };
            write!(f, "{bar}{source}")?;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_read_back_as_they_are_shown() {
        for (text, shown) in [
            ("browser", "browser"),
            ("path", "path"),
            ("path:id", "path:id"),
            ("query", "query"),
            ("query:a:b", "query:a:b"),
            ("header:X-Chat", "header:x-chat"),
            ("cookie:Sid", "cookie:Sid"),
            ("first:/a/b~1c", "first:/a/b~1c"),
            ("answer:/id | query:id|browser", "answer:/id|query:id|browser"),
        ] {
            let part = KeyPart::parse(text).unwrap();
            assert_eq!(part.to_string(), shown);
            assert_eq!(KeyPart::parse(shown).unwrap(), part);
        }
        let part = KeyPart::parse("cookie:sid|browser").unwrap();
        assert_eq!(part.alternatives, [KeySource::Cookie("sid".into()), KeySource::Browser]);
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for (text, reason) in [
            ("", "a key is"),
            ("path:id|", "a key is"),
            ("body", "a key is"),
            ("Path", "a key is"),
            ("browser:x", "a key is"),
            ("path:", "path: is followed by a name"),
            ("query:", "query: is followed by a name"),
            ("header", "header: is followed by a name"),
            ("cookie:", "cookie: is followed by a name"),
            ("header:a b", "not the name of a header"),
            ("cookie:a=b", "not the name of a cookie"),
            ("first", "first: is followed by a JSON pointer"),
            ("answer:", "answer: is followed by a JSON pointer"),
            ("first:session_id", "a JSON pointer begins with /"),
            ("answer:/a~2", "~ is written ~0"),
        ] {
            let error = KeyPart::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
