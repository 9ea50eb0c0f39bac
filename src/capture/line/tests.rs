//! Lines to text and back.

use super::*;
use proptest::prelude::*;

fn line(what: What) -> Line {
    Line {
        session: "3f9ac2d1.1".into(),
        at: 12,
        what,
    }
}

#[test]
fn a_line_is_written_as_documented() {
    let message = |kind, payload: &[u8]| {
        line(What::Message {
            from: Side::Client,
            kind,
            asked: None,
            payload: payload.to_vec(),
        })
    };
    assert_eq!(
        message(Kind::Text, "ä\"\n".as_bytes()).write(),
        r#"{"session":"3f9ac2d1.1","at":12,"from":"client","text":"ä\"\n"}"#
    );
    assert_eq!(
        message(Kind::Binary, &[1, 2, 255]).write(),
        r#"{"session":"3f9ac2d1.1","at":12,"from":"client","base64":"AQL/"}"#
    );
    let attach = Event::Attach { epoch: 1, cause: None };
    assert_eq!(
        line(What::Event(attach)).write(),
        r#"{"session":"3f9ac2d1.1","at":12,"event":"attach","epoch":1}"#
    );
}

#[test]
fn what_is_no_line_is_told() {
    for (text, reason) in [
        ("", "is no JSON object: EOF"),
        ("[1]", "is no JSON object"),
        ("{\"session\":", "is no JSON object: EOF"),
        ("{}", "missing field `session`"),
        (r#"{"session":1}"#, "invalid type"),
        (r#"{"session":"a"}"#, "has to have either from or event"),
        (r#"{"session":"a","from":"me","text":""}"#, "from = \"me\": is neither"),
        (r#"{"session":"a","from":"client"}"#, "a message has either"),
        (r#"{"session":"a","from":"client","base64":"?"}"#, "base64 = \"?\": "),
        (r#"{"session":"a","event":"x"}"#, "event = \"x\": is none of"),
        (
            r#"{"session":"a","event":"attach","cause":"x"}"#,
            "cause = \"x\": is none of",
        ),
        (r#"{"session":"a","at":-1,"event":"end"}"#, "invalid value"),
    ] {
        let told = Line::parse(text.as_bytes()).unwrap_err();
        assert!(told.starts_with(reason), "{text}: {told}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        session in "[ -~]{0,12}", at: u64, text: String, bytes: Vec<u8>, epoch: u64, code: Option<u16>, which in 0..6,
    ) {
        let from = if which % 2 == 0 { Side::Client } else { Side::Server };
        let what = match which {
            0 => What::Message { from, kind: Kind::Text, asked: code.map(u64::from), payload: text.into_bytes() },
            1 => What::Message { from, kind: Kind::Binary, asked: None, payload: bytes },
            2 => What::Event(Event::Attach { epoch, cause: code.map(|_| Cause::Blip) }),
            3 => What::Event(Event::Detach { epoch, code }),
            4 => What::Event(Event::End { code }),
            _ => What::Event(Event::Lost { lines: epoch }),
        };
        let line = Line { session: session.into(), at, what };
        prop_assert_eq!(Line::parse(line.clone().write().as_bytes()), Ok(line));
    }

    #[test]
    fn reading_never_panics(text: Vec<u8>) {
        let _ = Line::parse(&text);
    }
}
