//! Files to samples, block by block.
//!
//! ```
//! use antiphon_audio::{decode::{Decoder, Limits}, encode};
//! let sound = encode::PcmFormat { rate: 8_000, channels: 1, bits: 16, float: false };
//! let bytes = encode::wav(&sound, encode::Samples::Integers(&[0, 16_384, -32_768]))?;
//! let mut decoder = Decoder::from_bytes(bytes.into(), Limits::default())?;
//! while let Some(block) = decoder.next_block()? {
//!     assert_eq!(block.channels(), [[0.0, 0.5, -1.0]]);
//! }
//! # Ok::<(), antiphon_audio::AudioError>(())
//! ```

use std::io::{Cursor, Read};
use std::time::Duration;

use bytes::Bytes;

use crate::{AudioError, Format, MAX_CHANNELS};

/// What the caller does not want to exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest audio. A file whose header claims more is refused when it is opened, one that turns out to be
    /// longer when that is reached.
    pub duration: Duration,
}

impl Default for Limits {
    /// 24 hours.
    fn default() -> Self {
        Self { duration: Duration::from_secs(24 * 3_600) }
    }
}

/// What a file says of its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// The format, by content.
    pub format: Format,
    /// Samples per second and channel, [`crate::MIN_RATE`] to [`crate::MAX_RATE`].
    pub rate: u32,
    /// 1 to [`MAX_CHANNELS`].
    pub channels: u16,
    /// Valid bits of a sample: integers lie in `-2^(bits-1) .. 2^(bits-1)`.
    pub bits: u16,
    /// Whether the file holds floating point numbers.
    pub float: bool,
    /// Samples per channel as the header claims; unknown for what was written to a pipe.
    pub frames: Option<u64>,
}

/// Some samples of every channel, as f32 in [-1, 1] (floating point files may exceed that) or as integers.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a, T = f32> {
    first: u64,
    slices: [&'a [T]; MAX_CHANNELS],
    count: usize,
}

impl<'a, T> Block<'a, T> {
    /// Number of the block's first frame in the file, counted from 0.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Samples per channel, at least 1 and at most [`crate::BLOCK_FRAMES`].
    pub fn frames(&self) -> usize {
        self.slices[0].len()
    }

    /// One slice per channel, all of one length.
    pub fn channels(&self) -> &[&'a [T]] {
        &self.slices[..self.count]
    }
}

/// Decodes one file in constant memory. Every block is at most [`crate::BLOCK_FRAMES`] long.
///
/// # Samples
/// As f32, an integer is divided by `2^(bits-1)`: exact up to 24 bits, so that multiplying gives the integer back;
/// 32 bit integers and 64 bit floats are rounded to the nearest f32. As integers
/// ([`next_integers`](Self::next_integers)) all integer files are exact. Floating point numbers are kept as they
/// are, except that NaN and infinities become 0 and are counted in [`replaced`](Self::replaced).
///
/// # Errors
/// [`AudioError::Truncated`] and [`AudioError::Corrupt`] come after all good blocks, once; then the file has
/// ended. What comes after damage is not decoded, since its place in time is not certain.
pub struct Decoder {
    info: Info,
}

impl Decoder {
    /// Reads the header from `source`, which need not be seekable: a pipe will do.
    ///
    /// # Errors
    /// [`AudioError::Unknown`], [`AudioError::Malformed`], [`AudioError::Unsupported`], [`AudioError::Channels`],
    /// [`AudioError::Rate`], [`AudioError::TooLong`], [`AudioError::Truncated`] (inside the header) or
    /// [`AudioError::Io`].
    pub fn open(source: impl Read + Send + Sync + 'static, limits: Limits) -> Result<Self, AudioError> {
        todo!("{:?}", (std::any::type_name_of_val(&source), limits))
    }

    /// The same for a file in memory.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(bytes: Bytes, limits: Limits) -> Result<Self, AudioError> {
        Self::open(Cursor::new(bytes), limits)
    }

    /// What the header says.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Number of frames that have been decoded.
    pub fn position(&self) -> u64 {
        todo!()
    }

    /// Number of NaN and infinite samples that were replaced by 0 so far.
    pub fn replaced(&self) -> u64 {
        todo!()
    }

    /// The next block as f32; `None` at the end.
    ///
    /// # Errors
    /// [`AudioError::Truncated`], [`AudioError::Corrupt`], [`AudioError::TooLong`] or [`AudioError::Io`].
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, AudioError> {
        todo!()
    }

    /// The next block as exact integers in `-2^(bits-1) .. 2^(bits-1)`; `None` at the end. This is the way to cut
    /// a file without changing it.
    ///
    /// # Errors
    /// [`AudioError::NotInteger`] for floating point files, else as [`next_block`](Self::next_block).
    pub fn next_integers(&mut self) -> Result<Option<Block<'_, i32>>, AudioError> {
        todo!()
    }
}
