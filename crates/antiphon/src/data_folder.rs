//! The data folder: whose it is, whether it can be used, and by which version it was written.
//!
//! ```text
//! DATA/VERSION          the format of everything in it; a newer one is refused untouched
//! DATA/antiphon.db      the database            DATA/queue/   the work queue
//! DATA/blobs/           audio                   DATA/run/     who uses it now: one locked file a process
//! DATA/web.key          what cookies of visitors are sealed with
//! DATA/demo.json        what `up --demo` knows  DATA/demo/    the keys of its sensors
//! ```
//!
//! Several processes of one host may share it: their locks and SQLite's shared memory work there. Processes of
//! two hosts may not, and the kernel does not tell them of each other; so each touches its file every ten seconds,
//! and a file of another host that was touched lately refuses the newcomer. Times are compared as the file
//! system gives them, which is one clock for both.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use antiphon_platform::disk::{self, FileLock};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// The format that this version writes; raised when an older version could not read it any more.
const FORMAT: u32 = 1;
/// How often a process shows that it lives.
const TOUCHED_EVERY: Duration = Duration::from_secs(10);
/// After how long without that it is taken for dead.
const DEAD_AFTER: Duration = Duration::from_secs(45);

/// What only we put into a folder: one that has any of it is meant for us, whatever else it has.
const OURS: [&str; 5] = ["antiphon.toml", "antiphon.db", "demo.json", "operator.key", "web.key"];
/// What may be in a folder before its first start: a recorder's spool, what a start that was cut off has made, and what
/// a file system has of its own.
const ALLOWED: [&str; 6] = ["run", "spool", "queue", "blobs", "demo", "lost+found"];

/// The file in `run` that is locked by who needs the folder for itself.
const ALONE: &str = "alone.lock";

/// A data folder in use by this process; given up when dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    mark: PathBuf,
    text: Vec<u8>,
    file: File,
    is_new: bool,
    _lock: FileLock,
}

/// Which kernel runs a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Host {
    /// Linux' random id of this boot; containers of one host share it.
    boot: String,
    /// systemd's id of the installation, if there is one.
    machine: String,
    /// The host's name, for people and for hosts without the above.
    name: String,
    /// The process there.
    pid: u32,
}

impl DataFolder {
    /// Takes `path` into use, making it if it is not there.
    ///
    /// # Errors
    /// When it cannot be written (read-only, full), another host uses it, or a newer version wrote it; nothing in
    /// it is changed then.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_as(path, &Host::here())
    }

    fn open_as(path: &Path, here: &Host) -> Result<Self> {
        check_version(path)?;
        let run = path.join("run");
        disk::create_folders(&disk::LocalDisk, &run).map_err(|error| unusable(path, &error))?;
        let path = path.canonicalize().with_context(|| format!("cannot use the data folder {}", path.display()))?;
        let run = path.join("run");
        let (mark, lock) = mark_of(&run, here).map_err(|error| unusable(&path, &error))?;
        let file = File::options().write(true).open(&mark).map_err(|error| unusable(&path, &error))?;
        let is_new = !path.join("VERSION").exists();
        let folder = Self { path, mark, text: serde_json::to_vec(here)?, file, is_new, _lock: lock };
        let written = folder.file.write_all_at(&folder.text, 0).and_then(|()| folder.file.metadata()?.modified());
        let now = written.map_err(|error| unusable(&folder.path, &error))?;
        refuse_other_hosts(&folder.path, &run, &folder.mark, here, now)?;
        if disk::lock_is_held(&run.join(ALONE)).unwrap_or(false) {
            bail!("the data folder {} is being migrated; wait until that is done", folder.path.display());
        }
        write_version(&folder.path).map_err(|error| unusable(&folder.path, &error))?;
        Ok(folder)
    }

    /// The folder itself, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing was in it before: this process is the first that uses it.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Where what lives only as long as a process lies.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.path.join("run")
    }

    /// Keeps the folder for this process alone, for as long as the lock is held.
    ///
    /// # Errors
    /// When another process uses it: a server, or a role.
    pub fn alone(&self) -> Result<FileLock> {
        let run = self.run();
        let lock = disk::lock_file(&run.join(ALONE)).map_err(|error| unusable(&self.path, &error))?;
        let lock = lock.with_context(|| in_use(&self.path))?;
        // The lock is held before others are looked for, and they look for it after they can be seen.
        for entry in fs::read_dir(&run).with_context(|| format!("cannot list {}", run.display()))? {
            let other = entry.with_context(|| format!("cannot list {}", run.display()))?.path();
            if is_mark(&other) && other != self.mark && disk::lock_is_held(&other).unwrap_or(true) {
                bail!("{}", in_use(&self.path));
            }
        }
        Ok(lock)
    }

    /// Shows other hosts that this process lives, for as long as it is polled.
    pub async fn keep(&self) {
        let mut ticks = tokio::time::interval(TOUCHED_EVERY);
        loop {
            ticks.tick().await;
            // Written, not stamped with our time: the file system's own clock counts.
            if let Err(error) = self.file.write_all_at(&self.text, 0) {
                tracing::warn!(%error, "cannot show that this process uses the data folder");
            }
        }
    }
}

