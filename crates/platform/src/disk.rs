//! The file layer under all file engines: the few operations on which their durability rests.
//!
//! # Law
//! - What was written before [`DiskFile::sync_data`] returned `Ok` MUST survive a power cut, once the file's
//!   name does (cases: `nothing_acknowledged_is_lost`, `a_sync_left_out_is_noticed`).
//! - A created, renamed or removed name MUST survive a power cut once [`Disk::sync_folder`] of its folder returned
//!   `Ok` (cases: `nothing_acknowledged_is_lost`, `a_sync_left_out_is_noticed`).
//!
//! Everything else MAY be lost, in any order and in parts. The power-cut test (`tests/power_cut.rs`) takes that
//! word for word: it records these calls and makes disks on which only what was promised is certain.
//!
//! All calls block; engines make them on threads where that is allowed.

mod folder;
mod local;

use std::ffi::OsString;
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use folder::{FolderClaim, FolderError, claim_folder};
pub use local::{FileLock, LocalDisk, free_bytes, lock_file, lock_is_held, total_bytes};

/// A disk that engines share.
pub type SharedDisk = Arc<dyn Disk>;

/// The machine's own file system.
#[must_use]
pub fn local() -> SharedDisk {
    Arc::new(LocalDisk)
}

/// Names and folders of a file system.
pub trait Disk: Debug + Send + Sync {
    /// Makes a new, empty file for writing and reading.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when the name is taken; what the file system says otherwise.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file for reading only.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is none; what the file system says otherwise.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, replacing what has that name now, in one step.
    ///
    /// # Errors
    /// What the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is none; what the file system says otherwise.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes one folder whose parent exists.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when the name is taken; what the file system says otherwise.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// What the file system says.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// The entries of a folder: names without their path, in no particular order.
    ///
    /// # Errors
    /// What the file system says.
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>>;
}

/// An open file. Positions are explicit, so one handle may be shared.
pub trait DiskFile: Debug + Send + Sync {
    /// Writes all parts, one behind the other, from byte `offset` on.
    ///
    /// # Errors
    /// What the file system says; some of the bytes may have been written then.
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Makes the file's bytes and its length durable.
    ///
    /// # Errors
    /// What the file system says; nothing is known of unsynced bytes then.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file, or fills it with zeros, to `length` bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Reads from byte `offset` on; how many bytes, 0 at the end of the file.
    ///
    /// # Errors
    /// What the file system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Its length in bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn length(&self) -> io::Result<u64>;
}

/// Makes a folder and all its missing parents, durably.
///
/// # Errors
/// What the file system says; a file in the place of a folder is [`io::ErrorKind::NotADirectory`].
pub fn create_folders(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent_of(path);
    if parent != path {
        create_folders(disk, parent)?;
    }
    match disk.create_folder(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is not a folder", path.display())));
        }
        other => other?,
    }
    disk.sync_folder(parent)
}

/// Writes a small file so that a reader, a crash or a power cut sees the old one, the new one, or none, and
/// the new one for certain once this has returned `Ok`.
///
/// # Errors
/// What the file system says; the old file is in place then and no temporary file is left.
pub fn write_atomic(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_beside(path);
    let written = disk.create(&temporary).and_then(|file| {
        file.write_at(&[IoSlice::new(bytes)], 0)?;
        file.sync_data()
    });
    if let Err(error) = written.and_then(|()| disk.rename(&temporary, path)) {
        // The file system has said what is wrong; a second complaint about the same adds nothing.
        let _ = disk.remove(&temporary);
        return Err(error);
    }
    disk.sync_folder(parent_of(path))
}

/// A name beside `path` that no other writer uses now: `NAME.PID.COUNT.tmp`. What ends in `.tmp` was
/// never finished when its process is gone.
#[must_use]
pub fn temporary_beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(format!(".{}.{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    path.with_file_name(name)
}

/// The folder that holds `path`; the current folder for a bare name.
#[must_use]
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atomic_write_replaces_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_atomic(&LocalDisk, &path, b"old").unwrap();
        write_atomic(&LocalDisk, &path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(LocalDisk.list(folder.path()).unwrap(), ["file"]);
    }

    #[test]
    fn atomic_write_that_fails_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::create_dir(&path).unwrap();
        write_atomic(&LocalDisk, &path, b"new").unwrap_err();
        assert_eq!(LocalDisk.list(folder.path()).unwrap(), ["file"]);
    }

    #[test]
    fn folders_are_made_with_parents_and_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c");
        create_folders(&LocalDisk, &path).unwrap();
        create_folders(&LocalDisk, &path).unwrap();
        assert!(path.is_dir());
        std::fs::write(folder.path().join("file"), b"").unwrap();
        let error = create_folders(&LocalDisk, &folder.path().join("file/x")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn parts_are_written_in_order_at_an_offset() {
        let folder = tempfile::tempdir().unwrap();
        let file = LocalDisk.create(&folder.path().join("file")).unwrap();
        let many: Vec<Vec<u8>> = (0..3000u32).map(|n| n.to_le_bytes().to_vec()).collect();
        let parts: Vec<IoSlice<'_>> = many.iter().map(|part| IoSlice::new(part)).collect();
        file.write_at(&parts, 7).unwrap();
        assert_eq!(file.length().unwrap(), 7 + 12_000);
        let mut buffer = vec![0; 12_000];
        assert_eq!(file.read_at(&mut buffer, 7).unwrap(), 12_000);
        assert_eq!(buffer, many.concat());
        file.truncate(9).unwrap();
        assert_eq!(file.read_at(&mut buffer, 7).unwrap(), 2);
    }

    #[test]
    fn a_lock_has_one_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = lock_file(&path).unwrap().unwrap();
        assert!(lock_file(&path).unwrap().is_none());
        assert!(lock_is_held(&path).unwrap());
        drop(lock);
        assert!(!lock_is_held(&path).unwrap());
        assert!(lock_file(&path).unwrap().is_some());
    }
}
