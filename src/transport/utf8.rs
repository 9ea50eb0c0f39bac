//! UTF-8 checked in pieces.

/// The check of one text message.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// The start of a character that the last piece cut.
    cut: [u8; 4],
    length: u8,
}

impl Utf8 {
    /// Checks the next piece; with `last` no character may be left cut. After `false` the state means nothing.
    pub(super) fn push(&mut self, mut bytes: &[u8], last: bool) -> bool {
        while self.length > 0 {
            let Some((first, rest)) = bytes.split_first() else {
                return !last;
            };
            self.cut[usize::from(self.length)] = *first;
            self.length += 1;
            bytes = rest;
            match std::str::from_utf8(&self.cut[..usize::from(self.length)]) {
                Ok(_) => self.length = 0,
                // a character has at most four bytes, so this ends
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return false,
            }
        }
        match simdutf8::compat::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) if error.error_len().is_none() => {
                let rest = &bytes[error.valid_up_to()..];
                self.cut[..rest.len()].copy_from_slice(rest);
                self.length = rest.len() as u8;
                !last
            }
            Err(_) => false,
        }
    }
}
