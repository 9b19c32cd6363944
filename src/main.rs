//! `vigie`: the command line, one match over the verbs.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use vigie::check::Check;
use vigie::config::Config;
use vigie::desk::alerts::Alerts;
use vigie::desk::dead_letters::DeadLetters;
use vigie::desk::offsets::Offsets;
use vigie::desk::reset::Reset;
use vigie::lab::features::FeaturesArgs;
use vigie::lab::reconcile::Reconcile;
use vigie::migrate::MigrateArgs;
use vigie::morning::ReportArgs;
use vigie::run::RunArgs;
use vigie::{check, desk, exit, lab, logging, migrate, morning, run};

/// Real-time payment-fraud stream processor: Kafka in, ONNX scores, PostgreSQL out, exactly once.
#[derive(Parser)]
#[command(
    version,
    after_help = "Every setting: src/config.default.toml and .env.example.\n\
                  Exit codes: 0 done, 1 failed, 2 usage or configuration."
)]
struct Cli {
    /// Settings over the defaults; variables (VIGIE_…) come last
    #[arg(long, global = true, env = "VIGIE_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Score the stream: lanes, mail to on-call, health and metrics pages
    Run(RunArgs),
    /// Bring the database's schema up to date
    #[command(after_help = "Example: VIGIE_MIGRATE__PASSWORD_FILE=migrator.txt vigie migrate")]
    Migrate(MigrateArgs),
    /// Test configuration, bundle, database, Kafka and mail, and say what to do
    Check(Check),
    /// Compute the features of a file of events, by the code that serves
    Features(FeaturesArgs),
    /// Prove that nothing is lost, doubled or counted twice
    Reconcile(Reconcile),
    /// Look at incidents, and silence them for a while
    #[command(subcommand)]
    Alerts(Alerts),
    /// Look at records that could not be scored
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Look at how far each partition is, and let a held one go on
    #[command(subcommand)]
    Offsets(Offsets),
    /// Report on a day: decisions, fraud, what changed, and the proof that nothing is missing
    Report(ReportArgs),
    /// Remove everything that a demo has stored
    Reset(Reset),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match load(&cli).and_then(|config| dispatch(&cli.verb, &config)) {
        Ok((text, code)) => {
            // A reader that has gone away has seen enough.
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
            ExitCode::from(code)
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr().lock(), "vigie: {error:#}");
            ExitCode::from(exit::code_of(&error))
        }
    }
}

fn load(cli: &Cli) -> Result<Config> {
    let config = Config::load(cli.config.as_deref())?;
    logging::start(&config.log)?;
    Ok(config)
}

/// What the verb prints, and the exit code.
fn dispatch(verb: &Verb, config: &Config) -> Result<(String, u8)> {
    match verb {
        Verb::Run(args) => Ok((run::run(config, args)?, 0)),
        Verb::Migrate(args) => Ok((wait(migrate::command(config, args))?, 0)),
        Verb::Check(args) => wait(check::command(config, args)),
        Verb::Features(args) => Ok((lab::features::command(config, args)?, 0)),
        Verb::Reconcile(args) => wait(lab::reconcile::command(config, args)),
        Verb::Alerts(verb) => Ok((wait(desk::alerts::run(config, verb))? + "\n", 0)),
        Verb::DeadLetters(verb) => Ok((wait(desk::dead_letters::run(config, verb))? + "\n", 0)),
        Verb::Reset(args) => wait(desk::reset::command(config, args)),
        Verb::Offsets(verb) => Ok((wait(desk::offsets::run(config, verb))? + "\n", 0)),
        Verb::Report(args) => Ok((wait(morning::command(config, args))?, 0)),
    }
}

/// Runs a verb that waits for others.
fn wait<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
