//! One socket of the demo agent: prompts in, streamed turns out.
//!
//! It is written as agent servers usually are: the turn runs in the socket's own task, and when the
//! socket goes away the turn is dropped with it.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::counts::SideCounts;
use super::script;

/// How long the pretend tool takes, in words.
const TOOL_WORDS: u32 = 13;

/// What a page says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Request {
    /// Begins a turn.
    Prompt { text: String },
    /// Lets the tool call of this id run.
    Approve { id: String },
    /// Forbids the tool call of this id.
    Deny { id: String },
}

/// What the agent says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    /// First message of every connection.
    Welcome,
    /// A turn began; its prompt is repeated, so that the messages of the agent alone tell the story.
    TurnStarted { turn: u64, prompt: &'a str },
    /// Next piece of the answer.
    Token { text: &'a str },
    /// A tool call waits for the person.
    ApprovalNeeded {
        id: &'a str,
        tool: &'a str,
        command: &'a str,
    },
    /// The tool call was approved and runs.
    ToolStarted { id: &'a str },
    /// The tool call ran.
    ToolOutput { id: &'a str, text: &'a str },
    /// The tool call was denied.
    ToolDenied { id: &'a str },
    /// The turn is complete.
    TurnFinished { turn: u64 },
    /// A request that cannot be followed now.
    Refused { reason: &'a str },
}

/// An event as it is sent: a page that got it before knows it by `session` and `seq`.
#[derive(Debug, Serialize)]
struct Numbered<'a> {
    /// Number of the connection.
    session: u64,
    /// Number of the message within the connection, from 1.
    seq: u64,
    #[serde(flatten)]
    event: Event<'a>,
}

/// A connection to one page, or to what stands before it.
pub(super) struct Conversation<'a, S> {
    socket: WebSocketStream<S>,
    counts: &'a SideCounts,
    session: u64,
    /// Time before each word.
    word: Duration,
    /// Number of the newest message sent.
    seq: u64,
    /// Turns begun.
    turns: u64,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Conversation<'a, S> {
    /// A conversation that has said nothing yet.
    pub(super) fn new(socket: WebSocketStream<S>, session: u64, word: Duration, counts: &'a SideCounts) -> Self {
        Self {
            socket,
            counts,
            session,
            word,
            seq: 0,
            turns: 0,
        }
    }

    /// Serves prompts until the socket goes away, which is the error this ends with.
    pub(super) async fn serve(mut self) -> Result<(), Error> {
        self.counts.connected();
        self.say(Event::Welcome).await?;
        loop {
            match self.hear().await? {
                Request::Prompt { text } => self.turn(&text).await?,
                Request::Approve { .. } | Request::Deny { .. } => {
                    self.say(Event::Refused {
                        reason: "no tool call is waiting",
                    })
                    .await?;
                }
            }
        }
    }

    async fn turn(&mut self, prompt: &str) -> Result<(), Error> {
        self.turns += 1;
        let turn = self.turns;
        let running = self.counts.begin_turn();
        self.say(Event::TurnStarted { turn, prompt }).await?;
        self.stream(script::PLAN).await?;

        let id = format!("call-{}-{turn}", self.session);
        self.say(Event::ApprovalNeeded {
            id: &id,
            tool: script::TOOL,
            command: script::COMMAND,
        })
        .await?;
        if self.decision(&id).await? {
            self.say(Event::ToolStarted { id: &id }).await?;
            self.pause(self.word * TOOL_WORDS).await?;
            self.counts.tool_ran();
            self.say(Event::ToolOutput {
                id: &id,
                text: script::OUTPUT,
            })
            .await?;
            self.stream(script::DONE).await?;
        } else {
            self.say(Event::ToolDenied { id: &id }).await?;
            self.stream(script::DENIED).await?;
        }
        self.say(Event::TurnFinished { turn }).await?;
        running.finish();
        Ok(())
    }

    /// Sends a text word by word, as models speak.
    async fn stream(&mut self, text: &str) -> Result<(), Error> {
        for word in text.split_inclusive(' ') {
            self.pause(self.word).await?;
            self.say(Event::Token { text: word }).await?;
        }
        Ok(())
    }

    /// Waits until the person approves (`true`) or denies the call of this id.
    async fn decision(&mut self, call: &str) -> Result<bool, Error> {
        loop {
            match self.hear().await? {
                Request::Approve { id } if id == call => return Ok(true),
                Request::Deny { id } if id == call => return Ok(false),
                Request::Approve { .. } | Request::Deny { .. } => {
                    self.say(Event::Refused {
                        reason: "this tool call is not waiting",
                    })
                    .await?;
                }
                Request::Prompt { .. } => {
                    self.say(Event::Refused {
                        reason: "answer the tool call first",
                    })
                    .await?;
                }
            }
        }
    }

    /// Lets time pass with an ear on the socket, so that its end ends the turn at once.
    async fn pause(&mut self, time: Duration) -> Result<(), Error> {
        let until = Instant::now() + time;
        loop {
            tokio::select! {
                () = sleep_until(until) => return Ok(()),
                request = self.hear() => {
                    request?;
                    self.say(Event::Refused { reason: "a turn is running" }).await?;
                }
            }
        }
    }

    async fn say(&mut self, event: Event<'_>) -> Result<(), Error> {
        self.seq += 1;
        let numbered = Numbered {
            session: self.session,
            seq: self.seq,
            event,
        };
        let text = serde_json::to_string(&numbered).map_err(std::io::Error::from)?;
        self.socket.send(Message::text(text)).await
    }

    /// The next request; what is none of those known is passed over, as is usual.
    async fn hear(&mut self) -> Result<Request, Error> {
        loop {
            let message = self.socket.next().await.ok_or(Error::ConnectionClosed)??;
            if let Message::Text(text) = message
                && let Ok(request) = serde_json::from_str(&text)
            {
                return Ok(request);
            }
        }
    }
}
