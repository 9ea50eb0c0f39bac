//! Messages that sessmux makes itself: text in which `${/pointer}` stands for a value of the message that it is made for,
//! and `${name}` for what the group of that name in its rule's text finds there.

use regex::bytes::Regex;

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
    Group(String),
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    ///
    /// A `${` without its `}`, or what is between them is no JSON pointer, and no group of the rule's `regex`.
    pub fn parse(text: &str, regex: Option<&Regex>) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (at, later) = after.split_once('}').ok_or("${ has no }")?;
            let group = regex.is_some_and(|regex| regex.capture_names().flatten().any(|name| name == at));
            if !group {
                pointer::check(at).map_err(|reason| format!("{at:?}: {reason}, and the text has no such group"))?;
            }
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(if group {
                Piece::Group(at.to_owned())
            } else {
                Piece::Pointer(at.to_owned())
            });
            rest = later;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self { pieces })
    }

    /// What is made for `message`: values go in as JSON, what is not there, or no scalar, as `null`; groups as they are.
    #[must_use]
    pub fn fill(&self, message: &[u8], regex: Option<&Regex>) -> String {
        let groups = regex.and_then(|regex| regex.captures(message));
        let group = |name: &str| {
            let found = groups.as_ref().and_then(|groups| groups.name(name));
            found.map_or_else(String::new, |found| {
                String::from_utf8_lossy(found.as_bytes()).into_owned()
            })
        };
        let value = |at: &str| pointer::find(message, at).map_or_else(|| "null".to_owned(), |value| value.to_string());
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Pointer(at) => value(at),
                Piece::Group(name) => group(name),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Template, String> {
        Template::parse(text, None)
    }

    #[test]
    fn groups_of_the_text_go_in_as_they_are() {
        let regex = Regex::new(r#"^42\["say",(?<what>\{.*\}),(?<n>\d*)\]$"#).unwrap();
        let template = Template::parse(r#"42["said",${what}]${n}"#, Some(&regex)).unwrap();
        let message = br#"42["say",{"a":"b"},7]"#;
        assert_eq!(template.fill(message, Some(&regex)), r#"42["said",{"a":"b"}]7"#);
        assert_eq!(template.fill(b"43", Some(&regex)), r#"42["said",]"#);
        assert!(
            Template::parse("${other}", Some(&regex))
                .unwrap_err()
                .contains("no such group")
        );
    }

    #[test]
    fn values_go_in_as_json() {
        let template = parse(r#"{"id":${/id},"to":${/from/name},"none":${/x}}"#).unwrap();
        let message = br#"{"id":7,"from":{"name":"a\"b"}}"#;
        assert_eq!(template.fill(message, None), r#"{"id":7,"to":"a\"b","none":null}"#);
        assert_eq!(parse("pong").unwrap().fill(b"ping", None), "pong");
        assert_eq!(parse("").unwrap().fill(b"ping", None), "");
        assert_eq!(parse("$${/id}$").unwrap().fill(message, None), "$7$");
    }

    #[test]
    fn malformed_ones_are_refused() {
        assert_eq!(parse("${/id").unwrap_err(), "${ has no }");
        assert!(parse("${id}").unwrap_err().contains("begins with /"));
    }
}
