//! Messages out of the frames that a task sends.

use std::io::IoSlice;
use std::time::Instant;

use crate::core::frame::{self, Opcode, Sender};
use crate::core::session::Session;
use crate::profile::Kind;
use crate::session::page::kind;
use crate::session::task::SLICES;

/// A message that is sent to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Text or binary.
    pub kind: Kind,
    /// In clear.
    pub payload: Vec<u8>,
}

/// Sends the attached page all that it is to be sent: messages, and the payloads of pings.
pub(super) fn sent_to_page(core: &mut Session, now: Instant) -> (Vec<Sent>, Vec<Vec<u8>>) {
    let mut wire = Vec::new();
    loop {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = core.slices(now, &mut slices);
        let before = wire.len();
        slices[..count].iter().for_each(|slice| wire.extend_from_slice(slice));
        let written = wire.len() - before;
        if written == 0 {
            return messages(&wire, Sender::Server);
        }
        core.wrote(now, written);
    }
}

/// The messages in whole frames, and the payloads of the pings among them.
pub(super) fn messages(mut wire: &[u8], sender: Sender) -> (Vec<Sent>, Vec<Vec<u8>>) {
    let (mut sent, mut pings, mut payload) = (Vec::new(), Vec::new(), Vec::new());
    let mut of_kind = Kind::Text;
    while let Ok(Some(header)) = frame::parse(wire, sender) {
        let (frame, later) = wire.split_at(header.total() as usize);
        let mut body = frame[header.size()..].to_vec();
        frame::apply_mask(&mut body, header.mask.unwrap_or_default(), 0);
        wire = later;
        match header.opcode {
            Opcode::Ping => pings.push(body),
            opcode if opcode.is_control() => {}
            opcode => {
                if opcode != Opcode::Continuation {
                    of_kind = kind(frame);
                }
                payload.append(&mut body);
                if header.fin {
                    let payload = std::mem::take(&mut payload);
                    sent.push(Sent { kind: of_kind, payload });
                }
            }
        }
    }
    (sent, pings)
}
