//! Query strings.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::percent_decode;

/// The parameters of a query, decoded as forms are: `+` is a space.
pub fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (decode(name), decode(value))
        })
}

fn decode(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode(spaced.as_bytes()).collect());
    }
    percent_decode(text.as_bytes()).into()
}

/// The one parameter whose value is another in one query than in the other; `None` where they differ in more, in which
/// parameters there are, or not at all. It names a rotating token in the log: a parameter that comes or goes is none, and its
/// name alone may be a secret (`?TOKEN`).
#[must_use]
pub fn changes_in_one_parameter(one: &str, other: &str) -> Option<String> {
    let (one, other) = (by_name(one), by_name(other));
    if !one.keys().eq(other.keys()) {
        return None;
    }
    let mut changed = one.iter().filter(|(name, values)| other.get(*name) != Some(*values));
    let (name, _) = changed.next()?;
    changed
        .next()
        .is_none()
        .then(|| String::from_utf8_lossy(name).into_owned())
}

fn by_name(query: &str) -> BTreeMap<Cow<'_, [u8]>, Vec<Cow<'_, [u8]>>> {
    let mut named: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (name, value) in parameters(query) {
        named.entry(name).or_default().push(value);
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_parameter_that_changes_is_named() {
        let changes = |one, other| changes_in_one_parameter(one, other);
        assert_eq!(changes("a=1&token=x", "a=1&token=y").as_deref(), Some("token"));
        assert_eq!(changes("token=y&a=1", "a=1&t%6Fken=x").as_deref(), Some("token"));
        assert_eq!(changes("a=1&token=", "a=1&token=y").as_deref(), Some("token"));
        assert_eq!(changes("a=1&a=2", "a=1&a=3").as_deref(), Some("a"));
        assert_eq!(changes("a=1&b=2", "b=2&a=1"), None);
        assert_eq!(changes("a=1", "a=1"), None);
        assert_eq!(changes("a=1&b=1", "a=2&b=2"), None);
        assert_eq!(changes("a=1", "b=1"), None);
        assert_eq!(changes("", ""), None);
        // what comes or goes may be a secret whole, or up to the padding of its base64
        for (one, other) in [
            ("", "secret"),
            ("a=1&secret==", "a=1"),
            ("secret", "secret2"),
            ("a=1", "a=1&b=2"),
        ] {
            assert_eq!(changes(one, other), None);
        }
    }
}
