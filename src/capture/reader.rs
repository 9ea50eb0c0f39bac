//! Reads a capture.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;

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

/// Reads all lines of the file, and the numbers of those that were cut short, as by a full disk; empty ones are none.
///
/// # Errors
///
/// The first thing that is wrong with it otherwise.
pub fn read(path: &Path) -> Result<(Vec<Line>, Vec<usize>), Fault> {
    let text = std::fs::read(path).map_err(|error| Fault::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    let (mut parsed, mut cut) = (Vec::new(), Vec::new());
    for (index, line) in lines {
        let number = index + 1;
        match Line::parse(line) {
            Ok(line) => parsed.push(line),
            Err(_) if is_cut(line) => cut.push(number),
            Err(reason) => {
                return Err(Fault::Line {
                    path: path.to_owned(),
                    number,
                    reason,
                });
            }
        }
    }
    Ok((parsed, cut))
}

/// Whether it is the beginning of JSON, and nothing more is wrong with it.
fn is_cut(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_err_and(|error| error.is_eof())
}
