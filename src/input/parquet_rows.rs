//! Parquet, row by row: each value becomes the text that a CSV would have held.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field as Value;
use parquet::record::reader::RowIter;
use parquet::schema::types::{Type, TypePtr};

use super::columns::{Columns, declared};
use super::error::{Place, Problem};
use super::moment::TimeWriter;
use super::{Change, DAY, Role};
use crate::bundle::{Field, Kind, Schema};
use crate::engine::batch::Micros;

/// Rows of a Parquet file.
pub(super) struct ParquetRows {
    rows: RowIter<'static>,
    columns: Columns,
    meanings: Vec<Meaning>,
    cells: Vec<String>,
    row: u64,
    total: u64,
    bytes: u64,
}

/// What the values of a column are.
enum Meaning {
    /// Texts, numbers and truth values.
    Plain,
    /// Units since 1970.
    Moment {
        writer: TimeWriter,
        /// Counted in the time of the zone, not in UTC.
        local: bool,
        /// In nanoseconds, which the library hands over as plain numbers.
        nanoseconds: bool,
    },
}

impl ParquetRows {
    /// Checks the columns. Those that no text can stand for (lists, bytes) are left out, unless a
    /// field is read from one: then the file is refused.
    pub(super) fn new(file: File, bytes: u64, schema: &Schema) -> Result<Self, Problem> {
        let reader = unbroken(|| SerializedFileReader::new(file))
            .map_err(|problem| Problem::Header(problem.into()))?
            .map_err(|error| damaged(&error))?;
        let metadata = reader.metadata().file_metadata();
        let total = u64::try_from(metadata.num_rows()).unwrap_or(0);
        let root = metadata.schema().clone();
        let (mut kept, mut meanings) = (Vec::new(), Vec::new());
        for column in root.get_fields() {
            match meaning(column, declared(schema, column.name())) {
                Ok(found) => {
                    kept.push(Arc::clone(column));
                    meanings.push(found);
                }
                Err(problem) if declared(schema, column.name()).is_some() => {
                    let problem = format!("column `{}`: {problem}", column.name());
                    return Err(Problem::Header(problem));
                }
                Err(_) => {}
            }
        }
        let names: Vec<&str> = kept.iter().map(|column| column.name()).collect();
        let columns = Columns::new(&names, schema, None)?;
        let projection = Type::group_type_builder(root.name())
            .with_fields(kept)
            .build()
            .map_err(|error| damaged(&error))?;
        Ok(Self {
            rows: RowIter::from_file_into(Box::new(reader))
                .project(Some(projection))
                .map_err(|error| damaged(&error))?,
            cells: vec![String::new(); meanings.len()],
            columns,
            meanings,
            row: 0,
            total,
            bytes,
        })
    }

    pub(super) fn advance(&mut self) -> Result<bool, Problem> {
        let next = unbroken(|| self.rows.next());
        self.row += 1;
        let row = match next {
            Ok(None) => return Ok(false),
            Ok(Some(Ok(row))) => row,
            Ok(Some(Err(error))) => {
                return Err(Problem::Row(
                    self.place(),
                    format!("cannot be read: {error}"),
                ));
            }
            Err(problem) => return Err(Problem::Row(self.place(), problem.into())),
        };
        let columns = row.into_columns().into_iter().zip(&self.meanings);
        for (index, ((name, value), meaning)) in columns.enumerate() {
            self.cells[index] = text(value, meaning)
                .map_err(|problem| Problem::Cell(Place::Row(self.row), name, problem))?;
        }
        Ok(true)
    }

    pub(super) fn place(&self) -> Place {
        Place::Row(self.row)
    }

    pub(super) fn text(&self, role: Role) -> &str {
        &self.cells[match role {
            Role::Id => self.columns.id,
            Role::Time => self.columns.time,
            Role::Account => self.columns.account,
        }]
    }

    pub(super) fn write(&self, change: &Change<'_>, out: &mut Vec<u8>) {
        let cells = self.cells.iter().map(String::as_str);
        self.columns.write(cells, change, out);
    }

    /// Bytes that the rows read so far take of all, as far as rows are alike.
    pub(super) fn progress(&self) -> (u64, u64) {
        let share = self.row.min(self.total) as f64 / self.total.max(1) as f64;
        ((self.bytes as f64 * share) as u64, self.bytes)
    }
}

/// The library trusts what a file says of itself and breaks down on some that are damaged. What it
/// broke down in is not used again: the file ends there.
fn unbroken<T>(read: impl FnOnce() -> T) -> Result<T, &'static str> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| "damaged: it cannot be read on from here")
}

fn damaged(error: &parquet::errors::ParquetError) -> Problem {
    Problem::Header(format!("not a Parquet file that can be read: {error}"))
}

