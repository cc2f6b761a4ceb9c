//! `antiphon algorithms`.

use std::process::ExitCode;

use crate::cli::Globals;

/// Options of `antiphon algorithms`.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs `antiphon algorithms`.
pub fn run(arguments: Arguments, globals: &Globals) -> anyhow::Result<ExitCode> {
    let _ = (arguments, globals);
    anyhow::bail!("not built yet")
}
