//! One rule: which messages it matches, and what they then are.

use std::hash::{DefaultHasher, Hasher};
use std::ops::{Deref, Range};

use regex::bytes::Regex;
use serde_json::Value;

use super::{Edit, Kind, Role, Side, Signed, Template, pointer};

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its place among the profile's rules, from 0.
    pub number: usize,
    /// Whose messages.
    pub from: Side,
    /// Only text, or only binary messages.
    pub kind: Option<Kind>,
    /// Only the message of this number within its page's, or the server's, life; from 1.
    pub frame: Option<u64>,
    /// JSON pointers and the values of which each must have one. A message that is not JSON has none.
    pub when: Vec<(String, Vec<Value>)>,
    /// JSON pointers at which there must be something, null and containers included.
    pub present: Vec<String>,
    /// Only while a prompt is open, or while none is.
    pub asking: Option<bool>,
    /// Only while a turn runs, or while none does.
    pub running: Option<bool>,
    /// What the raw payload must match; it runs in linear time.
    pub text: Option<Text>,
    /// What the message then is.
    pub role: Role,
    /// Where the message says which prompt, request or kind of full state it is about; else there is one.
    pub id: Option<Id>,
    /// What sessmux answers it with.
    pub answer: Option<Template>,
    /// What an echo looks like.
    pub show: Option<Template>,
    /// How a recorded hello answer is changed before later pages are shown it.
    pub edit: Edit,
    /// What attached pages are sent every 30 s.
    pub send: Option<String>,
    /// How a hello proves who says it.
    pub signed: Option<Signed>,
}

/// What a raw payload must match; two are equal that are written alike.
#[derive(Debug, Clone)]
pub struct Text(pub Regex);

impl Deref for Text {
    type Target = Regex;

    fn deref(&self) -> &Regex {
        &self.0
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// Where a message says what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// At a JSON pointer.
    Pointer(String),
    /// Where the group `id` of the rule's text finds it.
    Group,
}

/// Longest id, in bytes, that is kept as it is: many times what protocols have, and of so many that wait little in memory.
pub const MAX_ID: usize = 256;

/// The named group of a rule's text that holds an id.
pub(super) const ID_GROUP: &str = "id";

/// A message, as rules look at it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Text or binary.
    pub kind: Kind,
    /// Its number within its page's, or the server's, life; from 1.
    pub number: u64,
    /// In clear.
    pub payload: &'a [u8],
    /// Whether that is all of it, and not its beginning alone.
    pub whole: bool,
}

impl<'a> Message<'a> {
    /// The first message of a page, as text.
    pub fn text(payload: &'a [u8]) -> Self {
        Self {
            kind: Kind::Text,
            number: 1,
            payload,
            whole: true,
        }
    }
}

/// How a session stands when a message comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The answer to its hello is awaited: rules for that hold then alone.
    pub awaits_answer: bool,
    /// A prompt is open.
    pub asking: bool,
    /// A turn runs.
    pub running: bool,
}

impl State {
    /// As a session begins.
    pub const BEGINNING: Self = Self {
        awaits_answer: true,
        asking: false,
        running: false,
    };
}

/// The beginning of a message is not enough to tell its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undecided;

/// What was found in a message so far: a pointer that several rules ask for is followed once.
pub(super) struct Look<'a, 'p> {
    message: &'a Message<'a>,
    found: Vec<(&'p str, Option<Value>)>,
}

impl<'a, 'p> Look<'a, 'p> {
    pub(super) fn new(message: &'a Message<'a>) -> Self {
        let found = Vec::new();
        Self { message, found }
    }

    fn find(&mut self, at: &'p str) -> Result<Option<&Value>, Undecided> {
        let known = self.found.iter().position(|(known, _)| *known == at);
        let index = match known {
            Some(index) => index,
            None => {
                let value = pointer::find(self.message.payload, at);
                // a number may go on behind what is there
                if !self.message.whole && !matches!(value, Some(Value::String(_) | Value::Bool(_))) {
                    return Err(Undecided);
                }
                self.found.push((at, value));
                self.found.len() - 1
            }
        };
        Ok(self.found[index].1.as_ref())
    }

    fn is_there(&self, at: &str) -> Result<bool, Undecided> {
        let payload = self.message.payload;
        let there = pointer::is_there(payload, at);
        // what is found stays found, whatever comes behind it, but for a number: that may go on and be none
        let stays = || there && !matches!(pointer::find(payload, at), Some(Value::Number(_)));
        (self.message.whole || stays()).then_some(there).ok_or(Undecided)
    }
}

impl Rule {
    /// The prompt or kind that a message names, where the rule says where.
    pub fn id_of(&self, payload: &[u8]) -> Option<String> {
        match self.id.as_ref()? {
            Id::Pointer(at) => pointer::find_key(payload, at),
            Id::Group => {
                let id = &payload[self.group(payload)?];
                Some(String::from_utf8_lossy(id).into_owned())
            }
        }
    }

