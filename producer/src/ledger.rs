//! The ledger: what Kafka acknowledged, a line each, without any clear card number.
//!
//! The columns are separated by tabs and escaped as PostgreSQL's COPY reads them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use vigie::engine::batch::{Micros, Token};
use vigie::kafka::producer::Acknowledged;

/// What the ledger keeps of a payment.
#[derive(Debug)]
pub struct Entry {
    /// The account's token.
    pub account: Token,
    /// The transaction's id, as it is stored.
    pub id: Box<str>,
    /// The amount in minor units.
    pub amount: i64,
    /// The event time.
    pub time: Micros,
}

/// A ledger being written.
pub enum Ledger {
    /// As it is.
    Plain(BufWriter<File>),
    /// Compressed.
    Zstd(Box<zstd::Encoder<'static, BufWriter<File>>>),
}

impl Ledger {
    /// Makes the file, or empties it.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        Ok(if path.extension().is_some_and(|ending| ending == "zst") {
            Self::Zstd(Box::new(zstd::Encoder::new(file, 1)?))
        } else {
            Self::Plain(file)
        })
    }

    /// Adds an acknowledged payment.
    pub fn add(&mut self, payment: &Acknowledged<Option<Entry>>) -> io::Result<()> {
        match payment.carried.as_ref() {
            None => Ok(()),
            Some(entry) => {
                let position = (payment.partition, payment.offset);
                match self {
                    Self::Plain(out) => write_line(out, position, entry),
                    Self::Zstd(out) => write_line(out, position, entry),
                }
            }
        }
    }

    /// Hands what was added to the system.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Zstd(out) => out.flush(),
        }
    }

    /// Ends the file.
    pub fn finish(self) -> io::Result<()> {
        let mut out = match self {
            Self::Plain(out) => out,
            Self::Zstd(out) => out.finish()?,
        };
        out.flush()
    }
}

fn write_line(
    out: &mut impl Write,
    (partition, offset): (i32, i64),
    entry: &Entry,
) -> io::Result<()> {
    write!(out, "{partition}\t{offset}\t{}\t", entry.account)?;
    write_escaped(out, &entry.id)?;
    writeln!(out, "\t{}\t{}", entry.amount, entry.time)
}

fn write_escaped(out: &mut impl Write, text: &str) -> io::Result<()> {
    if !text.contains(['\\', '\t', '\n', '\r']) {
        return out.write_all(text.as_bytes());
    }
    for byte in text.bytes() {
        match byte {
            b'\\' => out.write_all(b"\\\\")?,
            b'\t' => out.write_all(b"\\t")?,
            b'\n' => out.write_all(b"\\n")?,
            b'\r' => out.write_all(b"\\r")?,
            other => out.write_all(&[other])?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_its_columns_whatever_the_id_holds() {
        let entry = Entry {
            account: Token([0xab; 16]),
            id: "a\tb\\c\nd".into(),
            amount: -305,
            time: 1_546_866_284_000_000,
        };
        let mut line = Vec::new();
        write_line(&mut line, (3, 42), &entry).unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            format!(
                "3\t42\t{}\ta\\tb\\\\c\\nd\t-305\t1546866284000000\n",
                "ab".repeat(16)
            )
        );
    }
}
