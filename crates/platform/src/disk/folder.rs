//! Who may use a folder: programs that know its format, on one machine at a time.
//!
//! Locks do not reach over every network file system, so the machine that uses a folder writes its name into it
//! and repeats that from time to time. Processes of one machine share a folder; another machine is refused as long
//! as the last sign of life is young.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Disk, SharedDisk, create_folders, temporary_beside, write_atomic};
use crate::clock::Micros;

/// How old the last sign of another machine must be before its folder may be taken over.
const STALE: Micros = 90 * crate::clock::SECOND;

/// A folder that this machine uses.
#[derive(Debug)]
pub struct FolderClaim {
    disk: SharedDisk,
    path: PathBuf,
    machine: Machine,
}

/// Why a folder may not be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// What was to be read or written.
        path: String,
        /// What the file system says.
        source: io::Error,
    },
    /// A newer program made it, or something else altogether.
    #[error("{path} is {found:?}, this program knows {known:?}: use the program that made it, or another folder")]
    Format {
        /// The file that says so.
        path: String,
        /// What it says.
        found: String,
        /// What this program would say.
        known: String,
    },
    /// Another machine uses it.
    #[error(
        "{path} is in use by the machine {host}, seen {seconds} s ago: stop it there, or wait until it has been \
         silent for 90 s"
    )]
    Elsewhere {
        /// The folder.
        path: String,
        /// The other machine's name.
        host: String,
        /// Seconds since its last sign of life.
        seconds: i64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Machine {
    id: String,
    boot: String,
    host: String,
}

/// Makes a folder if it is missing, and claims it for this machine: `format` names what it holds and which version.
///
/// # Errors
/// [`FolderError`]; nothing in the folder has changed then.
pub fn claim_folder(disk: SharedDisk, folder: &Path, format: &str, now: Micros) -> Result<FolderClaim, FolderError> {
    let io = |path: &Path| {
        let path = path.display().to_string();
        move |source| FolderError::Io { path, source }
    };
    create_folders(disk.as_ref(), folder).map_err(io(folder))?;
    let format_path = folder.join("format");
    match read(disk.as_ref(), &format_path).map_err(io(&format_path))? {
        None => {
            write_atomic(disk.as_ref(), &format_path, format!("{format}\n").as_bytes()).map_err(io(&format_path))?
        }
        Some(found) if found.trim() == format => {}
        Some(found) => {
            return Err(FolderError::Format {
                path: format_path.display().to_string(),
                found: found.trim().chars().take(80).collect(),
                known: format.to_owned(),
            });
        }
    }
    let path = folder.join("machine");
    let machine = Machine::this();
    // What a power cut left of the file is no sign of life.
    let last = read(disk.as_ref(), &path).map_err(io(&path))?.and_then(|text| Machine::parse(&text));
    if let Some((other, seen)) = last {
        let age = now.saturating_sub(seen);
        if !other.is_same(&machine) && age < STALE {
            let seconds = age.max(0) / crate::clock::SECOND;
            return Err(FolderError::Elsewhere { path: folder.display().to_string(), host: other.host, seconds });
        }
    }
    let claim = FolderClaim { disk, path, machine };
    claim.refresh(now).map_err(io(&claim.path))?;
    Ok(claim)
}

impl FolderClaim {
    /// How often [`refresh`](Self::refresh) is due.
    pub const REFRESH: Duration = Duration::from_secs(20);

    /// Gives another sign of life.
    ///
    /// # Errors
    /// What the file system says.
    pub fn refresh(&self, now: Micros) -> io::Result<()> {
        let Machine { id, boot, host } = &self.machine;
        let text = format!("{id}\n{boot}\n{host}\n{now}\n");
        let temporary = temporary_beside(&self.path);
        // Without a sync: a sign of life that a power cut undoes is none that anybody misses.
        let written = self.disk.create(&temporary).and_then(|file| file.write_at(&[IoSlice::new(text.as_bytes())], 0));
        written.and_then(|()| self.disk.rename(&temporary, &self.path)).inspect_err(|_| {
            // The file system has said what is wrong; a second complaint about the same adds nothing.
            let _ = self.disk.remove(&temporary);
        })
    }
}

impl Machine {
    fn this() -> Self {
        let line = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { id: line("/etc/machine-id"), boot: line("/proc/sys/kernel/random/boot_id"), host }
    }

    fn parse(text: &str) -> Option<(Self, Micros)> {
        let mut lines = text.lines().map(str::to_owned);
        let machine = Self { id: lines.next()?, boot: lines.next()?, host: lines.next()? };
        Some((machine, lines.next()?.parse().ok()?))
    }

    /// Containers of one machine have its boot in common, a machine before and after a boot its id, and where
    /// there is neither, the name must do.
    fn is_same(&self, other: &Self) -> bool {
        let same = |a: &str, b: &str| !a.is_empty() && a == b;
        same(&self.boot, &other.boot) || same(&self.id, &other.id) || same(&self.host, &other.host)
    }
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<String>> {
    let file = match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = vec![0; 1024];
    let filled = file.read_at(&mut bytes, 0)?;
    bytes.truncate(filled);
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;
    use crate::disk::local;

    #[test]
    fn processes_of_one_machine_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue");
        let first = claim_folder(local(), &path, "a queue 1", 5).unwrap();
        claim_folder(local(), &path, "a queue 1", 6).unwrap();
        first.refresh(7).unwrap();
    }

    #[test]
    fn a_newer_format_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("format"), "a queue 2\n").unwrap();
        let error = claim_folder(local(), folder.path(), "a queue 1", 5).unwrap_err();
        assert!(error.to_string().contains("a queue 2"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_machine_is_refused_until_it_is_silent() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("machine"), format!("id\nboot\nattic\n{}\n", 100 * SECOND)).unwrap();
        let error = claim_folder(local(), folder.path(), "a queue 1", 189 * SECOND).unwrap_err();
        assert!(error.to_string().contains("attic, seen 89 s ago"), "{error}");
        claim_folder(local(), folder.path(), "a queue 1", 190 * SECOND).unwrap();
        let error = Machine::parse(&std::fs::read_to_string(folder.path().join("machine")).unwrap());
        assert_eq!(error.unwrap().1, 190 * SECOND);
    }
}
