//! Profiles: declarative rules that say what the messages of one agent protocol mean. Pure.

mod file;
pub mod pointer;

use serde_json::Value;

pub use file::ProfileError;

/// A compiled profile.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// Its name, for logs.
    pub name: String,
    /// Rules in order; the first that matches gives a message its role.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Whose messages.
    pub from: Side,
    /// JSON pointer and the value it must have; all must hold. Never empty.
    pub when: Vec<(String, Value)>,
    /// What the message then is.
    pub role: Role,
}

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The page.
    Client,
    /// The agent server.
    Server,
}

/// What a message is to sessmux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What a page says first on every load.
    Hello,
    /// The server's answer to it.
    HelloAnswer,
}

impl Profile {
    /// Whether messages of `side` have to be looked into at all.
    pub fn wants(&self, side: Side) -> bool {
        self.rules.iter().any(|r| r.from == side)
    }

    /// Whether some rule names `role`.
    pub fn has(&self, role: Role) -> bool {
        self.rules.iter().any(|r| r.role == role)
    }

    /// The role that the first matching rule gives a text message of `side`; a message that no rule matches, or
    /// that is not JSON, has none.
    #[must_use]
    pub fn role(&self, side: Side, payload: &[u8]) -> Option<Role> {
        let mut rules = self.rules.iter();
        rules
            .find(|rule| rule.from == side && rule.matches(payload))
            .map(|rule| rule.role)
    }
}

impl Rule {
    fn matches(&self, payload: &[u8]) -> bool {
        self.when
            .iter()
            .all(|(pointer, wanted)| pointer::find(payload, pointer).is_some_and(|value| equal(&value, wanted)))
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
    use super::*;

    fn profile(text: &str) -> Profile {
        Profile::parse(text).unwrap()
    }

    #[test]
    fn the_first_matching_rule_of_the_side_gives_the_role() {
        let profile = profile(
            r#"
            [[rule]]
            from = "client"
            when = { "/type" = "init", "/params/v" = 2 }
            role = "hello"
            [[rule]]
            from = "server"
            when = { "/type" = "init" }
            role = "hello-answer"
            "#,
        );
        let role = |side, text: &str| profile.role(side, text.as_bytes());
        let hello = r#"{"params":{"v":2.0},"type":"init"}"#;
        assert_eq!(role(Side::Client, hello), Some(Role::Hello));
        assert_eq!(role(Side::Server, hello), Some(Role::HelloAnswer));
        assert_eq!(role(Side::Client, r#"{"type":"init"}"#), None);
        assert_eq!(role(Side::Client, r#"{"type":"init","params":{"v":"2"}}"#), None);
        assert_eq!(role(Side::Server, "init"), None);
        assert_eq!(role(Side::Server, ""), None);
    }

    #[test]
    fn an_earlier_rule_hides_a_later_one() {
        let mut profile = profile(
            r#"
            [[rule]]
            from = "client"
            when = { "/hello" = true }
            role = "hello"
            "#,
        );
        profile.rules.push(Rule {
            role: Role::HelloAnswer,
            ..profile.rules[0].clone()
        });
        assert_eq!(profile.role(Side::Client, br#"{"hello":true}"#), Some(Role::Hello));
        assert_eq!(profile.role(Side::Client, br#"{"hello":false}"#), None);
        assert_eq!(profile.role(Side::Client, br#"{"hello":"true"}"#), None);
    }

    #[test]
    fn without_rules_nothing_is_wanted() {
        let none = Profile::default();
        assert!(!none.wants(Side::Client) && !none.wants(Side::Server));
        assert!(!none.has(Role::Hello));
        assert_eq!(none.role(Side::Client, br#"{"type":"init"}"#), None);
    }
}
