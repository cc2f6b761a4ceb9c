//! Power cuts at random moments of a busy second: nothing that was acknowledged is lost, nothing is corrupt.
//!
//! The queue, the blobs and the database work at once on recorded files ([`antiphon_platform::fault`]). Each seed then
//! chooses a moment and a disk that the cut may have left, and the engines are opened on it. More seeds:
//! `POWER_CUT_SEEDS=1000 cargo test -p antiphon-platform --features fault --test power_cut -- --nocapture`.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use antiphon_platform::blobs::folder::{Access as BlobAccess, FolderBlobs};
use antiphon_platform::blobs::{BlobError, Blobs};
use antiphon_platform::clock::{Clock, SECOND};
use antiphon_platform::db::{Bulk, Database, Migration, OnConflict, Statement, Value};
use antiphon_platform::disk;
use antiphon_platform::fault::{Random, RecordedDisk, Syncs, Trace, sqlite_vfs};
use antiphon_platform::queue::files::{FileQueue, Options};
use antiphon_platform::queue::{Access, Group, Message, Queue, Topic};
use bytes::Bytes;
use futures::StreamExt;

const TOPIC: Topic = Topic("recordings");
const GROUPS: [Group; 2] = [Group { name: "analyze", topic: TOPIC }, Group { name: "media", topic: TOPIC }];

/// How long one workload is recorded: segments are removed once a second, and that is to be in the record.
const BUSY: Duration = Duration::from_millis(2500);

/// The pace of each task: what it leaves is read again for every seed.
const PACE: Duration = Duration::from_millis(8);

/// Seeds that are looked at at the same time.
const AT_ONCE: usize = 4;

/// Seeds that share a recorded workload.
const SEEDS_PER_WORKLOAD: u64 = 100;

/// How long a message that must come may take to come.
const PATIENCE: Duration = Duration::from_secs(5);

const MIGRATIONS: [Migration; 1] = [Migration {
    owner: "power-cut",
    version: 1,
    sqlite: "CREATE TABLE items (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
             CREATE TABLE parts (item INTEGER NOT NULL, part INTEGER NOT NULL, PRIMARY KEY (item, part));",
    postgres: "",
}];
const PARTS: i64 = 3;

const INSERT: Statement = Statement { name: "insert", text: "INSERT INTO items (id, body) VALUES ($1, $2)" };
const ITEMS: Statement = Statement { name: "items", text: "SELECT id, body FROM items" };
const PART_COUNTS: Statement = Statement { name: "parts", text: "SELECT item, count(*) FROM parts GROUP BY item" };

/// How much of each kind was promised and found.
#[derive(Clone, Copy, Debug, Default)]
struct Checked {
    published: usize,
    put: usize,
    committed: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost() {
    let seeds: u64 = std::env::var("POWER_CUT_SEEDS").map_or(100, |seeds| seeds.parse().unwrap());
    let mut sum = Checked::default();
    for first in (0..seeds).step_by(SEEDS_PER_WORKLOAD as usize) {
        let trace = workload(first, Syncs::Kept).await;
        let cuts = (first..seeds.min(first + SEEDS_PER_WORKLOAD)).map(|seed| {
            let trace = Arc::clone(&trace);
            async move { (seed, tokio::spawn(async move { cut(&trace, seed).await }).await.unwrap()) }
        });
        let mut cuts = futures::stream::iter(cuts).buffer_unordered(AT_ONCE);
        while let Some((seed, (checked, losses))) = cuts.next().await {
            assert!(losses.is_empty(), "seed {seed}: {losses:#?}");
            sum.published += checked.published;
            sum.put += checked.put;
            sum.committed += checked.committed;
        }
    }
    println!(
        "{seeds} power cuts: {} published deliveries, {} blobs and {} commits were acknowledged before them, all there",
        sum.published, sum.put, sum.committed
    );
    assert!(sum.published > 0 && sum.put > 0 && sum.committed > 0, "nothing was checked: {sum:?}");
}

/// The test of the test: a disk that does not keep its word about files, or about names, is found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_left_out_is_noticed() {
    for syncs in [Syncs::FilesIgnored, Syncs::FoldersIgnored] {
        let trace = workload(7, syncs).await;
        let mut found = BTreeSet::new();
        for seed in 0..100 {
            for loss in cut(&trace, seed).await.1 {
                found.insert(loss.split(':').next().unwrap().to_owned());
            }
            if found.len() == 3 {
                break;
            }
        }
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["blobs", "database", "queue"], "losses with {syncs:?}");
    }
}

