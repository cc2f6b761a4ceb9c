//! The blob port: whole objects by key, written atomically, read by range.
//!
//! # Law
//! - [`Blobs::put`] MUST be atomic: a reader sees the old object, the new one, or none, never a part; when it
//!   returns `Ok` the object survives `kill -9` and a power cut.
//! - A put of a stream that fails half-way MUST leave nothing behind.
//! - [`Blobs::get`] of a range MUST give exactly those bytes; of a missing key MUST say [`BlobError::NotFound`].
//! - [`Blobs::delete`] of a missing key MUST succeed.
//! - Keys are `[a-z0-9/_.-]`, at most 512 characters, without `..` or empty segments; others MUST be refused.

use std::ops::Range;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;

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
    /// Whether a put could succeed now; for readiness. Says what to do if not.
    async fn check(&self) -> Result<(), BlobError>;
}
