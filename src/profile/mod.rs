//! Profiles: declarative rules that say what the messages of one agent protocol mean. Pure.

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
}
impl Profile {
    /// stub
    pub fn role(&self, _side: Side, _payload: &[u8]) -> Option<Role> {
        None
    }
}
/// stub
pub mod pointer {
    /// stub
    pub fn text(_payload: &[u8], _pointer: &str) -> Option<String> {
        None
    }
}
