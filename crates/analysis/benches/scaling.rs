//! How the role `analyze` scales with its processes: 1, 2, 4 and 8 of them compete for recordings, with an algorithm that
//! sleeps 50 ms, so that what is measured is consuming, publishing, confirming and sharing, and not the machine's cores.
//!
//! `cargo xtask bench scaling`. Each worker is a process of its own with one computing thread: this program, started
//! again with `--worker`. `--queue embedded` shares a folder instead of a RabbitMQ of its own; `--seconds N` is for how
//! long each count has work (15); `--workers 1,2,4,8` are the counts. Prints for each count what waits at its start as
//! metrics tell it, messages a second from the first ack to the last and their share of what the first count's rate
//! promises, how far the least and the most busy worker are from the mean, and the CPU time (user and system) that the
//! processes took for a message.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on panics")]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_analysis::ids::RecordingId;
use antiphon_analysis::messages::{self, Block, Plan, Recording, SourceKind};
use antiphon_analysis::topics::{ANALYZE, RECORDINGS, RESULTS, WRITE};
use antiphon_analysis::workers::{Emit, Failure, Worker, analyze};
use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::cpu::{Pool, Priority, cores};
use antiphon_platform::queue::amqp::AmqpQueue;
use antiphon_platform::queue::files::FileQueue;
use antiphon_platform::queue::{Access, Consumer, Delivery, Depth, Group, Message, Queue, QueueError, Settle, Topic};
use antiphon_servers::RabbitMq;
use async_trait::async_trait;
use prost::Message as _;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// What the algorithm takes for one recording.
const WORK: Duration = Duration::from_millis(50);
/// Bytes of sound in each: 1 s of 16 kHz mono.
const AUDIO: usize = 32_000;
/// Recordings that are published at once.
const BATCH: usize = 100;
/// 2026-05-01T00:00:00Z.
const MAY: Micros = 1_777_593_600_000_000;

fn main() {
    // As many threads as the binary gives its async runtime.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(cores().clamp(1, 4)).enable_all().build();
    let runtime = runtime.expect("a runtime");
    if let Some(address) = argument("--worker") {
        work(&runtime, &address);
        return;
    }
    let seconds: usize = argument("--seconds").map_or(15, |value| value.parse().expect("--seconds N"));
    let counts = argument("--workers").unwrap_or(String::from("1,2,4,8"));
    let counts: Vec<usize> = counts.split(',').map(|count| count.parse().expect("--workers 1,2,4,8")).collect();
    let is_embedded = match argument("--queue").as_deref() {
        None | Some("rabbitmq") => false,
        Some("embedded") => true,
        Some(other) => panic!("--queue {other}: there are rabbitmq and embedded"),
    };
    let server = (!is_embedded).then(RabbitMq::start);
    println!("queue: {}", if is_embedded { "embedded" } else { "RabbitMQ" });
    println!("| workers | waiting | messages/s | of linear | least busy | most busy | CPU ms a message |");
    println!("|---|---|---|---|---|---|---|");
    let mut promised = None;
    for workers in counts {
        let total = workers * seconds * 1_000 / WORK.as_millis() as usize;
        let row = match &server {
            Some(server) => measure(&runtime, &server.vhost().url(), workers, total),
            None => {
                let folder = tempfile::tempdir_in(".").expect("a folder");
                measure(&runtime, &folder.path().display().to_string(), workers, total)
            }
        };
        let linear = *promised.get_or_insert(row.rate / workers as f64) * workers as f64;
        println!(
            "| {workers} | {} | {:.1} | {:.3} | {:+.1} % | {:+.1} % | {:.2} |",
            row.waiting,
            row.rate,
            row.rate / linear,
            row.least * 100.0,
            row.most * 100.0,
            row.cpu
        );
    }
}

fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

/// The queue at an address of a broker or in a folder.
async fn open(address: &str, access: Access) -> Arc<dyn Queue> {
    if address.starts_with("amqp:") {
        return Arc::new(AmqpQueue::open(address, access, Clock::system()).await.expect("a broker"));
    }
    Arc::new(FileQueue::open(Path::new(address), access, Clock::system()).await.expect("a queue"))
}

/// What a number of workers did.
struct Row {
    /// Recordings at the start.
    waiting: u64,
    /// Messages a second.
    rate: f64,
    /// How far the worker with the fewest messages is from the mean, as a share of it.
    least: f64,
    /// The same of the worker with the most.
    most: f64,
    /// Milliseconds a message.
    cpu: f64,
}

