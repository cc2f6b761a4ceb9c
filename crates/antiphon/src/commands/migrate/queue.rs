//! What waits in the embedded queue, into another queue; what is dead there, into the target's database.
//!
//! The source stays as it is: messages are taken from a copy of its folder, which shares the bytes of the segments. A run
//! that was cut off goes on with the copy. A message may arrive twice; consumers know a repeat by its id.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_analysis::store::dead_letters;
use antiphon_analysis::topics;
use antiphon_platform::clock::{Clock, Micros, SECOND, micros};
use antiphon_platform::db::Database;
use antiphon_platform::queue::files::FileQueue;
use antiphon_platform::queue::{Access, BACKOFF, DELIVERY_LIMIT, Group, Queue};
use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::progress::Progress;

/// Messages that are moved at once; one has about 1 MiB at most.
const AT_ONCE: usize = 64;

/// How long the next message is waited for before what is left is counted again, and how long nothing may come of
/// a group that has some left.
const NEXT: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(60);

/// Messages of one group that went over.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// Into the queue.
    pub waiting: u64,
    /// Into the database.
    pub dead: u64,
}

/// The copy of a queue's folder, taken if it is not there yet.
///
/// # Errors
/// What the file system says.
pub fn copy_of(folder: &Path) -> Result<PathBuf> {
    let copy = folder.with_extension("migrating");
    if !copy.exists() {
        let unfinished = folder.with_extension("migrating-unfinished");
        let made = remove(&unfinished).and_then(|()| copy_folder(folder, &unfinished));
        made.and_then(|()| fs::rename(&unfinished, &copy))
            .with_context(|| format!("cannot copy {} to {}", folder.display(), copy.display()))?;
    }
    Ok(copy)
}

/// Removes a folder and what is in it, if it is there.
///
/// # Errors
/// What the file system says.
pub fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        let is_segment = entry.path().extension().is_some_and(|extension| extension == "segment");
        if kind.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if is_segment && fs::hard_link(entry.path(), &target).is_ok() {
            // Segments are only ever added to, and nobody adds to these any more.
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Moves everything from the queue in `folder`.
///
/// # Errors
/// Those of the queues and of the database.
pub async fn drain(
    folder: &Path,
    target: Arc<dyn Queue>,
    database: Database,
    json: bool,
) -> Result<Vec<(Group, Moved)>> {
    let access = Access { publish: Vec::new(), consume: topics::ALL.to_vec(), dead: topics::ALL.to_vec() };
    // On a clock that is ahead of every retry, everything that waits is due.
    let longest: Micros = BACKOFF.iter().map(|step| micros(*step)).sum();
    let ahead = Clock::manual(Clock::system().now() + 2 * longest * Micros::from(DELIVERY_LIMIT) + 3_600 * SECOND);
    let source = FileQueue::open(folder, access, ahead).await.context("cannot open the queue's copy")?;
    source.declare(&topics::ALL).await?;
    let before = source.depths().await?;
    let mut moved = Vec::new();
    for group in topics::ALL {
        let depth = before.iter().find(|depth| depth.group == group.name);
        let dead = depth.map_or(0, |depth| depth.dead);
        let total = depth.map_or(0, |depth| depth.waiting + depth.in_flight);
        let progress = Progress::new(&format!("queue {}", group.name), if json { 0 } else { total });
        let waiting = drain_group(&source, target.as_ref(), group, &progress).await?;
        moved.push((group, Moved { waiting, dead }));
    }
    // As role `write` does it: into the table, and what the letters are about has failed.
    let stop = CancellationToken::new();
    let taking = dead_letters::run(database, Arc::new(source.clone()), Clock::system(), stop.clone());
    let (taken, ()) = tokio::join!(none_left(&source, &stop), taking);
    taken?;
    source.close().await;
    Ok(moved)
}

/// Moves the messages of one group; how many.
async fn drain_group(source: &FileQueue, target: &dyn Queue, group: Group, progress: &Progress) -> Result<u64> {
    let mut consumer = source.consume(group, AT_ONCE).await?;
    let mut moved = 0;
    let mut last = Instant::now();
    loop {
        let mut batch = Vec::with_capacity(AT_ONCE);
        while batch.len() < AT_ONCE
            && let Ok(delivery) = tokio::time::timeout(NEXT, consumer.next()).await
        {
            batch.push(delivery?);
        }
        if batch.is_empty() {
            let depths = source.depths().await?;
            let left = depths.iter().find(|depth| depth.group == group.name);
            let left = left.map_or(0, |depth| depth.waiting + depth.in_flight);
            if left == 0 {
                return Ok(moved);
            }
            ensure!(
                last.elapsed() < PATIENCE,
                "{left} messages of the group {} do not come out of the queue",
                group.name
            );
            continue;
        }
        let published = batch.iter().map(|delivery| target.publish_to_group(group, delivery.message.clone()));
        try_join_all(published).await.context("cannot publish to the target's queue")?;
        for delivery in batch {
            delivery.ack().await?;
            moved += 1;
        }
        progress.add(AT_ONCE as u64);
        last = Instant::now();
    }
}

/// Waits until no group has dead letters any more, then fires `stop`.
async fn none_left(source: &FileQueue, stop: &CancellationToken) -> Result<()> {
    let waited = async {
        loop {
            if source.depths().await?.iter().all(|depth| depth.dead == 0) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let outcome = waited.await;
    stop.cancel();
    outcome
}
