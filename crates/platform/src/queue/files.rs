//! The embedded engine: segment files for messages, a small database for who has consumed them.
//!
//! Several processes may share a folder on one machine. What lies where:
//!
//! ```text
//! format, machine          what the folder is, and which machine uses it
//! topics/TOPIC/*.segment   messages, see `segment`
//! state.db                 cursors and unsettled deliveries, see `state`
//! owners/*.lock            who lives, see `owner`
//! wake/*.pipe              whom to wake, see `wake`
//! ```
//!
//! A group that is declared while messages are still kept for other groups gets those as well.

mod consumer;
mod depth;
mod owner;
mod reader;
mod segment;
mod state;
mod wake;
mod writer;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{Semaphore, oneshot};

use crate::clock::Clock;
use crate::disk::{self, FolderError, SharedDisk, claim_folder, create_folders};
use crate::queue::{Access, Consumer, Depth, Group, Message, Queue, QueueError, Topic};
use consumer::{Context, FileConsumer};
use owner::Owner;
use reader::Hub;
use segment::Encoded;
use state::{Kind, State};
use wake::{Signal, Wake};
use writer::{Job, Writer};

/// What the folder is and which version, as its file `format` says it.
const FORMAT: &str = "antiphon queue 1";

/// How long a publish waits for its confirm.
const PATIENCE: Duration = Duration::from_secs(4);

/// Memory for messages that wait to be written, in KiB.
const WAITING: u32 = 64 * 1024;

/// A handle to the queue in a folder, with some access. Cheap to clone.
#[derive(Clone)]
pub struct FileQueue {
    engine: Arc<Engine>,
    access: Access,
}

/// What tests replace: the disk under the segments and the VFS under the state.
#[derive(Clone, Debug)]
pub struct Options {
    /// The disk that segments lie on.
    pub disk: SharedDisk,
    /// The name of the SQLite VFS for the state; the default one if there is none.
    pub vfs: Option<&'static str>,
    /// A segment is sealed when it has grown over this many bytes, and the next one begun;
    pub roll: u64,
    /// or when it has been open for so long. What is consumed lies on the disk for no longer.
    pub roll_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { disk: disk::local(), vfs: None, roll: segment::ROLL, roll_after: segment::ROLL_AFTER }
    }
}

struct Engine {
    folder: PathBuf,
    clock: Clock,
    options: Options,
    owner: Arc<Owner>,
    wake: Arc<Wake>,
    state: State,
    memory: Arc<Semaphore>,
    writing: writer::Setting,
    writers: Mutex<Writers>,
    hubs: Mutex<HashMap<(&'static str, Kind), Weak<Hub>>>,
    counts: Arc<depth::Counts>,
    looked_for_dead: Arc<Mutex<Option<Instant>>>,
}

#[derive(Debug, Default)]
struct Writers {
    open: HashMap<Topic, Writer>,
    closed: bool,
}

impl FileQueue {
    /// Opens the queue in `folder`, making it if it is missing.
    ///
    /// # Errors
    /// [`QueueError::Broken`] when the folder is damaged, made by a newer version or used by another machine;
    /// [`QueueError::Unavailable`] when it cannot be read or written now.
    pub async fn open(folder: &Path, access: Access, clock: Clock) -> Result<Self, QueueError> {
        Self::open_with(folder, access, clock, Options::default()).await
    }

    /// As [`open`](Self::open), on another disk.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn open_with(folder: &Path, access: Access, clock: Clock, options: Options) -> Result<Self, QueueError> {
        let (path, now, disk) = (folder.to_owned(), clock.now(), Arc::clone(&options.disk));
        let prepared = tokio::task::spawn_blocking(move || prepare(&path, now, disk));
        let (claim, owner) = prepared.await.map_err(|error| QueueError::Unavailable(error.to_string()))??;
        let wake = Arc::new(Wake::new(folder, owner.name()));
        let state = State::open(state::Setting {
            folder: folder.to_owned(),
            disk: Arc::clone(&options.disk),
            clock: clock.clone(),
            owner: Arc::clone(&owner),
            wake: Arc::clone(&wake),
            claim,
            vfs: options.vfs,
        })
        .await?;
        let writing = writer::Setting {
            folder: folder.to_owned(),
            disk: Arc::clone(&options.disk),
            owner: Arc::clone(&owner),
            wake: Arc::clone(&wake),
            segments: Arc::new(AtomicU64::new(0)),
            trouble: Arc::default(),
            roll: options.roll,
            roll_after: options.roll_after,
        };
        let engine = Engine {
            folder: folder.to_owned(),
            clock,
            options,
            owner,
            wake,
            state,
            memory: Arc::new(Semaphore::new(WAITING as usize)),
            writing,
            writers: Mutex::default(),
            hubs: Mutex::default(),
            counts: Arc::default(),
            looked_for_dead: Arc::default(),
        };
        Ok(Self { engine: Arc::new(engine), access })
    }

