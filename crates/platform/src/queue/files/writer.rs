//! One topic's writer: a thread that appends what waits, syncs once, and confirms all of it.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::owner::Owner;
use super::segment::{self, Encoded, HEADER};
use super::wake::Wake;
use crate::disk::{DiskFile, SharedDisk, create_folders, free_bytes, temporary_beside, total_bytes};
use crate::queue::QueueError;

/// The most that is written before a sync, in bytes (one publish may be longer).
const GROUP: u64 = 8 * 1024 * 1024;

/// Space that publishing leaves to the state, the database and the logs, so that consumers can go on and make room.
const RESERVE: u64 = 32 * 1024 * 1024;

/// One call of publish.
pub(super) struct Job {
    pub(super) records: Vec<Encoded>,
    /// Nobody waits for it afterwards.
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<(), QueueError>>,
    /// Its share of the memory for waiting messages.
    pub(super) permit: OwnedSemaphorePermit,
}

/// What all writers of an engine share.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) folder: PathBuf,
    pub(super) disk: SharedDisk,
    pub(super) owner: Arc<Owner>,
    pub(super) wake: Arc<Wake>,
    /// Numbers this owner's segments.
    pub(super) segments: Arc<AtomicU64>,
    /// Why the last publish failed, until one succeeds.
    pub(super) trouble: Arc<Mutex<Option<String>>>,
    /// A segment is sealed when it has grown over this many bytes,
    pub(super) roll: u64,
    /// or has been open for so long.
    pub(super) roll_after: Duration,
}

/// A handle to the thread. Its channel is bounded by the permits that jobs hold.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

impl Writer {
    pub(super) fn start(setting: Setting, topic: &'static str) -> io::Result<Self> {
        let (jobs, receiver) = channel();
        let work = move || {
            Work { folder: segment::topic_folder(&setting.folder, topic), setting, topic, open: None }.run(&receiver)
        };
        let thread = std::thread::Builder::new().name(format!("queue-{topic}")).spawn(work)?;
        Ok(Self { jobs, thread })
    }

    pub(super) fn send(&self, job: Job) -> Result<(), QueueError> {
        self.jobs.send(job).map_err(|_| QueueError::Unavailable(String::from("the queue is closed")))
    }

    /// Writes what waits, seals the segment and ends the thread.
    pub(super) fn close(self) {
        drop(self.jobs);
        if self.thread.join().is_err() {
            tracing::error!("a writer of the queue panicked");
        }
    }
}

struct Work {
    setting: Setting,
    topic: &'static str,
    folder: PathBuf,
    open: Option<Open>,
}

/// The segment that is being written.
struct Open {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    salt: u64,
    /// Everything before is durable.
    end: u64,
    records: u64,
    begun: Instant,
}

impl Work {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Some(first) = self.next(jobs) {
            let mut group = Vec::new();
            let mut size = 0;
            for job in std::iter::once(first).chain(jobs.try_iter()) {
                if job.deadline <= Instant::now() {
                    // Its publisher has given up; the reply goes nowhere.
                    continue;
                }
                size += job.records.iter().map(Encoded::size).sum::<u64>();
                group.push(job);
                if size >= GROUP {
                    break;
                }
            }
            self.confirm(group, size);
        }
        self.seal();
    }

    /// The next job; `None` when there will be none. What was published is kept until its segment is sealed and consumed, so one to
    /// which nothing is added is sealed as well.
    fn next(&mut self, jobs: &Receiver<Job>) -> Option<Job> {
        loop {
            let Some(open) = &self.open else { return jobs.recv().ok() };
            match jobs.recv_timeout(self.setting.roll_after.saturating_sub(open.begun.elapsed())) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    self.seal();
                    self.setting.wake.topic(self.topic);
                }
            }
        }
    }

    fn confirm(&mut self, mut group: Vec<Job>, size: u64) {
        if group.is_empty() {
            return;
        }
        let begun = Instant::now();
        let appended = self.append(&mut group, size).map_err(|error| explain(&error, &self.folder));
        metrics::histogram!("antiphon_queue_write_seconds", "topic" => self.topic)
            .record(begun.elapsed().as_secs_f64());
        metrics::counter!("antiphon_queue_syncs_total", "topic" => self.topic).increment(1);
        if appended.is_ok() {
            metrics::counter!("antiphon_queue_published_total", "topic" => self.topic)
                .increment(group.iter().map(|job| job.records.len() as u64).sum());
        }
        crash_point(&appended);
        *self.setting.trouble.lock().unwrap_or_else(PoisonError::into_inner) = appended.as_ref().err().cloned();
        if let Err(reason) = &appended {
            tracing::warn!(topic = self.topic, messages = group.len(), reason, "could not publish");
        }
        for job in group {
            // Memory first, then the news: whoever waits for memory may go on at once.
            drop(job.permit);
            let _ = job.reply.send(appended.clone().map_err(QueueError::Unavailable));
        }
        if appended.is_ok() {
            self.setting.wake.topic(self.topic);
        }
    }

    /// Appends a group of jobs to the open segment, durably, or to none.
    fn append(&mut self, group: &mut [Job], size: u64) -> io::Result<()> {
        leave_reserve(&self.setting.folder, size)?;
        let Setting { roll, roll_after, .. } = self.setting;
        if self.open.as_ref().is_some_and(|open| open.end >= roll || open.begun.elapsed() >= roll_after) {
            self.seal();
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let opened = self.begin()?;
                self.open.insert(opened)
            }
        };
        let written = write(open, &self.folder, &self.setting, group);
        if written.is_err() {
            // A new segment takes over, so that no reader ever sees other bytes in the place of these.
            if let Some(open) = self.open.take() {
                abandon(&open, &self.setting);
            }
        }
        written
    }

    /// Ends the open segment with its count. Without it, readers count for themselves.
    fn seal(&mut self) {
        let Some(open) = self.open.take() else { return };
        let footer = segment::footer(open.salt, open.end, open.records);
        if let Err(error) = open.file.write_at(&[IoSlice::new(&footer)], open.end) {
            tracing::debug!(%error, path = %open.path.display(), "could not seal a segment");
        }
    }

    fn begin(&self) -> io::Result<Open> {
        create_folders(self.setting.disk.as_ref(), &self.folder)?;
        let number = self.setting.segments.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(segment::name(self.setting.owner.name(), number));
        let mut salt = [0; 8];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        let file = self.setting.disk.create(&path)?;
        Ok(Open { file, path, salt: u64::from_le_bytes(salt), end: 0, records: 0, begun: Instant::now() })
    }
}

