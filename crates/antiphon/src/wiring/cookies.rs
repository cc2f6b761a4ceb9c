//! The secret that visitors' cookies are sealed with.

use std::fs;
use std::path::Path;

use antiphon_platform::config::Config;
use anyhow::{Context, Result};
use data_encoding::HEXLOWER;

use crate::data_folder;

/// Where it is kept, so that a restart signs nobody out.
const FILE: &str = "web.key";

/// Bytes of one that is made here.
const LENGTH: usize = 32;

/// The one that is set, or kept in the data folder; without either a new one, good until this process ends.
///
/// # Errors
/// When the file can neither be read nor made.
pub fn secret(config: &Config, folder: Option<&Path>) -> Result<Vec<u8>> {
    if let Some(set) = config.secret("web.secret")? {
        return Ok(set.reveal().as_bytes().to_vec());
    }
    let Some(folder) = folder else { return made().map(String::into_bytes) };
    let path = folder.join(FILE);
    let usable = |kept: &String| kept.trim().len() >= LENGTH;
    if let Some(kept) = fs::read_to_string(&path).ok().filter(usable) {
        return Ok(kept.trim().as_bytes().to_vec());
    }
    let secret = made()?;
    data_folder::write_private(&path, &secret).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(secret.into_bytes())
}

fn made() -> Result<String> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).context("this machine gives no random numbers")?;
    Ok(HEXLOWER.encode(&bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::settings;

    #[test]
    fn it_is_made_once_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let config = settings::load(folder.path(), Vec::new()).unwrap();
        let first = secret(&config, Some(folder.path())).unwrap();
        assert_eq!(secret(&config, Some(folder.path())).unwrap(), first);
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(secret(&config, None).unwrap(), secret(&config, None).unwrap());
    }
}
