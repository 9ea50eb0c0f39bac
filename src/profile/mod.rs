//! Profiles: declarative rules that say what the messages of one agent protocol mean. Pure.

mod file;
pub mod pointer;

pub use file::parse;

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
    pub when: Vec<(String, serde_json::Value)>,
    /// What the message then is.
    pub role: Role,
}

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The page.
    Client,
    /// The agent server.
    Server,
}

/// What a message is to sessmux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// What a page says first on every load.
    Hello,
    /// The server's answer to it.
    HelloAnswer,
}

impl Profile {
    /// The role of a message of `side`; a message that no rule matches, or that is not JSON, has none.
    pub fn role(&self, side: Side, payload: &[u8]) -> Option<Role> {
        let matches = |rule: &&Rule| {
            let mut conditions = rule.when.iter();
            rule.from == side && conditions.all(|(at, value)| pointer::scalar(payload, at).as_ref() == Some(value))
        };
        self.rules.iter().find(matches).map(|rule| rule.role)
    }

    /// Whether messages of `side` have to be looked into at all.
    pub fn wants(&self, side: Side) -> bool {
        self.rules.iter().any(|rule| rule.from == side)
    }

    /// Whether some rule names `role`.
    pub fn has(&self, role: Role) -> bool {
        self.rules.iter().any(|rule| rule.role == role)
    }
}
