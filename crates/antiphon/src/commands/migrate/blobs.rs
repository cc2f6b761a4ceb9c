//! Objects, from a folder into another blob store.

use std::path::Path;
use std::sync::Arc;

use antiphon_platform::blobs::folder::FolderBlobs;
use antiphon_platform::blobs::{Access, BlobError, BlobInfo, Blobs};
use antiphon_platform::disk;
use anyhow::{Context, Result, ensure};

use super::progress::Progress;

/// What went over, or was there already.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moved {
    /// Number of objects.
    pub objects: u64,
    /// Their size.
    pub bytes: u64,
}

/// Copies every object that the target does not have as it is here. Size and SHA-256 of each are compared.
///
/// # Errors
/// Those of the stores; which object is damaged.
pub async fn copy(folder: &Path, target: Arc<dyn Blobs>, json: bool) -> Result<Moved> {
    let mut moved = Moved::default();
    if !folder.exists() {
        return Ok(moved);
    }
    let source = FolderBlobs::open(disk::local(), folder, Access::Read)?;
    let keys = source.keys().await?;
    let progress = Progress::new("blobs", if json { 0 } else { keys.len() as u64 });
    for key in keys {
        let here: BlobInfo = source.info(&key).await?;
        let there = match target.info(&key).await {
            Ok(there) => Some(there),
            Err(BlobError::NotFound(_)) => None,
            Err(error) => return Err(error).context("cannot look into the target's blobs"),
        };
        if there.as_ref() != Some(&here) {
            let put = target.put(&key, source.get(&key, None).await?).await;
            let put = put.with_context(|| format!("cannot copy {key}"))?;
            ensure!(put == here, "{key} did not arrive as it was: {} bytes of {}", put.size, here.size);
        }
        moved.objects += 1;
        moved.bytes += here.size;
        progress.add(1);
    }
    Ok(moved)
}
