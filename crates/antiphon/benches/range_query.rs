//! Range queries over a year's worth of sensors: 24 h at `1m` with `stat=l90`, random sensor and day, each asked of a
//! `query` process that has just started, while 5 % late data arrives.
//!
//! `cargo xtask bench range_query`. `--engine postgres` keeps the data in a PostgreSQL server of its own, with the settings
//! that are printed, instead of in SQLite; `--database URL` in a database that is there, `--folder PATH` is the data
//! folder to be used, and kept, with it or with SQLite. `--seconds N` stored seconds of the default set on 20 sensors
//! (10,000,000), measured at a tenth, a half and the whole; `--asked N` queries at each (100). What a kept database holds
//! is not filled again, and sizes below that are not measured; `--fill-only` (`cargo xtask bench fill`) measures nothing.
//! The seconds go through the queue and the real writer as results of 60 s recordings, computed once from real sound and
//! repeated. Prints p50, p99 and the longest in ms from the request to the whole answer, and what a sensor-day takes on disk.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on panics")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_analysis::ids::RecordingId;
use antiphon_analysis::messages::Block;
use antiphon_analysis::topics::{ALL, RESULTS, WRITE};
use antiphon_platform::clock::Clock;
use antiphon_platform::db::{Database, Engine, Reader, Statement};
use antiphon_platform::queue::files::FileQueue;
use antiphon_platform::queue::{Access, Message, Queue};
use antiphon_servers::{Durability, Postgres};
use support::database::migrations;
use support::{Client, MAY, Numbers, results, rfc3339, start, wav};
use tokio_util::sync::CancellationToken;

const SENSORS: i64 = 20;
const MINUTE: i64 = 60_000_000;
/// Samples a second.
const RATE: u32 = 16_000;
const STALE: Statement = Statement { name: "stale", text: "SELECT count(*) FROM stale" };
const SIZE: Statement = Statement { name: "size", text: "SELECT pg_database_size(current_database())" };
/// The next minute of the first sensor, as [`result`] names its recordings.
const FILLED: Statement = Statement {
    name: "filled",
    text: "SELECT coalesce((max(start) + 60000000) / 60000000, 0) FROM recordings WHERE source = \
        (SELECT min(id) FROM sources) AND finish > start",
};
/// What a production server of this size would be told; all else is PostgreSQL's default. Every commit is on the disk.
const SETTINGS: [(&str, &str); 3] = [("shared_buffers", "1GB"), ("max_wal_size", "4GB"), ("wal_compression", "on")];

