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

use std::io::{Cursor, Read, Seek};
use std::time::Duration;

use bytes::Bytes;

use crate::coded::CodedReader;
use crate::flac::FlacReader;
use crate::input::Input;
use crate::pcm::PcmReader;
use crate::sniff::id3v2_length;
use crate::{AudioError, Format, MAX_CHANNELS, MAX_RATE, MIN_RATE, SNIFF_BYTES, sniff};

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
    fn new(first: u64, planes: &'a [Vec<T>]) -> Self {
        let mut slices: [&[T]; MAX_CHANNELS] = [&[]; MAX_CHANNELS];
        slices.iter_mut().zip(planes).for_each(|(slice, plane)| *slice = plane);
        Self { first, slices, count: planes.len() }
    }

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
    reader: Reader,
    planes: Planes,
    position: u64,
    /// Frames that the caller's limit allows.
    most: u64,
    limits: Limits,
    ended: bool,
}

enum Reader {
    Pcm(PcmReader),
    Flac(Box<FlacReader>),
    Coded(Box<CodedReader>),
}

/// The block that was decoded last, one plane per channel: as integers, or as floats if the file has these.
#[derive(Default)]
pub(crate) struct Planes {
    pub(crate) integers: Vec<Vec<i32>>,
    pub(crate) floats: Vec<Vec<f32>>,
    pub(crate) replaced: u64,
}

impl Planes {
    /// Puts 0 for NaN and infinities, and counts them.
    pub(crate) fn replace_what_is_no_number(&mut self) {
        for value in self.floats.iter_mut().flatten().filter(|value| !value.is_finite()) {
            *value = 0.0;
            self.replaced += 1;
        }
    }
}

impl Decoder {
    /// Reads the header from `source`, which need not be seekable: a pipe will do. Blocks come as soon as a read
    /// gives them, so a live stream is not delayed.
    ///
    /// An MP4 file whose index comes behind its samples is first copied, up to the index and at most
    /// [`crate::SPOOL_BYTES`], into a temporary file that has no name and goes with the decoder.
    /// [`open_seekable`](Self::open_seekable) needs no such file.
    ///
    /// # Errors
    /// [`AudioError::Unknown`], [`AudioError::Malformed`], [`AudioError::Unsupported`], [`AudioError::Channels`],
    /// [`AudioError::Rate`], [`AudioError::TooLong`], [`AudioError::Truncated`] (inside the header) or
    /// [`AudioError::Io`].
    pub fn open(source: impl Read + Send + Sync + 'static, limits: Limits) -> Result<Self, AudioError> {
        Self::open_input(Input::stream(source), limits)
    }

    /// The same for a source that can be gone back in, such as a file on a disk.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_seekable(source: impl Read + Seek + Send + Sync + 'static, limits: Limits) -> Result<Self, AudioError> {
        Self::open_input(Input::file(source), limits)
    }

    /// The same for a file in memory.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(bytes: Bytes, limits: Limits) -> Result<Self, AudioError> {
        Self::open_seekable(Cursor::new(bytes), limits)
    }

    fn open_input(mut source: Input, limits: Limits) -> Result<Self, AudioError> {
        let format = find_format(&mut source)?;
        let pcm = |(reader, info)| (Reader::Pcm(reader), info);
        let coded = |(reader, info)| (Reader::Coded(Box::new(reader)), info);
        let (reader, info) = match format {
            Format::Wav => crate::wav::open(source).map(pcm)?,
            Format::Aiff => crate::aiff::open(source).map(pcm)?,
            Format::Flac => FlacReader::open(source).map(|(reader, info)| (Reader::Flac(Box::new(reader)), info))?,
            Format::Mp3 => crate::mp3::open(source).map(coded)?,
            Format::Ogg => crate::ogg::open(source).map(coded)?,
            Format::Mp4 => crate::mp4::open(source).map(coded)?,
            Format::Adts => crate::adts::open(source).map(coded)?,
            Format::Matroska => crate::matroska::open(source).map(coded)?,
        };
        let most = limits.duration.as_micros().saturating_mul(u128::from(info.rate)) / 1_000_000;
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        if info.frames.is_some_and(|frames| frames > most) {
            return Err(AudioError::TooLong { limit: limits.duration });
        }
        let channels = usize::from(info.channels);
        let mut planes = Planes { floats: vec![Vec::new(); channels], ..Planes::default() };
        if !info.float {
            planes.integers = vec![Vec::new(); channels];
        }
        Ok(Self { info, reader, planes, position: 0, most, limits, ended: false })
    }

    /// What the header says.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Number of frames that have been decoded.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Number of NaN and infinite samples that were replaced by 0 so far.
    pub fn replaced(&self) -> u64 {
        self.planes.replaced
    }

    /// The next block as f32; `None` at the end.
    ///
    /// # Errors
    /// [`AudioError::Truncated`], [`AudioError::Corrupt`], [`AudioError::TooLong`] or [`AudioError::Io`].
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, AudioError> {
        let first = self.position;
        if self.fill()? == 0 {
            return Ok(None);
        }
        let scale = 1.0 / (1_u64 << (self.info.bits - 1)) as f32;
        for (floats, integers) in self.planes.floats.iter_mut().zip(&self.planes.integers) {
            floats.clear();
            floats.extend(integers.iter().map(|sample| *sample as f32 * scale));
        }
        Ok(Some(Block::new(first, &self.planes.floats)))
    }

    /// The next block as exact integers in `-2^(bits-1) .. 2^(bits-1)`; `None` at the end. This is the way to cut
    /// a file without changing it.
    ///
    /// # Errors
    /// [`AudioError::NotInteger`] for floating point files, else as [`next_block`](Self::next_block).
    pub fn next_integers(&mut self) -> Result<Option<Block<'_, i32>>, AudioError> {
        if self.info.float {
            return Err(AudioError::NotInteger);
        }
        let first = self.position;
        if self.fill()? == 0 {
            return Ok(None);
        }
        Ok(Some(Block::new(first, &self.planes.integers)))
    }

    /// Decodes a block into the planes and returns how many frames; 0 at the end and after an error.
    fn fill(&mut self) -> Result<usize, AudioError> {
        if self.ended {
            return Ok(0);
        }
        let filled = match &mut self.reader {
            Reader::Pcm(reader) => reader.fill(&mut self.planes),
            Reader::Flac(reader) => reader.fill(&mut self.planes),
            Reader::Coded(reader) => reader.fill(&mut self.planes),
        };
        let within_limit = match filled {
            Ok(frames) if self.position + frames as u64 > self.most => {
                Err(AudioError::TooLong { limit: self.limits.duration })
            }
            filled => filled,
        };
        self.ended = matches!(within_limit, Ok(0) | Err(_));
        self.position += *within_limit.as_ref().unwrap_or(&0) as u64;
        within_limit
    }
}

