//! Audio on its way in: bounded in size, time and memory, refused by its first bytes.

use std::sync::Arc;
use std::time::Duration;

use antiphon_audio::{SNIFF_BYTES, sniff};
use antiphon_platform::http::{Problem, UploadBody};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Memory that all uploads together may fill, in units of [`UNIT`] bytes; at least four of the largest.
const MEMORY: usize = 64 * 1024;

/// What memory is counted in, in bytes.
const UNIT: usize = 1024;

/// How long an upload waits for memory before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long one upload may take in all: 16 MiB at 60 kB/s.
const LONGEST: Duration = Duration::from_secs(300);

/// What is said of bytes that no decoder knows.
const NOT_AUDIO: &str =
    "the bytes are not audio of a known format; WAV, AIFF, FLAC, MP3, Ogg, MP4, AAC and Matroska are";

/// What to do with a file that is too long, such as a recorder's of an hour.
const IN_PIECES: &str = "a long file is sent in pieces by `antiphon sensor record SENSOR --start TIME < FILE`, several that follow one \
                         another by `antiphon sensor simulate SENSOR FILE... --speed max --start TIME`";

/// Reads audio from requests within a common budget of memory. Cheap to clone.
#[derive(Clone)]
pub struct Uploads {
    limit: usize,
    memory: Arc<Semaphore>,
}

/// An audio file in memory, counted in the budget until it is dropped.
pub(super) struct Upload {
    pub(super) audio: Bytes,
    _memory: OwnedSemaphorePermit,
}

impl Uploads {
    /// Takes audio files of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, memory: Arc::new(Semaphore::new(MEMORY.max(units(limit) * 4))) }
    }

    /// Most bytes of an audio file.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Reads a body that is an audio file.
    ///
    /// # Errors
    /// 400 for an empty or broken body, 413 over the limit, 415 for what is no audio by its first bytes, all
    /// before the rest is read; 408 for a sender that is too slow; 503 when too many upload at once.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Upload, Problem> {
        let announced = content_length(headers);
        let (stream, watch) = UploadBody::stream(headers, body, self.limit as u64)?;
        if announced == Some(0) {
            return Err(empty());
        }
        let memory = self.reserve(announced.unwrap_or(self.limit)).await?;
        let read = timeout(LONGEST, collect(stream, announced.unwrap_or(0))).await;
        let audio = match read {
            Ok(Ok(audio)) => audio,
            Ok(Err(problem)) => return Err(watch.problem().unwrap_or(problem)),
            Err(_) => {
                let detail = format!("the upload took longer than {} s", LONGEST.as_secs());
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail));
            }
        };
        Ok(Upload { audio, _memory: memory })
    }

    /// Waits for `bytes` of the budget.
    pub(super) async fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let wanted = u32::try_from(units(bytes)).unwrap_or(u32::MAX);
        match timeout(PATIENCE, Arc::clone(&self.memory).acquire_many_owned(wanted)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Problem::unavailable("too much audio is being sent at once")),
        }
    }
}

/// Whether an audio file that came inside something else may be taken: at most `limit` bytes of a known format.
///
/// # Errors
/// 400 for no bytes, 413 over the limit, 415 for what is no audio by its first bytes.
pub(crate) fn check_audio(audio: &[u8], limit: usize) -> Result<(), Problem> {
    if audio.is_empty() {
        return Err(empty());
    }
    if audio.len() > limit {
        return Err(Problem::too_large(limit as u64));
    }
    known_format(audio)
}

/// A problem with what to do about it, if it is that of too much audio.
pub(super) fn in_pieces(problem: Problem) -> Problem {
    if problem.status == 413 { problem.hint(Some(IN_PIECES)) } else { problem }
}

/// The announced length in bytes.
pub(super) fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT).max(1)
}

