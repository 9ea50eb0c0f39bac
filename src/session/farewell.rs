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

use super::budget::Share;
use super::scratch;
use crate::transport::socket::Socket;

/// A close frame, and what is sent with it where that is no message, are written in any case; in bytes.
const LITTLE: usize = 1024;
/// A peer has this long to take the last bytes; one that does not is reset.
const WRITE: Duration = Duration::from_secs(1);
/// And this long to close its side.
const LINGER: Duration = Duration::from_secs(1);
/// One that was told no close has this long to read what lies in the system's buffers: a reset would destroy that.
const READ: Duration = Duration::from_secs(15);

/// Writes `bytes`, which end in a close frame, and lets the connection go. Until they are written they count as `share`;
/// where there is too much of all, and this is much of it, the connection is reset instead.
pub(super) fn farewell(tracker: &TaskTracker, share: Option<Share>, socket: Socket, bytes: Vec<u8>) {
    let_go(tracker, share, socket, bytes, LINGER);
}

/// Ends the connection without a close frame, once its peer has read what was sent; else as [`farewell`].
pub(super) fn end(tracker: &TaskTracker, share: Option<Share>, socket: Socket, bytes: Vec<u8>) {
    let_go(tracker, share, socket, bytes, READ);
}

fn let_go(tracker: &TaskTracker, mut share: Option<Share>, mut socket: Socket, bytes: Vec<u8>, linger: Duration) {
    if let Some(share) = &mut share {
        share.set(bytes.capacity());
        if bytes.len() > LITTLE && share.is_over() {
            return socket.reset();
        }
    }
    tracker.spawn(async move {
        let written = timeout(WRITE, async {
            socket.write_all(&bytes).await?;
            socket.shutdown().await
        });
        if !matches!(written.await, Ok(Ok(()))) {
            socket.reset();
            return;
        }
        drop((bytes, share));
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus::IntGauge;
    use tokio::net::UnixStream;

    use super::super::budget::Budget;
    use super::*;

    #[tokio::test]
    async fn what_is_yet_to_be_written_counts_and_little_is_written_in_any_case() {
        const MUCH: usize = 1 << 20;
        let gauge = IntGauge::new("a", "b").unwrap();
        let budget = Arc::new(Budget::new(2 * MUCH, gauge.clone()));
        let tracker = TaskTracker::new();
        let says = |bytes: usize| {
            let (socket, peer) = UnixStream::pair().unwrap();
            farewell(&tracker, Some(budget.share()), Socket::Unix(socket), vec![0; bytes]);
            peer
        };
        let heard = async |mut peer: UnixStream| {
            let mut bytes = Vec::new();
            let read = tokio::io::AsyncReadExt::read_to_end(&mut peer, &mut bytes).await;
            read.unwrap_or_default()
        };
        let peer = says(MUCH);
        assert_eq!(gauge.get(), MUCH as i64);
        assert_eq!(heard(peer).await, MUCH);
        // there is too much of all
        let mut other = budget.share();
        other.set(3 * MUCH);
        assert_eq!(heard(says(MUCH)).await, 0);
        assert_eq!(heard(says(LITTLE)).await, LITTLE);
        drop(other);
        tracker.close();
        tracker.wait().await;
        assert_eq!(gauge.get(), 0);
    }
}
