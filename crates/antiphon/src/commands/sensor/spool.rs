//! What a sender has cut and the server has not yet: one file a piece, in a folder that survives everything.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use antiphon_analysis::pieces::Piece;
use antiphon_platform::clock::Micros;
use antiphon_platform::disk::{self, FileLock, LocalDisk};
use anyhow::{Context, Result, bail};

/// Pieces kept of those that the server refused for ever.
const REFUSED_KEPT: usize = 100;

/// A piece in the spool: its start and lead-in, which are its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// When its first sample after the lead-in was heard, µs since 1970.
    pub start: Micros,
    /// Its lead-in, µs.
    pub lead_in: Micros,
}

/// The spool of one sensor; only one process may have it open.
pub struct Spool {
    folder: PathBuf,
    limit: u64,
    waiting: Mutex<Waiting>,
    changed: Condvar,
    _lock: FileLock,
}

#[derive(Default)]
struct Waiting {
    /// Sizes in bytes, oldest first.
    pieces: BTreeMap<Name, u64>,
    bytes: u64,
    /// No more pieces will come.
    closed: bool,
}

impl Spool {
    /// Opens the spool in `folder`, making it if needed, with the pieces that an earlier process left there.
    ///
    /// # Errors
    /// When it cannot be used, or another process uses it.
    pub fn open(folder: &Path, limit: u64) -> Result<Self> {
        let context = || format!("the spool {} cannot be used", folder.display());
        disk::create_folders(&LocalDisk, folder).with_context(context)?;
        let Some(lock) = disk::lock_file(&folder.join("lock")).with_context(context)? else {
            bail!("another sender uses the spool {}; stop it, or name another folder with --spool", folder.display());
        };
        let mut waiting = Waiting::default();
        for entry in fs::read_dir(folder).with_context(context)? {
            let entry = entry.with_context(context)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".tmp") {
                // Never finished: its writer is gone, since the lock is ours.
                fs::remove_file(entry.path()).with_context(context)?;
            } else if let Some(name) = Name::parse(&name) {
                let size = entry.metadata().with_context(context)?.len();
                waiting.bytes += size;
                waiting.pieces.insert(name, size);
            }
        }
        let folder = folder.to_owned();
        Ok(Self { folder, limit, waiting: Mutex::new(waiting), changed: Condvar::new(), _lock: lock })
    }

    /// Keeps a piece: when this returns, it survives a crash and a power cut. The oldest pieces make room if the
    /// limit is reached; how many were lost that way.
    ///
    /// # Errors
    /// When it cannot be written although everything older was given up.
    pub fn add(&self, piece: &Piece) -> Result<usize> {
        let name = Name { start: piece.start, lead_in: piece.lead_in };
        let size = piece.audio.len() as u64;
        let mut lost = 0;
        while self.with(|waiting| waiting.bytes + size > self.limit && !waiting.pieces.is_empty()) {
            lost += usize::from(self.give_up_oldest());
        }
        loop {
            match disk::write_atomic(&LocalDisk, &self.path(name), &piece.audio) {
                Ok(()) => break,
                Err(error) if is_full(&error) && self.give_up_oldest() => lost += 1,
                Err(error) => {
                    return Err(error).with_context(|| format!("a piece cannot be kept in {}", self.folder.display()));
                }
            }
        }
        self.with(|waiting| {
            let replaced = waiting.pieces.insert(name, size).unwrap_or(0);
            waiting.bytes = waiting.bytes + size - replaced;
        });
        self.changed.notify_all();
        Ok(lost)
    }

    /// Waits up to `time` for the oldest piece; `None` when there is none until then, or the spool is closed and empty.
    pub fn oldest(&self, time: Duration) -> Option<Name> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = |waiting: &mut Waiting| waiting.pieces.is_empty() && !waiting.closed;
        let (waiting, _) =
            self.changed.wait_timeout_while(waiting, time, empty).unwrap_or_else(PoisonError::into_inner);
        waiting.pieces.keys().next().copied()
    }

    /// The bytes of a piece.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, name: Name) -> io::Result<Vec<u8>> {
        fs::read(self.path(name))
    }

    /// The server has it.
    pub fn remove(&self, name: Name) {
        if let Err(error) = fs::remove_file(self.path(name)) {
            // Sent once more after a restart, which is harmless.
            tracing::debug!(%error, "a piece that was sent cannot be removed");
        }
        self.forget(name);
    }

    /// The server will never take it: it is kept aside with the reason, for people to look at.
    ///
    /// # Errors
    /// When it cannot be moved; then it stays where it is.
    pub fn set_aside(&self, name: Name, reason: &str) -> io::Result<PathBuf> {
        let aside = self.folder.join("refused");
        disk::create_folders(&LocalDisk, &aside)?;
        let mut kept: Vec<PathBuf> = fs::read_dir(&aside)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        kept.sort();
        // Two files each.
        for path in kept.iter().rev().skip(2 * REFUSED_KEPT) {
            fs::remove_file(path)?;
        }
        let target = aside.join(name.file());
        fs::write(target.with_extension("txt"), reason)?;
        fs::rename(self.path(name), &target)?;
        self.forget(name);
        Ok(target)
    }

    /// How many pieces wait, and their bytes.
    pub fn depth(&self) -> (usize, u64) {
        self.with(|waiting| (waiting.pieces.len(), waiting.bytes))
    }

    /// Says that no more pieces will come.
    pub fn close(&self) {
        self.with(|waiting| waiting.closed = true);
        self.changed.notify_all();
    }

    /// Whether it is closed and empty.
    pub fn is_done(&self) -> bool {
        self.with(|waiting| waiting.closed && waiting.pieces.is_empty())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Waiting) -> T) -> T {
        act(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn path(&self, name: Name) -> PathBuf {
        self.folder.join(name.file())
    }

    /// Leaves a piece alone in this run: its file is gone or cannot be used.
    pub fn forget(&self, name: Name) {
        self.with(|waiting| {
            if let Some(size) = waiting.pieces.remove(&name) {
                waiting.bytes -= size;
            }
        });
    }

    fn give_up_oldest(&self) -> bool {
        let Some(oldest) = self.with(|waiting| waiting.pieces.keys().next().copied()) else { return false };
        self.remove(oldest);
        true
    }
}

impl Name {
    /// Twenty digits hold every time, so that names sort as times do.
    fn file(self) -> String {
        format!("{:020}-{}.flac", self.start, self.lead_in)
    }

    fn parse(file: &str) -> Option<Self> {
        let (start, lead_in) = file.strip_suffix(".flac")?.split_once('-')?;
        Some(Self { start: start.parse().ok()?, lead_in: lead_in.parse().ok()? })
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn piece(start: Micros, size: usize) -> Piece {
        Piece { start, lead_in: 2_000_000, duration: 10_000_000, audio: vec![start as u8; size] }
    }

    fn name(start: Micros) -> Name {
        Name { start, lead_in: 2_000_000 }
    }

    #[test]
    fn pieces_come_out_in_order_and_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), 1_000).unwrap();
        for start in [30, 10, 20] {
            assert_eq!(spool.add(&piece(start, 100)).unwrap(), 0);
        }
        assert_eq!(spool.oldest(NOW), Some(name(10)));
        spool.remove(name(10));
        drop(spool);
        fs::write(folder.path().join("half.flac.1.2.tmp"), b"half").unwrap();
        let spool = Spool::open(folder.path(), 1_000).unwrap();
        assert_eq!((spool.depth(), spool.oldest(NOW)), ((2, 200), Some(name(20))));
        assert_eq!(spool.read(name(20)).unwrap(), [20; 100]);
        assert!(!folder.path().join("half.flac.1.2.tmp").exists());
        spool.add(&piece(20, 50)).unwrap();
        assert_eq!(spool.depth(), (2, 150), "the same piece again is one piece");
        spool.close();
        assert!(!spool.is_done());
        spool.remove(name(20));
        spool.remove(name(30));
        assert!(spool.is_done() && spool.oldest(Duration::from_secs(60)).is_none());
    }

    #[test]
    fn a_full_spool_gives_up_the_oldest() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), 250).unwrap();
        let lost: Vec<usize> = (1..=4).map(|start| spool.add(&piece(start, 100)).unwrap()).collect();
        assert_eq!(lost, [0, 0, 1, 1]);
        assert_eq!((spool.depth(), spool.oldest(NOW)), ((2, 200), Some(name(3))));
    }

    #[test]
    fn only_one_sender_uses_it() {
        let folder = tempfile::tempdir().unwrap();
        let _spool = Spool::open(folder.path(), 250).unwrap();
        assert!(Spool::open(folder.path(), 250).err().unwrap().to_string().contains("another sender"));
    }

    #[test]
    fn what_is_refused_for_ever_is_kept_aside_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), 100_000).unwrap();
        for start in 0..120 {
            spool.add(&piece(start, 10)).unwrap();
            let target = spool.set_aside(name(start), "it is too old").unwrap();
            assert_eq!(fs::read_to_string(target.with_extension("txt")).unwrap(), "it is too old");
        }
        assert_eq!(spool.depth(), (0, 0));
        assert_eq!(fs::read_dir(folder.path().join("refused")).unwrap().count(), 2 * (REFUSED_KEPT + 1));
    }
}
