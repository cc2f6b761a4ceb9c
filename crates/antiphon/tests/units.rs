//! deploy/sensor, deploy/server: the units are ones that systemd takes, shut in what they start, and start commands that work.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::beside::{Server, text};
use support::recorder::{Account, RATE, microphone};
use support::{Client, MAY, start};

/// What `systemd-analyze security` may find at most: 10 is a service that may do everything, 0 one that may do nothing.
const MOST_EXPOSED: u32 = 2;

/// A unit below `deploy`, and what it is called once it is installed: the sensor's as that of sensor `roof`.
const UNITS: [(&str, &str); 2] = [
    ("sensor/antiphon-sensor@.service", "antiphon-sensor@roof.service"),
    ("server/antiphon.service", "antiphon.service"),
];

fn deployed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// A unit with a program that is there; and `systemd-analyze` with arguments and it.
fn analyze((file, name): (&str, &str), arguments: &[&str]) -> Option<Output> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let unit = deployed(file);
    std::fs::write(&path, unit.replace("/usr/local/bin/antiphon", env!("CARGO_BIN_EXE_antiphon"))).unwrap();
    let output = Command::new("systemd-analyze").args(arguments).arg(&path).output();
    if output.is_err() {
        eprintln!("SKIPPED: no systemd-analyze here; systemd did not look at the unit");
    }
    output.ok()
}

#[test]
fn systemd_takes_the_units_without_a_word() {
    for unit in UNITS {
        let Some(output) = analyze(unit, &["verify", "--man=no"]) else { return };
        let said = text(&output.stderr);
        // Units of the machine may be wrong in other ways.
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("antiphon")).collect();
        assert!(output.status.success() && ours.is_empty(), "{said}");
    }
}

#[test]
fn the_units_shut_in_what_they_start() {
    let threshold = format!("--threshold={}", MOST_EXPOSED * 10);
    for unit in UNITS {
        let Some(output) = analyze(unit, &["security", "--offline=true", "--no-pager", &threshold]) else { return };
        let said = text(&output.stdout);
        assert!(output.status.success() && said.contains("Overall exposure level"), "{said}{}", text(&output.stderr));
    }
}

#[test]
fn what_the_servers_unit_starts_is_ready_on_its_own_folder() {
    let folder = tempfile::tempdir().unwrap();
    let unit = deployed("server/antiphon.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/antiphon ")).unwrap();
    let line = line.replace("%S", folder.path().to_str().unwrap());
    let words: Vec<&str> = line.split(' ').collect();
    let data = folder.path().join("antiphon");
    assert_eq!(words.last(), data.to_str().as_ref());
    // Its settings come as those of /etc/antiphon/server.env do.
    let up = start(&data, &words[..1], &[("ANTIPHON_HTTP__LISTEN", "127.0.0.1:0")]);
    assert_eq!(Client::operator(&data).get(&format!("{}/api/v1/sensors", up.url())).unwrap().status, 200);
}

/// The words of the unit's command, as systemd would make them of the environment file and its own folders.
fn command_line(environment: &[(String, String)], state: &Path, credentials: &Path) -> Vec<String> {
    let unit = deployed("sensor/antiphon-sensor@.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/antiphon ")).unwrap();
    let specifiers = [("%i", Path::new("roof")), ("%S", state), ("%d", credentials)];
    let variable = |name: &str| {
        let found = environment.iter().find(|(variable, _)| variable == name);
        found.unwrap_or_else(|| panic!("{name} is not in sensor.env")).1.clone()
    };
    let mut words = Vec::new();
    for word in line.split(' ') {
        let word = specifiers
            .iter()
            .fold(word.to_owned(), |word, (specifier, path)| word.replace(specifier, path.to_str().unwrap()));
        match (word.strip_prefix("${").and_then(|name| name.strip_suffix('}')), word.strip_prefix('$')) {
            (Some(name), _) => words.push(variable(name)),
            (None, Some(name)) => words.extend(variable(name).split_whitespace().map(str::to_owned)),
            (None, None) => words.push(word),
        }
    }
    words
}

#[test]
fn what_the_unit_starts_records_and_status_finds_it() {
    let server = Server::start();
    let folder = server.folder.path();
    let credentials = folder.join("credentials");
    let state = folder.join("state");
    std::fs::create_dir_all(&credentials).unwrap();
    let key = text(&server.run(&["sensor", "add", "roof"]).stdout);
    std::fs::write(credentials.join("key"), key).unwrap();
    // The environment file as it is delivered, with another microphone, in a time of its own.
    let file: PathBuf = microphone(folder, 1, 4);
    let assignments = deployed("sensor/sensor.env");
    let assignments = assignments.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    let environment: Vec<(String, String)> = assignments
        .map(|(name, value)| {
            let value = match name {
                "ANTIPHON_SERVER" => server.up.url().to_owned(),
                "SENSOR_INPUT" => format!("cat {}", file.display()),
                "SENSOR_OPTIONS" => format!("--rate {RATE} --piece 2 --start {}", support::rfc3339(MAY)),
                _ => value.to_owned(),
            };
            (name.to_owned(), value)
        })
        .collect();
    let words = command_line(&environment, &state, &credentials);
    let output = Command::new(env!("CARGO_BIN_EXE_antiphon"))
        .args(&words)
        .env_clear()
        .envs(environment)
        .current_dir("/")
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    let account = Account::of(&server, MAY, MAY + 4_000_000, 2);
    assert_eq!((account.seconds_of(MAY, MAY + 4_000_000), account.gaps.len()), (4.0, 0));
    // Where the unit says that its spool is.
    let spool = state.join("antiphon-sensor/roof");
    let told = server.run(&["sensor", "status", "--spool", spool.to_str().unwrap()]);
    assert_eq!(told.status.code(), Some(3), "{}", text(&told.stderr));
    assert!(text(&told.stdout).contains("last sent   the piece of 2026-05-01T00:00:02Z"), "{}", text(&told.stdout));
}
