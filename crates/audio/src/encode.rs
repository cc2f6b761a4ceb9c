//! Samples to files: WAV, and FLAC for integers.

use std::io::Write;

use crate::AudioError;

/// How samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcmFormat {
    /// Samples per second and channel.
    pub rate: u32,
    /// 1 to [`crate::MAX_CHANNELS`].
    pub channels: u16,
    /// WAV: 8, 16, 24 or 32. FLAC: 8 to 24.
    pub bits: u16,
    /// WAV only: 32 bit floating point.
    pub float: bool,
}

/// Interleaved samples: the first of every channel, then the second of every channel.
#[derive(Clone, Copy, Debug)]
pub enum Samples<'a> {
    /// In `-2^(bits-1) .. 2^(bits-1)`.
    Integers(&'a [i32]),
    /// In [-1, 1]. Written as integers they are rounded to the nearest and clipped, which gives back exactly the
    /// integers that a decoder made them of, up to 24 bits.
    Floats(&'a [f32]),
}

/// A whole WAV file.
///
/// # Errors
/// [`AudioError::Encode`] if the format cannot be written, the samples do not fill whole frames or exceed
/// the range of their bits, or the file would exceed 4 GiB.
pub fn wav(format: &PcmFormat, samples: Samples<'_>) -> Result<Vec<u8>, AudioError> {
    todo!("{:?}", (format, samples))
}

/// A whole FLAC file of 8 to 24 bit integers with its MD5.
///
/// # Errors
/// [`AudioError::Encode`] as for [`wav`], and for floating point formats.
pub fn flac(format: &PcmFormat, samples: Samples<'_>) -> Result<Vec<u8>, AudioError> {
    todo!("{:?}", (format, samples))
}

/// Writes WAV as samples come.
pub struct WavWriter<W: Write> {
    target: W,
}

impl<W: Write> WavWriter<W> {
    /// Writes the header. Without `frames` the lengths are those of a stream (0xFFFFFFFF: to the end).
    ///
    /// # Errors
    /// [`AudioError::Encode`] as for [`wav`], [`AudioError::Io`].
    pub fn new(target: W, format: PcmFormat, frames: Option<u64>) -> Result<Self, AudioError> {
        todo!("{:?}", (std::any::type_name_of_val(&target), format, frames))
    }

    /// Writes samples.
    ///
    /// # Errors
    /// [`AudioError::Encode`] as for [`wav`], or for more frames than were announced; [`AudioError::Io`].
    pub fn write(&mut self, samples: Samples<'_>) -> Result<(), AudioError> {
        todo!("{samples:?}")
    }

    /// Writes what remains, and returns the target, flushed.
    ///
    /// # Errors
    /// [`AudioError::Encode`] for fewer frames than were announced; [`AudioError::Io`].
    pub fn finish(self) -> Result<W, AudioError> {
        Ok(self.target)
    }
}
