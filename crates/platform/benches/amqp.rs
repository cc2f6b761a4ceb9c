//! How fast the RabbitMQ engine publishes and consumes, beside a bare loop of its client with the same confirms,
//! prefetch and sizes on the same broker, and with 1, 2, 4 and 8 competing consumers.
//!
//! `cargo bench -p antiphon-platform --features amqp --bench amqp`: starts a broker of its own, or takes the one of
//! `TEST_AMQP_URL`.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run panics")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use antiphon_platform::clock::Clock;
use antiphon_platform::queue::amqp::{AmqpQueue, names};
use antiphon_platform::queue::{Access, Group, Message, Queue, Topic};
use antiphon_servers::RabbitMq;
use bytes::Bytes;
use futures::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use tokio::task::JoinSet;

const TOPIC: Topic = Topic("recordings");
const GROUP: Group = Group { name: "analyze", topic: TOPIC };
const PUBLISHERS: usize = 64;
const PREFETCH: u16 = 64;
const SIZES: [(&str, usize); 2] = [("32 kB", 32 * 1024), ("1 kB", 1024)];
/// Rounds of each are measured in turn, so that a machine that gets slower does so for both.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
/// Messages that a round consumes.
const BACKLOG: usize = 5_000;

fn main() {
    let server = RabbitMq::shared();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    println!("{:<34} {:>10} {:>10} {:>8} {:>8}", "", "port/s", "bare/s", "share", "p99 ms");
    for (name, size) in SIZES {
        let vhost = server.vhost();
        runtime.block_on(measure(name, size, &vhost.url()));
    }
}

async fn measure(name: &str, size: usize, url: &str) {
    let access = Access { publish: vec![TOPIC], consume: vec![GROUP], dead: vec![] };
    let queue = AmqpQueue::open(url, access, Clock::system()).await.expect("a broker");
    queue.declare(&[GROUP]).await.expect("a group");
    let bare = Connection::connect(url, ConnectionProperties::default()).await.expect("a connection");
    let (mut port, mut alone, mut waits) = (0.0, 0.0, Vec::new());
    for _ in 0..ROUNDS {
        port += publish(&queue, size, &mut waits).await;
        purge(&bare).await;
        alone += publish_bare(&bare, size).await;
        purge(&bare).await;
    }
    waits.sort_unstable();
    let p99 = waits[waits.len() * 99 / 100].as_secs_f64() * 1e3;
    row(&format!("publish {name}, {PUBLISHERS} publishers"), port, alone, p99);
    let (mut port, mut alone) = (0.0, 0.0);
    for _ in 0..ROUNDS {
        fill(&queue, size).await;
        port += consume(&queue, 1).await;
        fill(&queue, size).await;
        alone += consume_bare(&bare).await;
    }
    row(&format!("consume {name}, prefetch {PREFETCH}"), port, alone, 0.0);
    for consumers in [1, 2, 4, 8] {
        fill(&queue, size).await;
        let rate = consume(&queue, consumers).await;
        println!("{:<34} {rate:>10.0}", format!("consume {name}, {consumers} competing"));
    }
    queue.close().await;
}

fn row(name: &str, port: f64, bare: f64, p99: f64) {
    let rounds = ROUNDS as f64;
    println!("{name:<34} {:>10.0} {:>10.0} {:>7.0}% {p99:>8.1}", port / rounds, bare / rounds, 100.0 * port / bare);
}

/// Publishes from many tasks for one round; messages a second.
async fn publish(queue: &AmqpQueue, size: usize, waits: &mut Vec<Duration>) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let mut publishers = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..PUBLISHERS {
        let (queue, stop, message) = (queue.clone(), Arc::clone(&stop), message(size));
        publishers.spawn(async move {
            let mut waits = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                queue.publish(TOPIC, vec![message.clone()]).await.expect("a confirm");
                waits.push(begun.elapsed());
            }
            waits
        });
    }
    let count = joined(publishers, &stop).await;
    waits.extend(count.iter().flatten());
    count.iter().map(Vec::len).sum::<usize>() as f64 / begun.elapsed().as_secs_f64()
}