    /// The same queue, same threads and files, with another access.
    #[must_use]
    pub fn with_access(&self, access: Access) -> Self {
        Self { engine: Arc::clone(&self.engine), access }
    }

    /// Ends this process's part: what is being written is finished, what consumers hold is given back, without
    /// counting what they have not seen. Later publishes are refused.
    pub async fn close(&self) {
        for hub in self.engine.hubs().drain().filter_map(|(_, hub)| hub.upgrade()) {
            hub.close();
        }
        let writers = {
            let mut writers = self.engine.writers();
            writers.closed = true;
            std::mem::take(&mut writers.open)
        };
        let closed = tokio::task::spawn_blocking(move || writers.into_values().for_each(Writer::close));
        if let Err(error) = closed.await {
            tracing::error!(%error, "closing the queue failed");
        }
        // An answer to this comes after everything that was given back.
        let _ = self.engine.state.groups().await;
    }

    async fn send(&self, topic: Topic, only: Option<Group>, messages: &[Message]) -> Result<(), QueueError> {
        if messages.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        let published = self.engine.clock.now();
        let only = only.map(|group| group.name);
        let records: Result<Vec<Encoded>, QueueError> =
            messages.iter().map(|message| Encoded::new(message, only, published)).collect();
        let records = records?;
        let sent = tokio::time::timeout_at(deadline.into(), self.confirm(topic, records, deadline));
        sent.await.unwrap_or_else(|_| {
            Err(QueueError::Unavailable(format!("not confirmed within {} s: the disk is too slow", PATIENCE.as_secs())))
        })?;
        crate::crash::point("queue.after-confirm");
        Ok(())
    }

    async fn confirm(&self, topic: Topic, records: Vec<Encoded>, deadline: Instant) -> Result<(), QueueError> {
        self.engine.require_group(topic).await?;
        let size: u64 = records.iter().map(Encoded::size).sum();
        let share = u32::try_from(size.div_ceil(1024)).unwrap_or(WAITING).clamp(1, WAITING);
        let permit = Arc::clone(&self.engine.memory).acquire_many_owned(share).await;
        let permit = permit.map_err(|_| QueueError::Unavailable(String::from("the queue is closed")))?;
        let waiting = WAITING as usize - self.engine.memory.available_permits();
        metrics::gauge!("antiphon_queue_write_waiting_bytes").set(waiting as f64 * 1024.0);
        let (reply, confirmed) = oneshot::channel();
        self.engine.write(topic, Job { records, deadline, reply, permit })?;
        confirmed.await.map_err(|_| QueueError::Unavailable(String::from("the queue is closed")))?
    }

    fn consumer(&self, group: Group, prefetch: usize, kind: Kind) -> Result<Box<dyn Consumer>, QueueError> {
        Ok(Box::new(FileConsumer::new(self.engine.hub(group, kind)?, prefetch)))
    }
}

/// Folders, claim and owner.
fn prepare(
    folder: &Path,
    now: crate::clock::Micros,
    disk: SharedDisk,
) -> Result<(disk::FolderClaim, Arc<Owner>), QueueError> {
    let claim = claim_folder(Arc::clone(&disk), folder, FORMAT, now).map_err(|error| match error {
        FolderError::Io { .. } => QueueError::Unavailable(error.to_string()),
        FolderError::Format { .. } | FolderError::Elsewhere { .. } => QueueError::Broken(error.to_string()),
    })?;
    let unavailable = |error: std::io::Error| QueueError::Unavailable(format!("{}: {error}", folder.display()));
    for name in ["topics", "owners", "wake"] {
        create_folders(disk.as_ref(), &folder.join(name)).map_err(unavailable)?;
    }
    owner::bury(folder).map_err(unavailable)?;
    Ok((claim, Arc::new(Owner::new(folder, now).map_err(unavailable)?)))
}

