//! Files of events: CSV, plain or zstd, read as the stream would have carried them.
//!
//! Every row becomes the JSON payload and the key that the producer sends, so that a file and
//! a topic go through the same decoder. All columns of the file travel, declared or not.

mod days;
mod json;
mod span;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv::StringRecord;

use crate::bundle::{Kind, Schema};
use days::DayShift;
use json::JsonColumn;

pub use span::{Span, passes};

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A file of events, read row by row.
pub struct Input {
    path: PathBuf,
    reader: csv::Reader<Box<dyn Read>>,
    record: StringRecord,
    columns: Vec<JsonColumn>,
    roles: Roles,
    days: DayShift,
    id_bytes: usize,
    read: Arc<AtomicU64>,
    total: u64,
}

/// Columns of the file that hold the roles the input must know.
struct Roles {
    id: usize,
    time: usize,
    account: usize,
}

/// One row as a record of the topic; its memory is used again for the next one.
#[derive(Debug, Default)]
pub struct Row {
    /// Line of the file on which the row begins.
    pub line: u64,
    /// The account's text: the record's key.
    pub account: String,
    /// The event as JSON: the record's payload.
    pub payload: Vec<u8>,
}

/// What one pass over a file changes of its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// Whole days added to the event time.
    pub days: i64,
    /// Added to the id.
    pub suffix: String,
}

/// Why a file of events cannot be read; names the file, and the line and column where known.
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
    /// The header does not go with the bundle.
    #[error("{path}: {problem}")]
    Header {
        /// The file.
        path: PathBuf,
        /// Which column, what was expected and found.
        problem: String,
    },
    /// A line that is no row.
    #[error("{path}, line {line}: {problem}")]
    Row {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// What was expected and found.
        problem: String,
    },
    /// A cell that cannot be used.
    #[error("{path}, line {line}, column `{column}`: {problem}")]
    Cell {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// The column's name in the header.
        column: String,
        /// What was expected; never the value.
        problem: String,
    },
}

impl Input {
    /// Opens a file, decompressing it when it is zstd, and checks its header against the schema.
    ///
    /// # Errors
    /// When the file is unreadable, or a required field has no column, or a column stands twice.
    pub fn open(path: &Path, schema: &Schema) -> Result<Self, InputError> {
        let read = Arc::new(AtomicU64::new(0));
        let (bytes, total) =
            decompressed(path, &read).map_err(|source| InputError::Unreadable {
                path: path.to_path_buf(),
                source,
            })?;
        let mut reader = csv::ReaderBuilder::new()
            .buffer_capacity(256 * 1024)
            .from_reader(bytes);
        let header = match reader.headers() {
            Ok(header) => header.clone(),
            Err(error) => return Err(of_csv(path, &[], &error)),
        };
        let refuse = |problem| InputError::Header {
            path: path.to_path_buf(),
            problem,
        };
        let roles = check_header(&header, schema).map_err(refuse)?;
        let columns = header
            .iter()
            .map(|key| JsonColumn::new(key, schema.fields.iter().find(|field| field.key == key)))
            .collect();
        let time = schema.field(schema.roles.time);
        let days = DayShift::new(&time.kind)
            .map_err(|problem| refuse(format!("column `{}`: {problem}", time.key)))?;
        let id_bytes = match schema.field(schema.roles.id).kind {
            Kind::Text { max_bytes } => max_bytes,
            _ => usize::MAX,
        };
        Ok(Self {
            path: path.to_path_buf(),
            reader,
            record: StringRecord::new(),
            columns,
            roles,
            days,
            id_bytes,
            read,
            total,
        })
    }

    /// Reads the next row into `row`, changed as `pass` says; false at the end of the file.
    ///
    /// # Errors
    /// When the row is malformed, has no account or id, or its time cannot be moved by days.
    pub fn next_row(&mut self, pass: &Pass, row: &mut Row) -> Result<bool, InputError> {
        if !self.advance()? {
            return Ok(false);
        }
        row.line = self.line();
        let id = self.filled(self.roles.id)?;
        if !pass.suffix.is_empty() && id.len() + pass.suffix.len() > self.id_bytes {
            let problem = format!("with `{}` the id is too long for its field", pass.suffix);
            return Err(self.cell(self.roles.id, problem));
        }
        let moved = self
            .days
            .moved(self.filled(self.roles.time)?, pass.days)
            .map_err(|problem| self.cell(self.roles.time, problem))?;
        row.account.clear();
        row.account.push_str(self.filled(self.roles.account)?);
        row.payload.clear();
        for (index, (column, cell)) in self.columns.iter().zip(self.record.iter()).enumerate() {
            column.begin(&mut row.payload, index == 0);
            if index == self.roles.time {
                column.value(&mut row.payload, &moved);
            } else if index == self.roles.id {
                column.joined(&mut row.payload, cell, &pass.suffix);
            } else {
                column.value(&mut row.payload, cell);
            }
        }
        row.payload.push(b'}');
        Ok(true)
    }

