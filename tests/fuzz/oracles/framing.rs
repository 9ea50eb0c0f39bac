//! Request heads as they come over the wire: however they are cut, the same is found wrong; and whatever hyper then takes
//! for a request is the one that stands there, read as strictly as RFC 9112 can be read.
//!
//! Input: how the bytes are cut, and the bytes.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use sessmux::server::framing::{Fault, Framing};

/// Larger than any input: what is too large, hyper refuses.
const MAX_HEAD: usize = 64 << 10;

/// A request that hyper finds: method, target, how many fields, and its body, if that ended well.
type Asked = (String, String, usize, Option<Vec<u8>>);

pub fn check(data: &[u8]) {
    let [cut, bytes @ ..] = data else { return };
    let whole = framing(bytes, bytes.len());
    for piece in [1, usize::from(*cut) + 1] {
        assert_eq!(whole, framing(bytes, piece));
    }
    let requests: Vec<Strict<'_>> = requests(bytes).collect();
    if let Some(last) = requests.last().filter(|it| it.last) {
        let end = bytes.len() - last.behind.len();
        assert_eq!(
            whole,
            framing(&bytes[..end], end),
            "what is behind the last head is not looked at"
        );
    }
    let asked = by_hyper(bytes, usize::from(*cut) + 1);
    assert!(
        asked.len() <= requests.len(),
        "hyper found a request where there is none"
    );
    for ((method, target, fields, body), expected) in asked.iter().zip(&requests) {
        assert_eq!((&**method, *fields), (expected.method, expected.fields));
        if expected.target.starts_with(['/', '*']) {
            assert_eq!(target, expected.target, "the target goes on as it came");
        } else {
            assert!(target.parse::<Uri>().ok() == expected.target.parse().ok() && !expected.target.contains('#'));
        }
        // there is none where it is not whole, or in chunks
        if let (Some(body), Some(expected)) = (body, expected.body) {
            assert_eq!(body, expected);
        }
    }
}

/// What is found wrong, and how many heads, in pieces of this length.
fn framing(bytes: &[u8], piece: usize) -> (Option<Fault>, u64) {
    let mut framing = Framing::new(MAX_HEAD);
    let fault = bytes.chunks(piece.max(1)).find_map(|piece| framing.read(piece).err());
    (fault, framing.heads())
}

/// The requests that hyper finds and that would be answered.
fn by_hyper(bytes: &[u8], piece: usize) -> Vec<Asked> {
    let (seen, asked) = (
        Rc::new(RefCell::new(Seen::default())),
        Rc::new(RefCell::new(Vec::new())),
    );
    let socket = Socket {
        pieces: bytes.chunks(piece).map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter(),
        framing: Framing::new(MAX_HEAD),
        seen: Rc::clone(&seen),
    };
    let (into, look) = (Rc::clone(&asked), Rc::clone(&seen));
    let service = service_fn(move |request: Request<Incoming>| {
        let refused = {
            let mut seen = look.borrow_mut();
            seen.asked += 1;
            seen.fault.is_some() || seen.asked > seen.heads
        };
        let into = Rc::clone(&into);
        async move {
            let mut answer = Response::new(Empty::<Bytes>::new());
            let (head, body) = request.into_parts();
            if refused || head.headers.contains_key(TRANSFER_ENCODING) || head.headers.contains_key(UPGRADE) {
                answer
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if !refused {
                let target = head.uri.to_string();
                let place = {
                    let mut asked = into.borrow_mut();
                    asked.push((head.method.to_string(), target, head.headers.len(), None));
                    asked.len() - 1
                };
                let body = body.collect().await.ok().map(|body| body.to_bytes().to_vec());
                into.borrow_mut()[place].3 = body;
            }
            Ok::<_, Infallible>(answer)
        }
    });
    {
        let mut connection = pin!(
            http1::Builder::new()
                .header_read_timeout(None)
                .serve_connection(socket, service)
        );
        let mut context = Context::from_waker(Waker::noop());
        // it wakes itself where it lets others have a turn
        for _ in 0..100 {
            if connection.as_mut().poll(&mut context).is_ready() {
                break;
            }
        }
    }
    asked.take()
}

/// What was seen of a connection.
#[derive(Default)]
struct Seen {
    fault: Option<Fault>,
    heads: u64,
    asked: u64,
}

/// A client's socket, all of whose bytes are there already; it has them looked at before hyper is given them.
struct Socket {
    pieces: std::vec::IntoIter<Vec<u8>>,
    framing: Framing,
    seen: Rc<RefCell<Seen>>,
}

impl Read for Socket {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let Some(piece) = self.pieces.next() else {
            return Poll::Ready(Ok(()));
        };
        // buffers of hyper have some kB, pieces have 256 bytes at most
        buffer.put_slice(&piece);
        let found = self.framing.read(&piece);
        let mut seen = self.seen.borrow_mut();
        seen.fault = seen.fault.or(found.err());
        seen.heads = self.framing.heads();
        Poll::Ready(Ok(()))
    }
}

impl Write for Socket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A request as it stands there.
struct Strict<'a> {
    method: &'a str,
    target: &'a str,
    fields: usize,
    /// Whole, and not in chunks.
    body: Option<&'a [u8]>,
    /// Nothing is told of what follows: an upgrade or chunks.
    last: bool,
    behind: &'a [u8],
}

fn requests(bytes: &[u8]) -> impl Iterator<Item = Strict<'_>> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let request = strict(rest?)?;
        rest = (!request.last).then_some(request.behind);
        Some(request)
    })
}

/// The request at the beginning, if there is one that can be read in one way.
fn strict(mut bytes: &[u8]) -> Option<Strict<'_>> {
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let line = std::str::from_utf8(lines.next()?).ok()?;
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = line.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let field = |line: &'_ [u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = std::str::from_utf8(&line[..colon]).ok()?.to_ascii_lowercase();
        Some((
            name,
            String::from_utf8_lossy(line[colon + 1..].trim_ascii()).into_owned(),
        ))
    };
    let fields: Vec<(String, String)> = lines.map(field).collect::<Option<_>>()?;
    let of = |wanted: &str| {
        let found = fields.iter().filter(|(name, _)| name == wanted);
        found.map(|(_, value)| value.to_ascii_lowercase()).collect::<Vec<_>>()
    };
    let length = match (&of("content-length")[..], &of("transfer-encoding")[..]) {
        ([], []) => Some(0),
        ([length], []) => Some(length.parse::<usize>().ok()?),
        ([], [coding]) if coding == "chunked" => None,
        _ => return None,
    };
    let last = length.is_none() || !of("upgrade").is_empty();
    let body = length.and_then(|length| rest.get(..length));
    let behind = if last {
        rest
    } else {
        &rest[body.map_or(rest.len(), <[u8]>::len)..]
    };
    let fields = fields.len();
    Some(Strict {
        method,
        target,
        fields,
        body,
        last,
        behind,
    })
}
