//! Last bytes to a socket that no session needs any more, in a task of their own.
//!
//! A socket that is closed with unread bytes sends a reset, and a reset can destroy the close frame just written; so the
//! socket is read until the peer closes too, for a bounded time.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::scratch;
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
        let drained = async { while matches!(ignore_some(&mut socket).await, Ok(1..)) {} };
        let _ = timeout(linger, drained).await;
    });
}

/// Reads once; returns how many bytes there were.
async fn ignore_some(socket: &mut Socket) -> io::Result<usize> {
    poll_fn(|cx| {
        scratch::with(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            let read = Pin::new(&mut *socket).poll_read(cx, &mut buffer);
            read.map_ok(|()| buffer.filled().len())
        })
    })
    .await
}
