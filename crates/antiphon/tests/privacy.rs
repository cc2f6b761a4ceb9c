//! A sensor of which only features are kept: nothing that can be listened to stays behind, whatever becomes of a recording.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde_json::{Value, json};
use support::beside::wait_until;
use support::{Answer, Antiphon, Client, MAY, contents, rfc3339, start, wav};

/// Bytes of a stretch of audio that is looked for; noise, so that they are nowhere by chance.
const STRETCH: usize = 24;

/// Makes a sensor; a client with its key.
fn sensor(process: &Antiphon, operator: &Client, id: &str, features_only: bool) -> Client {
    let made = operator.post_json(
        &format!("{}/api/v1/sensors", process.url()),
        &json!({ "id": id, "retention": { "features_only": features_only } }),
    );
    assert_eq!(made.status, 201, "{made:?}");
    Client::new(made.json()["key"].as_str().unwrap())
}

/// Sends a recording and waits for its end, `stored` or `failed`.
fn send(process: &Antiphon, operator: &Client, key: &Client, sensor: &str, second: i64, audio: &[u8]) -> Value {
    let time = rfc3339(MAY + second * 1_000_000);
    let url = format!("{}/api/v1/sensors/{sensor}/recordings?start={time}", process.url());
    let accepted = key.send("POST", &url, &[("content-type", "audio/wav")], audio).unwrap();
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let url = format!("{}/api/v1/recordings/{}?wait=20", process.url(), accepted.json()["id"].as_str().unwrap());
    let has_ended = |answer: &Answer| answer.status == 200 && answer.json()["status"] != "accepted";
    wait_until(|| operator.get(&url).unwrap(), has_ended).json()
}

fn letters(process: &Antiphon, operator: &Client) -> BTreeMap<String, Vec<Value>> {
    let listed = operator.get(&format!("{}/api/v1/dead-letters", process.url())).unwrap().json();
    let mut letters: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for letter in listed["items"].as_array().unwrap() {
        letters.entry(letter["source"].as_str().unwrap().to_owned()).or_default().push(letter.clone());
    }
    letters
}

/// Names of files in which some stretch of this audio lies.
fn holding(data: &Path, audio: &[u8]) -> Vec<String> {
    let stretches: HashSet<&[u8]> = audio[44..].chunks_exact(STRETCH).step_by(97).collect();
    let found = contents(data, &[])
        .into_iter()
        .filter(|(_, bytes)| bytes.windows(STRETCH).any(|stretch| stretches.contains(stretch)));
    found.map(|(name, _)| name).collect()
}

#[test]
fn nothing_that_can_be_listened_to_is_kept_of_a_features_only_sensor() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = start(&data, &["up", "--listen", "127.0.0.1:0"], &[]);
    let operator = Client::operator(&data);
    let (home, roof) = (sensor(&process, &operator, "home", true), sensor(&process, &operator, "roof", false));
    // Whole and broken, in the message and in blobs.
    let audio: Vec<Vec<u8>> =
        [48_000, 1_400_000].into_iter().zip(1..).map(|(samples, seed)| wav(seed, 16_000, samples)).collect();
    let mut seconds = 0;
    for whole in &audio {
        assert_eq!(send(&process, &operator, &home, "home", seconds, whole)["status"], "stored");
        let half = &whole[..whole.len() / 2];
        assert_eq!(send(&process, &operator, &home, "home", seconds + 100, half)["status"], "failed");
        seconds += 1_000;
    }
    let other = wav(9, 16_000, 48_000);
    assert_eq!(send(&process, &operator, &roof, "roof", 0, &other[..60_000])["status"], "failed");

    // What died is told with its reason; of one sensor without what it held, which therefore cannot be tried again.
    let found = wait_until(
        || letters(&process, &operator),
        |found| found.get("sensors/home").map(Vec::len) == Some(2) && found.contains_key("sensors/roof"),
    );
    assert!(found["sensors/roof"][0]["size"].as_u64() > Some(60_000), "{found:?}");
    for letter in &found["sensors/home"] {
        assert!(letter["size"] == 0 && letter["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{letter}");
        let url = format!("{}/api/v1/dead-letters/{}/replay", process.url(), letter["id"].as_str().unwrap());
        let refused = operator.send("POST", &url, &[], b"").unwrap();
        assert!(
            refused.status == 409 && refused.json()["detail"].as_str().unwrap().contains("not kept"),
            "{refused:?}"
        );
    }
    let table = operator.get(&format!(
        "{}/api/v1/sensors/home/features?from=2026-05-01T00:00:00Z&to=2026-05-01T00:00:03Z&resolution=1s",
        process.url()
    ));
    assert_eq!(table.unwrap().json()["rows"].as_array().unwrap().len(), 3, "its features are there");

    // A restart ends the queue's open files at once; otherwise they end within a minute.
    assert!(process.stop().success());
    let process = start(&data, &["up", "--listen", "127.0.0.1:0"], &[]);
    let is_audio = |name: &String| name.contains("recordings/") && name.ends_with(".segment");
    wait_until(|| contents(&data, &[]).into_keys().filter(is_audio).collect::<Vec<_>>(), Vec::is_empty);
    assert!(process.stop().success());
    for audio in &audio {
        assert_eq!(holding(&data, audio), Vec::<String>::new());
    }
    assert!(
        !holding(&data, &other).is_empty(),
        "what is looked for would be found: the other sensor's letter holds it"
    );
    let blobs = contents(&data.join("blobs"), &[]);
    assert!(blobs.values().all(Vec::is_empty), "locks alone: {:?}", blobs.keys());
}

#[test]
fn audio_is_not_asked_for_where_only_features_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = start(&data, &["up", "--listen", "127.0.0.1:0"], &[]);
    let operator = Client::operator(&data);
    sensor(&process, &operator, "home", true);
    let url = format!("{}/api/v1/sensors/home", process.url());
    let body = json!({ "retention": { "features_only": true, "audio_days": 1 } }).to_string();
    let refused = operator.send("PATCH", &url, &[("content-type", "application/json")], body.as_bytes()).unwrap();
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.json()["detail"].as_str().unwrap().contains("audio_days"), "{refused:?}");
}
