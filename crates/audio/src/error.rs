//! What can go wrong with audio.

use crate::{MAX_CHANNELS, MAX_RATE, MIN_RATE};

/// Why audio could not be read or written. Messages are for people and name what to do where that helps.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    /// The first bytes belong to no format that is decoded.
    #[error("the bytes are not audio of a known format; send WAV, AIFF, FLAC, MP3, Ogg, MP4, AAC or Matroska")]
    Unknown,
    /// The format is known, but the header breaks its rules.
    #[error("malformed {format}: {reason}", format = .format.name())]
    Malformed {
        /// The format that the first bytes promise.
        format: crate::Format,
        /// Which rule is broken.
        reason: String,
    },
    /// A valid file of a kind that is not decoded, such as compressed samples in WAV.
    #[error("{0} is not decoded")]
    Unsupported(String),
    /// More channels than are decoded, or none.
    #[error("{0} channels; 1 to {MAX_CHANNELS} are decoded")]
    Channels(u16),
    /// A rate outside of what is decoded.
    #[error("a rate of {0} samples per second; {MIN_RATE} to {MAX_RATE} are decoded")]
    Rate(u32),
    /// Longer than the limit that the caller set.
    #[error("longer than the limit of {limit:?}")]
    TooLong {
        /// The limit.
        limit: std::time::Duration,
    },
    /// The bytes end before the audio does. All blocks before this error are good.
    #[error("the audio breaks off after {frames} samples per channel")]
    Truncated {
        /// Good samples per channel before the end.
        frames: u64,
    },
    /// A checksum or rule fails inside the audio. All blocks before this error are good.
    #[error("the audio is damaged after {frames} samples per channel: {reason}")]
    Corrupt {
        /// Good samples per channel before the damage.
        frames: u64,
        /// What failed.
        reason: String,
    },
    /// Integers were asked of samples that are floating point.
    #[error("the samples are floating point; they have no exact integers")]
    NotInteger,
    /// What should be encoded is not possible in the format.
    #[error("cannot encode: {0}")]
    Encode(String),
    /// The source could not be read, or the target not be written. The only error that may go away by itself.
    #[error("reading or writing audio failed")]
    Io(#[from] std::io::Error),
}

impl AudioError {
    /// Whether the same bytes would fail the same way again.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Io(_))
    }

    /// Whether the blocks that came before are good and worth keeping.
    pub fn keeps_what_came_before(&self) -> bool {
        matches!(self, Self::Truncated { .. } | Self::Corrupt { .. })
    }
}
