//! What is written down of a session, where traffic is recorded: what comes, whatever is made of it.

use std::time::Instant;

use super::SessionTask;
use crate::capture::Event;
use crate::core::cause::{Cause, Parting};
use crate::core::close;
use crate::core::frame::Opcode;
use crate::core::session::UpstreamEnd;
use crate::profile::{Kind, Side};
use crate::session::page::{kind, payload};

impl SessionTask {
    /// A message of the page was taken; `asked` is the id upstream of the last request before it.
    pub(super) fn record_client(&self, now: Instant, message: &[u8], asked: u64) {
        if let Some(tape) = &self.membership.tape {
            let copy = |out: &mut Vec<u8>| payload(message, out);
            let newest = self.core.last_asked();
            let id = (newest > asked).then_some(newest);
            tape.message(now, Side::Client, kind(message), id, message.len(), copy);
        }
    }

    /// A message of the server is complete and not yet committed.
    pub(super) fn record_server(&self, now: Instant) {
        if let Some(tape) = &self.membership.tape {
            let log = self.core.log();
            let start = log.boundary().offset;
            let (_, _, opcode) = log.beginning(start);
            let kind = if opcode == Opcode::Text {
                Kind::Text
            } else {
                Kind::Binary
            };
            let copy = |out: &mut Vec<u8>| log.payload(start, out);
            tape.message(now, Side::Server, kind, None, (log.tail() - start) as usize, copy);
        }
    }

    pub(super) fn record_attach(&self, now: Instant, epoch: u64, cause: Option<Cause>) {
        self.record(now, Event::Attach { epoch, cause });
    }

    pub(super) fn record_detach(&self, now: Instant, epoch: u64, parting: Parting) {
        let code = match parting {
            Parting::Closed(code) => Some(code.unwrap_or(close::NO_CODE)),
            Parting::Cut | Parting::Takeover | Parting::Gap => None,
        };
        self.record(now, Event::Detach { epoch, code });
    }

    pub(super) fn record_end(&self, now: Instant, how: &UpstreamEnd) {
        let code = how.close().map(|close| close.code.unwrap_or(close::NO_CODE));
        self.record(now, Event::End { code });
    }

    fn record(&self, now: Instant, event: Event) {
        if let Some(tape) = &self.membership.tape {
            tape.event(now, event);
        }
    }
}