/// Skips ID3v2 tags and tells what comes then.
fn find_format(source: &mut Input) -> Result<Format, AudioError> {
    let mut is_tagged = false;
    loop {
        let head = source.peek(SNIFF_BYTES)?;
        let Some(length) = id3v2_length(head) else { break };
        if !source.skip(length)? {
            return Err(AudioError::Truncated { frames: 0 });
        }
        is_tagged = true;
    }
    let head = source.peek(SNIFF_BYTES)?;
    match sniff(head) {
        Some(format) => Ok(format),
        None if is_tagged && head.is_empty() => Err(AudioError::Truncated { frames: 0 }),
        // Many taggers leave some bytes between their tag and the first frame of MP3, which is looked for then.
        None if is_tagged => Ok(Format::Mp3),
        None => Err(AudioError::Unknown),
    }
}

/// Refuses rates and numbers of channels that are not decoded.
pub(crate) fn check(rate: u32, channels: u16) -> Result<(), AudioError> {
    if channels == 0 || usize::from(channels) > MAX_CHANNELS {
        return Err(AudioError::Channels(channels));
    }
    if !(MIN_RATE..=MAX_RATE).contains(&rate) {
        return Err(AudioError::Rate(rate));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_can_go_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Decoder>();
    }

    /// A source that gives one byte at a time and is interrupted now and then.
    struct Drip(Cursor<Vec<u8>>, u8);

    impl Read for Drip {
        fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
            self.1 = self.1.wrapping_add(1);
            if self.1.is_multiple_of(3) {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            let count = target.len().min(1);
            self.0.read(&mut target[..count])
        }
    }

    #[test]
    fn samples_do_not_depend_on_how_the_source_is_read() {
        let samples: Vec<i32> = (0..20_000).map(|n| (n * 7_919) % 30_000 - 15_000).collect();
        let format = crate::encode::PcmFormat { rate: 8_000, channels: 2, bits: 16, float: false };
        for encode in [crate::encode::wav, crate::encode::flac] {
            let bytes = encode(&format, crate::encode::Samples::Integers(&samples)).unwrap();
            let mut decoder = Decoder::open(Drip(Cursor::new(bytes), 0), Limits::default()).unwrap();
            let mut decoded = Vec::new();
            while let Some(block) = decoder.next_integers().unwrap() {
                decoded
                    .extend((0..block.frames()).flat_map(|n| block.channels().iter().map(move |channel| channel[n])));
            }
            assert_eq!(decoded, samples);
        }
    }

    #[test]
    fn a_source_that_fails_is_told_from_bad_audio() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::ConnectionReset.into())
            }
        }
        let format = crate::encode::PcmFormat { rate: 8_000, channels: 1, bits: 16, float: false };
        for encode in [crate::encode::wav, crate::encode::flac] {
            let bytes = encode(&format, crate::encode::Samples::Integers(&[1; 90_000])).unwrap();
            let half = bytes[..bytes.len() / 2].to_vec();
            let opened = Decoder::open(Cursor::new(half).chain(Failing), Limits::default());
            let error = opened.and_then(|mut decoder| {
                loop {
                    if decoder.next_block()?.is_none() {
                        return Ok(());
                    }
                }
            });
            assert!(matches!(error, Err(AudioError::Io(_))), "{error:?}");
        }
    }
}
