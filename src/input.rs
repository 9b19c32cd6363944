//! Files of events: CSV, JSON lines (both plain or zstd) and Parquet, read as the stream would
//! have carried them.
//!
//! Every row becomes the JSON payload and the key that the producer sends, so that a file and
//! a topic go through the same decoder. All columns of the file travel, declared or not.

mod columns;
mod csv_rows;
mod days;
mod error;
mod json;
mod json_rows;
mod moment;
mod open;
mod parquet_rows;
mod span;
mod tail;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::bundle::{Kind, Schema};
use crate::engine::batch::Micros;
use crate::engine::decode::time::{Stretch, TimeReader};
use csv_rows::CsvRows;
use days::DayShift;
use error::Problem;
use json_rows::JsonRows;
use parquet_rows::ParquetRows;
use tail::Tail;

pub use columns::write_event;
pub use error::{InputError, Place};
pub use moment::TimeWriter;
pub use span::{Span, Window, passes};
pub use tail::{Lull, Patience};

const DAY: Micros = 86_400_000_000;

/// A file of events, read row by row.
pub struct Input {
    path: PathBuf,
    schema: Schema,
    /// Absent until a growing file is there.
    rows: Option<Rows>,
    growing: Option<Arc<Mutex<Patience>>>,
    days: DayShift,
    time: TimeReader,
    stretch: Stretch,
    id_bytes: usize,
    read: Arc<AtomicU64>,
    total: u64,
}

/// Rows of one of the formats.
enum Rows {
    Csv(Box<CsvRows>),
    Json(Box<JsonRows>),
    Parquet(Box<ParquetRows>),
}

/// A text of a row that the input must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Id,
    Time,
    Account,
}

/// How a row that is written differs from the file's.
struct Change<'a> {
    time: &'a str,
    suffix: &'a str,
}

/// One row as a record of the topic; its memory is used again for the next one.
#[derive(Debug, Default)]
pub struct Row {
    /// Where it stands in the file.
    pub place: Place,
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

impl Input {
    /// Opens a file, decompressing it when it is zstd, and checks its columns against the schema.
    ///
    /// # Errors
    /// When the file is unreadable, or a required field has no column, or a column stands twice.
    pub fn open(path: &Path, schema: &Schema) -> Result<Self, InputError> {
        let mut input = Self::unopened(path, schema, None)?;
        let opened = open::open(path, schema, &input.read);
        let (rows, total) = opened.map_err(|problem| problem.of(path))?;
        (input.rows, input.total) = (Some(rows), total);
        Ok(input)
    }

    /// Follows a CSV or a file of JSON lines as it grows, also when it is replaced by another of its
    /// name; it need not be there yet. Rows end when `patience` does, asked whenever there is
    /// nothing to read; a last line that is half written is waited for, and left out when another
    /// file has the name by then. From then on nothing more of the old one is read.
    ///
    /// # Errors
    /// When the schema's times cannot be moved by days.
    pub fn follow(path: &Path, schema: &Schema, patience: Patience) -> Result<Self, InputError> {
        Self::unopened(path, schema, Some(Arc::new(Mutex::new(patience))))
    }

