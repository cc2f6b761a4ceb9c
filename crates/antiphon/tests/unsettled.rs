//! A writer that is killed while it holds ten thousand results that it has not acknowledged loses none, and stores none
//! twice; meanwhile its metrics say what it holds, what waits and since when.
//!
//! `UNSETTLED_TEST_RESULTS` sets how many it holds, from 2,000 to 65,535 (10,000 when nothing is said).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]
#![cfg(all(feature = "postgres", feature = "amqp"))]

mod support;

use std::time::{Duration, Instant};

use antiphon_analysis::ids::RecordingId;
use antiphon_analysis::messages::Block;
use antiphon_analysis::topics::{ALL, RESULTS, WRITE};
use antiphon_platform::clock::{Clock, SECOND};
use antiphon_platform::queue::amqp::{AmqpQueue, names};
use antiphon_platform::queue::{Access, Message, Queue};
use antiphon_servers::{Fault, Postgres, Proxy, RabbitMq, VirtualHost};
use support::{Client, MAY, PATIENCE, parameter, results, rfc3339, start, try_start, wav};
use tokio::runtime::Runtime;

/// What waits beside what is held.
const WAITING: u32 = 100;
const RATE: u32 = 8_000;
/// The step at which the second writer dies: it has committed as many transactions and acknowledged one less.
const STEP: &str = "write.after-effect-before-ack:10";

/// One result for each second from May on. Seconds that are a minute apart hold the same sound.
fn sent(count: u32) -> (Vec<Message>, usize) {
    let templates: Vec<Vec<Block>> = (0..60)
        .map(|second| {
            results::blocks(&["level"], RATE, MAY + second * SECOND, &wav(second as u64, RATE, RATE as usize))
        })
        .collect();
    let message = |number: u32| {
        let from = MAY + i64::from(number) * SECOND;
        let minute = from / (60 * SECOND);
        let template = &templates[number as usize % templates.len()];
        let blocks = template.iter().map(|block| Block { minute, ..block.clone() }).collect();
        let id = RecordingId::derive("roof", from, 0, &[0; 32]);
        results::message("roof", id, (from, from + SECOND), RATE, blocks)
    };
    ((0..count).map(message).collect(), templates[0].len())
}

/// Asks again and again, until what comes is wanted.
fn until<T: std::fmt::Debug>(what: &str, ask: impl Fn() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + PATIENCE * 2;
    loop {
        let found = ask();
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: it stayed at {found:?}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// Results that are handed out and not acknowledged, as the broker says it.
fn unacknowledged(vhost: &VirtualHost<'_>) -> Option<u64> {
    vhost.queue(&names::queue(WRITE))?["messages_unacknowledged"].as_u64()
}

/// What `/metrics` says of a group: waiting, held by that process, seconds since the oldest came.
fn depth(url: &str, group: &str) -> Option<[f64; 3]> {
    let page = String::from_utf8(Client::new("").get(&format!("{url}/metrics")).ok()?.body).ok()?;
    let value = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name}{{group=\"{group}\"}} ")));
        line?.parse().ok()
    };
    let names = ["antiphon_queue_waiting", "antiphon_queue_in_flight", "antiphon_queue_oldest_seconds"];
    let [waiting, in_flight, oldest] = names.map(value);
    Some([waiting?, in_flight?, oldest?])
}

/// Waits until the first writer's metrics say what it holds and what waits, and those of `api` what waits; of each other
/// group both say that there is nothing. The age that the writer tells.
fn depths_are_told(writer: &str, api: &str, held: u32) -> f64 {
    let expected = [f64::from(WAITING), f64::from(held)];
    let is_told = |told: &Option<[f64; 3]>| told.is_some_and(|told| told[..2] == expected && told[2] > 0.0);
    let told = until("the writer's metrics", || depth(writer, WRITE.name), is_told);
    until("metrics of api", || depth(api, WRITE.name), |told| *told == Some([expected[0], 0.0, 0.0]));
    for group in ALL.iter().filter(|group| **group != WRITE) {
        for url in [writer, api] {
            assert_eq!(depth(url, group.name), Some([0.0; 3]), "{}", group.name);
        }
    }
    told.unwrap()[2]
}

