//! Signed hellos: what its signer signed proves the signer, and nothing else does.
//!
//! Input: whose key, how far from now the hello is verified (a byte each, of minutes), a byte to change and how, a line
//! feed, and what is signed.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::Value;
use sessmux::profile::{Profile, Signed, Unproved};

static SIGNED: LazyLock<Signed> = LazyLock::new(|| {
    let profile = Profile::parse(
        r#"
        [[rule]]
        from = "client"
        when = { "/type" = "CONNECT" }
        role = "hello"
        [rule.signed]
        key = "/from"
        signature = "/signature"
        over = "/payload"
        timestamp = "/payload/timestamp"
        recipient = "/payload/to"
        same = ["/payload/extensions"]
        window = 300
        "#,
    );
    profile
        .expect("a profile")
        .rules
        .remove(0)
        .signed
        .expect("its signed hello")
});

pub fn check(data: &[u8]) {
    let Some(&[key, minutes, place, change]) = data.first_chunk() else {
        return;
    };
    let payload = &data[4..];
    let payload = payload.strip_prefix(b"\n").unwrap_or(payload);
    // whatever it is as a whole, it is no hello of anybody's
    let anything = SIGNED.verify(payload, Duration::ZERO);
    assert!(
        anything.is_err(),
        "nobody signed that: {anything:?}",
        anything = anything.err()
    );

    let Ok(text) = std::str::from_utf8(payload) else { return };
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return;
    };
    let key = SigningKey::from_bytes(&[key; 32]);
    let mut canonical = String::new();
    write(&value, key.as_bytes()[0] & 1 == 0, &mut canonical);
    let (from, signature) = (
        hex(&key.verifying_key().to_bytes()),
        hex(&key.sign(canonical.as_bytes()).to_bytes()),
    );
    let hello = format!(r#"{{"type":"CONNECT","payload":{text},"from":"0x{from}","signature":"{signature}"}}"#);

    let time = value.pointer("/timestamp").and_then(Value::as_f64);
    let now = time.map_or(0.0, |time| time + (f64::from(minutes) - 128.0) * 60.0);
    let now = Duration::try_from_secs_f64(now).unwrap_or_default();
    let away = time.map(|time| time - now.as_secs_f64());
    let proved = SIGNED.verify(hello.as_bytes(), now);
    match &proved {
        Ok(proof) => {
            assert!(away.is_some_and(|away| away.abs() <= 300.0));
            assert!(value.pointer("/to").is_some() && Profile::is_unambiguous(payload));
            assert!(proof.fresh <= Duration::from_secs(600));
        }
        Err(Unproved::Forged) => panic!("it was signed: {hello}"),
        Err(Unproved::Ambiguous) => assert!(!Profile::is_unambiguous(payload)),
        Err(Unproved::Stale(_)) => assert!(away.is_some_and(|away| away.abs() > 299.0)),
        Err(Unproved::Lacks { .. }) => assert!(time.is_none() || value.pointer("/to").is_none()),
    }

    // with another byte it says the same, or proves nothing
    let mut changed = hello.into_bytes();
    let place = usize::from(place) * changed.len() / 256;
    changed[place] ^= change;
    if let Ok(proof) = SIGNED.verify(&changed, now) {
        let changed: Value = serde_json::from_slice(&changed).expect("what proves is JSON");
        assert_eq!(changed["payload"], value);
        assert!(proved.is_ok_and(|proved| proved.signer == proof.signer));
    }
}

/// The canonical form: names sorted, no spaces; in ASCII alone, or in UTF-8.
fn write(value: &Value, ascii: bool, out: &mut String) {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            let members = sorted.into_iter().map(|(name, value)| (Some(name), value));
            list('{', '}', members, ascii, out);
        }
        Value::Array(items) => list('[', ']', items.iter().map(|item| (None, item)), ascii, out),
        Value::String(text) => string(text, ascii, out),
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn list<'a>(
    open: char,
    close: char,
    items: impl Iterator<Item = (Option<&'a String>, &'a Value)>,
    ascii: bool,
    out: &mut String,
) {
    out.push(open);
    for (index, (name, value)) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        if let Some(name) = name {
            string(name, ascii, out);
            out.push(':');
        }
        write(value, ascii, out);
    }
    out.push(close);
}

fn string(text: &str, ascii: bool, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            letter if letter < ' ' || (ascii && letter > '~') => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
