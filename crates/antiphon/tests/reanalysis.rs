//! Songs that are analysed again by a new plan, end to end: on processes, one of which is killed in the middle.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

use std::path::Path;
use std::time::Instant;

use serde_json::Value;
use support::database::{by_hand, open};
use support::{Antiphon, Client, PATIENCE, command, start, wav};

const SONGS: u64 = 6;
const NEW: &str = "level,loudness";
const JOB: &[&str] = &["run", "job", "reanalyze-songs", "--strict"];

fn up(data: &Path, plan: &str) -> Antiphon {
    start(data, &["up", "--listen", "127.0.0.1:0"], &[("ANTIPHON_SONGS__PLAN", plan)])
}

fn upload(client: &Client, url: &str, seed: u64) -> String {
    let file = wav(seed, 8_000, 8_000 * 5);
    let answer = client.send("POST", &format!("{url}/api/v1/songs"), &[("content-type", "audio/wav")], &file).unwrap();
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn status(client: &Client, url: &str, song: &str) -> Value {
    client.get(&format!("{url}/api/v1/songs/{song}?wait=30")).unwrap().json()["status"].clone()
}

/// The gated loudness of a song, if it was computed.
fn loudness(client: &Client, url: &str, song: &str) -> Value {
    let path = format!("{url}/api/v1/songs/{song}/features?features=loudness.integrated&resolution=1h");
    client.get(&path).unwrap().json()["rows"][0][2].clone()
}

/// The level of a song, second by second.
fn levels(client: &Client, url: &str, song: &str) -> Value {
    client.get(&format!("{url}/api/v1/songs/{song}/features?features=level.a&resolution=1s")).unwrap().json()["rows"]
        .clone()
}

/// Makes the lease of a job that was killed run out.
fn forget_lease(data: &Path) {
    let statement = by_hand("update jobs set lease_until = 0 where name = 'reanalyze-songs'");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let database = open(data).await;
        let mut tx = database.write().await.unwrap();
        tx.execute(&statement, &[]).await.unwrap();
        tx.commit().await.unwrap();
    });
}

fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
}

#[test]
fn stored_songs_follow_their_plan_though_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let first = up(&data, "level-only");
    let client = Client::operator(&data);
    let songs: Vec<String> = (0..SONGS).map(|seed| upload(&client, first.url(), seed)).collect();
    let mut before = Vec::new();
    for song in &songs {
        assert_eq!(status(&client, first.url(), song), "stored");
        assert_eq!(loudness(&client, first.url(), song), Value::Null, "it is not in the plan");
        before.push(levels(&client, first.url(), song));
    }
    assert!(first.stop().success());

    // The job is killed before and after it has queued the first of them, and `up` while it works at them.
    for step in ["reanalyze.before-commit", "reanalyze.after-commit"] {
        let environment = [("ANTIPHON_SONGS__PLAN", NEW), ("ANTIPHON_CRASH_POINT", step)];
        let killed = command(&data, JOB, &environment).output().unwrap();
        assert_eq!(killed.status.code(), None, "{step}: {killed:?}");
        // The lease of the killed runs out after a minute of the clock; here it is let go of by hand.
        forget_lease(&data);
    }
    let mut second = up(&data, NEW);
    let new = upload(&client, second.url(), 1_000);
    second.kill();
    let second = up(&data, NEW);
    assert_eq!(status(&client, second.url(), &new), "stored", "what is uploaded does not wait for a library");
    until("every song has its loudness", || {
        forget_lease(&data);
        let output = command(&data, JOB, &[("ANTIPHON_SONGS__PLAN", NEW)]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        songs.iter().all(|song| loudness(&client, second.url(), song).is_number())
    });
    for (song, before) in songs.iter().zip(&before) {
        assert_eq!(status(&client, second.url(), song), "stored");
        assert_eq!(&levels(&client, second.url(), song), before, "what both plans have is the same");
    }
    assert!(second.stop().success());
}