/// Waits until the writer's group holds nothing, and nothing died there.
async fn emptied(queue: &AmqpQueue) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let depths = queue.depths().await.unwrap();
        let depth = depths.iter().find(|depth| depth.group == WRITE.name).unwrap();
        assert_eq!(depth.dead, 0);
        if depth.waiting == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{depth:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Every second is answered once, each with the values of its sound.
fn all_is_answered(client: &Client, url: &str, total: u32) {
    let range = format!("from={}&to={}", rfc3339(MAY), rfc3339(MAY + i64::from(total) * SECOND));
    let sensor = format!("{url}/api/v1/sensors/roof");
    let gaps = client.get(&format!("{sensor}/gaps?{range}")).unwrap().json();
    assert_eq!(gaps["items"].as_array().map(Vec::len), Some(0), "{gaps}");
    let table = client.get(&format!("{sensor}/features?{range}&resolution=1s&features=level&format=csv")).unwrap();
    let table = String::from_utf8(table.body).unwrap();
    // A row begins with its time; what follows depends on the sound alone.
    let rows: Vec<&str> = table.lines().skip(1).filter_map(|row| Some(row.split_once(',')?.1)).collect();
    assert_eq!(rows.len(), total as usize);
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(*row, rows[number % 60], "second {number}");
    }
    assert_ne!(rows[0], rows[1 % rows.len()]);
}

#[test]
fn a_writer_killed_with_unacknowledged_results_loses_none() {
    let held = parameter("UNSETTLED_TEST_RESULTS", 10_000);
    let total = held + WAITING;
    let folder = tempfile::tempdir().unwrap();
    let (database, vhost) = (Postgres::shared().database(), RabbitMq::shared().vhost());
    let to_database = Proxy::start(Postgres::shared().address());
    let (direct, proxied) = (database.url(), database.url_at(to_database.address()));
    let (queue_url, prefetch) = (vhost.url(), held.to_string());
    let settings = |database| {
        vec![
            ("ANTIPHON_DATABASE__URL", database),
            ("ANTIPHON_QUEUE__URL", queue_url.as_str()),
            ("ANTIPHON_WRITE__PREFETCH", prefetch.as_str()),
        ]
    };
    let write = folder.path().join("write");
    let api_folder = folder.path().join("api");
    let api = start(&api_folder, &["run", "api", "--listen", "127.0.0.1:0"], &settings(&direct));
    let client = Client::operator(&api_folder);
    let sensors = format!("{}/api/v1/sensors", api.url());
    assert_eq!(client.post_json(&sensors, &serde_json::json!({ "id": "roof" })).status, 201);

    // The first writer reaches its database until it is ready, and then no more: it holds what it is given.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let metrics = format!("127.0.0.1:{port}");
    let mut first = start(&write, &["run", "write", "--metrics", &metrics], &settings(&proxied));
    to_database.set(Fault::Stall);
    let runtime = Runtime::new().unwrap();
    let (messages, blocks) = sent(total);
    let queue = runtime.block_on(async {
        let access = Access { publish: vec![RESULTS], consume: vec![WRITE], dead: vec![] };
        let queue = AmqpQueue::open(vhost.url(), access, Clock::system()).await.unwrap();
        for batch in messages.chunks(500) {
            queue.publish(RESULTS, batch.to_vec()).await.unwrap();
        }
        queue
    });
    until("unacknowledged", || unacknowledged(&vhost), |found| *found == Some(u64::from(held)));
    let age = depths_are_told(&format!("http://{metrics}"), api.url(), held);
    let count = |sql: &str| database.execute_as_admin(sql).parse::<u32>().unwrap();
    let stored = || count("SELECT count(*) FROM recordings WHERE status = 1");
    assert_eq!(stored(), 0);
    println!(
        "{held} results are unacknowledged and {WAITING} wait; metrics say so, and that the oldest waits {age:.1} s"
    );
    first.kill();
    to_database.set(Fault::None);

    // The second one gets further, and dies between a commit and its acknowledgements.
    let begun = Instant::now();
    let mut dying = settings(&direct);
    dying.push(("ANTIPHON_CRASH_POINT", STEP));
    match try_start(&write, &["run", "write"], &dying) {
        Ok(mut second) => second.wait_for_end(),
        // It died before it was ready.
        Err(log) => assert!(log.contains("SIGKILL"), "{log}"),
    }
    let committed = stored();
    assert!(committed > 0 && committed < total, "{committed} of {total} were stored by the second writer");

    let third = start(&write, &["run", "write"], &settings(&direct));
    until("stored", stored, |stored| *stored == total);
    runtime.block_on(emptied(&queue));
    let took = begun.elapsed();
    assert!(third.stop().success());
    // Nobody consumes any more: what was not acknowledged would wait again.
    runtime.block_on(async {
        emptied(&queue).await;
        queue.close().await;
    });

    assert_eq!(count("SELECT count(*) FROM recordings"), total);
    assert_eq!(count("SELECT count(*) FROM results"), total);
    assert_eq!(count("SELECT count(*) FROM blocks"), total * u32::try_from(blocks).unwrap());
    assert_eq!(count("SELECT count(*) FROM dead_letters"), 0);
    all_is_answered(&client, api.url(), total);
    println!(
        "a writer was killed with {held} unacknowledged, a second one after it had committed {committed}; all {total} \
         results were stored once, {:.1} s after the first kill",
        took.as_secs_f64()
    );
}
