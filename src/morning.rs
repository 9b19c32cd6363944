//! `vigie report`, and the task that sends the report every morning. They stand above the floors:
//! the numbers are the desk's, the proof that nothing is missing is the laboratory's.

mod keeper;

use std::convert::Infallible;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget};
use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::Client;

use crate::apart::apart;
use crate::config::{Config, ConfigError};
use crate::database::{self, Login};
use crate::desk::figures::{self, Pace};
use crate::desk::notifier::outbox::Channels;
use crate::desk::report::calendar::Calendar;
use crate::desk::report::unread::{self, Unread};
use crate::desk::report::{self, Handed, Report, sending};
use crate::lab::reconcile::day::{self, Asked, DayAccount};
use crate::migrate;
use crate::progress;

pub use keeper::keep;

/// Decisions that are recomputed for a report.
const SAMPLE: u32 = 1_000;
/// Bytes that are gathered before they are written: a row is hardly ever worth a system call.
const BUFFER: usize = 1 << 16;

/// Reports on a day that is over.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples: vigie report --day 2026-11-20 --send\n          \
                  vigie report --day 2026-11-20 --output reports\n          \
                  vigie report --day 2026-11-20 --all | zstd > payments.csv.zst"
)]
pub struct ReportArgs {
    /// The day, for instance 2026-11-20 (by default yesterday, in the business zone)
    #[arg(long)]
    day: Option<Date>,
    /// Send it to report.to (or mail.to), whether it was sent before or not
    #[arg(long, conflicts_with = "all")]
    send: bool,
    /// Instead of the report: every payment of the day as CSV
    #[arg(long)]
    all: bool,
    /// The report's numbers as JSON
    #[arg(long, conflicts_with_all = ["all", "output"])]
    json: bool,
    /// Folder for text, HTML and CSV; `-` is standard output
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Runs the verb; what it prints.
///
/// # Errors
/// When the day is not over, the database fails, or a file cannot be written.
pub async fn command(config: &Config, args: &ReportArgs) -> Result<String> {
    let calendar = Calendar::of(config)?;
    let day = calendar.past_day(args.day, Timestamp::now())?;
    if args.send && config.mail.host.is_empty() {
        return Err(ConfigError::Wrong {
            setting: "mail.host",
            problem: "mail is off, so that the report would reach nobody".to_owned(),
        }
        .into());
    }
    let folder = args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"));
    let mut client = database::connect(config, Login::Desk, "vigie report").await?;
    migrate::check_current(&client).await?;
    calendar.is_of(&client, config.stream.id).await?;
    if args.all {
        return payments(&mut client, config.stream.id, (&calendar, day), folder).await;
    }
    let unread = unread::look(&client, config, calendar.bounds(day)?.1).await?;
    let report = make(&mut client, config, Login::Desk, (&calendar, day), &unread).await?;
    let mut said = match folder {
        Some(folder) => write(&report, folder)?,
        None if args.json => serde_json::to_string_pretty(&report.payload)? + "\n",
        None if args.send => String::new(),
        None => report.text.clone(),
    };
    if args.send {
        let notice = sending::queue(&mut client, &report, &Channels::of(config)?).await?;
        if !args.json {
            said += &format!("the report on {day} is queued as notice {notice}\n");
        }
    }
    Ok(said)
}

/// The report with what the laboratory has to say.
async fn make(
    client: &mut Client,
    config: &Config,
    login: Login,
    (calendar, day): (&Calendar, Date),
    unread: &Unread,
) -> Result<Report> {
    // Recomputing needs none of what is counted.
    let (mut reconciliation, ()) =
        tokio::try_join!(reconcile(config, login, day), count(client, config, login))?;
    let account = &mut reconciliation.account;
    account.set_beside_figures(client, config.stream.id).await?;
    let handed = Handed {
        reconciliation: &reconciliation.line(),
        unread: unread.sentence(),
    };
    report::make(client, config, calendar, day, &handed).await
}

/// In two sessions, each on a processor of the server's.
async fn count(client: &Client, config: &Config, login: Login) -> Result<()> {
    let bar = progress::payments("counting");
    let counting = figures::bring_up_to_date(client, config.stream.id, Pace::AtOnce(&bar));
    tokio::select! {
        counted = counting => counted?,
        never = help(config, login) => match never {},
    };
    bar.finish_and_clear();
    Ok(())
}

/// Without it counting takes longer, and that is all.
async fn help(config: &Config, login: Login) -> Infallible {
    let helped = async {
        let client = database::connect(config, login, "vigie figures").await?;
        anyhow::Ok(figures::help(&client, config.stream.id).await?)
    };
    match helped.await {
        Ok(never) => never,
        Err(problem) => {
            let problem = format!("{problem:#}");
            tracing::warn!(problem, "one session counts alone");
            std::future::pending().await
        }
    }
}

/// What the laboratory found: what became of every record, and of a sample recomputed.
struct Reconciliation {
    account: DayAccount,
    is_recomputed: bool,
}

impl Reconciliation {
    fn line(&self) -> String {
        let account = &self.account;
        let line = match account.holds {
            true => format!("Reconciled: {account}."),
            false => format!(
                "THE ACCOUNTS DO NOT BALANCE, see `vigie reconcile --day {}`: {account}.",
                account.day
            ),
        };
        match self.is_recomputed {
            true => line,
            false => line + " No decision could be recomputed.",
        }
    }
}

async fn reconcile(config: &Config, login: Login, day: Date) -> Result<Reconciliation> {
    let (account, is_recomputed) = match account(config, login, day, SAMPLE).await {
        Ok(account) => (account, true),
        // Without the model nothing can be recomputed; what can be counted still counts.
        Err(problem) => {
            tracing::warn!(
                problem = format!("{problem:#}"),
                "no decision can be recomputed"
            );
            (account(config, login, day, 0).await?, false)
        }
    };
    Ok(Reconciliation {
        account,
        is_recomputed,
    })
}

/// Apart: recomputing would hold up whoever shares this thread.
async fn account(config: &Config, login: Login, day: Date, sample: u32) -> Result<DayAccount> {
    let config = config.clone();
    let asked = Asked {
        day,
        sample,
        seed: None,
    };
    let account = apart("reconcile", move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut client = database::connect(&config, login, "vigie reconcile").await?;
            day::account(&mut client, &config, asked).await
        })
    });
    account.await?
}