fn measure(runtime: &Runtime, address: &str, workers: usize, total: usize) -> Row {
    let access = Access { publish: vec![RECORDINGS], consume: vec![WRITE], dead: vec![] };
    let queue = runtime.block_on(async {
        let queue = open(address, access).await;
        queue.declare(&[ANALYZE, WRITE]).await.expect("groups");
        queue
    });
    let mut processes: Vec<Process> = (0..workers).map(|_| Process::start(address)).collect();
    for process in &mut processes {
        process.hear("ready");
    }
    let waiting = runtime.block_on(async {
        for from in (0..total).step_by(BATCH) {
            let batch = (from..total.min(from + BATCH)).map(recording).collect();
            queue.publish(RECORDINGS, batch).await.expect("a confirm");
        }
        let access = Access { consume: vec![ANALYZE], ..Access::default() };
        let depths = open(address, access).await.depths().await.expect("depths");
        depths.iter().find(|depth| depth.group == ANALYZE.name).expect("its depth").waiting
    });
    for process in &mut processes {
        process.say("go");
    }
    runtime.block_on(take_results(queue.as_ref(), total));
    let done: Vec<Done> = processes.into_iter().map(Process::end).collect();
    let counts: Vec<usize> = done.iter().map(|done| done.acks).collect();
    let acks: usize = counts.iter().sum();
    assert_eq!(acks, total, "recordings that were acked");
    let (first, last) = (done.iter().map(|done| done.first).min(), done.iter().map(|done| done.last).max());
    let window = (last.unwrap() - first.unwrap()) as f64 / SECOND as f64;
    let from_mean = |count: Option<&usize>| *count.unwrap() as f64 * workers as f64 / acks as f64 - 1.0;
    Row {
        waiting,
        // What each worker did first was done when the window began.
        rate: (acks - workers) as f64 / window,
        least: from_mean(counts.iter().min()),
        most: from_mean(counts.iter().max()),
        cpu: done.iter().map(|done| done.cpu).sum::<f64>() / acks as f64,
    }
}

/// Takes results in the writer's place until there is one of each recording.
async fn take_results(queue: &dyn Queue, total: usize) {
    let mut consumer = queue.consume(WRITE, 200).await.expect("a consumer");
    let mut found = HashSet::new();
    while found.len() < total {
        let next = tokio::time::timeout(Duration::from_secs(60), consumer.next()).await;
        let delivery = next.expect("workers that work").expect("a result");
        found.insert(delivery.message.id.clone());
        delivery.ack().await.expect("an ack");
    }
}

