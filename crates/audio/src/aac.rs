//! What an AAC stream says of itself, and how HE-AAC is told from AAC-LC.
//!
//! HE-AAC is AAC-LC of half the rate with data beside it from which the upper half of the spectrum is made (SBR). A
//! decoder that does not know of it gives half the band, and nobody notices. Here it is refused by name, whether
//! it is announced (ISO/IEC 14496-3, 1.6.5) or found in the frames.

use std::collections::VecDeque;

use crate::AudioError;
use crate::coded::{Packet, Packets, Step};

/// Rates by index (ISO/IEC 14496-3, table 1.18).
pub(crate) const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// Index that says that the rate follows in 24 bits.
const RATE_FOLLOWS: u32 = 15;

/// AAC-LC.
const LOW_COMPLEXITY: u8 = 2;
const SPECTRAL_BAND_REPLICATION: u8 = 5;
const PARAMETRIC_STEREO: u8 = 29;
/// Marks what a decoder of AAC-LC passes over.
const SYNC_EXTENSION: u32 = 0x2b7;

/// Packets that are looked at before decoding begins.
const LOOKED_AT: usize = 8;

/// What is needed to begin decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// Audio object type; 2 is AAC-LC.
    pub(crate) object_type: u8,
    pub(crate) rate: u32,
    pub(crate) channel_configuration: u8,
}

impl Config {
    /// Reads an AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, AudioError> {
        let malformed = || AudioError::Unsupported("AAC with a damaged description".into());
        let mut bits = Bits { bytes, at: 0 };
        let object_type = object_type(&mut bits).ok_or_else(malformed)?;
        let rate = rate(&mut bits).ok_or_else(malformed)?;
        let channel_configuration = bits.take(4).ok_or_else(malformed)? as u8;
        if matches!(object_type, SPECTRAL_BAND_REPLICATION | PARAMETRIC_STEREO) {
            return Err(he_aac());
        }
        let config = Self { object_type, rate, channel_configuration };
        config.channels()?;
        // 960 samples a frame are for radio; what follows is the place of a core coder and an extension.
        if bits.take(1) == Some(1) {
            return Err(AudioError::Unsupported("AAC with 960 samples in a frame".into()));
        }
        if bits.take(1) == Some(1) {
            bits.take(14);
        }
        bits.take(1);
        let is_extended = bits.take(11) == Some(SYNC_EXTENSION)
            && object_type_is(&mut bits, SPECTRAL_BAND_REPLICATION)
            && bits.take(1) == Some(1);
        if is_extended { Err(he_aac()) } else { Ok(config) }
    }

    /// Bytes for a decoder: the same without what was not understood.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let head = u64::from(self.object_type) << 59;
        let index = RATES.iter().position(|rate| *rate == self.rate);
        let rest = match index {
            Some(index) => (index as u64) << 55 | u64::from(self.channel_configuration) << 51,
            None => {
                u64::from(RATE_FOLLOWS) << 55 | u64::from(self.rate) << 31 | u64::from(self.channel_configuration) << 27
            }
        };
        (head | rest).to_be_bytes()[..if index.is_some() { 2 } else { 5 }].to_vec()
    }

    /// Channels, if it is AAC-LC with channels that have their usual places.
    pub(crate) fn channels(&self) -> Result<u16, AudioError> {
        let refusal = match (self.object_type, self.channel_configuration) {
            (LOW_COMPLEXITY, channels @ 1..=6) => return Ok(u16::from(channels)),
            (LOW_COMPLEXITY, 7) => return Ok(8),
            (LOW_COMPLEXITY, 0) => String::from("AAC with channels of its own arrangement"),
            (LOW_COMPLEXITY, other) => format!("AAC with channel configuration {other}"),
            (1, _) => String::from("AAC Main"),
            (3, _) => String::from("AAC SSR"),
            (4, _) => String::from("AAC LTP"),
            (23 | 39, _) => String::from("AAC of low delay"),
            (42, _) => String::from("xHE-AAC"),
            (other, _) => format!("MPEG-4 audio of object type {other}"),
        };
        Err(AudioError::Unsupported(refusal))
    }
}

fn object_type(bits: &mut Bits<'_>) -> Option<u8> {
    match bits.take(5)? {
        31 => Some(32 + bits.take(6)? as u8),
        other => Some(other as u8),
    }
}

fn object_type_is(bits: &mut Bits<'_>, wanted: u8) -> bool {
    object_type(bits) == Some(wanted)
}

fn rate(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.take(4)? {
        RATE_FOLLOWS => bits.take(24),
        index => RATES.get(index as usize).copied(),
    }
}

fn he_aac() -> AudioError {
    AudioError::Unsupported("HE-AAC (AAC with spectral band replication)".into())
}

/// Refuses HE-AAC that is not announced: the packets at the beginning end as those of HE-AAC do.
pub(crate) fn refuse_spectral_band_replication(mut packets: Box<dyn Packets>) -> Result<Box<dyn Packets>, AudioError> {
    let mut read = VecDeque::new();
    let mut last = None;
    while read.len() < LOOKED_AT {
        let mut packet = Packet::default();
        match packets.next(&mut packet) {
            Ok(Step::Packet) => read.push_back(packet),
            // What is wrong is told when decoding gets there.
            other => {
                last = Some(other);
                break;
            }
        }
    }
    let marked = read.iter().filter(|packet| ends_with_replication(&packet.data)).count();
    // Chance makes one packet in seventy look so. The first ones of a stream may still be without.
    if marked >= 3 && marked * 4 >= read.len() * 3 {
        return Err(he_aac());
    }
    Ok(Box::new(Replayed { read, last, packets }))
}