impl Engine {
    fn writers(&self) -> MutexGuard<'_, Writers> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hubs(&self) -> MutexGuard<'_, HashMap<(&'static str, Kind), Weak<Hub>>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishing to nobody would be losing.
    async fn require_group(&self, topic: Topic) -> Result<(), QueueError> {
        if self.writers().open.contains_key(&topic) {
            return Ok(());
        }
        if self.state.groups().await?.iter().any(|(_, bound)| bound == topic.0) {
            return Ok(());
        }
        Err(QueueError::Broken(format!("no group is bound to {}: declare one before publishing", topic.0)))
    }

    fn write(&self, topic: Topic, job: Job) -> Result<(), QueueError> {
        let mut writers = self.writers();
        if writers.closed {
            return Err(QueueError::Unavailable(String::from("the queue is closed")));
        }
        match writers.open.entry(topic) {
            Entry::Occupied(writer) => writer.get().send(job),
            Entry::Vacant(place) => {
                let writer = Writer::start(self.writing.clone(), topic.0);
                let writer = writer.map_err(|error| QueueError::Unavailable(format!("no thread to write: {error}")))?;
                place.insert(writer).send(job)
            }
        }
    }

    fn hub(&self, group: Group, kind: Kind) -> Result<Arc<Hub>, QueueError> {
        let mut hubs = self.hubs();
        if let Some(hub) = hubs.get(&(group.name, kind)).and_then(Weak::upgrade) {
            return Ok(hub);
        }
        let signal = Arc::new(Signal::default());
        self.wake.register(group.topic.0, &signal);
        let context =
            Context { state: self.state.clone(), clock: self.clock.clone(), signal, topic: group.topic.0, kind };
        let hub = Hub::start(reader::Setting {
            folder: self.folder.clone(),
            disk: Arc::clone(&self.options.disk),
            owner: self.owner.name().to_owned(),
            group: group.name,
            context,
            looked_for_dead: Arc::clone(&self.looked_for_dead),
        });
        let hub = Arc::new(hub.map_err(|error| QueueError::Unavailable(format!("no thread to read: {error}")))?);
        hubs.insert((group.name, kind), Arc::downgrade(&hub));
        Ok(hub)
    }
}

#[async_trait]
impl Queue for FileQueue {
    async fn declare(&self, groups: &[Group]) -> Result<(), QueueError> {
        let known = self.engine.state.groups().await?;
        for group in groups {
            if let Some((_, topic)) = known.iter().find(|(name, topic)| name == group.name && topic != group.topic.0) {
                return Err(QueueError::Broken(format!("the group {} is bound to {topic} already", group.name)));
            }
        }
        let new: Vec<_> = groups
            .iter()
            .filter(|group| known.iter().all(|(name, _)| name != group.name))
            .map(|group| (group.name, group.topic.0))
            .collect();
        if new.is_empty() { Ok(()) } else { self.engine.state.declare(new).await }
    }

    async fn publish(&self, topic: Topic, messages: Vec<Message>) -> Result<(), QueueError> {
        self.access.check_publish(topic)?;
        self.send(topic, None, &messages).await
    }

    async fn publish_to_group(&self, group: Group, message: Message) -> Result<(), QueueError> {
        self.access.check_publish(group.topic)?;
        self.send(group.topic, Some(group), &[message]).await
    }

    async fn consume(&self, group: Group, prefetch: usize) -> Result<Box<dyn Consumer>, QueueError> {
        self.access.check_consume(group)?;
        self.consumer(group, prefetch, Kind::Live)
    }

    async fn consume_dead(&self, group: Group, prefetch: usize) -> Result<Box<dyn Consumer>, QueueError> {
        self.access.check_consume_dead(group)?;
        self.consumer(group, prefetch, Kind::Dead)
    }

    async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        let groups = self.engine.state.depths().await?;
        let engine = Arc::clone(&self.engine);
        let counted = tokio::task::spawn_blocking(move || {
            let now = engine.clock.now();
            depth::depths(&engine.folder, engine.options.disk.as_ref(), &engine.counts, groups, now)
        });
        let depths = counted.await.map_err(|error| QueueError::Unavailable(error.to_string()))?;
        depths.map_err(|error| QueueError::Unavailable(format!("{}: {error}", self.engine.folder.display())))
    }

    async fn check(&self) -> Result<(), QueueError> {
        self.engine.state.groups().await?;
        let writing = self.engine.writing.clone();
        let checked = tokio::task::spawn_blocking(move || writer::check(&writing)).await;
        checked.map_err(|error| QueueError::Unavailable(error.to_string()))?.map_err(QueueError::Unavailable)
    }
}
