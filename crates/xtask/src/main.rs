//! Antiphon's own chores: `cargo xtask COMMAND`.

mod generate;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Antiphon's own chores", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes the files that are generated and committed; with --check fails if that changes any.
    Generate {
        /// Compare only.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Generate { check } => generate::run(check),
    }
}
