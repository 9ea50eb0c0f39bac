//! Frames out of bytes that arrive in any pieces: what is cut where, what is allowed, and whether text is UTF-8.
//!
//! The reader owns no buffer but, while there is one, the start of a header or control frame that straddles two reads;
//! payload passes as it came over the wire.

use std::cell::RefCell;

use crate::core::close;
use crate::core::frame::{self, Header, MAX_CONTROL, Malformed, Opcode, Sender};
use crate::core::log::Run;

use super::utf8::Utf8;

/// Reads one direction of one connection.
#[derive(Debug)]
pub struct FrameReader {
    from: Sender,
    bounds: Bounds,
    /// The start of a header or control frame, where it was cut; boxed, for it rarely is.
    carry: Option<Box<Carry>>,
    /// The data frame being read.
    frame: Option<Open>,
    /// The message being read.
    message: Option<Message>,
    utf8: Utf8,
}

/// The start of a header or control frame.
#[derive(Debug)]
struct Carry(Vec<u8>);

/// Bounds of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// In bytes; the headers of its continuation frames count.
    pub bytes: u32,
    /// In frames.
    pub fragments: u32,
}

/// A message that is being read.
#[derive(Debug, Clone, Copy)]
struct Message {
    text: bool,
    bytes: u64,
    fragments: u32,
}

impl Message {
    /// The message that begins with this frame.
    fn new(header: &Header) -> Result<Self, Fault> {
        match header.opcode {
            Opcode::Continuation => Err(Fault::Fragments),
            opcode => Ok(Self {
                text: opcode == Opcode::Text,
                bytes: header.payload,
                fragments: 1,
            }),
        }
    }

    /// What it is with its next frame.
    fn with(self, header: &Header) -> Result<Self, Fault> {
        match header.opcode {
            Opcode::Continuation => Ok(Self {
                bytes: self.bytes.saturating_add(header.total()),
                fragments: self.fragments.saturating_add(1),
                ..self
            }),
            _ => Err(Fault::Fragments),
        }
    }
}

/// A data frame whose header was read.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// How much of its payload is yet to come, in bytes.
    left: u64,
    mask: Option<[u8; 4]>,
    /// Which byte of the mask is the next one's.
    phase: u8,
    /// It ends its message.
    fin: bool,
}

impl Open {
    fn new(header: &Header) -> Self {
        Self {
            left: header.payload,
            mask: header.mask,
            phase: 0,
            fin: header.fin,
        }
    }
}

/// What the next bytes are.
#[derive(Debug)]
pub enum Event<'a> {
    /// Part of a data frame.
    Data(Piece<'a>),
    /// A whole control frame; payload unmasked.
    Control(Opcode, Control),
    /// Nothing complete: read more.
    More,
}

/// The payload of a control frame.
#[derive(Debug)]
pub struct Control {
    bytes: [u8; MAX_CONTROL],
    length: usize,
}

impl std::ops::Deref for Control {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Part of a data frame as it came over the wire: `carried` and then `raw`.
#[derive(Debug)]
pub struct Piece<'a> {
    /// The frame's header, where it began in an earlier read.
    pub carried: Vec<u8>,
    /// Bytes of this read.
    pub raw: &'a [u8],
    /// The piece starts a message.
    pub starts_message: bool,
    /// The piece ends its frame.
    pub ends_frame: bool,
    /// The piece ends its message.
    pub ends_message: bool,
    /// The message is text.
    pub text: bool,
}

/// A peer broke the protocol or a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Close code 1002.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A continuation without a start, or a start within a message; 1002.
    #[error("fragments out of order")]
    Fragments,
    /// Close code 1007.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// Close code 1009.
    #[error("message larger than max_message = {0}")]
    TooBig(u32),
    /// Close code 1009.
    #[error("message in more pieces than max_fragments = {0}")]
    TooMany(u32),
}

impl Fault {
    /// The code to close the offender's connection with.
    pub fn code(self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Fragments => close::PROTOCOL_ERROR,
            Self::NotUtf8 => close::NOT_UTF8,
            Self::TooBig(_) | Self::TooMany(_) => close::TOO_BIG,
        }
    }
}

