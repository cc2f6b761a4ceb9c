//! Bytes of a file by position, within bounds: whatever its headers say, no more than so much is read.

use std::io::{Error, ErrorKind, Read, Seek, SeekFrom};

/// Bytes that are read of one file at most: tags with pictures as large as are taken, and what lies between.
const READ_LIMIT: u64 = 48 << 20;
/// Reads of one file at most: chunks, frames, pages. More than any file that is meant to be listened to has.
const READS_LIMIT: u32 = 50_000;

/// Why reading a part of a file ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The bytes are not what they should be; why, in words.
    Broken(String),
    /// The source failed. It may go away by itself.
    Io(Error),
}

impl Stop {
    pub(super) fn broken(reason: impl Into<String>) -> Self {
        Self::Broken(reason.into())
    }
}

/// A file.
pub(super) struct Source<R> {
    inner: R,
    length: u64,
    position: u64,
    bytes_left: u64,
    reads_left: u32,
}

impl<R: Read + Seek> Source<R> {
    pub(super) fn new(mut inner: R) -> Result<Self, Error> {
        let length = inner.seek(SeekFrom::End(0))?;
        Ok(Self { inner, length, position: length, bytes_left: READ_LIMIT, reads_left: READS_LIMIT })
    }

    /// Bytes in the file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The `length` bytes from `start`; all of them, or an error.
    pub(super) fn read(&mut self, start: u64, length: u64) -> Result<Vec<u8>, Stop> {
        if start.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(Stop::broken("the file ends before it"));
        }
        if length > self.bytes_left || self.reads_left == 0 {
            return Err(Stop::broken("more bytes would have to be read for it than is done for tags"));
        }
        self.bytes_left -= length;
        self.reads_left -= 1;
        if self.position != start {
            self.inner.seek(SeekFrom::Start(start)).map_err(Stop::Io)?;
        }
        // At most what is left of the limit, and within the file: the length was checked against both.
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| Stop::broken("it is too long"))?];
        self.position = start;
        match self.inner.read_exact(&mut bytes) {
            Ok(()) => {
                self.position += length;
                Ok(bytes)
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(Stop::broken("the file ends before it")),
            Err(error) => Err(Stop::Io(error)),
        }
    }

    /// The `N` bytes from `start`.
    pub(super) fn array<const N: usize>(&mut self, start: u64) -> Result<[u8; N], Stop> {
        let bytes = self.read(start, N as u64)?;
        bytes.try_into().map_err(|_| Stop::broken("the file ends before it"))
    }
}