/// Packets that were read ahead, and then the others.
struct Replayed {
    read: VecDeque<Packet>,
    last: Option<Result<Step, AudioError>>,
    packets: Box<dyn Packets>,
}

impl Packets for Replayed {
    fn next(&mut self, packet: &mut Packet) -> Result<Step, AudioError> {
        if let Some(read) = self.read.pop_front() {
            *packet = read;
            return Ok(Step::Packet);
        }
        match self.last.take() {
            Some(last) => last,
            None => self.packets.next(packet),
        }
    }
}

/// Whether a block of AAC ends with the data of spectral band replication: a fill element of that kind, perhaps
/// others that only fill, the end mark, and fewer than eight bits of 0 (ISO/IEC 14496-3, tables 4.3 and 4.11). Where
/// elements begin can be known only by decoding them all, hence it is looked for from behind: a fill element says how
/// long it is, so only one that ends where it must is found.
fn ends_with_replication(block: &[u8]) -> bool {
    let bits = Bits { bytes: block, at: 0 };
    // The end mark is the last three bits that are 1.
    let Some(last_byte) = block.iter().rposition(|byte| *byte != 0) else { return false };
    let end = 8 * last_byte + 8 - block[last_byte].trailing_zeros() as usize;
    if end < 3 || 8 * block.len() - end >= 8 || bits.at(end - 3, 3) != Some(0b111) {
        return false;
    }
    // Fill elements without any content.
    let empty = |end: &usize| {
        let start = end.checked_sub(7)?;
        (bits.at(start, 7) == Some(FILL << 4)).then_some(start)
    };
    let ends = std::iter::successors(Some(end - 3), empty).take(4);
    ends.flat_map(|end| fill_elements_before(&bits, end)).any(|(start, kind)| match kind {
        0b1101 | 0b1110 => true,
        0b0000 | 0b0001 => fill_elements_before(&bits, start).any(|(_, kind)| matches!(kind, 0b1101 | 0b1110)),
        _ => false,
    })
}

/// The identifier of a fill element.
const FILL: u32 = 0b110;

/// Where fill elements may begin that end at bit `end`, and which kind of extension they hold.
fn fill_elements_before<'a>(bits: &'a Bits<'a>, end: usize) -> impl Iterator<Item = (usize, u32)> + 'a {
    let short = (1..15).filter_map(move |count| {
        let start = end.checked_sub(8 * count + 7)?;
        (bits.at(start, 7) == Some(FILL << 4 | count as u32)).then_some((start, start + 7))
    });
    let long = (15..270).filter_map(move |count| {
        let start = end.checked_sub(8 * count + 15)?;
        (bits.at(start, 15) == Some(FILL << 12 | 15 << 8 | (count as u32 - 14))).then_some((start, start + 15))
    });
    short.chain(long).filter_map(move |(start, body)| Some((start, bits.at(body, 4)?)))
}

/// Bits, the highest of a byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let value = self.at(self.at, count)?;
        self.at += count;
        Some(value)
    }

    /// `count` bits, at most 32, from bit `at` on.
    fn at(&self, at: usize, count: usize) -> Option<u32> {
        (at..at + count).try_fold(0_u32, |value, bit| {
            let byte = self.bytes.get(bit / 8)?;
            Some(value << 1 | u32::from(byte >> (7 - bit % 8) & 1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_read_and_written() {
        let config = Config::parse(&[0x12, 0x10]).unwrap();
        assert_eq!(config, Config { object_type: 2, rate: 44_100, channel_configuration: 2 });
        assert_eq!(config.bytes(), [0x12, 0x10]);
        let odd = Config { object_type: 2, rate: 45_000, channel_configuration: 1 };
        assert_eq!(Config::parse(&odd.bytes()).unwrap(), odd);
        // ffmpeg writes that there is no replication.
        assert_eq!(Config::parse(&[0x12, 0x10, 0x56, 0xe5, 0x00]).unwrap(), config);
    }

    #[test]
    fn what_is_announced_and_not_decoded_is_refused_by_name() {
        let refusal = |bytes: &[u8]| Config::parse(bytes).unwrap_err().to_string();
        assert!(refusal(&[0x2b, 0x11, 0x88, 0x00]).contains("HE-AAC"), "object type 5");
        assert!(refusal(&[0xeb, 0x09, 0x88, 0x00]).contains("HE-AAC"), "object type 29");
        assert!(refusal(&[0x13, 0x10, 0x56, 0xe5, 0x98]).contains("HE-AAC"), "by the extension");
        assert!(refusal(&[0x0a, 0x10]).contains("Main"));
        assert!(refusal(&[0x12, 0x00]).contains("arrangement"));
        assert!(refusal(&[0x12, 0x14]).contains("960"));
        assert!(refusal(&[0x12]).contains("damaged"));
    }
}
