//! `antiphon sensor record` where it may lose something: a server that is away, a kill at any moment, a full spool, a clock
//! that is set. Whatever happens, what is stored and what is a gap make up the time that has passed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use antiphon_servers::{Fault, Proxy};
use support::beside::{Server, text, wait_until};
use support::recorder::{Account, RATE, kill, microphone, record, spawn, spooled, status, stop};
use support::{MAY, command, parameter};

const SECOND: i64 = 1_000_000;

/// The microphone is silent and does not end. It outlives a recorder that is killed, so it must not hold its words.
const GOES_ON: &str = "; exec sleep 60 2>/dev/null";

/// A server with the sensor `roof`; its key.
fn start() -> (Server, String) {
    let server = Server::start();
    let added = server.run(&["sensor", "add", "roof"]);
    assert!(added.status.success(), "{}", text(&added.stderr));
    (server, text(&added.stdout).trim().to_owned())
}

fn spool(server: &Server) -> PathBuf {
    server.data().join("spool/roof")
}

#[test]
fn nothing_is_lost_while_the_server_is_away() {
    // An hour: SENDER_OUTAGE_SECONDS=3600.
    let seconds = parameter("SENDER_OUTAGE_SECONDS", 120);
    let pieces = seconds as usize / 2;
    let (mut server, _) = start();
    let data = server.data();
    let file = microphone(server.folder.path(), 1, seconds as usize);
    server.up.kill();
    let recorder = record(&data, &file, 0, GOES_ON, &[]);
    wait_until(|| spooled(&spool(&server), "flac").len(), |count| *count == pieces);

    // The sender's own machine knows, without the server.
    let to = MAY + i64::from(seconds) * SECOND;
    let is_told = |told: &serde_json::Value| told["recorded"]["until"] == support::rfc3339(to);
    let (_, told) = wait_until(|| status(&data), |(_, told)| !told["trouble"].is_null() && is_told(told));
    assert_eq!((&told["running"], &told["waiting"]["pieces"]), (&true.into(), &pieces.into()), "{told}");
    assert_eq!(told["waiting"]["oldest"], support::rfc3339(MAY), "{told}");
    assert_eq!((&told["sent"], &told["given_up"]["pieces"]), (&serde_json::Value::Null, &0.into()), "{told}");
    assert!(told["trouble"]["reason"].as_str().unwrap().contains("cannot reach"), "{told}");

    server.start_again();
    let account = Account::of(&server, MAY, to, pieces);
    assert_eq!((account.seconds_of(MAY, to), account.gaps.len()), (f64::from(seconds), 0));
    let last = support::rfc3339(to - 2 * SECOND);
    let (code, told) = wait_until(|| status(&data), |(_, told)| told["sent"]["start"] == *last);
    assert_eq!((code, &told["problems"], &told["trouble"]), (0, &serde_json::json!([]), &serde_json::Value::Null));
    assert_eq!(told["waiting"]["pieces"], 0, "{told}");
    assert!(told["clock_skew_ms"].as_i64().unwrap().abs() < 2_000, "{told}");
    let said = stop(recorder);
    assert!(said.contains("the server takes pieces again"), "{said}");
}

#[test]
fn a_kill_in_the_midst_of_a_piece_costs_nothing_that_was_heard() {
    let (mut server, _) = start();
    let data = server.data();
    let file = microphone(server.folder.path(), 2, 7);
    server.up.kill();
    let recorder = record(&data, &file, 0, GOES_ON, &[]);
    // Three pieces, and a second of the fourth with its lead-in: 3 s of 2 bytes a sample behind the header.
    let heard = |path: &PathBuf| path.metadata().is_ok_and(|file| file.len() == 44 + 3 * 2 * RATE as u64);
    wait_until(
        || spooled(&spool(&server), "wav"),
        |files| files.len() == 1 && files.iter().all(heard) && spooled(&spool(&server), "flac").len() == 3,
    );
    kill(recorder);
    let (code, told) = status(&data);
    assert_eq!((code, &told["running"], &told["problems"][0]), (3, &false.into(), &"no recorder runs".into()));

    // Three seconds pass until somebody starts it again; then it hears what is ten seconds long.
    server.start_again();
    let file = microphone(server.folder.path(), 3, 10);
    let recorder = record(&data, &file, 10 * SECOND, "", &[]).wait_with_output().unwrap();
    let said = text(&recorder.stderr);
    assert!(recorder.status.success() && said.contains("1.0 s that an earlier run was recording"), "{said}");
    let to = MAY + 20 * SECOND;
    let account = Account::of(&server, MAY, to, 3 + 1 + 5);
    assert_eq!((account.seconds_of(MAY, to), account.gaps_in_seconds()), (17.0, vec![(7.0, 10.0)]));
    assert!(spooled(&spool(&server), "wav").is_empty() && spooled(&spool(&server), "flac").is_empty());
}

