//! One day's account: everything that was consumed has become something, and a sample of the
//! decisions comes out the same when it is recomputed from what is stored.
//!
//! A day is the stream's own: it begins in a partition with the first record that pays on that
//! day or later and was stored when that day had begun, and ends where the next day begins. So
//! every offset belongs to one day, also that of a late payment, of one that is dated ahead, or of
//! a record that tells no time.

mod gone;
mod recompute;
mod sample;
mod slice;

use std::fmt;

use jiff::civil::{Date, date};
use serde::Serialize;
use tokio_postgres::{Client, Error, IsolationLevel};

use crate::config::Config;
use crate::database::Day;
use crate::migrate;

/// A day is read in seconds: compiling its statements, for each of a year's tables, takes longer
/// than it saves.
const SETTINGS: &str =
    "SET LOCAL statement_timeout = 0; SET LOCAL work_mem = '64MB'; SET LOCAL jit = off";

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The business day.
    pub day: Date,
    /// How many decisions are recomputed, chosen at random.
    pub sample: u32,
    /// The same seed chooses the same payments; any when absent.
    pub seed: Option<i64>,
}

/// What came out; its text is one line.
#[derive(Debug, Clone, Serialize)]
pub struct DayAccount {
    /// The business day.
    pub day: Date,
    /// Whether nothing is missing, doubled or different.
    pub holds: bool,
    /// Offsets that the day's records lie at.
    pub consumed: i64,
    /// Payments of customers that are stored.
    pub scored: i64,
    /// Our own payments that are stored.
    pub canaries: i64,
    /// Dead letters.
    pub dead: i64,
    /// Repeats, and offsets without a record: neither leaves a row.
    pub rest: i64,
    /// What the rest is.
    pub rest_is: Rest,
    /// Offsets that nothing accounts for.
    pub missing: i64,
    /// Rows beyond the offsets there are.
    pub doubled: i64,
    /// Payments that pay on the day and were counted by the figures, and are gone.
    pub gone: i64,
    /// Dead letters that were stored on the day and counted, and are gone.
    pub letters_gone: i64,
    /// Decisions that were recomputed.
    pub recomputed: usize,
    /// Decisions chosen that another model or policy took: they cannot be recomputed here.
    pub other_version: usize,
    /// How many of the recomputed are different.
    pub different: usize,
    /// What is wrong, one sentence each, the first few.
    pub differences: Vec<String>,
    /// What chose the sample.
    pub seed: i64,
}

/// What leaves no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rest {
    /// Payments that were known already.
    Duplicates,
    /// Offsets without a record: transaction markers, compaction.
    Skipped,
    /// Some of each; the day does not tell how many.
    DuplicatesOrSkipped,
}

/// Computes a day's account without changing anything. What is gone is not in it before it is set
/// [beside the figures](DayAccount::set_beside_figures).
///
/// # Errors
/// When the database, the bundle or the model cannot be read.
pub async fn account(
    client: &mut Client,
    config: &Config,
    asked: Asked,
) -> anyhow::Result<DayAccount> {
    migrate::check_current(client).await?;
    let seed = asked.seed.unwrap_or_else(rand_seed);
    let day = Day(days(asked.day));
    // One snapshot: a running lane changes nothing under our eyes.
    let snapshot = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    snapshot.batch_execute(SETTINGS).await?;
    let stream = config.stream.id;
    let slices = slice::of_day(&snapshot, stream, day).await?;
    let counted = slice::count(&snapshot, stream, &slices).await?;
    let chosen = sample::choose(&snapshot, stream, day, (asked.sample, seed)).await?;
    let outcome = recompute::compare(config, &snapshot, chosen).await?;
    snapshot.rollback().await?;
    let mut differences = counted.differences;
    let holds = differences.is_empty() && outcome.different == 0;
    differences.extend(outcome.examples);
    Ok(DayAccount {
        day: asked.day,
        holds,
        consumed: counted.consumed,
        scored: counted.scored,
        canaries: counted.canaries,
        dead: counted.dead,
        rest: counted.rest,
        rest_is: counted.rest_is,
        missing: counted.missing,
        doubled: counted.doubled,
        gone: 0,
        letters_gone: 0,
        recomputed: outcome.recomputed,
        other_version: outcome.other_version,
        different: outcome.different,
        differences,
        seed,
    })
}

