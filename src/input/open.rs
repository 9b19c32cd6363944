//! Which format a file has, by its name and its first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Rows;
use super::csv_rows::CsvRows;
use super::error::Problem;
use super::json_rows::JsonRows;
use super::parquet_rows::ParquetRows;
use super::tail::Tail;
use crate::bundle::Schema;

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const PARQUET_MAGIC: [u8; 4] = *b"PAR1";

/// What a name says of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
    Parquet,
}

impl Format {
    /// By the ending before `.zst`.
    fn named(path: &Path) -> Option<Self> {
        let ending = |path: &Path| {
            let ending = path.extension().unwrap_or_default().to_string_lossy();
            ending.to_lowercase()
        };
        let found = match ending(path).as_str() {
            "zst" => ending(Path::new(path.file_stem().unwrap_or_default())),
            other => other.to_owned(),
        };
        match found.as_str() {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// Opens a whole file, and says how many bytes it has; `read` counts those that were read.
pub(super) fn open(
    path: &Path,
    schema: &Schema,
    read: &Arc<AtomicU64>,
) -> Result<(Rows, u64), Problem> {
    let file = File::open(path)?;
    let total = file.metadata()?.len();
    let mut bytes = BufReader::with_capacity(
        128 * 1024,
        Counted {
            file,
            read: Arc::clone(read),
        },
    );
    let start = bytes.fill_buf()?;
    if start.starts_with(&PARQUET_MAGIC) {
        let rows = ParquetRows::new(File::open(path)?, total, schema)?;
        return Ok((Rows::Parquet(Box::new(rows)), total));
    }
    let bytes: Box<dyn Read> = if start.starts_with(&ZSTD_MAGIC) {
        Box::new(zstd::stream::read::Decoder::with_buffer(bytes)?)
    } else if path.extension().is_some_and(|ending| ending == "zst") {
        return Err(invalid("the name ends in .zst but the content is not zstd"));
    } else {
        Box::new(bytes)
    };
    Ok((rows_of(bytes, path, schema)?, total))
}

/// Opens a file that grows.
pub(super) fn open_growing(tail: Tail, path: &Path, schema: &Schema) -> Result<Rows, Problem> {
    let packed = path.extension().is_some_and(|ending| ending == "zst");
    if packed || Format::named(path) == Some(Format::Parquet) {
        return Err(Problem::Header(
            "only plain CSV and JSON lines can be followed while they grow".into(),
        ));
    }
    rows_of(Box::new(tail), path, schema)
}

/// The rows of a text; the name decides, or else how it begins.
fn rows_of(bytes: Box<dyn Read>, path: &Path, schema: &Schema) -> Result<Rows, Problem> {
    let mut bytes = BufReader::with_capacity(128 * 1024, bytes);
    let mut is_object = || -> io::Result<bool> {
        let start = bytes.fill_buf()?;
        let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
        Ok(first == Some(&b'{'))
    };
    let json = match Format::named(path) {
        Some(Format::Parquet) => {
            return Err(invalid(
                "the name ends in .parquet but the content is not Parquet",
            ));
        }
        Some(format) => format == Format::JsonLines,
        None => is_object()?,
    };
    Ok(if json {
        Rows::Json(Box::new(JsonRows::new(Box::new(bytes), schema)))
    } else {
        Rows::Csv(Box::new(CsvRows::new(Box::new(bytes), schema)?))
    })
}

fn invalid(problem: &'static str) -> Problem {
    Problem::Unreadable(io::Error::new(io::ErrorKind::InvalidData, problem))
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
