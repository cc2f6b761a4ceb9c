//! Antiphon's own chores: `cargo xtask COMMAND`.

mod bench;
mod generate;
mod libraries;
mod metrics;
mod servers;
mod setup;
mod site;
mod structure;
mod tasks;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Antiphon's own chores", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs what the tests need (once), starts the servers that they share, and runs all tests.
    Test {
        /// Random SIGKILLs in the kill test.
        #[arg(long, default_value_t = 20)]
        kills: u32,
        /// Power cuts in the power-cut test.
        #[arg(long, default_value_t = 100)]
        power_cuts: u32,
        /// Faults of networks, roles and servers in the fault test.
        #[arg(long, default_value_t = 20)]
        faults: u32,
        /// Only tests whose name contains this.
        filter: Option<String>,
    },
    /// Runs the servers that tests share until it is ended, and prints the variables by which `cargo test` finds them.
    Servers,
    /// Runs the fuzz targets in rotation.
    Fuzz {
        /// How long in all.
        #[arg(long, default_value_t = 300)]
        seconds: u64,
    },
    /// Licences, sources and banned crates, by cargo-deny and deny.toml.
    Deny,
    /// Writes the files that are generated and committed; with --check fails if that changes any.
    Generate {
        /// Compare only.
        #[arg(long)]
        check: bool,
    },
    /// Makes the schemas as they are now what later ones must be compatible with. For releases.
    ReleaseSchemas,
    /// Checks the dependency rule and the shape of the tree.
    Structure,
    /// Builds and runs the examples of the libraries in projects of their own, as their READMEs say.
    Libraries,
    /// Writes the documentation as pages for a browser; fails if a link in it leads nowhere.
    Site {
        /// The folder that they are written to; default target/site.
        #[arg(long)]
        out: Option<std::path::PathBuf>,
    },
    /// Runs the benchmarks of docs/benchmarks.md and prints their tables.
    Bench(bench::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Test { kills, power_cuts, faults, filter } => {
            tasks::test(kills, power_cuts, faults, filter.as_deref())
        }
        Command::Servers => servers::run(),
        Command::Fuzz { seconds } => tasks::fuzz(seconds),
        Command::Deny => tasks::deny(),
        Command::Generate { check } => generate::run(check),
        Command::ReleaseSchemas => generate::release_schemas(),
        Command::Structure => structure::check(),
        Command::Libraries => libraries::check(),
        Command::Site { out } => site::write(&out.unwrap_or_else(site::default_target)),
        Command::Bench(arguments) => bench::run(&arguments),
    }
}
