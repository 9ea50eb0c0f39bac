//! A page's socket on its way to a session.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::browser::Browser;
use super::budget::Share;
use super::farewell::farewell;
use super::key::Key;
use super::quota::Place;
use crate::core::cause::PageFacts;
use crate::core::close::Close;
use crate::core::proofs::Proof;
use crate::transport::socket::Socket;

/// A page's socket that asks to be attached.
#[derive(Debug)]
pub struct Attach {
    /// The socket, after the 101.
    pub socket: Socket,
    /// Bytes to send first: the 101 itself, where it was held back to share a write with the replay.
    pub head: Vec<u8>,
    /// Bytes that were read from the socket already, from the start of a frame.
    pub unread: Vec<u8>,
    /// When the 101 was made.
    pub since: Instant,
    /// The browser that it comes from, if that is known.
    pub browser: Option<Arc<Browser>>,
    /// The name of the session that it came for.
    pub key: Option<Arc<Key>>,
    /// Who said its hello, where that is proved.
    pub proof: Option<Proof>,
    /// The id of the hello that it has said, as it stands there.
    pub hello_id: Option<Vec<u8>>,
    /// Its place among the pending attachments, given up when it is attached.
    pub permit: Option<Place<IpAddr>>,
    /// What it holds of the memory that all have together, until it is attached.
    pub share: Option<Share>,
    /// Where the attach comes back to if the session ends before it took effect; dropped once it did.
    pub retry: Option<oneshot::Sender<Box<Attach>>>,
}

impl Attach {
    /// What is known of its browser's page requests.
    pub fn facts(&self) -> PageFacts {
        self.browser
            .as_ref()
            .map_or_else(PageFacts::default, |browser| browser.facts())
    }

    /// Counts what was read of it; whether that is more than there is memory for.
    pub(super) fn holds_too_much(&mut self) -> bool {
        self.share.as_mut().is_some_and(|share| {
            share.set(self.unread.len());
            share.is_over()
        })
    }

    /// Closes it without having attached it.
    pub fn turn_away(mut self, tracker: &TaskTracker, close: &Close) {
        close.write(&mut self.head, None);
        farewell(tracker, self.share, self.socket, self.head);
    }

    /// Gives it back to whoever sent it, to try anew; a sender that is gone has given up.
    pub(super) fn give_back(mut self: Box<Self>) {
        if let Some(retry) = self.retry.take() {
            let _ = retry.send(self);
        }
    }
}
