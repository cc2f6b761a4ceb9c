//! An installation on a data folder becomes one on servers: killed half-way and run again, it gives the same answers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]
#![cfg(all(feature = "postgres", feature = "amqp", feature = "s3"))]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use antiphon_servers::{ObjectStore, Postgres, RabbitMq};
use serde_json::Value;
use support::traffic::{SENSORS, add_sensors, answers, load, recordings, send, wait_stored};
use support::{Client, MAY, PATIENCE, command, contents, rfc3339, start};

const UP: [&str; 3] = ["up", "--listen", "127.0.0.1:0"];

#[test]
fn what_was_on_a_data_folder_is_on_servers_after_a_migration_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let stored = Mutex::new(BTreeMap::new());
    let client;
    let before;
    {
        let up = start(&data, &UP, &[]);
        client = Client::operator(&data);
        add_sensors(&client, up.url());
        load(&client, up.url(), &recordings(5, 90), &channel().0, &stored);
        let stored = stored.lock().unwrap();
        for id in stored.keys() {
            wait_stored(&client, up.url(), id);
        }
        before = answers(&client, up.url(), stored.keys());
        // A server that runs is not migrated under its feet.
        let refused = command(&data, &["migrate", "--from", data.to_str().unwrap(), "--to", "none.toml"], &[]).output();
        let said = String::from_utf8(refused.unwrap().stderr).unwrap();
        assert!(said.contains("in use"), "{said}");
        assert!(up.stop().success());
    }
    // Messages that wait: accepted while no worker runs.
    let waiting = waiting_messages(&data, &client);

    let (database, vhost, store) = (Postgres::shared().database(), RabbitMq::shared().vhost(), ObjectStore::shared());
    let bucket = store.bucket();
    let settings = folder.path().join("production.toml");
    let text = format!(
        "[database]\nurl = {:?}\n[queue]\nurl = {:?}\n[blobs]\nurl = {:?}\n",
        database.url(),
        vhost.url(),
        bucket.url()
    );
    std::fs::write(&settings, text).unwrap();
    let arguments = ["migrate", "--from", data.to_str().unwrap(), "--to", settings.to_str().unwrap(), "--json"];
    let elsewhere = folder.path().join("elsewhere");
    let old = contents(&data, &["run"]);

    // Killed at several moments, later ones with more done.
    let mut killed = 0;
    for milliseconds in [50, 200, 500, 1_000, 2_000] {
        let mut child = command(&elsewhere, &arguments, &[]).stdout(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_millis(milliseconds);
        while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        killed += usize::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
    }
    assert!(killed > 0, "no run was killed");
    println!("{killed} runs killed");
    let done = command(&elsewhere, &arguments, &[]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["ok"], true);
    assert!(report["tables"]["recordings"]["rows"].as_u64().unwrap() > 50, "{report}");
    assert!(report["blobs"]["objects"].as_u64().unwrap() > 0, "{report}");
    // Once more: nothing is left to do, and what was compared is the same.
    let again: Value = serde_json::from_slice(&command(&elsewhere, &arguments, &[]).output().unwrap().stdout).unwrap();
    assert_eq!(again["tables"], report["tables"]);
    assert_eq!(again["blobs"], report["blobs"]);

    // The old folder is as it was.
    let mut now = contents(&data, &["run"]);
    now.retain(|path, _| old.contains_key(path) && !path.contains("antiphon.db"));
    for (path, bytes) in &now {
        assert_eq!(bytes, &old[path], "{path}");
    }

    let config = std::fs::read_to_string(&settings).unwrap();
    std::fs::create_dir_all(folder.path().join("new")).unwrap();
    std::fs::write(folder.path().join("new/antiphon.toml"), config).unwrap();
    let up = start(&folder.path().join("new/data"), &UP, &[]);
    for id in waiting {
        wait_stored(&client, up.url(), &id);
    }
    let letters = client.get(&format!("{}/api/v1/dead-letters", up.url())).unwrap().json();
    assert!(!letters["items"].as_array().unwrap().is_empty(), "the dead letters are gone");
    delete_waiting(&client, up.url());
    let stored = stored.into_inner().unwrap();
    let after = answers(&client, up.url(), stored.keys());
    assert_eq!(before.len(), after.len());
    for (path, answer) in &before {
        assert_eq!(answer, &after[path], "{path}");
    }
    assert!(up.stop().success());
}

const LATER: &str = "later";

/// Has messages wait in the folder's queue, some of them dead; the ids of the recordings that will be stored.
fn waiting_messages(data: &Path, client: &Client) -> Vec<String> {
    let api = start(data, &["run", "api", "--listen", "127.0.0.1:0"], &[]);
    let sensor = client.post_json(&format!("{}/api/v1/sensors", api.url()), &serde_json::json!({ "id": LATER }));
    assert_eq!(sensor.status, 201);
    let mut ids = Vec::new();
    for one in recordings(6, 30).into_iter().filter(|one| one.sensor.is_some()) {
        let one = support::traffic::Sent { sensor: Some(LATER), ..one };
        if let Ok(id) = send(client, api.url(), &one) {
            ids.push(id);
        }
    }
    assert!(ids.len() > 10);
    // One that a worker sets aside, and that no writer has taken yet.
    let mut broken =
        b"fLaC\x80\x00\x00\x22\x10\x00\x10\x00\x00\x00\x00\x00\x00\x00\x0a\xc4\x42\xf0\x00\x00\x00\x00".to_vec();
    broken.extend([0x55_u8; 4_016]);
    let target = format!("{}/api/v1/sensors/{LATER}/recordings?start={}", api.url(), rfc3339(MAY + 7_000_000_000));
    assert_eq!(client.send("POST", &target, &[("content-type", "audio/flac")], &broken).unwrap().status, 202);
    let worker = start(data, &["run", "analyze"], &[]);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = client.get(&format!("{}/metrics", api.url())).unwrap();
        let metrics = String::from_utf8(metrics.body).unwrap();
        let dead = metrics.lines().find_map(|line| line.strip_prefix("antiphon_queue_dead{group=\"analyze\"} "));
        if dead.is_some_and(|dead| dead.parse::<f64>().unwrap() >= 1.0) {
            break;
        }
        assert!(Instant::now() < deadline, "nothing was set aside:\n{metrics}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert!(worker.stop().success());
    assert!(api.stop().success());
    ids
}

/// Removes what was not there before, so that answers can be compared.
fn delete_waiting(client: &Client, url: &str) {
    let answer = client.send("DELETE", &format!("{url}/api/v1/sensors/{LATER}?data=true"), &[], b"").unwrap();
    assert_eq!(answer.status, 204, "{answer:?}");
    assert!(SENSORS.iter().all(|sensor| *sensor != LATER));
}