#[test]
fn a_kill_in_the_midst_of_sending_sends_nothing_twice() {
    let (server, key) = start();
    let data = server.data();
    let key_file = server.folder.path().join("roof.key");
    std::fs::write(&key_file, key).unwrap();
    let proxy = Proxy::start(server.up.url().trim_start_matches("http://").parse().unwrap());
    let address = format!("http://{}", proxy.address());
    let file = microphone(server.folder.path(), 4, 6);
    let more = ["--server", &address, "--key-file", key_file.to_str().unwrap()];
    // Every answer comes late enough to be killed before it.
    proxy.set(Fault::Delay(Duration::from_millis(1_500)));
    let recorder = record(&data, &file, 0, GOES_ON, &more);
    wait_until(|| Account::count(&server), |count| *count == 1);
    kill(recorder);
    assert_eq!(
        spooled(&spool(&server), "flac").len(),
        3,
        "the server has the first piece, and the sender does not know"
    );

    proxy.set(Fault::None);
    let file = microphone(server.folder.path(), 5, 4);
    let recorder = record(&data, &file, 6 * SECOND, "", &more).wait_with_output().unwrap();
    let said = text(&recorder.stderr);
    assert!(recorder.status.success() && said.contains("5 pieces sent"), "{said}");
    let to = MAY + 10 * SECOND;
    let account = Account::of(&server, MAY, to, 5);
    assert_eq!((account.seconds_of(MAY, to), account.gaps.len()), (10.0, 0));
}

#[test]
fn a_full_spool_gives_up_the_oldest_and_says_so_everywhere() {
    let (mut server, _) = start();
    let data = server.data();
    let file = microphone(server.folder.path(), 6, 41);
    server.up.kill();
    let recorder = record(&data, &file, 0, GOES_ON, &["--spool-limit", "500000"]);
    let until = support::rfc3339(MAY + 40 * SECOND);
    let (_, told) = wait_until(|| status(&data), |(_, told)| told["recorded"]["until"] == *until);
    let said = kill(recorder);
    assert!(said.contains("the spool is full"), "{said}");

    let (waiting, given_up) = (&told["waiting"], &told["given_up"]);
    let (kept, lost) = (waiting["pieces"].as_i64().unwrap(), given_up["pieces"].as_i64().unwrap());
    assert!(kept > 2 && lost > 2 && waiting["bytes"].as_i64().unwrap() <= 500_000, "{told}");
    assert_eq!((kept + lost, given_up["seconds"].as_f64().unwrap()), (20, 2.0 * lost as f64), "{told}");
    let times = serde_json::json!([{"from": support::rfc3339(MAY), "to": waiting["oldest"]}]);
    assert_eq!(given_up["times"], times, "{told}");
    let problems = told["problems"].to_string();
    assert!(problems.contains("given up for want of room"), "{told}");
    let text_for_people = text(&server.run(&["sensor", "status", "roof"]).stdout);
    assert!(text_for_people.contains(&format!("given up    {lost} pieces, {:.1} s", 2.0 * lost as f64)));

    // The server has exactly these times as a gap, and nothing else.
    server.start_again();
    let rest = microphone(server.folder.path(), 7, 1);
    let recorder = record(&data, &rest, 41 * SECOND, "", &[]).wait_with_output().unwrap();
    assert!(recorder.status.success(), "{}", text(&recorder.stderr));
    let to = MAY + 42 * SECOND;
    let account = Account::of(&server, MAY, to, kept as usize + 2);
    let lost = 2.0 * lost as f64;
    assert_eq!((account.seconds_of(MAY, to), account.gaps_in_seconds()), (42.0 - lost, vec![(0.0, lost)]));
    let (_, told) = status(&data);
    assert_eq!(told["given_up"]["times"], times, "it is told of still: {told}");
}

/// The library that sets the clock of one process.
fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