fn access() -> Access {
    Access { publish: vec![TOPIC], consume: GROUPS.to_vec(), dead: vec![] }
}

/// Bytes that a number stands for, some more, some less than a page.
fn body(id: u64) -> Vec<u8> {
    let mut random = Random::new(id);
    let size = 1 << random.below(14);
    (0..size).map(|_| random.draw() as u8).collect()
}

/// A busy time of queue, blobs and database, recorded.
async fn workload(seed: u64, syncs: Syncs) -> Arc<Trace> {
    let folder = tempfile::tempdir().unwrap();
    let trace = Trace::new(folder.path(), syncs);
    let vfs = sqlite_vfs::register(Arc::clone(&trace)).unwrap();
    let disk: disk::SharedDisk = Arc::new(RecordedDisk(Arc::clone(&trace)));

    let options = Options { disk: Arc::clone(&disk), vfs: Some(vfs), roll: 128 * 1024, ..Options::default() };
    let clock = Clock::manual(Clock::system().now());
    let queue = FileQueue::open_with(&folder.path().join("queue"), access(), clock.clone(), options).await.unwrap();
    queue.declare(&GROUPS).await.unwrap();
    trace.mark("declared");
    let url = format!("sqlite:{}", folder.path().join("antiphon.db").display());
    let database = Database::open_with_vfs(&url, &MIGRATIONS, Some(vfs)).await.unwrap();
    let root = folder.path().join("blobs");
    let blobs = Arc::new(
        tokio::task::spawn_blocking(move || FolderBlobs::open(disk, &root, BlobAccess::Write)).await.unwrap().unwrap(),
    );

    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..4 {
        tasks.spawn(publish(queue.clone(), Arc::clone(&trace), Arc::clone(&stop), seed + lane));
        tasks.spawn(put(Arc::clone(&blobs), Arc::clone(&trace), Arc::clone(&stop), lane));
    }
    tasks.spawn(commit(database, Arc::clone(&trace), Arc::clone(&stop)));
    for group in GROUPS {
        tasks.spawn(consume(queue.clone(), group, Arc::clone(&trace), Arc::clone(&stop)));
    }
    // Time runs faster than ours, so that retries come back and segments come to their end. A slow machine gets
    // longer, since what is recorded must hold the removal of a segment.
    let topic = folder.path().join("queue/topics/recordings");
    let removed = || {
        let segments = std::fs::read_dir(&topic).unwrap().map(|segment| segment.unwrap().file_name());
        segments.min().is_some_and(|oldest| !oldest.to_string_lossy().ends_with("-00000000.segment"))
    };
    let mut pace = tokio::time::interval(PACE);
    let begun = Instant::now();
    while begun.elapsed() < BUSY || (!removed() && begun.elapsed() < BUSY * 20) {
        pace.tick().await;
        clock.advance(SECOND / 5);
    }
    assert!(removed(), "no segment was removed while the workload was recorded");
    stop.store(true, Ordering::Relaxed);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    trace
}

async fn publish(queue: FileQueue, trace: Arc<Trace>, stop: Arc<AtomicBool>, lane: u64) {
    let mut pace = tokio::time::interval(PACE);
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        pace.tick().await;
        let ids: Vec<u64> = (0..=number % 3).map(|more| lane << 32 | number << 8 | more).collect();
        queue.publish(TOPIC, ids.iter().map(|id| message(*id)).collect()).await.unwrap();
        ids.iter().for_each(|id| trace.mark(format!("published {id}")));
    }
}

fn message(id: u64) -> Message {
    Message {
        id: id.to_string(),
        kind: String::from("antiphon.recording.v1"),
        source: String::from("sensors/roof"),
        time: 17,
        trace: String::new(),
        body: Bytes::from(body(id)),
    }
}

async fn consume(queue: FileQueue, group: Group, trace: Arc<Trace>, stop: Arc<AtomicBool>) {
    let mut consumer = queue.consume(group, 16).await.unwrap();
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(delivery) = tokio::time::timeout(Duration::from_millis(50), consumer.next()).await else { continue };
        let delivery = delivery.unwrap();
        count += 1;
        // Every so often one is sent to retry, and one is let go.
        match count % 10 {
            3 => delivery.retry("again").await.unwrap(),
            7 => drop(delivery),
            _ => {
                trace.mark(format!("ending {} {}", group.name, delivery.message.id));
                delivery.ack().await.unwrap();
            }
        }
    }
}

