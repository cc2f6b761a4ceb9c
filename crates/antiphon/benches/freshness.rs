//! From chunk to queryable row: sensors that send 1 s chunks of 16 kHz mono with the default set into `up`.
//!
//! `cargo xtask bench freshness`. `--chunks N` a second (200), `--seconds N` (30). One chunk in twenty is asked for by
//! the range query from the moment it is sent until its row is there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on panics")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use support::{Client, MAY, rfc3339, start, wav};

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn main() {
    let per_second = argument("--chunks", 200);
    let seconds = argument("--seconds", 30);
    let folder = tempfile::tempdir_in(".").expect("folder");
    let data = folder.path().join("data");
    let server = start(&data, &["up", "--listen", "127.0.0.1:0"], &[]);
    let url = server.url();
    let operator = Client::operator(&data);
    for sensor in 0..per_second {
        let made =
            operator.post_json(&format!("{url}/api/v1/sensors"), &serde_json::json!({ "id": format!("s{sensor}") }));
        assert_eq!(made.status, 201, "{made:?}");
    }
    let bodies: Vec<Vec<u8>> = (0..16).map(|seed| wav(seed, 16_000, 16_000)).collect();
    let waits = Mutex::new(Vec::new());
    let late = Mutex::new(0usize);
    let begun = Instant::now();
    // Two senders' threads in lock-step with the clock, as many sensors would be.
    let senders = 8u64;
    std::thread::scope(|scope| {
        for sender in 0..senders {
            let (operator, bodies, waits, late) = (&operator, &bodies, &waits, &late);
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
                                    "{url}/api/v1/sensors/s{sensor}/features?from={}&to={}&resolution=1s&features=level.a",
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
    let mut waits = waits.into_inner().expect("lock");
    waits.sort_by(f64::total_cmp);
    let percentile = |percent: f64| waits[((waits.len() as f64 * percent / 100.0) as usize).min(waits.len() - 1)];
    println!("| chunks/s | seconds | asked | p50 ms | p99 ms | longest ms | sent late |");
    println!("|---|---|---|---|---|---|---|");
    println!(
        "| {per_second} | {seconds} | {} | {:.0} | {:.0} | {:.0} | {} |",
        waits.len(),
        percentile(50.0),
        percentile(99.0),
        percentile(100.0),
        late.into_inner().expect("lock")
    );
}