#[test]
fn a_clock_that_is_set_forth_and_back_costs_no_sample() {
    let Some(library) = faketime() else {
        eprintln!("SKIPPED: no faketime here (Debian's package faketime); no clock was set");
        return;
    };
    let (server, _) = start();
    let data = server.data();
    // Seconds by which the recorder's clock is off: set forth by 100 and back by 60, all in the server's past.
    let clock = server.folder.path().join("clock");
    let set = |offset: &str| {
        let next = clock.with_extension("next");
        std::fs::write(&next, offset).unwrap();
        std::fs::rename(next, &clock).unwrap();
    };
    set("-1000");
    let environment = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let arguments = ["sensor", "record", "roof", "--piece", "2", "--rate", "16000"];
    let mut recorder = spawn(command(&data, &arguments, &environment).stdin(Stdio::piped()));
    let mut input = recorder.stdin.take().unwrap();
    let samples = wav_samples(15);
    let (begun, block) = (Instant::now(), RATE / 10);
    for (number, bytes) in samples.chunks(2 * block).enumerate() {
        match number {
            50 => set("-900"),
            100 => set("-960"),
            _ => {}
        }
        // As a sound card hands them over: when their time has passed.
        let due = Duration::from_millis(100 * (number as u64 + 1));
        while let Some(left) = due.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
            std::thread::park_timeout(left);
        }
        input.write_all(bytes).unwrap();
    }
    drop(input);
    let output = recorder.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("behind the server's"), "{said}");

    // 5 s, then 100 s later 5 s, and 5 s that lie between.
    let now = antiphon_platform::clock::Clock::system().now();
    let pieces: usize = said.rsplit_once(" pieces sent").unwrap().0.rsplit_once(' ').unwrap().1.parse().unwrap();
    let all = Account::of(&server, now - 1_100 * SECOND, now - 800 * SECOND, pieces);
    let (from, to) = (all.stored[0].0, all.stored[pieces - 1].1);
    let account = Account::of(&server, from, to, pieces);
    assert_eq!(account.seconds_of(from, to), 15.0, "every sample is stored");
    let gaps: Vec<f64> = account.gaps.iter().map(|(from, to)| (to - from) as f64 / 1e6).collect();
    let expected = [45.0, 50.0];
    assert_eq!(gaps.len(), 2, "{account:?}");
    assert!(gaps.iter().zip(expected).all(|(gap, expected)| (gap - expected).abs() < 1.0), "{gaps:?}");
    let (_, told) = status(&data);
    assert!((told["clock_skew_ms"].as_i64().unwrap() - 960_000).abs() < 2_000, "{told}");
    assert!(told["problems"].to_string().contains("behind the server's"), "{told}");
}

/// So many seconds of bare PCM.
fn wav_samples(seconds: usize) -> Vec<u8> {
    support::wav(8, RATE as u32, RATE * seconds).split_off(44)
}

#[test]
fn a_recorder_that_is_told_to_stop_loses_nothing() {
    let (server, _) = start();
    let data = server.data();
    let file = microphone(server.folder.path(), 9, 7);
    let recorder = record(&data, &file, 0, GOES_ON, &[]);
    // Three whole pieces are stored; the last second waits for more of its piece.
    wait_until(|| Account::count(&server), |count| *count == 3);
    let said = stop(recorder);
    assert!(said.contains("4 pieces sent"), "{said}");
    let account = Account::of(&server, MAY, MAY + 7 * SECOND, 4);
    assert_eq!((account.seconds_of(MAY, MAY + 7 * SECOND), account.gaps.len()), (7.0, 0));
}

#[test]
fn an_input_that_ends_is_opened_again_and_a_sensor_that_worked_records_on() {
    let (server, _) = start();
    let data = server.data();
    let file = microphone(server.folder.path(), 10, 3);
    let input = format!("cat {}; exit 7", file.display());
    let arguments = ["sensor", "record", "roof", "--rate", "16000", "--piece", "1", "--restart", "--log-every", "1"];
    let start_recorder =
        |environment: &[(&str, &str)]| spawn(command(&data, &arguments, environment).args(["--input", &input]));
    // Each time it hears three seconds in real time, the last of which may become part of the piece before.
    let recorder = start_recorder(&[]);
    wait_until(|| Account::count(&server), |count| *count > 4);
    let said = stop(recorder);
    assert!(said.contains("ended with exit status: 7. It is opened again until it works"), "{said}");
    let line = said.lines().find(|line| line.contains(" sent, ") && line.contains(" in the spool (")).unwrap();
    assert!(line.starts_with("roof: "), "{said}");
    assert!(status(&data).1["last_error"]["reason"].as_str().unwrap().contains("exit status: 7"));

    // What has worked goes on though its key is not taken any more; what never worked is told at once.
    let wrong = [("ANTIPHON_KEY", "ak_wrong")];
    let recorder = start_recorder(&wrong);
    wait_until(|| spooled(&spool(&server), "flac").len(), |count| *count > 0);
    let said = stop(recorder);
    assert!(said.contains("ANTIPHON_KEY or --key-file") && said.contains("kept for the next run"), "{said}");
    std::fs::remove_dir_all(spool(&server)).unwrap();
    let refused = start_recorder(&wrong).wait_with_output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
}

#[test]
fn status_says_what_it_cannot_tell() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let run = |arguments: &[&str]| command(&data, &[&["sensor", "status"], arguments].concat(), &[]).output().unwrap();
    for (arguments, expected) in [(&[][..], "no recorder has ever run"), (&["roof"], "no recorder has ever used it")] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
    let spool = data.join("spool/roof");
    std::fs::create_dir_all(&spool).unwrap();
    std::fs::write(spool.join("state.json"), "{\"sensor\":\"garden\"}").unwrap();
    assert!(text(&run(&["roof"]).stderr).contains("of sensor garden, not of roof"));
    let all = run(&["--json"]);
    assert_eq!(all.status.code(), Some(3));
    let all: serde_json::Value = serde_json::from_slice(&all.stdout).unwrap();
    assert_eq!((&all["items"][0]["sensor"], &all["items"][0]["running"]), (&"garden".into(), &false.into()));
    std::fs::write(spool.join("state.json"), "{").unwrap();
    assert_eq!(run(&["--spool", spool.to_str().unwrap()]).status.code(), Some(2));
}
