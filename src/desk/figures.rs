//! The figures: rows counted by hour and by day, for the report and the dashboards.
//!
//! The counting itself is SQL (`figures_step` and `figures_take`, in the migrations): each step is
//! a transaction that counts one slice and notes that it has, so that it is exact whoever counts
//! and wherever they are ended. Here are its pace and its state.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use tokio_postgres::{Client, Error};

/// How long a single step may take: at most an hour of payments, or a day that is long past.
const STEP_LIMIT: &str = "SET statement_timeout = '10min'";
/// Shortest pause between two rounds.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest pause between two steps or rounds.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often a second session looks for a slice to count.
const WATCHING: Duration = Duration::from_millis(20);
/// A step is followed by a pause this many times as long, so that counting stays at a tenth of
/// one of the server's cores.
const REST: u32 = 9;

/// How the figures stand.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// Everything that was committed so long ago is in them; `None` before the first round ended.
    pub age: Option<Duration>,
    /// Payments that were removed before they were counted.
    pub missing: i64,
}

/// How much of the server counting may take.
#[derive(Debug, Clone, Copy)]
pub enum Pace<'a> {
    /// Every step is followed by a longer pause: nobody waits for the figures, the lanes wait for
    /// the server.
    Gentle,
    /// Somebody waits, and looks at this bar.
    AtOnce(&'a ProgressBar),
}

/// Counts until everything that is committed now is in the figures; how long to rest then.
///
/// Safe to be dropped at any point: what was counted stays counted.
///
/// # Errors
/// When the database fails.
pub async fn bring_up_to_date(
    client: &Client,
    stream: i16,
    pace: Pace<'_>,
) -> Result<Duration, Error> {
    client.batch_execute(STEP_LIMIT).await?;
    // A round that was begun before goes only as far as the stream was then.
    if is_under_way(client, stream).await? {
        finish_round(client, stream, pace).await?;
    }
    let rest = finish_round(client, stream, pace).await?;
    Ok(rest.max(PAUSE))
}

/// Counts beside another session that brings the figures up to date, until it is dropped: counting
/// is a processor's work.
///
/// # Errors
/// When the database fails.
pub async fn help(client: &Client, stream: i16) -> Result<Infallible, Error> {
    client.batch_execute(STEP_LIMIT).await?;
    loop {
        let row = client
            .query_one("SELECT figures_take($1)", &[&stream])
            .await?;
        if !row.try_get::<_, bool>(0)? {
            tokio::time::sleep(WATCHING).await;
        }
    }
}

async fn is_under_way(client: &Client, stream: i16) -> Result<bool, Error> {
    let row = client
        .query_one(
            "SELECT EXISTS (SELECT FROM figures_rounds WHERE stream = $1 AND below IS NOT NULL)",
            &[&stream],
        )
        .await?;
    row.try_get(0)
}

/// Steps until the round is whole; how long to rest from the last of them.
async fn finish_round(client: &Client, stream: i16, pace: Pace<'_>) -> Result<Duration, Error> {
    loop {
        let began = Instant::now();
        let row = client
            .query_one("SELECT figures_step($1)", &[&stream])
            .await?;
        let rest = (began.elapsed() * REST).min(LONGEST_PAUSE);
        if row.try_get(0)? {
            return Ok(rest);
        }
        match pace {
            Pace::Gentle => tokio::time::sleep(rest).await,
            Pace::AtOnce(bar) => show(client, stream, bar).await?,
        }
    }
}

async fn show(client: &Client, stream: i16, bar: &ProgressBar) -> Result<(), Error> {
    if bar.is_hidden() {
        return Ok(());
    }
    let row = client
        .query_one(
            "SELECT counted, wanted FROM figures_rounds WHERE stream = $1",
            &[&stream],
        )
        .await?;
    let number = |column| Ok(u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or(0));
    bar.set_length(number(1)?);
    bar.set_position(number(0)?);
    Ok(())
}

/// How the figures of the stream stand; `None` when none were ever counted.
///
/// # Errors
/// When the database fails.
pub async fn state(client: &Client, stream: i16) -> Result<Option<State>, Error> {
    let row = client
        .query_opt(
            "SELECT extract(epoch FROM now() - complete_at)::float8, missing FROM figures_rounds WHERE stream = $1",
            &[&stream],
        )
        .await?;
    row.map(|row| {
        let seconds: Option<f64> = row.try_get(0)?;
        Ok(State {
            age: seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))),
            missing: row.try_get(1)?,
        })
    })
    .transpose()
}
