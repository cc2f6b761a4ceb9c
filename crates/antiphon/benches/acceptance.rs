//! Acceptance: 32 kB chunks over 64 connections into `up`, default durability, beside a bare loop that appends and
//! syncs the same records in the same group sizes.
//!
//! `cargo xtask bench acceptance`. `--seconds N` per phase (10), `--backlog N` adds phases with N chunks waiting,
//! `--small-backlog N` phases with N messages of 200 bytes waiting.
//! Prints chunks per second, p50 and p99 in ms, the share of the bare loop, and RssAnon of the server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on panics")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use antiphon_analysis::topics::{ALL, RECORDINGS};
use antiphon_platform::clock::Clock;
use antiphon_platform::queue::files::FileQueue;
use antiphon_platform::queue::{Access, Message, Queue};
use support::{Client, MAY, rfc3339, start, wav};

const CONNECTIONS: usize = 64;

/// What one phase measured.
struct Phase {
    accepted: usize,
    seconds: f64,
    latencies: Vec<f64>,
}

impl Phase {
    fn rate(&self) -> f64 {
        self.accepted as f64 / self.seconds
    }

    fn percentile(&self, percent: f64) -> f64 {
        let index = ((self.latencies.len() as f64 * percent / 100.0) as usize).min(self.latencies.len() - 1);
        self.latencies[index]
    }
}

/// Posts until `duration` is over; every chunk has its own start, so every one is a new recording.
fn post(address: &str, key: &str, body: &[u8], clock: &AtomicI64, duration: Duration) -> Phase {
    let latencies = Mutex::new(Vec::new());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(address).expect("connect");
                stream.set_nodelay(true).expect("nodelay");
                let mut own = Vec::new();
                let mut answer = vec![0u8; 16 * 1024];
                while begun.elapsed() < duration {
                    let time = MAY + clock.fetch_add(1_000_000, Ordering::Relaxed);
                    let sent = Instant::now();
                    let head = format!(
                        "POST /api/v1/sensors/roof/recordings?start={} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: audio/wav\r\ncontent-length: {}\r\n\r\n",
                        rfc3339(time),
                        body.len()
                    );
                    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).expect("send");
                    let mut filled = 0;
                    loop {
                        let read = stream.read(&mut answer[filled..]).expect("answer");
                        assert!(read > 0, "the server hung up");
                        filled += read;
                        if complete(&answer[..filled]) {
                            break;
                        }
                    }
                    assert!(answer.starts_with(b"HTTP/1.1 202"), "{}", String::from_utf8_lossy(&answer[..filled]));
                    own.push(sent.elapsed().as_secs_f64() * 1e3);
                }
                latencies.lock().expect("lock").append(&mut own);
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    let mut latencies = latencies.into_inner().expect("lock");
    latencies.sort_by(f64::total_cmp);
    Phase { accepted: latencies.len(), seconds, latencies }
}

/// Whether a whole answer with a content-length has arrived.
fn complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_lowercase();
    let Some(end) = text.find("\r\n\r\n") else { return false };
    let length = text[..end]
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|value| value.trim().parse::<usize>().ok())
        .unwrap_or(0);
    answer.len() >= end + 4 + length
}

/// Records per second of a loop that appends groups of `group` records and syncs each group.
fn bare_loop(folder: &Path, record: &[u8], group: usize, groups: usize) -> f64 {
    let file = std::fs::File::create(folder.join("bare")).expect("create");
    let buffer = record.repeat(group);
    let begun = Instant::now();
    for index in 0..groups {
        file.write_all_at(&buffer, (index * buffer.len()) as u64).expect("write");
        file.sync_data().expect("sync");
    }
    let rate = (group * groups) as f64 / begun.elapsed().as_secs_f64();
    std::fs::remove_file(folder.join("bare")).expect("remove");
    rate
}

