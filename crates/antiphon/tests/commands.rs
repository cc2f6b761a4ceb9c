//! The commands of the binary as people and scripts use them: what they print, how they end, what they survive.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Antiphon, Client, MAY, PATIENCE, command, rfc3339, start, wav};

/// A running `up` with its data folder.
struct Server {
    folder: tempfile::TempDir,
    up: Antiphon,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let up = start(&folder.path().join("data"), &["up", "--listen", "127.0.0.1:0"], &[]);
        Self { folder, up }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs a command beside the server, so without any key.
    fn run(&self, arguments: &[&str]) -> Output {
        command(&self.data(), arguments, &[]).output().unwrap()
    }

    fn json(&self, path: &str) -> Value {
        Client::operator(&self.data()).get(&format!("{}{path}", self.up.url())).unwrap().json()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Asks again until it is so; the answer is told when it never is.
fn wait_until<T: std::fmt::Debug>(ask: impl Fn() -> T, is_so: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if is_so(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "still {answer:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn ingest_says_what_became_of_each_file() {
    let server = Server::start();
    let music = server.folder.path().join("music");
    std::fs::create_dir_all(music.join("inner")).unwrap();
    std::fs::write(music.join("a.wav"), wav(1, 16_000, 32_000)).unwrap();
    std::fs::write(music.join("inner/b.wav"), wav(2, 16_000, 16_000)).unwrap();
    std::fs::write(music.join("cover.jpg"), b"\xff\xd8\xff\xe0").unwrap();
    let music = music.to_str().unwrap();

    let good = server.run(&["ingest", music, "--json"]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    let mut lines: Vec<Value> = text(&good.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["path"].to_string());
    assert_eq!(lines.len(), 2);
    for (line, name) in lines.iter().zip(["a.wav", "b.wav"]) {
        let members: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(members, ["path", "id", "status", "reason"]);
        assert!(line["path"].as_str().unwrap().ends_with(name));
        assert_eq!((&line["status"], &line["reason"]), (&"stored".into(), &Value::Null));
    }

    let song = server.json(&format!("/api/v1/songs/{}", lines[0]["id"].as_str().unwrap()));
    assert_eq!((&song["title"], &song["duration"]), (&"a".into(), &2.0.into()));

    let cover = format!("{music}/cover.jpg");
    let bad = server.run(&["ingest", music, &cover, "/no/such/file"]);
    assert_eq!(bad.status.code(), Some(1));
    assert_eq!(text(&bad.stdout).trim(), "2 stored, 2 refused, 1 skipped (no audio)");
    let reasons = text(&bad.stderr);
    assert!(
        reasons.contains("cover.jpg: the body is no audio") && reasons.contains("/no/such/file: there is no"),
        "{reasons}"
    );

    let empty = server.folder.path().join("nowhere");
    let none = command(&empty, &["ingest", music], &[]).output().unwrap();
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("antiphon up"), "{}", text(&none.stderr));
}

#[test]
fn keys_are_printed_alone_and_taken_from_file_or_environment() {
    let server = Server::start();
    let made = server.run(&["sensor", "add", "roof", "--name", "On the roof"]);
    let key = text(&made.stdout);
    assert!(key.starts_with("ak_") && key.lines().count() == 1, "{key}");
    let key_file = server.folder.path().join("roof.key");
    std::fs::write(&key_file, &key).unwrap();
    let again = server.run(&["sensor", "add", "roof"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("409"), "{}", text(&again.stderr));

    // From elsewhere there is no token: the key comes from the file, or from the environment.
    let elsewhere = server.folder.path().join("elsewhere");
    let reader = server.run(&["key", "create", "--role", "reader", "--json"]);
    let reader: Value = serde_json::from_slice(&reader.stdout).unwrap();
    let list = |environment: &[(&str, &str)], more: &[&str]| {
        let arguments = [&["sensor", "list", "--json", "--server", server.up.url()], more].concat();
        command(&elsewhere, &arguments, environment).output().unwrap()
    };
    let listed = list(&[("ANTIPHON_KEY", reader["key"].as_str().unwrap())], &[]);
    assert_eq!(serde_json::from_slice::<Value>(&listed.stdout).unwrap()["items"][0]["id"], "roof");
    let none = list(&[], &[]);
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("ANTIPHON_KEY or --key-file"), "{}", text(&none.stderr));
    let sensor = list(&[], &["--key-file", key_file.to_str().unwrap()]);
    assert!(text(&sensor.stderr).contains("403"), "{}", text(&sensor.stderr));

    let revoked = server.run(&["key", "revoke", reader["id"].as_str().unwrap()]);
    assert_eq!(revoked.status.code(), Some(0));
    let after = list(&[("ANTIPHON_KEY", reader["key"].as_str().unwrap())], &[]);
    assert!(text(&after.stderr).contains("401"), "{}", text(&after.stderr));
}

#[test]
fn analyze_gives_the_numbers_of_the_server() {
    let server = Server::start();
    let file = server.folder.path().join("song.wav");
    std::fs::write(&file, wav(3, 44_100, 44_100 * 7 + 1_234)).unwrap();
    let file = file.to_str().unwrap();
    let ingested = server.run(&["ingest", file, "--json"]);
    let line: Value = serde_json::from_slice(&ingested.stdout).unwrap();
    let song = format!("song:{}", line["id"].as_str().unwrap());
    let features = ["--features", "level,loudness", "--stat", "leq,max,l10", "--resolution", "1s", "--format", "csv"];
    let asked = server.run(&[&["features", &song], &features[..]].concat());
    let local = command(&server.folder.path().join("none"), &[&["analyze", file], &features[..]].concat(), &[])
        .output()
        .unwrap();
    assert_eq!(
        (asked.status.code(), local.status.code()),
        (Some(0), Some(0)),
        "{}{}",
        text(&asked.stderr),
        text(&local.stderr)
    );
    assert!(!server.folder.path().join("none").exists(), "analyze touches no data folder");
    let table = |output: &Output, fixed: [&str; 2]| {
        let lines: Vec<Vec<String>> =
            text(&output.stdout).lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
        let kept: Vec<usize> =
            (0..lines[0].len()).filter(|column| !fixed.contains(&lines[0][*column].as_str())).collect();
        lines.iter().map(|line| kept.iter().map(|column| line[*column].clone()).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let (asked, local) = (table(&asked, ["time", "coverage"]), table(&local, ["file", "time"]));
    assert_eq!(asked.len(), 9, "a header and eight seconds");
    assert_eq!(asked, local);
}

/// A recorder of the samples of `file` at the times after `MAY`; `rest` goes on after them in the shell.
fn record(data: &Path, file: &Path, from: i64, rest: &str) -> Child {
    // Behind the header, so that the input ends only when the command does.
    let input = format!("tail -c +45 {}{rest}", file.display());
    let start_time = rfc3339(MAY + from);
    let arguments = ["sensor", "record", "roof", "--piece", "2", "--rate", "16000", "--start", &start_time];
    command(data, &arguments, &[])
        .args(["--input", &input])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn spooled(data: &Path) -> usize {
    let files = std::fs::read_dir(data.join("spool/roof")).map(|entries| entries.map(|entry| entry.unwrap().path()));
    files.map_or(0, |files| files.filter(|path| path.extension().is_some_and(|extension| extension == "flac")).count())
}

/// Gaps in the first 40 s after `MAY`, each as seconds from there.
fn gaps(server: &Server) -> Vec<(String, String)> {
    let path = format!("/api/v1/sensors/roof/gaps?from={}&to={}", rfc3339(MAY), rfc3339(MAY + 40_000_000));
    let answer = server.json(&path);
    let gaps = answer["items"].as_array().unwrap();
    let second = |value: &Value| value.as_str().unwrap()[17..23].to_owned();
    gaps.iter().map(|gap| (second(&gap["from"]), second(&gap["to"]))).collect()
}

#[test]
fn a_recording_outlives_its_server_and_its_recorder() {
    let mut server = Server::start();
    let data = server.data();
    assert!(server.run(&["sensor", "add", "roof"]).status.success());
    let file = server.folder.path().join("twenty.wav");
    std::fs::write(&file, wav(4, 16_000, 16_000 * 20)).unwrap();

    // The server is killed; a recorder fills its spool and is killed too, while its input still goes on.
    server.up.kill();
    let mut recorder = record(&data, &file, 0, "; sleep 30");
    wait_until(|| spooled(&data), |count| *count == 10);
    recorder.kill().unwrap();
    recorder.wait().unwrap();

    // Both come back, the server at another address with another token; nothing is missing.
    server.up = start(&data, &["up", "--listen", "127.0.0.1:0"], &[]);
    let recorder = record(&data, &file, 20_000_000, "").wait_with_output().unwrap();
    let said = text(&recorder.stderr);
    assert!(recorder.status.success() && said.contains("10 pieces of an earlier run"), "{said}");
    assert_eq!(spooled(&data), 0, "{said}");
    wait_until(|| gaps(&server), |gaps| gaps.is_empty());
    let answer = server.json(&format!(
        "/api/v1/sensors/roof/features?from={}&to={}&resolution=1s",
        rfc3339(MAY),
        rfc3339(MAY + 40_000_000)
    ));
    assert_eq!(answer["rows"].as_array().unwrap().len(), 40);
    assert!(answer["rows"].as_array().unwrap().iter().all(|row| row[1] == 1.0), "{answer}");
}

#[test]
fn a_recorder_that_is_told_to_stop_loses_nothing() {
    let server = Server::start();
    let data = server.data();
    assert!(server.run(&["sensor", "add", "roof"]).status.success());
    let file = server.folder.path().join("seven.wav");
    std::fs::write(&file, wav(5, 16_000, 16_000 * 7)).unwrap();
    let recorder = record(&data, &file, 0, "; sleep 30");
    // Three whole pieces are stored; the last second waits for more of its piece.
    wait_until(|| gaps(&server), |gaps| gaps.len() == 1 && gaps[0].0 == "06.000");
    rustix::process::kill_process(rustix::process::Pid::from_child(&recorder), rustix::process::Signal::TERM).unwrap();
    let recorder = recorder.wait_with_output().unwrap();
    assert_eq!(recorder.status.code(), Some(0), "{}", text(&recorder.stderr));
    assert!(text(&recorder.stderr).contains("4 pieces sent"), "{}", text(&recorder.stderr));
    wait_until(|| gaps(&server), |gaps| gaps.len() == 1 && gaps[0].0 == "07.000");
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let server = Server::start();
    let cases: [(&[&str], &str); 5] = [
        (&["sensor", "record", "roof", "--input", "true"], "there is no sensor"),
        (&["features", "roof", "--from", "x"], "sensor:ID or song:ID"),
        (&["analyze", "x.wav", "--features", "levle"], "\"level\""),
        (&["algorithms", "lowdness"], "\"loudness\""),
        (&["sensor", "list", "--server", "example"], "--server example"),
    ];
    for (arguments, expected) in cases {
        let output = server.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}