fn text_argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn argument(name: &str, default: i64) -> i64 {
    text_argument(name).and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Blocks of some different minutes of sound, default set without preview (which is kept for a day only).
fn templates() -> Vec<Vec<Block>> {
    let of = |seed| results::blocks(&["level", "loudness", "silence"], RATE, MAY, &wav(seed, RATE, RATE as usize * 60));
    (0..16).map(of).collect()
}

/// The result of minute `number` of a sensor; `late` ones overlap half of it and come second.
fn result(templates: &[Vec<Block>], sensor: i64, number: i64, late: bool) -> Message {
    let minute = MAY / MINUTE + number;
    let template = &templates[((number * 7 + sensor * 3 + i64::from(late)) % templates.len() as i64) as usize];
    let mut id = vec![u8::from(late), sensor as u8];
    id.extend_from_slice(&number.to_be_bytes());
    id.resize(20, 0);
    let id = RecordingId::try_from(id.as_slice()).expect("20 bytes");
    let blocks = template.iter().map(|block| Block { minute, ..block.clone() }).collect();
    results::message(&format!("s{sensor}"), id, (minute * MINUTE, (minute + 1) * MINUTE), RATE, blocks)
}

async fn count(reader: &Reader, statement: &Statement) -> i64 {
    let mut snapshot = reader.read().await.expect("snapshot");
    snapshot.row(statement, &[]).await.expect("count").expect("a row").get(0).expect("a number")
}

/// Results that the writer has not stored yet.
async fn waiting(queue: &Arc<dyn Queue>) -> u64 {
    let depths = queue.depths().await.expect("depths");
    depths.iter().filter(|depth| depth.group == WRITE.name).map(|depth| depth.waiting + depth.in_flight).sum()
}

/// Publishes the minutes `from..to` of every sensor and waits until they are stored and rolled up.
async fn fill(queue: &Arc<dyn Queue>, reader: &Reader, templates: &[Vec<Block>], from: i64, to: i64) {
    for number in from..to {
        let batch = (0..SENSORS).map(|sensor| result(templates, sensor, number, false)).collect();
        queue.publish(RESULTS, batch).await.expect("publish");
        // The writer is slower than the queue; what waits stays small.
        while waiting(queue).await > 2_000 {
            tokio::time::timeout(Duration::from_millis(500), reader.changed()).await.ok();
        }
    }
    while waiting(queue).await > 0 || count(reader, &STALE).await > 0 {
        tokio::time::timeout(Duration::from_millis(500), reader.changed()).await.ok();
    }
}

/// Bytes that the database takes.
async fn size(reader: &Reader, data: &Path) -> u64 {
    match reader.engine() {
        Engine::Sqlite => std::fs::metadata(data.join("antiphon.db")).map_or(0, |file| file.len()),
        Engine::Postgres => count(reader, &SIZE).await.unsigned_abs(),
    }
}

/// Asks one random sensor and day of a process that has just started; ms to the whole answer.
fn ask(data: &Path, environment: &[(&str, &str)], numbers: &mut Numbers, minutes: i64) -> f64 {
    let query = start(data, &["run", "query", "--listen", "127.0.0.1:0"], environment);
    let client = Client::operator(data);
    let sensor = numbers.below(SENSORS as u64);
    let days = (minutes / 1_440).max(1);
    let from = MAY + numbers.below(days as u64) as i64 * 1_440 * MINUTE;
    let target = format!(
        "{}/api/v1/sensors/s{sensor}/features?from={}&to={}&resolution=1m&features=level.a&stat=l90",
        query.url(),
        rfc3339(from),
        rfc3339(from + 1_440 * MINUTE)
    );
    let begun = Instant::now();
    let answer = client.get(&target).expect("query");
    let elapsed = begun.elapsed().as_secs_f64() * 1e3;
    assert_eq!(answer.status, 200, "{answer:?}");
    let rows = answer.json()["rows"].as_array().expect("rows").len() as i64;
    assert!(rows >= minutes.min(1_440), "{rows} rows");
    elapsed
}

/// The smallest of the sorted `times` that at least `percent` of them do not exceed.
fn percentile(times: &[f64], percent: usize) -> f64 {
    times[(times.len() * percent).div_ceil(100).max(1) - 1]
}

fn main() {
    let seconds = argument("--seconds", 10_000_000);
    let asked = argument("--asked", 100);
    let is_fill_only = std::env::args().any(|argument| argument == "--fill-only");
    let folder = tempfile::tempdir_in(".").expect("folder");
    let data = text_argument("--folder").map_or_else(|| folder.path().join("data"), PathBuf::from);
    let server = (text_argument("--engine").as_deref() == Some("postgres")).then(|| {
        println!("PostgreSQL with {SETTINGS:?}, fsync and synchronous_commit on");
        Postgres::start_with(Durability::Full, &SETTINGS)
    });
    let database = server.as_ref().map(Postgres::database);
    let given = database.as_ref().map(antiphon_servers::Database::url).or_else(|| text_argument("--database"));
    let environment: Vec<(&str, &str)> = given.iter().map(|url| ("ANTIPHON_DATABASE__URL", url.as_str())).collect();
    // The folder, the schema and the sensors are made by the real thing.
    let up = start(&data, &["up", "--listen", "127.0.0.1:0"], &environment);
    let operator = Client::operator(&data);
    for sensor in 0..SENSORS {
        let body = serde_json::json!({ "id": format!("s{sensor}") });
        let answer = operator.post_json(&format!("{}/api/v1/sensors", up.url()), &body);
        assert!([201, 409].contains(&answer.status), "{answer:?}");
    }
    assert!(up.stop().success());

    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let templates = templates();
    let url = given.clone().unwrap_or_else(|| format!("sqlite:{}", data.join("antiphon.db").display()));
    let stop = CancellationToken::new();
    let access = Access { publish: vec![RESULTS], consume: vec![WRITE], dead: vec![] };
    let (database, queue) = runtime.block_on(async {
        let database = Database::open(url.as_str(), &migrations()).await.expect("database");
        let queue: Arc<dyn Queue> =
            Arc::new(FileQueue::open(&data.join("queue"), access, Clock::system()).await.expect("queue"));
        queue.declare(&ALL).await.expect("declare");
        (database, queue)
    });
    let reader = database.reader();
    let writer = runtime.spawn(antiphon_analysis::store::writer::run(
        database.clone(),
        queue.clone(),
        Clock::system(),
        antiphon_analysis::store::writer::PREFETCH,
        stop.clone(),
    ));
    let rollup = runtime.spawn(antiphon_analysis::store::rollup::run(database, Clock::system(), stop.clone()));

    println!(
        "| stored seconds | late data | asked | p50 ms | p99 ms | longest ms | database MB per sensor-day | filled in s |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut numbers = Numbers(9);
    let mut filled = (runtime.block_on(count(&reader, &FILLED)) - MAY / MINUTE).max(0);
    for share in [10, 2, 1] {
        let minutes = seconds / share / 60 / SENSORS;
        if minutes < filled {
            continue;
        }
        let begun = Instant::now();
        runtime.block_on(fill(&queue, &reader, &templates, filled, minutes));
        let took = begun.elapsed().as_secs_f64();
        filled = minutes;
        if is_fill_only {
            println!("| {} | filled in {took:.0} s |", minutes * 60 * SENSORS);
            continue;
        }
        for late in [false, true] {
            let arriving = CancellationToken::new();
            let task = runtime.spawn({
                let (arriving, queue, templates) = (arriving.clone(), queue.clone(), templates.clone());
                async move {
                    let mut numbers = Numbers(minutes as u64);
                    let mut sent = 0;
                    // 5 % of what 20 live sensors send, over random minutes of the past.
                    while late && !arriving.is_cancelled() {
                        let number = numbers.below(minutes as u64) as i64;
                        let message = result(&templates, numbers.below(SENSORS as u64) as i64, number, true);
                        queue.publish(RESULTS, vec![message]).await.expect("publish");
                        sent += 1;
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    sent
                }
            });
            let mut times: Vec<f64> = (0..asked).map(|_| ask(&data, &environment, &mut numbers, minutes)).collect();
            arriving.cancel();
            let sent: usize = runtime.block_on(task).expect("late data");
            times.sort_by(f64::total_cmp);
            let size = runtime.block_on(size(&reader, &data)) as f64 / 1e6;
            println!(
                "| {} | {sent} minutes | {asked} | {:.1} | {:.1} | {:.1} | {:.1} | {took:.0} |",
                minutes * 60 * SENSORS,
                percentile(&times, 50),
                percentile(&times, 99),
                percentile(&times, 100),
                size / (minutes as f64 * SENSORS as f64 / 1_440.0),
            );
        }
    }
    stop.cancel();
    runtime.block_on(async {
        let _ = writer.await;
        let _ = rollup.await;
    });
}
