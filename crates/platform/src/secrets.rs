//! Secrets: values that no log, error or listing shows, and references to where they are kept.
//!
//! A setting's text may say where its value is kept:
//!
//! | text | its value |
//! |---|---|
//! | `env:NAME` | that of an environment variable |
//! | `file:PATH` | a file's, without one line end at its end; for mounted volumes |
//! | `secretsmanager:NAME` or `:ARN` | that of AWS Secrets Manager, in its current version |
//! | `ssm:NAME` or `:ARN` | a parameter's of AWS Systems Manager, decrypted |
//!
//! `#FIELD` behind any of them takes one text or number of a JSON object. Variables and files are read whenever they are
//! asked for; what AWS keeps is remembered for [`REMEMBERED`] and asked for again when an engine has refused it.

#[cfg(feature = "aws")]
mod aws;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::address::Freshness;

/// The largest secret that is taken, in bytes; Secrets Manager's own bound.
const LIMIT: u64 = 64 * 1024;

/// How long what AWS keeps is used without asking again.
pub const REMEMBERED: Duration = Duration::from_secs(60);

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
#[derive(Clone, Debug, thiserror::Error)]
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
    /// What was found is no JSON object with this field.
    #[error("{place} has no field {field}: it must be a JSON object in which {field} is a text or a number")]
    Field {
        /// Where it was looked for.
        place: String,
        /// The field's name.
        field: String,
    },
    /// AWS does not give it.
    #[error("{place} cannot be had from AWS: {reason}")]
    Aws {
        /// The reference.
        place: String,
        /// Why.
        reason: String,
    },
    /// This build has no client of AWS.
    #[error("{0} is kept by AWS, which this program was built without: build it with the feature `s3`")]
    NotBuilt(String),
    /// What AWS keeps was asked for before it was looked up.
    #[error("{0} has not been looked up yet")]
    NotLookedUp(String),
    /// A user name or password has no place in its address.
    #[error("the address has no ://, so that no user name or password can go into it")]
    Address,
}

/// What a setting's text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reference<'a> {
    /// The value itself.
    Value,
    Environment(&'a str),
    File(&'a str),
    Aws(Service, &'a str),
}

/// What of AWS keeps a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    SecretsManager,
    Parameters,
}

impl Reference<'_> {
    /// What a text is, and the JSON field that it takes of it.
    fn parse(text: &str) -> (Reference<'_>, Option<&str>) {
        let Some((scheme, rest)) = text.split_once(':') else { return (Reference::Value, None) };
        let (place, field) = match rest.rsplit_once('#') {
            Some((place, field)) if !field.is_empty() => (place, Some(field)),
            _ => (rest, None),
        };
        match scheme {
            "env" => (Reference::Environment(place), field),
            "file" => (Reference::File(place), field),
            "secretsmanager" => (Reference::Aws(Service::SecretsManager, place), field),
            "ssm" => (Reference::Aws(Service::Parameters, place), field),
            _ => (Reference::Value, None),
        }
    }
}

/// Whether a setting's text says where its value is kept, instead of being it.
#[must_use]
pub fn is_reference(text: &str) -> bool {
    Reference::parse(text).0 != Reference::Value
}

/// The value that `text` stands for, if it is kept on this machine. It is looked up each time, so that a secret that is
/// rotated is picked up by whoever asks again.
///
/// # Errors
/// [`SecretError`] when the reference leads nowhere, or to AWS ([`Secrets`] goes there).
pub fn resolve(text: &str) -> Result<Secret, SecretError> {
    let (reference, field) = Reference::parse(text);
    let whole = match reference {
        Reference::Value => return Ok(Secret::new(text)),
        Reference::Environment(name) => {
            std::env::var(name).map(Secret).map_err(|_| SecretError::Environment(name.to_owned()))?
        }
        Reference::File(path) => read_file(path)?,
        Reference::Aws(..) => return Err(SecretError::NotLookedUp(text.to_owned())),
    };
    field_of(whole, text, field)
}

