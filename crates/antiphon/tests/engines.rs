//! One suite on three set-ups: everything embedded in one process; PostgreSQL with the embedded queue; PostgreSQL,
//! RabbitMQ and S3 with one process a role that share nothing else. The same set of recordings gives the same answers,
//! byte for byte, on all three.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]
#![cfg(all(feature = "postgres", feature = "amqp", feature = "s3"))]

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use antiphon_servers::{ObjectStore, Postgres, RabbitMq};
use support::system::{Folders, System};
use support::traffic::{SENSORS, add_sensors, answers, load, recordings, wait_stored};
use support::{Client, MAY, PATIENCE, rfc3339, wav};

/// Every role that does something for HTTP clients; two workers, so that they compete.
const ROLES: [&str; 8] = ["api", "query", "analyze", "analyze#2", "analyze-songs", "media", "write", "relay"];

/// Everything that a set-up answers, by the path that was asked.
type Answers = BTreeMap<String, String>;

/// Runs the suite; `reads` is where the answers are asked a second time.
fn suite(system: &System, reads: &str) -> Answers {
    let (client, url) = (system.operator(), system.url());
    add_sensors(&client, &url);
    let sent = recordings(7, 130);
    let stored = Mutex::new(BTreeMap::new());
    let refused = load(&client, &url, &sent, &channel().0, &stored);
    let stored = stored.into_inner().unwrap();
    assert!(refused > 0 && stored.len() > 100, "{refused} refused, {} stored", stored.len());
    for id in stored.keys() {
        wait_stored(&client, &url, id);
    }
    let mut all = answers(&client, &url, stored.keys());
    assert_eq!(all, answers(&client, reads, stored.keys()), "another process answers otherwise");

    let (long, song) = sizes_apart(&client, &url, &stored.keys().cloned().collect::<Vec<_>>());
    assert_eq!(
        song,
        *stored.values().find(|one| one.sensor.is_none()).unwrap().body,
        "a song's audio is what was sent"
    );
    all.insert(String::from("recordings"), long);
    all.insert(String::from("failed"), broken_audio_fails(&client, &url));
    deleted_data_is_gone(&client, &url);
    all
}

/// What was heard, without the times of this run; and the first song's audio.
fn sizes_apart(client: &Client, url: &str, ids: &[String]) -> (String, Vec<u8>) {
    let mut lines = Vec::new();
    for id in ids.iter().filter(|id| id.starts_with('r')) {
        let mut recording = client.get(&format!("{url}/api/v1/recordings/{id}")).unwrap().json();
        let fields = recording.as_object_mut().unwrap();
        fields.retain(|name, _| !name.ends_with("_at"));
        lines.push(recording.to_string());
    }
    let song = ids.iter().find(|id| id.starts_with('s')).unwrap();
    (lines.join("\n"), client.get(&format!("{url}/api/v1/songs/{song}/audio")).unwrap().body)
}

/// Audio that turns out broken is accepted, ends `failed`, and lies in the dead letters until it is dropped.
fn broken_audio_fails(client: &Client, url: &str) -> String {
    // The header of a FLAC file, and then none of its frames.
    let mut broken =
        b"fLaC\x80\x00\x00\x22\x10\x00\x10\x00\x00\x00\x00\x00\x00\x00\x0a\xc4\x42\xf0\x00\x00\x00\x00".to_vec();
    broken.extend([0_u8; 16]);
    broken.extend([0x55_u8; 4_000]);
    let target = format!("{url}/api/v1/sensors/{}/recordings?start={}", SENSORS[0], rfc3339(MAY));
    let answer = client.send("POST", &target, &[("content-type", "audio/flac")], &broken).unwrap();
    assert_eq!(answer.status, 202, "{}", String::from_utf8_lossy(&answer.body));
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let deadline = Instant::now() + PATIENCE;
    let recording = loop {
        let recording = client.get(&format!("{url}/api/v1/recordings/{id}?wait=20")).unwrap().json();
        if recording["status"] == "failed" {
            break recording;
        }
        assert!(Instant::now() < deadline, "{recording}");
    };
    let letter = loop {
        let letters = client.get(&format!("{url}/api/v1/dead-letters")).unwrap().json();
        if let Some(letter) = letters["items"].as_array().unwrap().first() {
            break letter["id"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < deadline, "no dead letter");
        std::thread::park_timeout(Duration::from_millis(50));
    };
    let dropped = client.send("DELETE", &format!("{url}/api/v1/dead-letters/{letter}"), &[], b"").unwrap();
    assert_eq!(dropped.status, 204);
    recording["reason"].as_str().unwrap().to_owned()
}

/// A sensor that is deleted with its data is not known any more.
fn deleted_data_is_gone(client: &Client, url: &str) {
    client.post_json(&format!("{url}/api/v1/sensors"), &serde_json::json!({ "id": "short-lived" }));
    let target = format!("{url}/api/v1/sensors/short-lived/recordings?start={}", rfc3339(MAY));
    let answer = client.send("POST", &target, &[], &wav(3, 16_000, 16_000)).unwrap();
    assert_eq!(answer.status, 202);
    wait_stored(client, url, answer.json()["id"].as_str().unwrap());
    let sensor = format!("{url}/api/v1/sensors/short-lived");
    assert_eq!(client.send("DELETE", &format!("{sensor}?data=true"), &[], b"").unwrap().status, 204);
    let range = format!("from={}&to={}", rfc3339(MAY), rfc3339(MAY + 60_000_000));
    assert_eq!(client.get(&format!("{sensor}/features?{range}")).unwrap().status, 404);
}

fn setting(name: &str, value: String) -> (String, String) {
    (name.to_owned(), value)
}

#[test]
fn the_same_recordings_give_the_same_answers_on_three_set_ups() {
    let folder = tempfile::tempdir().unwrap();

    let system = System::start(&folder.path().join("embedded"), Folders::Shared, &[], &["up"]);
    let embedded = suite(&system, &system.url());
    drop(system);

    let database = Postgres::shared().database();
    let environment = [setting("ANTIPHON_DATABASE__URL", database.url())];
    let system = System::start(&folder.path().join("postgres"), Folders::Shared, &environment, &["up"]);
    let on_postgres = suite(&system, &system.url());
    drop(system);
    assert!(!folder.path().join("postgres/antiphon.db").exists(), "the embedded database was used");

    let (database, vhost, bucket) =
        (Postgres::shared().database(), RabbitMq::shared().vhost(), ObjectStore::shared().bucket());
    let environment = [
        setting("ANTIPHON_DATABASE__URL", database.url()),
        setting("ANTIPHON_QUEUE__URL", vhost.url()),
        setting("ANTIPHON_BLOBS__URL", bucket.url()),
    ];
    let system = System::start(&folder.path().join("servers"), Folders::Each, &environment, &ROLES);
    let on_servers = suite(&system, &system.url_of("query"));
    drop(system);
    assert!(!folder.path().join("servers/api/blobs").exists(), "the embedded blobs were used");

    for (name, answers) in [("PostgreSQL", &on_postgres), ("the servers", &on_servers)] {
        assert_eq!(embedded.len(), answers.len());
        for (path, answer) in &embedded {
            assert_eq!(answer, &answers[path], "{name} answers otherwise: {path}");
        }
    }
    let tables = embedded.keys().filter(|path| path.contains("format=csv")).count();
    println!("{} answers equal on three set-ups, {tables} of them CSV", embedded.len());
}