fn recording(number: usize) -> Message {
    let mut name = [0; RecordingId::LENGTH];
    name[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let start = MAY + number as Micros * SECOND;
    let body = Recording {
        id: name.to_vec().into(),
        sensor: String::from("roof"),
        recording_start: start,
        start,
        last_piece: true,
        plan: Some(Plan { version: 1, groups: vec![ANALYZE.name.to_owned()], ..Plan::default() }),
        audio: vec![7; AUDIO].into(),
        accepted_at: start,
        ..Recording::default()
    };
    Message {
        id: RecordingId::from(name).to_string(),
        kind: String::from("antiphon.recording.v1"),
        source: String::from("sensors/roof"),
        time: start,
        trace: String::new(),
        body: body.encode_to_vec().into(),
    }
}

/// A worker's process; killed when dropped.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// What a worker did.
struct Done {
    acks: usize,
    /// The first ack, µs since 1970.
    first: Micros,
    /// The last one.
    last: Micros,
    /// CPU time of all its threads in ms.
    cpu: f64,
}

impl Process {
    fn start(address: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a program"))
            .args(["--worker", address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("it is piped"));
        Self { child, input, output: BufReader::new(output) }
    }

    fn say(&mut self, word: &str) {
        writeln!(self.input.as_mut().expect("it is piped"), "{word}").expect("it listens");
    }

    /// Waits for the next line, which begins with `word`; what follows it.
    fn hear(&mut self, word: &str) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        line.trim().strip_prefix(word).unwrap_or_else(|| panic!("a worker said {line:?}")).trim().to_owned()
    }

    /// Lets it finish; what it did.
    fn end(mut self) -> Done {
        self.input = None;
        let line = self.hear("done");
        let mut words = line.split(' ');
        let mut word = || words.next().expect("four numbers");
        Done {
            acks: word().parse().unwrap(),
            first: word().parse().unwrap(),
            last: word().parse().unwrap(),
            cpu: word().parse().unwrap(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A worker, as role `analyze` with one computing thread is one: connects, waits for a line, and works until its
/// standard input ends.
fn work(runtime: &Runtime, address: &str) {
    let access = Access { publish: vec![RESULTS], consume: vec![ANALYZE], dead: vec![] };
    let (acks, clock) = (Acks::default(), Clock::system());
    let queue = runtime.block_on(open(address, access));
    let worker = Worker {
        queue: Arc::new(Watched { queue, acks: Arc::clone(&acks) }),
        pool: Arc::new(Pool::new("analysis", 1, Priority::Background)),
        prefetch: 2,
        clock,
    };
    let stop = CancellationToken::new();
    println!("ready");
    let mut lines = std::io::stdin().lines();
    lines.next();
    let before = cpu_time();
    let run = runtime.spawn(analyze::run_with(worker, ANALYZE, stop.clone(), compute));
    lines.next();
    stop.cancel();
    runtime.block_on(run).expect("no panic").expect("a queue that works");
    let cpu = (cpu_time() - before).as_secs_f64() * 1e3;
    let acks = acks.lock().unwrap();
    let (first, last) = (acks.iter().min().unwrap_or(&Micros::MAX), acks.iter().max().unwrap_or(&Micros::MIN));
    println!("done {} {first} {last} {cpu}", acks.len());
}

/// The algorithm.
fn compute(recording: Recording, emit: &mut Emit<'_>) -> Result<(), Failure> {
    #[expect(clippy::disallowed_methods, reason = "an algorithm that takes time and no processor")]
    std::thread::sleep(WORK);
    let block = Block {
        algorithm: String::from("sleep"),
        version: 1,
        layer: String::from("main"),
        minute: recording.start.div_euclid(60 * SECOND),
        data: vec![7; 64].into(),
        partials: Vec::new(),
    };
    emit(messages::Result {
        kind: SourceKind::Sensor.into(),
        sensor: recording.sensor,
        id: recording.id,
        recording_start: recording.recording_start,
        accepted_at: recording.accepted_at,
        piece: recording.piece,
        last_piece: recording.last_piece,
        group: ANALYZE.name.to_owned(),
        groups: recording.plan.unwrap_or_default().groups,
        plan_version: 1,
        parts: 1,
        from: recording.start,
        to: recording.start + SECOND,
        sample_rate: 16_000,
        channels: 1,
        blocks: vec![block],
        ..messages::Result::default()
    })
}

/// CPU time of this process so far, user and system, of all its threads.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().expect("it is not negative")
}

/// When deliveries were acked, µs since 1970.
type Acks = Arc<Mutex<Vec<Micros>>>;

/// A queue that notes acks.
struct Watched {
    queue: Arc<dyn Queue>,
    acks: Acks,
}

struct WatchedConsumer {
    consumer: Box<dyn Consumer>,
    acks: Acks,
}

struct WatchedDelivery {
    delivery: Delivery,
    acks: Acks,
}

#[async_trait]
impl Queue for Watched {
    async fn declare(&self, groups: &[Group]) -> Result<(), QueueError> {
        self.queue.declare(groups).await
    }

    async fn publish(&self, topic: Topic, messages: Vec<Message>) -> Result<(), QueueError> {
        self.queue.publish(topic, messages).await
    }

    async fn publish_to_group(&self, group: Group, message: Message) -> Result<(), QueueError> {
        self.queue.publish_to_group(group, message).await
    }

    async fn consume(&self, group: Group, prefetch: usize) -> Result<Box<dyn Consumer>, QueueError> {
        let consumer = self.queue.consume(group, prefetch).await?;
        Ok(Box::new(WatchedConsumer { consumer, acks: Arc::clone(&self.acks) }))
    }

    async fn consume_dead(&self, group: Group, prefetch: usize) -> Result<Box<dyn Consumer>, QueueError> {
        self.queue.consume_dead(group, prefetch).await
    }

    async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        self.queue.depths().await
    }

    async fn check(&self) -> Result<(), QueueError> {
        self.queue.check().await
    }
}

#[async_trait]
impl Consumer for WatchedConsumer {
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        let delivery = self.consumer.next().await?;
        let (message, deliveries, death) = (delivery.message.clone(), delivery.deliveries, delivery.death.clone());
        let watched = WatchedDelivery { delivery, acks: Arc::clone(&self.acks) };
        Ok(Delivery::new(message, deliveries, death, Box::new(watched)))
    }
}

#[async_trait]
impl Settle for WatchedDelivery {
    async fn ack(self: Box<Self>) -> Result<(), QueueError> {
        self.delivery.ack().await?;
        self.acks.lock().unwrap().push(Clock::system().now());
        Ok(())
    }

    async fn retry(self: Box<Self>, reason: String) -> Result<(), QueueError> {
        self.delivery.retry(reason).await
    }

    async fn dead(self: Box<Self>, reason: String) -> Result<(), QueueError> {
        self.delivery.dead(reason).await
    }

    fn release(self: Box<Self>) {
        drop(self.delivery);
    }
}
