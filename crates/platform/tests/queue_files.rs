//! What the embedded queue does beyond the law of the port: files, processes, damage, other machines.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod faulty_disk;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use antiphon_platform::clock::{Clock, SECOND};
use antiphon_platform::queue::contract::{clock, full_access, groups, message, next};
use antiphon_platform::queue::files::{FileQueue, Options};
use antiphon_platform::queue::{Consumer, Group, Queue, QueueError, Topic};
use faulty_disk::FaultyDisk;

const TASK: &str = "ANTIPHON_TEST_QUEUE_FOLDER";

fn one() -> Group {
    groups()[0]
}

fn topic() -> Topic {
    one().topic
}

async fn open(folder: &Path) -> FileQueue {
    open_rolling(folder, Options::default().roll).await
}

async fn open_rolling(folder: &Path, roll: u64) -> FileQueue {
    let options = Options { roll, ..Options::default() };
    let queue = FileQueue::open_with(folder, full_access(), clock(), options).await.unwrap();
    queue.declare(&groups()).await.unwrap();
    queue
}

async fn publish(queue: &FileQueue, ids: std::ops::Range<usize>) {
    for id in ids {
        queue.publish(topic(), vec![message(&id.to_string())]).await.unwrap();
    }
}

async fn drain(consumer: &mut dyn Consumer, count: usize) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    while seen.len() < count {
        let delivery = next(consumer).await;
        seen.insert(delivery.message.id.clone());
        delivery.ack().await.unwrap();
    }
    seen
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("topics/contract")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "segment"));
    paths.sort();
    paths
}

fn names(count: usize) -> BTreeSet<String> {
    (0..count).map(|id| id.to_string()).collect()
}

/// Waits until `done`, looking often; what is waited for has no signal of its own.
async fn until(what: &str, done: impl Fn() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let begun = std::time::Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} took too long");
        ticks.tick().await;
    }
}

#[tokio::test]
async fn a_segment_goes_when_every_group_has_finished_it() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_rolling(folder.path(), 1000).await;
    publish(&queue, 0..20).await;
    let before = segments(folder.path());
    assert!(before.len() > 2, "segments roll");
    let mut first = queue.consume(groups()[0], 10).await.unwrap();
    drain(first.as_mut(), 20).await;
    assert_eq!(queue.depths().await.unwrap()[1].waiting, 0);
    let mut second = queue.consume(groups()[1], 10).await.unwrap();
    assert_eq!(segments(folder.path()), before, "the second group has not had them");
    drain(second.as_mut(), 20).await;
    until("removing segments", || segments(folder.path()).len() <= 1).await;
    publish(&queue, 20..21).await;
    assert_eq!(drain(first.as_mut(), 1).await, BTreeSet::from([String::from("20")]));
}

#[tokio::test]
async fn what_is_consumed_goes_in_time_though_nothing_follows() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { roll_after: Duration::from_millis(100), ..Options::default() };
    let queue = FileQueue::open_with(folder.path(), full_access(), clock(), options).await.unwrap();
    queue.declare(&groups()).await.unwrap();
    let mut consumers = Vec::new();
    for group in groups().into_iter().filter(|group| group.topic == topic()) {
        consumers.push(queue.consume(group, 10).await.unwrap());
    }
    publish(&queue, 0..3).await;
    for consumer in &mut consumers {
        drain(consumer.as_mut(), 3).await;
    }
    until("removing the last segment", || segments(folder.path()).is_empty()).await;
    publish(&queue, 3..4).await;
    assert_eq!(drain(consumers[0].as_mut(), 1).await, BTreeSet::from([String::from("3")]));
    let kept = segments(folder.path());
    assert_eq!(kept.len(), 1, "the other group has not settled it");
}

