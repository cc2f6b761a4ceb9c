//! `antiphon doctor`: looks at everything that roles depend on, with their accounts, and says what to do.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::config::Config;
use antiphon_platform::db::Reader;
use antiphon_platform::disk;
use antiphon_platform::http::time;
use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::cli::Globals;
use crate::commands::output::print_line;
use crate::roles::{self, Access, Permitted, Role};
use crate::wiring::{Location, Locations, QueueEngine, blobs_at, clock_skew, database_address, migrations};
use crate::{data_folder, running, settings};

mod permissions;

/// Free space in bytes below which sensors will soon be refused.
const LITTLE_SPACE: u64 = 1 << 30;
/// 2026-01-01T00:00:00Z: a clock before that was never set.
const EARLIEST_CLOCK: Micros = 1_767_225_600 * SECOND;
/// 2100-01-01T00:00:00Z.
const LATEST_CLOCK: Micros = 4_102_444_800 * SECOND;
/// How far this machine's clock may be from the database's, in µs.
const SKEW: Micros = 2 * SECOND;

/// What can be said after `antiphon doctor`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  antiphon doctor\n  antiphon doctor --data /var/lib/antiphon --json\n  antiphon doctor write\n\n\
                  Ends with 0 when everything is well, 1 when something is not. With names of roles it looks at what these \
                  may open, and whether the accounts of the settings have the rights that these need."
)]
pub struct Arguments {
    /// Roles to look for. [default: all that `antiphon up` runs]
    #[arg(value_name = "ROLE")]
    roles: Vec<String>,
}

/// What was found about one thing.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    detail: String,
}

