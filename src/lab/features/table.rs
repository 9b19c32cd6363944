//! The table of features as a file: Parquet or CSV, by its name's ending.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, FloatType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use crate::bundle::{Bundle, Schema};
use crate::engine::Prepared;
use crate::engine::batch::{Column, FeatureColumn, Micros, Texts};

/// Rows of a Parquet row group: large enough to compress, small enough to keep in memory.
const GROUP_ROWS: usize = 65_536;

/// A file under construction.
pub enum Table {
    /// Column by column, in groups of rows.
    Parquet(ParquetTable),
    /// Row by row; what is missing is empty.
    Csv(csv::Writer<BufWriter<File>>),
}

impl Table {
    /// Creates the file, with a column per feature of the bundle.
    ///
    /// # Errors
    /// When the file cannot be created or its name says no known format.
    pub fn create(path: &Path, bundle: &Bundle, scores: bool) -> Result<Self> {
        let format = path.extension().and_then(|ending| ending.to_str());
        if !matches!(format, Some("parquet" | "csv")) {
            bail!(
                "--output: expected a name ending in .parquet or .csv, found {}",
                path.display()
            );
        }
        let file =
            File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        if format == Some("parquet") {
            return Ok(Self::Parquet(ParquetTable::new(file, bundle, scores)?));
        }
        let mut writer = csv::Writer::from_writer(BufWriter::new(file));
        let names = bundle.features.iter().map(|feature| feature.name.as_str());
        let score = scores.then_some("score");
        writer.write_record(
            ["id", "event_time", "label"]
                .into_iter()
                .chain(names)
                .chain(score),
        )?;
        Ok(Self::Csv(writer))
    }

    /// Adds a batch; `scores` is empty when none were asked for.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, schema: &Schema, prepared: &mut Prepared, scores: &[f32]) -> Result<()> {
        match self {
            Self::Parquet(table) => table.add(schema, prepared, scores),
            Self::Csv(writer) => add_to_csv(writer, schema, prepared, scores),
        }
    }

    /// Writes what is left and closes the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(self) -> Result<()> {
        match self {
            Self::Parquet(table) => table.finish(),
            Self::Csv(mut writer) => Ok(writer.flush()?),
        }
    }
}

fn add_to_csv(
    writer: &mut csv::Writer<BufWriter<File>>,
    schema: &Schema,
    prepared: &Prepared,
    scores: &[f32],
) -> Result<()> {
    let events = &prepared.events;
    let ids = events.texts(schema.roles.id);
    let labels = labels(schema, prepared);
    for (row, label) in labels.into_iter().enumerate() {
        writer.write_field(ids.get(row).unwrap_or_default())?;
        writer.write_field(jiff::Timestamp::from_microsecond(events.time[row])?.to_string())?;
        writer.write_field(label.map_or("", |label| if label { "1" } else { "0" }))?;
        for column in &prepared.features.columns {
            match column {
                FeatureColumn::Number(values) => writer.write_field(number(values[row]))?,
                FeatureColumn::Text(texts) => {
                    writer.write_field(texts.get(row).unwrap_or_default())?;
                }
            }
        }
        if let Some(score) = scores.get(row) {
            writer.write_field(number(*score))?;
        }
        writer.write_record(None::<&[u8]>)?;
    }
    Ok(())
}

fn number(value: f32) -> String {
    if value.is_nan() {
        String::new()
    } else {
        value.to_string()
    }
}

fn labels(schema: &Schema, prepared: &Prepared) -> Vec<Option<bool>> {
    match schema
        .roles
        .label
        .map(|field| &prepared.events.columns[field])
    {
        Some(Column::Label(labels)) => labels.clone(),
        _ => vec![None; prepared.events.len()],
    }
}

/// Columns of the rows that are not written yet.
pub struct ParquetTable {
    writer: SerializedFileWriter<File>,
    ids: Vec<ByteArray>,
    times: Vec<Micros>,
    labels: Vec<Option<bool>>,
    features: Vec<Pending>,
    scores: Option<Vec<f32>>,
}