#[tokio::test]
async fn a_segment_that_is_missing_counts_as_consumed() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_rolling(folder.path(), 1000).await;
    publish(&queue, 0..9).await;
    let mut consumer = queue.consume(one(), 1).await.unwrap();
    let _held = next(consumer.as_mut()).await;
    drop(queue);
    drop(consumer);
    segments(folder.path()).iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let queue = open(folder.path()).await;
    publish(&queue, 9..10).await;
    let mut consumer = queue.consume(one(), 10).await.unwrap();
    assert_eq!(drain(consumer.as_mut(), 1).await, BTreeSet::from([String::from("9")]));
}

#[tokio::test]
async fn without_its_state_everything_kept_is_delivered_again() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path()).await;
    publish(&queue, 0..5).await;
    let mut consumer = queue.consume(one(), 10).await.unwrap();
    drain(consumer.as_mut(), 5).await;
    drop(consumer);
    queue.close().await;
    drop(queue);
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(name));
    }
    let queue = open(folder.path()).await;
    let mut consumer = queue.consume(one(), 10).await.unwrap();
    assert_eq!(drain(consumer.as_mut(), 5).await, names(5));
}

#[tokio::test]
async fn a_torn_tail_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path()).await;
    publish(&queue, 0..5).await;
    let path = segments(folder.path()).remove(0);
    let whole = std::fs::read(&path).unwrap();
    queue.close().await;
    drop(queue);
    // As after a crash: no footer, and half of a sixth record.
    let torn = [&whole[..], &whole[32..150]].concat();
    std::fs::write(&path, torn).unwrap();
    let queue = open(folder.path()).await;
    publish(&queue, 5..6).await;
    let mut consumer = queue.consume(one(), 10).await.unwrap();
    assert_eq!(drain(consumer.as_mut(), 6).await, names(6));
}

#[tokio::test]
async fn a_damaged_segment_is_kept_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path()).await;
    publish(&queue, 0..5).await;
    queue.close().await;
    drop(queue);
    let path = segments(folder.path()).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    // A bit of the third of five records.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let queue = open(folder.path()).await;
    publish(&queue, 5..6).await;
    let mut consumers = Vec::new();
    for group in [groups()[0], groups()[1]] {
        let mut consumer = queue.consume(group, 10).await.unwrap();
        let seen = drain(consumer.as_mut(), 3).await;
        assert_eq!(seen, ["0", "1", "5"].map(String::from).into());
        // It is whoever consumes that comes to the damage.
        consumers.push(consumer);
    }
    until("removing the segment", || !path.exists()).await;
    assert!(path.with_extension("damaged").exists());
}

#[tokio::test]
async fn closing_gives_back_what_was_not_seen_uncounted() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path()).await;
    publish(&queue, 0..5).await;
    let mut consumer = queue.consume(one(), 5).await.unwrap();
    let seen = next(consumer.as_mut()).await;
    queue.close().await;
    assert!(matches!(queue.publish(topic(), vec![message("x")]).await, Err(QueueError::Unavailable(_))));
    assert!(matches!(consumer.next().await, Err(QueueError::Broken(_))));
    let again = open(folder.path()).await;
    let mut consumer = again.consume(one(), 5).await.unwrap();
    for _ in 0..5 {
        let delivery = next(consumer.as_mut()).await;
        let expected = if delivery.message.id == seen.message.id { 2 } else { 1 };
        assert_eq!(delivery.deliveries, expected, "of message {}", delivery.message.id);
        delivery.ack().await.unwrap();
    }
}

#[tokio::test]
async fn a_late_ack_ends_nothing_that_is_held_by_somebody_else() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path()).await;
    publish(&queue, 0..1).await;
    let mut consumer = queue.consume(one(), 1).await.unwrap();
    let late = next(consumer.as_mut()).await;
    drop(consumer);
    let mut consumer = queue.consume(one(), 1).await.unwrap();
    let held = next(consumer.as_mut()).await;
    late.ack().await.unwrap();
    drop(held);
    assert_eq!(next(consumer.as_mut()).await.deliveries, 3);
}