/// All of a stream, refused as soon as its first bytes are no audio. One chunk is handed on without a copy.
async fn collect(mut stream: antiphon_platform::blobs::ByteStream, announced: usize) -> Result<Bytes, Problem> {
    let broken = |error: antiphon_platform::blobs::BlobError| Problem::from(error);
    let first = loop {
        match stream.next().await.transpose().map_err(broken)? {
            Some(chunk) if chunk.is_empty() => {}
            Some(chunk) => break chunk,
            None => return Err(empty()),
        }
    };
    if first.len() >= SNIFF_BYTES {
        known_format(&first)?;
    }
    if first.len() == announced {
        known_format(&first)?;
        return Ok(first);
    }
    // What is announced but never sent should not cost memory.
    let mut audio = BytesMut::with_capacity(announced.min(1024 * 1024).max(first.len()));
    let mut sniffed = first.len() >= SNIFF_BYTES;
    audio.extend_from_slice(&first);
    drop(first);
    while let Some(chunk) = stream.next().await.transpose().map_err(broken)? {
        audio.extend_from_slice(&chunk);
        if !sniffed && audio.len() >= SNIFF_BYTES {
            known_format(&audio)?;
            sniffed = true;
        }
    }
    known_format(&audio)?;
    Ok(audio.freeze())
}

fn known_format(head: &[u8]) -> Result<(), Problem> {
    if sniff(head).is_some() { Ok(()) } else { Err(Problem::unsupported(NOT_AUDIO)) }
}

fn empty() -> Problem {
    Problem::bad_request("empty-body", "there are no bytes of audio")
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http::HeaderValue;

    use super::*;

    fn chunks(chunks: Vec<&'static [u8]>) -> Body {
        Body::from_stream(stream::iter(
            chunks.into_iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk))),
        ))
    }

    fn then_silence(head: &'static [u8]) -> Body {
        let head = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(head))]);
        Body::from_stream(head.chain(stream::pending()))
    }

    async fn status(limit: usize, headers: &HeaderMap, body: Body) -> u16 {
        Uploads::new(limit).read(headers, body).await.err().unwrap().status
    }

    const FLAC: &[u8] = b"fLaC0123456789012345678901234567890123456789012345678901234567890123456789";

    #[tokio::test]
    async fn audio_comes_through_however_it_is_cut() {
        let uploads = Uploads::new(100);
        for body in [chunks(vec![FLAC]), chunks(vec![&FLAC[..1], &FLAC[1..3], b"", &FLAC[3..]]), Body::from(FLAC)] {
            assert_eq!(uploads.read(&HeaderMap::new(), body).await.unwrap().audio, FLAC);
        }
    }

    #[tokio::test]
    async fn what_is_no_audio_is_refused_before_the_rest_comes() {
        let page = b"<html>                                                                          ";
        assert_eq!(status(1000, &HeaderMap::new(), then_silence(page)).await, 415);
        assert_eq!(status(1000, &HeaderMap::new(), chunks(vec![b"<h", b"tml>"])).await, 415);
    }

    #[tokio::test]
    async fn empty_and_over_the_limit_are_refused() {
        assert_eq!(status(100, &HeaderMap::new(), Body::empty()).await, 400);
        assert_eq!(status(100, &HeaderMap::new(), chunks(vec![b"", b""])).await, 400);
        assert_eq!(status(FLAC.len() - 1, &HeaderMap::new(), Body::from(FLAC)).await, 413);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(101));
        assert_eq!(status(100, &headers, then_silence(b"")).await, 413);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
        assert_eq!(status(100, &headers, then_silence(b"")).await, 400);
    }

    #[tokio::test(start_paused = true)]
    async fn when_memory_is_taken_the_sender_is_told_to_come_back() {
        let uploads = Uploads::new(16 * 1024 * 1024);
        let held = uploads.reserve(60 * 1024 * 1024).await.unwrap();
        let problem = uploads.reserve(16 * 1024 * 1024).await.err().unwrap();
        assert_eq!((problem.status, problem.retry_after.is_some()), (503, true));
        drop(held);
        assert!(uploads.reserve(16 * 1024 * 1024).await.is_ok());
    }
}
