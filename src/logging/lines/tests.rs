use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tokio::task::yield_now;
use tokio::time::advance;
use tracing::subscriber::DefaultGuard;

use super::{LATENESS, Lines, ONE_PIECE};

/// What was written, one entry a write.
#[derive(Debug, Clone, Default)]
struct Written(Arc<Mutex<Vec<String>>>);

impl Written {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() {
            self.0.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All that this thread logs goes to the lines.
fn logged(lines: &Lines<Written>) -> DefaultGuard {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .with_writer(lines.clone())
        .finish();
    tracing::subscriber::set_default(subscriber)
}

/// Lets the tasks run as far as they can without the clock.
async fn settle() {
    for _ in 0..4 {
        yield_now().await;
    }
}

/// Lines with somebody who writes them out, who is told to wait.
async fn kept() -> (Lines<Written>, Written, DefaultGuard) {
    let written = Written::default();
    let lines = Lines::new(written.clone());
    tokio::spawn(lines.clone().keep_writing());
    settle().await;
    let guard = logged(&lines);
    (lines, written, guard)
}

#[tokio::test(start_paused = true)]
async fn lines_of_one_moment_leave_in_one_write() {
    let (_lines, written, _guard) = kept().await;
    tracing::info!("one");
    tracing::info!("two");
    settle().await;
    assert_eq!(written.all(), Vec::<String>::new());
    advance(LATENESS).await;
    settle().await;
    assert_eq!(written.all(), [" INFO one\n INFO two\n"]);
    // and so does what comes later
    tracing::info!("three");
    settle().await;
    advance(LATENESS).await;
    settle().await;
    assert_eq!(written.all()[1..], [" INFO three\n"]);
}

#[tokio::test(start_paused = true)]
async fn any_other_level_is_written_at_once_after_what_waits() {
    let (_lines, written, _guard) = kept().await;
    tracing::info!("one");
    tracing::warn!("two");
    assert_eq!(written.all(), [" INFO one\n WARN two\n"]);
    tracing::error!("three");
    tracing::debug!("four");
    tracing::trace!("five");
    assert_eq!(written.all()[1..], ["ERROR three\n", "DEBUG four\n", "TRACE five\n"]);
}

#[tokio::test(start_paused = true)]
async fn no_more_waits_than_leaves_in_one_piece() {
    let (_lines, written, _guard) = kept().await;
    let long = "x".repeat(ONE_PIECE / 4);
    for _ in 0..4 {
        tracing::info!("{long}");
    }
    let all = written.all();
    assert_eq!(all.len(), 1, "three lines are in one piece, the fourth waits");
    assert_eq!(all[0].lines().count(), 3);
    assert!(all[0].len() <= ONE_PIECE);
    settle().await;
    advance(LATENESS).await;
    settle().await;
    assert_eq!(written.all()[1].lines().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_line_longer_than_a_piece_is_written_whole() {
    let (lines, written, _guard) = kept().await;
    let long = "x".repeat(2 * ONE_PIECE);
    tracing::info!("{long}");
    lines.write_out();
    assert_eq!(written.all(), [format!(" INFO {long}\n")]);
}

#[test]
fn no_line_waits_where_nobody_writes_it_out() {
    let written = Written::default();
    let lines = Lines::new(written.clone());
    let _guard = logged(&lines);
    tracing::info!("one");
    assert_eq!(written.all(), [" INFO one\n"]);
}

#[tokio::test(start_paused = true)]
async fn no_line_waits_from_the_end_on() {
    let (lines, written, _guard) = kept().await;
    tracing::info!("one");
    lines.write_at_once();
    tracing::info!("two");
    assert_eq!(written.all(), [" INFO one\n", " INFO two\n"]);
}

/// The task that writes lines out may begin only when all is over.
#[tokio::test(start_paused = true)]
async fn an_end_before_the_task_begins_is_an_end() {
    let written = Written::default();
    let lines = Lines::new(written.clone());
    let keeper = lines.clone().keep_writing();
    lines.write_at_once();
    tokio::spawn(keeper);
    settle().await;
    let _guard = logged(&lines);
    tracing::info!("one");
    assert_eq!(written.all(), [" INFO one\n"]);
}

#[test]
fn what_waits_is_written_when_the_runtime_goes() {
    let written = Written::default();
    let lines = Lines::new(written.clone());
    let _guard = logged(&lines);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::spawn(lines.clone().keep_writing());
        settle().await;
        tracing::info!("one");
        assert_eq!(written.all(), Vec::<String>::new());
    });
    drop(runtime);
    assert_eq!(written.all(), [" INFO one\n"]);
    tracing::info!("two");
    assert_eq!(written.all()[1..], [" INFO two\n"]);
}

/// Who reads the log goes: what logs goes on.
#[tokio::test(start_paused = true)]
async fn a_reader_that_goes_stops_nobody() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::new(Closed);
    let keeper = tokio::spawn(lines.clone().keep_writing());
    settle().await;
    let subscriber = tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_writer(lines.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    for _ in 0..3 {
        tracing::info!("nobody reads this");
        settle().await;
        advance(LATENESS).await;
        settle().await;
        tracing::warn!("nor this");
    }
    assert!(!keeper.is_finished());
    assert!(lines.waiting().lines.is_empty());
}