#[tokio::test]
async fn folders_of_newer_versions_and_other_machines_are_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    for (file, text, word) in [
        ("format", String::from("antiphon queue 2\n"), "antiphon queue 2"),
        ("machine", format!("id\nboot\nattic\n{}\n", clock().now() - 5 * SECOND), "attic"),
    ] {
        let path = folder.path().join(file);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join(file), text).unwrap();
        let error = FileQueue::open(&path, full_access(), clock()).await.err().unwrap();
        assert!(matches!(&error, QueueError::Broken(reason) if reason.contains(word)), "{error}");
        assert!(!path.join("state.db").exists() && !path.join("topics").exists());
    }
}

#[tokio::test]
async fn publishing_to_nobody_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let queue = FileQueue::open(folder.path(), full_access(), clock()).await.unwrap();
    let refused = queue.publish(topic(), vec![message("0")]).await;
    assert!(matches!(refused, Err(QueueError::Broken(_))), "{refused:?}");
    queue.declare(&groups()).await.unwrap();
    queue.publish(topic(), vec![message("0")]).await.unwrap();
}

#[tokio::test]
async fn depths_count_sealed_open_and_consumed_segments() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_rolling(folder.path(), 1000).await;
    publish(&queue, 0..20).await;
    assert_eq!(left(&queue).await, 20);
    publish(&queue, 20..25).await;
    assert_eq!(left(&queue).await, 25);
    let mut consumer = queue.consume(one(), 5).await.unwrap();
    drain(consumer.as_mut(), 5).await;
    assert_eq!(left(&queue).await, 20);
    // Another process counts for itself.
    assert_eq!(left(&open(folder.path()).await).await, 20);
}

/// What is not acked: waiting, or already claimed for the consumer.
async fn left(queue: &FileQueue) -> u64 {
    let depths = queue.depths().await.unwrap();
    let depth = depths.iter().find(|depth| depth.group == one().name).unwrap();
    depth.waiting + depth.in_flight
}

/// A reader may see a record before its sync; when that fails, nothing else may ever lie in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_never_shifts_what_comes_after() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let options = Options { disk: Arc::clone(&disk) as antiphon_platform::disk::SharedDisk, ..Options::default() };
    let queue = FileQueue::open_with(folder.path(), full_access(), clock(), options).await.unwrap();
    queue.declare(&groups()).await.unwrap();
    publish(&queue, 0..1).await;
    let fail = disk.hold_and_fail_next_sync();
    let publishing = tokio::spawn({
        let queue = queue.clone();
        async move { queue.publish(topic(), vec![message("unconfirmed")]).await }
    });
    let mut consumer = queue.consume(one(), 10).await.unwrap();
    drain(consumer.as_mut(), 2).await;
    fail.send(()).unwrap();
    let refused = publishing.await.unwrap();
    assert!(matches!(refused, Err(QueueError::Unavailable(_))), "{refused:?}");
    publish(&queue, 1..30).await;
    let seen = drain(consumer.as_mut(), 29).await;
    assert_eq!(seen, (1..30).map(|id| id.to_string()).collect());
}

/// Not a test of its own: dies at the crash point that it is told; without a folder it does nothing.
#[tokio::test]
async fn another_process() {
    let Ok(folder) = std::env::var(TASK) else { return };
    let queue = FileQueue::open(Path::new(&folder), full_access(), Clock::system()).await.unwrap();
    publish(&queue, 0..10).await;
}

#[tokio::test]
async fn crash_points_kill_where_they_say() {
    for (point, least) in [("queue.before-confirm:4", 4), ("queue.after-confirm:7", 7)] {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()).await);
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "another_process"])
            .env(TASK, folder.path())
            .env("ANTIPHON_CRASH_POINT", point)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{point}");
        let queue = open(folder.path()).await;
        let mut consumer = queue.consume(one(), 10).await.unwrap();
        assert_eq!(drain(consumer.as_mut(), least).await, names(least));
    }
}
