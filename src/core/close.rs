//! Close codes: those of RFC 6455 section 7.4 that sessmux uses, and its own (README, "Close codes").

use std::fmt;

use super::frame::{self, Opcode};

/// The conversation is over, in order: what a page is told whose session an operator ends.
pub const NORMAL: u16 = 1000;
/// The page or the server is going away.
pub const GOING_AWAY: u16 = 1001;
/// A close frame without a code: what it is called, for it is never written.
pub const NO_CODE: u16 = 1005;
/// A frame breaks RFC 6455.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A text message is not UTF-8.
pub const NOT_UTF8: u16 = 1007;
/// The key is missing, or no hello or first message came in time.
pub const POLICY: u16 = 1008;
/// A message is over the route's `max_message` or `max_fragments`.
pub const TOO_BIG: u16 = 1009;
/// The agent server broke the protocol, or sent a message over the route's `max_message` or `max_fragments`.
pub const UPSTREAM_FAULT: u16 = 1011;
/// sessmux restarts or drains; try again.
pub const RESTART: u16 = 1012;
/// Over a limit; try again later.
pub const TRY_LATER: u16 = 1013;
/// The upstream could not be dialled, or refused, after the page was accepted.
pub const BAD_GATEWAY: u16 = 1014;
/// The hello does not prove that its sender may have the session.
pub const REFUSED: u16 = 4003;
/// A newer attachment took the session.
pub const REPLACED: u16 = 4001;
/// The page did not read for too long.
pub const TOO_SLOW: u16 = 4008;
/// Messages the page needs are no longer retained: reload to rebuild.
pub const GAP: u16 = 4009;

/// What a close frame said; a frame without a code has none (1005, never written).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Close {
    /// The code.
    pub code: Option<u16>,
    /// The reason, at most 123 bytes.
    pub reason: String,
}

/// Without the reason: peers may put secrets there, as into any message.
impl fmt::Debug for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(code) = self.code else {
            return f.write_str("no code");
        };
        write!(f, "{code}, with a reason of {} bytes", self.reason.len())
    }
}

impl Close {
    /// A close with a code and a reason; the reason must be at most 123 bytes.
    pub fn new(code: u16, reason: &str) -> Self {
        debug_assert!(reason.len() <= frame::MAX_CONTROL - 2);
        Self {
            code: Some(code),
            reason: reason.to_owned(),
        }
    }

    /// Reads the payload of a close frame; `None` where it breaks RFC 6455 section 5.5.1 or 7.4.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        match payload {
            [] => Some(Self::default()),
            [_] => None,
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                // 1004 is reserved; 1005, 1006 and 1015 are never on the wire
                let valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
                let reason = std::str::from_utf8(reason).ok()?;
                valid.then(|| Self {
                    code: Some(code),
                    reason: reason.to_owned(),
                })
            }
        }
    }

    /// Appends this as a close frame; with a mask it is a client's.
    pub fn write(&self, out: &mut Vec<u8>, mask: Option<[u8; 4]>) {
        let mut payload = Vec::with_capacity(2 + self.reason.len());
        if let Some(code) = self.code {
            payload.extend_from_slice(&code.to_be_bytes());
            payload.extend_from_slice(self.reason.as_bytes());
        }
        frame::write(out, Opcode::Close, &payload, mask);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_must_not_be_on_the_wire_are_refused() {
        for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
            assert_eq!(Close::parse(&code.to_be_bytes()), None, "{code}");
        }
        assert_eq!(Close::parse(&[3]), None);
        assert_eq!(Close::parse(&[3, 0xe8, 0xff]), None);
        assert_eq!(Close::parse(&[]), Some(Close::default()));
        assert_eq!(Close::parse(&[3, 0xe8, b'x']), Some(Close::new(1000, "x")));
    }
}
