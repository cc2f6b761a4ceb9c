//! The command line: what can be said, and who answers it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::{commands, configuration, doctor, launch, roles};

/// An open, self-hosted audio platform: audio in, features out by time range, nothing lost.
#[derive(Debug, Parser)]
#[command(
    name = "antiphon",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  antiphon up\n  antiphon ingest ~/Music\n  antiphon sensor add roof --name \"On the roof\"\n  \
                  antiphon features sensor:roof --from 2026-05-01T00:00:00Z --to 2026-05-02T00:00:00Z \\\n      --resolution 1m"
)]
pub struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the data folder is when nothing is said.
pub const DEFAULT_DATA: &str = "./antiphon-data";

/// Options that every command understands.
#[derive(Clone, Debug, Args)]
pub struct Globals {
    /// The data folder.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "ANTIPHON_DATA",
        default_value = DEFAULT_DATA,
        display_order = 100
    )]
    pub data: PathBuf,
    /// Print JSON for programs instead of text for people.
    #[arg(long, global = true, display_order = 101)]
    pub json: bool,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process, on the data folder alone.
    Up(launch::UpArguments),
    /// Run some roles only.
    Run(launch::RunArguments),
    /// Upload files and folders as songs.
    Ingest(commands::ingest::Arguments),
    /// List songs with tempo, key and loudness; show and delete them.
    Songs(commands::songs::Arguments),
    /// Compute features of local files, without a server.
    Analyze(commands::analyze::Arguments),
    /// Show the registry of algorithms.
    Algorithms(commands::algorithms::Arguments),
    /// Show the named plans: what each computes, takes and costs.
    Plans(commands::plans::Arguments),
    /// Ask for features by time range.
    Features(commands::features::Arguments),
    /// Manage, record and simulate sensors.
    Sensor(commands::sensor::Arguments),
    /// Manage API keys.
    Key(commands::key::Arguments),
    /// List, replay and drop what was set aside.
    DeadLetters(commands::dead_letters::Arguments),
    /// Make what roles find: the database's schema, the queue's groups; with accounts that may.
    Prepare(commands::prepare::Arguments),
    /// Copy everything from a data folder to servers.
    Migrate(commands::migrate::Arguments),
    /// Check every connection and permission, and say what to do.
    Doctor(doctor::Arguments),
    /// Show or check the settings, and where each value comes from.
    Config(configuration::Arguments),
    /// Show the roles: what each does, and what it may open.
    Roles(roles::Arguments),
}

/// Runs a command; an error is printed in words and ends with 2 ("could not run").
pub fn run(cli: Cli) -> ExitCode {
    let globals = &cli.globals;
    let outcome = match cli.command {
        Command::Up(arguments) => launch::up(&arguments, globals),
        Command::Run(arguments) => launch::run(&arguments, globals),
        Command::Ingest(arguments) => commands::ingest::run(arguments, globals),
        Command::Songs(arguments) => commands::songs::run(arguments, globals),
        Command::Analyze(arguments) => commands::analyze::run(arguments, globals),
        Command::Algorithms(arguments) => commands::algorithms::run(arguments, globals),
        Command::Plans(arguments) => commands::plans::run(arguments, globals),
        Command::Features(arguments) => commands::features::run(arguments, globals),
        Command::Sensor(arguments) => commands::sensor::run(arguments, globals),
        Command::Key(arguments) => commands::key::run(arguments, globals),
        Command::DeadLetters(arguments) => commands::dead_letters::run(arguments, globals),
        Command::Prepare(arguments) => commands::prepare::run(arguments, globals),
        Command::Migrate(arguments) => commands::migrate::run(arguments, globals),
        Command::Doctor(arguments) => doctor::run(arguments, globals),
        Command::Config(arguments) => configuration::run(arguments, globals),
        Command::Roles(arguments) => roles::run(arguments, globals),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_option_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_with_examples() {
        fn walk(command: &clap::Command, path: &str, without: &mut Vec<String>) {
            let path = format!("{path} {}", command.get_name());
            let help = command.get_after_help().or(command.get_after_long_help()).map(ToString::to_string);
            if !help.unwrap_or_default().contains("Examples:") {
                without.push(path.clone());
            }
            assert!(command.get_about().is_some(), "{path} does not say what it does");
            command.get_subcommands().for_each(|inner| walk(inner, &path, without));
        }
        let mut without = Vec::new();
        walk(&Cli::command(), "", &mut without);
        assert!(without.is_empty(), "without examples: {without:?}");
    }
}
