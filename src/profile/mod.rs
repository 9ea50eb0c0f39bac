//! Profiles: declarative rules that say what the messages of one agent protocol mean. Pure.

mod builtin;
mod edit;
mod file;
pub mod pointer;
mod rule;
mod template;

pub use builtin::{BUILT_IN, built_in};
pub use edit::Edit;
pub use file::ProfileError;
pub use rule::{Id, Kind, Message, Role, Rule, Side, Undecided};
pub use template::Template;

use rule::Look;

/// A compiled profile.
#[derive(Debug, Clone, Default)]
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

    /// Whether pages are sent messages that sessmux makes itself: then none of the server's is sent in parts.
    pub fn speaks_to_pages(&self) -> bool {
        let speaks = |rule: &Rule| rule.send.is_some() || (rule.from == Side::Client && rule.answer.is_some());
        self.rules.iter().any(speaks)
    }

    /// What an attached page is sent as a heartbeat, where some rule says so.
    pub fn page_heartbeat(&self) -> Option<&str> {
        self.rules.iter().find_map(|rule| rule.send.as_deref())
    }

    /// The first rule that matches a message of `side`; one that none matches is plain. Rules for answers to the hello
    /// hold only while one is awaited.
    ///
    /// # Errors
    ///
    /// Of a message that is not whole, more has to be seen.
    pub fn rule_for(&self, side: Side, message: &Message<'_>, awaited: bool) -> Result<Option<&Rule>, Undecided> {
        let holds = |rule: &&Rule| awaited || !matches!(rule.role, Role::HelloAnswer | Role::HelloRefused);
        let mut look = Look::new(message);
        for rule in self.rules.iter().filter(|rule| rule.from == side).filter(holds) {
            if rule.matches(&mut look)? {
                return Ok(Some(rule));
            }
        }
        Ok(None)
    }

    /// The role of a whole message of `side`.
    #[must_use]
    pub fn role(&self, side: Side, message: &Message<'_>) -> Option<Role> {
        self.rule_for(side, message, true).ok().flatten().map(|rule| rule.role)
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
