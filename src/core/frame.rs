//! WebSocket frame headers (RFC 6455 section 5.2): parsing, and the few frames that sessmux writes itself.

/// Longest header: two bytes, a 64-bit length and a mask.
pub const MAX_HEADER: usize = 14;
/// Longest payload of a control frame (RFC 6455 section 5.5).
pub const MAX_CONTROL: usize = 125;

/// Who sends a frame; clients mask, servers must not (RFC 6455 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A browser, or sessmux towards upstream.
    Client,
    /// The agent server, or sessmux towards a page.
    Server,
}

/// Frame opcodes (RFC 6455 section 11.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// Goes on with a fragmented message.
    Continuation = 0,
    /// Starts a text message.
    Text = 1,
    /// Starts a binary message.
    Binary = 2,
    /// Starts the closing handshake.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping.
    Pong = 10,
}

impl Opcode {
    /// Whether frames of this kind may stand inside a fragmented message.
    pub fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// A parsed frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Last frame of its message.
    pub fin: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// Masking key of a client's frame.
    pub mask: Option<[u8; 4]>,
    /// Length of the header itself, in bytes.
    size: u8,
    /// Length of the payload, in bytes.
    pub payload: u64,
}

impl Header {
    /// Length of the header itself, in bytes.
    pub fn size(&self) -> usize {
        self.size.into()
    }

    /// Header and payload together, in bytes.
    pub fn total(&self) -> u64 {
        u64::from(self.size) + self.payload
    }
}

/// Why bytes cannot be a frame; each is a protocol error (1002).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A reserved bit without an extension that defines it.
    #[error("reserved bits set without an extension")]
    ReservedBits,
    /// An opcode that RFC 6455 does not define.
    #[error("reserved opcode {0:#x}")]
    ReservedOpcode(u8),
    /// A client that does not mask.
    #[error("unmasked client frame")]
    Unmasked,
    /// A server that masks.
    #[error("masked server frame")]
    Masked,
    /// A length in more bytes than it needs, or beyond 2^63.
    #[error("bad payload length")]
    Length,
    /// A control frame that is fragmented or over 125 bytes.
    #[error("bad control frame")]
    Control,
}

/// Parses the header at the start of `bytes`; `None` asks for more of them.
pub fn parse(bytes: &[u8], from: Sender) -> Result<Option<Header>, Malformed> {
    let &[first, second, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0x70 != 0 {
        return Err(Malformed::ReservedBits);
    }
    let opcode = match first & 0x0f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        other => return Err(Malformed::ReservedOpcode(other)),
    };
    match (from, second & 0x80 != 0) {
        (Sender::Client, false) => return Err(Malformed::Unmasked),
        (Sender::Server, true) => return Err(Malformed::Masked),
        _ => {}
    }
    let fin = first & 0x80 != 0;
    if opcode.is_control() && (!fin || second & 0x7f > MAX_CONTROL as u8) {
        return Err(Malformed::Control);
    }
    let (payload, extended) = match second & 0x7f {
        126 => {
            let Some(length) = rest.first_chunk::<2>() else {
                return Ok(None);
            };
            (u64::from(u16::from_be_bytes(*length)), 2)
        }
        127 => {
            let Some(length) = rest.first_chunk::<8>() else {
                return Ok(None);
            };
            (u64::from_be_bytes(*length), 8)
        }
        short => (u64::from(short), 0),
    };
    let minimal = match extended {
        2 => payload > 125,
        8 => payload > 0xffff && payload >> 63 == 0,
        _ => true,
    };
    if !minimal {
        return Err(Malformed::Length);
    }
    let mask = match from {
        Sender::Server => None,
        Sender::Client => match rest[extended..].first_chunk::<4>() {
            Some(mask) => Some(*mask),
            None => return Ok(None),
        },
    };
    let size = 2 + extended + if mask.is_some() { 4 } else { 0 };
    Ok(Some(Header {
        fin,
        opcode,
        mask,
        // at most MAX_HEADER
        size: size as u8,
        payload,
    }))
}

/// Unmasks or masks `bytes` in place; `at` is the offset of the first of them within the frame's payload.
pub fn apply_mask(bytes: &mut [u8], mask: [u8; 4], at: usize) {
    let mut key = mask;
    key.rotate_left(at % 4);
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let word = u64::from_ne_bytes(chunk.try_into().unwrap_or_default()) ^ wide;
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// Appends a whole, unfragmented frame; with a mask it is a client's.
pub fn write(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    out.push(0x80 | opcode as u8);
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        short @ 0..=125 => out.push(masked | short as u8),
        medium @ 126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(masked | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(mask.as_ref().map_or(&[][..], |mask| mask));
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut out[start..], mask, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_parses(payload in proptest::collection::vec(any::<u8>(), 0..70_000), mask: Option<[u8; 4]>) {
            let mut out = Vec::new();
            write(&mut out, Opcode::Binary, &payload, mask);
            let from = if mask.is_some() { Sender::Client } else { Sender::Server };
            for cut in 0..MAX_HEADER.min(out.len()) {
                if let Some(header) = parse(&out[..cut], from).unwrap() {
                    prop_assert!(header.size() <= cut);
                }
            }
            let header = parse(&out, from).unwrap().unwrap();
            prop_assert_eq!(header.total(), out.len() as u64);
            let mut body = out[header.size()..].to_vec();
            if let Some(mask) = header.mask {
                // in two pieces, the second with its own phase
                let cut = body.len() / 3;
                apply_mask(&mut body[..cut], mask, 0);
                apply_mask(&mut body[cut..], mask, cut);
            }
            prop_assert_eq!(body, payload);
        }

        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            let _ = parse(&bytes, Sender::Client);
            let _ = parse(&bytes, Sender::Server);
        }
    }

    #[test]
    fn offences_have_names() {
        let server = |bytes: &[u8]| parse(bytes, Sender::Server).unwrap_err();
        assert_eq!(server(&[0xc1, 0]), Malformed::ReservedBits);
        assert_eq!(server(&[0x83, 0]), Malformed::ReservedOpcode(3));
        assert_eq!(server(&[0x81, 0x80]), Malformed::Masked);
        assert_eq!(server(&[0x89, 126]), Malformed::Control);
        assert_eq!(server(&[0x09, 0]), Malformed::Control);
        assert_eq!(server(&[0x82, 126, 0, 125]), Malformed::Length);
        assert_eq!(server(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), Malformed::Length);
        assert_eq!(server(&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]), Malformed::Length);
        assert_eq!(parse(&[0x81, 0], Sender::Client).unwrap_err(), Malformed::Unmasked);
    }
}
