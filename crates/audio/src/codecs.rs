//! The codecs, each behind [`Codec`]: Symphonia's decoders, and Opus.

use std::ops::Range;

use symphonia::core::audio::{Audio, GenericAudioBufferRef};
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_ALAC, CODEC_ID_FLAC, CODEC_ID_MP3, CODEC_ID_VORBIS,
};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::{Error, Result};
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};
use symphonia::default::codecs::{AacDecoder, AlacDecoder, FlacDecoder, MpaDecoder, VorbisDecoder};

use crate::aac::Config;
use crate::coded::Codec;
use crate::decode::{Info, Planes};
use crate::{AudioError, Format};

/// MPEG audio, layer III.
pub(crate) fn mp3(rate: u32, channels: u16) -> std::result::Result<Box<dyn Codec>, AudioError> {
    let samples = Samples { rate, channels: usize::from(channels), shift: 0 };
    symphonia("MP3", CODEC_ID_MP3, Vec::new(), samples, MpaDecoder::try_new)
}

/// AAC-LC of one or two channels: more, Symphonia does not decode.
pub(crate) fn aac(config: &Config) -> std::result::Result<Box<dyn Codec>, AudioError> {
    let channels = config.channels()?;
    if channels > 2 {
        return Err(AudioError::Unsupported(format!("AAC with {channels} channels")));
    }
    let samples = Samples { rate: config.rate, channels: usize::from(channels), shift: 0 };
    symphonia("AAC", CODEC_ID_AAC, config.bytes(), samples, AacDecoder::try_new)
}

/// Apple Lossless, and what its description says of the samples.
pub(crate) fn alac(cookie: &[u8]) -> std::result::Result<(Box<dyn Codec>, Info), AudioError> {
    let unsupported = || AudioError::Unsupported("ALAC with a damaged description".into());
    // Frames in a packet, version, bits, three settings, channels, a run, two sizes, the rate.
    let fields = cookie.get(..24).ok_or_else(unsupported)?;
    let number = |at: usize| u32::from_be_bytes(std::array::from_fn(|byte| fields[at + byte]));
    let (bits, channels, rate) = (u16::from(fields[5]), u16::from(fields[9]), number(20));
    crate::decode::check(rate, channels)?;
    if !matches!(bits, 16 | 20 | 24 | 32) {
        return Err(AudioError::Unsupported(format!("ALAC of {bits} bits")));
    }
    let info = Info { format: Format::Mp4, rate, channels, bits, float: false, frames: None };
    let samples = Samples { rate, channels: usize::from(channels), shift: 32 - bits };
    let codec = symphonia("ALAC", CODEC_ID_ALAC, cookie.to_vec(), samples, AlacDecoder::try_new)?;
    Ok((codec, info))
}

/// FLAC whose frames come as packets, and what its stream information says.
pub(crate) fn flac(stream_info: &[u8]) -> std::result::Result<(Box<dyn Codec>, Info), AudioError> {
    let stream_info = stream_info.first_chunk().ok_or_else(|| AudioError::Malformed {
        format: Format::Flac,
        reason: "the stream information is too short".into(),
    })?;
    let info = crate::flac::parse(stream_info)?;
    crate::flac::refuse_what_frames_cannot_hold(&info)?;
    let samples = Samples { rate: info.rate, channels: usize::from(info.channels), shift: 32 - info.bits };
    let codec = symphonia("FLAC", CODEC_ID_FLAC, stream_info.to_vec(), samples, FlacDecoder::try_new)?;
    Ok((codec, info))
}

/// The two headers of Vorbis that are needed to decode.
pub(crate) struct VorbisHeaders {
    pub(crate) rate: u32,
    pub(crate) channels: u16,
    bytes: Vec<u8>,
}

impl VorbisHeaders {
    /// Reads the identification header (Vorbis I, 4.2.2); of the setup only what the decoder takes for granted.
    pub(crate) fn parse(identification: Vec<u8>, setup: Vec<u8>) -> std::result::Result<Self, AudioError> {
        let [b'\x01', b'v', b'o', b'r', b'b', b'i', b's', 0, 0, 0, 0, channels, a, b, c, d, ..] = identification[..]
        else {
            return Err(AudioError::Unsupported("Vorbis of an unknown version".into()));
        };
        let (rate, channels) = (u32::from_le_bytes([a, b, c, d]), u16::from(channels));
        crate::decode::check(rate, channels)?;
        if !crate::vorbis::has_sound_codebooks(&setup) {
            return Err(AudioError::Unsupported("Vorbis whose codebooks break the format's rules".into()));
        }
        Ok(Self { rate, channels, bytes: [identification, setup].concat() })
    }
}

