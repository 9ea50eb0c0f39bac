//! One line of a capture: to text and back.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::core::cause::Cause;
use crate::profile::{Kind, Side};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which session, by a name that no other in the capture has.
    pub session: Box<str>,
    /// Milliseconds since the recording began.
    pub at: u64,
    /// What happened.
    pub what: What,
}

/// What happened to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A whole message came.
    Message {
        /// From whom.
        from: Side,
        /// Text or binary.
        kind: Kind,
        /// The id that a page's request had upstream, where it was given another than its own.
        asked: Option<u64>,
        /// In clear.
        payload: Vec<u8>,
    },
    /// Something else.
    Event(Event),
}

/// What happens to a session beside messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A page was attached; the one before it, if it was still there, is replaced.
    Attach {
        /// Of the attachment.
        epoch: u64,
        /// Why the last one ended; none for the first.
        cause: Option<Cause>,
    },
    /// The page left.
    Detach {
        /// Of the attachment.
        epoch: u64,
        /// The code of the page's close frame, 1005 for one without; none where it sent none.
        code: Option<u16>,
    },
    /// The server ended its connection, with this code if it sent a close frame.
    End {
        /// The code of the server's close frame, 1005 for one without; none where it sent none.
        code: Option<u16>,
    },
    /// So much was not recorded, because the file was too slow.
    Lost {
        /// How many messages and events.
        lines: u64,
    },
}

/// A line as it is written, in this order.
#[derive(Serialize, Deserialize)]
struct Written {
    session: String,
    #[serde(default)]
    at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<u64>,
}

impl Line {
    /// The line's text, without its end.
    #[must_use]
    pub fn write(self) -> String {
        let mut written = Written {
            session: self.session.into(),
            at: self.at,
            from: None,
            asked: None,
            text: None,
            base64: None,
            event: None,
            epoch: None,
            cause: None,
            code: None,
            lines: None,
        };
        match self.what {
            What::Message {
                from,
                kind,
                asked,
                payload,
            } => {
                (written.from, written.asked) = (Some(side_name(from).into()), asked);
                match kind {
                    Kind::Text => written.text = Some(String::from_utf8_lossy(&payload).into_owned()),
                    Kind::Binary => written.base64 = Some(BASE64.encode(&payload)),
                }
            }
            What::Event(event) => {
                let (name, epoch, cause, code, lines) = match event {
                    Event::Attach { epoch, cause } => ("attach", Some(epoch), cause, None, None),
                    Event::Detach { epoch, code } => ("detach", Some(epoch), None, code, None),
                    Event::End { code } => ("end", None, None, code, None),
                    Event::Lost { lines } => ("lost", None, None, None, Some(lines)),
                };
                written.event = Some(name.into());
                written.cause = cause.map(|cause| cause.name().into());
                (written.epoch, written.code, written.lines) = (epoch, code, lines);
            }
        }
        // strings and numbers: this cannot fail
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// Reads a line's text.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_slice(text).map_err(|error| plain(&error))?;
        if !value.is_object() {
            return Err("is no JSON object".into());
        }
        let written: Written = serde_json::from_value(value).map_err(|error| plain(&error))?;
        let what = match (&written.from, &written.event) {
            (Some(from), None) => message(from, &written)?,
            (None, Some(name)) => What::Event(event(name, &written)?),
            _ => return Err("has to have either from or event".into()),
        };
        Ok(Self {
            session: written.session.into(),
            at: written.at,
            what,
        })
    }
}

/// What serde_json says, without its place within the line.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default().to_owned();
    if error.is_data() {
        reason
    } else {
        format!("is no JSON object: {reason}")
    }
}

fn message(from: &str, written: &Written) -> Result<What, String> {
    let from = match from {
        "client" => Side::Client,
        "server" => Side::Server,
        _ => return Err(format!("from = {from:?}: is neither client nor server")),
    };
    let (kind, payload) = match (&written.text, &written.base64) {
        (Some(text), None) => (Kind::Text, text.clone().into_bytes()),
        (None, Some(base64)) => {
            let decoded = BASE64.decode(base64.as_bytes());
            let decoded = decoded.map_err(|error| format!("base64 = {base64:?}: {error}"));
            (Kind::Binary, decoded?)
        }
        _ => return Err("a message has either text or base64".into()),
    };
    Ok(What::Message {
        from,
        kind,
        asked: written.asked,
        payload,
    })
}

fn event(name: &str, written: &Written) -> Result<Event, String> {
    let code = written.code;
    Ok(match name {
        "attach" => Event::Attach {
            epoch: written.epoch.unwrap_or_default(),
            cause: written.cause.as_deref().map(cause).transpose()?,
        },
        "detach" => Event::Detach {
            epoch: written.epoch.unwrap_or_default(),
            code,
        },
        "end" => Event::End { code },
        "lost" => Event::Lost {
            lines: written.lines.unwrap_or_default(),
        },
        _ => return Err(format!("event = {name:?}: is none of attach, detach, end, lost")),
    })
}

fn cause(name: &str) -> Result<Cause, String> {
    let known = [Cause::Blip, Cause::Refresh, Cause::OnPurpose];
    let found = known.into_iter().find(|cause| cause.name() == name);
    found.ok_or_else(|| format!("cause = {name:?}: is none of blip, refresh, on-purpose"))
}

/// What a side is called.
#[must_use]
pub fn side_name(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

#[cfg(test)]
mod tests;
