//! Decode, resample, frame and transform audio in constant memory.
//!
//! Everything here is synchronous and knows no services or clocks: bytes in, samples out. What the
//! bytes claim is never believed before it is checked, no allocation grows with a number that a header holds,
//! and no result depends on how the input was cut into pieces.
//!
//! | module | from | to |
//! |---|---|---|
//! | [`sniff`] | the first bytes | which [`Format`] |
//! | [`decode`] | a file of a known format | blocks of samples, one slice per channel |
//! | [`encode`] | samples | WAV or FLAC bytes |
//! | [`downmix`] | channels | one channel |
//! | [`resample`] | one rate | another, on an absolute grid |
//! | [`decimate`] | samples | every second, third, ... of what a filter makes of them |
//! | [`stft`] | samples | power spectra, on an absolute or centred grid |
//! | [`tags`] | a file of any format | title, artist, album, identifiers, gains, cover |
//!
//! [`vector`] makes loops use the widest registers of the processor they run on.

mod aac;
mod adts;
mod aiff;
mod codecs;
mod coded;
pub mod decimate;
pub mod decode;
pub mod downmix;
pub mod encode;
mod error;
mod flac;
mod input;
mod matroska;
mod mp3;
mod mp4;
mod ogg;
mod opus;
mod pcm;
pub mod resample;
mod sniff;
pub mod stft;
pub mod tags;
pub mod vector;
mod vorbis;
mod wav;

pub use error::AudioError;
pub use sniff::{Format, SNIFF_BYTES, sniff};

/// Most channels that are decoded.
pub const MAX_CHANNELS: usize = 8;
/// Lowest rate that is decoded, in samples per second.
pub const MIN_RATE: u32 = 1_000;
/// Highest rate that is decoded, in samples per second.
pub const MAX_RATE: u32 = 768_000;
/// Most frames (samples per channel) in one block.
pub const BLOCK_FRAMES: usize = 8_192;
/// Most bytes that [`decode::Decoder::open`] copies into a temporary file.
pub const SPOOL_BYTES: u64 = 2 << 30;
