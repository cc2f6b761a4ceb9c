//! AAC in ADTS frames, as radio streams and bare `.aac` files have it (ISO/IEC 13818-7, 6.2; ISO/IEC 14496-3, 1.A.3).
//!
//! Nothing in it tells of an encoder's delay or padding, so all that is decoded counts as audio, as in ffmpeg.

use crate::aac::{self, Config};
use crate::coded::{BROKEN_OFF, CodedReader, Lead, Packet, Packets, Step, corrupt};
use crate::decode::Info;
use crate::input::Input;
use crate::{AudioError, Format, codecs};

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    config: Config,
    /// Bytes of the header: with a checksum or without.
    header_bytes: usize,
    /// Bytes of the frame, header included.
    bytes: usize,
    /// Blocks of 1,024 samples in the frame, less one.
    more_blocks: u8,
}

impl Header {
    /// What the first seven bytes of a frame say; `None` if they are no header.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let &[sync, flags, profile, mixed, length, rest, last, ..] = bytes else { return None };
        if sync != 0xff || flags & 0xf6 != 0xf0 {
            return None;
        }
        let rate = *aac::RATES.get(usize::from(profile >> 2 & 0xf))?;
        let channel_configuration = (profile & 1) << 2 | mixed >> 6;
        let header_bytes = if flags & 1 == 1 { 7 } else { 9 };
        let bytes = usize::from(mixed & 3) << 11 | usize::from(length) << 3 | usize::from(rest >> 5);
        let config = Config { object_type: (profile >> 6) + 1, rate, channel_configuration };
        (bytes > header_bytes).then_some(Self { config, header_bytes, bytes, more_blocks: last & 3 })
    }
}

/// Reads up to the first frame.
pub(crate) fn open(mut source: Input) -> Result<(CodedReader, Info), AudioError> {
    let malformed = || AudioError::Malformed { format: Format::Adts, reason: "the first frame is none".into() };
    let first = Header::parse(source.peek(7)?).ok_or_else(malformed)?;
    let channels = first.config.channels()?;
    let rate = first.config.rate;
    crate::decode::check(rate, channels)?;
    if first.more_blocks > 0 {
        return Err(AudioError::Unsupported("AAC with several blocks in an ADTS frame".into()));
    }
    let codec = codecs::aac(&first.config)?;
    let packets = aac::refuse_spectral_band_replication(Box::new(Frames { source, config: first.config }))?;
    let info = Info { format: Format::Adts, rate, channels, bits: 32, float: true, frames: None };
    Ok((CodedReader::new(packets, codec, Lead::default(), None), info))
}

struct Frames {
    source: Input,
    config: Config,
}

impl Packets for Frames {
    fn next(&mut self, packet: &mut Packet) -> Result<Step, AudioError> {
        loop {
            let head = self.source.peek(32)?;
            if head.is_empty() {
                return Ok(Step::End);
            }
            let Some(header) = Header::parse(head) else {
                if let Some(length) = crate::mp3::tag_length(head) {
                    self.source.skip(length)?;
                    continue;
                }
                let breaks_off = head.len() < 7 && head[0] == 0xff;
                return Err(if breaks_off { BROKEN_OFF } else { corrupt("what should be a frame is none") });
            };
            if header.config != self.config || header.more_blocks > 0 {
                return Err(corrupt("it goes on with other channels or another rate"));
            }
            let is_whole = self.source.skip(header.header_bytes as u64)?
                && self.source.append(header.bytes - header.header_bytes, &mut packet.data)?;
            return if is_whole { Ok(Step::Packet) } else { Err(BROKEN_OFF) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let header = Header::parse(&[0xff, 0xf1, 0x50, 0x80, 0x2e, 0x7f, 0xfc]).unwrap();
        assert_eq!(header.config, Config { object_type: 2, rate: 44_100, channel_configuration: 2 });
        assert_eq!((header.header_bytes, header.bytes, header.more_blocks), (7, 371, 0));
        assert!(Header::parse(&[0xff, 0xf1, 0x74, 0x80, 0x2e, 0x7f, 0xfc]).is_none(), "a rate that is reserved");
        assert!(Header::parse(&[0xff, 0xf3, 0x50, 0x80, 0x2e, 0x7f, 0xfc]).is_none(), "a layer");
        assert!(Header::parse(&[0xff, 0xf1, 0x50, 0x80, 0x00, 0x1f, 0xfc]).is_none(), "shorter than its header");
    }
}
