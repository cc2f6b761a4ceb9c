//! `antiphon analyze`.

use std::process::ExitCode;

use crate::cli::Globals;

/// Options of `antiphon analyze`.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs `antiphon analyze`.
pub fn run(arguments: Arguments, globals: &Globals) -> anyhow::Result<ExitCode> {
    let _ = (arguments, globals);
    anyhow::bail!("not built yet")
}
