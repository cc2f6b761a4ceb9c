//! Owners: who writes segments and holds deliveries. A locked file proves that an owner lives.

use std::io;
use std::path::{Path, PathBuf};

use crate::clock::Micros;
use crate::disk::{FileLock, lock_file, lock_is_held};

/// This engine among all that share the folder. Its deliveries return, and its segments end, when it is dropped.
#[derive(Debug)]
pub(super) struct Owner {
    name: String,
    lock: PathBuf,
    _held: FileLock,
}

impl Owner {
    /// Becomes an owner: a name that nobody had before, and its lock.
    pub(super) fn new(folder: &Path, now: Micros) -> io::Result<Self> {
        let mut random = [0; 6];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let name = format!("{now:016x}{}", data_encoding::HEXLOWER.encode(&random));
        let lock = lock_path(folder, &name);
        // Locked before it has a name that anybody asks for.
        let unborn = folder.join("owners").join(format!(".{name}"));
        let held = lock_file(&unborn)?.ok_or_else(|| io::Error::other(format!("{} is locked", unborn.display())))?;
        std::fs::rename(&unborn, &lock)?;
        Ok(Self { name, lock, _held: held })
    }

    /// Its name: hexadecimal digits that sort by the time of its birth.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // A file that stays behind is no harm: it is not locked, so its owner is dead.
        let _ = std::fs::remove_file(&self.lock);
    }
}

/// Whether an owner lives. In doubt it does.
pub(super) fn lives(folder: &Path, name: &str) -> bool {
    lock_is_held(&lock_path(folder, name)).unwrap_or(true)
}

/// Removes what dead owners left: their locks and their pipes.
pub(super) fn bury(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder.join("owners"))?.chain(std::fs::read_dir(folder.join("wake"))?) {
        let path = entry?.path();
        // Names with a dot in front are owners that are just being born.
        let Some(name) = path.file_stem().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.')) else {
            continue;
        };
        if !lives(folder, name) {
            // Somebody else may have buried it in the meantime.
            let _ = std::fs::remove_file(&path);
        }
    }
    Ok(())
}

fn lock_path(folder: &Path, name: &str) -> PathBuf {
    folder.join("owners").join(name).with_extension("lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_lives_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("owners")).unwrap();
        std::fs::create_dir(folder.path().join("wake")).unwrap();
        let (one, other) = (Owner::new(folder.path(), 5).unwrap(), Owner::new(folder.path(), 5).unwrap());
        let name = one.name().to_owned();
        assert!(lives(folder.path(), &name));
        drop(one);
        assert!(!lives(folder.path(), &name));
        std::fs::write(folder.path().join("owners/0000.lock"), "").unwrap();
        bury(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("owners")).unwrap().count(), 1);
        assert!(lives(folder.path(), other.name()));
    }
}