    fn unopened(
        path: &Path,
        schema: &Schema,
        growing: Option<Arc<Mutex<Patience>>>,
    ) -> Result<Self, InputError> {
        let field = schema.field(schema.roles.time);
        let Kind::Time { format, zone } = &field.kind else {
            unreachable!("the time's role is held by a time: checked when the bundle was read");
        };
        let days = DayShift::new(&field.kind).map_err(|problem| {
            Problem::Header(format!("column `{}`: {problem}", field.key)).of(path)
        })?;
        Ok(Self {
            path: path.to_path_buf(),
            rows: None,
            growing,
            days,
            time: TimeReader::new(format, zone),
            stretch: Stretch::default(),
            id_bytes: match schema.field(schema.roles.id).kind {
                Kind::Text { max_bytes } => max_bytes,
                _ => usize::MAX,
            },
            read: Arc::new(AtomicU64::new(0)),
            total: 0,
            schema: schema.clone(),
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
        row.place = self.place();
        let id = self.filled(Role::Id)?;
        if !pass.suffix.is_empty() && id.len() + pass.suffix.len() > self.id_bytes {
            let problem = format!("with `{}` the id is too long for its field", pass.suffix);
            return Err(self.cell(Role::Id, problem));
        }
        let time = self
            .days
            .moved(self.filled(Role::Time)?, pass.days)
            .map_err(|problem| self.cell(Role::Time, problem))?;
        row.account.clear();
        row.account.push_str(self.filled(Role::Account)?);
        row.payload.clear();
        let change = Change {
            time: &time,
            suffix: &pass.suffix,
        };
        if let Some(rows) = &self.rows {
            rows.write(&change, &mut row.payload);
        }
        Ok(true)
    }

    /// The event time of the row read last, as the file has it.
    ///
    /// # Errors
    /// When it is not in the declared format.
    pub fn event_time(&mut self) -> Result<Micros, InputError> {
        let text = match &self.rows {
            Some(rows) => rows.text(Role::Time),
            None => "",
        };
        self.time.read(text, &mut self.stretch).map_err(|_| {
            let problem = format!("expected {}", self.time.expected());
            self.cell(Role::Time, problem)
        })
    }

    /// Bytes of the file read so far, and all of them.
    pub fn progress(&self) -> (u64, u64) {
        match &self.rows {
            Some(Rows::Parquet(rows)) => rows.progress(),
            _ => (self.read.load(Ordering::Relaxed), self.total),
        }
    }

    /// An error about the column of the file that carries this field key, in that place.
    pub fn refuse(&self, place: Place, column: &str, problem: String) -> InputError {
        Problem::Cell(place, column.to_owned(), problem).of(&self.path)
    }

    fn advance(&mut self) -> Result<bool, InputError> {
        let Some(patience) = &self.growing else {
            let advanced = self.rows.as_mut().map_or(Ok(false), Rows::advance);
            return advanced.map_err(|problem| problem.of(&self.path));
        };
        let patience = Arc::clone(patience);
        loop {
            let advanced = match &mut self.rows {
                Some(rows) => rows.advance(),
                None => {
                    let tail = Tail::new(&self.path, &patience);
                    open::open_growing(tail, &self.path, &self.schema).and_then(|mut rows| {
                        let advanced = rows.advance();
                        self.rows = Some(rows);
                        advanced
                    })
                }
            };
            match advanced {
                Ok(advanced) => return Ok(advanced),
                // The file that has the name now is read from its start.
                Err(Problem::Unreadable(error)) if Tail::begins_anew(&error) => self.rows = None,
                Err(Problem::Unreadable(error)) if Tail::is_end(&error) => return Ok(false),
                Err(problem) => return Err(problem.of(&self.path)),
            }
        }
    }

    fn place(&self) -> Place {
        self.rows.as_ref().map_or(Place::default(), Rows::place)
    }

    fn filled(&self, role: Role) -> Result<&str, InputError> {
        match self.rows.as_ref().map(|rows| rows.text(role)) {
            None | Some("") => Err(self.cell(role, "expected a value, found none".into())),
            Some(text) => Ok(text),
        }
    }

    fn cell(&self, role: Role, problem: String) -> InputError {
        let field = match role {
            Role::Id => self.schema.roles.id,
            Role::Time => self.schema.roles.time,
            Role::Account => self.schema.roles.account,
        };
        self.refuse(self.place(), &self.schema.field(field).key, problem)
    }
}

impl Rows {
    fn advance(&mut self) -> Result<bool, Problem> {
        match self {
            Self::Csv(rows) => rows.advance(),
            Self::Json(rows) => rows.advance(),
            Self::Parquet(rows) => rows.advance(),
        }
    }

    fn place(&self) -> Place {
        match self {
            Self::Csv(rows) => rows.place(),
            Self::Json(rows) => rows.place(),
            Self::Parquet(rows) => rows.place(),
        }
    }

    fn text(&self, role: Role) -> &str {
        match self {
            Self::Csv(rows) => rows.text(role),
            Self::Json(rows) => rows.text(role),
            Self::Parquet(rows) => rows.text(role),
        }
    }

    fn write(&self, change: &Change<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Csv(rows) => rows.write(change, out),
            Self::Json(rows) => rows.write(change, out),
            Self::Parquet(rows) => rows.write(change, out),
        }
    }
}

#[cfg(test)]
mod tests;