    /// What tells the prompt or kind that a message names from others: [its id](Self::id_of), or of one that is long a
    /// digest, for it is kept.
    pub fn key_of(&self, payload: &[u8]) -> Option<String> {
        let id = self.id_of(payload)?;
        if id.len() <= MAX_ID {
            return Some(id);
        }
        let mut digest = DefaultHasher::new();
        digest.write(id.as_bytes());
        Some(format!("{:016x}", digest.finish()))
    }

    /// Where the id stands under which a page asks, if that is [short enough](MAX_ID) to be kept until the answer comes.
    pub fn asked(&self, payload: &[u8]) -> Option<Range<usize>> {
        let place = self.id_span(payload)?;
        // as the answer's is measured, which may be written otherwise
        (self.id_of(payload)?.len() <= MAX_ID).then_some(place)
    }

    /// Where the id stands, quotes of a JSON string included.
    pub fn id_span(&self, payload: &[u8]) -> Option<Range<usize>> {
        match self.id.as_ref()? {
            Id::Pointer(at) => pointer::span(payload, at),
            Id::Group => self.group(payload),
        }
    }

    fn group(&self, payload: &[u8]) -> Option<Range<usize>> {
        let captures = self.text.as_ref()?.captures(payload)?;
        captures.name(ID_GROUP).map(|group| group.range())
    }

    /// Whether it may match at all in this state.
    pub(super) fn holds_in(&self, state: State) -> bool {
        let awaited = state.awaits_answer || !matches!(self.role, Role::HelloAnswer | Role::HelloRefused);
        let asked = self.asking.is_none_or(|asking| asking == state.asking);
        awaited && asked && self.running.is_none_or(|running| running == state.running)
    }

    /// Whether a message of this rule asks the server something that it answers by id.
    pub fn asks(&self) -> bool {
        self.id.is_some() && matches!(self.role, Role::Request | Role::Hello | Role::TurnStart)
    }

    /// Whether a message of this rule answers what a page asked by id.
    pub fn answers(&self) -> bool {
        let answer = matches!(
            self.role,
            Role::Answer | Role::HelloAnswer | Role::HelloRefused | Role::TurnEnd
        );
        self.id.is_some() && answer
    }

    /// Whether the message itself is needed for what is to be done.
    pub fn needs_text(&self) -> bool {
        self.id.is_some() || self.answer.is_some() || self.show.is_some() || self.role == Role::HelloAnswer
    }

    /// What costs least is looked at first.
    pub(super) fn matches<'p>(&'p self, look: &mut Look<'_, 'p>) -> Result<bool, Undecided> {
        let message = look.message;
        if self.kind.is_some_and(|kind| kind != message.kind) || self.frame.is_some_and(|frame| frame != message.number)
        {
            return Ok(false);
        }
        let mut undecided = self.text.is_some() && !message.whole;
        for (at, wanted) in &self.when {
            match look.find(at) {
                Ok(Some(value)) if wanted.iter().any(|wanted| equal(value, wanted)) => {}
                Ok(_) => return Ok(false),
                Err(Undecided) => undecided = true,
            }
        }
        for at in &self.present {
            match look.is_there(at) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(Undecided) => undecided = true,
            }
        }
        if undecided {
            return Err(Undecided);
        }
        Ok(self.text.as_ref().is_none_or(|text| text.is_match(message.payload)))
    }
}

