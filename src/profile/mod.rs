//! Profiles: declarative rules that say what the messages of one agent protocol mean. Pure.

mod builtin;
mod edit;
mod file;
mod json;
pub mod pointer;
mod role;
mod rule;
mod signed;
mod template;

pub use builtin::{BUILT_IN, built_in};
pub use edit::Edit;
pub use file::ProfileError;
pub use role::{Kind, Role, Side};
pub use rule::{Id, MAX_ID, Message, Rule, State, Text, Undecided};
pub use signed::{Canonical, Proof, Signed, Signer, Unproved};
pub use template::Template;

use rule::Look;

/// A compiled profile.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    /// Its name, for logs.
    pub name: String,
    /// The path pattern of its route, where none is configured.
    pub path: Option<String>,
    /// The parts of the session key, where none are configured.
    pub key: Option<Vec<String>>,
    /// What a reloaded page is sent, where that is not configured.
    pub replay_refresh: Option<String>,
    /// What a page is sent whose connection was cut, where that is not configured.
    pub replay_blip: Option<String>,
    /// The bound of a session's replay log, where none is configured.
    pub log_bytes: Option<String>,
    /// What becomes of whoever names another's session, where that is not configured.
    pub foreign: Option<String>,
    /// Rules in order; the first that matches gives a message its role.
    pub rules: Vec<Rule>,
}

impl Profile {
    /// Whether messages of `side` have to be looked into at all.
    pub fn wants(&self, side: Side) -> bool {
        self.rules.iter().any(|rule| rule.from == side)
    }

    /// Whether some rule names `role`.
    pub fn has(&self, role: Role) -> bool {
        self.rules.iter().any(|rule| rule.role == role)
    }

    /// Whether hellos prove who says them.
    pub fn is_signed(&self) -> bool {
        self.rules.iter().any(|rule| rule.signed.is_some())
    }

    /// Whether a text of the page is JSON that every reader understands alike: without a name that is there twice, and
    /// without what only some take for JSON.
    #[must_use]
    pub fn is_unambiguous(text: &[u8]) -> bool {
        json::strict(text).is_some()
    }

    /// What is left of it in a tunnel: no hello that proves somebody is said behind sessmux's back.
    #[must_use]
    pub fn in_tunnel(&self) -> Self {
        let signed = self.rules.iter().filter(|rule| rule.signed.is_some()).cloned();
        Self {
            name: self.name.clone(),
            rules: signed
                .map(|rule| Rule {
                    role: Role::Refused,
                    frame: None,
                    signed: None,
                    ..rule
                })
                .collect(),
            ..Self::default()
        }
    }

    /// Whether pages are sent messages that sessmux makes itself: then none of the server's is sent in parts.
    pub fn speaks_to_pages(&self) -> bool {
        let speaks = |rule: &Rule| {
            rule.send.is_some() || rule.show.is_some() || (rule.from == Side::Client && rule.answer.is_some())
        };
        self.rules.iter().any(speaks)
    }

    /// What an attached page is sent as a heartbeat, where some rule says so.
    pub fn page_heartbeat(&self) -> Option<&str> {
        self.rules.iter().find_map(|rule| rule.send.as_deref())
    }

    /// The first rule that matches a message of `side` in this state of its session; one that none matches is plain.
    ///
    /// # Errors
    ///
    /// Of a message that is not whole, more has to be seen.
    pub fn rule_for(&self, side: Side, message: &Message<'_>, state: State) -> Result<Option<&Rule>, Undecided> {
        let mut look = Look::new(message);
        let rules = self.rules.iter().filter(|rule| rule.from == side);
        for rule in rules.filter(|rule| rule.holds_in(state)) {
            if rule.matches(&mut look)? {
                return Ok(Some(rule));
            }
        }
        Ok(None)
    }

    /// The role of a whole message of `side`.
    #[must_use]
    pub fn role(&self, side: Side, message: &Message<'_>) -> Option<Role> {
        self.rule_for(side, message, State::BEGINNING)
            .ok()
            .flatten()
            .map(|rule| rule.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: &str) -> Profile {
        Profile::parse(text).unwrap()
    }

    fn role(profile: &Profile, side: Side, text: &str) -> Option<Role> {
        profile.role(side, &Message::text(text.as_bytes()))
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
            from = "client"
            when = { "/type" = "init" }
            role = "ignore"
            [[rule]]
            from = "server"
            when = { "/type" = "init" }
            role = "hello-answer"
            "#,
        );
        let hello = r#"{"params":{"v":2.0},"type":"init"}"#;
        assert_eq!(role(&profile, Side::Client, hello), Some(Role::Hello));
        assert_eq!(role(&profile, Side::Server, hello), Some(Role::HelloAnswer));
        assert_eq!(role(&profile, Side::Client, r#"{"type":"init"}"#), Some(Role::Ignore));
        assert_eq!(role(&profile, Side::Client, r#"{"type":1}"#), None);
        assert_eq!(role(&profile, Side::Server, "init"), None);
        assert_eq!(role(&profile, Side::Server, ""), None);
    }

    #[test]
    fn without_rules_nothing_is_wanted() {
        let none = Profile::default();
        assert!(!none.wants(Side::Client) && !none.wants(Side::Server));
        assert!(!none.has(Role::Hello) && !none.speaks_to_pages());
        assert_eq!(role(&none, Side::Client, r#"{"type":"init"}"#), None);
    }
}
