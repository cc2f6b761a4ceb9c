//! Secrets: values that no log, error or listing shows, and references to where they are kept.

use std::fmt;

/// The largest file that a reference may name, in bytes.
const FILE_LIMIT: u64 = 64 * 1024;

/// A text that is never shown: `Debug` and `Display` give `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Why a reference leads nowhere. Says where it was looked for, never what was found.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment variable is not set, or not UTF-8.
    #[error("the environment variable {0} is not set")]
    Environment(String),
    /// The file cannot be read.
    #[error("the file {path} cannot be read: {reason}")]
    File {
        /// Its path.
        path: String,
        /// Why.
        reason: String,
    },
}

/// Whether a setting's text says where its value is kept: `env:NAME` or `file:PATH`.
#[must_use]
pub fn is_reference(text: &str) -> bool {
    text.starts_with("env:") || text.starts_with("file:")
}

/// The value that `text` stands for: that of the environment variable of `env:NAME`, that of the file of
/// `file:PATH` (one line end at its end is left out), or `text` itself. It is looked up each time, so that a secret
/// that is rotated is picked up by whoever asks again.
///
/// # Errors
/// [`SecretError`] when the reference leads nowhere.
pub fn resolve(text: &str) -> Result<Secret, SecretError> {
    if let Some(name) = text.strip_prefix("env:") {
        return std::env::var(name).map(Secret).map_err(|_| SecretError::Environment(name.to_owned()));
    }
    let Some(path) = text.strip_prefix("file:") else { return Ok(Secret::new(text)) };
    let failed = |reason: String| SecretError::File { path: path.to_owned(), reason };
    let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > FILE_LIMIT {
        return Err(failed(format!("it has {size} bytes, {FILE_LIMIT} are allowed")));
    }
    let mut text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    if text.ends_with('\n') {
        text.pop();
    }
    if text.ends_with('\r') {
        text.pop();
    }
    Ok(Secret(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn references_lead_to_the_environment_and_to_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let reference = format!("file:{}", path.display());
        assert!(resolve(&reference).unwrap_err().to_string().contains("password"));
        std::fs::write(&path, "hunter2\n").unwrap();
        assert_eq!(resolve(&reference).unwrap().reveal(), "hunter2");
        std::fs::write(&path, "rotated\r\n").unwrap();
        assert_eq!(resolve(&reference).unwrap().reveal(), "rotated");
        assert_eq!(resolve("env:CARGO_PKG_NAME").unwrap().reveal(), "antiphon-platform");
        let error = resolve("env:ANTIPHON_TEST_NOT_SET").unwrap_err();
        assert!(error.to_string().contains("ANTIPHON_TEST_NOT_SET"));
        assert_eq!(resolve("plain").unwrap().reveal(), "plain");
    }
}
