//! What an operator is told of sessions, and how one is ended.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Response, StatusCode};

use super::{line, text_of};
use crate::session::registry::{Listing, NotEnded, Sessions};

/// All of them.
pub(super) async fn list(sessions: &Sessions) -> Response<Full<Bytes>> {
    json(&sessions.list(None).await)
}

/// Those of this id: the one that is there, and those that were and ended lately.
pub(super) async fn tell(sessions: &Sessions, id: &str) -> Response<Full<Bytes>> {
    let listing = match id.parse() {
        Ok(id) => sessions.list(Some(id)).await,
        Err(reason) => return unknown(&reason),
    };
    if listing.sessions.is_empty() && listing.ended.is_empty() {
        return unknown(&format!("{}, nor did one end lately", NotEnded::Unknown));
    }
    json(&listing)
}

/// Ends the one of this id.
pub(super) async fn end(sessions: &Sessions, id: &str) -> Response<Full<Bytes>> {
    let ended = match id.parse() {
        Ok(id) => sessions.end(id).await,
        Err(reason) => return unknown(&reason),
    };
    match ended {
        Ok(()) => {
            tracing::info!(session = id, "ended by an operator");
            text_of(StatusCode::NO_CONTENT, String::new(), "text/plain; charset=utf-8")
        }
        Err(NotEnded::Unknown) => unknown(&NotEnded::Unknown.to_string()),
        Err(why) => line(StatusCode::CONFLICT, format!("{why}\n")),
    }
}

fn unknown(why: &str) -> Response<Full<Bytes>> {
    line(StatusCode::NOT_FOUND, format!("{why}\n"))
}

fn json(listing: &Listing) -> Response<Full<Bytes>> {
    match serde_json::to_string(listing) {
        Ok(text) => text_of(StatusCode::OK, text + "\n", "application/json"),
        Err(error) => {
            tracing::error!(cause = %error, "cannot write the sessions");
            line(StatusCode::INTERNAL_SERVER_ERROR, "see the log\n")
        }
    }
}