    /// Bytes of the file read so far, and all of them.
    pub fn progress(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.total)
    }

    /// An error about the column of the file that carries this field key, on that line.
    pub fn refuse(&self, line: u64, column: &str, problem: String) -> InputError {
        InputError::Cell {
            path: self.path.clone(),
            line,
            column: column.to_owned(),
            problem,
        }
    }

    /// The text of the next row's time, for a look at the whole file.
    fn next_time(&mut self) -> Result<Option<&str>, InputError> {
        Ok(if self.advance()? {
            Some(self.filled(self.roles.time)?)
        } else {
            None
        })
    }

    fn advance(&mut self) -> Result<bool, InputError> {
        self.reader
            .read_record(&mut self.record)
            .map_err(|error| of_csv(&self.path, &self.columns, &error))
    }

    fn line(&self) -> u64 {
        self.record.position().map_or(0, csv::Position::line)
    }

    fn filled(&self, column: usize) -> Result<&str, InputError> {
        match &self.record[column] {
            "" => Err(self.cell(column, "expected a value, found none".into())),
            text => Ok(text),
        }
    }

    fn cell(&self, column: usize, problem: String) -> InputError {
        self.refuse(self.line(), self.columns[column].key(), problem)
    }
}

/// Finds the roles' columns; refuses a header that lacks a required one or names one twice.
fn check_header(header: &StringRecord, schema: &Schema) -> Result<Roles, String> {
    for (index, key) in header.iter().enumerate() {
        if header.iter().take(index).any(|earlier| earlier == key) {
            return Err(format!("the header names the column `{key}` twice"));
        }
    }
    let position = |key: &str| header.iter().position(|column| column == key);
    for field in schema.fields.iter().filter(|field| field.required) {
        if position(&field.key).is_none() {
            return Err(format!(
                "the header has no column `{}`, which the bundle's field `{}` requires",
                field.key, field.name
            ));
        }
    }
    let role = |field: usize| {
        let key = &schema.field(field).key;
        position(key).ok_or_else(|| format!("the header has no column `{key}`"))
    };
    Ok(Roles {
        id: role(schema.roles.id)?,
        time: role(schema.roles.time)?,
        account: role(schema.roles.account)?,
    })
}

/// Opens the file; its first bytes say whether it is zstd.
fn decompressed(path: &Path, read: &Arc<AtomicU64>) -> io::Result<(Box<dyn Read>, u64)> {
    let file = File::open(path)?;
    let total = file.metadata()?.len();
    let counted = Counted {
        file,
        read: Arc::clone(read),
    };
    let mut buffered = BufReader::with_capacity(128 * 1024, counted);
    if buffered.fill_buf()?.starts_with(&ZSTD_MAGIC) {
        return Ok((
            Box::new(zstd::stream::read::Decoder::with_buffer(buffered)?),
            total,
        ));
    }
    if path.extension().is_some_and(|extension| extension == "zst") {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the name ends in .zst but the content is not zstd",
        ));
    }
    Ok((Box::new(buffered), total))
}

/// Counts what is read of a file.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Says in our words what the CSV reader found.
fn of_csv(path: &Path, columns: &[JsonColumn], error: &csv::Error) -> InputError {
    let path = path.to_path_buf();
    let line = error.position().map_or(1, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::Io(source) => InputError::Unreadable {
            path,
            source: io::Error::new(source.kind(), source.to_string()),
        },
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => InputError::Row {
            path,
            line,
            problem: format!("expected {expected_len} cells, found {len}"),
        },
        csv::ErrorKind::Utf8 { err, .. } => match columns.get(err.field()) {
            Some(column) => InputError::Cell {
                path,
                line,
                column: column.key().to_owned(),
                problem: "expected UTF-8, found other bytes".into(),
            },
            None => InputError::Row {
                path,
                line,
                problem: "expected UTF-8, found other bytes".into(),
            },
        },
        _ => InputError::Row {
            path,
            line,
            problem: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
