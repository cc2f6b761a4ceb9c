//! `cargo xtask bench`: builds with the `dist` profile and runs the benchmarks of docs/benchmarks.md.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::generate::root;

/// What `fill` runs: the part of a benchmark that makes a large database, to be measured later.
const FILL: (&str, &str, &str) = ("antiphon", "range_query", "full");

/// Package, bench target and features of every benchmark: a newcomer's need no server and build no client of one. Those
/// with features, and `scaling`, start servers that `cargo xtask servers` installs, or do so by an option.
const BENCHES: [(&str, &str, &str); 9] = [
    ("antiphon-features", "throughput", ""),
    ("antiphon-platform", "queue", ""),
    ("antiphon", "startup", ""),
    ("antiphon", "acceptance", ""),
    ("antiphon", "freshness", "full"),
    ("antiphon", "range_query", "full"),
    ("antiphon-platform", "amqp", "amqp"),
    ("antiphon-platform", "database", "postgres"),
    ("antiphon-analysis", "scaling", ""),
];

/// Which benchmarks to run.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only the benchmark of this name; `fill` fills a database as `range_query` would, and keeps it.
    name: Option<String>,
    /// Options of that benchmark, after `--`.
    #[arg(last = true)]
    options: Vec<String>,
}

/// Runs them one after the other, so that they do not disturb each other.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.name.as_deref() == Some("fill") {
        return run_one(FILL, &[&["--fill-only".to_owned()], arguments.options.as_slice()].concat());
    }
    let mut ran = false;
    for (package, bench, features) in BENCHES {
        if arguments.name.as_deref().is_some_and(|name| name != bench) {
            continue;
        }
        ran = true;
        println!("## {bench}");
        run_one((package, bench, features), &arguments.options)?;
    }
    if !ran {
        let names: Vec<&str> = BENCHES.iter().map(|(_, name, _)| *name).collect();
        bail!("no benchmark of that name; there are: {}", names.join(", "));
    }
    Ok(())
}

/// Runs one, with the features that it needs.
fn run_one((package, bench, features): (&str, &str, &str), options: &[String]) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(["bench", "--profile", "dist", "--package", package, "--features", features, "--bench", bench, "--"])
        .args(options)
        .current_dir(root())
        .status()
        .with_context(|| format!("cannot run the benchmark {bench}"))?;
    if !status.success() {
        bail!("the benchmark {bench} failed: {status}");
    }
    Ok(())
}
