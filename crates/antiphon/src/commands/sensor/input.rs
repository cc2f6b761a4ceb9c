//! A sender's samples: audio files of every format as they come, and bare PCM.

use std::io::{Cursor, Read};
use std::time::Duration;

use antiphon_audio::decode::{Decoder, Limits};
use antiphon_audio::encode::{PcmFormat, WavWriter, to_integer};
use antiphon_audio::{Format, SNIFF_BYTES, sniff};
use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;

use crate::commands::output::counted;

/// A stream may go on for ever.
const ENDLESS: Limits = Limits { duration: Duration::from_secs(100 * 366 * 24 * 3_600) };

/// The bits that samples are sent with which no FLAC file can hold: floating point, and integers of 32 bits.
const MOST_BITS: u16 = 24;

/// How bare PCM is to be read.
#[derive(Clone, Debug, clap::Args)]
pub struct PcmOptions {
    /// Bare PCM: samples per second. Without it the input must be an audio file, such as WAV, FLAC or MP3.
    #[arg(long, value_name = "HZ", help_heading = "Bare PCM")]
    pub rate: Option<u32>,
    /// Bare PCM: channels, interleaved.
    #[arg(long, value_name = "COUNT", default_value = "1", requires = "rate", help_heading = "Bare PCM")]
    pub channels: u16,
    /// Bare PCM: what a sample is; little-endian.
    #[arg(long, value_name = "FORMAT", default_value = "s16", requires = "rate", help_heading = "Bare PCM")]
    pub sample_format: SampleFormat,
}

/// What a sample of bare PCM is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SampleFormat {
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 16 bits.
    S16,
    /// Signed, 24 bits in 3 bytes.
    S24,
    /// Signed, 32 bits.
    S32,
    /// Floating point, 32 bits.
    F32,
}

impl PcmOptions {
    /// What comes is an audio file.
    pub fn none() -> Self {
        Self { rate: None, channels: 1, sample_format: SampleFormat::S16 }
    }

    fn format(&self) -> Option<PcmFormat> {
        let (bits, float) = match self.sample_format {
            SampleFormat::U8 => (8, false),
            SampleFormat::S16 => (16, false),
            SampleFormat::S24 => (24, false),
            SampleFormat::S32 => (32, false),
            SampleFormat::F32 => (32, true),
        };
        self.rate.map(|rate| PcmFormat { rate, channels: self.channels, bits, float })
    }
}

/// An open stream of samples.
pub struct Input {
    decoder: Decoder,
    format: PcmFormat,
}

impl Input {
    /// Opens a stream: by its first bytes if it is an audio file, else as the bare PCM that `pcm` describes.
    pub fn open(mut source: impl Read + Send + Sync + 'static, pcm: &PcmOptions) -> Result<Self> {
        let mut head = Vec::with_capacity(SNIFF_BYTES);
        source.by_ref().take(SNIFF_BYTES as u64).read_to_end(&mut head).context("the input cannot be read")?;
        if head.is_empty() {
            bail!("the input ended before its first sample; does the program that makes it work?");
        }
        // Samples may happen to look like a frame of MP3 or AAC: who describes bare PCM gets it.
        let is_container = |format: &Format| matches!(format, Format::Wav | Format::Flac);
        let known = sniff(&head).filter(|format| pcm.rate.is_none() || is_container(format));
        let whole = Cursor::new(head).chain(source);
        let decoder = match (known, pcm.format()) {
            (Some(_), _) => Decoder::open(whole, ENDLESS),
            // Bare PCM is WAV without its header.
            (None, Some(format)) => Decoder::open(Cursor::new(header(&format)?).chain(whole), ENDLESS),
            (None, None) => {
                bail!(
                    "the input is no audio file that is known; for bare PCM say --rate, --channels and --sample-format"
                )
            }
        };
        let decoder = decoder.map_err(|error| anyhow!("the input cannot be used: {error}"))?;
        let info = decoder.info();
        let bits = if info.float || info.bits > MOST_BITS { MOST_BITS } else { info.bits.max(8) };
        let format = PcmFormat { rate: info.rate, channels: info.channels, bits, float: false };
        Ok(Self { decoder, format })
    }

