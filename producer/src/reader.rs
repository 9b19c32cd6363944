//! Reads the file ahead of the sender, on a thread of its own.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use vigie::bundle::Schema;
use vigie::engine::batch::{Micros, Records};
use vigie::engine::decode::{Decoder, decode};
use vigie::input::{Input, Lull, Pass, Place, Row, Window};

use crate::ledger::Entry;
use crate::signals::Signals;

/// Rows read at a time.
const ROWS: u64 = 500;
/// Blocks read ahead.
const AHEAD: usize = 4;
/// How long the sender waits for a block before it looks after what it sent.
const IDLE: Duration = Duration::from_millis(50);
/// Between two looks at a file that grows.
const GROWTH: Duration = Duration::from_millis(100);
const DAY: Micros = 86_400_000_000;

/// Rows of the file as records of the topic.
#[derive(Default)]
pub struct Block {
    /// Keys and payloads.
    pub records: Records,
    /// Where each stands in the file.
    pub places: Vec<Place>,
    /// Event times, moved as the rows are; empty when nobody asked for them.
    pub times: Vec<Micros>,
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
    /// Event times that are wanted, as the file has them.
    pub window: Window,
    /// Whether the sender goes by event times.
    pub timed: bool,
    /// Rows of a pass.
    pub limit: u64,
    /// Decodes them as Vigie will, for the ledger.
    pub decoder: Option<Decoder>,
    /// The file grows: rows are waited for until then.
    pub follow: Option<Signals>,
}

/// Blocks as they are read.
pub struct Blocks {
    receiver: Receiver<Block>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Blocks {
    /// Hands every block to `take`, or none while there is none, until it wants no more.
    pub fn each(
        self,
        mut take: impl FnMut(Option<Block>) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        loop {
            let block = match self.receiver.recv_timeout(IDLE) {
                Ok(block) => Some(block),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if !take(block)? {
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
            let mut input = self.open()?;
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

    fn open(&self) -> anyhow::Result<Input> {
        let Some(signals) = self.follow.clone() else {
            return Ok(Input::open(&self.file, &self.schema)?);
        };
        let file = self.file.display().to_string();
        let patience = move |lull| {
            match lull {
                Lull::Quiet => std::thread::sleep(GROWTH),
                Lull::HalfLine => eprintln!(
                    "{file} was replaced or cut short in the middle of a line: that line is left out"
                ),
            }
            !signals.stop()
        };
        Ok(Input::follow(&self.file, &self.schema, Box::new(patience))?)
    }

    /// The next rows, at most `left`; empty at the end of the file.
    fn block(&self, input: &mut Input, pass: &Pass, left: u64) -> anyhow::Result<Block> {
        // What somebody writes right now does not wait for what comes after it.
        let most = if self.follow.is_some() { 1 } else { ROWS };
        let most = left.min(most) as usize;
        let mut block = Block::default();
        let mut row = Row::default();
        let now = now()?;
        while block.places.len() < most && input.next_row(pass, &mut row)? {
            if self.timed || self.window != Window::ALL {
                let time = input.event_time()?;
                if !self.window.holds(time) {
                    continue;
                }
                block.times.push(time + pass.days * DAY);
            }
            let position = (0, block.places.len() as i64);
            let key = row.account.as_bytes();
            block
                .records
                .push(position, now, Some(key), Some(&row.payload));
            block.places.push(row.place);
        }
        if let Some(decoder) = &self.decoder {
            block.entries = self.entries(decoder, &block, input)?;
        }
        Ok(block)
    }

    /// What Vigie will make of the rows; a row that it would refuse is refused here.
    fn entries(
        &self,
        decoder: &Decoder,
        block: &Block,
        input: &Input,
    ) -> anyhow::Result<Vec<Option<Entry>>> {
        let (events, dead_letters) = decode(decoder, &block.records);
        if let Some(letter) = dead_letters.iter().min_by_key(|letter| letter.offset) {
            let field = letter.field.as_deref().unwrap_or_default();
            let column = self
                .schema
                .index_of(field)
                .map_or(field, |index| self.schema.field(index).key.as_str());
            let problem = format!("{}: {}", letter.reason.as_str(), letter.message);
            return Err(input
                .refuse(block.places[letter.offset as usize], column, problem)
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
