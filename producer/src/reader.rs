//! Reads the file ahead of the sender, on a thread of its own.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use vigie::bundle::Schema;
use vigie::engine::batch::{Micros, Records};
use vigie::engine::decode::{Decoder, decode};
use vigie::input::{Input, Pass, Row};

use crate::ledger::Entry;

/// Rows read at a time.
const ROWS: usize = 500;
/// Blocks read ahead.
const AHEAD: usize = 4;

/// Rows of the file as records of the topic.
#[derive(Default)]
pub struct Block {
    /// Keys and payloads.
    pub records: Records,
    /// What the ledger will say of each; empty without a ledger.
    pub entries: Vec<Option<Entry>>,
}

/// Reads a file's passes.
pub struct Reader {
    /// The file.
    pub file: PathBuf,
    /// What its rows hold.
    pub schema: Schema,
    /// What each pass changes of them.
    pub passes: Vec<Pass>,
    /// Rows of a pass.
    pub limit: u64,
    /// Decodes them as Vigie will, for the ledger.
    pub decoder: Option<Decoder>,
}

/// Blocks as they are read.
pub struct Blocks {
    receiver: Receiver<Block>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Blocks {
    /// Hands every block to `send` until it says that it wants no more.
    pub fn each(self, mut send: impl FnMut(Block) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        for block in &self.receiver {
            if !send(block)? {
                return Ok(());
            }
        }
        match self.thread.join() {
            Ok(outcome) => outcome,
            Err(_) => bail!("the reader of the file broke down"),
        }
    }
}

impl Reader {
    /// Starts to read; ends by itself when nobody takes its blocks any more.
    pub fn start(self) -> anyhow::Result<Blocks> {
        let (sender, receiver) = sync_channel(AHEAD);
        let thread = std::thread::Builder::new()
            .name("reader".into())
            .spawn(move || self.read(&sender))
            .context("cannot start the reader")?;
        Ok(Blocks { receiver, thread })
    }

    fn read(&self, blocks: &SyncSender<Block>) -> anyhow::Result<()> {
        for pass in &self.passes {
            let mut input = Input::open(&self.file, &self.schema)?;
            let mut left = self.limit;
            while left > 0 {
                let block = self.block(&mut input, pass, left)?;
                if block.records.is_empty() {
                    break;
                }
                left -= block.records.len() as u64;
                if blocks.send(block).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The next rows, at most `left`; empty at the end of the file.
    fn block(&self, input: &mut Input, pass: &Pass, left: u64) -> anyhow::Result<Block> {
        let mut block = Block::default();
        let mut lines = Vec::with_capacity(ROWS);
        let mut row = Row::default();
        let now = now()?;
        while lines.len() < ROWS && (lines.len() as u64) < left && input.next_row(pass, &mut row)? {
            let position = (0, lines.len() as i64);
            let key = row.account.as_bytes();
            block
                .records
                .push(position, now, Some(key), Some(&row.payload));
            lines.push(row.line);
        }
        if let Some(decoder) = &self.decoder {
            block.entries = self.entries(decoder, &block.records, input, &lines)?;
        }
        Ok(block)
    }

    /// What Vigie will make of the rows; a row that it would refuse is refused here.
    fn entries(
        &self,
        decoder: &Decoder,
        records: &Records,
        input: &Input,
        lines: &[u64],
    ) -> anyhow::Result<Vec<Option<Entry>>> {
        let (events, dead_letters) = decode(decoder, records);
        if let Some(letter) = dead_letters.iter().min_by_key(|letter| letter.offset) {
            let field = letter.field.as_deref().unwrap_or_default();
            let column = self
                .schema
                .index_of(field)
                .map_or(field, |index| self.schema.field(index).key.as_str());
            let problem = format!("{}: {}", letter.reason.as_str(), letter.message);
            return Err(input
                .refuse(lines[letter.offset as usize], column, problem)
                .into());
        }
        let ids = events.texts(self.schema.roles.id);
        let entry = |row: usize| Entry {
            account: events.account[row],
            id: ids.get(row).unwrap_or_default().into(),
            amount: events.amount[row],
            time: events.time[row],
        };
        Ok((0..events.len()).map(|row| Some(entry(row))).collect())
    }
}

/// The clock, as event times are counted.
pub fn now() -> anyhow::Result<Micros> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(Micros::try_from(since.as_micros())?)
}
