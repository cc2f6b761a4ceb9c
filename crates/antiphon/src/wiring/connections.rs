//! Opening connections: from the role table, and from nothing else.
//!
//! What lies on this machine is there or is not, and a start on it that cannot work ends at once. A server may be slow
//! to come, be told its accounts later, or be mended: a start waits for it without end, and says for what.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antiphon_analysis::topics;
use antiphon_platform::address::Address;
use antiphon_platform::blobs::folder::FolderBlobs;
use antiphon_platform::blobs::{Access as BlobAccess, BlobError, Blobs};
use antiphon_platform::clock::Clock;
use antiphon_platform::db::{Database, DbError, Reader};
use antiphon_platform::disk;
use antiphon_platform::queue::files::FileQueue;
use antiphon_platform::queue::{Access as QueueAccess, Queue, QueueError};
use anyhow::{Context, Result};

use super::locations::{BLOBS, DATABASE, Location, Locations, QUEUE};
use super::schema::migrations;
use crate::roles::grants::queue_access;
use crate::roles::{Access, Permitted, Role};

/// Waits between two attempts to open what is not there yet: the first, doubled up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The open connections of the started roles.
pub struct Connections {
    database: Option<Database>,
    reader: Option<Reader>,
    blobs: BTreeMap<&'static str, Arc<dyn Blobs>>,
    queues: BTreeMap<&'static str, Arc<dyn Queue>>,
    /// The engine behind all queues, with all that the started roles may do together.
    engine: Option<QueueEngine>,
    /// Whether the database is a server with a clock of its own.
    database_is_server: bool,
}

/// What a start waits for, for `/readyz`. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Waiting(Arc<Mutex<Option<String>>>);

