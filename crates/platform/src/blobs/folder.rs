//! The embedded engine: a folder of files.
//!
//! An object is one file: its bytes, then a trailer with their number and SHA-256, so that bytes and checksum
//! cannot part, and tools that read audio still can. It is written under a temporary name, synced, renamed and its
//! folder synced. Folders carry a `+` behind their name, so that the keys `a` and `a/b` can both exist; a segment of
//! a key that is too long for a file name goes on in folders with `++`.
//!
//! Temporary files lie in `unfinished~`, named by their owner, who holds a lock as long as it lives: the next
//! one to open the folder removes what the dead have left.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use sha2::{Digest, Sha256};

pub use super::Access;
use super::{BlobError, BlobInfo, Blobs, ByteStream, Permissions, check_key};
use crate::disk::{self, DiskFile, FileLock, SharedDisk};
use crate::secrets::Secret;

/// Ends every object: "Antiphon blob 1".
const MAGIC: &[u8; 8] = b"ANTIBLB1";
const TRAILER: u64 = 48;

/// Bytes that are gathered before a write, and read at a time.
const CHUNK: usize = 256 * 1024;

/// The longest part of a segment in one file name; file systems allow 255 bytes.
const NAME: usize = 200;

/// Free space in bytes below which [`Blobs::check`] says that a put may fail; on small disks a twentieth of them.
const RESERVE: u64 = 64 << 20;

/// Blobs in a folder. Several processes may share it.
pub struct FolderBlobs {
    disk: SharedDisk,
    root: PathBuf,
    owner: Option<Arc<Owner>>,
}

/// Names temporary files; alive as long as its lock is held.
struct Owner {
    folder: PathBuf,
    token: String,
    count: AtomicU64,
    _lock: FileLock,
}

impl FolderBlobs {
    /// Opens the folder `root`; with [`Access::Write`] it is made if needed, and what dead processes left
    /// unfinished is removed. Blocks.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`] when the folder cannot be used.
    pub fn open(disk: SharedDisk, root: &Path, access: Access) -> Result<Self, BlobError> {
        let owner = match access {
            Access::Read => None,
            Access::Write => Some(Arc::new(Owner::new(&disk, root).map_err(|error| unavailable(&error))?)),
        };
        Ok(Self { disk, root: root.to_owned(), owner })
    }

    /// The keys of all objects, in no order.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`] when a folder cannot be listed.
    pub async fn keys(&self) -> Result<Vec<String>, BlobError> {
        let (disk, root) = (Arc::clone(&self.disk), self.root.clone());
        blocking(move || {
            let mut keys = Vec::new();
            let mut folders = vec![(root, String::new())];
            while let Some((folder, before)) = folders.pop() {
                let names = disk.list(&folder).map_err(|error| unavailable(&error))?;
                for name in names.iter().filter_map(|name| name.to_str()) {
                    if let Some(front) = name.strip_suffix("++") {
                        folders.push((folder.join(name), format!("{before}{front}")));
                    } else if let Some(segment) = name.strip_suffix('+') {
                        folders.push((folder.join(name), format!("{before}{segment}/")));
                    } else if check_key(name).is_ok() {
                        keys.push(format!("{before}{name}"));
                    }
                }
            }
            Ok(keys)
        })
        .await
    }

    fn owner(&self) -> Result<Arc<Owner>, BlobError> {
        self.owner.clone().ok_or(BlobError::NotPermitted)
    }

    fn open_object(&self, key: &str) -> Result<impl Future<Output = Result<Object, BlobError>> + use<>, BlobError> {
        let (disk, path, key) = (Arc::clone(&self.disk), path_of(&self.root, key)?, key.to_owned());
        Ok(blocking(move || match disk.open(&path) {
            Ok(file) => read_trailer(file, &key),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BlobError::NotFound(key)),
            Err(error) => Err(unavailable(&error)),
        }))
    }
}

#[async_trait]
impl Blobs for FolderBlobs {
    async fn put(&self, key: &str, mut data: ByteStream) -> Result<BlobInfo, BlobError> {
        let owner = self.owner()?;
        let path = path_of(&self.root, key)?;
        let disk = Arc::clone(&self.disk);
        let mut upload = blocking(move || Upload::begin(disk, &owner).map_err(|error| unavailable(&error))).await?;
        let mut gathered = BytesMut::new();
        while let Some(bytes) = data.next().await {
            gathered.extend_from_slice(&bytes?);
            if gathered.len() >= CHUNK {
                let full = gathered.split().freeze();
                upload = blocking(move || upload.write(&full)).await?;
            }
        }
        blocking(move || upload.write(&gathered)?.finish(&path)).await
    }

