//! Signed hellos: who said them, proved by Ed25519 (RFC 8032).
//!
//! A protocol signs the canonical JSON of one part of the hello. JSON has no one canonical form, so a rule names those
//! that count; the signature has to hold over one of them.

use std::time::Duration;

use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::Value;

use super::json;

/// How a hello of one protocol is signed: JSON pointers into it, and how what is signed is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Signed {
    /// To the signer's public key, in hexadecimal.
    pub key: String,
    /// To the signature, in hexadecimal.
    pub signature: String,
    /// To what is signed.
    pub over: String,
    /// To when it was signed, in seconds since 1970; within what is signed.
    pub timestamp: String,
    /// To whom it is meant for; within what is signed.
    pub recipient: Option<String>,
    /// To what else has to be as in the first hello of the session.
    pub same: Vec<String>,
    /// How far the timestamp may be from now, either way.
    pub window: Duration,
    /// The forms of what is signed, of which one has to do.
    pub canonical: Vec<Canonical>,
}

/// How a JSON value is written to be signed: without spaces, and
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canonical {
    /// with sorted names, and only ASCII, as Python writes it by default.
    SortedAscii,
    /// with sorted names, in UTF-8.
    Sorted,
    /// with the names of the outermost object sorted, in UTF-8.
    TopSorted,
    /// in the order in which it came, in UTF-8.
    Unsorted,
}

impl Canonical {
    /// Every form with its name in profiles.
    pub const ALL: [(&'static str, Self); 4] = [
        ("sorted-ascii", Self::SortedAscii),
        ("sorted", Self::Sorted),
        ("top-sorted", Self::TopSorted),
        ("unsorted", Self::Unsorted),
    ];

    fn write(self, value: &Value) -> String {
        match self {
            Self::SortedAscii => ascii(&Self::Sorted.write(value)),
            Self::Sorted => {
                let mut sorted = value.clone();
                sorted.sort_all_objects();
                sorted.to_string()
            }
            Self::TopSorted => {
                let mut sorted = value.clone();
                if let Some(object) = sorted.as_object_mut() {
                    object.sort_keys();
                }
                sorted.to_string()
            }
            Self::Unsorted => value.to_string(),
        }
    }
}

/// Writes what is not printable ASCII as JSON's escapes of UTF-16 (RFC 8259 section 7).
fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, ' '..='~') {
            out.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// Who signed a hello, and on what terms: two that are equal are one owner.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Signer {
    key: [u8; 32],
    /// The recipient and what else has to be the same.
    terms: String,
}

/// A hello whose signature holds. It may be used once.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// Who.
    pub signer: Signer,
    /// The signature itself.
    pub signature: [u8; 64],
    /// How much longer it would hold.
    pub fresh: Duration,
}

/// Why a hello proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// It is no JSON, or has a name twice: then it may say one thing here and another to the server.
    #[error("it is no JSON object with every name once")]
    Ambiguous,
    /// Something is not there, or not of its kind.
    #[error("it has no {what} at {at:?}")]
    Lacks {
        /// What.
        what: &'static str,
        /// Where it was looked for.
        at: String,
    },
    /// The signature is not the key's over what is signed.
    #[error("its signature does not hold")]
    Forged,
    /// The timestamp is too far from now.
    #[error("its timestamp is not within {0:?} of now")]
    Stale(Duration),
}

impl Signed {
    /// Who said this hello; `now` is since 1970.
    ///
    /// # Errors
    ///
    /// Why it proves nothing.
    pub fn verify(&self, hello: &[u8], now: Duration) -> Result<Proof, Unproved> {
        let document = json::strict(hello)
            .filter(Value::is_object)
            .ok_or(Unproved::Ambiguous)?;
        let key = VerifyingKey::from_bytes(&hex_at(&document, "public key", &self.key)?);
        let signature: [u8; 64] = hex_at(&document, "signature", &self.signature)?;
        let over = at(&document, "signed part", &self.over)?;
        let timestamp = at(&document, "timestamp", &self.timestamp)?.as_f64();
        let timestamp = timestamp.ok_or_else(|| lacks("timestamp", &self.timestamp))?;
        let key = key.map_err(|_| lacks("public key", &self.key))?;
        let holds = |form: &Canonical| {
            let text = form.write(over);
            key.verify_strict(text.as_bytes(), &Signature::from_bytes(&signature))
                .is_ok()
        };
        if !self.canonical.iter().any(holds) {
            return Err(Unproved::Forged);
        }
        let fresh = timestamp + self.window.as_secs_f64() - now.as_secs_f64();
        if !(0.0..=2.0 * self.window.as_secs_f64()).contains(&fresh) {
            return Err(Unproved::Stale(self.window));
        }
        if let Some(recipient) = &self.recipient {
            at(&document, "recipient", recipient)?;
        }
        let terms = self.recipient.iter().chain(&self.same);
        let terms = terms.map(|pointer| document.pointer(pointer).cloned().unwrap_or_default());
        Ok(Proof {
            signer: Signer {
                key: key.to_bytes(),
                terms: Canonical::Sorted.write(&terms.collect()),
            },
            signature,
            fresh: Duration::from_secs_f64(fresh),
        })
    }
}

fn lacks(what: &'static str, at: &str) -> Unproved {
    let at = at.to_owned();
    Unproved::Lacks { what, at }
}

fn at<'a>(document: &'a Value, what: &'static str, pointer: &str) -> Result<&'a Value, Unproved> {
    document.pointer(pointer).ok_or_else(|| lacks(what, pointer))
}

/// Bytes in hexadecimal, with or without 0x.
fn hex_at<const N: usize>(document: &Value, what: &'static str, pointer: &str) -> Result<[u8; N], Unproved> {
    let text = at(document, what, pointer)?.as_str().unwrap_or_default();
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return Err(lacks(what, pointer));
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
            return Err(lacks(what, pointer));
        };
        *byte = (high * 16 + low) as u8;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
