//! A power cut, simulated: what file engines do is recorded, and disks are made as a cut may leave them.
//!
//! A test aid, behind the cargo feature `fault`. [`RecordedDisk`] stands under segments and blobs, `sqlite_vfs`
//! under SQLite; both write every operation to one [`Trace`]. [`Trace::image`] then takes the operations before some
//! moment and makes a folder in which only that is certain which was synced: the rest is kept, dropped or torn at random.
//! Nothing is really synced while recording, which changes no result and makes a thousand cuts a matter of minutes.

mod image;
pub mod sqlite_vfs;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use image::Random;

use crate::disk::{Disk, DiskFile, LocalDisk, parent_of};

/// Which syncs count. Leaving some out shows that the test would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    /// All, as on a disk that keeps its word.
    Kept,
    /// Those of files are ignored.
    FilesIgnored,
    /// Those of folders are ignored.
    FoldersIgnored,
}

/// Everything that was done to the files below one folder, in order.
#[derive(Debug)]
pub struct Trace {
    root: PathBuf,
    syncs: Syncs,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    events: Vec<Event>,
    /// The files by their names now.
    names: HashMap<PathBuf, FileId>,
    next: u64,
}

/// A file, whatever its name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId(u64);

/// One operation. Paths are relative to the trace's folder. A sync covers the events before its beginning.
#[derive(Debug)]
enum Event {
    Create { path: PathBuf, file: FileId },
    CreateFolder { path: PathBuf },
    Write { file: FileId, offset: u64, bytes: Vec<u8> },
    Truncate { file: FileId, length: u64 },
    Sync { file: FileId, covers: usize },
    Rename { from: PathBuf, to: PathBuf, file: FileId },
    Remove { path: PathBuf },
    SyncFolder { path: PathBuf, covers: usize },
    Mark(String),
}

impl Trace {
    /// An empty trace of what will be done below `root`, an empty folder.
    #[must_use]
    pub fn new(root: &Path, syncs: Syncs) -> Arc<Self> {
        Arc::new(Self { root: root.to_owned(), syncs, record: Mutex::default() })
    }

    /// Notes that something was promised, such as `published 17`.
    pub fn mark(&self, what: impl Into<String>) {
        self.record().events.push(Event::Mark(what.into()));
    }

    /// How many operations and marks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.record().events.len()
    }

    /// Whether nothing was done yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was promised before operation number `cut`.
    #[must_use]
    pub fn marks(&self, cut: usize) -> Vec<String> {
        let record = self.record();
        let before = record.events.iter().take(cut);
        before.filter_map(|event| if let Event::Mark(what) = event { Some(what.clone()) } else { None }).collect()
    }

    /// Makes in `folder` what a power cut before operation number `cut` may have left, as `random` decides.
    ///
    /// # Errors
    /// What the file system says.
    pub fn image(&self, cut: usize, random: &mut Random, folder: &Path) -> io::Result<()> {
        image::make(&self.record().events[..cut], random, folder)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The path below the trace's folder; `None` for a path elsewhere.
    fn inside(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.root).ok().map(Path::to_owned)
    }

    /// Runs an operation and records it if it succeeds, so that the order of the record is that of the disk.
    fn doing<T>(
        &self,
        run: impl FnOnce() -> io::Result<T>,
        event: impl FnOnce(&mut Record) -> Option<Event>,
    ) -> io::Result<T> {
        let mut record = self.record();
        let done = run()?;
        let event = event(&mut record);
        record.events.extend(event);
        Ok(done)
    }

    fn sync(&self, file: FileId) {
        if self.syncs != Syncs::FilesIgnored {
            let mut record = self.record();
            let covers = record.events.len();
            record.events.push(Event::Sync { file, covers });
        }
    }

    fn sync_folder(&self, path: PathBuf) {
        if self.syncs != Syncs::FoldersIgnored {
            let mut record = self.record();
            let covers = record.events.len();
            record.events.push(Event::SyncFolder { path, covers });
        }
    }
}

impl Record {
    fn create(&mut self, path: PathBuf) -> (FileId, Event) {
        self.next += 1;
        let file = FileId(self.next);
        self.names.insert(path.clone(), file);
        (file, Event::Create { path, file })
    }
}

/// The local disk, recorded.
#[derive(Clone, Debug)]
pub struct RecordedDisk(pub Arc<Trace>);

#[derive(Debug)]
struct RecordedFile {
    inner: Box<dyn DiskFile>,
    trace: Arc<Trace>,
    file: Option<FileId>,
}

impl Disk for RecordedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut file = None;
        let inside = self.0.inside(path);
        let inner = self.0.doing(
            || LocalDisk.create(path),
            |record| {
                let (id, event) = record.create(inside?);
                file = Some(id);
                Some(event)
            },
        )?;
        Ok(Box::new(RecordedFile { inner, trace: Arc::clone(&self.0), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        LocalDisk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let names = self.0.inside(from).zip(self.0.inside(to));
        self.0.doing(
            || LocalDisk.rename(from, to),
            |record| {
                let (from, to) = names?;
                let file = record.names.remove(&from)?;
                record.names.insert(to.clone(), file);
                Some(Event::Rename { from, to, file })
            },
        )
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let inside = self.0.inside(path);
        self.0.doing(
            || LocalDisk.remove(path),
            |record| {
                let path = inside?;
                record.names.remove(&path);
                Some(Event::Remove { path })
            },
        )
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let inside = self.0.inside(path);
        self.0.doing(|| LocalDisk.create_folder(path), |_| Some(Event::CreateFolder { path: inside? }))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        if let Some(path) = self.0.inside(path) {
            self.0.sync_folder(path);
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        LocalDisk.list(path)
    }
}

impl DiskFile for RecordedFile {
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.trace.doing(
            || self.inner.write_at(parts, offset),
            |_| {
                let bytes = parts.iter().flat_map(|part| part.iter().copied()).collect();
                Some(Event::Write { file: self.file?, offset, bytes })
            },
        )
    }

    fn sync_data(&self) -> io::Result<()> {
        if let Some(file) = self.file {
            self.trace.sync(file);
        }
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.trace.doing(|| self.inner.truncate(length), |_| Some(Event::Truncate { file: self.file?, length }))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }
}

/// The folder of a path below the trace's folder; the trace's folder itself is the empty path.
fn folder_of(path: &Path) -> PathBuf {
    let parent = parent_of(path);
    if parent == Path::new(".") { PathBuf::new() } else { parent.to_owned() }
}