    async fn info(&self, key: &str) -> Result<BlobInfo, BlobError> {
        Ok(self.open_object(key)?.await?.info)
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ByteStream, BlobError> {
        let object = self.open_object(key)?.await?;
        let size = object.info.size;
        let whole = range.is_none();
        let range = range.map_or(0..size, |range| range.start.min(size)..range.end.min(size));
        // Only a whole read can be held against the checksum.
        let hash = whole.then(Sha256::new);
        let reading = Reading { object, hash, at: range.start, end: range.end, key: key.to_owned(), failed: false };
        Ok(Box::pin(futures::stream::unfold(reading, |mut reading| async move {
            if reading.failed || (reading.at >= reading.end && reading.hash.is_none()) {
                return None;
            }
            let read = blocking(move || {
                let bytes = reading.next();
                Ok((bytes, reading))
            });
            match read.await {
                Ok((Ok(bytes), reading)) if bytes.is_empty() && reading.at >= reading.end => None,
                Ok((bytes, mut reading)) => {
                    reading.failed = bytes.is_err();
                    Some((bytes, reading))
                }
                Err(_) => None,
            }
        })))
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        self.owner()?;
        let (disk, path) = (Arc::clone(&self.disk), path_of(&self.root, key)?);
        blocking(move || match disk.remove(&path).and_then(|()| disk.sync_folder(disk::parent_of(&path))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unavailable(&error)),
            _ => Ok(()),
        })
        .await
    }

    async fn link(&self, key: &str, _valid_for: Duration) -> Result<Option<Secret>, BlobError> {
        check_key(key).map(|()| None)
    }

    async fn check(&self) -> Result<(), BlobError> {
        let (disk, root, owner) = (Arc::clone(&self.disk), self.root.clone(), self.owner.clone());
        blocking(move || {
            let Some(owner) = owner else {
                return disk.list(&root).map(drop).map_err(|error| unavailable(&error));
            };
            let probe = owner.next_name();
            let written = disk.create(&probe).and_then(|file| file.write_at(&[IoSlice::new(MAGIC)], 0));
            let removed = disk.remove(&probe);
            written.and(removed).map_err(|error| unavailable(&error))?;
            let reserve = disk::total_bytes(&root).map_or(RESERVE, |total| RESERVE.min(total / 20));
            match disk::free_bytes(&root) {
                Ok(free) if free < reserve => {
                    let free = free >> 20;
                    Err(BlobError::Unavailable(format!("only {free} MiB are free on its disk: free some space")))
                }
                Ok(_) => Ok(()),
                Err(error) => Err(unavailable(&error)),
            }
        })
        .await
    }

    async fn permissions(&self) -> Result<Permissions, BlobError> {
        let (disk, root, owner) = (Arc::clone(&self.disk), self.root.clone(), self.owner.clone());
        blocking(move || {
            let read = disk.list(&root).map(drop).map_err(|error| unavailable(&error).to_string());
            let probe =
                owner.map_or_else(|| root.join(format!("probe~{}", std::process::id())), |owner| owner.next_name());
            let written = disk.create(&probe).and_then(|file| file.write_at(&[IoSlice::new(MAGIC)], 0));
            let write = written.map_err(|error| unavailable(&error).to_string());
            // Who may not make a file in a folder may not remove one either.
            let removed = || disk.remove(&probe).map_err(|error| unavailable(&error).to_string());
            let delete = write.clone().and_then(|()| removed());
            Ok(Permissions { read, write, delete })
        })
        .await
    }
}

impl Owner {
    fn new(disk: &SharedDisk, root: &Path) -> io::Result<Self> {
        let folder = root.join("unfinished~");
        disk::create_folders(&**disk, &folder)?;
        sweep(disk, &folder)?;
        loop {
            let mut random = [0; 8];
            getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
            let token = data_encoding::HEXLOWER.encode(&random);
            if let Some(lock) = disk::lock_file(&folder.join(format!("{token}.lock")))? {
                return Ok(Self { folder, token, count: AtomicU64::new(0), _lock: lock });
            }
        }
    }

    fn next_name(&self) -> PathBuf {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("{}.{count}.tmp", self.token))
    }
}

