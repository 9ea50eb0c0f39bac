//! JSON pointers against the whole document that serde_json makes of the text.
//!
//! Input: a pointer, a line feed, and the text.

use serde_json::Value;
use sessmux::profile::{Profile, pointer};

pub fn check(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (Ok(at), text) = (std::str::from_utf8(&data[..end]), &data[end + 1..]) else {
        return;
    };
    if pointer::check(at).is_err() {
        return;
    }
    let found = pointer::find(text, at);
    let there = pointer::is_there(text, at);
    let span = pointer::span(text, at);
    assert!(found.is_none() || there);
    // what was found in the beginning stays found, whatever comes behind it
    let half = &text[..text.len() / 2];
    if let some @ Some(Value::String(_) | Value::Bool(_)) = pointer::find(half, at) {
        assert_eq!(found, some);
    }
    if let Some(span) = span.clone() {
        // a number that is too large, or half a surrogate pair, stands in its place and has no value
        let value: Option<Value> = serde_json::from_slice(&text[span.clone()]).ok();
        assert!(matches!(text[span.start], b'"' | b'-' | b'0'..=b'9'));
        assert!(
            value
                .as_ref()
                .is_none_or(|value| value.is_string() || value.is_number())
        );
        assert_eq!(found, value);
    }
    if !Profile::is_unambiguous(text) {
        return;
    }
    let document: Value = serde_json::from_slice(text).expect("what is not ambiguous is JSON");
    let value = document.pointer(at);
    let scalar = value.filter(|value| value.is_string() || value.is_number() || value.is_boolean());
    assert_eq!(there, value.is_some());
    assert_eq!(found.as_ref(), scalar);
    assert_eq!(
        span.is_some(),
        value.is_some_and(|value| value.is_string() || value.is_number())
    );
    let key = match value {
        Some(Value::String(text)) => Some(text.clone()),
        // with all of its digits
        Some(Value::Number(number)) if number.is_f64() => {
            span.map(|span| String::from_utf8_lossy(&text[span]).into_owned())
        }
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    assert_eq!(pointer::find_key(text, at), key);
    twice(text, &document);
}

/// With a member that is there already the text can be read in two ways, and that shows.
fn twice(text: &[u8], document: &Value) {
    let Some((name, _)) = document.as_object().and_then(|members| members.iter().next_back()) else {
        return;
    };
    let brace = text.iter().position(|byte| *byte == b'{').expect("an object");
    let (before, after) = text.split_at(brace + 1);
    let member = format!("{}:0,", Value::from(name.as_str()));
    let twice = [before, member.as_bytes(), after].concat();
    assert!(serde_json::from_slice::<Value>(&twice).is_ok());
    assert!(!Profile::is_unambiguous(&twice));
}
