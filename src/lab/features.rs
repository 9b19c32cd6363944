//! `vigie features`: the features of a file of events, computed by the code that serves.
//!
//! One row per payment, in the file's order: id, event time, label, every feature by name and,
//! when asked for, the model's score. Memory stays bounded whatever the file's size.

mod partition;
mod table;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::bundle::Bundle;
use crate::config::{Config, KeyCheck};
use crate::engine::Preparation;
use crate::engine::batch::{Micros, Records};
use crate::engine::decode::{Decoder, Rules};
use crate::engine::features::Plan;
use crate::engine::score::{OnnxModel, Runtime};
use crate::engine::token::TokenKey;
use crate::input::{Input, Pass, Place, Row};
use partition::partition_of;
use table::Table;

const BATCH_ROWS: usize = 2_000;

/// What to read and write.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example: vigie features --bundle models/card \
    --input payments.csv.zst --output features.parquet --scores")]
pub struct FeaturesArgs {
    /// Folder of the bundle; the one of the configuration when absent
    #[arg(long)]
    bundle: Option<PathBuf>,
    /// Events in the order they arrived: CSV or JSON lines (.zst or not), or Parquet
    #[arg(long)]
    input: PathBuf,
    /// Where to write: .parquet or .csv
    #[arg(long)]
    output: PathBuf,
    /// Add the model's score
    #[arg(long)]
    scores: bool,
    /// Partitions of the topic to be equal to: late events are judged by partition
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    partitions: u32,
}

/// What came of a file.
#[derive(Debug, Default)]
pub struct Exported {
    /// Payments written.
    pub rows: u64,
    /// Rows that are no payment: place, reason, field and message of the first few.
    pub examples: Vec<String>,
    /// How many rows are no payment.
    pub dead: u64,
    /// Repeats of payments already written.
    pub duplicates: u64,
}

/// Writes the features of a file of events.
///
/// # Errors
/// When a file cannot be read or written, or the model not loaded.
pub fn export(config: &Config, args: &FeaturesArgs) -> Result<Exported> {
    let dir = args.bundle.as_ref().unwrap_or(&config.stream.bundle);
    let bundle = Bundle::read(dir)?;
    let mut model = match args.scores {
        true => Some(OnnxModel::load(
            &Runtime::load(&config.model.onnxruntime)?,
            &bundle,
        )?),
        false => None,
    };
    let mut preparation = preparation(config, &bundle, args.partitions)?;
    let mut input = Input::open(&args.input, &bundle.schema)?;
    let mut table = Table::create(&args.output, &bundle, args.scores)?;
    let progress = crate::progress::bytes("features", input.progress().1);
    let mut exported = Exported::default();
    let mut feed = Feed::new(args.partitions);
    while feed.fill(&mut input)? {
        let mut prepared = preparation.prepare(&feed.records, &mut |_| {});
        for letter in &prepared.dead_letters {
            exported.add_example(feed.place(letter.partition, letter.offset), letter);
        }
        exported.dead += prepared.dead_letters.len() as u64;
        exported.duplicates += prepared.duplicates.len() as u64;
        let rows = prepared.events.len();
        let scores = match &mut model {
            Some(model) => model.score(&prepared.features, rows)?,
            None => Vec::new(),
        };
        table.add(&bundle.schema, &mut prepared, &scores)?;
        exported.rows += rows as u64;
        progress.set_position(input.progress().0);
    }
    table
        .finish()
        .with_context(|| format!("cannot finish {}", args.output.display()))?;
    progress.finish_and_clear();
    Ok(exported)
}

fn preparation(config: &Config, bundle: &Bundle, partitions: u32) -> Result<Preparation> {
    // Tokens only group the rows of an account here and are not written, so any key does.
    let secret = match config.tokens.key.is_empty() {
        true => "tokens of an offline pass are never written",
        false => config.tokens.key.reveal(),
    };
    let rules = Rules::new(&config.events, KeyCheck::Off)?;
    let decoder = Decoder::new(bundle.schema.clone(), TokenKey::new(secret)?, rules);
    let lateness = config.events.lateness.as_micros() as Micros;
    let mut preparation = Preparation::new(decoder, Plan::new(bundle, lateness));
    for partition in 0..partitions as i32 {
        let shard = preparation.empty_shard();
        preparation.own(partition, shard);
    }
    Ok(preparation)
}

/// Rows of the file as the records a producer would have sent.
struct Feed {
    records: Records,
    /// Where each record of the batch stands in the file.
    places: Vec<Place>,
    offsets: Vec<i64>,
    row: Row,
}

impl Feed {
    fn new(partitions: u32) -> Self {
        Self {
            records: Records::default(),
            places: Vec::new(),
            offsets: vec![0; partitions as usize],
            row: Row::default(),
        }
    }

    /// Reads the next batch; false at the file's end.
    fn fill(&mut self, input: &mut Input) -> Result<bool> {
        self.records.clear();
        self.places.clear();
        let pass = Pass::default();
        while self.records.len() < BATCH_ROWS && input.next_row(&pass, &mut self.row)? {
            let partition = partition_of(self.row.account.as_bytes(), self.offsets.len());
            let offset = &mut self.offsets[partition];
            // No row of a file is ahead of its record: it was sent long ago.
            let position = (partition as i32, *offset);
            self.records
                .push(position, Micros::MAX / 2, None, Some(&self.row.payload));
            self.places.push(self.row.place);
            *offset += 1;
        }
        Ok(!self.records.is_empty())
    }

    fn place(&self, partition: i32, offset: i64) -> Place {
        let heads = self.records.heads().iter().zip(&self.places);
        heads
            .filter(|(head, _)| head.partition == partition && head.offset == offset)
            .map(|(_, place)| *place)
            .next()
            .unwrap_or_default()
    }
}

impl Exported {
    fn add_example(&mut self, place: Place, letter: &crate::engine::batch::DeadLetter) {
        if self.examples.len() < 5 {
            let field = letter.field.as_deref().unwrap_or("-");
            let reason = letter.reason.as_str();
            self.examples
                .push(format!("{place}: {reason} {field}: {}", letter.message));
        }
    }

    /// Fails when no row of the file was a payment.
    ///
    /// # Errors
    /// With the first examples of what was wrong.
    pub fn require_rows(&self) -> Result<()> {
        if self.rows == 0 && self.dead > 0 {
            bail!("no row is a payment; {}", self.examples.join("; "));
        }
        Ok(())
    }
}

/// `vigie features`; what it prints.
///
/// # Errors
/// See [`export`]; also when no row of the file is a payment.
pub fn command(config: &Config, args: &FeaturesArgs) -> Result<String> {
    let exported = export(config, args)?;
    exported.require_rows()?;
    let mut text = format!(
        "{} payments, {} dead letters, {} repeats -> {}\n",
        exported.rows,
        exported.dead,
        exported.duplicates,
        args.output.display()
    );
    for example in &exported.examples {
        text += &format!("  {example}\n");
    }
    Ok(text)
}