thread_local! {
    /// Where masked text is unmasked to be looked at.
    static CLEAR: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl FrameReader {
    /// A reader of what `from` sends, at the start of its first frame.
    pub fn new(from: Sender, bounds: Bounds) -> Self {
        Self {
            from,
            bounds,
            carry: None,
            frame: None,
            message: None,
            utf8: Utf8::default(),
        }
    }

    /// Whether a message has begun and is not complete.
    pub fn amid_message(&self) -> bool {
        self.message.is_some() || self.frame.is_some() || self.carry.is_some()
    }

    /// Whether the last bytes were the start of a header or control frame, which it keeps until the rest comes.
    pub fn is_cut(&self) -> bool {
        self.carry.is_some()
    }

    /// Takes what comes next off the front of `bytes`. After [`Event::More`] `bytes` is empty.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Event<'a>, Fault> {
        if let Some(frame) = self.frame {
            if bytes.is_empty() {
                return Ok(Event::More);
            }
            return self.payload(frame, false, 0, Vec::new(), bytes);
        }
        if let Some(carry) = self.carry.take() {
            return self.carried_header(carry, bytes);
        }
        match frame::parse(bytes, self.from)? {
            Some(header) if header.opcode.is_control() => {
                if (bytes.len() as u64) < header.total() {
                    return Ok(self.carry_all(bytes));
                }
                let (whole, later) = bytes.split_at(header.total() as usize);
                *bytes = later;
                Ok(control(&header, whole))
            }
            Some(header) if header.fin && self.message.is_none() && header.total() <= bytes.len() as u64 => {
                self.whole_message(&header, bytes)
            }
            Some(header) => {
                let starts = self.begin(&header)?;
                self.payload(Open::new(&header), starts, header.size(), Vec::new(), bytes)
            }
            None => Ok(self.carry_all(bytes)),
        }
    }

    /// Takes the whole unmasked messages of one frame each that stand at the front of `bytes`, as long as `room` is enough
    /// for them all. What is anything else, a fault as well, is left to [`Self::next`].
    pub fn run<'a>(&mut self, bytes: &mut &'a [u8], room: usize) -> Option<Run<'a>> {
        if self.amid_message() {
            return None;
        }
        let most = room.min(bytes.len());
        let (mut end, mut messages, mut last) = (0, 0, 0);
        while let Some(total) = self.whole_length(&bytes[end..most]) {
            (end, messages, last) = (end + total, messages + 1, total);
        }
        let (run, later) = bytes.split_at(end);
        *bytes = later;
        (messages > 0).then_some(Run {
            bytes: run,
            messages,
            last,
        })
    }

    /// Length of the whole message of one frame that is at the front of `bytes`, if nothing else is.
    fn whole_length(&self, bytes: &[u8]) -> Option<usize> {
        let header = frame::parse(bytes, self.from).ok()??;
        if header.opcode.is_control() || !header.fin || header.mask.is_some() || header.total() > bytes.len() as u64 {
            return None;
        }
        self.check(&Message::new(&header).ok()?).ok()?;
        let total = header.total() as usize;
        let text = header.opcode == Opcode::Text;
        let valid = !text || simdutf8::basic::from_utf8(&bytes[header.size()..total]).is_ok();
        valid.then_some(total)
    }

    /// Takes a piece of a data frame off the front of `bytes`, if that is what comes next; its header is in the piece, if it
    /// begins with one. Anything else, a fault of the header as well, is left to [`Self::next`].
    pub fn piece<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Result<Piece<'a>, Fault>> {
        let is_data = |bytes| matches!(frame::parse(bytes, self.from), Ok(Some(header)) if !header.opcode.is_control());
        if bytes.is_empty() || self.carry.is_some() || (self.frame.is_none() && !is_data(bytes)) {
            return None;
        }
        match self.next(bytes) {
            Ok(Event::Data(piece)) => Some(Ok(piece)),
            Ok(_) => None,
            Err(fault) => Some(Err(fault)),
        }
    }

    /// Takes a message of one frame that is all there, as most are: nothing of it is to be remembered.
    fn whole_message<'a>(&mut self, header: &Header, bytes: &mut &'a [u8]) -> Result<Event<'a>, Fault> {
        self.check(&Message::new(header)?)?;
        let (raw, later) = bytes.split_at(header.total() as usize);
        *bytes = later;
        let text = header.opcode == Opcode::Text;
        if text && !self.check_text(&raw[header.size()..], &Open::new(header), true) {
            return Err(Fault::NotUtf8);
        }
        Ok(Event::Data(Piece {
            carried: Vec::new(),
            raw,
            starts_message: true,
            ends_frame: true,
            ends_message: true,
            text,
        }))
    }

    /// Goes on with a header, or a whole control frame, of which an earlier read had the start.
    fn carried_header<'a>(&mut self, mut carry: Box<Carry>, bytes: &mut &'a [u8]) -> Result<Event<'a>, Fault> {
        loop {
            let start = &mut carry.0;
            let parsed = frame::parse(start, self.from)?;
            let wanted = match parsed {
                Some(header) if header.opcode.is_control() => header.total() as usize,
                Some(header) => header.size(),
                None => start.len() + 1,
            };
            if let Some(header) = parsed.filter(|_| start.len() >= wanted) {
                // a header is complete, and so is the frame if it is a control frame
                if header.opcode.is_control() {
                    return Ok(control(&header, start));
                }
                let starts = self.begin(&header)?;
                return self.payload(Open::new(&header), starts, 0, carry.0, bytes);
            }
            let Some((first, rest)) = bytes.split_first() else {
                self.carry = Some(carry);
                return Ok(Event::More);
            };
            start.push(*first);
            *bytes = rest;
        }
    }

    fn carry_all<'a>(&mut self, bytes: &mut &'a [u8]) -> Event<'a> {
        if !bytes.is_empty() {
            self.carry = Some(Box::new(Carry(bytes.to_vec())));
        }
        *bytes = &[];
        Event::More
    }

    /// Checks a data frame's header against the message it belongs to, before any of its payload is held; returns
    /// whether it starts that.
    fn begin(&mut self, header: &Header) -> Result<bool, Fault> {
        let starts = self.message.is_none();
        let message = match self.message {
            None => Message::new(header)?,
            Some(message) => message.with(header)?,
        };
        self.check(&message)?;
        self.message = Some(message);
        Ok(starts)
    }

    fn check(&self, message: &Message) -> Result<(), Fault> {
        if message.bytes > u64::from(self.bounds.bytes) {
            return Err(Fault::TooBig(self.bounds.bytes));
        }
        if message.fragments > self.bounds.fragments {
            return Err(Fault::TooMany(self.bounds.fragments));
        }
        Ok(())
    }

    /// Takes payload of the frame being read; `skip` bytes of its header stand before that.
    fn payload<'a>(
        &mut self,
        frame: Open,
        starts_message: bool,
        skip: usize,
        carried: Vec<u8>,
        bytes: &mut &'a [u8],
    ) -> Result<Event<'a>, Fault> {
        let here = frame.left.min((bytes.len() - skip) as u64) as usize;
        let (raw, later) = bytes.split_at(skip + here);
        *bytes = later;
        let text = self.message.is_some_and(|message| message.text);
        let ends_frame = here as u64 == frame.left;
        let ends_message = ends_frame && frame.fin;
        if text && !self.check_text(&raw[skip..], &frame, ends_message) {
            return Err(Fault::NotUtf8);
        }
        self.frame = (!ends_frame).then_some(Open {
            left: frame.left - here as u64,
            phase: ((usize::from(frame.phase) + here) % 4) as u8,
            ..frame
        });
        if ends_message {
            self.message = None;
        }
        Ok(Event::Data(Piece {
            carried,
            raw,
            starts_message,
            ends_frame,
            ends_message,
            text,
        }))
    }

    fn check_text(&mut self, payload: &[u8], frame: &Open, last: bool) -> bool {
        let valid = match frame.mask {
            None => self.utf8.push(payload, last),
            Some(mask) => CLEAR.with_borrow_mut(|clear| {
                clear.clear();
                clear.extend_from_slice(payload);
                frame::apply_mask(clear, mask, frame.phase.into());
                self.utf8.push(clear, last)
            }),
        };
        if last {
            self.utf8 = Utf8::default();
        }
        valid
    }
}

fn control(header: &Header, whole: &[u8]) -> Event<'static> {
    let payload = &whole[header.size()..];
    let mut control = Control {
        bytes: [0; MAX_CONTROL],
        length: payload.len(),
    };
    control.bytes[..payload.len()].copy_from_slice(payload);
    if let Some(mask) = header.mask {
        frame::apply_mask(&mut control.bytes[..payload.len()], mask, 0);
    }
    Event::Control(header.opcode, control)
}

#[cfg(test)]
mod tests;
