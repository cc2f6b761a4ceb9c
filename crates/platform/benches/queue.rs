//! How fast the embedded queue publishes, beside a bare loop that appends and syncs the same records in groups of
//! the same sizes, and whether a backlog slows it.
//!
//! `cargo bench -p antiphon-platform --bench queue [FOLDER]`: the folder's disk is what is measured, and needs 12 GB.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run panics")]

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use antiphon_platform::clock::Clock;
use antiphon_platform::disk::{Disk, DiskFile, LocalDisk};
use antiphon_platform::queue::files::{FileQueue, Options};
use antiphon_platform::queue::{Access, Group, Message, Queue, Topic};
use bytes::Bytes;

const TOPIC: Topic = Topic("recordings");
const GROUP: Group = Group { name: "analyze", topic: TOPIC };
const PUBLISHERS: usize = 64;
const LARGE: usize = 32 * 1024;
const SMALL: usize = 200;
/// A round of each is measured in turn, so that a disk that gets slower or faster does so for both.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let parent = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).map(PathBuf::from);
    let parent = parent.unwrap_or_else(std::env::temp_dir);
    println!("{:<42} {:>10} {:>10} {:>8} {:>8} {:>8}", "", "queue/s", "bare/s", "share", "group", "p99 ms");
    for (name, backlog, size) in [
        ("32 kB records, empty queue", 0, LARGE),
        ("32 kB records, 200,000 of 32 kB waiting", 200_000, LARGE),
        ("32 kB records, 1,000,000 of 200 B waiting", 1_000_000, SMALL),
    ] {
        let folder = tempfile::tempdir_in(&parent).expect("a folder");
        runtime.block_on(measure(name, folder.path(), backlog, size));
    }
    for (name, backlog, size) in
        [("consume and ack, 20,000 of 32 kB", 20_000, LARGE), ("consume and ack, 200 B", 1_000_000, SMALL)]
    {
        let folder = tempfile::tempdir_in(&parent).expect("a folder");
        runtime.block_on(consume(name, folder.path(), backlog, size));
    }
}

async fn measure(name: &str, folder: &Path, backlog: usize, size: usize) {
    let groups = Arc::new(Groups::default());
    let queue = open(&folder.join("queue"), Arc::clone(&groups)).await;
    fill(&queue, backlog, size).await;
    drop(queue);
    let begun = Instant::now();
    let queue = open(&folder.join("queue"), Arc::clone(&groups)).await;
    let opened = begun.elapsed();
    let (mut published, mut bare, mut waits, mut all) = (0.0, 0.0, Vec::new(), 0);
    for round in 0..ROUNDS {
        groups.sizes.lock().expect("no panic").clear();
        published += publish(&queue, &mut waits).await;
        let sizes = groups.sizes.lock().expect("no panic").clone();
        all += sizes.len();
        bare += append(&folder.join(format!("bare-{round}")), &sizes);
    }
    waits.sort_unstable();
    let p99 = waits[waits.len() * 99 / 100].as_secs_f64() * 1e3;
    let rounds = ROUNDS as f64;
    let group = waits.len() as f64 / all as f64;
    println!(
        "{name:<42} {:>10.0} {:>10.0} {:>7.0}% {group:>8.1} {p99:>8.1}   opened in {opened:.0?}",
        published / rounds,
        bare / rounds,
        100.0 * published / bare
    );
}

/// Publishes from many tasks for one round; messages a second.
async fn publish(queue: &FileQueue, waits: &mut Vec<Duration>) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let mut publishers = tokio::task::JoinSet::new();
    let begun = Instant::now();
    for _ in 0..PUBLISHERS {
        let (queue, stop, message) = (queue.clone(), Arc::clone(&stop), message(LARGE));
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
    tokio::time::sleep(ROUND).await;
    stop.store(true, Ordering::Relaxed);
    let mut count = 0;
    while let Some(more) = publishers.join_next().await {
        let more = more.expect("no panic");
        count += more.len();
        waits.extend(more);
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

/// The bare loop: groups of `sizes` bytes, each appended and synced; records a second.
fn append(folder: &Path, sizes: &[u64]) -> f64 {
    std::fs::create_dir(folder).expect("a folder");
    let record = vec![7; LARGE + 100];
    let (mut file, mut end, mut number) = (None, 0, 0);
    let mut records = 0;
    let begun = Instant::now();
    for size in sizes {
        if file.is_none() || end >= 64 * 1024 * 1024 {
            file = Some(LocalDisk.create(&folder.join(number.to_string())).expect("a file"));
            number += 1;
            end = 0;
        }
        let count = (*size as usize / LARGE).max(1);
        let parts: Vec<IoSlice<'_>> = (0..count).map(|_| IoSlice::new(&record)).collect();
        let file = file.as_ref().expect("it was opened above");
        file.write_at(&parts, end).expect("a write");
        file.sync_data().expect("a sync");
        end += size;
        records += count;
    }
    // The files stay until the end: removing them now would keep the disk busy while the queue is measured.
    records as f64 / begun.elapsed().as_secs_f64()
}

async fn consume(name: &str, folder: &Path, count: usize, size: usize) {
    let queue = open(folder, Arc::default()).await;
    fill(&queue, count, size).await;
    let acked = Arc::new(AtomicU64::new(0));
    let mut consumers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (queue, acked) = (queue.clone(), Arc::clone(&acked));
        consumers.spawn(async move {
            let mut consumer = queue.consume(GROUP, 64).await.expect("a consumer");
            while let Ok(delivery) = consumer.next().await {
                let acked = Arc::clone(&acked);
                tokio::spawn(async move {
                    delivery.ack().await.expect("an ack");
                    acked.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
    }
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while acked.load(Ordering::Relaxed) < (count as u64).min(200_000) {
        ticks.tick().await;
    }
    println!("{name:<42} {:>10.0}", acked.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64());
}

async fn open(folder: &Path, groups: Arc<Groups>) -> FileQueue {
    let access = Access { publish: vec![TOPIC], consume: vec![GROUP], dead: vec![] };
    let options = Options { disk: groups, ..Options::default() };
    let queue = FileQueue::open_with(folder, access, Clock::system(), options).await.expect("a queue");
    queue.declare(&[GROUP]).await.expect("a group");
    queue
}

async fn fill(queue: &FileQueue, count: usize, size: usize) {
    let batch = (4 * 1024 * 1024 / size).min(10_000);
    for done in (0..count).step_by(batch) {
        queue.publish(TOPIC, vec![message(size); batch.min(count - done)]).await.expect("a confirm");
    }
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

/// The local disk, noting how many bytes are written at once.
#[derive(Debug, Default)]
struct Groups {
    sizes: Arc<Mutex<Vec<u64>>>,
}

#[derive(Debug)]
struct GroupFile(Box<dyn DiskFile>, Arc<Mutex<Vec<u64>>>);

impl Disk for Groups {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(GroupFile(LocalDisk.create(path)?, Arc::clone(&self.sizes))))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        LocalDisk.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove(path)
    }
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        LocalDisk.create_folder(path)
    }
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        LocalDisk.sync_folder(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<std::ffi::OsString>> {
        LocalDisk.list(path)
    }
}

impl DiskFile for GroupFile {
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let size: usize = parts.iter().map(|part| part.len()).sum();
        // Footers and the files beside the segments are small.
        if size >= LARGE {
            self.1.lock().expect("no panic").push(size as u64);
        }
        self.0.write_at(parts, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
}
