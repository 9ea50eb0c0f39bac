//! What is wrong with a configuration.

use std::borrow::Cow;
use std::fmt;

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
        match &self.value {
            Some(value) => write!(f, "{} = {:?}: {}", self.field, masked(value), self.reason),
            None => write!(f, "{}: {}", self.field, self.reason),
        }
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
