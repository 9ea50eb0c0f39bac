//! Writes a capture beside the relay: sessions hand lines over, and a thread of its own writes them.
//!
//! Nobody waits for the file. What does not fit into the queue is counted: the log says so, and so does the capture, where
//! it is missing.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Event, Line, What};
use crate::profile::{Kind, Side};

/// Most lines that wait to be written.
const MAX_LINES: usize = 8192;
/// Most bytes of payload that wait to be written; one message may be more, if nothing else waits. Tests have less to write.
const MAX_BYTES: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };
/// How long a file may take to take the rest, at the end.
const REST: Duration = Duration::from_secs(5);
/// What is recorded is secret: it is its owner's alone.
const MODE: u32 = 0o600;

/// Opens the file of a recording: at its end, if there is one, and behind a line of its own that a full disk cut short.
///
/// # Errors
///
/// What the system says.
pub fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().append(true).create(true).mode(MODE).open(path)?;
    // one that was there before may be open to others; a device or a pipe is not ours to change
    let known = file.metadata()?;
    if known.is_file() {
        file.set_permissions(Permissions::from_mode(MODE))?;
        let mut last = [b'\n'];
        if let Some(end) = known.len().checked_sub(1) {
            File::open(path)?.read_exact_at(&mut last, end)?;
        }
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// Whether [`open`] may succeed: the file can be written to, or there is a folder to make it in. Nothing is made.
///
/// # Errors
///
/// What the system says.
pub fn check(path: &Path) -> io::Result<()> {
    match path.metadata() {
        // a pipe would wait for its reader
        Ok(there) if there.is_file() || there.is_dir() => OpenOptions::new().append(true).open(path).map(drop),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            folder.map_or(Ok(()), |folder| folder.metadata().map(drop))
        }
        Err(error) => Err(error),
    }
}

/// A recording under way.
#[derive(Debug)]
pub struct Recording {
    recorder: Recorder,
    writer: JoinHandle<()>,
}

/// Gives every session its [`Tape`]; cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    queue: SyncSender<Job>,
    /// Bytes of payload that wait to be written.
    waiting: AtomicUsize,
    /// Lines that were not recorded.
    lost: AtomicU64,
    /// Sessions recorded.
    sessions: AtomicU64,
}

#[derive(Debug)]
enum Job {
    Line(Line),
    Stop,
}

/// Records one session.
#[derive(Debug)]
pub struct Tape {
    shared: Arc<Shared>,
    session: Box<str>,
    /// Lines that were not recorded since the last one that was.
    lost: AtomicU64,
}

impl Recording {
    /// Begins to write to `out`, from `now` on.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(out: impl Write + Send + 'static, now: Instant) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(MAX_LINES);
        let shared = Arc::new(Shared {
            began: now,
            queue,
            waiting: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
        });
        let recorder = Recorder(Arc::clone(&shared));
        let writer = std::thread::Builder::new().name("record".into()).spawn(move || {
            if let Err(error) = write(out, &jobs, &shared) {
                tracing::error!(cause = %error, "record: nothing is recorded any more");
            }
        })?;
        Ok(Self { recorder, writer })
    }

    /// What sessions are recorded with.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Writes all that waits, and ends, within 5 s: a disk or a reader that stands still keeps nobody. Returns how many
    /// lines were not recorded before that.
    pub fn finish(self) -> u64 {
        self.finish_within(REST)
    }

    fn finish_within(self, time: Duration) -> u64 {
        let shared = self.recorder.0;
        let (written, all) = channel();
        let (queue, writer) = (shared.queue.clone(), self.writer);
        // not waited for where it takes too long: it ends with the process
        std::thread::spawn(move || {
            // fails where the writer has ended already, which it has said
            let _ = queue.send(Job::Stop);
            let _ = writer.join();
            let _ = written.send(());
        });
        let late = all.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
        let lost = shared.lost.load(Ordering::Relaxed);
        if lost > 0 || late {
            // bytes of messages
            let unwritten = late.then(|| shared.waiting.load(Ordering::Relaxed));
            tracing::warn!(lost, unwritten, "not everything was recorded");
        }
        lost
    }
}

impl Recorder {
    /// A tape for the session that logs know as `id`.
    pub fn tape(&self, id: impl std::fmt::Display) -> Tape {
        let number = self.0.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        Tape {
            shared: Arc::clone(&self.0),
            // another session may have the key after this one
            session: format!("{id}.{number}").into(),
            lost: AtomicU64::new(0),
        }
    }
}

impl Tape {
    /// Records a message of about `size` bytes, whose payload `copy` appends; without room for it, nothing is copied.
    pub fn message(
        &self,
        now: Instant,
        from: Side,
        kind: Kind,
        asked: Option<u64>,
        size: usize,
        copy: impl FnOnce(&mut Vec<u8>),
    ) {
        let before = self.shared.waiting.load(Ordering::Relaxed);
        if before > 0 && before + size > MAX_BYTES {
            return self.lose(1);
        }
        let mut payload = Vec::with_capacity(size);
        copy(&mut payload);
        self.put(
            now,
            What::Message {
                from,
                kind,
                asked,
                payload,
            },
        );
    }

    /// Records an event.
    pub fn event(&self, now: Instant, event: Event) {
        self.put(now, What::Event(event));
    }

    fn put(&self, now: Instant, what: What) {
        let lines = self.lost.swap(0, Ordering::Relaxed);
        if lines > 0 && !self.queued(now, What::Event(Event::Lost { lines })) {
            self.lost.fetch_add(lines, Ordering::Relaxed);
            return self.lose(1);
        }
        if !self.queued(now, what) {
            self.lose(1);
        }
    }

    fn queued(&self, now: Instant, what: What) -> bool {
        let line = Line {
            session: self.session.clone(),
            at: now.saturating_duration_since(self.shared.began).as_millis() as u64,
            what,
        };
        let size = size(&line);
        self.shared.waiting.fetch_add(size, Ordering::Relaxed);
        let taken = self.shared.queue.try_send(Job::Line(line)).is_ok();
        if !taken {
            self.shared.waiting.fetch_sub(size, Ordering::Relaxed);
        }
        taken
    }

    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        self.shared.lost.fetch_add(lines, Ordering::Relaxed);
    }
}

/// Bytes of payload.
fn size(line: &Line) -> usize {
    match &line.what {
        What::Message { payload, .. } => payload.len(),
        What::Event(_) => 0,
    }
}

/// Writes what comes, until it is told to stop; whenever nothing waits, the file has it all.
fn write(out: impl Write, jobs: &Receiver<Job>, shared: &Shared) -> io::Result<()> {
    let (mut out, mut told) = (BufWriter::new(out), 0);
    loop {
        let job = match jobs.try_recv() {
            Err(TryRecvError::Empty) => {
                out.flush()?;
                jobs.recv().unwrap_or(Job::Stop)
            }
            job => job.unwrap_or(Job::Stop),
        };
        let Job::Line(line) = job else { return out.flush() };
        let size = size(&line);
        writeln!(out, "{}", line.write())?;
        shared.waiting.fetch_sub(size, Ordering::Relaxed);
        let lost = shared.lost.load(Ordering::Relaxed);
        // the first, and then whenever it has doubled
        if lost > 2 * told {
            tracing::warn!(lost, "the recording cannot keep up: some messages are missing in it");
            told = lost;
        }
    }
}

#[cfg(test)]
mod tests;
