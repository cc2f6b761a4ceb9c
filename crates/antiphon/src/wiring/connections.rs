//! Opening connections: from the role table, and from nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use antiphon_analysis::topics;
use antiphon_platform::blobs::Blobs;
use antiphon_platform::blobs::folder::{Access as BlobAccess, FolderBlobs};
use antiphon_platform::clock::Clock;
use antiphon_platform::config::Config;
use antiphon_platform::db::{Database, DbError, Migration, Reader};
use antiphon_platform::disk;
use antiphon_platform::queue::Queue;
use antiphon_platform::queue::files::FileQueue;
use anyhow::{Context, Result, bail};

use crate::data_folder::DataFolder;
use crate::roles::{Access, Permitted, Role};

/// How often a role that only reads looks whether the schema is there yet.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The open connections of the started roles.
pub struct Connections {
    database: Option<Database>,
    reader: Option<Reader>,
    blobs: BTreeMap<&'static str, Arc<dyn Blobs>>,
    queues: BTreeMap<&'static str, Arc<dyn Queue>>,
    /// The engine behind all queues.
    engine: Option<FileQueue>,
}

/// Where connections lead.
#[derive(Clone, Debug)]
pub struct Locations {
    /// `sqlite:PATH`.
    pub database: String,
    /// The queue's folder.
    pub queue: PathBuf,
    /// The blobs' folder.
    pub blobs: PathBuf,
}

/// Where the settings let connections lead, on the data folder `data`.
///
/// # Errors
/// For an engine that this version does not have.
pub fn locations(config: &Config, data: &Path) -> Result<Locations> {
    let database = match config.text("database.url")? {
        None => format!("sqlite:{}", data.join("antiphon.db").display()),
        Some(url) if url.starts_with("sqlite:") => url,
        Some(url) => bail!("database.url: {} is no engine of this version; sqlite:PATH is", scheme(&url)),
    };
    let folder = |key: &str, default: &str| -> Result<PathBuf> {
        match config.text(key)? {
            None => Ok(data.join(default)),
            Some(url) => match url.strip_prefix("folder:") {
                Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
                _ => bail!("{key}: {} is no engine of this version; folder:PATH is", scheme(&url)),
            },
        }
    };
    Ok(Locations { database, queue: folder("queue.url", "queue")?, blobs: folder("blobs.url", "blobs")? })
}

fn scheme(url: &str) -> &str {
    // What follows may be a password.
    url.split(':').next().unwrap_or_default()
}

/// The schema of all capabilities.
pub fn migrations() -> Vec<Migration> {
    [antiphon_identity::MIGRATIONS, antiphon_catalog::MIGRATIONS, antiphon_analysis::store::MIGRATIONS].concat()
}

impl Connections {
    /// Opens what `roles` may open. A role that only reads waits until one that writes has made the schema.
    ///
    /// # Errors
    /// When something cannot be used, with what to do.
    pub async fn open(roles: &[&'static Role], config: &Config, folder: &DataFolder) -> Result<Self> {
        let locations = locations(config, folder.path())?;
        let (database, reader) = match Permitted::of(roles).database {
            Access::Write => {
                let database =
                    Database::open(&locations.database, &migrations()).await.context("cannot open the database")?;
                let reader = database.reader();
                (Some(database), Some(reader))
            }
            Access::Read => (None, Some(open_reader(&locations.database).await?)),
            Access::None => (None, None),
        };
        let mut queues: BTreeMap<&'static str, Arc<dyn Queue>> = BTreeMap::new();
        let mut engine: Option<FileQueue> = None;
        for role in roles.iter().filter(|role| role.uses_queue()) {
            // One engine for all roles of the process: it has threads and files open.
            let queue = match &engine {
                Some(queue) => queue.with_access(role.queue_access()),
                None => {
                    let queue = open_file_queue(&locations.queue, role).await?;
                    queue.declare(&topics::ALL).await.context("cannot declare the queue's groups")?;
                    engine.insert(queue).clone()
                }
            };
            queues.insert(role.name, Arc::new(queue));
        }
        let mut blobs = BTreeMap::new();
        for access in [Access::Read, Access::Write] {
            let mut handle: Option<Arc<dyn Blobs>> = None;
            for role in roles.iter().filter(|role| role.blobs == access) {
                let opened = match handle.take() {
                    Some(opened) => opened,
                    None => open_blobs(&locations.blobs, access)?,
                };
                blobs.insert(role.name, Arc::clone(&opened));
                handle = Some(opened);
            }
        }
        Ok(Self { database, reader, blobs, queues, engine })
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

    /// Some handle of the queue, for checks and depths.
    pub fn any_queue(&self) -> Option<Arc<dyn Queue>> {
        self.queues.values().next().cloned()
    }

    /// The blobs, with the most that a started role may do, for checks.
    pub fn any_blobs(&self) -> Option<Arc<dyn Blobs>> {
        let most = self.blobs.keys().max_by_key(|name| crate::roles::find(name).map(|role| role.blobs))?;
        self.blobs.get(most).cloned()
    }
}

async fn open_reader(url: &str) -> Result<Reader> {
    let mut said = false;
    loop {
        match Reader::open(url, &migrations()).await {
            Ok(reader) => return Ok(reader),
            Err(DbError::Unavailable(reason)) => {
                if !said {
                    tracing::info!(reason, "waiting for the database");
                    said = true;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Err(error) => return Err(error).context("cannot open the database"),
        }
    }
}

/// Opens the blobs in a folder.
///
/// # Errors
/// When they cannot be used.
pub fn open_blobs(folder: &Path, access: Access) -> Result<Arc<dyn Blobs>> {
    let access = if access == Access::Write { BlobAccess::Write } else { BlobAccess::Read };
    disk::create_folders(&disk::LocalDisk, folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let blobs = FolderBlobs::open(disk::local(), folder, access).context("cannot open the blobs")?;
    Ok(Arc::new(blobs))
}

/// Opens the queue in a folder, with what `role` may do there.
///
/// # Errors
/// When it cannot be used.
pub async fn open_queue(folder: &Path, role: &Role) -> Result<Arc<dyn Queue>> {
    Ok(Arc::new(open_file_queue(folder, role).await?))
}

async fn open_file_queue(folder: &Path, role: &Role) -> Result<FileQueue> {
    FileQueue::open(folder, role.queue_access(), Clock::system()).await.context("cannot open the queue")
}
