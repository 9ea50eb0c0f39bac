//! A whole JSON text as a document, read so that no two readers understand it differently.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The document, if the text is JSON in which no object has a name twice: readers differ on which of the two counts. Halves of
/// characters are as [`whole_characters`] has them, and in no name: there readers differ, too.
pub(super) fn strict(text: &[u8]) -> Option<Value> {
    let text = whole_characters(text);
    let mut text = serde_json::Deserializer::from_slice(&text);
    let value = Strict.deserialize(&mut text).ok()?;
    text.end().is_ok().then_some(value)
}

/// The text with U+FFFD for each half of a character (RFC 8259 section 8.2), which a page writes where it has cut a text amid
/// one: `serde_json` takes no string that has them, and other readers do.
pub(super) fn whole_characters(text: &[u8]) -> Cow<'_, [u8]> {
    let mut whole = Cow::Borrowed(text);
    let mut at = 0;
    while let Some(next) = text[at..].iter().position(|&byte| byte == b'\\') {
        at += next;
        at += match (unit(&text[at..]), text.get(at + 6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                whole.to_mut()[at + 2..at + 6].copy_from_slice(b"fffd");
                6
            }
            // an escape of whatever kind; of what is none nothing is read anyway
            _ => 2,
        };
        if at >= text.len() {
            break;
        }
    }
    whole
}

/// The unit of UTF-16 that is escaped at the beginning of the text.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with every name once")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("no number"));
        number.map(Value::Number)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(Self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if name.contains(char::REPLACEMENT_CHARACTER) {
                return Err(A::Error::custom("a name is not whole"));
            }
            let value = members.next_value_seed(Self)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name is there twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_as_others_read_them_but_no_name_is_there_twice() {
        for text in [
            r#"{"a":[1,-2,1.5,"x",null,true],"b":{"a":{}}}"#,
            "[]",
            "\"é\"",
            "18446744073709551615",
        ] {
            assert_eq!(strict(text.as_bytes()), serde_json::from_str(text).ok(), "{text}");
        }
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"[{"x":{"a":1,"b":1,"a":1}}]"#,
            "{} {}",
            "{",
            "",
            r#"{"\ud83d":1}"#,
            r#"{"\ud83":1}"#,
            r#"{"a":"\ud83g"}"#,
            "{\"a\":\"\\",
            "{\"a\":\"\\ud83d",
        ] {
            assert_eq!(strict(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn half_a_character_is_a_replacement_and_a_whole_one_itself() {
        for (text, read) in [
            (r#""cut \ud83d""#, "cut \u{fffd}"),
            (r#""\uDE00\uD83D""#, "\u{fffd}\u{fffd}"),
            (r#""\ud83d\ud83d\ude00\n""#, "\u{fffd}\u{1f600}\n"),
            (r#""\\ud83d \\\ud83d""#, "\\ud83d \\\u{fffd}"),
            (r#""\u00e9""#, "é"),
        ] {
            assert_eq!(strict(text.as_bytes()), Some(read.into()), "{text}");
        }
        assert!(matches!(whole_characters(br#""\ud83d\ude00""#), Cow::Borrowed(_)));
    }
}
