//! The blob port: whole objects by key, written atomically, read by range.
//!
//! # Law
//! - [`Blobs::put`] MUST be atomic: a reader sees the old object, the new one, or none, never a part; when it
//!   returns `Ok` the object survives `kill -9` and a power cut (cases: `put_is_read_back`,
//!   `concurrent_puts_and_gets_see_whole_objects`, `put_survives_a_kill`, `nothing_acknowledged_is_lost`).
//! - A put of a stream that fails half-way MUST leave nothing behind (case: `failed_put_leaves_nothing`).
//! - [`Blobs::get`] of a range MUST give exactly those bytes; of a missing key MUST say [`BlobError::NotFound`]
//!   (cases: `range_gives_exactly_those_bytes`, `missing_is_not_found`).
//! - [`Blobs::delete`] of a missing key MUST succeed (case: `missing_is_not_found`).
//! - Keys are `[a-z0-9/_.-]`, at most 512 characters, without empty, `.` or `..` segments; others MUST be refused,
//!   and a key below a key MUST be another object (cases: `other_keys_are_refused`,
//!   `key_below_a_key_is_another_object`).
//! - A whole object whose bytes do not match their checksum MUST end in [`BlobError::Damaged`]
//!   (cases: `damaged_bytes_are_told`, `damaged_objects_are_told`).
//! - A handle for reading only MUST refuse to put and delete (cases: `read_handle_refuses_to_write`,
//!   `s3_read_handle_refuses_to_write`).
//! - [`Blobs::link`], where an engine has links, MUST give the bytes of exactly that object to whoever holds it, until
//!   it expires and no longer (cases: `link_gives_the_bytes`, `link_expires`, `changed_link_is_refused`).
//! - Waiting for a server MUST be bounded (cases: `stalled_server_is_told`, `killed_server_is_told`).

#[doc(hidden)]
pub mod contract;
pub mod folder;
#[cfg(feature = "s3")]
pub mod s3;

use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt};

use crate::secrets::Secret;

/// A stream of an object's bytes.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, BlobError>> + Send>>;

/// What can go wrong at the blob store.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No object under this key.
    #[error("there is no object {0}")]
    NotFound(String),
    /// A key outside the allowed form.
    #[error("{0:?} is no key for an object")]
    Key(String),
    /// Disk full, store gone: try again later.
    #[error("the blob store is unavailable: {0}")]
    Unavailable(String),
    /// The stream that was being stored failed.
    #[error("the upload failed: {0}")]
    Source(String),
    /// The stored bytes do not match their checksum.
    #[error("the object {0} is damaged")]
    Damaged(String),
    /// This role may not write here.
    #[error("this role may not write blobs")]
    NotPermitted,
}

/// What a store knows of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// What a handle may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Look and get.
    Read,
    /// Also put and delete.
    Write,
}

/// What the account of a handle was found to be allowed, by trying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Whether it may get objects; else why not, and what to grant.
    pub read: Result<(), String>,
    /// Whether it may put objects.
    pub write: Result<(), String>,
    /// Whether it may delete objects.
    pub delete: Result<(), String>,
}

/// An engine of the port.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Stores a stream under `key`, replacing what is there; its size and checksum.
    async fn put(&self, key: &str, data: ByteStream) -> Result<BlobInfo, BlobError>;
    /// What is known of an object.
    async fn info(&self, key: &str) -> Result<BlobInfo, BlobError>;
    /// Its bytes, all or a range (clipped to the object's end).
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ByteStream, BlobError>;
    /// Removes an object.
    async fn delete(&self, key: &str) -> Result<(), BlobError>;
    /// A URL by which anybody can GET the object without an account of ours for about `valid_for` (at least a second,
    /// at most seven days); `None` when the engine has no such links, and the caller serves the bytes itself. Whether
    /// the object exists is not looked up. The URL is a secret as long as it is valid.
    async fn link(&self, key: &str, valid_for: Duration) -> Result<Option<Secret>, BlobError>;
    /// Whether the store can be used now; for readiness. Says what to do if not.
    async fn check(&self) -> Result<(), BlobError>;
    /// What the account may do, whatever this handle permits: tried on an object that is no key of anybody's.
    async fn permissions(&self) -> Result<Permissions, BlobError>;
}

/// Refuses what is no key.
fn check_key(key: &str) -> Result<(), BlobError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/_.-".contains(&byte);
    let well_formed = key.len() <= 512
        && key.bytes().all(allowed)
        && key.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    if well_formed { Ok(()) } else { Err(BlobError::Key(key.chars().take(512).collect())) }
}

/// Bytes that are at hand, as a stream to put.
#[must_use]
pub fn once(bytes: impl Into<Bytes>) -> ByteStream {
    Box::pin(futures::stream::iter([Ok(bytes.into())]))
}

/// A whole object in memory; for objects that are known to be small.
///
/// # Errors
/// The first error of the stream.
pub async fn collect(mut stream: ByteStream) -> Result<Vec<u8>, BlobError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}
