//! Answers that sessmux makes itself: text in which `${/pointer}` stands for a value of the message it answers.

use super::pointer;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Pointer(String),
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    ///
    /// A `${` without its `}`, or what is between them is no JSON pointer.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (at, later) = after.split_once('}').ok_or("${ has no }")?;
            pointer::check(at).map_err(|reason| format!("{at:?}: {reason}"))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Pointer(at.to_owned()));
            rest = later;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self { pieces })
    }

    /// The answer to `message`: values go in as JSON, what is not there, or no scalar, as `null`.
    #[must_use]
    pub fn fill(&self, message: &[u8]) -> String {
        let value = |at: &str| pointer::find(message, at).map_or_else(|| "null".to_owned(), |value| value.to_string());
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Pointer(at) => value(at),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_in_as_json() {
        let template = Template::parse(r#"{"id":${/id},"to":${/from/name},"none":${/x}}"#).unwrap();
        let message = br#"{"id":7,"from":{"name":"a\"b"}}"#;
        assert_eq!(template.fill(message), r#"{"id":7,"to":"a\"b","none":null}"#);
        assert_eq!(Template::parse("pong").unwrap().fill(b"ping"), "pong");
        assert_eq!(Template::parse("").unwrap().fill(b"ping"), "");
        assert_eq!(Template::parse("$${/id}$").unwrap().fill(message), "$7$");
    }

    #[test]
    fn malformed_ones_are_refused() {
        assert_eq!(Template::parse("${/id").unwrap_err(), "${ has no }");
        assert!(Template::parse("${id}").unwrap_err().contains("begins with /"));
    }
}
