//! A disk that is full or read-only: refused with 503 within five seconds, reads go on, nothing accepted is lost, and
//! work goes on by itself when the disk is well again. Runs in a mount namespace of its own; where that is not
//! permitted it says so loudly and tests nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{Answer, Client, MAY, PATIENCE, rfc3339, wav};

/// The longest that an answer may take: five seconds, thrice over for a machine that is busy with other tests.
const ANSWER: Duration = Duration::from_secs(15);

/// A small file system of its own, and an `up` on it.
struct Namespace {
    /// Holds the mount namespace open while it waits for input.
    holder: Child,
    process: Child,
    outside: PathBuf,
    inside: PathBuf,
    url: String,
    client: Client,
}

/// Makes the file system and starts `up` on it, or tells that this machine does not permit it.
fn start(folder: &Path, megabytes: u32) -> Option<Namespace> {
    let outside = folder.join("disk");
    std::fs::create_dir_all(&outside).unwrap();
    let script =
        format!("mount -t tmpfs -o size={megabytes}m tmpfs '{}' && echo mounted && exec cat", outside.display());
    let mut holder = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    if first_line(&mut holder) != "mounted\n" {
        eprintln!("SKIPPED: this machine permits no mount namespace; this disk test ran nothing");
        return None;
    }
    // The namespace's own view of the folder.
    let inside = PathBuf::from(format!("/proc/{}/root{}", holder.id(), outside.display()));
    let (process, line) = launch(&holder, &outside);
    let url = line[line.find("http://").unwrap_or_else(|| panic!("not ready: {line:?}"))..].trim().to_owned();
    let key = std::fs::read_to_string(inside.join("data/operator.key")).unwrap();
    let client = Client::new(key.trim());
    let made = client.post_json(&format!("{url}/api/v1/sensors"), &serde_json::json!({ "id": "roof" }));
    assert_eq!(made.status, 201, "{made:?}");
    Some(Namespace { holder, process, outside, inside, url, client })
}

fn first_line(process: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line
}

/// Starts `up` inside; what it printed first (nothing if it refused).
fn launch(holder: &Child, outside: &Path) -> (Child, String) {
    let mut command = Command::new("nsenter");
    // The parameters of tests are not settings, and would be refused as such.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANTIPHON_")) {
        command.env_remove(name);
    }
    let mut process = command
        .args(["--target", &holder.id().to_string(), "--mount", env!("CARGO_BIN_EXE_antiphon")])
        .args(["up", "--listen", "127.0.0.1:0", "--data"])
        .arg(outside.join("data"))
        .current_dir("/")
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(outside.with_extension("log")).unwrap())
        .spawn()
        .unwrap();
    let line = first_line(&mut process);
    (process, line)
}

impl Namespace {
    fn post(&self, number: i64) -> Answer {
        let time = rfc3339(MAY + number * 4_000_000);
        let target = format!("{}/api/v1/sensors/roof/recordings?start={time}", self.url);
        let begun = Instant::now();
        let body = wav(number as u64, 16_000, 64_000);
        let answer = self.client.send("POST", &target, &[("content-type", "audio/wav")], &body).unwrap();
        assert!(begun.elapsed() < ANSWER, "an answer took {:?}", begun.elapsed());
        answer
    }

    /// Posts from `first` on until one is refused; the ids that were accepted.
    fn post_until_refused(&self, first: i64) -> Vec<String> {
        let mut accepted = Vec::new();
        for number in first..first + 2_000 {
            let answer = self.post(number);
            if answer.status == 202 {
                accepted.push(answer.json()["id"].as_str().unwrap().to_owned());
                continue;
            }
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
            return accepted;
        }
        panic!("two thousand recordings fit on this disk");
    }

    /// Posts one until it is accepted again.
    fn post_until_accepted(&self, number: i64) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.post(number);
            if answer.status == 202 {
                return answer.json()["id"].as_str().unwrap().to_owned();
            }
            assert!(Instant::now() < deadline, "it never recovered: {answer:?}");
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    fn expect_stored(&self, ids: &[String]) {
        let deadline = Instant::now() + PATIENCE * 2;
        for id in ids {
            loop {
                let answer = self.client.get(&format!("{}/api/v1/recordings/{id}?wait=20", self.url)).unwrap();
                if answer.status == 200 && answer.json()["status"] == "stored" {
                    break;
                }
                assert!(Instant::now() < deadline, "{id} was accepted and is not stored: {answer:?}");
                std::thread::park_timeout(Duration::from_millis(50));
            }
        }
    }

    fn remount(&self, how: &str) {
        let status = Command::new("nsenter")
            .args(["--target", &self.holder.id().to_string(), "--mount", "mount", "-o", how])
            .arg(&self.outside)
            .status()
            .unwrap();
        assert!(status.success(), "remount {how}");
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.kill();
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let Some(antiphon) = start(folder.path(), 200) else { return };
    // Ballast, so that the disk is full after a few recordings and can be emptied again.
    let ballast = antiphon.inside.join("ballast");
    std::fs::write(&ballast, vec![1u8; 175 * 1024 * 1024]).unwrap();
    let mut accepted = antiphon.post_until_refused(0);
    assert!(accepted.len() > 5, "the disk was full from the start");
    // Reads go on.
    assert_eq!(antiphon.client.get(&format!("{}/api/v1/sensors/roof", antiphon.url)).unwrap().status, 200);
    std::fs::remove_file(&ballast).unwrap();
    accepted.push(antiphon.post_until_accepted(5_000));
    antiphon.expect_stored(&accepted);
    println!("{} recordings accepted around a full disk, all stored", accepted.len());
}

#[test]
fn a_read_only_disk_is_refused_and_nothing_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut antiphon) = start(folder.path(), 256) else { return };
    let accepted: Vec<String> = (0..10).map(|number| antiphon.post_until_accepted(number)).collect();
    antiphon.kill();
    antiphon.remount("remount,ro");
    let (mut refused, line) = launch(&antiphon.holder, &antiphon.outside);
    assert_eq!(line, "", "it said that it is ready on a read-only disk");
    assert_eq!(refused.wait().unwrap().code(), Some(2));
    let log = std::fs::read_to_string(antiphon.outside.with_extension("log")).unwrap();
    assert!(log.to_lowercase().contains("read-only"), "{log}");
    antiphon.remount("remount,rw");
    let (process, line) = launch(&antiphon.holder, &antiphon.outside);
    antiphon.process = process;
    antiphon.url = line[line.find("http://").unwrap()..].trim().to_owned();
    antiphon.expect_stored(&accepted);
}
