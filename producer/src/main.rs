//! The command line of `vigie-producer`: one match over the verbs.

mod ledger;
mod moment;
mod pace;
mod poll;
mod progress;
mod reader;
mod replay;
mod sender;
mod signals;
mod simulate;
mod target;
mod trouble;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Pushes payments to Kafka for Vigie.
#[derive(Parser)]
#[command(version, after_help = EXAMPLE)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLE: &str = "Example:
  vigie-producer replay payments.csv.zst --topic payments --rate 100 --shift-to-now --bundle card

Settings (brokers, topic, bundle, token key) come from the same file and VIGIE_ variables as
vigie's own. Exit code: 0 done or stopped by a signal, 1 failed, 2 usage or configuration.";

#[derive(Subcommand)]
enum Verb {
    /// Send every row of a file as a payment, in the file's order
    #[command(after_help = replay::EXAMPLE)]
    Replay(replay::ReplayArgs),
    /// Ask an HTTP API for payments again and again, and send what is new
    #[command(after_help = poll::EXAMPLE)]
    Poll(poll::PollArgs),
    /// Send payments of invented customers, with labelled fraud among them
    #[command(after_help = simulate::EXAMPLE)]
    Simulate(simulate::SimulateArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Replay(arguments) => replay::run(arguments),
        Verb::Poll(arguments) => poll::run(arguments),
        Verb::Simulate(arguments) => simulate::run(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => trouble.report(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
