//! Last bytes to a socket that no session needs any more, in a task of their own.
//!
//! A socket that is closed with unread bytes sends a reset, and a reset can destroy the close frame just written; so the
//! socket is read until the peer closes too, for a bounded time.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::transport::socket::Socket;

/// A peer has this long to take the last bytes; one that does not is reset.
const WRITE: Duration = Duration::from_secs(1);
/// And this long to close its side.
const LINGER: Duration = Duration::from_secs(1);
/// One that was told no close has this long to read what lies in the system's buffers: a reset would destroy that.
const READ: Duration = Duration::from_secs(15);

/// Writes `bytes`, which end in a close frame, and lets the connection go.
pub(super) fn farewell(tracker: &TaskTracker, socket: Socket, bytes: Vec<u8>) {
    let_go(tracker, socket, bytes, LINGER);
}

/// Ends the connection without a close frame, once its peer has read what was sent.
pub(super) fn end(tracker: &TaskTracker, socket: Socket, bytes: Vec<u8>) {
    let_go(tracker, socket, bytes, READ);
}

fn let_go(tracker: &TaskTracker, mut socket: Socket, bytes: Vec<u8>, linger: Duration) {
    tracker.spawn(async move {
        let written = timeout(WRITE, async {
            socket.write_all(&bytes).await?;
            socket.shutdown().await
        });
        if !matches!(written.await, Ok(Ok(()))) {
            socket.reset();
            return;
        }
        let mut ignored = [0; 1024];
        let drained = async { while matches!(socket.read(&mut ignored).await, Ok(1..)) {} };
        let _ = timeout(linger, drained).await;
    });
}