/// Writes a line into a file that only its owner may read, all of it or nothing.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &Path, line: &str) -> io::Result<()> {
    let written = path.with_extension("key.new");
    let _ = fs::remove_file(&written);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&written)?;
    file.write_all(line.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&written, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        // What stays behind is taken for dead, and removed by the next process.
        let _ = fs::remove_file(&self.mark);
    }
}

impl Host {
    fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        Self {
            boot: read("/proc/sys/kernel/random/boot_id"),
            machine: read("/etc/machine-id"),
            name: read("/proc/sys/kernel/hostname"),
            pid: std::process::id(),
        }
    }

    /// Whether the kernel's locks hold between the two; or `other` was on this host before it was started anew.
    fn is_same_host(&self, other: &Self) -> bool {
        let same_kernel = !self.boot.is_empty() && self.boot == other.boot;
        same_kernel || (self.machine == other.machine && self.name == other.name)
    }
}

/// A file of this process in `run`, locked, and not yet anybody else's.
fn mark_of(run: &Path, here: &Host) -> io::Result<(PathBuf, FileLock)> {
    // Process ids repeat in containers that share a folder; then the next number is free.
    for number in 0..1_000 {
        let mark = run.join(format!("process-{}-{number}", here.pid));
        if let Some(lock) = disk::lock_file(&mark)? {
            File::options().write(true).truncate(true).open(&mark)?;
            return Ok((mark, lock));
        }
    }
    Err(io::Error::other("a thousand processes of one number use it"))
}

fn is_mark(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("process-"))
}

fn in_use(path: &Path) -> String {
    format!("the data folder {} is in use by another process of antiphon; stop it first", path.display())
}

fn refuse_other_hosts(path: &Path, run: &Path, own: &Path, here: &Host, now: SystemTime) -> Result<()> {
    for entry in fs::read_dir(run).with_context(|| format!("cannot list {}", run.display()))? {
        let other = entry.with_context(|| format!("cannot list {}", run.display()))?.path();
        if !is_mark(&other) || other == own {
            continue;
        }
        let touched = fs::metadata(&other).and_then(|metadata| metadata.modified());
        let host = fs::read(&other).ok().and_then(|text| serde_json::from_slice::<Host>(&text).ok());
        let (Ok(touched), Some(host)) = (touched, host) else { continue };
        if here.is_same_host(&host) {
            if !disk::lock_is_held(&other).unwrap_or(true) {
                let _ = fs::remove_file(&other);
            }
            continue;
        }
        if now.duration_since(touched).is_ok_and(|age| age > DEAD_AFTER) {
            let _ = fs::remove_file(&other);
            continue;
        }
        bail!(
            "the data folder {} is in use by another machine: process {} on {}; a data folder serves one machine at a time. \
             Stop it there, or, if that machine is gone, try again in {} s",
            path.display(),
            host.pid,
            host.name,
            DEAD_AFTER.as_secs()
        );
    }
    Ok(())
}

/// Refuses a folder that a newer version wrote, or that is none of ours.
///
/// # Errors
/// Which of the two, and what to do.
pub fn check_version(path: &Path) -> Result<()> {
    let file = path.join("VERSION");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return refuse_strange(path),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    match text.trim().parse::<u32>() {
        Ok(format) if format <= FORMAT => Ok(()),
        Ok(format) => bail!(
            "the data folder {} was written by a newer version of antiphon (format {format}; this version, {}, knows {FORMAT}); \
             nothing was changed. Use the newer version, or another folder with --data",
            path.display(),
            env!("CARGO_PKG_VERSION")
        ),
        Err(_) => bail!("{} holds no format number; is {} a data folder of antiphon?", file.display(), path.display()),
    }
}

/// Refuses a folder that holds something of somebody's and nothing of ours: a data folder among people's music would be hard
/// to tell from it again.
fn refuse_strange(path: &Path) -> Result<()> {
    // A folder that is not there, or cannot be listed, is told of where it is to be made.
    let Ok(entries) = fs::read_dir(path) else { return Ok(()) };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    if names.iter().any(|name| OURS.contains(&name.as_str())) {
        return Ok(());
    }
    let is_strange = |name: &&String| !name.starts_with('.') && !ALLOWED.contains(&name.as_str());
    match names.iter().find(is_strange) {
        None => Ok(()),
        Some(name) => bail!(
            "the folder {} is no data folder of antiphon, and not empty (it has {name}); nothing was changed. Name a new or empty \
             folder with --data; beside the server, `antiphon ingest {}` makes songs of the audio in this one",
            path.display(),
            path.display()
        ),
    }
}

fn write_version(path: &Path) -> io::Result<()> {
    let file = path.join("VERSION");
    if file.exists() {
        return Ok(());
    }
    disk::write_atomic(&disk::LocalDisk, &file, format!("{FORMAT}\n").as_bytes())
}

