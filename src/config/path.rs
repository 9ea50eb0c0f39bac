//! Path patterns of routes.

use std::fmt;

use percent_encoding::percent_decode_str;

use super::Invalid;

/// A path pattern: literal segments, `{name}` captures of one segment, a trailing `{*rest}` for all the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    /// As written; it names the route in logs and keys.
    pub text: String,
    /// Its segments, in order.
    pub segments: Vec<Segment>,
}

/// One segment of a [`PathPattern`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Matches itself, decoded.
    Literal(String),
    /// Matches one non-empty segment.
    Capture(String),
    /// Matches whatever is left after the slash before it, nothing included; last only.
    Rest(String),
}

/// What a pattern's captures stand for in one path, decoded, in the pattern's order.
pub type Captures = Vec<(String, String)>;

impl PathPattern {
    /// Reads a pattern, such as `/ws/{id}` or `/chat/{*rest}`.
    ///
    /// # Errors
    ///
    /// A path that does not begin with `/`, has a query, or has braces that are not one whole segment.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let Some(path) = text.strip_prefix('/') else {
            return Err("a path begins with /".into());
        };
        if text.contains(['?', '#']) {
            return Err("a path has no query".into());
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("a path has no white space".into());
        }
        let mut segments: Vec<Segment> = Vec::new();
        for text in path.split('/') {
            if let Some(Segment::Rest(name)) = segments.last() {
                return Err(format!("nothing follows {{*{name}}}").into());
            }
            let segment = Segment::parse(text)?;
            if segment.name().is_some() && segments.iter().any(|other| other.name() == segment.name()) {
                return Err(format!("{text} is there twice").into());
            }
            segments.push(segment);
        }
        Ok(Self {
            text: text.to_owned(),
            segments,
        })
    }

    /// The pattern of every path.
    pub(super) fn every_path() -> Self {
        Self {
            text: "/{*rest}".into(),
            segments: vec![Segment::Rest("rest".into())],
        }
    }

    /// Matches the path of a request, without its query; `None` where it does not fit or does not decode to UTF-8.
    ///
    /// Segments are split before they are decoded, so an encoded slash divides nothing.
    #[must_use]
    pub fn matches(&self, path: &str) -> Option<Captures> {
        let mut captures = Captures::new();
        let mut left = path.strip_prefix('/');
        for segment in &self.segments {
            let text = left?;
            let (here, after) = match (segment, text.split_once('/')) {
                (Segment::Rest(_), _) | (_, None) => (text, None),
                (_, Some((here, after))) => (here, Some(after)),
            };
            let value = percent_decode_str(here).decode_utf8().ok()?;
            match segment {
                Segment::Literal(literal) if *literal == value => {}
                Segment::Literal(_) => return None,
                Segment::Capture(_) if value.is_empty() => return None,
                Segment::Capture(name) | Segment::Rest(name) => captures.push((name.clone(), value.into_owned())),
            }
            left = after;
        }
        left.is_none().then_some(captures)
    }

    /// Tells whether the pattern has a capture of this name.
    pub(super) fn captures(&self, name: &str) -> bool {
        self.segments.iter().any(|segment| segment.name() == Some(name))
    }

    /// Tells whether every path that `other` matches is matched by this pattern too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let (mine, others) = (&self.segments, &other.segments);
        for (index, segment) in mine.iter().enumerate() {
            match (segment, others.get(index)) {
                (Segment::Rest(_), Some(_)) => return true,
                (Segment::Capture(_), Some(Segment::Capture(_))) => {}
                (Segment::Capture(_), Some(Segment::Literal(literal))) if !literal.is_empty() => {}
                (Segment::Literal(one), Some(Segment::Literal(other))) if one == other => {}
                _ => return false,
            }
        }
        mine.len() == others.len()
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let Some(inner) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
            if text.contains(['{', '}']) {
                return Err(format!("{text}: a capture is one whole segment, {{name}} or {{*name}}").into());
            }
            let literal = percent_decode_str(text).decode_utf8();
            let literal = literal.map_err(|_| "percent-encoding that is not UTF-8")?;
            return Ok(Self::Literal(literal.into_owned()));
        };
        let (name, is_rest) = inner.strip_prefix('*').map_or((inner, false), |name| (name, true));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(format!("{text}: the name of a capture is letters, digits, _ and -").into());
        }
        let name = name.to_owned();
        Ok(if is_rest { Self::Rest(name) } else { Self::Capture(name) })
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::Capture(name) | Self::Rest(name) => Some(name),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        let pattern = PathPattern::parse(text).unwrap();
        assert_eq!(pattern.to_string(), text);
        pattern
    }

    #[track_caller]
    fn matches(text: &str, path: &str, values: &[&str]) {
        let captures = pattern(text).matches(path).expect(path);
        assert_eq!(captures.iter().map(|(_, value)| value).collect::<Vec<_>>(), values);
    }

    #[track_caller]
    fn does_not_match(text: &str, path: &str) {
        assert_eq!(pattern(text).matches(path), None, "{text} on {path}");
    }

    #[test]
    fn literals_match_themselves_however_they_are_encoded() {
        matches("/", "/", &[]);
        matches("/ws", "/ws", &[]);
        matches("/ws", "/%77s", &[]);
        matches("/caf%C3%A9", "/caf\u{e9}", &[]);
        matches("/ws/", "/ws/", &[]);
        for path in ["", "*", "ws", "/", "/ws/", "/ws/x", "/Ws", "//ws", "/wss"] {
            does_not_match("/ws", path);
        }
        does_not_match("/", "//");
    }

    #[test]
    fn captures_take_one_segment_decoded() {
        matches("/ws/{id}", "/ws/7", &["7"]);
        matches("/ws/{id}", "/ws/a%2Fb%20c+d", &["a/b c+d"]);
        matches("/{room}/x/{id}", "/r/x/%C3%A9", &["r", "\u{e9}"]);
        assert_eq!(pattern("/ws/{id}").matches("/ws/7").unwrap()[0].0, "id");
        for path in ["/ws", "/ws/", "/ws/7/", "/ws/7/8", "/ws/%FF"] {
            does_not_match("/ws/{id}", path);
        }
    }

    #[test]
    fn the_rest_is_whatever_follows_its_slash() {
        matches("/{*rest}", "/", &[""]);
        matches("/{*rest}", "/a/b%20c/", &["a/b c/"]);
        matches("/ws/{id}/{*rest}", "/ws/7/", &["7", ""]);
        does_not_match("/ws/{*rest}", "/ws");
        does_not_match("/{*rest}", "*");
        does_not_match("/{*rest}", "/%C3");
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "",
            "ws",
            "/ws?x=1",
            "/ws#x",
            "/a b",
            "/{}",
            "/{*}",
            "/x{id}",
            "/{id}x",
            "/{id",
            "/{a.b}",
            "/{*rest}/x",
            "/{*rest}/",
            "/{id}/{id}",
            "/{id}/{*id}",
            "/%FF",
        ] {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_covers_those_that_match_no_other_paths() {
        let covers = |one: &str, other: &str| pattern(one).covers(&pattern(other));
        assert!(covers("/ws", "/ws"));
        assert!(covers("/ws/{a}", "/ws/{b}"));
        assert!(covers("/{a}", "/ws"));
        assert!(covers("/{*rest}", "/"));
        assert!(covers("/{*rest}", "/ws/{*rest}"));
        assert!(covers("/ws/{*rest}", "/ws/{a}/{b}"));
        assert!(!covers("/ws", "/{a}"));
        assert!(!covers("/{a}", "/"));
        assert!(!covers("/{a}", "/{*rest}"));
        assert!(!covers("/ws/{*rest}", "/ws"));
        assert!(!covers("/ws", "/ws/"));
        assert!(!covers("/ws/{a}", "/ws"));
    }
}
