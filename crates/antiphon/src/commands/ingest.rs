//! `antiphon ingest`.

use std::process::ExitCode;

use crate::cli::Globals;

/// Options of `antiphon ingest`.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs `antiphon ingest`.
pub fn run(arguments: Arguments, globals: &Globals) -> anyhow::Result<ExitCode> {
    let _ = (arguments, globals);
    anyhow::bail!("not built yet")
}