/// What a column holds, or why it cannot be used.
fn meaning(column: &TypePtr, field: Option<&Field>) -> Result<Meaning, String> {
    let info = column.get_basic_info();
    let repeated = info.has_repetition() && info.repetition() == Repetition::REPEATED;
    if !column.is_primitive() || repeated {
        return Err("expected plain values, found a list or a structure".into());
    }
    let physical = column.get_physical_type();
    let writer = || {
        let declared = field.and_then(|field| TimeWriter::new(&field.kind));
        declared.unwrap_or_else(TimeWriter::rfc3339)
    };
    let moment = |local, nanoseconds| Meaning::Moment {
        writer: writer(),
        local,
        nanoseconds,
    };
    match (physical, info.logical_type_ref(), info.converted_type()) {
        (Physical::FLOAT | Physical::DOUBLE, ..) => match field.map(|field| &field.kind) {
            // A float has lost digits of a card number or an id already.
            Some(Kind::Text { .. }) => {
                Err("expected texts or whole numbers, found floating-point numbers".into())
            }
            _ => Ok(Meaning::Plain),
        },
        (Physical::INT96, ..) => Ok(moment(false, false)),
        (Physical::INT64, Some(LogicalType::Timestamp(kind)), _) => Ok(moment(
            !kind.is_adjusted_to_u_t_c,
            matches!(kind.unit, TimeUnit::NANOS),
        )),
        (Physical::INT64, _, ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS) => {
            Ok(moment(false, false))
        }
        (Physical::INT32, _, ConvertedType::DATE) => Ok(moment(true, false)),
        (Physical::BOOLEAN, ..) => Ok(Meaning::Plain),
        (physical, _, converted) if is_plain(physical, converted) => Ok(Meaning::Plain),
        _ => Err("expected texts, numbers, truth values or moments, found another type".into()),
    }
}

/// Integers, decimals and texts. The library breaks down on pairs that it does not know.
fn is_plain(physical: Physical, converted: ConvertedType) -> bool {
    use ConvertedType as Type;
    match physical {
        Physical::INT32 => matches!(
            converted,
            Type::NONE
                | Type::INT_8
                | Type::INT_16
                | Type::INT_32
                | Type::UINT_8
                | Type::UINT_16
                | Type::UINT_32
                | Type::DECIMAL
        ),
        Physical::INT64 => matches!(
            converted,
            Type::NONE | Type::INT_64 | Type::UINT_64 | Type::DECIMAL
        ),
        Physical::BYTE_ARRAY => matches!(
            converted,
            Type::NONE | Type::UTF8 | Type::ENUM | Type::JSON | Type::DECIMAL
        ),
        Physical::FIXED_LEN_BYTE_ARRAY => converted == Type::DECIMAL,
        _ => false,
    }
}

/// The value as a CSV would have it; nothing for none.
fn text(value: Value, meaning: &Meaning) -> Result<String, String> {
    if let Meaning::Moment {
        writer,
        local,
        nanoseconds,
    } = meaning
    {
        let micros = match value {
            Value::Null => return Ok(String::new()),
            Value::Long(count) if *nanoseconds => Some(count.div_euclid(1_000)),
            Value::TimestampMillis(count) => count.checked_mul(1_000),
            Value::TimestampMicros(count) => Some(count),
            Value::Date(days) => Micros::from(days).checked_mul(DAY),
            _ => None,
        };
        return micros
            .and_then(|micros| {
                if *local {
                    in_zone(micros, writer.zone())
                } else {
                    Some(micros)
                }
            })
            .and_then(|micros| writer.text(micros))
            .ok_or_else(|| "expected a moment within the calendar".into());
    }
    Ok(match value {
        Value::Null => String::new(),
        Value::Str(text) => text,
        Value::Bytes(bytes) => String::from_utf8(bytes.data().to_vec())
            .map_err(|_| "expected UTF-8, found other bytes")?,
        Value::Float(number) => shortest(number.is_nan(), number.is_finite(), &number)?,
        Value::Double(number) => shortest(number.is_nan(), number.is_finite(), &number)?,
        other => other.to_string(),
    })
}

/// The fewest digits that read back as the same number, in JSON's grammar; a NaN is nothing.
fn shortest(nan: bool, finite: bool, number: &dyn std::fmt::Debug) -> Result<String, String> {
    match (nan, finite) {
        (true, _) => Ok(String::new()),
        (_, false) => Err("expected a number, found an infinity".into()),
        _ => Ok(format!("{number:?}")),
    }
}

/// The moment at which the zone's clocks show this.
fn in_zone(local: Micros, zone: &TimeZone) -> Option<Micros> {
    let shown = Timestamp::from_microsecond(local).ok()?;
    let civil = shown.to_zoned(TimeZone::UTC).datetime();
    Some(zone.to_timestamp(civil).ok()?.as_microsecond())
}
