//! One scalar out of a JSON text by its JSON pointer (RFC 6901), or where it stands, without building the document.
//!
//! The text is read no further than to the value, so a message is not parsed to its end because its first
//! member is asked for; what follows the value is not looked at, well-formed or not. Of members with the same
//! name the first counts. A pointer is plain text that [`check`] has let through.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// Checks that a text is a JSON pointer.
///
/// # Errors
///
/// The reason why it is none.
pub fn check(pointer: &str) -> Result<(), &'static str> {
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return Err("a JSON pointer begins with /");
    }
    let mut tildes = pointer.split('~').skip(1);
    if tildes.any(|after| !after.starts_with(['0', '1'])) {
        return Err("in a JSON pointer, ~ is written ~0 (and / in a name ~1)");
    }
    Ok(())
}

/// The string, number or boolean at a pointer; `None` where there is nothing, null, an object or an array, or
/// where the text up to there is not JSON.
#[must_use]
pub fn find(payload: &[u8], pointer: &str) -> Option<Value> {
    look(payload, pointer).scalar
}

/// The value of a key at a pointer: a string as it is, a number as text; whatever else is there gives none.
#[must_use]
pub fn find_key(payload: &[u8], pointer: &str) -> Option<String> {
    match find(payload, pointer)? {
        Value::String(text) => Some(text),
        // as it stands there: of two long ids that differ in the last digits one number would be made
        Value::Number(number) if number.is_f64() => span(payload, pointer)
            .and_then(|digits| std::str::from_utf8(&payload[digits]).ok())
            .map(str::to_owned),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whether there is anything at a pointer, null, objects and arrays included.
#[must_use]
pub fn is_there(payload: &[u8], pointer: &str) -> bool {
    look(payload, pointer).there
}

/// Where in the text the string or number at a pointer stands, quotes included; nothing else has a place.
#[must_use]
pub fn span(payload: &[u8], pointer: &str) -> Option<Range<usize>> {
    let mut found = Found {
        place_in: Some(payload),
        ..Found::default()
    };
    run(payload, pointer, &mut found);
    found
        .place
        .filter(|place| matches!(payload[place.start], b'"' | b'-' | b'0'..=b'9'))
}

fn look(payload: &[u8], pointer: &str) -> Found<'static> {
    let mut found = Found::default();
    run(payload, pointer, &mut found);
    found
}

fn run(payload: &[u8], pointer: &str, found: &mut Found<'_>) {
    let mut text = serde_json::Deserializer::from_slice(payload);
    let look = Look { rest: pointer, found };
    // An error is also how the search stops early: what was found is in `found`.
    let _ = look.deserialize(&mut text);
}

/// What a search came to.
#[derive(Default)]
struct Found<'p> {
    /// There is something.
    there: bool,
    /// It is a scalar.
    scalar: Option<Value>,
    /// Asked for is not the value, but its place in this text.
    place_in: Option<&'p [u8]>,
    /// The place.
    place: Option<Range<usize>>,
}

/// A search that stands at some value of the text.
struct Look<'a, 'p> {
    /// What of the pointer is left to follow from here.
    rest: &'a str,
    /// Where the value goes.
    found: &'a mut Found<'p>,
}

impl Look<'_, '_> {
    fn take<E: Error>(mut self, value: Value) -> Result<(), E> {
        self.reach();
        if self.rest.is_empty() {
            self.found.scalar = Some(value);
        }
        Err(E::custom("search ended"))
    }

    fn reach(&mut self) {
        self.found.there |= self.rest.is_empty();
    }
}

