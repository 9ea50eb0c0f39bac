//! What messages are: whose, of which kind, and in which role.

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The page.
    Client,
    /// The agent server.
    Server,
}

/// Which of the two kinds of WebSocket messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text, which is UTF-8.
    Text,
    /// Bytes.
    Binary,
}

/// What a message is to sessmux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What a page says first on every load: said upstream once, later ones are absorbed.
    Hello,
    /// The server's answer to it: recorded, and shown to later pages.
    HelloAnswer,
    /// The server's refusal of it: the page may say another hello, and nothing is recorded.
    HelloRefused,
    /// It asks whether this side lives: answered here, attached or not; neither forwarded nor kept.
    Heartbeat,
    /// Goes upstream the first time that it is said in a session; later ones are absorbed.
    Once,
    /// A page's request: its id is made one that no other page's has.
    Request,
    /// The server's answer to one: for the page that asked alone, under its own id.
    Answer,
    /// It is about a request of the page's own, named by its id: goes upstream under the id that the server knows that by.
    Cancel,
    /// It goes upstream, and later pages are shown it as a message of the server.
    Echo,
    /// From here on nothing is looked into, and there is no session: as a page's first message only.
    Tunnel,
    /// A request that sessmux answers itself.
    Local,
    /// Swallowed.
    Ignore,
    /// The newest full state: older ones of its kind are not kept.
    Latest,
    /// It waits for the person: open until it is answered.
    Prompt,
    /// The person's answer: the first goes upstream, later ones do not.
    PromptAnswer,
    /// A hello where none may be said: not in profiles, but what their signed hellos are in a tunnel.
    Refused,
    /// The server does not wait for an answer any more.
    PromptEnd,
    /// A turn begins.
    TurnStart,
    /// The turn is over.
    TurnEnd,
    /// The conversation is over: the session ends when its page leaves.
    End,
}

impl Role {
    /// Every role with its name and whose messages may have it; `None` is either side's.
    pub const ALL: [(&'static str, Self, Option<Side>); 19] = [
        ("hello", Self::Hello, Some(Side::Client)),
        ("hello-answer", Self::HelloAnswer, Some(Side::Server)),
        ("hello-refused", Self::HelloRefused, Some(Side::Server)),
        ("heartbeat", Self::Heartbeat, None),
        ("once", Self::Once, Some(Side::Client)),
        ("request", Self::Request, Some(Side::Client)),
        ("answer", Self::Answer, Some(Side::Server)),
        ("cancel", Self::Cancel, Some(Side::Client)),
        ("echo", Self::Echo, Some(Side::Client)),
        ("tunnel", Self::Tunnel, Some(Side::Client)),
        ("local", Self::Local, Some(Side::Client)),
        ("ignore", Self::Ignore, None),
        ("latest", Self::Latest, Some(Side::Server)),
        ("prompt", Self::Prompt, Some(Side::Server)),
        ("prompt-answer", Self::PromptAnswer, Some(Side::Client)),
        ("prompt-end", Self::PromptEnd, Some(Side::Server)),
        ("turn-start", Self::TurnStart, None),
        ("turn-end", Self::TurnEnd, Some(Side::Server)),
        ("end", Self::End, None),
    ];

    /// Whether messages of this role may name what they are about.
    pub fn has_id(self) -> bool {
        !matches!(
            self,
            Self::Heartbeat | Self::Local | Self::Ignore | Self::Tunnel | Self::Once | Self::Echo | Self::End
        )
    }

    /// Whether messages of this role do not go on to the other side.
    pub fn absorbs(self) -> bool {
        matches!(
            self,
            Self::Hello | Self::Once | Self::Heartbeat | Self::Local | Self::Ignore
        )
    }
}