impl Waiting {
    /// Whether everything is open.
    ///
    /// # Errors
    /// What is waited for, and why it is not there.
    pub fn health(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    /// Opens something, again and again while its failure is one that time or an operator mends; each new reason is
    /// logged once.
    async fn until<T, E: fmt::Display>(
        &self,
        what: &str,
        passes: impl Fn(&E) -> bool,
        open: impl AsyncFn() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut pause = PAUSE.0;
        let mut said = String::new();
        loop {
            match open().await {
                Err(error) if passes(&error) => {
                    let reason = error.to_string();
                    if reason != said {
                        tracing::warn!(reason, "waiting for the {what}");
                        self.set(Some(format!("waiting for the {what}: {reason}")));
                        said = reason;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
                outcome => {
                    if outcome.is_ok() && !said.is_empty() {
                        tracing::info!("the {what} is there");
                    }
                    self.set(None);
                    return outcome;
                }
            }
        }
    }

    fn set(&self, reason: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

impl Connections {
    /// Opens what `roles` may open, waiting for what is not there yet. A role that only reads waits until one
    /// that writes has made the schema.
    ///
    /// # Errors
    /// When something on this machine cannot be used, with what to do.
    pub async fn open(roles: &[&'static Role], locations: &Locations, waiting: &Waiting) -> Result<Self> {
        let permitted = Permitted::of(roles);
        let (database, reader) = match permitted.database {
            Access::Write => {
                let database = open_database(&locations.database, waiting).await?;
                let reader = database.reader();
                (Some(database), Some(reader))
            }
            Access::Read => (None, Some(open_reader(&locations.database, waiting).await?)),
            Access::None => (None, None),
        };
        // One engine for all roles of the process: it has threads, files or connections open.
        let engine = if permitted.queue {
            Some(open_queue(&locations.queue, queue_access(roles), waiting).await?)
        } else {
            None
        };
        let of_role =
            |role: &&'static Role| Some((role.name, engine.as_ref()?.with_access(role.queue_access()).handle()));
        let queues = roles.iter().filter(|role| role.uses_queue()).filter_map(of_role).collect();
        let mut blobs = BTreeMap::new();
        for access in [Access::Read, Access::Write] {
            let mut handle: Option<Arc<dyn Blobs>> = None;
            for role in roles.iter().filter(|role| role.blobs == access) {
                let opened = match handle.take() {
                    Some(opened) => opened,
                    None => open_blobs(&locations.blobs, access, waiting).await?,
                };
                blobs.insert(role.name, Arc::clone(&opened));
                handle = Some(opened);
            }
        }
        let database_is_server = permitted.database != Access::None && !locations.database.is_local();
        Ok(Self { database, reader, blobs, queues, engine, database_is_server })
    }

    /// Gives back what this process holds of the queue, so that others need not wait for its end to be noticed.
    pub async fn close(&self) {
        if let Some(engine) = &self.engine {
            engine.close().await;
        }
    }

    /// The database for a role that may write it.
    ///
    /// # Errors
    /// When the role table does not give it to the role.
    pub fn database(&self, role: &str) -> Result<Database> {
        let permitted = crate::roles::find(role).is_some_and(|role| role.database == Access::Write);
        self.database
            .clone()
            .filter(|_| permitted)
            .with_context(|| format!("the role {role} may not write the database"))
    }

    /// The database for a role that may read it.
    ///
    /// # Errors
    /// When the role table does not give it to the role.
    pub fn reader(&self, role: &str) -> Result<Reader> {
        let permitted = crate::roles::find(role).is_some_and(|role| role.database >= Access::Read);
        self.reader.clone().filter(|_| permitted).with_context(|| format!("the role {role} may not read the database"))
    }

    /// The queue, with what a role may do there.
    ///
    /// # Errors
    /// When the role was not started, or may do nothing there.
    pub fn queue(&self, role: &str) -> Result<Arc<dyn Queue>> {
        self.queues.get(role).cloned().with_context(|| format!("the role {role} may not open the queue"))
    }

    /// Blobs, as a role may use them.
    ///
    /// # Errors
    /// When the role was not started, or may not use them.
    pub fn blobs(&self, role: &str) -> Result<Arc<dyn Blobs>> {
        self.blobs.get(role).cloned().with_context(|| format!("the role {role} may not open blobs"))
    }

    /// Some handle that reads the database, for checks.
    pub fn any_reader(&self) -> Option<Reader> {
        self.reader.clone()
    }

    /// The database, if it is a server with a clock of its own.
    pub fn database_server(&self) -> Option<Reader> {
        self.reader.clone().filter(|_| self.database_is_server)
    }

    /// A handle of the queue that may do what all started roles may, for checks and depths.
    pub fn whole_queue(&self) -> Option<Arc<dyn Queue>> {
        self.engine.as_ref().map(QueueEngine::handle)
    }

    /// The blobs, with the most that a started role may do, for checks.
    pub fn any_blobs(&self) -> Option<Arc<dyn Blobs>> {
        let most = self.blobs.keys().max_by_key(|name| crate::roles::find(name).map(|role| role.blobs))?;
        self.blobs.get(most).cloned()
    }
}

/// An engine of the queue, of which handles with other access can be made.
#[derive(Clone)]
pub enum QueueEngine {
    /// Files of this machine.
    Files(FileQueue),
    /// RabbitMQ.
    #[cfg(feature = "amqp")]
    RabbitMq(antiphon_platform::queue::amqp::AmqpQueue),
}

impl QueueEngine {
    /// Opens the engine, with what `access` lets the handle do.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn open(location: &Location, access: QueueAccess) -> Result<Self, QueueError> {
        match location {
            Location::Local(folder) => Ok(Self::Files(FileQueue::open(folder, access, Clock::system()).await?)),
            #[cfg(feature = "amqp")]
            Location::Server { address, .. } => {
                let queue = antiphon_platform::queue::amqp::AmqpQueue::open(address.clone(), access, Clock::system());
                Ok(Self::RabbitMq(queue.await?))
            }
            #[cfg(not(feature = "amqp"))]
            Location::Server { .. } => Err(QueueError::Broken(String::from("the feature amqp is not built in"))),
        }
    }

    /// As the port that capabilities know.
    #[must_use]
    pub fn handle(&self) -> Arc<dyn Queue> {
        match self {
            Self::Files(queue) => Arc::new(queue.clone()),
            #[cfg(feature = "amqp")]
            Self::RabbitMq(queue) => Arc::new(queue.clone()),
        }
    }

    fn with_access(&self, access: QueueAccess) -> Self {
        match self {
            Self::Files(queue) => Self::Files(queue.with_access(access)),
            #[cfg(feature = "amqp")]
            Self::RabbitMq(queue) => Self::RabbitMq(queue.with_access(access)),
        }
    }

    /// Exchanges that the account of a broker may not publish to, though the handle's access needs it.
    ///
    /// # Errors
    /// When it cannot be tried.
    pub async fn missing_permissions(&self) -> Result<Vec<String>, QueueError> {
        match self {
            Self::Files(_) => Ok(Vec::new()),
            #[cfg(feature = "amqp")]
            Self::RabbitMq(queue) => queue.missing_permissions().await,
        }
    }

    /// Gives back what this process holds.
    pub async fn close(&self) {
        match self {
            Self::Files(queue) => queue.close().await,
            #[cfg(feature = "amqp")]
            Self::RabbitMq(queue) => queue.close().await,
        }
    }
}

/// How the database port calls where it is.
pub fn database_address(location: &Location) -> Address {
    match location {
        Location::Local(path) => Address::fixed(format!("sqlite:{}", path.display())),
        Location::Server { address, .. } => address.clone(),
    }
}

async fn open_database(location: &Location, waiting: &Waiting) -> Result<Database> {
    let open = async || Database::open(database_address(location), &migrations()).await;
    let opened = waiting.until(DATABASE.name, |_| !location.is_local(), open).await;
    opened.context("cannot open the database")
}

async fn open_reader(location: &Location, waiting: &Waiting) -> Result<Reader> {
    let open = async || Reader::open(database_address(location), &migrations()).await;
    let passes = |error: &DbError| !location.is_local() || matches!(error, DbError::Unavailable(_));
    waiting.until(DATABASE.name, passes, open).await.context("cannot open the database")
}

async fn open_queue(location: &Location, access: QueueAccess, waiting: &Waiting) -> Result<QueueEngine> {
    let open = async || {
        let engine = QueueEngine::open(location, access.clone()).await?;
        engine.handle().declare(&topics::ALL).await?;
        Ok::<_, QueueError>(engine)
    };
    waiting.until(QUEUE.name, |_| !location.is_local(), open).await.context("cannot open the queue")
}

async fn open_blobs(location: &Location, access: Access, waiting: &Waiting) -> Result<Arc<dyn Blobs>> {
    let open = async || blobs_at(location, access).await;
    waiting.until(BLOBS.name, |_| !location.is_local(), open).await.context("cannot open the blobs")
}

/// The blobs at a place, for reading or writing.
///
/// # Errors
/// When they cannot be used.
pub async fn blobs_at(location: &Location, access: Access) -> Result<Arc<dyn Blobs>, BlobError> {
    match location {
        Location::Local(folder) => Ok(Arc::new(folder_of_blobs(folder, access)?)),
        #[cfg(feature = "s3")]
        Location::Server { address, .. } => {
            let opened = antiphon_platform::blobs::s3::S3Blobs::open(address.clone(), blob_access(access)).await;
            Ok(Arc::new(opened.map_err(|error| BlobError::Unavailable(error.to_string()))?))
        }
        #[cfg(not(feature = "s3"))]
        Location::Server { .. } => Err(BlobError::Unavailable(String::from("the feature s3 is not built in"))),
    }
}

fn folder_of_blobs(folder: &Path, access: Access) -> Result<FolderBlobs, BlobError> {
    let made = disk::create_folders(&disk::LocalDisk, folder);
    made.map_err(|error| BlobError::Unavailable(format!("cannot make {}: {error}", folder.display())))?;
    FolderBlobs::open(disk::local(), folder, blob_access(access))
}

fn blob_access(access: Access) -> BlobAccess {
    if access == Access::Write { BlobAccess::Write } else { BlobAccess::Read }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_start_waits_for_what_passes_and_says_for_what() {
        let waiting = Waiting::default();
        let tries = AtomicU32::new(0);
        let open = async || match tries.fetch_add(1, Ordering::SeqCst) {
            0..5 => {
                if tries.load(Ordering::SeqCst) > 1 {
                    let said = waiting.health().unwrap_err();
                    assert!(said.contains("the queue") && said.contains("no route"), "{said}");
                }
                Err(QueueError::Unavailable(String::from("no route to host")))
            }
            _ => Ok(7),
        };
        assert_eq!(waiting.until("queue", |_| true, open).await.unwrap(), 7);
        assert_eq!(waiting.health(), Ok(()));
        let refused = waiting.until("queue", |_| false, async || Err::<(), _>(QueueError::Broken(String::new()))).await;
        assert!(matches!(refused, Err(QueueError::Broken(_))));
    }
}