/// Every payment of the day, into a file of `folder` or to standard output.
async fn payments(
    client: &mut Client,
    stream: i16,
    day: (&Calendar, Date),
    folder: Option<&Path>,
) -> Result<String> {
    let bar = progress::payments("writing");
    let Some(folder) = folder else {
        let out = std::io::stdout().lock();
        if out.is_terminal() {
            // The rows themselves are to be seen there.
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        return match copy(client, stream, day, &bar, out).await {
            // A reader that has gone away has seen enough.
            Err(error) if is_broken_pipe(&error) => Ok(String::new()),
            written => written.map(|()| String::new()),
        };
    };
    let path = file(folder, &format!("payments-{}.csv", day.1))?;
    let written = copy(client, stream, day, &bar, create(&path)?).await;
    written.with_context(|| format!("writing {}", path.display()))?;
    Ok(format!("{}\n", path.display()))
}

async fn copy(
    client: &mut Client,
    stream: i16,
    (calendar, day): (&Calendar, Date),
    bar: &ProgressBar,
    out: impl Write,
) -> Result<()> {
    let mut out = BufWriter::with_capacity(BUFFER, out);
    report::write_payments(client, stream, (calendar, day), bar, &mut out).await?;
    out.flush()?;
    bar.finish_and_clear();
    Ok(())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Writes text, HTML and list into `folder`; their paths, a line each.
fn write(report: &Report, folder: &Path) -> Result<String> {
    let day = report.day;
    let mut said = String::new();
    for (name, bytes) in [
        (format!("report-{day}.txt"), report.text.as_bytes()),
        (format!("report-{day}.html"), report.html.as_bytes()),
        (report.list_name(), report.flagged.as_slice()),
    ] {
        let path = file(folder, &name)?;
        create(&path)?
            .write_all(bytes)
            .with_context(|| format!("cannot write {}", path.display()))?;
        said += &format!("{}\n", path.display());
    }
    Ok(said)
}

fn file(folder: &Path, name: &str) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("--output: cannot make the folder {}", folder.display()))?;
    Ok(folder.join(name))
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("--output: cannot write {}", path.display()))
}
