//! The binary: command line, configuration, roles and their wiring. No logic of any capability.

mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::run(cli::Cli::parse())
}
