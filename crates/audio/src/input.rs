//! Where bytes come from: a stream that is read once, or a file that can be gone back in.

use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};

use crate::AudioError;

/// A source that can be gone back in.
pub(crate) trait ReadSeek: Read + Seek + Send + Sync {}

impl<T: Read + Seek + Send + Sync> ReadSeek for T {}

/// Most bytes of something of no use that are read over in one piece: a stream without an end may claim any number.
pub(crate) const MOST_READ_OVER: u64 = 256 << 20;

enum Source {
    Stream(Box<dyn Read + Send + Sync>),
    File(Box<dyn ReadSeek>),
}

impl Read for Source {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.read(target),
            Self::File(file) => file.read(target),
        }
    }
}

/// Bytes by their place in the file. Reads give what one read of the source gives, so that live streams are not
/// delayed.
pub(crate) struct Input {
    /// Bytes that were read ahead and put back.
    ahead: Vec<u8>,
    source: BufReader<Source>,
    position: u64,
}

impl Input {
    /// What a pipe gives.
    pub(crate) fn stream(stream: impl Read + Send + Sync + 'static) -> Self {
        Self::new(Source::Stream(Box::new(stream)))
    }

    /// A file; its places are counted from where it stands now.
    pub(crate) fn file(file: impl Read + Seek + Send + Sync + 'static) -> Self {
        Self::new(Source::File(Box::new(file)))
    }

    fn new(source: Source) -> Self {
        Self { ahead: Vec::new(), source: BufReader::with_capacity(16_384, source), position: 0 }
    }

    /// The same, with places counted from `position` on.
    pub(crate) fn at(self, position: u64) -> Self {
        Self { position, ..self }
    }

    /// Bytes before the next one.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Whether [`go_to`](Self::go_to) can go back.
    pub(crate) fn is_seekable(&self) -> bool {
        matches!(self.source.get_ref(), Source::File(_))
    }

    /// The next bytes, without taking them: fewer than `count` only at the end.
    pub(crate) fn peek(&mut self, count: usize) -> Result<&[u8], AudioError> {
        while self.ahead.len() < count {
            let old = self.ahead.len();
            self.ahead.resize(count, 0);
            let read = self.source.read(&mut self.ahead[old..]);
            self.ahead.truncate(old + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(&self.ahead[..count.min(self.ahead.len())])
    }

    /// Appends `count` bytes; whether there were so many. Memory grows with what comes, not with what is asked.
    pub(crate) fn append(&mut self, count: usize, target: &mut Vec<u8>) -> Result<bool, AudioError> {
        Ok(self.take(count as u64).read_to_end(target)? == count)
    }

    /// Skips bytes; whether there were so many, as far as that can be told: the end of a file that is gone over
    /// shows at the next read.
    pub(crate) fn skip(&mut self, count: u64) -> Result<bool, AudioError> {
        // A short way is read; that keeps what is buffered.
        if count > 65_536 && self.is_seekable() {
            return self.go_to(self.position.saturating_add(count));
        }
        Ok(std::io::copy(&mut self.take(count), &mut std::io::sink())? == count)
    }

    /// Goes to a place in the file; false if it lies behind in a stream, behind the end, or before the beginning of what was kept of
    /// a stream.
    pub(crate) fn go_to(&mut self, position: u64) -> Result<bool, AudioError> {
        if let Some(ahead) = position.checked_sub(self.position)
            && (ahead <= 65_536 || !self.is_seekable())
        {
            return self.skip(ahead);
        }
        let buffered = self.ahead.len() as i128;
        let distance = i128::from(position) - i128::from(self.position) - buffered;
        let Ok(distance) = i64::try_from(distance) else { return Ok(false) };
        match self.source.get_mut() {
            Source::Stream(_) => return Ok(false),
            Source::File(_) => {}
        }
        if !self.seek_source(distance)? {
            return Ok(false);
        }
        self.ahead.clear();
        self.position = position;
        Ok(true)
    }

    /// Whether there can be such a place: before the beginning there is none, nor where a file of the system cannot reach.
    fn seek_source(&mut self, distance: i64) -> Result<bool, AudioError> {
        // What the buffer holds was read from the file already.
        let unread = self.source.buffer().len();
        let Some(distance) = distance.checked_sub(unread as i64) else { return Ok(false) };
        if let Source::File(file) = self.source.get_mut() {
            match file.seek(SeekFrom::Current(distance)) {
                Err(error) if error.kind() == ErrorKind::InvalidInput => return Ok(false),
                found => found?,
            };
        }
        std::io::BufRead::consume(&mut self.source, unread);
        Ok(true)
    }
}

impl Read for Input {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        let count = if self.ahead.is_empty() {
            self.source.read(target)?
        } else {
            let count = target.len().min(self.ahead.len());
            target[..count].copy_from_slice(&self.ahead[..count]);
            self.ahead.drain(..count);
            count
        };
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn bytes() -> Vec<u8> {
        (0..200_000_u32).map(|n| (n % 251) as u8).collect()
    }

    fn next(input: &mut Input) -> u64 {
        let mut byte = [0];
        input.read_exact(&mut byte).unwrap();
        u64::from(byte[0])
    }

    #[test]
    fn places_in_a_file_are_found_whatever_was_read_before() {
        let mut input = Input::file(Cursor::new(bytes()));
        input.peek(40).unwrap();
        for place in [0, 5, 3, 150_000, 2, 20_000, 16_384, 199_999, 0, 100, 70_000] {
            assert!(input.go_to(place).unwrap());
            assert_eq!((input.position(), next(&mut input)), (place, place % 251));
            input.peek(usize::try_from(place % 50).unwrap()).unwrap();
        }
        assert!(input.go_to(300_000).unwrap());
        assert_eq!(input.peek(1).unwrap(), b"");
    }

    /// What of a stream was kept in a file begins somewhere amid it, and a file of the system ends where its kind does.
    #[test]
    fn places_that_cannot_be_are_told_and_harm_nothing() {
        use std::io::Write;

        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes()).unwrap();
        file.rewind().unwrap();
        for mut input in [Input::file(Cursor::new(bytes())), Input::file(file)] {
            input = input.at(1_000);
            assert_eq!(next(&mut input), 0);
            for place in [0, 999, u64::MAX] {
                assert!(!input.go_to(place).unwrap(), "{place}");
            }
            assert_eq!((input.position(), next(&mut input)), (1_001, 1));
            // Behind all that a file can have: either there is no such place, or nothing is there.
            assert!(!input.go_to(i64::MAX as u64).unwrap() || input.peek(1).unwrap().is_empty());
            assert!(input.go_to(1_000).unwrap());
            assert_eq!(next(&mut input), 0);
        }
    }

    #[test]
    fn a_stream_goes_forward_only() {
        let mut input = Input::stream(Cursor::new(bytes()));
        assert_eq!(input.peek(3).unwrap(), [0, 1, 2]);
        assert!(input.go_to(100_000).unwrap());
        assert_eq!(next(&mut input), 100_000 % 251);
        assert!(!input.go_to(5).unwrap());
        assert_eq!(input.position(), 100_001);
        assert!(!input.skip(100_000).unwrap(), "there are not so many");
    }
}