/// Removes the unfinished files of owners that are dead.
fn sweep(disk: &SharedDisk, folder: &Path) -> io::Result<()> {
    let names: Vec<OsString> = disk.list(folder)?;
    let names: Vec<&str> = names.iter().filter_map(|name| name.to_str()).collect();
    for lock_name in &names {
        let Some(token) = lock_name.strip_suffix(".lock") else { continue };
        let Some(_lock) = disk::lock_file(&folder.join(lock_name))? else { continue };
        let of_owner = names.iter().filter(|name| name.split('.').next() == Some(token));
        for name in of_owner {
            match disk.remove(&folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// An object that is being written under a temporary name, which goes when this is dropped.
struct Upload {
    disk: SharedDisk,
    file: Box<dyn DiskFile>,
    temporary: PathBuf,
    size: u64,
    hash: Sha256,
    /// Kept so that the owner's lock outlives every file of its name.
    _owner: Arc<Owner>,
}

impl Upload {
    fn begin(disk: SharedDisk, owner: &Arc<Owner>) -> io::Result<Self> {
        let temporary = owner.next_name();
        let file = disk.create(&temporary)?;
        Ok(Self { disk, file, temporary, size: 0, hash: Sha256::new(), _owner: Arc::clone(owner) })
    }

    fn write(mut self, bytes: &[u8]) -> Result<Self, BlobError> {
        self.file.write_at(&[IoSlice::new(bytes)], self.size).map_err(|error| unavailable(&error))?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(self)
    }

    fn finish(self, path: &Path) -> Result<BlobInfo, BlobError> {
        let info = BlobInfo { size: self.size, sha256: self.hash.clone().finalize().into() };
        let stored = || -> io::Result<()> {
            let size = info.size.to_be_bytes();
            let trailer = [IoSlice::new(&info.sha256), IoSlice::new(&size), IoSlice::new(MAGIC)];
            self.file.write_at(&trailer, self.size)?;
            self.file.sync_data()?;
            let folder = disk::parent_of(path);
            disk::create_folders(&*self.disk, folder)?;
            self.disk.rename(&self.temporary, path)?;
            self.disk.sync_folder(folder)
        };
        stored().map_err(|error| unavailable(&error))?;
        Ok(info)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // After the rename the name is gone already; before it, there is nobody to tell.
        let _ = self.disk.remove(&self.temporary);
    }
}

/// An object that is open for reading.
struct Object {
    file: Box<dyn DiskFile>,
    info: BlobInfo,
}

struct Reading {
    object: Object,
    hash: Option<Sha256>,
    at: u64,
    end: u64,
    key: String,
    failed: bool,
}

impl Reading {
    /// The next bytes; empty at the end, once the checksum has proved right.
    fn next(&mut self) -> Result<Bytes, BlobError> {
        let length = usize::try_from(self.end - self.at).map_or(CHUNK, |left| left.min(CHUNK));
        let mut bytes = BytesMut::zeroed(length);
        let read = self.object.file.read_at(&mut bytes, self.at).map_err(|error| unavailable(&error))?;
        if read < length {
            return Err(BlobError::Damaged(self.key.clone()));
        }
        self.at += length as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(&bytes);
        }
        if self.at >= self.end {
            // The last bytes are held back until they are known to be right.
            let right = self.hash.take().is_none_or(|hash| hash.finalize()[..] == self.object.info.sha256);
            if !right {
                return Err(BlobError::Damaged(self.key.clone()));
            }
        }
        Ok(bytes.freeze())
    }
}

fn read_trailer(file: Box<dyn DiskFile>, key: &str) -> Result<Object, BlobError> {
    let damaged = || BlobError::Damaged(key.to_owned());
    let length = file.length().map_err(|error| unavailable(&error))?;
    let size = length.checked_sub(TRAILER).ok_or_else(damaged)?;
    let mut trailer = [0; TRAILER as usize];
    let read = file.read_at(&mut trailer, size).map_err(|error| unavailable(&error))?;
    let (sha256, rest) = trailer.split_first_chunk::<32>().ok_or_else(damaged)?;
    let (written_size, magic) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    if read < trailer.len() || u64::from_be_bytes(*written_size) != size || magic != MAGIC {
        return Err(damaged());
    }
    Ok(Object { file, info: BlobInfo { size, sha256: *sha256 } })
}

fn path_of(root: &Path, key: &str) -> Result<PathBuf, BlobError> {
    check_key(key)?;
    let mut path = root.to_owned();
    let mut segments = key.split('/').peekable();
    while let Some(mut segment) = segments.next() {
        // Keys are ASCII, so any index is between two characters.
        while segment.len() > NAME {
            let (front, rest) = segment.split_at(NAME);
            path.push(format!("{front}++"));
            segment = rest;
        }
        if segments.peek().is_some() {
            path.push(format!("{segment}+"));
        } else {
            path.push(segment);
        }
    }
    Ok(path)
}

fn unavailable(error: &io::Error) -> BlobError {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ": free some space on its disk",
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            ": check the folder's owner and how it is mounted"
        }
        _ => "",
    };
    BlobError::Unavailable(format!("{error}{advice}"))
}

/// Runs what blocks on a thread where that is allowed; it is carried out even if nobody waits any more.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(BlobError::Unavailable(format!("the file operation did not finish: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn different_keys_have_different_files(one in "[a-c.]{1,3}(/[a-c.]{1,3}){0,2}", other in "[a-c.]{1,3}(/[a-c.]{1,3}){0,2}") {
            let root = Path::new("/root");
            if let (Ok(one_path), Ok(other_path)) = (path_of(root, &one), path_of(root, &other)) {
                prop_assert_eq!(one == other, one_path == other_path);
                prop_assert!(!one_path.starts_with(&other_path) || one == other, "an object would be a folder");
            }
        }
    }

    #[test]
    fn long_segments_fit_into_file_names() {
        let path = path_of(Path::new("/root"), &format!("{}/x", "a".repeat(510))).unwrap();
        assert!(path.components().all(|part| part.as_os_str().len() <= 255));
        assert_ne!(path, path_of(Path::new("/root"), &format!("{}/{}/x", "a".repeat(200), "a".repeat(309))).unwrap());
    }

    #[tokio::test]
    async fn what_the_dead_left_is_removed_and_what_the_living_write_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let unfinished = folder.path().join("unfinished~");
        std::fs::create_dir(&unfinished).unwrap();
        std::fs::write(unfinished.join("dead.lock"), b"").unwrap();
        std::fs::write(unfinished.join("dead.0.tmp"), b"half").unwrap();
        let first = FolderBlobs::open(disk::local(), folder.path(), Access::Write).unwrap();
        let upload = Upload::begin(disk::local(), first.owner.as_ref().unwrap()).unwrap();
        let second = FolderBlobs::open(disk::local(), folder.path(), Access::Write).unwrap();
        let names = disk::local().list(&unfinished).unwrap();
        assert_eq!(names.len(), 3, "two locks and one file being written: {names:?}");
        assert!(upload.temporary.exists());
        drop((upload, second));
    }

    #[tokio::test]
    async fn every_key_is_listed_as_it_was_put() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = FolderBlobs::open(disk::local(), folder.path(), Access::Write).unwrap();
        let long = "b".repeat(450);
        let mut put = vec![String::from("a"), String::from("a/b"), format!("songs/{long}/x"), format!("a/{long}")];
        for key in &put {
            blobs.put(key, super::super::once(vec![1])).await.unwrap();
        }
        let mut listed = blobs.keys().await.unwrap();
        listed.sort();
        put.sort();
        assert_eq!(listed, put);
    }

    #[tokio::test]
    async fn damaged_bytes_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = FolderBlobs::open(disk::local(), folder.path(), Access::Write).unwrap();
        blobs.put("a/b", super::super::once(vec![7; 100_000])).await.unwrap();
        let path = folder.path().join("a+/b");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[50_000] = 8;
        std::fs::write(&path, &bytes).unwrap();
        let got = super::super::collect(blobs.get("a/b", None).await.unwrap()).await;
        assert!(matches!(got, Err(BlobError::Damaged(_))), "{got:?}");
        std::fs::write(&path, &bytes[..90_000]).unwrap();
        assert!(matches!(blobs.info("a/b").await, Err(BlobError::Damaged(_))));
    }

    #[tokio::test]
    async fn read_handle_refuses_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = FolderBlobs::open(disk::local(), folder.path(), Access::Read).unwrap();
        let put = blobs.put("a", super::super::once(vec![1])).await;
        assert!(matches!(put, Err(BlobError::NotPermitted)));
        assert!(matches!(blobs.delete("a").await, Err(BlobError::NotPermitted)));
        blobs.check().await.unwrap();
    }
}
