//! A track of sound: which codec it has, and how that is set up (RFC 9559, and its registry of codecs).

use super::elements::{bytes, each, float, unsigned};
use super::malformed;
use crate::aac::Config;
use crate::coded::Codec;
use crate::decode::Info;
use crate::input::Input;
use crate::pcm::{Encoding, Kind, Layout, Order, PcmCodec};
use crate::{AudioError, Format, codecs, opus};

const SOUND: u64 = 2;

/// What a track says of itself.
#[derive(Default)]
pub(super) struct Track {
    pub(super) number: u64,
    kind: u64,
    codec: Vec<u8>,
    private: Vec<u8>,
    /// Nanoseconds that the decoder yields before the audio.
    delay: u64,
    rate: f64,
    channels: u64,
    bits: u64,
    is_packed: bool,
}

/// A codec and what is known of its samples.
pub(super) struct Described {
    pub(super) codec: Box<dyn Codec>,
    pub(super) info: Info,
    /// Frames that the decoder yields before the audio.
    pub(super) lead: u64,
    pub(super) is_aac: bool,
}

impl Track {
    /// Reads the element `TrackEntry`.
    pub(super) fn read(source: &mut Input, end: u64) -> Result<Self, AudioError> {
        let mut track = Self { channels: 1, rate: 8_000.0, ..Self::default() };
        each(source, end, |source, id, end| {
            match id {
                0xd7 => track.number = unsigned(source, end)?,
                0x83 => track.kind = unsigned(source, end)?,
                0x86 => track.codec = bytes(source, end)?,
                0x63a2 => track.private = bytes(source, end)?,
                0x56aa => track.delay = unsigned(source, end)?,
                0x6d80 => track.is_packed = true,
                0xe1 => each(source, end, |source, id, end| {
                    match id {
                        0xb5 => track.rate = float(source, end)?,
                        0x9f => track.channels = unsigned(source, end)?,
                        0x6264 => track.bits = unsigned(source, end)?,
                        _ => {}
                    }
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(track)
    }

    pub(super) fn is_sound(&self) -> bool {
        self.kind == SOUND
    }

    /// The codec, set up.
    pub(super) fn open(&self) -> Result<Described, AudioError> {
        if self.is_packed {
            return Err(AudioError::Unsupported("Matroska with packed or encrypted packets".into()));
        }
        let channels = u16::try_from(self.channels).unwrap_or(u16::MAX);
        let rate = if (0.0..1e9).contains(&self.rate) { self.rate.round() as u32 } else { 0 };
        let name = self.codec.split(|byte| matches!(byte, 0 | b'/')).next().unwrap_or_default();
        let described = |codec, info: Info| {
            let lead = u128::from(self.delay) * u128::from(info.rate);
            let lead = u64::try_from((lead + 500_000_000) / 1_000_000_000).unwrap_or(u64::MAX);
            Described { codec, info: Info { format: Format::Matroska, ..info }, lead, is_aac: false }
        };
        let lossy =
            |rate, channels| Info { format: Format::Matroska, rate, channels, bits: 32, float: true, frames: None };
        match (name, self.codec.as_slice()) {
            (b"A_OPUS", _) => {
                let head = opus::Head::parse(&self.private)?;
                let described = described(codecs::opus(&head)?, lossy(opus::RATE, head.channels()));
                Ok(Described { lead: head.pre_skip(), ..described })
            }
            (b"A_VORBIS", _) => {
                let headers = self.vorbis().ok_or_else(|| malformed("the headers of Vorbis are damaged"))?;
                Ok(described(codecs::vorbis(&headers)?, lossy(headers.rate, headers.channels)))
            }
            (b"A_FLAC", _) => {
                let stream_info = self.private.get(8..42).filter(|_| self.private.starts_with(b"fLaC"));
                let stream_info = stream_info.ok_or_else(|| malformed("no stream information of FLAC"))?;
                codecs::flac(stream_info).map(|(codec, info)| described(codec, info))
            }
            (b"A_ALAC", _) => {
                let is_boxed = self.private.get(4..8) == Some(b"alac");
                let cookie = self.private.get(if is_boxed { 12 } else { 0 }..).unwrap_or_default();
                codecs::alac(cookie).map(|(codec, info)| described(codec, info))
            }
            (b"A_AAC", codec) => {
                let config = match self.private.as_slice() {
                    [] if codec.windows(3).any(|part| part == b"SBR") => {
                        return Err(AudioError::Unsupported("HE-AAC (AAC with spectral band replication)".into()));
                    }
                    [] => Config { object_type: 2, rate, channel_configuration: channels.min(8) as u8 },
                    private => Config::parse(private)?,
                };
                let channels = config.channels()?;
                crate::decode::check(config.rate, channels)?;
                let described = described(codecs::aac(&config)?, lossy(config.rate, channels));
                Ok(Described { is_aac: true, ..described })
            }
            (_, b"A_MPEG/L3") => {
                crate::decode::check(rate, channels)?;
                Ok(described(codecs::mp3(rate, channels)?, lossy(rate, channels)))
            }
            (b"A_PCM", codec) => {
                let (kind, order) = match codec.strip_prefix(b"A_PCM/").unwrap_or_default() {
                    b"INT/LIT" if self.bits == 8 => (Kind::Unsigned, Order::Little),
                    b"INT/LIT" => (Kind::Signed, Order::Little),
                    b"INT/BIG" => (Kind::Signed, Order::Big),
                    b"FLOAT/IEEE" => (Kind::Float, Order::Little),
                    other => {
                        return Err(AudioError::Unsupported(format!("Matroska with PCM {}", other.escape_ascii())));
                    }
                };
                crate::decode::check(rate, channels)?;
                let bytes = match (kind, self.bits) {
                    (Kind::Unsigned, 8) => 1,
                    (Kind::Signed, 16 | 24 | 32) | (Kind::Float, 32 | 64) => self.bits as usize / 8,
                    (_, bits) => return Err(AudioError::Unsupported(format!("Matroska with {bits} bit samples"))),
                };
                let layout = Layout { encoding: Encoding { kind, bytes, order }, channels, rate };
                Ok(described(Box::new(PcmCodec::new(layout)), layout.info(Format::Matroska, None)))
            }
            (_, other) => Err(AudioError::Unsupported(format!("Matroska with {}", other.escape_ascii()))),
        }
    }

    /// Takes the three headers of Vorbis apart: their number less one, the lengths of the first two, the headers.
    fn vorbis(&self) -> Option<codecs::VorbisHeaders> {
        let (&2, mut rest) = self.private.split_first()? else { return None };
        let first = xiph_length(&mut rest)?;
        let second = xiph_length(&mut rest)?;
        let (identification, rest) = rest.split_at_checked(first)?;
        let setup = rest.get(second..)?;
        codecs::VorbisHeaders::parse(identification.to_vec(), setup.to_vec()).ok()
    }
}

/// A length in bytes of 255 and one that is less.
pub(super) fn xiph_length(rest: &mut &[u8]) -> Option<usize> {
    let mut length = 0_usize;
    loop {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        length += usize::from(byte);
        if byte < 255 {
            return Some(length);
        }
    }
}
