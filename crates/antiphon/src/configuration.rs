//! `antiphon config show|check`: what is set, and from where.

use std::process::ExitCode;

use antiphon_analysis::plan;
use clap::Subcommand;

use crate::cli::Globals;
use crate::commands::output::{print_json, print_line};
use crate::settings;

/// What can be said after `antiphon config`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  antiphon config show\n  antiphon config check")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every setting, its value and where that came from; secrets are masked.
    #[command(
        after_help = "Examples:\n  antiphon config show\n  ANTIPHON_LOG__LEVEL=debug antiphon config show --json"
    )]
    Show,
    /// Check that every setting is known and well formed, and that references lead somewhere.
    #[command(after_help = "Examples:\n  antiphon config check\n  antiphon config check --data /var/lib/antiphon")]
    Check,
}

/// Shows or checks.
///
/// # Errors
/// Everything that is wrong with the settings, with file and line.
pub fn run(arguments: Arguments, globals: &Globals) -> anyhow::Result<ExitCode> {
    let config = settings::load(&globals.data, Vec::new())?;
    match arguments.command {
        Command::Show if globals.json => print_line(&serde_json::to_string_pretty(&config.show())?)?,
        Command::Show => {
            for shown in config.show() {
                let value = if shown.value.is_empty() { "(not set)" } else { &shown.value };
                print_line(&format!("{} = {value}\n    {}; {}", shown.key, shown.origin, shown.help))?;
            }
        }
        Command::Check => {
            config.check()?;
            plan::of_songs(&config)?;
            let said = "every setting is known and well formed";
            if globals.json { print_json(&serde_json::json!({ "ok": true }))? } else { print_line(said)? }
        }
    }
    Ok(ExitCode::SUCCESS)
}
