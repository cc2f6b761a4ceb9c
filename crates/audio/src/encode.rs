//! Samples to files: WAV, and FLAC for integers.

use std::io::{Cursor, Write};

use flac_codec::encode::{FlacSampleWriter, Options};

use crate::wav::STREAM_LENGTHS_FROM;
use crate::{AudioError, MAX_CHANNELS, MAX_RATE, MIN_RATE};

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

impl PcmFormat {
    fn check(&self, bits: &[u16]) -> Result<(), AudioError> {
        if self.channels == 0 || usize::from(self.channels) > MAX_CHANNELS {
            return Err(AudioError::Channels(self.channels));
        }
        if !(MIN_RATE..=MAX_RATE).contains(&self.rate) {
            return Err(AudioError::Rate(self.rate));
        }
        if !bits.contains(&self.bits) || self.float && self.bits != 32 {
            let kind = if self.float { "floating point" } else { "integer" };
            return Err(AudioError::Encode(format!("{} bit {kind} samples cannot be written", self.bits)));
        }
        Ok(())
    }

    fn frame_bytes(&self) -> u16 {
        self.channels * (self.bits / 8)
    }
}

impl Samples<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Integers(samples) => samples.len(),
            Self::Floats(samples) => samples.len(),
        }
    }

    /// Frames, if the samples fill whole ones and fit the format.
    fn frames(&self, format: &PcmFormat) -> Result<u64, AudioError> {
        if !self.len().is_multiple_of(usize::from(format.channels)) {
            return Err(AudioError::Encode("the samples do not fill whole frames".into()));
        }
        if let Self::Integers(samples) = self {
            let least = i32::MIN >> (32 - format.bits);
            let fits = samples.iter().all(|sample| (least..=!least).contains(sample));
            if !fits && !format.float {
                return Err(AudioError::Encode(format!("a sample exceeds {} bits", format.bits)));
            }
            if format.float {
                return Err(AudioError::Encode("integers are not floating point".into()));
            }
        }
        Ok((self.len() / usize::from(format.channels)) as u64)
    }
}

/// The nearest integer of `bits` bits, clipped; NaN becomes 0. Exact for what [`crate::decode::Decoder`] made of up
/// to 24 bits, at which f32 holds every integer.
///
/// # Panics
/// If `bits` is not 1 to 32.
pub fn to_integer(sample: f32, bits: u16) -> i32 {
    assert!((1..=32).contains(&bits), "{bits} bits do not make an integer of up to 32");
    let full_scale = (1_u64 << (bits - 1)) as f64;
    (f64::from(sample) * full_scale).round_ties_even().clamp(-full_scale, full_scale - 1.0) as i32
}

/// A whole WAV file.
///
/// # Errors
/// [`AudioError::Channels`], [`AudioError::Rate`]; [`AudioError::Encode`] if the bits cannot be written, the
/// samples do not fill whole frames or exceed their bits, or the file would reach 2 GiB.
pub fn wav(format: &PcmFormat, samples: Samples<'_>) -> Result<Vec<u8>, AudioError> {
    let frames = samples.len() as u64 / u64::from(format.channels.max(1));
    let bytes = Vec::with_capacity(HEADER_BYTES + samples.len() * usize::from(format.bits / 8) + 1);
    let mut writer = WavWriter::new(bytes, *format, Some(frames))?;
    writer.write(samples)?;
    writer.finish()
}

/// A whole FLAC file of 8 to 24 bit integers, with the MD5 of its samples.
///
/// # Errors
/// As [`wav`], and [`AudioError::Encode`] for floating point formats.
pub fn flac(format: &PcmFormat, samples: Samples<'_>) -> Result<Vec<u8>, AudioError> {
    format.check(&[8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24])?;
    if format.float {
        return Err(AudioError::Encode("FLAC holds integers only".into()));
    }
    samples.frames(format)?;
    let rounded: Vec<i32>;
    let integers = match samples {
        Samples::Integers(integers) => integers,
        Samples::Floats(floats) => {
            rounded = floats.iter().map(|sample| to_integer(*sample, format.bits)).collect();
            &rounded
        }
    };
    let failed = |error: flac_codec::Error| AudioError::Encode(error.to_string());
    // Trying both ways to couple stereo halves the speed for 1 % of size.
    let options = Options::default().fast_channel_correlation(true).no_padding().no_seektable();
    let mut bytes = Cursor::new(Vec::new());
    let total = Some(integers.len() as u64);
    let channels = format.channels as u8;
    let mut writer = FlacSampleWriter::new(&mut bytes, options, format.rate, u32::from(format.bits), channels, total)
        .map_err(failed)?;
    writer.write(integers).map_err(failed)?;
    writer.finalize().map_err(failed)?;
    Ok(bytes.into_inner())
}

/// Bytes before the first sample of the WAV files that are written here: extensible for more than 16 bits or 2
/// channels, as the format's rules ask, else plain.
const HEADER_BYTES: usize = 68;
/// Samples that are turned into bytes at a time.
const CHUNK: usize = 4_096;

/// Writes WAV as samples come.
pub struct WavWriter<W: Write> {
    target: W,
    format: PcmFormat,
    announced: Option<u64>,
    written: u64,
    chunk: Vec<u8>,
}

