//! What a sender has cut and the server has not yet: one file a piece, in a folder that survives everything.
//!
//! | file | is |
//! |---|---|
//! | `START-LEADIN.flac` | a piece, synced; both in µs |
//! | `START-LEADIN.wav` | the piece that is being recorded, see [`super::unfinished`] |
//! | `state.json` | what was done, see [`ledger`](super::ledger) |
//! | `refused/` | pieces that the server will never take, each with the reason |
//! | `lock` | held by the recorder while it runs |

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use antiphon_analysis::pieces::{Piece, duration};
use antiphon_audio::decode::{Decoder, Limits};
use antiphon_platform::clock::{Clock, Micros};
use antiphon_platform::disk::{self, FileLock, LocalDisk};
use anyhow::{Context, Result, bail};

use super::ledger::{Ledger, Stretch};
use super::unfinished;

/// Pieces kept of those that the server refused for ever.
const REFUSED_KEPT: usize = 100;

/// How often, and how far apart, the lock is tried: `sensor status` holds it for a moment when it looks.
const LOCK_TRIES: (u32, Duration) = (10, Duration::from_millis(50));

/// The ending of a piece's name.
const ENDING: &str = ".flac";

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
    ledger: Ledger,
    _lock: FileLock,
}

#[derive(Default)]
struct Waiting {
    /// Sizes in bytes, oldest first.
    pieces: BTreeMap<Name, u64>,
    bytes: u64,
    /// The piece that is on its way to the server, which is not given up meanwhile.
    sending: Option<Name>,
    /// No more pieces will come.
    closed: bool,
}

impl Spool {
    /// Opens the spool in `folder`, making it if needed, with the pieces that an earlier process left there.
    ///
    /// # Errors
    /// When it cannot be used, or another process uses it.
    pub fn open(folder: &Path, limit: u64, clock: Clock) -> Result<Self> {
        let context = || format!("the spool {} cannot be used", folder.display());
        disk::create_folders(&LocalDisk, folder).with_context(context)?;
        let Some(lock) = lock(folder).with_context(context)? else {
            bail!("another sender uses the spool {}; stop it, or name another folder with --spool", folder.display());
        };
        for entry in fs::read_dir(folder).with_context(context)? {
            let entry = entry.with_context(context)?;
            if entry.file_name().to_string_lossy().ends_with(".tmp") {
                // Never finished: its writer is gone, since the lock is ours.
                fs::remove_file(entry.path()).with_context(context)?;
            }
        }
        let pieces = list(folder).with_context(context)?;
        let waiting = Waiting { bytes: pieces.values().sum(), pieces, ..Waiting::default() };
        let ledger = Ledger::open(folder, clock);
        let folder = folder.to_owned();
        let spool = Self { folder, limit, waiting: Mutex::new(waiting), changed: Condvar::new(), ledger, _lock: lock };
        spool.take_back_what_is_there();
        Ok(spool)
    }

    /// What the sender of this spool has done so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Makes pieces of what was being recorded when a recorder was killed; how much that was, in µs.
    ///
    /// # Errors
    /// When something cannot be used: it is moved aside then, and the rest recovered.
    pub fn recover(&self) -> Result<Micros> {
        let (mut heard, mut outcome) = (0, Ok(()));
        for (name, path) in unfinished::list(&self.folder).context("the spool cannot be read")? {
            if self.path(name).exists() {
                fs::remove_file(&path).context("the spool cannot be written to")?;
                continue;
            }
            match unfinished::recover(&path, name) {
                Ok(None) => {}
                Ok(Some(piece)) => {
                    self.add(&piece)?;
                    heard += piece.duration;
                }
                Err(error) => {
                    let error = error.context("what was being recorded when an earlier run ended cannot be used");
                    let aside = self.move_aside(&path, &format!("{error:#}")).context("it cannot be moved aside")?;
                    outcome = Err(error.context(format!("it is kept at {}", aside.display())));
                    continue;
                }
            }
            fs::remove_file(&path).context("the spool cannot be written to")?;
        }
        outcome.map(|()| heard)
    }