/// Compares scalars as JSON means them: `2` and `2.0` are one number.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() != other.is_f64() => one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Profile;
    use super::*;

    fn matching(conditions: &str, message: &Message<'_>) -> bool {
        let text = format!("[[rule]]\nfrom = \"server\"\nrole = \"ignore\"\n{conditions}\n");
        Profile::parse(&text).unwrap().role(Side::Server, message).is_some()
    }

    fn text(conditions: &str, payload: &str) -> bool {
        matching(conditions, &Message::text(payload.as_bytes()))
    }

    #[test]
    fn values_are_compared_as_json_means_them() {
        let rule = r#"when = { "/hello" = true }"#;
        assert!(text(rule, r#"{"hello":true}"#));
        assert!(!text(rule, r#"{"hello":false}"#) && !text(rule, r#"{"hello":"true"}"#));
        assert!(text(r#"when = { "/v" = 2 }"#, r#"{"v":2.0}"#));
        assert!(!text(r#"when = { "/v" = 2 }"#, r#"{"v":"2"}"#));
    }

    #[test]
    fn one_of_several_values_will_do() {
        let rule = r#"when = { "/type" = ["OUTPUT", "ERROR", 3] }"#;
        for (payload, expected) in [("\"ERROR\"", true), ("3", true), ("\"INPUT\"", false), ("null", false)] {
            assert_eq!(text(rule, &format!("{{\"type\":{payload}}}")), expected, "{payload}");
        }
    }

    #[test]
    fn of_a_long_id_a_digest_is_kept_and_nobody_asks_under_it() {
        let profile = "[[rule]]\nfrom = \"client\"\npresent = [\"/id\"]\nid = \"/id\"\nrole = \"request\"\n";
        let profile = Profile::parse(profile).unwrap();
        let rule = &profile.rules[0];
        let message = |id: &str| format!("{{\"id\":\"{id}\"}}");
        let longest = "x".repeat(MAX_ID);
        // written with escapes it is no longer
        for text in [message(&longest), message(&longest.replacen('x', "\\u0078", 1))] {
            assert_eq!(rule.key_of(text.as_bytes()), Some(longest.clone()));
            assert_eq!(rule.asked(text.as_bytes()), rule.id_span(text.as_bytes()));
        }
        let keys = ["a", "b"].map(|end| {
            let text = message(&format!("{longest}{end}"));
            assert_eq!(rule.asked(text.as_bytes()), None);
            assert_eq!(rule.key_of(text.as_bytes()), rule.key_of(text.as_bytes()));
            rule.key_of(text.as_bytes()).unwrap()
        });
        assert!(keys[0] != keys[1] && keys[0].len() <= MAX_ID);
        assert_eq!((rule.key_of(b"{}"), rule.asked(b"{}")), (None, None));
    }

    #[test]
    fn presence_counts_null_and_containers() {
        let rule = r#"present = ["/result"]"#;
        for (payload, expected) in [
            (r#"{"result":null}"#, true),
            (r#"{"result":{}}"#, true),
            (r#"{"result":[1]}"#, true),
            (r#"{"error":1}"#, false),
            ("[]", false),
            ("result", false),
        ] {
            assert_eq!(text(rule, payload), expected, "{payload}");
        }
    }

    #[test]
    fn raw_text_kind_and_number() {
        assert!(text("text = '^42\\['", "42[\"a\"]") && !text("text = '^42\\['", "142[\"a\"]"));
        let binary = Message {
            kind: Kind::Binary,
            number: 3,
            payload: b"\xff\x01",
            whole: true,
        };
        assert!(matching("kind = \"binary\"", &binary) && !matching("kind = \"text\"", &binary));
        assert!(matching("frame = 3", &binary) && !matching("frame = 1", &binary));
        assert!(matching("text = '(?-u)^\\xff'", &binary), "bytes that are no UTF-8");
        assert!(
            !matching("kind = \"binary\"\nframe = 1", &binary),
            "all conditions together"
        );
    }

    #[test]
    fn a_rule_may_hold_only_in_one_state() {
        for (condition, holds) in [
            ("running = true", [false, true, false, true]),
            ("running = false", [true, false, true, false]),
            ("asking = true", [false, false, true, true]),
            ("asking = true\nrunning = false", [false, false, true, false]),
        ] {
            let text = format!("[[rule]]\nfrom = \"client\"\nframe = 1\n{condition}\nrole = \"ignore\"\n");
            let profile = Profile::parse(&text).unwrap();
            let states = [(false, false), (false, true), (true, false), (true, true)];
            let held = states.map(|(asking, running)| {
                let state = State {
                    awaits_answer: false,
                    asking,
                    running,
                };
                profile
                    .rule_for(Side::Client, &Message::text(b"{}"), state)
                    .unwrap()
                    .is_some()
            });
            assert_eq!(held, holds, "{condition}");
        }
    }

    #[test]
    fn a_beginning_tells_what_it_can() {
        let profile = Profile::parse(
            "[[rule]]\nfrom = \"server\"\nwhen = { \"/type\" = \"a\", \"/n\" = 1 }\nrole = \"ignore\"\n\
             [[rule]]\nfrom = \"server\"\nwhen = { \"/type\" = \"b\" }\nrole = \"latest\"\n\
             [[rule]]\nfrom = \"server\"\npresent = [\"/result\"]\nrole = \"ignore\"\n\
             [[rule]]\nfrom = \"server\"\ntext = \"end$\"\nrole = \"turn-end\"\n",
        )
        .unwrap();
        let role = |payload: &str| {
            let message = Message {
                whole: false,
                ..Message::text(payload.as_bytes())
            };
            let rule = profile.rule_for(Side::Server, &message, State::BEGINNING);
            rule.map(|rule| rule.map(|rule| rule.role))
        };
        assert_eq!(role(r#"{"type":"b","all":"#), Ok(Some(Role::Latest)));
        // perhaps 12, perhaps something else, perhaps an end
        assert_eq!(role(r#"{"type":"a","n":1"#), Err(Undecided));
        assert_eq!(role(r#"{"ty"#), Err(Undecided));
        assert_eq!(role(r#"{"type":"c","#), Err(Undecided));
        assert_eq!(role(r#"{"type":"c","result":["#), Ok(Some(Role::Ignore)));
        assert_eq!(role(r#"{"type":"c","result":1"#), Err(Undecided), "1e is no number");
    }
}
