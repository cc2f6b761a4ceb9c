//! A blob as a file that can be read anywhere: for tags, which lie at both ends.

use std::io::{Error, Read, Result, Seek, SeekFrom};
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_platform::blobs::{Blobs, collect};
use tokio::runtime::Handle;

/// Bytes that are fetched at once at a place that was not read before; as reading goes on there, twice as many each
/// time.
const FIRST_FETCH: u64 = 64 << 10;
/// Bytes that are fetched at once at most, but where more are asked for at once.
const LARGEST_FETCH: u64 = 1 << 20;
/// Bytes of one blob that are fetched in all.
const FETCH_LIMIT: u64 = 64 << 20;
/// How long all fetches together may take.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Reads a blob by ranges. To be read outside of the asynchronous threads.
pub(crate) struct BlobFile {
    blobs: Arc<dyn Blobs>,
    key: String,
    length: u64,
    position: u64,
    /// What was fetched last, and where it begins.
    fetched: Vec<u8>,
    fetched_from: u64,
    next_fetch: u64,
    left: u64,
    deadline: Instant,
    runtime: Handle,
}

impl BlobFile {
    /// The blob `key` of `length` bytes. To be made in an asynchronous task.
    pub(crate) fn new(blobs: Arc<dyn Blobs>, key: &str, length: u64) -> Self {
        Self {
            blobs,
            key: key.to_owned(),
            length,
            position: 0,
            fetched: Vec::new(),
            fetched_from: 0,
            next_fetch: FIRST_FETCH,
            left: FETCH_LIMIT,
            deadline: Instant::now() + TIME_LIMIT,
            runtime: Handle::current(),
        }
    }

    /// Fetches from the position on.
    fn fetch(&mut self, wanted: u64) -> Result<()> {
        let goes_on = self.position == self.fetched_from + self.fetched.len() as u64;
        self.next_fetch = if goes_on { (self.next_fetch * 2).min(LARGEST_FETCH) } else { FIRST_FETCH };
        let end = self.position.saturating_add(wanted.max(self.next_fetch)).min(self.length);
        let count = end - self.position;
        if count > self.left {
            return Err(Error::other("more of the file would have to be fetched than is done for tags"));
        }
        let Some(patience) = self.deadline.checked_duration_since(Instant::now()) else {
            return Err(Error::other("the file was not fetched in time"));
        };
        self.left -= count;
        let get = async { collect(self.blobs.get(&self.key, Some(self.position..end)).await?).await };
        let bytes = self.runtime.block_on(async { tokio::time::timeout(patience, get).await });
        let bytes = bytes.map_err(|_| Error::other("the file was not fetched in time"))?.map_err(Error::other)?;
        if bytes.len() as u64 != count {
            return Err(Error::other("the blob store gave another number of bytes than were asked for"));
        }
        (self.fetched, self.fetched_from) = (bytes, self.position);
        Ok(())
    }

    /// What is at hand from the position on.
    fn at_hand(&self) -> &[u8] {
        let offset = self.position.checked_sub(self.fetched_from).and_then(|offset| usize::try_from(offset).ok());
        offset.and_then(|offset| self.fetched.get(offset..)).unwrap_or_default()
    }
}

impl Read for BlobFile {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() || self.position >= self.length {
            return Ok(0);
        }
        if self.at_hand().is_empty() {
            self.fetch(buffer.len() as u64)?;
        }
        let bytes = self.at_hand();
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for BlobFile {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or_else(|| Error::other("there is nothing before the beginning"))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use antiphon_platform::blobs::folder::{Access, FolderBlobs};
    use antiphon_platform::blobs::{BlobError, once};
    use antiphon_platform::cpu;
    use antiphon_platform::disk;
    use proptest::prelude::*;

    use super::*;

    fn store(folder: &tempfile::TempDir) -> Arc<dyn Blobs> {
        Arc::new(FolderBlobs::open(disk::local(), folder.path(), Access::Write).unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_reads_what_is_there(reads in prop::collection::vec((0_u64..400_000, 0_usize..150_000), 1..12)) {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let folder = tempfile::tempdir().unwrap();
                let blobs = store(&folder);
                let bytes: Vec<u8> = (0..333_333_u32).map(|index| (index / 7) as u8).collect();
                blobs.put("songs/a", once(bytes.clone())).await.unwrap();
                let mut file = BlobFile::new(blobs, "songs/a", bytes.len() as u64);
                let all_alike = cpu::run(move || {
                    reads.into_iter().all(|(start, length)| {
                        let mut found = vec![0; length];
                        file.seek(SeekFrom::Start(start)).unwrap();
                        let whole = file.read_exact(&mut found).is_ok();
                        let start = usize::try_from(start).unwrap();
                        let expected = bytes.get(start..start + length);
                        if length == 0 { whole } else { expected.map_or(!whole, |expected| whole && found == expected) }
                    })
                });
                assert!(all_alike.await.unwrap());
            });
        }
    }

    #[tokio::test]
    async fn what_the_store_says_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = BlobFile::new(store(&folder), "songs/none", 10);
        let error = cpu::run(move || file.read(&mut [0; 4]).unwrap_err()).await.unwrap();
        assert!(matches!(error.downcast::<BlobError>(), Ok(BlobError::NotFound(_))));
    }
}
