//! The local disk with faults on demand.

#![allow(dead_code, reason = "each test uses the faults that it needs")]

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use antiphon_platform::disk::{Disk, DiskFile, LocalDisk};

/// A disk that is full when it is told so, and whose syncs can be held up.
#[derive(Debug, Default)]
pub struct FaultyDisk {
    /// Writes tear then: half of the parts arrive.
    pub full: Arc<AtomicBool>,
    held: Arc<Mutex<Option<Receiver<()>>>>,
}

impl FaultyDisk {
    /// The next sync waits until the sender is used or dropped, and fails then.
    pub fn hold_and_fail_next_sync(&self) -> Sender<()> {
        let (sender, receiver) = channel();
        *self.held.lock().unwrap() = Some(receiver);
        sender
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn DiskFile>,
    full: Arc<AtomicBool>,
    held: Arc<Mutex<Option<Receiver<()>>>>,
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = LocalDisk.create(path)?;
        Ok(Box::new(FaultyFile { file, full: Arc::clone(&self.full), held: Arc::clone(&self.held) }))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        LocalDisk.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove(path)
    }
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        LocalDisk.create_folder(path)
    }
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        LocalDisk.sync_folder(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<std::ffi::OsString>> {
        LocalDisk.list(path)
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            self.file.write_at(&parts[..parts.len() / 2], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_at(parts, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        let held = self.held.lock().unwrap().take();
        match held {
            Some(held) => {
                // Used or dropped, it fails all the same.
                let _ = held.recv();
                Err(io::Error::other("the disk is broken"))
            }
            None => self.file.sync_data(),
        }
    }
    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}