enum Pending {
    Number(Vec<f32>),
    Text(Vec<ByteArray>),
}

impl ParquetTable {
    fn new(file: File, bundle: &Bundle, scores: bool) -> Result<Self> {
        let mut message = String::from(
            "message features { REQUIRED BYTE_ARRAY id (STRING); \
             REQUIRED INT64 event_time (TIMESTAMP(MICROS,true)); OPTIONAL BOOLEAN label; ",
        );
        let mut features = Vec::new();
        for feature in &bundle.features {
            let text = bundle.is_text(feature);
            message += &match text {
                true => format!("REQUIRED BYTE_ARRAY {} (STRING); ", feature.name),
                false => format!("REQUIRED FLOAT {}; ", feature.name),
            };
            features.push(match text {
                true => Pending::Text(Vec::new()),
                false => Pending::Number(Vec::new()),
            });
        }
        message += if scores {
            "REQUIRED FLOAT score; }"
        } else {
            "}"
        };
        let schema = Arc::new(parse_message_type(&message)?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .build();
        Ok(Self {
            writer: SerializedFileWriter::new(file, schema, Arc::new(properties))?,
            ids: Vec::new(),
            times: Vec::new(),
            labels: Vec::new(),
            features,
            scores: scores.then(Vec::new),
        })
    }

    fn add(&mut self, schema: &Schema, prepared: &Prepared, scores: &[f32]) -> Result<()> {
        add_texts(&mut self.ids, prepared.events.texts(schema.roles.id));
        self.times.extend_from_slice(&prepared.events.time);
        self.labels.extend(labels(schema, prepared));
        for (pending, column) in self.features.iter_mut().zip(&prepared.features.columns) {
            match (pending, column) {
                (Pending::Number(all), FeatureColumn::Number(values)) => all.extend(values),
                (Pending::Text(all), FeatureColumn::Text(texts)) => add_texts(all, texts),
                _ => unreachable!("a feature's type is the bundle's"),
            }
        }
        if let Some(all) = &mut self.scores {
            all.extend_from_slice(scores);
        }
        match self.ids.len() >= GROUP_ROWS {
            true => self.write_group(),
            false => Ok(()),
        }
    }

    fn write_group(&mut self) -> Result<()> {
        let mut group = self.writer.next_row_group()?;
        write_column::<ByteArrayType>(&mut group, &self.ids, None)?;
        write_column::<Int64Type>(&mut group, &self.times, None)?;
        let known: Vec<bool> = self.labels.iter().flatten().copied().collect();
        let present: Vec<i16> = self
            .labels
            .iter()
            .map(|label| i16::from(label.is_some()))
            .collect();
        write_column::<BoolType>(&mut group, &known, Some(&present))?;
        for pending in &mut self.features {
            match pending {
                Pending::Number(values) => {
                    write_column::<FloatType>(&mut group, values, None)?;
                    values.clear();
                }
                Pending::Text(values) => {
                    write_column::<ByteArrayType>(&mut group, values, None)?;
                    values.clear();
                }
            }
        }
        if let Some(scores) = &mut self.scores {
            write_column::<FloatType>(&mut group, scores, None)?;
            scores.clear();
        }
        group.close()?;
        self.ids.clear();
        self.times.clear();
        self.labels.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        if !self.ids.is_empty() {
            self.write_group()?;
        }
        self.writer.close()?.file_metadata();
        Ok(())
    }
}

fn add_texts(all: &mut Vec<ByteArray>, texts: &Texts) {
    all.extend((0..texts.len()).map(|row| ByteArray::from(texts.get(row).unwrap_or_default())));
}

fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    present: Option<&[i16]>,
) -> Result<()> {
    let Some(mut column) = group.next_column()? else {
        bail!("the file's schema has fewer columns than the table");
    };
    column.typed::<T>().write_batch(values, present, None)?;
    Ok(column.close()?)
}
