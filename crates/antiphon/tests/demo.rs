//! `antiphon up --demo`: simulated sensors that are heard live and have a past, an album, and a folder of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use support::{Antiphon, Client, PATIENCE, command, rfc3339, start};

const DEMO: [&str; 4] = ["up", "--demo", "--listen", "127.0.0.1:0"];

/// When the demo was born, in seconds since 1970, once it says so.
fn born(data: &Path) -> i64 {
    wait(|| serde_json::from_slice::<Value>(&std::fs::read(data.join("demo.json")).ok()?).ok()?["born"].as_i64())
}

/// What becomes available within a while.
fn wait<T>(mut find: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it did not come");
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
}

fn items(up: &Antiphon, path: &str) -> Vec<Value> {
    let answer = Client::new("").get(&format!("{}{path}", up.url())).unwrap();
    assert_eq!(answer.status, 200, "{path}");
    answer.json()["items"].as_array().unwrap().clone()
}

/// The recordings of a sensor in the last minute of its history that are stored.
fn stored(up: &Antiphon, sensor: &str, born: i64) -> Vec<Value> {
    let (from, to) = (rfc3339((born - 59) * 1_000_000), rfc3339((born - 2) * 1_000_000));
    let all = items(up, &format!("/api/v1/sensors/{sensor}/recordings?from={from}&to={to}"));
    all.into_iter().filter(|recording| recording["status"] == "stored").collect()
}

#[test]
fn a_demo_is_live_has_a_past_and_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo");
    let up = start(&data, &DEMO, &[]);
    let nobody = Client::new("");
    let born_first = born(&data);
    wait(|| {
        let sensors = items(&up, "/api/v1/sensors");
        let live = sensors.iter().filter(|sensor| sensor["status"] == "live").count();
        (live == 2).then_some(())
    });
    // What is sent has been heard: no sensor is ahead of the server's clock.
    for sensor in items(&up, "/api/v1/sensors") {
        assert!(sensor["clock_skew_ms"].as_i64().is_none_or(|skew| skew >= 0), "{sensor}");
    }
    // Of the garden's six recordings one may be rubbish.
    for (sensor, least) in [("demo-street", 6), ("demo-garden", 5)] {
        wait(|| (stored(&up, sensor, born_first).len() >= least).then_some(()));
    }
    let dead_letters = format!("{}/api/v1/dead-letters", up.url());
    assert_eq!(nobody.get(&dead_letters).unwrap().status, 401);
    assert_eq!(nobody.send("POST", &format!("{}/api/v1/sensors", up.url()), &[], b"{}").unwrap().status, 401);
    let before = stored(&up, "demo-street", born_first);
    assert!(up.stop().success());

    let again = start(&data, &DEMO, &[]);
    assert_eq!(born(&data), born_first);
    wait(|| {
        let sensors = items(&again, "/api/v1/sensors");
        sensors.iter().all(|sensor| sensor["status"] == "live").then_some(())
    });
    assert_eq!(stored(&again, "demo-street", born_first), before, "the past was told twice");
    assert!(again.stop().success());
}

#[test]
fn a_demo_keeps_away_from_real_data() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert!(start(&data, &["up", "--listen", "127.0.0.1:0"], &[]).stop().success());
    let refusal = |data: &Path, environment: &[(&str, &str)]| {
        let output = command(data, &DEMO, environment).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refusal(&data, &[]).contains("is not the demo's"));
    let fresh = folder.path().join("fresh");
    let elsewhere = format!("sqlite:{}", folder.path().join("elsewhere.db").display());
    assert!(refusal(&fresh, &[("ANTIPHON_DATABASE__URL", &elsewhere)]).contains("database.url is set"));
    assert!(!fresh.exists());
}
