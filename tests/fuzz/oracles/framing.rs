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
use hyper::{Request, Response};
use sessmux::server::framing::{Fault, Framing};

/// Larger than any input: what is too large, hyper refuses.
const MAX_HEAD: usize = 64 << 10;

/// A request: method, target, how many fields, and its body, if that ended well.
type Asked = (String, String, usize, Option<Vec<u8>>);

pub fn check(data: &[u8]) {
    let [cut, bytes @ ..] = data else { return };
    let mut whole = Framing::new(MAX_HEAD);
    let fault = whole.read(bytes).err();
    let (mut parted, mut fault_of_parts) = (Framing::new(MAX_HEAD), None);
    for piece in bytes.chunks(usize::from(*cut) + 1) {
        fault_of_parts = fault_of_parts.or(parted.read(piece).err());
    }
    assert_eq!((fault, whole.heads()), (fault_of_parts, parted.heads()));

    let mut rest = bytes;
    for asked in by_hyper(bytes, usize::from(*cut) + 1) {
        let (expected, later) = strict(rest).expect("hyper found a request where there is none");
        assert_eq!((&asked.0, &asked.1, asked.2), (&expected.0, &expected.1, expected.2));
        // none: it is not whole, or in chunks
        if let (Some(body), Some(expected)) = (asked.3, expected.3) {
            assert_eq!(body, expected);
        }
        rest = later;
    }
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

/// The request at the beginning, and what follows it; a body is none where it is not whole, or in chunks.
fn strict(bytes: &[u8]) -> Option<(Asked, &[u8])> {
    let mut bytes = bytes;
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
    let mut lines = text.split("\r\n");
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = lines.next()?.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let fields: Vec<(&str, &str)> = lines.map(|line| line.split_once(':')).collect::<Option<_>>()?;
    let of = |wanted: &str| {
        let found = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found
            .map(|(_, value)| value.trim_matches([' ', '\t']))
            .collect::<Vec<_>>()
    };
    let length: Option<usize> = match (&of("content-length")[..], &of("transfer-encoding")[..]) {
        ([], []) => Some(0),
        ([length], []) => Some(length.parse().ok()?),
        ([], ["chunked"]) => None,
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => None,
        _ => return None,
    };
    let (body, later) = match length {
        Some(length) if length <= rest.len() => (Some(rest[..length].to_vec()), &rest[length..]),
        _ => (None, &b""[..]),
    };
    Some(((method.into(), target.into(), fields.len(), body), later))
}