    /// What [`next`](Self::next) gives: integers that FLAC can hold.
    pub fn format(&self) -> &PcmFormat {
        &self.format
    }

    /// How long it lasts if its header says so, in frames.
    pub fn frames(&self) -> Option<u64> {
        self.decoder.info().frames
    }

    /// Appends the next block to `samples`, interleaved; whether there was one.
    pub fn next(&mut self, samples: &mut Vec<i32>) -> Result<bool> {
        let info = *self.decoder.info();
        if info.float || info.bits > MOST_BITS {
            let block = self.decoder.next_block().map_err(|error| damaged(&error))?;
            return Ok(block.is_some_and(|block| {
                interleave(block.channels(), samples, |sample| to_integer(sample, MOST_BITS));
                true
            }));
        }
        // WAV keeps fewer than 8 bits in the upper bits of its bytes; FLAC may hold 4 to 7, which we send as 8.
        let scale = 1 << (self.format.bits - info.bits);
        let block = self.decoder.next_integers().map_err(|error| damaged(&error))?;
        Ok(block.is_some_and(|block| {
            interleave(block.channels(), samples, |sample| sample * scale);
            true
        }))
    }

    /// What the input is, for people.
    pub fn describe(&self) -> String {
        let Self { decoder, format } = self;
        let kind = match decoder.info().format {
            Format::Wav => "PCM",
            other => other.name(),
        };
        let channels = counted(format.channels.into(), "channel");
        format!("{kind}, {} Hz, {channels}, {} bit", format.rate, decoder.info().bits)
    }
}

fn damaged(error: &antiphon_audio::AudioError) -> anyhow::Error {
    anyhow!("the input broke off: {error}")
}

fn interleave<T: Copy>(channels: &[&[T]], samples: &mut Vec<i32>, convert: impl Fn(T) -> i32) {
    let frames = channels.first().map_or(0, |channel| channel.len());
    for frame in 0..frames {
        samples.extend(channels.iter().map(|channel| convert(channel[frame])));
    }
}

/// The header of a WAV file whose length is not known.
fn header(format: &PcmFormat) -> Result<Vec<u8>> {
    let writer = WavWriter::new(Vec::new(), *format, None).context("this PCM cannot be read")?;
    writer.finish().context("this PCM cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pcm(rate: Option<u32>, sample_format: SampleFormat) -> PcmOptions {
        PcmOptions { rate, channels: 1, sample_format }
    }

    fn all(bytes: Vec<u8>, options: &PcmOptions) -> (PcmFormat, Vec<i32>) {
        let mut input = Input::open(Cursor::new(bytes), options).unwrap();
        let mut samples = Vec::new();
        while input.next(&mut samples).unwrap() {}
        (*input.format(), samples)
    }

    #[test]
    fn bare_pcm_is_read_as_it_is_described() {
        let (format, samples) = all(vec![1, 0, 255, 255, 0, 128], &pcm(Some(16_000), SampleFormat::S16));
        assert_eq!((format.rate, format.bits), (16_000, 16));
        assert_eq!(samples, [1, -1, -32_768]);
        let bytes = [0.5_f32, -1.0, 2.0].iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let (format, samples) = all(bytes, &pcm(Some(48_000), SampleFormat::F32));
        assert_eq!(format.bits, 24);
        assert_eq!(samples, [1 << 22, -(1 << 23), (1 << 23) - 1]);
        assert_eq!(all(vec![0, 128, 255], &pcm(Some(8_000), SampleFormat::U8)).1, [-128, 0, 127]);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let error = |bytes: &[u8], rate| {
            Input::open(Cursor::new(bytes.to_vec()), &pcm(rate, SampleFormat::S16)).err().unwrap().to_string()
        };
        assert!(error(b"", None).contains("ended before"));
        assert!(error(b"MZ\x90\0", None).contains("--rate"));
        assert!(error(&[0; 8], Some(7)).contains("cannot be"));
    }
}