async fn put(blobs: Arc<FolderBlobs>, trace: Arc<Trace>, stop: Arc<AtomicBool>, lane: u64) {
    let mut pace = tokio::time::interval(PACE);
    for number in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        pace.tick().await;
        let key = format!("songs/{lane}/k{}", number % 7);
        let version = lane << 32 | number;
        if number % 5 == 0 {
            trace.mark(format!("putting {key} 0"));
            blobs.delete(&key).await.unwrap();
            trace.mark(format!("put {key} 0"));
        } else {
            trace.mark(format!("putting {key} {version}"));
            let stream = futures::stream::iter([Ok(Bytes::from(body(version)))]);
            blobs.put(&key, Box::pin(stream)).await.unwrap();
            trace.mark(format!("put {key} {version}"));
        }
    }
}

async fn commit(database: Database, trace: Arc<Trace>, stop: Arc<AtomicBool>) {
    let mut pace = tokio::time::interval(PACE);
    for id in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        pace.tick().await;
        let mut transaction = database.write().await.unwrap();
        let text: String = body(id as u64).iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        transaction.execute(&INSERT, &[Value::from(id), Value::from(text)]).await.unwrap();
        let bulk = Bulk { table: "parts", columns: &["item", "part"], on_conflict: OnConflict::Fail };
        let rows = (0..PARTS).map(|part| vec![Value::from(id), Value::from(part)]).collect();
        transaction.bulk_insert(&bulk, rows).await.unwrap();
        if id % 6 == 0 {
            trace.mark(format!("dropped {id}"));
            drop(transaction);
        } else {
            transaction.commit().await.unwrap();
            trace.mark(format!("committed {id}"));
        }
    }
}

/// Cuts the power at a moment of the seed's choice and looks at what is left: what was checked, and what is wrong.
async fn cut(trace: &Trace, seed: u64) -> (Checked, Vec<String>) {
    let mut random = Random::new(seed);
    let moment = random.below(trace.len() + 1);
    let folder = tempfile::tempdir().unwrap();
    trace.image(moment, &mut random, folder.path()).unwrap();
    let promises = Promises::new(trace.marks(moment));
    let (published, lost) = check_queue(&folder.path().join("queue"), &promises).await;
    let (put, changed) = check_blobs(&folder.path().join("blobs"), &promises).await;
    let (committed, missing) = check_database(&folder.path().join("antiphon.db"), &promises).await;
    let label = |what: &'static str| move |loss| format!("{what}: {loss}");
    let losses = lost.into_iter().map(label("queue")).chain(changed.into_iter().map(label("blobs")));
    let losses = losses.chain(missing.into_iter().map(label("database"))).collect();
    (Checked { published, put, committed }, losses)
}

/// What was promised before the cut.
#[derive(Debug, Default)]
struct Promises {
    declared: bool,
    published: BTreeSet<String>,
    /// Messages whose ack had begun, by group.
    ending: BTreeSet<(String, String)>,
    /// The versions that each key may have: what was acknowledged last, and what had begun since.
    keys: BTreeMap<String, Vec<u64>>,
    acknowledged_keys: BTreeSet<String>,
    committed: BTreeSet<i64>,
    dropped: BTreeSet<i64>,
}

impl Promises {
    fn new(marks: Vec<String>) -> Self {
        let mut promises = Self::default();
        for mark in marks {
            let words: Vec<&str> = mark.split(' ').collect();
            match words[..] {
                ["declared"] => promises.declared = true,
                ["published", id] => drop(promises.published.insert(id.to_owned())),
                ["ending", group, id] => drop(promises.ending.insert((group.to_owned(), id.to_owned()))),
                // A key that was never put has version 0, as one that was deleted.
                ["putting", key, version] => {
                    promises.keys.entry(key.to_owned()).or_insert_with(|| vec![0]).push(version.parse().unwrap());
                }
                ["put", key, version] => {
                    promises.acknowledged_keys.insert(key.to_owned());
                    promises.keys.insert(key.to_owned(), vec![version.parse().unwrap()]);
                }
                ["committed", id] => drop(promises.committed.insert(id.parse().unwrap())),
                ["dropped", id] => drop(promises.dropped.insert(id.parse().unwrap())),
                _ => panic!("unknown mark {mark}"),
            }
        }
        promises
    }
}

