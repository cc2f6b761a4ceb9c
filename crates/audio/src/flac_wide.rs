//! FLAC of two channels with 32 bits, whose difference has 33: flac-codec holds these, which Symphonia does not.
//!
//! It is not used for the rest: without the length of a file it cannot tell the end from a frame that broke off.

use std::io::{ErrorKind, Read};

use flac_codec::Error;
use flac_codec::decode::FlacSampleReader;

use crate::decode::{Info, Planes};
use crate::{AudioError, BLOCK_FRAMES, Format};

/// Decodes native FLAC.
pub(crate) struct WideReader {
    reader: FlacSampleReader<Box<dyn Read + Send + Sync>>,
    channels: usize,
    claimed: Option<u64>,
    /// Frames handed on.
    frames: u64,
}

impl WideReader {
    /// Reads a stream that holds nothing but the stream information and the frames.
    pub(crate) fn open(source: Box<dyn Read + Send + Sync>, info: &Info) -> Result<Self, AudioError> {
        let reader = FlacSampleReader::new(source).map_err(|error| match error {
            Error::Io(error) => failure(Error::Io(error), 0),
            error => AudioError::Malformed { format: Format::Flac, reason: error.to_string() },
        })?;
        Ok(Self { reader, channels: usize::from(info.channels), claimed: info.frames, frames: 0 })
    }

    /// Decodes the next samples and returns how many frames; 0 at the end.
    pub(crate) fn fill(&mut self, planes: &mut Planes) -> Result<usize, AudioError> {
        // flac-codec counts down to the claimed length, and must not be asked beyond it.
        if self.claimed.is_some_and(|claimed| self.frames >= claimed) {
            return Ok(0);
        }
        let Self { reader, frames: good, .. } = self;
        // As with every codec of others, a panic ends the file as damage does.
        let decoded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| reader.fill_buf().map(<[i32]>::len)));
        let failed = AudioError::Corrupt { frames: *good, reason: String::from("the decoder failed") };
        decoded.map_err(|_| failed)?.map_err(|error| failure(error, *good))?;
        // What was decoded is still there.
        let samples = self.reader.fill_buf().map_err(|error| failure(error, self.frames))?;
        let frames = (samples.len() / self.channels).min(BLOCK_FRAMES);
        for (channel, plane) in planes.integers.iter_mut().enumerate() {
            plane.clear();
            plane.extend(samples.iter().skip(channel).step_by(self.channels).take(frames));
        }
        self.reader.consume(frames * self.channels);
        if frames == 0 && self.claimed.is_some() {
            return Err(AudioError::Truncated { frames: self.frames });
        }
        self.frames += frames as u64;
        Ok(frames)
    }
}

/// What an error of flac-codec means after `frames` good samples.
fn failure(error: Error, frames: u64) -> AudioError {
    match error {
        Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => AudioError::Truncated { frames },
        Error::Io(error) => error.into(),
        error => AudioError::Corrupt { frames, reason: error.to_string() },
    }
}