    /// Keeps a piece: when this returns, it survives a crash and a power cut. The oldest pieces make room if the
    /// limit is reached; how many were lost that way.
    ///
    /// # Errors
    /// When it cannot be written although everything older was given up.
    pub fn add(&self, piece: &Piece) -> Result<usize> {
        let name = self.free_name(piece);
        let size = piece.audio.len() as u64;
        let mut lost = 0;
        while self.with(|waiting| waiting.bytes + size > self.limit) && self.give_up_oldest() {
            lost += 1;
        }
        loop {
            match disk::write_atomic(&LocalDisk, &self.path(name), &piece.audio) {
                Ok(()) => break,
                Err(error) if is_full(&error) && self.give_up_oldest() => lost += 1,
                Err(error) => {
                    self.ledger.give_up(Stretch::new(piece.start, piece.duration));
                    return Err(error).with_context(|| format!("a piece cannot be kept in {}", self.folder.display()));
                }
            }
        }
        self.with(|waiting| {
            let replaced = waiting.pieces.insert(name, size).unwrap_or(0);
            waiting.bytes = waiting.bytes + size - replaced;
        });
        self.ledger.recorded(piece.start + piece.duration);
        self.changed.notify_all();
        Ok(lost)
    }

    /// Waits up to `time` for the oldest piece, which is on its way then until it is removed, set aside, forgotten or
    /// [`released`](Self::release); `None` when there is none until then, or the spool is closed and empty.
    pub fn take_oldest(&self, time: Duration) -> Option<Name> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = |waiting: &mut Waiting| waiting.pieces.is_empty() && !waiting.closed;
        let (mut waiting, _) =
            self.changed.wait_timeout_while(waiting, time, empty).unwrap_or_else(PoisonError::into_inner);
        waiting.sending = waiting.pieces.keys().next().copied();
        waiting.sending
    }

    /// The piece that was taken could not be sent, and waits again.
    pub fn release(&self) {
        self.with(|waiting| waiting.sending = None);
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
        let target = self.move_aside(&self.path(name), reason)?;
        self.forget(name);
        Ok(target)
    }

    fn move_aside(&self, path: &Path, reason: &str) -> io::Result<PathBuf> {
        let aside = self.folder.join("refused");
        disk::create_folders(&LocalDisk, &aside)?;
        let mut kept: Vec<PathBuf> = fs::read_dir(&aside)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        kept.sort();
        // Two files each.
        for path in kept.iter().rev().skip(2 * REFUSED_KEPT) {
            fs::remove_file(path)?;
        }
        let target = aside.join(path.file_name().unwrap_or_default());
        fs::write(target.with_extension("txt"), reason)?;
        fs::rename(path, &target)?;
        Ok(target)
    }

    /// Where the piece `name` is while it is being recorded.
    pub fn unfinished(&self, name: Name) -> PathBuf {
        self.folder.join(name.file(unfinished::ENDING))
    }

    /// The piece that was being recorded as `from` will be named `to`; its name now.
    pub fn settle(&self, from: Name, to: Name) -> Name {
        match fs::rename(self.unfinished(from), self.unfinished(to)) {
            Ok(()) => to,
            // After a crash it would be sent under its first name, too, which the server takes for an overlap.
            Err(_) => from,
        }
    }

    /// What was being recorded as `name` is a piece now.
    pub fn remove_unfinished(&self, name: Name) {
        if let Err(error) = fs::remove_file(self.unfinished(name)) {
            tracing::debug!(%error, "what was being recorded cannot be removed");
        }
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
        self.folder.join(name.file(ENDING))
    }

    /// Leaves a piece alone in this run: its file is gone or cannot be used.
    pub fn forget(&self, name: Name) {
        self.with(|waiting| {
            if let Some(size) = waiting.pieces.remove(&name) {
                waiting.bytes -= size;
            }
            if waiting.sending == Some(name) {
                waiting.sending = None;
            }
        });
    }

    /// The name of a piece. A clock that was set back may give two pieces the same: the later begins 1 µs later then,
    /// much less than matters, instead of replacing the other.
    fn free_name(&self, piece: &Piece) -> Name {
        let mut name = Name::of(piece);
        while self.with(|waiting| waiting.pieces.contains_key(&name))
            && self.read(name).is_ok_and(|there| there != piece.audio)
        {
            name.start += 1;
        }
        name
    }

    /// A recorder that was killed after it had told that a piece is given up, and before it had removed it.
    fn take_back_what_is_there(&self) {
        let names: Vec<Name> = self.with(|waiting| waiting.pieces.keys().copied().collect());
        for name in names.into_iter().filter(|name| self.ledger.was_given_up(name.start)) {
            self.ledger.take_back(self.stretch(name));
        }
    }

    /// When a piece was heard. What cannot be read has no length.
    fn stretch(&self, name: Name) -> Stretch {
        let length = fs::File::open(self.path(name)).ok().and_then(|file| {
            let decoder = Decoder::open(file, Limits::default()).ok()?;
            Some(duration(decoder.info().frames?, decoder.info().rate))
        });
        Stretch::new(name.start, (length.unwrap_or(0) - name.lead_in).max(0))
    }

    /// Removes the oldest piece that is not on its way; whether there was one.
    fn give_up_oldest(&self) -> bool {
        let oldest = self.with(|waiting| {
            let sending = waiting.sending;
            waiting.pieces.keys().find(|name| Some(**name) != sending).copied()
        });
        let Some(oldest) = oldest else { return false };
        self.ledger.give_up(self.stretch(oldest));
        self.remove(oldest);
        true
    }
}

