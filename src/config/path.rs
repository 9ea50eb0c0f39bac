//! Path patterns of routes.

use std::fmt;

use percent_encoding::percent_decode_str;

/// What a pattern captured, by name, decoded.
pub type Captures = Vec<(String, String)>;

/// A path pattern: literal segments, `{name}` captures of one segment, a trailing `{*rest}` for all the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    /// As written; it names the route in logs and keys.
    pub text: String,
    /// Its segments, in order.
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// Matches itself.
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
            text: "/{*rest}".to_owned(),
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
        let mut segments = Vec::new();
        for part in path.split('/') {
            if matches!(segments.last(), Some(Segment::Rest(_))) {
                return Err("{*NAME} stands at the end only".into());
            }
            let segment = match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(name) => match name.strip_prefix('*') {
                    Some(rest) => Segment::Rest(rest.to_owned()),
                    None => Segment::Capture(name.to_owned()),
                },
                None if part.contains(['{', '}']) => return Err("a capture fills a whole segment".into()),
                None => Segment::Literal(part.to_owned()),
            };
            if let Segment::Capture(name) | Segment::Rest(name) = &segment {
                let valid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                if !valid {
                    return Err(format!("{{{name}}} is not a name: letters, digits and _"));
                }
                if segments.iter().any(|earlier| earlier == &segment) {
                    return Err(format!("{{{name}}} stands twice"));
                }
            }
            segments.push(segment);
        }
        Ok(Self {
            text: text.to_owned(),
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
        self.segments.iter().any(|segment| match segment {
            Segment::Capture(captured) | Segment::Rest(captured) => captured == name,
            Segment::Literal(_) => false,
        })
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
        for text in ["", "ws", "/{}", "/{a", "/a{b}", "/{a}/{a}", "/{*r}/x", "/{a b}"] {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
    }
}
