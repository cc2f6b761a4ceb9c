//! From chunk to queryable row: sensors that send 1 s chunks of 16 kHz mono with the default set into `up`; with
//! `--engines servers` into one process a role on PostgreSQL, RabbitMQ and an S3 server of the benchmark's own.
//!
//! `cargo xtask bench freshness`. `--chunks N` a second (200), `--seconds N` (30), `--workers N` processes of role
//! `analyze` on servers (1, at most 4). One chunk in twenty is asked for by the range query from the moment it is sent
//! until its row is there. Prints how long that took, and the least and the most RssAnon of every process meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on panics")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use antiphon_servers::{Durability, ObjectStore, Postgres, RabbitMq};
use support::system::{Folders, System};
use support::{Client, MAY, rfc3339, wav};

/// All that work when a recording is sent, and those that wait for something else.
const ROLES: [&str; 8] = ["api", "query", "analyze", "write", "analyze-songs", "media", "relay", "schedule"];
const MORE_WORKERS: [&str; 3] = ["analyze#2", "analyze#3", "analyze#4"];
/// What a production server would be told; all else is PostgreSQL's default. Every commit is on the disk.
const SETTINGS: [(&str, &str); 3] = [("shared_buffers", "1GB"), ("max_wal_size", "4GB"), ("wal_compression", "on")];

fn text_argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn argument(name: &str, default: u64) -> u64 {
    text_argument(name).and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// RssAnon of each process in MB: the least and the most of readings a second apart, until the other end is dropped.
fn watch_memory(system: &System, ended: &Receiver<()>) -> BTreeMap<&'static str, (f64, f64)> {
    let mut found = BTreeMap::new();
    while ended.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
        for (name, megabytes) in system.rss_anon() {
            let (least, most) = found.entry(name).or_insert((megabytes, megabytes));
            (*least, *most) = (least.min(megabytes), most.max(megabytes));
        }
    }
    found
}

fn main() {
    let folder = tempfile::tempdir_in(".").expect("folder");
    let data = folder.path().join("data");
    match text_argument("--engines").as_deref() {
        None => {
            let system = System::start(&data, Folders::Shared, &[], &["up"]);
            measure(&system, &system.url());
        }
        Some("servers") => {
            let postgres = Postgres::start_with(Durability::Full, &SETTINGS);
            let (rabbitmq, store) = (RabbitMq::start(), ObjectStore::start());
            let (database, vhost, bucket) = (postgres.database(), rabbitmq.vhost(), store.bucket());
            let settings = [
                ("ANTIPHON_DATABASE__URL", database.url()),
                ("ANTIPHON_QUEUE__URL", vhost.url()),
                ("ANTIPHON_BLOBS__URL", bucket.url()),
            ];
            let settings = settings.map(|(name, value)| (name.to_owned(), value));
            let more = usize::try_from(argument("--workers", 1)).expect("few").saturating_sub(1);
            let roles = [&ROLES, &MORE_WORKERS[..more]].concat();
            let system = System::start(&data, Folders::Each, &settings, &roles);
            measure(&system, &system.url_of("query"));
        }
        Some(other) => panic!("--engines {other}: there is only `servers`"),
    }
}

/// Sends to `system`, asks at `reads`, and prints what was found.
fn measure(system: &System, reads: &str) {
    let per_second = argument("--chunks", 200);
    let seconds = argument("--seconds", 30);
    let url = &system.url();
    let operator = system.operator();
    for sensor in 0..per_second {
        let made =
            operator.post_json(&format!("{url}/api/v1/sensors"), &serde_json::json!({ "id": format!("s{sensor}") }));
        assert_eq!(made.status, 201, "{made:?}");
    }
    let (running, ended) = channel();
    let begun = Instant::now();
    let (mut waits, (late, took), memory) = std::thread::scope(|scope| {
        let memory = scope.spawn(move || watch_memory(system, &ended));
        let (waits, late) = send(&operator, (url, reads), per_second, seconds);
        let took = begun.elapsed();
        drop(running);
        (waits, (late, took), memory.join().expect("readings"))
    });
    waits.sort_by(f64::total_cmp);
    let percentile = |percent: f64| waits[((waits.len() as f64 * percent / 100.0) as usize).min(waits.len() - 1)];
    println!("| chunks/s | sent/s | seconds | asked | p50 ms | p99 ms | longest ms | sent late |");
    println!("|---|---|---|---|---|---|---|---|");
    println!(
        "| {per_second} | {:.0} | {seconds} | {} | {:.0} | {:.0} | {:.0} | {} |",
        (per_second * seconds) as f64 / took.as_secs_f64(),
        waits.len(),
        percentile(50.0),
        percentile(99.0),
        percentile(100.0),
        late
    );
    println!("\n| process | RssAnon MB, least | most |\n|---|---|---|");
    for (name, (least, most)) in memory {
        println!("| {name} | {least:.0} | {most:.0} |");
    }
}

/// Sends in step with the clock and asks for every twentieth; ms from each of these to its row, and how many were sent
/// late.
fn send(operator: &Client, (url, reads): (&str, &str), per_second: u64, seconds: u64) -> (Vec<f64>, usize) {
    let bodies: Vec<Vec<u8>> = (0..16).map(|seed| wav(seed, 16_000, 16_000)).collect();
    let waits = Mutex::new(Vec::new());
    let late = Mutex::new(0usize);
    let begun = Instant::now();
    // Threads in step with the clock, as many sensors would be: enough that some wait for an answer while others send. The
    // number has no divisor in common with 20, so each has its share of the chunks that are asked for.
    let senders = 41u64;
    std::thread::scope(|scope| {
        for sender in 0..senders {
            let (bodies, waits, late) = (&bodies, &waits, &late);
            scope.spawn(move || {
                let client = operator.clone();
                std::thread::scope(|watchers| {
                    for number in (sender..per_second * seconds).step_by(senders as usize) {
                        let due = Duration::from_secs_f64(number as f64 / per_second as f64);
                        match due.checked_sub(begun.elapsed()) {
                            Some(rest) => std::thread::park_timeout(rest),
                            None => *late.lock().expect("lock") += 1,
                        }
                        let sensor = number % per_second;
                        let time = MAY + (number / per_second) as i64 * 1_000_000;
                        let target = format!("{url}/api/v1/sensors/s{sensor}/recordings?start={}", rfc3339(time));
                        let sent = Instant::now();
                        let body = &bodies[(number % 16) as usize];
                        let answer = client.send("POST", &target, &[("content-type", "audio/wav")], body).expect("post");
                        assert_eq!(answer.status, 202, "{answer:?}");
                        if number % 20 == 0 {
                            let client = operator.clone();
                            watchers.spawn(move || {
                                let query = format!(
                                    "{reads}/api/v1/sensors/s{sensor}/features?from={}&to={}&resolution=1s&features=level.a",
                                    rfc3339(time),
                                    rfc3339(time + 1_000_000)
                                );
                                loop {
                                    let answer = client.get(&query).expect("query");
                                    assert_eq!(answer.status, 200, "{answer:?}");
                                    if answer.json()["rows"].as_array().is_some_and(|rows| !rows.is_empty()) {
                                        break;
                                    }
                                    std::thread::park_timeout(Duration::from_millis(5));
                                }
                                waits.lock().expect("lock").push(sent.elapsed().as_secs_f64() * 1e3);
                            });
                        }
                    }
                });
            });
        }
    });
    (waits.into_inner().expect("lock"), late.into_inner().expect("lock"))
}
