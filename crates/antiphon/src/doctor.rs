//! `antiphon doctor`: looks at everything that the roles of `up` depend on, and says what to do.

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
use anyhow::{Context, Result};
use serde::Serialize;

use crate::cli::Globals;
use crate::commands::output::print_line;
use crate::roles;
use crate::wiring::{self, Locations, locations, migrations};
use crate::{data_folder, running, settings};

/// Free space in bytes below which sensors will soon be refused.
const LITTLE_SPACE: u64 = 1 << 30;
/// 2026-01-01T00:00:00Z: a clock before that was never set.
const EARLIEST_CLOCK: Micros = 1_767_225_600 * SECOND;
/// 2100-01-01T00:00:00Z.
const LATEST_CLOCK: Micros = 4_102_444_800 * SECOND;

/// What can be said after `antiphon doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  antiphon doctor\n  antiphon doctor --data /var/lib/antiphon --json\n\n\
                        Ends with 0 when everything is well, 1 when something is not.")]
pub struct Arguments {}

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
pub fn run(_: Arguments, globals: &Globals) -> Result<ExitCode> {
    let mut findings = Vec::new();
    match settings::load(&globals.data, Vec::new()) {
        Err(error) => findings.push(Finding { what: "settings", ok: false, detail: error.to_string() }),
        Ok(config) => {
            let checked = config.check().map(|()| String::from("known and well formed")).map_err(anyhow::Error::from);
            findings.push(finding("settings", checked));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(look(&config, &globals.data, &mut findings));
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

async fn look(config: &Config, data: &Path, findings: &mut Vec<Finding>) {
    if !data.exists() {
        let detail = format!("{} is not there yet; `antiphon up` makes it", data.display());
        findings.push(Finding { what: "data folder", ok: true, detail });
        return;
    }
    findings.push(finding("data folder", look_at_folder(data)));
    findings.push(finding("free space", look_at_space(data)));
    match locations(config, data) {
        Err(error) => findings.push(finding("connections", Err(error))),
        Ok(locations) => {
            findings.push(finding("database", look_at_database(&locations).await));
            findings.push(finding("queue", look_at_queue(&locations).await));
            findings.push(finding("blobs", look_at_blobs(&locations).await));
        }
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

async fn look_at_database(locations: &Locations) -> Result<String> {
    let path = locations.database.trim_start_matches("sqlite:");
    if !Path::new(path).exists() {
        return Ok(format!("{path} is not there yet; the first role that writes makes it"));
    }
    let reader = Reader::open(&locations.database, &migrations()).await?;
    reader.read().await?;
    Ok(format!("{path} can be read, and its schema is the one of this version"))
}

async fn look_at_queue(locations: &Locations) -> Result<String> {
    if !locations.queue.exists() {
        return Ok(format!("{} is not there yet; the first role that uses it makes it", locations.queue.display()));
    }
    let role = roles::find("relay").context("the role table has no role relay")?;
    let queue = wiring::open_queue(&locations.queue, role).await?;
    queue.check().await?;
    let depths = queue.depths().await?;
    let (waiting, dead) =
        depths.iter().fold((0, 0), |(waiting, dead), depth| (waiting + depth.waiting, dead + depth.dead));
    Ok(format!("can be published to; {waiting} messages wait, {dead} are set aside and not yet in the database"))
}

async fn look_at_blobs(locations: &Locations) -> Result<String> {
    if !locations.blobs.exists() {
        return Ok(format!("{} is not there yet; the first role that uses it makes it", locations.blobs.display()));
    }
    wiring::open_blobs(&locations.blobs, roles::Access::Write)?.check().await?;
    Ok(format!("{} can be written", locations.blobs.display()))
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