/// The sum of a counter over its labels, from `/metrics`.
fn counter(client: &Client, url: &str, name: &str) -> f64 {
    let text = String::from_utf8(client.get(&format!("{url}/metrics")).expect("metrics").body).expect("text");
    text.lines()
        .filter(|line| line.starts_with(name))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

fn rss_anon(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Puts `count` small messages where recordings wait, a thousand at a time.
fn fill_small(data: &Path, count: usize) {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(async {
        let access = Access { publish: vec![RECORDINGS], ..Access::default() };
        let queue = FileQueue::open(&data.join("queue"), access, Clock::system()).await.expect("queue");
        queue.declare(&ALL).await.expect("declare");
        let queue: Arc<dyn Queue> = Arc::new(queue);
        for first in (0..count).step_by(1_000) {
            let messages = (first..(first + 1_000).min(count)).map(|number| Message {
                id: number.to_string(),
                kind: String::from("antiphon.benchmark.v1"),
                source: String::from("sensors/roof"),
                time: MAY,
                trace: String::new(),
                body: vec![7_u8; 200].into(),
            });
            queue.publish(RECORDINGS, messages.collect()).await.expect("publish");
        }
    });
}

/// Lets the disk write what filling left in its caches, so that it does not compete with what is measured.
fn settle() {
    assert!(std::process::Command::new("sync").status().expect("sync").success());
}

fn main() {
    let duration = Duration::from_secs(argument("--seconds", 10));
    let backlog = argument("--backlog", 0) as usize;
    let folder = tempfile::tempdir_in(".").expect("folder");
    let data = folder.path().join("data");
    let mut server = start(&data, &["up", "--listen", "127.0.0.1:0"], &[]);
    let operator = Client::operator(&data);
    let made = operator.post_json(&format!("{}/api/v1/sensors", server.url()), &serde_json::json!({ "id": "roof" }));
    let key = made.json()["key"].as_str().expect("key").to_owned();
    let body = wav(1, 16_000, 16_000);
    let clock = AtomicI64::new(0);
    println!("| phase | chunks/s | p50 ms | p99 ms | group | bare loop/s | share | RssAnon MB |");
    println!("|---|---|---|---|---|---|---|---|");
    let phase = |name: &str, server: &support::Antiphon, duration: Duration| {
        let address = server.url().trim_start_matches("http://").to_owned();
        let before = ["antiphon_queue_published_total", "antiphon_queue_syncs_total"]
            .map(|name| counter(&operator, server.url(), &format!("{name}{{topic=\"recordings\"")));
        let measured = post(&address, &key, &body, &clock, duration);
        let after = ["antiphon_queue_published_total", "antiphon_queue_syncs_total"]
            .map(|name| counter(&operator, server.url(), &format!("{name}{{topic=\"recordings\"")));
        let group = ((after[0] - before[0]) / (after[1] - before[1]).max(1.0)).round().max(1.0) as usize;
        let bare = bare_loop(folder.path(), &body, group, 4_000 / group + 10);
        println!(
            "| {name} | {:.0} | {:.1} | {:.1} | {group} | {bare:.0} | {:.2} | {:.0} |",
            measured.rate(),
            measured.percentile(50.0),
            measured.percentile(99.0),
            measured.rate() / bare,
            rss_anon(server.pid())
        );
        measured.accepted
    };
    phase("warm-up", &server, Duration::from_secs(2));
    phase("empty at start", &server, duration);
    if backlog > 0 {
        // Nothing consumes while `api` runs alone, so the queue fills.
        server.kill();
        let mut api = start(&data, &["run", "api", "--listen", "127.0.0.1:0"], &[]);
        phase("api alone, empty", &api, duration);
        let mut waiting = 0;
        while waiting < backlog {
            waiting += phase("api alone, filling", &api, Duration::from_secs(20));
        }
        settle();
        phase(&format!("api alone, {waiting} waiting"), &api, duration);
        api.kill();
        settle();
        let up = start(&data, &["up", "--listen", "127.0.0.1:0"], &[]);
        phase(&format!("up, {waiting} waiting"), &up, duration);
        return;
    }
    let small = argument("--small-backlog", 0) as usize;
    if small > 0 {
        server.kill();
        let mut api = start(&data, &["run", "api", "--listen", "127.0.0.1:0"], &[]);
        phase("api alone, empty", &api, duration);
        api.kill();
        fill_small(&data, small);
        let api = start(&data, &["run", "api", "--listen", "127.0.0.1:0"], &[]);
        phase(&format!("api alone, {small} small waiting"), &api, duration);
        phase(&format!("api alone, {small} small waiting, again"), &api, duration);
    }
}
