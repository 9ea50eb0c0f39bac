//! What an operator is told of a session: numbers and times, and nothing that anybody said.

use std::time::Instant;

use super::Session;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// The newest epoch.
    pub epoch: u64,
    /// A turn runs.
    pub running: bool,
    /// The oldest position that can be replayed; above `newest` where there is none.
    pub oldest: u64,
    /// The newest position.
    pub newest: u64,
    /// Up to which position the attached page, or the last one, has acknowledged receipt.
    pub acknowledged: u64,
    /// Messages in the log.
    pub messages: u64,
    /// Bytes that the log and what is kept beside it hold.
    pub bytes: usize,
    /// Messages that were evicted from the log.
    pub evicted: u64,
    /// Prompts that are open.
    pub prompts: usize,
    /// Since when the oldest of them is.
    pub oldest_prompt: Option<Instant>,
}

impl Session {
    /// How it stands.
    pub fn report(&self) -> Report {
        let acknowledged = match (&self.attached, self.last()) {
            (Some(attached), _) => attached.acks.acknowledged(),
            (None, Some(last)) => last.resume,
            (None, None) => self.after_hello(),
        };
        Report {
            epoch: self.epoch,
            running: self.is_running(),
            oldest: self.log.base().position + 1,
            newest: self.log.boundary().position,
            acknowledged: acknowledged.position,
            messages: self.log.messages(),
            bytes: self.held(),
            evicted: self.counts().evicted,
            prompts: self.open_prompts().count(),
            oldest_prompt: self.open_prompts().map(|prompt| prompt.since).min(),
        }
    }
}
