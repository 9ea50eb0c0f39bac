//! Signed hellos that prove who says them, and those that prove nothing.

use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::json;

use super::super::Profile;
use super::*;

const NOW: u64 = 1_700_000_000;

fn signed() -> Signed {
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
        canonical = ["sorted-ascii", "sorted", "top-sorted"]
        "#,
    );
    profile.unwrap().rules.remove(0).signed.unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A hello with this payload, as it is written in the message and as it was written to be signed.
fn hello(key: &SigningKey, payload: &str, canonical: &str) -> String {
    let signature = hex(&key.sign(canonical.as_bytes()).to_bytes());
    let from = hex(&key.verifying_key().to_bytes());
    format!(r#"{{"type":"CONNECT","payload":{payload},"from":"0x{from}","signature":"{signature}"}}"#)
}

fn verify(hello: &str) -> Result<Proof, Unproved> {
    signed().verify(hello.as_bytes(), Duration::from_secs(NOW))
}

fn at(timestamp: u64) -> String {
    format!(r#"{{"timestamp":{timestamp},"to":"0xa"}}"#)
}

#[test]
fn a_signature_over_one_of_the_forms_will_do() {
    let wire = r#"{"to":"é\u007f","timestamp":1700000000.25,"x":{"b":1,"a":"\n𝄞"}}"#;
    let forms = [
        r#"{"timestamp":1700000000.25,"to":"\u00e9\u007f","x":{"a":"\n\ud834\udd1e","b":1}}"#,
        "{\"timestamp\":1700000000.25,\"to\":\"é\u{7f}\",\"x\":{\"a\":\"\\n𝄞\",\"b\":1}}",
        "{\"timestamp\":1700000000.25,\"to\":\"é\u{7f}\",\"x\":{\"b\":1,\"a\":\"\\n𝄞\"}}",
    ];
    for form in forms {
        let proof = verify(&hello(&key(), wire, form)).unwrap();
        assert_eq!(proof.signer.key, key().verifying_key().to_bytes());
        assert_eq!(proof.fresh, Duration::from_millis(300_250));
    }
    assert_eq!(verify(&hello(&key(), wire, wire)).err(), Some(Unproved::Forged));
    let unsorted = Signed {
        canonical: vec![Canonical::Unsorted],
        ..signed()
    };
    let as_it_came = "{\"to\":\"é\u{7f}\",\"timestamp\":1700000000.25,\"x\":{\"b\":1,\"a\":\"\\n𝄞\"}}";
    let hello = hello(&key(), wire, as_it_came);
    assert!(unsorted.verify(hello.as_bytes(), Duration::from_secs(NOW)).is_ok());
}

#[test]
fn numbers_keep_their_digits() {
    for number in ["1700000000", "1700000000.123456", "1700000000.1", "1700000000.0"] {
        let payload = format!(r#"{{"timestamp":{number},"to":"0xa"}}"#);
        assert!(verify(&hello(&key(), &payload, &payload)).is_ok(), "{number}");
    }
}

#[test]
fn whoever_signs_on_the_same_terms_is_one_owner() {
    let signer = |key: &SigningKey, payload: &str| verify(&hello(key, payload, payload)).unwrap().signer;
    let mine = signer(&key(), &at(NOW));
    assert!(mine == signer(&key(), &at(NOW + 1)), "timestamps differ on every load");
    assert!(mine != signer(&SigningKey::from_bytes(&[8; 32]), &at(NOW)));
    assert!(
        mine != signer(&key(), &at(NOW).replace("0xa", "0xb")),
        "for another recipient"
    );
    let extended = json!({"extensions": {"x": [1]}, "timestamp": NOW, "to": "0xa"}).to_string();
    assert!(mine != signer(&key(), &extended), "with other extensions");
}

#[test]
fn what_is_not_signed_by_its_key_now_proves_nothing() {
    let good = hello(&key(), &at(NOW), &at(NOW));
    assert!(verify(&good).is_ok());
    let other = hex(&SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes());
    let mine = hex(&key().verifying_key().to_bytes());
    assert_eq!(verify(&good.replace(&mine, &other)).err(), Some(Unproved::Forged));
    assert_eq!(verify(&good.replace("0xa", "0xb")).err(), Some(Unproved::Forged));
    for (timestamp, fresh) in [
        (NOW - 301, false),
        (NOW - 300, true),
        (NOW + 300, true),
        (NOW + 301, false),
    ] {
        let hello = hello(&key(), &at(timestamp), &at(timestamp));
        assert_eq!(verify(&hello).is_ok(), fresh, "{timestamp}");
    }
    let text = r#"{"timestamp":"1700000000","to":"0xa"}"#;
    for (hello, what) in [
        (good.replace("signature", "sig"), "signature"),
        (good.replace("0x", "0xé"), "public key"),
        (good.replace("from", "form"), "public key"),
        (good.replace("payload", "load"), "signed part"),
        (hello(&key(), r#"{"to":"0xa"}"#, r#"{"to":"0xa"}"#), "timestamp"),
        (hello(&key(), text, text), "timestamp"),
        (
            hello(&key(), r#"{"timestamp":1700000000}"#, r#"{"timestamp":1700000000}"#),
            "recipient",
        ),
    ] {
        assert!(
            matches!(verify(&hello), Err(Unproved::Lacks { what: lacking, .. }) if lacking == what),
            "{hello}"
        );
    }
    // every hexadecimal digit matters, and a sign is none
    assert!(verify(&good.replace(&mine, &format!("+{}", &mine[1..]))).is_err());
}

#[test]
fn what_two_readers_may_understand_differently_proves_nothing() {
    let good = hello(&key(), &at(NOW), &at(NOW));
    for twice in [
        good.replace(
            r#""type":"CONNECT""#,
            r#""session_id":"mine","type":"CONNECT","session_id":"yours""#,
        ),
        good.replace(r#""to":"0xa""#, r#""to":"0xb","to":"0xa""#),
        format!("{good} {{}}"),
        format!("[{good}]"),
        String::new(),
    ] {
        assert_eq!(verify(&twice).err(), Some(Unproved::Ambiguous), "{twice}");
    }
}

#[test]
fn keys_of_small_order_prove_nothing() {
    // the neutral element: its signature of zeros would hold over anything
    let mut point = [0; 32];
    point[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    let hello = format!(
        r#"{{"payload":{},"from":"{}","signature":"{}"}}"#,
        at(NOW),
        hex(&point),
        hex(&signature)
    );
    assert_eq!(verify(&hello).err(), Some(Unproved::Forged));
}
