//! `cargo xtask bench`: builds with the `dist` profile and runs the benchmarks of docs/benchmarks.md.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::generate::root;

/// Package, bench target and features of every benchmark: a newcomer's need no server and build no client of one. Those
/// with features, and `scaling`, start servers that `cargo xtask servers` installs, or do so by an option.
const BENCHES: [(&str, &str, &str); 9] = [
    ("antiphon-features", "throughput", ""),
    ("antiphon-platform", "queue", ""),
    ("antiphon", "startup", ""),
    ("antiphon", "acceptance", ""),
    ("antiphon", "freshness", ""),
    ("antiphon", "range_query", "full"),
    ("antiphon-platform", "amqp", "amqp"),
    ("antiphon-platform", "database", "postgres"),
    ("antiphon-analysis", "scaling", ""),
];

/// Which benchmarks to run.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only the benchmark of this name.
    name: Option<String>,
    /// Options of that benchmark, after `--`.
    #[arg(last = true)]
    options: Vec<String>,
}

/// Runs them one after the other, so that they do not disturb each other.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut ran = false;
    for (package, bench, features) in BENCHES {
        if arguments.name.as_deref().is_some_and(|name| name != bench) {
            continue;
        }
        ran = true;
        println!("## {bench}");
        let status = Command::new(env!("CARGO"))
            .args(["bench", "--profile", "dist", "--package", package, "--features", features, "--bench", bench, "--"])
            .args(&arguments.options)
            .current_dir(root())
            .status()
            .with_context(|| format!("cannot run the benchmark {bench}"))?;
        if !status.success() {
            bail!("the benchmark {bench} failed: {status}");
        }
    }
    if !ran {
        let names: Vec<&str> = BENCHES.iter().map(|(_, name, _)| *name).collect();
        bail!("no benchmark of that name; there are: {}", names.join(", "));
    }
    Ok(())
}
