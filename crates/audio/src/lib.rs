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
//! ```
//! use antiphon_audio::decode::{Decoder, Limits};
//! use antiphon_audio::encode::{self, PcmFormat, Samples};
//! use antiphon_audio::resample::Resampler;
//!
//! // Half a second at 8 kHz, in a file; then at 16 kHz.
//! let format = PcmFormat { rate: 8_000, channels: 1, bits: 16, float: false };
//! let file = encode::wav(&format, Samples::Integers(&[8_192; 4_000]))?;
//! let mut decoder = Decoder::from_bytes(file.into(), Limits::default())?;
//! let mut resampler = Resampler::new(decoder.info().rate, 16_000, 0);
//! let mut resampled = Vec::new();
//! while let Some(block) = decoder.next_block()? {
//!     resampler.push(block.channels()[0], &mut resampled);
//! }
//! resampler.finish(&mut resampled);
//! assert_eq!(resampled.len(), 8_000);
//! assert!((resampled[4_000] - 0.25).abs() < 1e-5);
//! # Ok::<(), antiphon_audio::AudioError>(())
//! ```
//!
//! The README beside the manifest goes on from there to spectra, and says what a manifest of yours should hold.
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

/// The README's example compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
