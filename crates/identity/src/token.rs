//! The local operator token: how commands beside a running server get in without a key.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::keys;

/// A token that opens everything to peers on the loopback, while the process lives that made it. It lies in a file
/// that only the owner of the data folder may read, and is removed when this is dropped; what a killed
/// process leaves behind opens nothing, because the next one makes its own.
#[derive(Debug)]
pub struct LocalToken {
    path: PathBuf,
    hash: [u8; 32],
}

impl LocalToken {
    /// Makes a token and writes it to `folder/token` (mode 0600), making the folder (mode 0700) if needed.
    ///
    /// # Errors
    /// When the folder cannot be written, or the machine gives no random bytes.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let token = keys::random_key().map_err(io::Error::other)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join("token");
        let written = folder.join(format!("token.{}", std::process::id()));
        let _ = fs::remove_file(&written);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&written)?;
        file.write_all(token.as_bytes())?;
        // Not synced: after a power cut there is no process that it could open.
        fs::rename(&written, &path)?;
        Ok(Self { path, hash: keys::hash(&token) })
    }

    /// SHA-256 of the token.
    pub(crate) fn hash(&self) -> [u8; 32] {
        self.hash
    }
}

impl Drop for LocalToken {
    fn drop(&mut self) {
        // Another process on the same data folder may have put its own token there since.
        let ours = fs::read_to_string(&self.path).is_ok_and(|token| keys::hash(&token) == self.hash);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_token_is_readable_by_its_owner_only_and_removed_at_exit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/token");
        let token = LocalToken::create(&folder.path().join("run")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(keys::hash(&fs::read_to_string(&path).unwrap()), token.hash());
        drop(token);
        assert!(!path.exists());
    }

    #[test]
    fn a_process_does_not_remove_the_token_of_its_successor() {
        let folder = tempfile::tempdir().unwrap();
        let first = LocalToken::create(folder.path()).unwrap();
        let second = LocalToken::create(folder.path()).unwrap();
        drop(first);
        assert_eq!(keys::hash(&fs::read_to_string(folder.path().join("token")).unwrap()), second.hash());
    }
}