impl Name {
    /// The name of a piece.
    pub fn of(piece: &Piece) -> Self {
        Self { start: piece.start, lead_in: piece.lead_in }
    }

    /// Twenty digits hold every time, so that names sort as times do.
    fn file(self, ending: &str) -> String {
        format!("{:020}-{}{ending}", self.start, self.lead_in)
    }

    /// The name that a file has, if it has one with this ending.
    pub fn parse(file: &str, ending: &str) -> Option<Self> {
        let (start, lead_in) = file.strip_suffix(ending)?.split_once('-')?;
        Some(Self { start: start.parse().ok()?, lead_in: lead_in.parse().ok()? })
    }
}

/// The pieces in a spool's folder, oldest first, with their sizes in bytes.
///
/// # Errors
/// What the file system says.
pub fn list(folder: &Path) -> io::Result<BTreeMap<Name, u64>> {
    let mut pieces = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(name) = Name::parse(&entry.file_name().to_string_lossy(), ENDING) {
            match entry.metadata() {
                Ok(file) => drop(pieces.insert(name, file.len())),
                // Sent meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(pieces)
}

/// Whether a sender uses the spool in a folder.
///
/// # Errors
/// What the file system says.
pub fn is_used(folder: &Path) -> io::Result<bool> {
    disk::lock_is_held(&folder.join("lock"))
}

fn lock(folder: &Path) -> io::Result<Option<FileLock>> {
    let (tries, pause) = LOCK_TRIES;
    for _ in 1..tries {
        if let Some(lock) = disk::lock_file(&folder.join("lock"))? {
            return Ok(Some(lock));
        }
        std::thread::park_timeout(pause);
    }
    disk::lock_file(&folder.join("lock"))
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use antiphon_platform::clock::SECOND;

    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn piece(start: Micros, size: usize) -> Piece {
        Piece { start, lead_in: 2_000_000, duration: 10_000_000, audio: vec![start as u8; size] }
    }

    fn open(folder: &Path, limit: u64) -> Result<Spool> {
        Spool::open(folder, limit, Clock::manual(0))
    }

    fn name(start: Micros) -> Name {
        Name { start, lead_in: 2_000_000 }
    }

    impl Spool {
        fn list_starts(&self) -> Vec<Micros> {
            list(&self.folder).unwrap().keys().map(|name| name.start).collect()
        }
    }

    #[test]
    fn pieces_come_out_in_order_and_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let spool = open(folder.path(), 1_000).unwrap();
        for start in [30, 10, 20] {
            assert_eq!(spool.add(&piece(start, 100)).unwrap(), 0);
        }
        assert_eq!(spool.take_oldest(NOW), Some(name(10)));
        spool.remove(name(10));
        drop(spool);
        fs::write(folder.path().join("half.flac.1.2.tmp"), b"half").unwrap();
        let spool = open(folder.path(), 1_000).unwrap();
        assert_eq!((spool.depth(), spool.take_oldest(NOW)), ((2, 200), Some(name(20))));
        assert_eq!(spool.read(name(20)).unwrap(), [20; 100]);
        assert!(!folder.path().join("half.flac.1.2.tmp").exists());
        spool.add(&piece(20, 100)).unwrap();
        assert_eq!(spool.depth(), (2, 200), "the same piece again is one piece");
        spool.add(&piece(20, 50)).unwrap();
        assert_eq!((spool.depth(), spool.read(name(21)).unwrap()), ((3, 250), vec![20; 50]), "another of that time");
        spool.close();
        assert!(!spool.is_done());
        for start in [20, 21, 30] {
            spool.remove(name(start));
        }
        assert!(spool.is_done() && spool.take_oldest(Duration::from_secs(60)).is_none());
    }

    #[test]
    fn a_full_spool_gives_up_the_oldest() {
        let folder = tempfile::tempdir().unwrap();
        let spool = open(folder.path(), 250).unwrap();
        let lost: Vec<usize> = (1..=4).map(|start| spool.add(&piece(start, 100)).unwrap()).collect();
        assert_eq!(lost, [0, 0, 1, 1]);
        assert_eq!((spool.depth(), spool.take_oldest(NOW)), ((2, 200), Some(name(3))));
    }

    #[test]
    fn what_is_on_its_way_is_not_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let spool = open(folder.path(), 250).unwrap();
        spool.add(&piece(1, 100)).unwrap();
        assert_eq!(spool.take_oldest(NOW), Some(name(1)));
        assert_eq!(spool.add(&piece(2, 100)).unwrap() + spool.add(&piece(3, 100)).unwrap(), 1);
        assert_eq!(spool.list_starts(), [1, 3]);
        spool.release();
        assert_eq!(spool.add(&piece(4, 100)).unwrap(), 1);
        assert_eq!(spool.list_starts(), [3, 4]);
        assert_eq!(spool.take_oldest(NOW), Some(name(3)));
        spool.remove(name(3));
        assert_eq!(spool.add(&piece(5, 200)).unwrap(), 1, "a piece that was sent holds nothing up");
    }

    #[test]
    fn what_was_told_as_given_up_and_is_still_there_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let format = antiphon_audio::encode::PcmFormat { rate: 8_000, channels: 1, bits: 16, float: false };
        let flac = |samples: &[i32]| {
            antiphon_audio::encode::flac(&format, antiphon_audio::encode::Samples::Integers(samples)).unwrap()
        };
        let second = Piece { start: 0, lead_in: 0, duration: SECOND, audio: flac(&[7; 8_000]) };
        let limit = second.audio.len() as u64;
        let spool = open(folder.path(), limit).unwrap();
        spool.add(&second).unwrap();
        assert_eq!(spool.add(&Piece { start: SECOND, ..second.clone() }).unwrap(), 1);
        drop(spool);
        let given_up = || super::super::ledger::State::read(folder.path()).unwrap().unwrap().given_up;
        assert_eq!((given_up().pieces, given_up().times), (1, vec![Stretch::new(0, SECOND)]));
        fs::write(folder.path().join(Name { start: 0, lead_in: 0 }.file(ENDING)), &second.audio).unwrap();
        let spool = open(folder.path(), 10 * limit).unwrap();
        spool.ledger().close();
        spool.ledger().keep(|| {});
        assert_eq!((given_up().pieces, given_up().times.len(), spool.depth().0), (0, 0, 2));
    }

    #[test]
    fn only_one_sender_uses_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_used(folder.path()).unwrap());
        let _spool = open(folder.path(), 250).unwrap();
        assert!(is_used(folder.path()).unwrap());
        assert!(open(folder.path(), 250).err().unwrap().to_string().contains("another sender"));
    }

    #[test]
    fn what_is_refused_for_ever_is_kept_aside_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let spool = open(folder.path(), 100_000).unwrap();
        for start in 0..120 {
            spool.add(&piece(start, 10)).unwrap();
            let target = spool.set_aside(name(start), "it is too old").unwrap();
            assert_eq!(fs::read_to_string(target.with_extension("txt")).unwrap(), "it is too old");
        }
        assert_eq!(spool.depth(), (0, 0));
        assert_eq!(fs::read_dir(folder.path().join("refused")).unwrap().count(), 2 * (REFUSED_KEPT + 1));
    }
}
