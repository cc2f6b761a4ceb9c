//! `antiphon features`.

use std::process::ExitCode;

use crate::cli::Globals;

/// Options of `antiphon features`.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs `antiphon features`.
pub fn run(arguments: Arguments, globals: &Globals) -> anyhow::Result<ExitCode> {
    let _ = (arguments, globals);
    anyhow::bail!("not built yet")
}