async fn check_queue(folder: &Path, promises: &Promises) -> (usize, Vec<String>) {
    let state = folder.join("state.db");
    if state.exists() {
        match sqlite_vfs::integrity(&state) {
            Ok(answer) if answer == "ok" => {}
            other => return (0, vec![format!("state.db is damaged: {other:?}")]),
        }
    }
    // A day later every retry is due.
    let clock = Clock::manual(Clock::system().now() + 86_400 * SECOND);
    let queue = match FileQueue::open(folder, access(), clock.clone()).await {
        Ok(queue) => queue,
        Err(error) => return (0, vec![format!("it does not open: {error}")]),
    };
    let known: Vec<String> = queue.depths().await.unwrap().into_iter().map(|depth| depth.group).collect();
    if promises.declared && known != GROUPS.map(|group| group.name) {
        return (0, vec![format!("declared groups are gone: {known:?}")]);
    }
    queue.declare(&GROUPS).await.unwrap();
    let (mut checked, mut lost) = (0, Vec::new());
    for group in GROUPS {
        let ended = |id: &String| promises.ending.contains(&(group.name.to_owned(), id.clone()));
        let mut missing: BTreeSet<&String> = promises.published.iter().filter(|id| !ended(id)).collect();
        checked += missing.len();
        let mut consumer = queue.consume(group, 64).await.unwrap();
        let mut last = Instant::now();
        while !missing.is_empty() {
            let Ok(delivery) = tokio::time::timeout(PATIENCE / 20, consumer.next()).await else {
                if last.elapsed() > PATIENCE {
                    break;
                }
                // What processes died with again and again comes back some seconds later.
                clock.advance(30 * SECOND);
                continue;
            };
            let delivery = delivery.unwrap();
            last = Instant::now();
            if delivery.message != message(delivery.message.id.parse().unwrap()) {
                lost.push(format!("message {} has changed", delivery.message.id));
            }
            missing.remove(&delivery.message.id);
            delivery.ack().await.unwrap();
        }
        lost.extend(missing.iter().map(|id| format!("message {id} is lost for {}", group.name)));
    }
    (checked, lost)
}

async fn check_blobs(folder: &Path, promises: &Promises) -> (usize, Vec<String>) {
    let root = folder.to_owned();
    let opened = tokio::task::spawn_blocking(move || FolderBlobs::open(disk::local(), &root, BlobAccess::Write)).await;
    let blobs = match opened.unwrap() {
        Ok(blobs) => blobs,
        Err(error) => return (0, vec![format!("they do not open: {error}")]),
    };
    let mut wrong = Vec::new();
    for (key, versions) in &promises.keys {
        match read(&blobs, key).await {
            Ok(found) if versions.iter().any(|version| found == (*version != 0).then(|| body(*version))) => {}
            Ok(found) => {
                wrong.push(format!("{key} has {:?} bytes of no version it may have", found.map(|found| found.len())))
            }
            Err(error) => wrong.push(format!("{key} cannot be read: {error}")),
        }
    }
    (promises.acknowledged_keys.len(), wrong)
}

async fn read(blobs: &FolderBlobs, key: &str) -> Result<Option<Vec<u8>>, BlobError> {
    let mut stream = match blobs.get(key, None).await {
        Err(BlobError::NotFound(_)) => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(Some(bytes))
}

async fn check_database(path: &Path, promises: &Promises) -> (usize, Vec<String>) {
    match if path.exists() { sqlite_vfs::integrity(path) } else { Ok(String::from("ok")) } {
        Ok(answer) if answer == "ok" => {}
        other => return (0, vec![format!("it is damaged: {other:?}")]),
    }
    match rows(path).await {
        Err(error) => (0, vec![format!("it cannot be read: {error}")]),
        Ok((items, parts)) => {
            let mut wrong = Vec::new();
            let missing = promises.committed.iter().filter(|id| !items.contains(id));
            wrong.extend(missing.map(|id| format!("commit {id} is lost")));
            let undone = promises.dropped.iter().filter(|id| items.contains(id));
            wrong.extend(undone.map(|id| format!("transaction {id} was dropped and is there")));
            if items.iter().any(|id| parts.get(id) != Some(&PARTS)) || items.len() != parts.len() {
                wrong.push(String::from("a transaction is there in parts"));
            }
            (promises.committed.len(), wrong)
        }
    }
}

async fn rows(path: &Path) -> Result<(BTreeSet<i64>, BTreeMap<i64, i64>), antiphon_platform::db::DbError> {
    let database = Database::open(&format!("sqlite:{}", path.display()), &MIGRATIONS).await?;
    let mut read = database.read().await?;
    let items = read.rows(&ITEMS, &[]).await?.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
    let parts = read.rows(&PART_COUNTS, &[]).await?;
    let parts: Result<_, antiphon_platform::db::DbError> =
        parts.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect();
    Ok((items, parts?))
}