fn crash_point(appended: &Result<(), String>) {
    if appended.is_ok() {
        crate::crash::point("queue.before-confirm");
    }
}

fn write(open: &mut Open, folder: &Path, setting: &Setting, group: &mut [Job]) -> io::Result<()> {
    let header = segment::header(open.salt);
    let begins = open.end == 0;
    let mut end = open.end.max(HEADER);
    let mut parts: Vec<IoSlice<'_>> = Vec::new();
    if begins {
        parts.push(IoSlice::new(&header));
    }
    let mut records = open.records;
    for record in group.iter_mut().flat_map(|job| &mut job.records) {
        let size = record.size();
        parts.extend(record.place(open.salt, end).map(IoSlice::new));
        end += size;
        records += 1;
    }
    open.file.write_at(&parts, open.end)?;
    open.file.sync_data()?;
    if begins {
        setting.disk.sync_folder(folder)?;
    }
    open.end = end;
    open.records = records;
    Ok(())
}

/// Ends a segment whose last write failed at its last confirmed byte.
fn abandon(open: &Open, setting: &Setting) {
    let cut = if open.records == 0 { setting.disk.remove(&open.path) } else { open.file.truncate(open.end) };
    if let Err(error) = cut {
        // Harmless: what stays behind was never confirmed, and may be delivered or not.
        tracing::debug!(%error, path = %open.path.display(), "could not cut an unconfirmed tail");
    }
}

/// Refuses to fill the disk to the brim: 32 MiB, or a twentieth of a small disk, stay free.
pub(super) fn leave_reserve(folder: &Path, size: u64) -> io::Result<()> {
    let free = free_bytes(folder)?;
    if free < size.saturating_add(RESERVE.min(total_bytes(folder)? / 20)) {
        return Err(io::Error::new(io::ErrorKind::StorageFull, format!("only {free} bytes are free")));
    }
    Ok(())
}

fn explain(error: &io::Error, folder: &Path) -> String {
    let folder = folder.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("the disk of {folder} is full ({error}): make room, it goes on by itself")
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            format!("{folder} cannot be written ({error})")
        }
        _ => format!("writing to {folder} failed: {error}"),
    }
}

/// Whether a publish could succeed now; what to do if not.
pub(super) fn check(setting: &Setting) -> Result<(), String> {
    let folder = &setting.folder;
    let trouble = setting.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
    leave_reserve(folder, 0)
        .and_then(|()| Ok(rustix::fs::access(folder, rustix::fs::Access::WRITE_OK)?))
        .and_then(|()| if trouble.is_some() { probe(setting) } else { Ok(()) })
        .map_err(|error| explain(&error, folder))
}

/// Tries what failed last time on a file of its own.
fn probe(setting: &Setting) -> io::Result<()> {
    let path = temporary_beside(&setting.folder.join("probe"));
    let written = setting.disk.create(&path).and_then(|file| {
        file.write_at(&[IoSlice::new(&[0; 4096])], 0)?;
        file.sync_data()
    });
    let removed = setting.disk.remove(&path);
    written.and(removed)
}
