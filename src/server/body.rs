//! The bodies of answers: an upstream's, streamed, or a line of our own.

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

/// What answers carry: an upstream's body as it arrives, or a whole one made here.
pub type Body = Either<Incoming, Full<Bytes>>;

/// An answer of our own: one line of plain text that no cache keeps.
#[must_use]
pub fn line(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut answer = Response::new(Either::Right(Full::from(text)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// As [`line()`], with a text that names a rule of the configuration.
#[must_use]
pub fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut answer = line(status, "");
    *answer.body_mut() = Either::Right(Full::from(text));
    answer
}

/// An answer without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Either::Right(Full::default()));
    *answer.status_mut() = status;
    answer
}

#[cfg(test)]
mod tests {
    use hyper::body::Body as _;

    use super::*;

    #[test]
    fn a_line_is_text_that_is_not_cached() {
        let answer = line(StatusCode::BAD_GATEWAY, "no\n");
        assert_eq!(answer.status(), 502);
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        assert_eq!(answer.body().size_hint().exact(), Some(3));
    }
}
