//! The demo page: files compiled in, so that it needs neither a build step nor a network.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};

const INDEX: &str = include_str!("page/index.html");
const HALF: &str = include_str!("page/half.html");

/// The answer to `GET path`, if the page has such a file; `agent` is where the straight half dials.
pub(super) fn file(path: &str, agent: SocketAddr) -> Option<Response<Full<Bytes>>> {
    const HTML: &str = "text/html; charset=utf-8";
    const CSS: &str = "text/css; charset=utf-8";
    const JS: &str = "text/javascript; charset=utf-8";
    Some(match path {
        "/" => answer(HTML, INDEX),
        "/straight" => answer(
            HTML,
            half(
                "straight",
                "Straight to the agent",
                &format!("ws://{agent}/agent/straight"),
            ),
        ),
        // Without host: the page finds this socket where it found itself.
        "/sessmux" => answer(HTML, half("sessmux", "Through sessmux", "/agent/sessmux")),
        "/demo.css" => answer(CSS, include_str!("page/demo.css")),
        "/index.js" => answer(JS, include_str!("page/index.js")),
        "/half.js" => answer(JS, include_str!("page/half.js")),
        "/transcript.js" => answer(JS, include_str!("page/transcript.js")),
        _ => return None,
    })
}

/// One half of the page, with its name, its title and the address of its socket filled in.
fn half(side: &str, title: &str, socket: &str) -> String {
    HALF.replace("{{side}}", side)
        .replace("{{title}}", title)
        .replace("{{socket}}", socket)
}

/// A 200 that nobody may store: a page that came out of a cache would hide its own reload.
pub(super) fn answer(content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}
