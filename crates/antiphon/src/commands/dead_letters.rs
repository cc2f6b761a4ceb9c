//! `antiphon dead-letters`.

use std::process::ExitCode;

use crate::cli::Globals;

/// Options of `antiphon dead-letters`.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs `antiphon dead-letters`.
pub fn run(arguments: Arguments, globals: &Globals) -> anyhow::Result<ExitCode> {
    let _ = (arguments, globals);
    anyhow::bail!("not built yet")
}