/// What the file system said, and what to do about it.
pub fn unusable(path: &Path, error: &io::Error) -> anyhow::Error {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            anyhow::anyhow!(
                "the data folder {path} is on a read-only file system: mount it for writing, or use another folder with --data"
            )
        }
        io::ErrorKind::PermissionDenied => {
            anyhow::anyhow!(
                "the data folder {path} may not be written by this user: change its owner, or use another folder with --data"
            )
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            anyhow::anyhow!("the disk of the data folder {path} is full: free some space; nothing in it was changed")
        }
        io::ErrorKind::NotADirectory => anyhow::anyhow!("the data folder {path} is not a folder: {error}"),
        _ => anyhow::anyhow!("the data folder {path} cannot be used: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(boot: &str, machine: &str, name: &str) -> Host {
        Host { boot: boot.into(), machine: machine.into(), name: name.into(), pid: 4_242 }
    }

    #[test]
    fn processes_of_one_host_share_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("new/data");
        let first = DataFolder::open(&data).unwrap();
        let second = DataFolder::open(&data).unwrap();
        assert_ne!(first.mark, second.mark);
        assert_eq!(fs::read_to_string(data.join("VERSION")).unwrap(), "1\n");
        let mark = first.mark.clone();
        drop(first);
        assert!(!mark.exists());
        drop(second);
    }

    #[test]
    fn another_machine_that_lives_is_refused_and_one_that_is_dead_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let there = DataFolder::open_as(folder.path(), &host("boot-a", "a", "alpha")).unwrap();
        let error = DataFolder::open_as(folder.path(), &host("boot-b", "b", "beta")).unwrap_err().to_string();
        assert!(error.contains("another machine") && error.contains("alpha"), "{error}");
        // The same machine after a reboot, and another container of the same kernel, are no other machine.
        DataFolder::open_as(folder.path(), &host("boot-c", "a", "alpha")).unwrap();
        DataFolder::open_as(folder.path(), &host("boot-a", "", "container")).unwrap();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        there.file.set_modified(long_ago).unwrap();
        DataFolder::open_as(folder.path(), &host("boot-b", "b", "beta")).unwrap();
    }

    #[test]
    fn who_needs_it_alone_has_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::open(folder.path()).unwrap();
        let second = DataFolder::open(folder.path()).unwrap();
        assert!(first.alone().unwrap_err().to_string().contains("in use by another"));
        drop(second);
        let alone = first.alone().unwrap();
        assert!(DataFolder::open(folder.path()).unwrap_err().to_string().contains("being migrated"));
        drop(alone);
        DataFolder::open(folder.path()).unwrap();
    }

    #[tokio::test]
    async fn a_process_shows_that_it_lives() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(folder.path()).unwrap();
        data.file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let touched = async {
            while fs::metadata(&data.mark).unwrap().modified().unwrap() == SystemTime::UNIX_EPOCH {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = data.keep() => {}
            () = touched => {}
        }
        assert_eq!(serde_json::from_slice::<Host>(&fs::read(&data.mark).unwrap()).unwrap(), Host::here());
    }

    #[test]
    fn a_newer_version_is_refused_and_nothing_changed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("VERSION"), "2\n").unwrap();
        let error = DataFolder::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("newer version"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(folder.path().join("VERSION"), "elephant").unwrap();
        assert!(DataFolder::open(folder.path()).is_err());
    }

    #[test]
    fn a_folder_of_somebody_is_refused_untouched_and_an_empty_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let music = folder.path().join("Music");
        fs::create_dir(&music).unwrap();
        fs::write(music.join("song.flac"), "fLaC").unwrap();
        let error = DataFolder::open(&music).unwrap_err().to_string();
        assert!(error.contains("it has song.flac") && error.contains("antiphon ingest"), "{error}");
        assert_eq!(fs::read_dir(&music).unwrap().count(), 1, "something was made in it");
        // A mounted disk, a recorder's spool, and settings that wait for the first start.
        let empty = folder.path().join("empty");
        fs::create_dir_all(empty.join("lost+found")).unwrap();
        fs::create_dir_all(empty.join("spool/roof")).unwrap();
        fs::write(empty.join(".hidden"), "").unwrap();
        assert!(DataFolder::open(&empty).unwrap().is_new());
        assert!(!DataFolder::open(&empty).unwrap().is_new());
        fs::write(music.join("antiphon.toml"), "").unwrap();
        DataFolder::open(&music).unwrap();
    }

    #[test]
    fn a_file_in_its_place_is_said_clearly() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::write(&data, "").unwrap();
        assert!(DataFolder::open(&data).unwrap_err().to_string().contains("not a folder"));
    }

    #[test]
    fn what_the_dead_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        drop(DataFolder::open(folder.path()).unwrap());
        let left = folder.path().join("run/process-1-0");
        fs::write(&left, serde_json::to_vec(&Host { pid: 1, ..Host::here() }).unwrap()).unwrap();
        let _folder = DataFolder::open(folder.path()).unwrap();
        assert!(!left.exists());
    }
}
