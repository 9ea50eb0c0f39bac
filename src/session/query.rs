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

/// The one parameter in which two queries differ, by changing, coming or going; `None` where they differ in
/// more or not at all. It names a rotating token in the log.
#[must_use]
pub fn differs_in_one_parameter(one: &str, other: &str) -> Option<String> {
    let (one, other) = (by_name(one), by_name(other));
    let mut differing = one
        .iter()
        .filter(|(name, values)| other.get(*name) != Some(*values))
        .map(|(name, _)| name)
        .chain(other.keys().filter(|name| !one.contains_key(*name)));
    let name = differing.next()?;
    differing
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
    fn the_one_parameter_that_differs_is_named() {
        let differs = |one, other| differs_in_one_parameter(one, other);
        assert_eq!(differs("a=1&token=x", "a=1&token=y").as_deref(), Some("token"));
        assert_eq!(differs("token=y&a=1", "a=1&token=x").as_deref(), Some("token"));
        assert_eq!(differs("a=1", "a=1&t%6Fken=y").as_deref(), Some("token"));
        assert_eq!(differs("a=1&token=y", "a=1").as_deref(), Some("token"));
        assert_eq!(differs("a=1&a=2", "a=1&a=3").as_deref(), Some("a"));
        assert_eq!(differs("a=1&b=2", "b=2&a=1"), None);
        assert_eq!(differs("a=1", "a=1"), None);
        assert_eq!(differs("a=1&b=1", "a=2&b=2"), None);
        assert_eq!(differs("a=1", "b=1"), None);
        assert_eq!(differs("", ""), None);
    }
}