/// Vorbis.
pub(crate) fn vorbis(headers: &VorbisHeaders) -> std::result::Result<Box<dyn Codec>, AudioError> {
    let samples = Samples { rate: headers.rate, channels: usize::from(headers.channels), shift: 0 };
    let codec = symphonia("Vorbis", CODEC_ID_VORBIS, headers.bytes.clone(), samples, VorbisDecoder::try_new)?;
    Ok(Box::new(Vorbis(codec)))
}

/// Vorbis whose headers may come again amid the audio, as editors leave them: packets that are no audio by their first bit are
/// ignored (Vorbis I, 4.3.1).
struct Vorbis(Box<dyn Codec>);

impl Codec for Vorbis {
    fn decode(&mut self, packet: &[u8]) -> std::result::Result<usize, String> {
        let is_audio = packet.first().is_none_or(|first| first & 1 == 0);
        if is_audio { self.0.decode(packet) } else { Ok(0) }
    }

    fn copy(&self, frames: Range<usize>, planes: &mut Planes) {
        self.0.copy(frames, planes);
    }
}

/// One of Symphonia's decoders. A panic in it while it is made is an error, as it is later.
fn symphonia<D: AudioDecoder + 'static>(
    name: &str,
    id: AudioCodecId,
    description: Vec<u8>,
    samples: Samples,
    make: impl Fn(&AudioCodecParameters, &AudioDecoderOptions) -> Result<D>,
) -> std::result::Result<Box<dyn Codec>, AudioError> {
    let mut parameters = AudioCodecParameters::new();
    parameters.for_codec(id);
    if !description.is_empty() {
        parameters.with_extra_data(description.into_boxed_slice());
    }
    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| make(&parameters, &Default::default())));
    let refused = |reason: String| AudioError::Unsupported(format!("this {name} ({reason})"));
    let decoder = match made {
        Ok(made) => made.map_err(|error| refused(error.to_string()))?,
        Err(_) => return Err(refused(String::from("the decoder failed"))),
    };
    Ok(Box::new(Symphonia { decoder, samples }))
}

/// What every packet must decode to.
struct Samples {
    rate: u32,
    channels: usize,
    /// Symphonia fills integers of 32 bits from the top.
    shift: u16,
}

struct Symphonia<D> {
    decoder: D,
    samples: Samples,
}

impl<D: AudioDecoder> Codec for Symphonia<D> {
    fn decode(&mut self, packet: &[u8]) -> std::result::Result<usize, String> {
        let packet = PacketRef::new(0, Timestamp::new(0), Duration::ZERO, packet);
        let decoded = self.decoder.decode_ref(&packet).map_err(|error: Error| error.to_string())?;
        let (rate, channels) = (decoded.spec().rate(), decoded.num_planes());
        if decoded.frames() > 0 && (rate, channels) != (self.samples.rate, self.samples.channels) {
            return Err(format!("it goes on with {channels} channels at {rate} samples per second"));
        }
        Ok(decoded.frames())
    }

    fn copy(&self, frames: Range<usize>, planes: &mut Planes) {
        match self.decoder.last_decoded() {
            GenericAudioBufferRef::F32(block) => {
                for (channel, plane) in planes.floats.iter_mut().enumerate() {
                    plane.clear();
                    plane.extend_from_slice(&block.plane(channel).unwrap_or_default()[frames.clone()]);
                }
            }
            GenericAudioBufferRef::S32(block) => {
                for (channel, plane) in planes.integers.iter_mut().enumerate() {
                    let samples = &block.plane(channel).unwrap_or_default()[frames.clone()];
                    plane.clear();
                    plane.extend(samples.iter().map(|sample| sample >> self.samples.shift));
                }
            }
            // None of the decoders above has samples of another kind.
            _ => {}
        }
    }
}

/// Opus.
pub(crate) fn opus(head: &crate::opus::Head) -> std::result::Result<Box<dyn Codec>, AudioError> {
    Ok(Box::new(crate::opus::Decoder::new(head)?))
}