impl fmt::Display for DayAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.consumed == 0 {
            write!(f, "nothing of {} was consumed", self.day)?;
        } else {
            self.write_offsets(f)?;
        }
        for (gone, what) in [(self.gone, "payments"), (self.letters_gone, "dead letters")] {
            if gone > 0 {
                write!(f, "; {} {what} are GONE", grouped(gone))?;
            }
        }
        if self.consumed == 0 {
            if self.recomputed + self.other_version == 0 {
                return Ok(());
            }
            f.write_str("; its payments were read on other days")?;
        }
        write!(
            f,
            "; {} sampled decisions recomputed from stored history, {} different",
            grouped(self.recomputed as i64),
            grouped(self.different as i64)
        )?;
        match self.other_version {
            0 => Ok(()),
            other => write!(f, ", {} of another version", grouped(other as i64)),
        }
    }
}

impl DayAccount {
    /// Adds what the figures counted and is gone: most is found once they hold everything.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_beside_figures(&mut self, client: &Client, stream: i16) -> Result<(), Error> {
        (self.gone, self.letters_gone) = gone::of_day(client, stream, Day(days(self.day))).await?;
        for (lost, what) in [(self.gone, "payments"), (self.letters_gone, "dead letters")] {
            if lost > 0 {
                self.holds = false;
                self.differences.push(format!(
                    "{what}: {} were counted when they were stored and are gone",
                    grouped(lost)
                ));
            }
        }
        Ok(())
    }

    /// The day's offsets, and what became of them.
    fn write_offsets(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest_is = match self.rest_is {
            Rest::Duplicates => "duplicates",
            Rest::Skipped => "skipped",
            Rest::DuplicatesOrSkipped => "duplicates or skipped",
        };
        write!(
            f,
            "{} consumed = {} scored",
            grouped(self.consumed),
            grouped(self.scored)
        )?;
        if self.canaries > 0 {
            write!(f, " + {} canaries", grouped(self.canaries))?;
        }
        let (dead, rest) = (grouped(self.dead), grouped(self.rest));
        write!(f, " + {dead} dead + {rest} {rest_is}")?;
        if self.missing > 0 {
            write!(f, " + {} MISSING", grouped(self.missing))?;
        }
        if self.doubled > 0 {
            write!(f, " - {} DOUBLED", grouped(self.doubled))?;
        }
        Ok(())
    }
}

/// Days since 1970-01-01.
fn days(day: Date) -> i32 {
    // Both are dates of jiff's calendar, whose days fit an i32.
    day.duration_since(date(1970, 1, 1)).as_hours() as i32 / 24
}

/// Another one each time.
fn rand_seed() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// `1203441` as `1,203,441`.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> DayAccount {
        DayAccount {
            day: date(2026, 11, 20),
            holds: true,
            consumed: 1_203_441,
            scored: 1_203_398,
            canaries: 0,
            dead: 40,
            rest: 3,
            rest_is: Rest::Duplicates,
            missing: 0,
            doubled: 0,
            gone: 0,
            letters_gone: 0,
            recomputed: 1_000,
            other_version: 0,
            different: 0,
            differences: Vec::new(),
            seed: 1,
        }
    }

    #[test]
    fn a_day_is_told_in_one_line() {
        assert_eq!(
            account().to_string(),
            "1,203,441 consumed = 1,203,398 scored + 40 dead + 3 duplicates; 1,000 sampled \
             decisions recomputed from stored history, 0 different"
        );
    }

    #[test]
    fn what_does_not_balance_stands_in_the_line() {
        let account = DayAccount {
            canaries: 120,
            scored: 1_203_276,
            missing: 2,
            gone: 1,
            letters_gone: 3,
            rest_is: Rest::DuplicatesOrSkipped,
            recomputed: 990,
            other_version: 10,
            different: 1,
            ..account()
        };
        assert_eq!(
            account.to_string(),
            "1,203,441 consumed = 1,203,276 scored + 120 canaries + 40 dead + 3 duplicates or \
             skipped + 2 MISSING; 1 payments are GONE; 3 dead letters are GONE; 990 sampled decisions recomputed from stored history, 1 \
             different, 10 of another version"
        );
    }

    #[test]
    fn a_day_without_records_says_so() {
        let nothing = DayAccount {
            consumed: 0,
            recomputed: 0,
            ..account()
        };
        assert_eq!(nothing.to_string(), "nothing of 2026-11-20 was consumed");
        let read_on_others = DayAccount {
            recomputed: 200,
            ..nothing
        };
        assert_eq!(
            read_on_others.to_string(),
            "nothing of 2026-11-20 was consumed; its payments were read on other days; 200 sampled \
             decisions recomputed from stored history, 0 different"
        );
    }
}
