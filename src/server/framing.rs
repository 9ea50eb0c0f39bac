//! Request heads as they come over the wire, looked at more strictly than hyper's parser does.
//!
//! hyper reads what some peers write (RFC 9112 2.2 and 6.3 allow it): lines that end without CR, a length beside
//! `Transfer-Encoding`. It does so safely, but a proxy before this one that reads the same bytes in another way could be
//! led to take one request for two. So what can be read in two ways is refused. hyper stays the parser; this counts along
//! where heads begin, and tells what is wrong with one before it is answered.

use memchr::{memchr2_iter, memmem};

/// A connection's bytes as they are read, from its first.
#[derive(Debug)]
pub struct Framing {
    state: State,
    max_head: usize,
    /// Whole heads so far.
    heads: u64,
}

#[derive(Debug)]
enum State {
    /// Within a head, of which this much came before; empty at its beginning.
    Head(Vec<u8>),
    /// Within a body of which so much is yet to come.
    Body(u64),
    /// Behind a head after which nothing is looked at: one that is refused, or the last of its connection.
    Last,
}

/// Why a head is refused.
pub type Fault = &'static str;

/// What a head says that comes after it.
enum Next {
    /// A body of this length; then another head.
    Body(u64),
    /// A body in chunks, whose end is not looked for, or another protocol: it is to be the connection's last request.
    Last,
}

impl Framing {
    /// A new connection, whose heads are no larger than this: what is larger, hyper refuses.
    #[must_use]
    pub fn new(max_head: usize) -> Self {
        Self {
            state: State::Head(Vec::new()),
            max_head,
            heads: 0,
        }
    }

    /// Looks at the next bytes; called before hyper is given them.
    ///
    /// # Errors
    ///
    /// What is wrong with a head that ended within them.
    pub fn read(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Last => return Ok(()),
                State::Body(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[here..];
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::Head(Vec::new());
                    }
                }
                State::Head(before) => {
                    let from = before.len();
                    if from > 0 {
                        before.extend_from_slice(bytes);
                    }
                    // mostly a head comes in one piece, and nothing is copied
                    let whole: &[u8] = if from > 0 { before } else { bytes };
                    // the end may lie across the pieces
                    let searched = from.saturating_sub(3);
                    let Some(end) = memmem::find(&whole[searched..], b"\r\n\r\n").map(|at| searched + at + 4) else {
                        if whole.len() > self.max_head {
                            self.state = State::Last;
                        } else if from == 0 {
                            self.state = State::Head(bytes.to_vec());
                        }
                        return Ok(());
                    };
                    self.heads += 1;
                    let next = check(&whole[..end]);
                    bytes = &bytes[end - from..];
                    self.state = match &next {
                        Ok(Next::Body(0)) => State::Head(Vec::new()),
                        Ok(Next::Body(length)) => State::Body(*length),
                        Ok(Next::Last) | Err(_) => State::Last,
                    };
                    next?;
                }
            }
        }
        Ok(())
    }

    /// Whole heads so far; hyper having found more than these means a line that ended otherwise.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.heads
    }
}

/// Checks a head, its last empty line included.
fn check(head: &[u8]) -> Result<Next, Fault> {
    for at in memchr2_iter(b'\r', b'\n', head) {
        match head[at] {
            b'\n' if at == 0 || head[at - 1] != b'\r' => return Err("a line that ends without CR"),
            b'\r' if head.get(at + 1) != Some(&b'\n') => return Err("a CR within a line"),
            _ => {}
        }
    }
    // all of them, without an early end, for that is done many at a time
    if head.iter().fold(false, |found, byte| found | is_control(*byte)) {
        return Err("a control byte in a head");
    }
    let mut lines = head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
    // empty lines before a request are let pass (RFC 9112 2.2)
    let request = lines.find(|line| !line.is_empty()).ok_or("no request line")?;
    let version = version(request)?;
    let (mut length, mut chunked, mut upgrade) = (None, false, false);
    for line in lines.take_while(|line| !line.is_empty()) {
        if line[0] == b' ' || line[0] == b'\t' {
            return Err("a folded line");
        }
        let colon = line
            .iter()
            .position(|&byte| byte == b':')
            .ok_or("a line without a colon")?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !is_token(name) {
            return Err("a field name that is none");
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            if length.is_some() {
                return Err("Content-Length twice");
            }
            length = Some(number(value).ok_or("a Content-Length that is no number")?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked {
                return Err("Transfer-Encoding twice");
            }
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err("a Transfer-Encoding that is not chunked");
            }
            chunked = true;
        }
        upgrade |= name.eq_ignore_ascii_case(b"upgrade");
    }
    match (chunked, length) {
        (true, Some(_)) => Err("Content-Length beside Transfer-Encoding"),
        (true, None) if version != b"HTTP/1.1" => Err("Transfer-Encoding in HTTP/1.0"),
        (true, None) => Ok(Next::Last),
        (false, _) if upgrade => Ok(Next::Last),
        (false, length) => Ok(Next::Body(length.unwrap_or(0))),
    }
}

/// The version of a request line, which has three parts and one space between each.
fn version(line: &[u8]) -> Result<&[u8], Fault> {
    let mut parts = line.split(|&byte| byte == b' ');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(method), Some(target), Some(version), None)
            if !method.is_empty()
                && is_token(method)
                && !target.is_empty()
                && !target.contains(&b'\t')
                // a target has no fragment (RFC 9112 3.2), and hyper would leave it out
                && !target.contains(&b'#')
                && (version == b"HTTP/1.1" || version == b"HTTP/1.0") =>
        {
            Ok(version)
        }
        _ => Err("a request line that is none of HTTP/1.1"),
    }
}

/// A length: digits alone, no more than a 64-bit number has.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A control byte that has no place in a head.
fn is_control(byte: u8) -> bool {
    (byte < 0x20 && !matches!(byte, b'\r' | b'\n' | b'\t')) || byte == 0x7f
}

/// Whether all of it is a token (RFC 9110 5.6.2).
fn is_token(text: &[u8]) -> bool {
    text.iter().all(|&byte| TOKEN[usize::from(byte)])
}

/// Which bytes are a token's (RFC 9110 5.6.2).
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests;