impl<'de> DeserializeSeed<'de> for Look<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if let Some(text) = self.found.place_in.filter(|_| self.rest.is_empty()) {
            let raw = <&'de RawValue>::deserialize(deserializer)?.get();
            // it is borrowed from the text, so their addresses tell where it stands
            let start = raw.as_ptr().addr() - text.as_ptr().addr();
            self.found.place = Some(start..start + raw.len());
            return Err(D::Error::custom("search ended"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.take(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.take(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.take(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.take(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.take(value.into())
    }

    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        self.reach();
        Err(E::custom("search ended"))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.reach();
        let Some((token, rest)) = step(self.rest) else {
            return Err(A::Error::custom("an object has no value"));
        };
        while let Some(here) = map.next_key_seed(Named(token))? {
            if here {
                map.next_value_seed(Look {
                    rest,
                    found: self.found,
                })?;
                // The first of several members with one name counts, whatever is in it.
                return Err(A::Error::custom("search ended"));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.reach();
        let Some((index, rest)) = step(self.rest).and_then(|(token, rest)| Some((index(token)?, rest))) else {
            return Err(A::Error::custom("an array has no such value"));
        };
        for _ in 0..index {
            if items.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        items.next_element_seed(Look {
            rest,
            found: self.found,
        })?;
        Err(A::Error::custom("search ended"))
    }
}

/// Splits a pointer's next reference token off, still escaped; `None` at the pointer's end.
fn step(rest: &str) -> Option<(&str, &str)> {
    let rest = rest.strip_prefix('/')?;
    Some(rest.split_at(rest.find('/').unwrap_or(rest.len())))
}

/// Reads an array index (RFC 6901 section 4): no sign, no leading zero.
fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with(['0', '+']);
    if plain { token.parse().ok() } else { None }
}

/// Tells whether a member has the name that an escaped reference token stands for.
struct Named<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Named<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(if self.0.contains('~') {
            self.0.replace("~1", "/").replace("~0", "~") == name
        } else {
            self.0 == name
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn finds(text: &str, pointer: &str, value: Value) {
        check(pointer).unwrap();
        assert_eq!(find(text.as_bytes(), pointer), Some(value), "{text} at {pointer:?}");
    }

    #[track_caller]
    fn finds_none(text: impl AsRef<[u8]>, pointer: &str) {
        check(pointer).unwrap();
        assert_eq!(find(text.as_ref(), pointer), None, "at {pointer:?}");
    }

    #[test]
    fn scalars_of_every_kind_are_found() {
        let text = r#" {"s":"a\u00e9\n","u":18446744073709551615,"i":-7,"f":1.5,"t":true,"deep":{"er":{"x":"y"}}} "#;
        finds(text, "/s", json!("a\u{e9}\n"));
        finds(text, "/u", json!(u64::MAX));
        finds(text, "/i", json!(-7));
        finds(text, "/f", json!(1.5));
        finds(text, "/t", json!(true));
        finds(text, "/deep/er/x", json!("y"));
    }

    #[test]
    fn the_whole_text_is_at_the_empty_pointer() {
        finds("\"ping\"", "", json!("ping"));
        finds_none("{}", "");
        finds_none("[1]", "");
    }

    #[test]
    fn what_is_no_scalar_is_not_there() {
        let text = r#"{"null":null,"object":{"a":1},"array":[1],"scalar":1}"#;
        for pointer in ["/null", "/object", "/array", "/scalar/deeper", "/missing", "/object/b"] {
            finds_none(text, pointer);
        }
    }

    #[test]
    fn names_are_unescaped_once_and_in_the_right_order() {
        let text = r#"{"a/b":1,"m~n":2,"~1":3,"":4,"k\u0065y":5,"x~0y":6}"#;
        finds(text, "/a~1b", json!(1));
        finds(text, "/m~0n", json!(2));
        finds(text, "/~01", json!(3));
        finds(text, "/", json!(4));
        finds(text, "/key", json!(5));
        finds(text, "/x~00y", json!(6));
    }

    #[test]
    fn arrays_are_counted_from_nought() {
        let text = r#"["a",{"b":["c","d"]},[],"e"]"#;
        finds(text, "/0", json!("a"));
        finds(text, "/1/b/1", json!("d"));
        finds(text, "/3", json!("e"));
        for pointer in [
            "/4",
            "/-",
            "/01",
            "/+1",
            "/ 1",
            "/2/0",
            "/a",
            "/99999999999999999999999",
        ] {
            finds_none(text, pointer);
        }
        finds(r#"{"0":"name"}"#, "/0", json!("name"));
    }

    #[test]
    fn the_first_of_equal_names_counts() {
        finds(r#"{"a":1,"a":2}"#, "/a", json!(1));
        finds_none(r#"{"a":{"x":1},"a":2}"#, "/a");
        finds_none(r#"{"a":{},"a":{"b":1}}"#, "/a/b");
        finds_none(r#"{"a":[],"a":{"b":1}}"#, "/a/b");
        finds_none(r#"{"a":1,"a":{"b":1}}"#, "/a/b");
    }

    #[test]
    fn what_follows_the_value_is_not_looked_at() {
        finds(r#"{"type":"init"} trailing"#, "/type", json!("init"));
        finds(r#"{"type":"init", broken"#, "/type", json!("init"));
    }

    #[test]
    fn what_is_not_json_up_to_the_value_has_none() {
        for text in [
            "",
            " ",
            "hello",
            "{",
            r#"{"type""#,
            r#"{"type":"in"#,
            r#"{broken,"type":"init"}"#,
            "'x'",
        ] {
            finds_none(text, "/type");
        }
        finds_none(b"{\"type\":\"\xff\"}", "/type");
        finds_none("1.", "");
    }

    #[test]
    fn depth_does_not_overflow_the_stack() {
        let deep = format!("{{\"a\":{}{},\"b\":1}}", "[".repeat(100_000), "]".repeat(100_000));
        finds(&deep, "/b", json!(1));
        finds_none("[".repeat(100_000), &"/0".repeat(99_999));
    }

    #[test]
    fn keys_are_strings_and_numbers() {
        let text = br#"{"s":"a","n":17,"b":true,"e":""}"#;
        assert_eq!(find_key(text, "/s").as_deref(), Some("a"));
        assert_eq!(find_key(text, "/n").as_deref(), Some("17"));
        assert_eq!(find_key(text, "/e").as_deref(), Some(""));
        assert_eq!(find_key(text, "/b"), None);
    }

    #[test]
    fn places_are_those_of_the_values_as_they_are_written() {
        for (text, pointer, expected) in [
            (
                r#" {"a": [1, "x\u0022y" ], "b" : -1.50e3 }"#,
                "/a/1",
                Some(r#""x\u0022y""#),
            ),
            (r#" {"a": [1, "x" ], "b" : -1.50e3 }"#, "/b", Some("-1.50e3")),
            (r#"{"a":"é","id":7,"id":8}"#, "/id", Some("7")),
            ("12", "", Some("12")),
            (r#"{"id":null}"#, "/id", None),
            (r#"{"id":{}}"#, "/id", None),
            (r#"{"id":true}"#, "/id", None),
            (r#"{"id":7"#, "/no", None),
            (r#"{"id":"#, "/id", None),
        ] {
            let place = span(text.as_bytes(), pointer);
            assert_eq!(place.map(|place| &text[place]), expected, "{text} at {pointer}");
        }
    }

    #[test]
    fn malformed_pointers_are_refused() {
        for pointer in ["a", "a/b", "/~", "/a~2", "/a~/b"] {
            assert!(check(pointer).is_err(), "{pointer}");
        }
        for pointer in ["", "/", "//", "/a~0~1", "/\u{e9}"] {
            assert!(check(pointer).is_ok(), "{pointer}");
        }
    }

    #[test]
    fn long_ids_that_differ_are_different_keys() {
        let key = |text: &str| find_key(text.as_bytes(), "/id").unwrap();
        assert_eq!(key(r#"{"id": 123456789012345678901}"#), "123456789012345678901");
        assert_ne!(
            key(r#"{"id":123456789012345678901}"#),
            key(r#"{"id":123456789012345678902}"#)
        );
        assert_eq!(key(r#"{"id":18446744073709551615}"#), "18446744073709551615");
        assert_eq!(key(r#"{"id":-7}"#), "-7");
    }
}
