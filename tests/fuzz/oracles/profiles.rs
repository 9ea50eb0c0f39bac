//! Profile files, and messages under their rules.
//!
//! Input: a profile's text or `=NAME` of a built-in one, and messages, each behind a line of its own that is `%%`. A
//! message is text where it is UTF-8.

use std::sync::LazyLock;

use serde_json::Value;
use sessmux::profile::{BUILT_IN, Id, Kind, Message, Profile, Role, Rule, Side, State, pointer};

static KNOWN: LazyLock<Vec<Profile>> = LazyLock::new(|| {
    BUILT_IN
        .map(|(_, text)| Profile::parse(text).expect("a built-in profile"))
        .into()
});

const SIDES: [Side; 2] = [Side::Client, Side::Server];

pub fn check(data: &[u8]) {
    let mut parts = split(data).into_iter();
    let Some(Ok(text)) = parts.next().map(std::str::from_utf8) else {
        return;
    };
    let known = text
        .strip_prefix('=')
        .and_then(|name| KNOWN.iter().find(|known| known.name == name));
    let profile = match known.map_or_else(|| Profile::parse(text), |known| Ok(known.clone())) {
        Ok(profile) => profile,
        Err(errors) => {
            assert!(!errors.is_empty());
            let lines = 1 + text.bytes().filter(|byte| *byte == b'\n').count();
            assert!(
                errors
                    .iter()
                    .all(|error| (1..=lines).contains(&error.line) && !error.reason.is_empty())
            );
            return;
        }
    };
    rules(&profile);
    for (index, payload) in parts.enumerate() {
        let kind = if std::str::from_utf8(payload).is_ok() {
            Kind::Text
        } else {
            Kind::Binary
        };
        let message = Message {
            kind,
            number: 1 + index as u64,
            payload,
            whole: true,
        };
        for side in SIDES {
            for bits in 0..8 {
                let state = State {
                    awaits_answer: bits & 1 == 0,
                    asking: bits & 2 == 0,
                    running: bits & 4 == 0,
                };
                roles(&profile, side, &message, state);
            }
        }
    }
}

fn split(data: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut rest) = (Vec::new(), data);
    while let Some(at) = rest.windows(4).position(|window| window == b"\n%%\n") {
        parts.push(&rest[..at]);
        rest = &rest[at + 4..];
    }
    parts.push(rest);
    parts
}

/// What holds of every compiled rule.
fn rules(profile: &Profile) {
    for (index, rule) in profile.rules.iter().enumerate() {
        assert_eq!(rule.number, index);
        let (_, _, side) = Role::ALL
            .into_iter()
            .find(|(_, role, _)| *role == rule.role)
            .expect("a role of profiles");
        assert!(side.is_none_or(|side| side == rule.from));
        let pointers = rule.when.iter().map(|(at, _)| at).chain(&rule.present);
        assert!(pointers.chain(&rule.edit.remove).all(|at| pointer::check(at).is_ok()));
        assert!(profile.wants(rule.from) && profile.has(rule.role));
    }
    let tunnel = profile.in_tunnel();
    assert_eq!(!tunnel.rules.is_empty(), profile.is_signed());
    assert!(
        tunnel
            .rules
            .iter()
            .all(|rule| rule.role == Role::Refused && rule.signed.is_none())
    );
}

/// What a message is; what its beginning tells is not taken back.
fn roles(profile: &Profile, side: Side, message: &Message<'_>, state: State) {
    let found = profile
        .rule_for(side, message, state)
        .expect("a whole message can be told");
    for part in 0..4 {
        let beginning = Message {
            payload: &message.payload[..message.payload.len() * part / 4],
            whole: false,
            ..*message
        };
        if let Ok(told) = profile.rule_for(side, &beginning, state) {
            assert_eq!(
                told.map(|rule| rule.number),
                found.map(|rule| rule.number),
                "as its beginning told"
            );
        }
    }
    if let Some(rule) = found {
        assert!(rule.from == side);
        made_of(rule, message.payload);
    }
}

/// What is taken out of a message, and made of it.
fn made_of(rule: &Rule, payload: &[u8]) {
    let (id, span) = (rule.id_of(payload), rule.id_span(payload));
    if let (Some(id), Some(span), Some(Id::Pointer(_))) = (id.clone(), span.clone(), &rule.id) {
        let written = &payload[span];
        let value: Value = serde_json::from_slice(written).expect("an id is JSON");
        let digits = value.is_f64() && id.as_bytes() == written;
        assert!(digits || value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned) == id);
    } else {
        // a number that is too large stands there, and has no value
        assert!(id.is_none() || span.is_some());
        assert!(span.is_none_or(|span| span.end <= payload.len()));
    }
    for template in [&rule.answer, &rule.show].into_iter().flatten() {
        let _ = template.fill(payload, rule.text.as_deref());
    }
    for running in [true, false] {
        let Some(edited) = rule.edit.apply(payload, running) else {
            continue;
        };
        let document: Value = serde_json::from_slice(&edited).expect("JSON");
        for at in &rule.edit.remove {
            let set = rule.edit.set.iter().any(|(set, ..)| set.starts_with(at.as_str()));
            let is_member = at
                .rsplit_once('/')
                .and_then(|(parent, _)| document.pointer(parent))
                .is_some_and(Value::is_object);
            assert!(set || !is_member || document.pointer(at).is_none(), "{at} is removed");
        }
        let again = rule.edit.apply(&edited, running).expect("still an object");
        assert_eq!(
            serde_json::from_slice::<Value>(&again).ok(),
            Some(document),
            "once is enough"
        );
    }
}
