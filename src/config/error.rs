//! What is wrong with a configuration.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// One thing that is wrong: `field = "value": reason`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The setting by the name under which it was given, or the place in the file.
    pub field: String,
    /// What was given, where it was understood as a value.
    pub value: Option<String>,
    /// Why it cannot be used.
    pub reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = match &self.value {
            Some(value) => format!("{} = {:?}: {}", self.field, masked(value), self.reason),
            None => format!("{}: {}", self.field, self.reason),
        };
        // one line, whatever was given and is named in the reason
        line.chars().try_for_each(|letter| match letter.is_control() {
            true => write!(f, "{}", letter.escape_debug()),
            false => f.write_char(letter),
        })
    }
}

/// A value as it may be shown: of a URL neither who is to log in nor its query, which is where tokens are.
pub(super) fn masked(value: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = value.split_once("://") else {
        return value.into();
    };
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?…"));
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("…@", rest));
    format!("{scheme}://{user}{rest}{query}").into()
}

/// Everything that was found wrong, one line each; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(f, "{line_end}{error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line() {
        let error = ConfigError {
            field: "key".into(),
            value: Some("header:a\nb".into()),
            reason: "a\nb\u{1b}\u{85} is not a header's name".into(),
        };
        assert_eq!(
            error.to_string(),
            r#"key = "header:a\nb": a\nb\u{1b}\u{85} is not a header's name"#
        );
    }

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        for (value, shown) in [
            ("http://a:8000", "http://a:8000"),
            ("http://user:password@a/b", "http://…@a/b"),
            ("http://a/b?token=c", "http://a/b?…"),
            ("http://a/b?c://d@e", "http://a/b?…"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(masked(value), shown);
        }
    }
}
