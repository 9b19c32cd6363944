//! What can be wrong with a file of events, and where.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Where a row stands in its file; both are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The line on which it begins.
    Line(u64),
    /// Its number, where a file has no lines.
    Row(u64),
}

impl Default for Place {
    fn default() -> Self {
        Self::Line(0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(out, "line {line}"),
            Self::Row(row) => write!(out, "row {row}"),
        }
    }
}

/// Why a file of events cannot be read; names the file, and the place and column where known.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The file is missing, unreadable or cut off.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system or the decompressor said.
        source: io::Error,
    },
    /// The file as a whole, or its columns where it has no lines, do not go with the bundle.
    #[error("{path}: {problem}")]
    Header {
        /// The file.
        path: PathBuf,
        /// Which column, what was expected and found.
        problem: String,
    },
    /// A place that holds no row.
    #[error("{path}, {place}: {problem}")]
    Row {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// What was expected and found.
        problem: String,
    },
    /// A cell that cannot be used.
    #[error("{path}, {place}, column `{column}`: {problem}")]
    Cell {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// The column's name.
        column: String,
        /// What was expected; never the value.
        problem: String,
    },
}

/// The same, as the readers of the formats see it: they do not know the file's name.
#[derive(Debug)]
pub(super) enum Problem {
    Unreadable(io::Error),
    Header(String),
    Row(Place, String),
    Cell(Place, String, String),
}

impl Problem {
    /// Names the file.
    pub(super) fn of(self, path: &Path) -> InputError {
        let path = path.to_path_buf();
        match self {
            Self::Unreadable(source) => InputError::Unreadable { path, source },
            Self::Header(problem) => InputError::Header { path, problem },
            Self::Row(place, problem) => InputError::Row {
                path,
                place,
                problem,
            },
            Self::Cell(place, column, problem) => InputError::Cell {
                path,
                place,
                column,
                problem,
            },
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}
