//! Removes the objects that crashes left behind.

use antiphon_platform::blobs::{BlobError, Blobs};
use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::db::{Database, DbError};

use crate::songs;

/// How long an object may be loose: longer than any upload takes.
const LOOSE: Micros = 24 * 3_600 * SECOND;

/// Objects removed at most in one sweep.
const AT_ONCE: u32 = 1_000;

/// Why a sweep ended early; the next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The database said no.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The blob store said no.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

/// Removes objects that belong to no song since a day: what a crash left of uploads and deletions. Safe to
/// run at any time, and twice at once; how many it removed, at most 1,000.
///
/// # Errors
/// Those of database and blob store.
pub async fn sweep(db: &Database, blobs: &dyn Blobs, clock: &Clock) -> Result<usize, SweepError> {
    let old = songs::old_loose_blobs(&mut db.read().await?, clock.now() - LOOSE, AT_ONCE).await?;
    for blob in &old {
        release(db, blobs, blob).await?;
    }
    Ok(old.len())
}

/// Removes one object unless a song owns it. It stays noted until it is gone.
pub(crate) async fn release(db: &Database, blobs: &dyn Blobs, blob: &str) -> Result<(), SweepError> {
    // A commit whose answer was lost may have made it a song's, or may still do so: only a lock of the note tells.
    let mut tx = db.write().await?;
    let is_loose = songs::lock_loose_blob(&mut tx, blob).await?;
    tx.commit().await?;
    if !is_loose {
        return Ok(());
    }
    blobs.delete(blob).await?;
    let mut tx = db.write().await?;
    songs::delete_loose_blob(&mut tx, blob).await?;
    tx.commit().await?;
    Ok(())
}
