//! CSV with a header.

use std::io::{self, Read};

use csv::StringRecord;

use super::columns::Columns;
use super::error::{Place, Problem};
use super::{Change, Role};
use crate::bundle::Schema;

/// Rows of a CSV file.
pub(super) struct CsvRows {
    reader: csv::Reader<Box<dyn Read>>,
    record: StringRecord,
    columns: Columns,
}

impl CsvRows {
    /// Reads the header and checks it.
    pub(super) fn new(bytes: Box<dyn Read>, schema: &Schema) -> Result<Self, Problem> {
        let mut reader = csv::ReaderBuilder::new()
            .buffer_capacity(256 * 1024)
            .from_reader(bytes);
        let header = match reader.headers() {
            Ok(header) => header.clone(),
            Err(error) => return Err(of_csv(None, &error)),
        };
        let place = Place::Line(header.position().map_or(1, csv::Position::line));
        if header.is_empty() {
            let problem = "expected a header, found nothing";
            return Err(Problem::Row(place, problem.into()));
        }
        let names: Vec<&str> = header.iter().collect();
        Ok(Self {
            columns: Columns::new(&names, schema, Some(place))?,
            reader,
            record: StringRecord::new(),
        })
    }

    pub(super) fn advance(&mut self) -> Result<bool, Problem> {
        self.reader
            .read_record(&mut self.record)
            .map_err(|error| of_csv(Some(&self.columns), &error))
    }

    pub(super) fn place(&self) -> Place {
        Place::Line(self.record.position().map_or(0, csv::Position::line))
    }

    pub(super) fn text(&self, role: Role) -> &str {
        &self.record[match role {
            Role::Id => self.columns.id,
            Role::Time => self.columns.time,
            Role::Account => self.columns.account,
        }]
    }

    pub(super) fn write(&self, change: &Change<'_>, out: &mut Vec<u8>) {
        self.columns.write(self.record.iter(), change, out);
    }
}

/// Says in our words what the CSV reader found.
fn of_csv(columns: Option<&Columns>, error: &csv::Error) -> Problem {
    let place = Place::Line(error.position().map_or(1, csv::Position::line));
    match error.kind() {
        csv::ErrorKind::Io(source) => {
            Problem::Unreadable(io::Error::new(source.kind(), source.to_string()))
        }
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => Problem::Row(place, format!("expected {expected_len} cells, found {len}")),
        csv::ErrorKind::Utf8 { err, .. } => {
            let problem = String::from("expected UTF-8, found other bytes");
            match columns {
                Some(columns) => Problem::Cell(place, columns.name(err.field()).into(), problem),
                None => Problem::Row(place, problem),
            }
        }
        _ => Problem::Row(place, error.to_string()),
    }
}
