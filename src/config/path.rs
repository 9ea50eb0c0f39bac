//! Path patterns of routes.

use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

/// What a pattern captured, by name, decoded.
pub type Captures = Vec<(String, String)>;

/// A path pattern: literal segments, `{name}` captures of one segment, a trailing `{*rest}` for all the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    /// As written; it names the route in logs and keys.
    pub text: Arc<str>,
    /// Its segments, in order.
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// Matches itself, decoded.
    Literal(String),
    /// Matches one non-empty segment.
    Capture(String),
    /// Matches whatever is left, nothing included; last only.
    Rest(String),
}

impl PathPattern {
    /// The pattern of every path, `/{*rest}`.
    #[must_use]
    pub fn any() -> Self {
        Self {
            text: "/{*rest}".into(),
            segments: vec![Segment::Rest("rest".to_owned())],
        }
    }

    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix('/').ok_or("a path begins with /")?;
        if text.contains(|letter: char| letter.is_whitespace() || letter.is_control() || "?#".contains(letter)) {
            return Err("a path has no white space, query or fragment".into());
        }
        let mut segments: Vec<Segment> = Vec::new();
        for part in path.split('/') {
            if matches!(segments.last(), Some(Segment::Rest(_))) {
                return Err("{*NAME} stands at the end only".into());
            }
            let segment = Segment::parse(part)?;
            if let Some(name) = segment.name()
                && segments.iter().any(|earlier| earlier.name() == Some(name))
            {
                return Err(format!("{{{name}}} stands twice"));
            }
            segments.push(segment);
        }
        Ok(Self {
            text: text.into(),
            segments,
        })
    }

    /// What a request's path gives the captures; `None` where it does not match. Segments are compared and captured
    /// decoded; one that is not UTF-8 then matches nothing.
    #[must_use]
    pub fn matches(&self, path: &str) -> Option<Captures> {
        let mut rest = Some(path.strip_prefix('/')?);
        let mut captures = Captures::new();
        for segment in &self.segments {
            if let Segment::Rest(name) = segment {
                captures.push((name.clone(), decoded(rest.unwrap_or_default())?));
                return Some(captures);
            }
            let here = rest?;
            let (part, later) = here
                .split_once('/')
                .map_or((here, None), |(part, later)| (part, Some(later)));
            let part = decoded(part)?;
            match segment {
                Segment::Literal(literal) if *literal != part => return None,
                Segment::Capture(_) if part.is_empty() => return None,
                Segment::Capture(name) => captures.push((name.clone(), part)),
                Segment::Literal(_) | Segment::Rest(_) => {}
            }
            rest = later;
        }
        rest.is_none().then_some(captures)
    }

    /// Whether it captures `name`.
    #[must_use]
    pub fn captures(&self, name: &str) -> bool {
        self.segments.iter().any(|segment| segment.name() == Some(name))
    }

    /// Whether it matches every path that `other` matches.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let mut others = other.segments.iter();
        for segment in &self.segments {
            match (segment, others.next()) {
                (Segment::Rest(_), _) => return true,
                (Segment::Capture(_), Some(Segment::Capture(_))) => {}
                (Segment::Capture(_), Some(Segment::Literal(literal))) if !literal.is_empty() => {}
                (Segment::Literal(one), Some(Segment::Literal(other))) if one == other => {}
                _ => return false,
            }
        }
        others.next().is_none()
    }
}

impl Segment {
    fn parse(part: &str) -> Result<Self, String> {
        let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
            if part.contains(['{', '}']) {
                return Err("a capture fills a whole segment".into());
            }
            let literal = decoded(part).ok_or("is not UTF-8 when decoded")?;
            return Ok(Self::Literal(literal));
        };
        let (name, is_rest) = name.strip_prefix('*').map_or((name, false), |name| (name, true));
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(letter) {
            return Err(format!("{{{name}}} is not a name: letters, digits and _"));
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

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(pattern: &str, path: &str) -> Option<Vec<String>> {
        let captures = PathPattern::parse(pattern).unwrap().matches(path)?;
        Some(
            captures
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
        )
    }

    #[test]
    fn what_matches() {
        assert_eq!(captured("/ws/{id}", "/ws/a%20b").unwrap(), ["id=a b"]);
        assert_eq!(captured("/ws/{id}", "/ws/a%2Fb").unwrap(), ["id=a/b"]);
        assert_eq!(captured("/{a}/x/{b}", "/1/x/2").unwrap(), ["a=1", "b=2"]);
        assert_eq!(captured("/{*rest}", "/").unwrap(), ["rest="]);
        assert_eq!(captured("/{*rest}", "/a/b").unwrap(), ["rest=a/b"]);
        assert_eq!(captured("/ws/{*rest}", "/ws").unwrap(), ["rest="]);
        assert_eq!(captured("/ws", "/%77s").unwrap(), [""; 0]);
        assert_eq!(captured("/caf%C3%A9", "/caf%c3%a9").unwrap(), [""; 0]);
        for (pattern, path) in [
            ("/ws/{id}", "/ws/"),
            ("/ws/{id}", "/ws"),
            ("/ws/{id}", "/ws/a/b"),
            ("/ws", "/ws/"),
            ("/ws", "/WS"),
            ("/ws/{id}", "/ws/%ff"),
        ] {
            assert_eq!(captured(pattern, path), None, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for text in [
            "",
            "ws",
            "/{}",
            "/{a",
            "/a{b}",
            "/{a}/{a}",
            "/{*r}/x",
            "/{a b}",
            "/{a}/{*a}",
            "/a?b",
            "/a#b",
            "/a b",
            "/%ff",
        ] {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_covers_what() {
        let covers = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|text| PathPattern::parse(text).unwrap());
            one.covers(&other)
        };
        for (one, other) in [
            ("/ws", "/ws"),
            ("/caf%C3%A9", "/caf\u{e9}"),
            ("/ws/{a}", "/ws/{b}"),
            ("/{a}", "/ws"),
            ("/{*rest}", "/"),
            ("/{*rest}", "/ws/{*rest}"),
            ("/ws/{*rest}", "/ws/{a}/{b}"),
            ("/ws/{*rest}", "/ws"),
        ] {
            assert!(covers(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("/ws", "/{a}"),
            ("/{a}", "/"),
            ("/{a}", "/{*rest}"),
            ("/ws", "/ws/"),
            ("/ws/{a}", "/ws"),
            ("/ws", "/ws/{a}"),
        ] {
            assert!(!covers(one, other), "{one} {other}");
        }
    }
}
