//! Writes on a thread of its own: who logs does not wait for who reads the log.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What waits at most, in bytes: some thousand lines.
const MOST: usize = 1 << 20;

/// A flush waits for no longer: a reader that stands still is not to hold up the end of the process.
const PATIENCE: Duration = Duration::from_secs(1);

/// Hands each write over, in order. Where the thread falls behind by more than [`MOST`], what comes is dropped, and its lines
/// are counted; the log tells how many once it is read again. A terminal that is held (Ctrl-S), a pager, or a log driver that
/// is stuck would else hold whichever task has something to say, and with them all traffic.
#[derive(Debug, Clone)]
pub(crate) struct Aside(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something waits, where nothing did.
    first: Condvar,
    /// All is written.
    empty: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// Each is one write.
    pieces: VecDeque<Vec<u8>>,
    /// Of the pieces, and of the one that is being written.
    bytes: usize,
    lost: u64,
}

impl Aside {
    pub(super) fn new(out: impl Write + Send + 'static) -> Self {
        let shared = Arc::<Shared>::default();
        let writing = Arc::clone(&shared);
        // ends with the process
        let thread = thread::Builder::new()
            .name("log".into())
            .spawn(move || writing.write(out));
        thread.expect("a thread that writes the log");
        Self(shared)
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // whole whenever it is held
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, mut out: impl Write) {
        loop {
            let queue = self.queue();
            let mut queue = self
                .first
                .wait_while(queue, |it| it.pieces.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            let piece = queue.pieces.pop_front().unwrap_or_default();
            drop(queue);
            // who reads the log may go; nobody is left to be told
            let _ = out.write_all(&piece);
            let mut queue = self.queue();
            queue.bytes -= piece.len();
            let lost = if queue.bytes == 0 {
                mem::take(&mut queue.lost)
            } else {
                0
            };
            if queue.bytes == 0 {
                self.empty.notify_all();
            }
            drop(queue);
            if lost > 0 {
                tracing::warn!(
                    lost,
                    "log lines were dropped: who reads the log stood still or was too slow"
                );
            }
        }
    }
}

impl Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut queue = self.0.queue();
        if queue.bytes + bytes.len() > MOST {
            queue.lost += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        } else if !bytes.is_empty() {
            queue.bytes += bytes.len();
            queue.pieces.push_back(bytes.to_vec());
            self.0.first.notify_one();
        }
        Ok(bytes.len())
    }

    /// Waits until all is written, for [`PATIENCE`] at most.
    fn flush(&mut self) -> io::Result<()> {
        let queue = self.0.queue();
        let waited = self.0.empty.wait_timeout_while(queue, PATIENCE, |it| it.bytes > 0);
        drop(waited);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A reader that takes a write when it is told to, and hands it on.
    struct Slow {
        go: Receiver<()>,
        read: Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.go.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.read.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Aside, Sender<()>, Receiver<Vec<u8>>) {
        let ((go, told), (read, reads)) = (channel(), channel());
        (Aside::new(Slow { go: told, read }), go, reads)
    }

    #[test]
    fn each_write_stays_one_and_who_writes_does_not_wait() {
        let (mut aside, go, reads) = slow();
        for text in ["one\n", "two\n", "three\n"] {
            aside.write_all(text.as_bytes()).unwrap();
        }
        for text in ["one\n", "two\n", "three\n"] {
            go.send(()).unwrap();
            assert_eq!(reads.recv().unwrap(), text.as_bytes());
        }
        aside.flush().unwrap();
        assert_eq!(aside.0.queue().bytes, 0);
    }

    #[test]
    fn what_does_not_fit_is_counted_and_nobody_waits_for_a_reader_that_stands_still() {
        let (mut aside, go, reads) = slow();
        let line = vec![b'\n'; MOST / 4];
        for _ in 0..6 {
            aside.write_all(&line).unwrap();
        }
        assert_eq!(aside.0.queue().lost, 2 * line.len() as u64);
        // the time is up
        aside.flush().unwrap();
        assert!(aside.0.queue().bytes > 0);
        for _ in 0..4 {
            go.send(()).unwrap();
            assert_eq!(reads.recv().unwrap().len(), line.len());
        }
        aside.flush().unwrap();
        let queue = aside.0.queue();
        assert_eq!((queue.bytes, queue.lost), (0, 0));
    }

    #[test]
    fn a_reader_that_goes_holds_up_nobody() {
        let (mut aside, go, _) = slow();
        drop(go);
        aside.write_all(b"one\n").unwrap();
        aside.flush().unwrap();
        assert_eq!(aside.0.queue().bytes, 0);
    }
}
