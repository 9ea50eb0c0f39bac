//! What sessmux logs during one test.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Mutex, Once};

use tokio::sync::Notify;
use tokio::time::timeout;

use super::PATIENCE;

thread_local! {
    /// Who takes this thread's lines.
    static TAKER: RefCell<Option<Lines>> = const { RefCell::new(None) };
}

/// Takes the log of its thread, the newest one there is; a test's runtime has one thread, so nobody else's lines are
/// in it.
pub struct Log {
    lines: Lines,
    before: Option<Lines>,
}

#[derive(Clone, Default)]
struct Lines {
    bytes: Arc<Mutex<Vec<u8>>>,
    written: Arc<Notify>,
}

/// Before the first line of the process: one subscriber for all threads, because which lines are wanted at all is
/// remembered for the process.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(|| Writer)
            .init();
    });
}

impl Log {
    pub fn capture() -> Self {
        install();
        let lines = Lines::default();
        let before = TAKER.replace(Some(lines.clone()));
        Self { lines, before }
    }

    /// How many lines hold all of `words`.
    pub fn count(&self, words: &[&str]) -> usize {
        let text = self.text();
        text.lines()
            .filter(|line| words.iter().all(|word| line.contains(word)))
            .count()
    }

    /// Awaits a line that holds all of `words`.
    pub async fn says(&self, words: &[&str]) {
        self.says_times(1, words).await;
    }

    /// Awaits so many lines that hold all of `words`.
    pub async fn says_times(&self, times: usize, words: &[&str]) {
        let said = async {
            loop {
                let more = self.lines.written.notified();
                if self.count(words) >= times {
                    return;
                }
                more.await;
            }
        };
        if timeout(PATIENCE, said).await.is_err() {
            panic!("no line with {words:?} in\n{}", self.text());
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.lines.bytes.lock().unwrap()).into_owned()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        TAKER.set(self.before.take());
    }
}

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TAKER.with_borrow(|taker| {
            if let Some(lines) = taker {
                lines.bytes.lock().unwrap().extend_from_slice(bytes);
                lines.written.notify_one();
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
