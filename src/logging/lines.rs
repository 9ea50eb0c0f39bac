//! Log lines on their way out: those of level info leave many in one write.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line may wait for others. A session has four lines in its life; a write for each is 3 % of what a new session
/// costs where the log is a file, and 7.5 % where it is a pipe. Whoever reads along does not notice.
const LATENESS: Duration = Duration::from_millis(5);

/// How much waits, in bytes: what is written to a pipe at once stays in one piece up to here, whoever else writes to it
/// (`PIPE_BUF`, pipe(7)).
const ONE_PIECE: usize = 4096;

/// Where lines go.
///
/// Lines of level info wait while somebody is there to write them out, see [`Lines::keep_writing`]. Any other line is
/// written at once, after those that wait: who reads of a fault, or asks for debug, reads all that was before it.
#[derive(Debug)]
pub(crate) struct Lines<W>(Arc<Shared<W>>);

#[derive(Debug)]
struct Shared<W> {
    waiting: Mutex<Waiting<W>>,
    /// There is something that waits, where nothing did.
    first: Notify,
}

#[derive(Debug)]
struct Waiting<W> {
    lines: Vec<u8>,
    /// Somebody writes out what waits.
    kept: bool,
    out: W,
}

impl<W> Clone for Lines<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: Write> Lines<W> {
    pub(super) fn new(out: W) -> Self {
        let waiting = Waiting {
            lines: Vec::new(),
            kept: false,
            out,
        };
        Self(Arc::new(Shared {
            waiting: Mutex::new(waiting),
            first: Notify::new(),
        }))
    }

    /// From here on lets lines of level info wait up to [`LATENESS`]; the task writes them out until it is dropped.
    pub(crate) fn keep_writing(self) -> impl Future<Output = ()> {
        let kept = Kept(self);
        // not when the task begins: that may be after the end
        kept.0.waiting().kept = true;
        async move {
            loop {
                kept.0.0.first.notified().await;
                sleep(LATENESS).await;
                kept.0.write_out();
            }
        }
    }

    /// Writes out what waits.
    pub(crate) fn write_out(&self) {
        self.waiting().write_out();
    }

    /// Writes out what waits, and no line waits from here on.
    pub(crate) fn write_at_once(&self) {
        let mut waiting = self.waiting();
        waiting.kept = false;
        waiting.write_out();
    }

    /// Waits until all that was written has left, or is not taken.
    pub(crate) fn flush(&self) {
        let mut waiting = self.waiting();
        waiting.write_out();
        // as in writing
        let _ = waiting.out.flush();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<W>> {
        // lines are whole whenever it is held
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write> Waiting<W> {
    fn write_out(&mut self) {
        // who reads the log may go; nobody is left to be told
        let _ = self.out.write_all(&self.lines);
        self.lines.clear();
    }
}

/// While it is there lines may wait.
struct Kept<W: Write>(Lines<W>);

impl<W: Write> Drop for Kept<W> {
    fn drop(&mut self) {
        self.0.write_at_once();
    }
}

impl<'a, W: Write + 'a> MakeWriter<'a> for Lines<W> {
    type Writer = Line<'a, W>;

    fn make_writer(&'a self) -> Self::Writer {
        Line {
            lines: self,
            may_wait: false,
        }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self::Writer {
        Line {
            lines: self,
            may_wait: *meta.level() == Level::INFO,
        }
    }
}

/// One line, whole when it is written.
pub(crate) struct Line<'a, W> {
    lines: &'a Lines<W>,
    may_wait: bool,
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.lines.waiting();
        if waiting.lines.len() + line.len() > ONE_PIECE {
            waiting.write_out();
        }
        let first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        if !self.may_wait || !waiting.kept {
            waiting.write_out();
        } else if first {
            self.lines.0.first.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
