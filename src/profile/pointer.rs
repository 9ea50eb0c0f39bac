//! One scalar out of a JSON text, by pointer (RFC 6901), without building the rest.
//!
//! The text is read only as far as the value: what follows is not looked at, and need not be JSON.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// The string or number at `pointer`, as text; whatever else is there gives none. Of equal keys the first counts.
pub fn text(json: &[u8], pointer: &str) -> Option<String> {
    match scalar(json, pointer)? {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The string, number, boolean or null at `pointer`; none where there is an object, an array or nothing, or where
/// the text up to there is not JSON.
pub fn scalar(json: &[u8], pointer: &str) -> Option<Value> {
    let tokens: Vec<String> = pointer
        .split('/')
        .skip(1)
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect();
    let mut found = None;
    let mut json = serde_json::Deserializer::from_slice(json);
    // an error after the value was found is about what follows it
    let _ = Seek {
        tokens: &tokens,
        found: &mut found,
    }
    .deserialize(&mut json);
    found
}

/// Why a text is not a pointer that can be used.
pub fn check(pointer: &str) -> Result<(), &'static str> {
    if !pointer.starts_with('/') {
        return Err("a JSON pointer begins with /");
    }
    let bytes = pointer.as_bytes();
    let escapes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'~');
    if escapes
        .into_iter()
        .any(|(at, _)| !matches!(bytes.get(at + 1), Some(b'0' | b'1')))
    {
        return Err("~ in a JSON pointer is written ~0");
    }
    Ok(())
}

/// Looks for the rest of a pointer in the value that comes next.
struct Seek<'a> {
    tokens: &'a [String],
    found: &'a mut Option<Value>,
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl Seek<'_> {
    fn scalar<E>(self, value: impl FnOnce() -> Value) -> Result<(), E> {
        if self.tokens.is_empty() {
            *self.found = Some(value());
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(wanted) = map.next_key_seed(Is(self.tokens.first()))? {
            if wanted {
                // returns early on purpose: of equal keys the first counts, and the rest is of no interest
                return map.next_value_seed(Seek {
                    tokens: &self.tokens[1..],
                    found: self.found,
                });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        // RFC 6901 section 4: no leading zeros
        let index = self.tokens.first().and_then(|token| {
            let index: usize = token.parse().ok()?;
            (index.to_string() == *token).then_some(index)
        });
        let mut at = 0;
        loop {
            if index == Some(at) {
                let rest = Seek {
                    tokens: &self.tokens[1..],
                    found: self.found,
                };
                return seq.next_element_seed(rest).map(Option::unwrap_or_default);
            }
            if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
            at += 1;
        }
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.scalar(|| Value::String(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.scalar(|| Value::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.scalar(|| Value::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.scalar(|| Value::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.scalar(|| Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.scalar(|| Value::Null)
    }
}

/// Whether a key is the wanted one.
struct Is<'a>(Option<&'a String>);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(self.0.is_some_and(|wanted| wanted == key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_found() {
        let json =
            br#"{"a/b":{"m~n":[10,{"x":"deep"}]},"type":"init","type":"again","n":-2.5,"t":true,"z":null,"":"e"}"#;
        assert_eq!(text(json, "/a~1b/m~0n/1/x").as_deref(), Some("deep"));
        assert_eq!(text(json, "/a~1b/m~0n/0").as_deref(), Some("10"));
        assert_eq!(text(json, "/a~1b/m~0n/00"), None);
        assert_eq!(text(json, "/a~1b/m~0n/2"), None);
        assert_eq!(text(json, "/type").as_deref(), Some("init"), "of equal keys the first");
        assert_eq!(text(json, "/n").as_deref(), Some("-2.5"));
        assert_eq!(text(json, "/").as_deref(), Some("e"), "the empty key");
        assert_eq!(scalar(json, "/t"), Some(Value::Bool(true)));
        assert_eq!(scalar(json, "/z"), Some(Value::Null));
        for nothing in ["/t", "/z", "/a~1b", "/type/0", "/missing"] {
            assert_eq!(text(json, nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_follows_the_value_is_not_read() {
        assert_eq!(text(br#"{"type":"init","rest":[1,2"#, "/type").as_deref(), Some("init"));
        assert_eq!(text(br#"{"rest":[1,2,"type":"init"}"#, "/type"), None);
        assert_eq!(text(b"not json", "/type"), None);
        assert_eq!(text(b"", "/type"), None);
        assert_eq!(text(b"\xff\xfe", "/type"), None);
    }

    #[test]
    fn pointers_are_checked() {
        assert!(check("/a/0/~0~1").is_ok());
        assert!(check("a").is_err() && check("").is_err() && check("/a~2").is_err() && check("/~").is_err());
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::from),
            "[a-c]{0,3}".prop_map(Value::from),
            any::<bool>().prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-c~/]{0,2}", inner, 0..4).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        /// The reference is `serde_json`'s own pointer into the whole document.
        #[test]
        fn as_the_whole_document_says(document in json(), tokens in proptest::collection::vec("[a-c~/0-2]{0,2}", 1..4)) {
            let pointer: String = tokens.iter().map(|it| format!("/{}", it.replace('~', "~0").replace('/', "~1"))).collect();
            let expected = document.pointer(&pointer).filter(|value| !value.is_array() && !value.is_object()).cloned();
            prop_assert_eq!(scalar(document.to_string().as_bytes(), &pointer), expected);
        }
    }
}