/// Looks, and tells.
///
/// # Errors
/// When it cannot look at all.
pub fn run(arguments: Arguments, globals: &Globals) -> Result<ExitCode> {
    let named: Result<Vec<&'static Role>> = arguments.roles.iter().map(|name| roles::named(name)).collect();
    let mut roles = named?;
    if roles.is_empty() {
        roles = roles::of_up().collect();
    }
    let mut findings = Vec::new();
    match settings::load(&globals.data, Vec::new()) {
        Err(error) => findings.push(Finding { what: "settings", ok: false, detail: error.to_string() }),
        Ok(config) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(look(&config, &globals.data, &roles, &mut findings));
        }
    }
    findings.push(finding("clock", look_at_clock(&Clock::system())));
    let well = findings.iter().all(|finding| finding.ok);
    if globals.json {
        print_line(&serde_json::to_string_pretty(&serde_json::json!({ "ok": well, "findings": findings }))?)?;
    } else {
        for Finding { what, ok, detail } in &findings {
            print_line(&format!("{} {what}: {detail}", if *ok { "ok  " } else { "FAIL" }))?;
        }
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn finding(what: &'static str, outcome: Result<String>) -> Finding {
    match outcome {
        Ok(detail) => Finding { what, ok: true, detail },
        Err(error) => Finding { what, ok: false, detail: format!("{error:#}") },
    }
}

async fn look(config: &Config, data: &Path, roles: &[&'static Role], findings: &mut Vec<Finding>) {
    let looked_up = config.look_up().await.and_then(|()| config.check());
    let checked = looked_up.map(|()| String::from("known and well formed")).map_err(anyhow::Error::from);
    findings.push(finding("settings", checked));
    let permitted = Permitted::of(roles);
    let locations = match Locations::find(config, data) {
        Ok(locations) => locations,
        Err(error) => return findings.push(finding("connections", Err(error))),
    };
    if locations.need_folder(&permitted) {
        if data.exists() {
            findings.push(finding("data folder", look_at_folder(data)));
            findings.push(finding("free space", look_at_space(data)));
        } else {
            let detail = format!("{} is not there yet; the first start makes it", data.display());
            findings.push(Finding { what: "data folder", ok: true, detail });
        }
    }
    if permitted.database != Access::None {
        findings.push(finding("database", look_at_database(&locations.database, roles).await));
    }
    if permitted.queue {
        findings.push(finding("queue", look_at_queue(&locations.queue, roles).await));
    }
    if permitted.blobs != Access::None {
        findings.push(finding("blobs", look_at_blobs(&locations.blobs, permitted.blobs).await));
    }
    findings.push(finding("server", look_at_server(data)));
}

fn look_at_folder(data: &Path) -> Result<String> {
    data_folder::check_version(data)?;
    let probe = disk::temporary_beside(&data.join("doctor"));
    let written = fs::File::create(&probe).and_then(|mut file| {
        file.write_all(b"can this be written?")?;
        file.sync_all()
    });
    // Whether or not the write went well, nothing of it should stay.
    let _ = fs::remove_file(&probe);
    written.map_err(|error| data_folder::unusable(data, &error))?;
    Ok(format!("{} can be written", data.display()))
}

fn look_at_space(data: &Path) -> Result<String> {
    let free = disk::free_bytes(data).context("cannot ask for free space")?;
    let shown = format!("{:.1} GB free", free as f64 / 1e9);
    anyhow::ensure!(free >= LITTLE_SPACE, "only {shown}; make room, or shorten what sensors keep (their retention)");
    Ok(shown)
}

/// What is not there yet on this machine, and is made by whoever needs it first.
fn not_there_yet(location: &Location) -> Option<String> {
    match location {
        Location::Local(path) if !path.exists() => {
            Some(format!("{} is not there yet; the first role that uses it makes it", path.display()))
        }
        _ => None,
    }
}

async fn look_at_database(location: &Location, roles: &[&'static Role]) -> Result<String> {
    if let Some(detail) = not_there_yet(location) {
        return Ok(detail);
    }
    let reader = Reader::open(database_address(location), &migrations()).await?;
    reader.read().await?;
    let shown = location.shown();
    if location.is_local() {
        return Ok(format!("{shown} can be read, and its schema is the one of this version"));
    }
    permissions::check_database(&reader, roles).await?;
    let skew = clock_skew(&reader, &Clock::system()).await?;
    anyhow::ensure!(
        skew.abs() <= SKEW,
        "this machine's clock is {:.1} s ahead of the database's; set both (timedatectl set-ntp true)",
        skew as f64 / 1e6
    );
    Ok(format!(
        "{shown} can be read, its schema is the one of this version, and the account has the rights of its roles"
    ))
}

async fn look_at_queue(location: &Location, roles: &[&'static Role]) -> Result<String> {
    if let Some(detail) = not_there_yet(location) {
        return Ok(detail);
    }
    let access = roles::grants::queue_access(roles);
    let engine = QueueEngine::open(location, access).await?;
    let queue = engine.handle();
    queue.check().await?;
    let depths = queue.depths().await?;
    let missing = engine.missing_permissions().await?;
    engine.close().await;
    if !missing.is_empty() {
        let names: Vec<&str> = roles.iter().map(|role| role.name).collect();
        bail!(
            "the account may not write to {}; `antiphon roles --grants {} --on rabbitmq` prints what an administrator runs",
            missing.join(", "),
            names.join(" ")
        );
    }
    let (waiting, dead) =
        depths.iter().fold((0, 0), |(waiting, dead), depth| (waiting + depth.waiting, dead + depth.dead));
    let shown = location.shown();
    Ok(format!("{shown} can be used; {waiting} messages wait, {dead} are set aside and not yet in the database"))
}

async fn look_at_blobs(location: &Location, access: Access) -> Result<String> {
    if let Some(detail) = not_there_yet(location) {
        return Ok(detail);
    }
    let blobs = blobs_at(location, access).await?;
    blobs.check().await?;
    let may = blobs.permissions().await?;
    let needed = [(Access::Read, may.read), (Access::Write, may.write), (Access::Write, may.delete)];
    for (_, outcome) in needed.into_iter().filter(|(needs, _)| *needs <= access) {
        outcome.map_err(anyhow::Error::msg)?;
    }
    Ok(format!("{} can be {}", location.shown(), if access == Access::Write { "written" } else { "read" }))
}

fn look_at_server(data: &Path) -> Result<String> {
    let Some(url) = running::address(data) else {
        return Ok(String::from("none runs on this data folder; `antiphon up` starts one"));
    };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(5)))
        .build()
        .into();
    let mut answer = agent
        .get(format!("{url}/readyz"))
        .call()
        .with_context(|| format!("{url} does not answer; if it was killed, `antiphon up` starts it again"))?;
    let body = answer.body_mut().read_to_string().unwrap_or_default();
    anyhow::ensure!(answer.status() == 200, "{url} is not ready: {body}");
    Ok(format!("{url} is ready"))
}

fn look_at_clock(clock: &Clock) -> Result<String> {
    let now = clock.now();
    let shown = time::format(now);
    anyhow::ensure!(
        (EARLIEST_CLOCK..LATEST_CLOCK).contains(&now),
        "it says {shown}; set it (timedatectl set-ntp true), for recordings are placed by it"
    );
    Ok(format!("it says {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_is_told() {
        assert!(look_at_clock(&Clock::manual(0)).unwrap_err().to_string().contains("set it"));
        assert!(look_at_clock(&Clock::manual(1_777_593_600 * SECOND)).is_ok());
    }

    #[test]
    fn looking_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        look_at_folder(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::write(folder.path().join("VERSION"), "99").unwrap();
        assert!(look_at_folder(folder.path()).is_err());
    }
}
