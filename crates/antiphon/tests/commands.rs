//! The commands of the binary as people and scripts use them: what they print, how they end, what they survive.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::process::Output;

use serde_json::Value;
use support::beside::{Server, text};
use support::{command, wav};

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
    std::fs::write(format!("{music}/inner/old.wma"), b"\x30\x26\xb2\x75\x8e\x66\xcf\x11").unwrap();
    let bad = server.run(&["ingest", music, &cover, "/no/such/file"]);
    assert_eq!(bad.status.code(), Some(1));
    assert_eq!(text(&bad.stdout).trim(), "0 new, 2 already there, 2 refused, 2 skipped (no audio)");
    let reasons = text(&bad.stderr);
    assert!(reasons.contains("not supported: ") && reasons.contains("inner/old.wma"), "{reasons}");
    assert!(!reasons.contains("no audio: "), "{reasons}");
    let all = text(&server.run(&["ingest", music, "--verbose"]).stderr);
    assert!(all.contains("no audio: ") && all.contains("cover.jpg"), "{all}");
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
fn a_sensor_is_described_when_it_is_added_and_changed_later() {
    let server = Server::start();
    let place = ["--latitude", "-33.9", "--longitude", "18.4", "--timezone", "Africa/Johannesburg"];
    let added =
        server.run(&[&["sensor", "add", "roof", "--plan", "level-only", "--calibration", "110"], &place[..]].concat());
    assert_eq!(added.status.code(), Some(0), "{}", text(&added.stderr));
    let roof = || server.json("/api/v1/sensors/roof");
    let sensor = roof();
    assert_eq!((&sensor["calibration"], &sensor["plan_set"]), (&110.0.into(), &"level-only".into()), "{sensor}");
    assert_eq!(
        (&sensor["latitude"], &sensor["timezone"]),
        (&(-33.9).into(), &"Africa/Johannesburg".into()),
        "{sensor}"
    );

    let changed = server.run(&["sensor", "set", "roof", "--calibration", "-20.5", "--name", "Roof", "--json"]);
    assert_eq!(changed.status.code(), Some(0), "{}", text(&changed.stderr));
    let sensor = roof();
    assert_eq!((&sensor["calibration"], &sensor["name"]), (&(-20.5).into(), &"Roof".into()), "{sensor}");
    assert_eq!(sensor["timezone"], "Africa/Johannesburg", "what is not named stays");
    let answer: Value = serde_json::from_slice(&changed.stdout).unwrap();
    assert_eq!(answer["calibration"], sensor["calibration"], "the sensor as it is now");

    let cases: [(&[&str], &str); 3] = [
        (&["sensor", "set", "roof"], "say what to change of roof"),
        (&["sensor", "set", "rof", "--name", "x"], "did you mean roof?"),
        (&["sensor", "set", "roof", "--timezone", "Europe/Berln"], "did you mean Europe/Berlin?"),
    ];
    for (arguments, expected) in cases {
        let refused = server.run(arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(text(&refused.stderr).contains(expected), "{arguments:?}: {}", text(&refused.stderr));
    }
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

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let server = Server::start();
    let cases: [(&[&str], &str); 6] = [
        (&["analyze", "x.wav", "--plot", "x.png"], "such as x.svg"),
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
