//! A blob as a blocking reader: the bridge from the asynchronous store to the synchronous decoder.

use std::io::{Error, Read, Result};

use antiphon_platform::blobs::{BlobError, ByteStream};
use bytes::{Buf, Bytes};
use futures::StreamExt;
use tokio::sync::mpsc;

/// Chunks that may wait for the decoder.
const WAITING_CHUNKS: usize = 4;

/// Reads what a task streams from a blob. To be read outside of the asynchronous threads.
pub(crate) struct BlobReader {
    chunks: mpsc::Receiver<std::result::Result<Bytes, BlobError>>,
    open: Bytes,
}

impl BlobReader {
    /// Starts to stream.
    pub(crate) fn new(mut stream: ByteStream) -> Self {
        let (sender, chunks) = mpsc::channel(WAITING_CHUNKS);
        tokio::spawn(async move {
            while let Some(chunk) = stream.next().await {
                let failed = chunk.is_err();
                // A receiver that is gone has read all that it wants.
                if sender.send(chunk).await.is_err() || failed {
                    return;
                }
            }
        });
        Self { chunks, open: Bytes::new() }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        while self.open.is_empty() {
            match self.chunks.blocking_recv() {
                Some(Ok(chunk)) => self.open = chunk,
                Some(Err(error)) => return Err(Error::other(error)),
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.open.len());
        self.open.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