/// The same with the client alone: one connection, one channel, as many tasks.
async fn publish_bare(connection: &Connection, size: usize) -> f64 {
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let stop = Arc::new(AtomicBool::new(false));
    let mut publishers = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..PUBLISHERS {
        let (channel, stop, body) = (channel.clone(), Arc::clone(&stop), vec![7; size]);
        publishers.spawn(async move {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                let options = BasicPublishOptions { mandatory: true, immediate: false };
                let properties = BasicProperties::default().with_delivery_mode(2);
                let sent =
                    channel.basic_publish(names::topic_exchange(TOPIC).into(), "".into(), options, &body, properties);
                assert!(sent.await.expect("a frame").await.expect("a confirm").is_ack(), "confirmed");
                count += 1;
            }
            count
        });
    }
    joined(publishers, &stop).await.into_iter().sum::<usize>() as f64 / begun.elapsed().as_secs_f64()
}

/// Lets the tasks run for a round; what they counted.
async fn joined<T: 'static>(mut tasks: JoinSet<T>, stop: &AtomicBool) -> Vec<T> {
    tokio::time::sleep(ROUND).await;
    stop.store(true, Ordering::Relaxed);
    let mut counted = Vec::new();
    while let Some(task) = tasks.join_next().await {
        counted.push(task.expect("no panic"));
    }
    counted
}

/// Consumes the backlog; messages a second.
async fn consume(queue: &AmqpQueue, consumers: usize) -> f64 {
    let acked = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..consumers {
        let (queue, acked) = (queue.clone(), Arc::clone(&acked));
        tasks.spawn(async move {
            let mut consumer = queue.consume(GROUP, PREFETCH.into()).await.expect("a consumer");
            while let Ok(delivery) = consumer.next().await {
                let acked = Arc::clone(&acked);
                tokio::spawn(async move {
                    delivery.ack().await.expect("an ack");
                    acked.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
    }
    reach(&acked).await;
    let rate = BACKLOG as f64 / begun.elapsed().as_secs_f64();
    tasks.shutdown().await;
    rate
}

async fn consume_bare(connection: &Connection) -> f64 {
    let channel = connection.create_channel().await.expect("a channel");
    let begun = Instant::now();
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.expect("a prefetch");
    let options = BasicConsumeOptions::default();
    let consuming = channel.basic_consume(names::queue(GROUP).into(), "".into(), options, FieldTable::default());
    let mut consumer = consuming.await.expect("a consumer");
    let acked = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&acked);
    let task = tokio::spawn(async move {
        while let Some(Ok(delivery)) = consumer.next().await {
            let acked = Arc::clone(&counter);
            tokio::spawn(async move {
                delivery.ack(BasicAckOptions::default()).await.expect("an ack");
                acked.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    reach(&acked).await;
    let rate = BACKLOG as f64 / begun.elapsed().as_secs_f64();
    task.abort();
    channel.close(200, "done".into()).await.expect("an end");
    rate
}

async fn reach(acked: &AtomicU64) {
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    while acked.load(Ordering::Relaxed) < BACKLOG as u64 {
        ticks.tick().await;
    }
}

async fn fill(queue: &AmqpQueue, size: usize) {
    for done in (0..BACKLOG).step_by(500) {
        let count = 500.min(BACKLOG - done);
        queue.publish(TOPIC, vec![message(size); count]).await.expect("a confirm");
    }
}

async fn purge(connection: &Connection) {
    let channel = connection.create_channel().await.expect("a channel");
    channel
        .queue_purge(names::queue(GROUP).into(), lapin::options::QueuePurgeOptions::default())
        .await
        .expect("a purge");
}

fn message(size: usize) -> Message {
    Message {
        id: String::from("r0123456789abcdefghijklmnopqrstuv"),
        kind: String::from("antiphon.recording.v1"),
        source: String::from("sensors/roof"),
        time: 0,
        trace: String::new(),
        body: Bytes::from(vec![7; size]),
    }
}