fn read_file(path: &str) -> Result<Secret, SecretError> {
    let failed = |reason: String| SecretError::File { path: path.to_owned(), reason };
    let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > LIMIT {
        return Err(failed(format!("it has {size} bytes, {LIMIT} are allowed")));
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

/// The field of a JSON object, if one is asked for.
fn field_of(whole: Secret, text: &str, field: Option<&str>) -> Result<Secret, SecretError> {
    let Some(field) = field else { return Ok(whole) };
    let missing = || {
        let place = text.rsplit_once('#').map_or(text, |(place, _)| place);
        SecretError::Field { place: place.to_owned(), field: field.to_owned() }
    };
    // The parser's own error would quote what it read.
    let json: serde_json::Value = serde_json::from_str(whole.reveal()).map_err(|_| missing())?;
    match json.get(field) {
        Some(serde_json::Value::String(text)) => Ok(Secret::new(text)),
        Some(serde_json::Value::Number(number)) => Ok(Secret::new(number.to_string())),
        _ => Err(missing()),
    }
}

/// Follows references, those to AWS included, and remembers what AWS said.
#[derive(Clone)]
pub struct Secrets {
    shared: Arc<Shared>,
}

struct Shared {
    remembered: Mutex<HashMap<String, Remembered>>,
    /// Held by the one who asks AWS, so that many who wait for the same are one question.
    asking: tokio::sync::Mutex<()>,
    /// What the environment says of AWS; `None`: this process's.
    #[cfg(feature = "aws")]
    environment: Option<Vec<(String, String)>>,
    #[cfg(feature = "aws")]
    keeper: std::sync::OnceLock<Result<aws::Keeper, String>>,
}

struct Remembered {
    value: Secret,
    since: Instant,
}

impl Default for Secrets {
    fn default() -> Self {
        Self::with_environment(None)
    }
}

impl Secrets {
    /// Follows references; `environment` says how AWS is reached, in its own variables (`AWS_REGION`,
    /// `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, ...), `None` that this process's does.
    #[must_use]
    #[cfg_attr(not(feature = "aws"), expect(unused_variables, reason = "only the client of AWS reads it"))]
    pub fn with_environment(environment: Option<Vec<(String, String)>>) -> Self {
        let shared = Shared {
            remembered: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            #[cfg(feature = "aws")]
            environment,
            #[cfg(feature = "aws")]
            keeper: std::sync::OnceLock::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The value that `text` stands for.
    ///
    /// # Errors
    /// [`SecretError`] when the reference leads nowhere, within 10 s.
    pub async fn look_up(&self, text: &str, freshness: Freshness) -> Result<Secret, SecretError> {
        self.look_up_since(text, oldest(freshness)).await
    }

    /// The value that `text` stands for, as it was at `since` or later. Several fields of one secret that are looked up
    /// with the same `since` belong together.
    pub(crate) async fn look_up_since(&self, text: &str, since: Since) -> Result<Secret, SecretError> {
        let (Reference::Aws(service, name), field) = Reference::parse(text) else { return resolve(text) };
        // A text without the field, so that the fields of a secret are one question.
        let place = text.strip_suffix(field.unwrap_or_default()).unwrap_or(text).trim_end_matches('#');
        if let Some(value) = self.fresh(place, since) {
            return field_of(value, text, field);
        }
        let _alone = self.shared.asking.lock().await;
        if let Some(value) = self.fresh(place, since) {
            return field_of(value, text, field);
        }
        let value = match self.ask_aws(place, service, name).await {
            Ok(value) => {
                let remembered = Remembered { value: value.clone(), since: Instant::now() };
                self.remembered().insert(place.to_owned(), remembered);
                value
            }
            // An AWS that cannot be reached must not stop what an older value still can do.
            Err(error) => match (since, self.known(place)) {
                (Since::Remembered, Some(value)) => {
                    tracing::warn!(%error, "going on with the last known value");
                    value
                }
                _ => return Err(error),
            },
        };
        field_of(value, text, field)
    }

    /// The value that `text` stands for, of what is kept on this machine or was looked up before.
    ///
    /// # Errors
    /// [`SecretError`] when the reference leads nowhere, or was not looked up yet.
    pub fn resolve(&self, text: &str) -> Result<Secret, SecretError> {
        let (Reference::Aws(..), field) = Reference::parse(text) else { return resolve(text) };
        let place = text.strip_suffix(field.unwrap_or_default()).unwrap_or(text).trim_end_matches('#');
        let value = self.known(place).ok_or_else(|| SecretError::NotLookedUp(text.to_owned()))?;
        field_of(value, text, field)
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.shared.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, place: &str) -> Option<Secret> {
        self.remembered().get(place).map(|remembered| remembered.value.clone())
    }

    fn fresh(&self, place: &str, since: Since) -> Option<Secret> {
        let remembered = self.remembered();
        let remembered = remembered.get(place)?;
        let fresh = match since {
            Since::Remembered => remembered.since.elapsed() < REMEMBERED,
            Since::At(instant) => remembered.since >= instant,
        };
        fresh.then(|| remembered.value.clone())
    }

    #[cfg(feature = "aws")]
    async fn ask_aws(&self, place: &str, service: Service, name: &str) -> Result<Secret, SecretError> {
        let failed = |reason: String| SecretError::Aws { place: place.to_owned(), reason };
        let shared = &self.shared;
        let keeper = shared.keeper.get_or_init(|| aws::Keeper::new(shared.environment.clone()));
        let keeper = keeper.as_ref().map_err(|reason| failed(reason.clone()))?;
        keeper.get(service, name).await.map_err(failed)
    }

    #[cfg(not(feature = "aws"))]
    async fn ask_aws(&self, place: &str, _service: Service, _name: &str) -> Result<Secret, SecretError> {
        Err(SecretError::NotBuilt(place.to_owned()))
    }
}

/// How old what is known may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Since {
    /// As old as [`REMEMBERED`].
    Remembered,
    /// Not older than this.
    At(Instant),
}

/// What a freshness means when it is asked for now.
pub(crate) fn oldest(freshness: Freshness) -> Since {
    match freshness {
        Freshness::Cached => Since::Remembered,
        Freshness::Now => Since::At(Instant::now()),
    }
}

#[cfg(test)]
mod tests;
