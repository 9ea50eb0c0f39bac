//! Reads a capture.

use std::io;
use std::path::{Path, PathBuf};

use super::Line;

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file cannot be read at all.
    #[error("capture = {path:?}: {error}")]
    Unreadable {
        /// As it was given.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A line is none.
    #[error("{}:{number}: {reason}", path.display())]
    Line {
        /// As it was given.
        path: PathBuf,
        /// Of the line, from 1.
        number: usize,
        /// Why.
        reason: String,
    },
}

/// Reads all lines of the file; empty ones are none.
///
/// # Errors
///
/// The first thing that is wrong with it.
pub fn read(path: &Path) -> Result<Vec<Line>, Fault> {
    let text = std::fs::read(path).map_err(|error| Fault::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    let parsed = lines.map(|(index, line)| {
        Line::parse(line).map_err(|reason| Fault::Line {
            path: path.to_owned(),
            number: index + 1,
            reason,
        })
    });
    parsed.collect()
}