impl<W: Write> WavWriter<W> {
    /// Writes the header. Without `frames` the lengths are those of a stream (0xFFFFFFFF: to the end).
    ///
    /// # Errors
    /// [`AudioError::Channels`], [`AudioError::Rate`]; [`AudioError::Encode`] if the bits cannot be written or
    /// `frames` would reach 2 GiB; [`AudioError::Io`].
    pub fn new(mut target: W, format: PcmFormat, frames: Option<u64>) -> Result<Self, AudioError> {
        format.check(&[8, 16, 24, 32])?;
        let is_extensible = format.channels > 2 || format.bits > 16 && !format.float;
        let format_bytes: u32 = if is_extensible { 40 } else { 16 };
        // What comes after the first eight bytes and before the samples.
        let header_bytes = 4 + 8 + format_bytes + 8;
        let lengths = match frames.map(|frames| frames.checked_mul(u64::from(format.frame_bytes()))) {
            None => Some((u32::MAX, u32::MAX)),
            Some(bytes) => bytes.and_then(|bytes| {
                let whole = u32::try_from(bytes + bytes % 2 + u64::from(header_bytes)).ok()?;
                Some((whole, bytes as u32)).filter(|_| bytes < u64::from(STREAM_LENGTHS_FROM))
            }),
        };
        let Some((whole, data)) = lengths else {
            return Err(AudioError::Encode("a WAV file of 2 GiB or more".into()));
        };
        let tag: u16 = if format.float { 3 } else { 1 };
        let frame_bytes = format.frame_bytes();
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend(b"RIFF");
        header.extend(whole.to_le_bytes());
        header.extend(b"WAVEfmt ");
        header.extend(format_bytes.to_le_bytes());
        header.extend((if is_extensible { 0xfffe } else { tag }).to_le_bytes());
        header.extend(format.channels.to_le_bytes());
        header.extend(format.rate.to_le_bytes());
        header.extend((format.rate * u32::from(frame_bytes)).to_le_bytes());
        header.extend(frame_bytes.to_le_bytes());
        header.extend(format.bits.to_le_bytes());
        if is_extensible {
            header.extend(22_u16.to_le_bytes());
            header.extend(format.bits.to_le_bytes());
            // No speaker positions: which channel is where is not known here.
            header.extend(0_u32.to_le_bytes());
            header.extend(tag.to_le_bytes());
            header.extend(crate::wav::SUBFORMAT_TAIL);
        }
        header.extend(b"data");
        header.extend(data.to_le_bytes());
        target.write_all(&header)?;
        Ok(Self { target, format, announced: frames, written: 0, chunk: Vec::with_capacity(4 * CHUNK) })
    }

    /// Writes samples.
    ///
    /// # Errors
    /// [`AudioError::Encode`] as for [`wav`], or for more frames than were announced; [`AudioError::Io`].
    pub fn write(&mut self, samples: Samples<'_>) -> Result<(), AudioError> {
        let written = self.written + samples.frames(&self.format)?;
        if let Some(announced) = self.announced.filter(|announced| written > *announced) {
            return Err(AudioError::Encode(format!("more than the {announced} frames that the header announces")));
        }
        match samples {
            Samples::Floats(samples) if self.format.float => {
                for chunk in samples.chunks(CHUNK) {
                    self.chunk.clear();
                    self.chunk.extend(chunk.iter().flat_map(|sample| sample.to_le_bytes()));
                    self.target.write_all(&self.chunk)?;
                }
            }
            Samples::Floats(samples) => {
                let bits = self.format.bits;
                for chunk in samples.chunks(CHUNK) {
                    self.write_integers(chunk.iter().map(|sample| to_integer(*sample, bits)))?;
                }
            }
            Samples::Integers(samples) => {
                for chunk in samples.chunks(CHUNK) {
                    self.write_integers(chunk.iter().copied())?;
                }
            }
        }
        self.written = written;
        Ok(())
    }

    fn write_integers(&mut self, samples: impl Iterator<Item = i32>) -> Result<(), AudioError> {
        let bytes = &mut self.chunk;
        bytes.clear();
        match self.format.bits {
            8 => bytes.extend(samples.map(|sample| (sample + 128) as u8)),
            16 => bytes.extend(samples.flat_map(|sample| (sample as i16).to_le_bytes())),
            24 => bytes.extend(samples.flat_map(|sample| {
                let [a, b, c, _] = sample.to_le_bytes();
                [a, b, c]
            })),
            _ => bytes.extend(samples.flat_map(i32::to_le_bytes)),
        }
        self.target.write_all(bytes)?;
        Ok(())
    }

    /// Pads to an even length, flushes and returns the target.
    ///
    /// # Errors
    /// [`AudioError::Encode`] for fewer frames than were announced; [`AudioError::Io`].
    pub fn finish(mut self) -> Result<W, AudioError> {
        if let Some(announced) = self.announced {
            if self.written < announced {
                let message = format!("{} of the {announced} frames that the header announces", self.written);
                return Err(AudioError::Encode(message));
            }
            if (announced * u64::from(self.format.frame_bytes())) % 2 == 1 {
                self.target.write_all(&[0])?;
            }
        }
        self.target.flush()?;
        Ok(self.target)
    }
}
