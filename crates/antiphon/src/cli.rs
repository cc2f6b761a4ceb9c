//! The command line: what can be said, and who answers it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::commands;

/// An open, self-hosted audio platform: audio in, features out by time range, nothing lost.
#[derive(Debug, Parser)]
#[command(name = "antiphon", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command understands.
#[derive(Clone, Debug, Args)]
pub struct Globals {
    /// The data folder.
    #[arg(long, global = true, value_name = "DIR", env = "ANTIPHON_DATA", default_value = "./antiphon-data")]
    pub data: PathBuf,
    /// Print JSON for programs instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Upload files and folders as songs.
    Ingest(commands::ingest::Arguments),
    /// Compute features of local files, without a server.
    Analyze(commands::analyze::Arguments),
    /// Show the registry of algorithms.
    Algorithms(commands::algorithms::Arguments),
    /// Ask for features by time range.
    Features(commands::features::Arguments),
    /// Manage, record and simulate sensors.
    Sensor(commands::sensor::Arguments),
    /// Manage API keys.
    Key(commands::key::Arguments),
    /// List, replay and drop what was set aside.
    DeadLetters(commands::dead_letters::Arguments),
}

/// Runs a command; an error is printed in words and ends with 2 ("could not run").
pub fn run(cli: Cli) -> ExitCode {
    let globals = &cli.globals;
    let outcome = match cli.command {
        Command::Ingest(arguments) => commands::ingest::run(arguments, globals),
        Command::Analyze(arguments) => commands::analyze::run(arguments, globals),
        Command::Algorithms(arguments) => commands::algorithms::run(arguments, globals),
        Command::Features(arguments) => commands::features::run(arguments, globals),
        Command::Sensor(arguments) => commands::sensor::run(arguments, globals),
        Command::Key(arguments) => commands::key::run(arguments, globals),
        Command::DeadLetters(arguments) => commands::dead_letters::run(arguments, globals),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
