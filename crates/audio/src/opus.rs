//! Opus as containers hold it (RFC 7845): a header that says how streams become channels, and packets of one or more
//! streams (RFC 6716, section 3 and appendix B).

use std::ops::Range;

use opus_pure::OpusDecoder;

use crate::coded::Codec;
use crate::decode::Planes;
use crate::{AudioError, MAX_CHANNELS};

/// Frames per second that all of Opus is decoded to.
pub(crate) const RATE: u32 = 48_000;

/// Most frames in a packet: 120 ms.
const MOST_FRAMES: usize = 5_760;

/// Most frames (of the format) in a packet.
const MOST_PARTS: usize = 48;

/// A channel of silence in the mapping.
const SILENT: u8 = 255;

/// Where the channels of Vorbis' order stand in the order of WAVE, for 1 to 8 channels.
const FROM_VORBIS: [&[usize]; MAX_CHANNELS] = [
    &[0],
    &[0, 1],
    &[0, 2, 1],
    &[0, 1, 2, 3],
    &[0, 2, 1, 3, 4],
    &[0, 2, 1, 5, 3, 4],
    &[0, 2, 1, 6, 5, 3, 4],
    &[0, 2, 1, 7, 5, 6, 3, 4],
];

/// The identification header (RFC 7845, section 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pre_skip: u16,
    /// Output gain in 1/256 dB.
    gain: i16,
    streams: u8,
    /// So many of the streams, from the first on, have two channels.
    coupled: u8,
    /// Which decoded channel each channel is, in the order of WAVE.
    mapping: Vec<u8>,
}

impl Head {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, AudioError> {
        let malformed = || AudioError::Unsupported("Opus with a damaged header".into());
        let fields = bytes.get(..19).filter(|fields| fields.starts_with(b"OpusHead")).ok_or_else(malformed)?;
        if fields[8] >> 4 != 0 {
            return Err(AudioError::Unsupported("Opus in a newer encapsulation".into()));
        }
        let channels = fields[9];
        crate::decode::check(RATE, u16::from(channels))?;
        let (streams, coupled, order) = match (fields[18], channels) {
            (0, 1) => (1, 0, vec![0]),
            (0, 2) => (1, 1, vec![0, 1]),
            (1 | 255, _) => {
                let table = bytes.get(21..21 + usize::from(channels)).ok_or_else(malformed)?;
                (bytes[19], bytes[20], table.to_vec())
            }
            (family, _) => return Err(AudioError::Unsupported(format!("Opus with channel mapping {family}"))),
        };
        let decoded = u16::from(streams) + u16::from(coupled);
        let is_sound = streams > 0
            && coupled <= streams
            && usize::from(streams) <= MAX_CHANNELS
            && order.iter().all(|from| *from == SILENT || u16::from(*from) < decoded);
        if !is_sound {
            return Err(malformed());
        }
        let mapping = match fields[18] {
            1 => FROM_VORBIS[usize::from(channels) - 1].iter().map(|place| order[*place]).collect(),
            _ => order,
        };
        let word = |at: usize| u16::from_le_bytes([fields[at], fields[at + 1]]);
        Ok(Self { pre_skip: word(10), gain: word(16) as i16, streams, coupled, mapping })
    }

    /// Reads the box `dOps` of MP4 ("Encapsulation of Opus in ISO Base Media File Format", 4.3.2): the same with other
    /// byte order.
    pub(crate) fn parse_mp4(bytes: &[u8]) -> Result<Self, AudioError> {
        let Some(&[0, channels, skip_high, skip_low, a, b, c, d, gain_high, gain_low, family, ref rest @ ..]) =
            bytes.get(..).filter(|bytes| bytes.len() >= 11)
        else {
            return Err(AudioError::Unsupported("Opus with a damaged header".into()));
        };
        let fields = [1, channels, skip_low, skip_high, d, c, b, a, gain_low, gain_high, family];
        Self::parse(&[b"OpusHead", &fields[..], rest].concat())
    }

    pub(crate) fn channels(&self) -> u16 {
        self.mapping.len() as u16
    }

    /// Frames to leave out at the beginning.
    pub(crate) fn pre_skip(&self) -> u64 {
        u64::from(self.pre_skip)
    }
}

/// Frames that a packet decodes to; `None` if it breaks the rules.
pub(crate) fn frames(packet: &[u8]) -> Option<u64> {
    let (&first, rest) = packet.split_first()?;
    let parts = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(rest.first()? & 0x3f),
    };
    let configuration = first >> 3;
    let length = match configuration {
        0..12 => [480, 960, 1_920, 2_880][usize::from(configuration & 3)],
        12..16 => [480, 960][usize::from(configuration & 1)],
        _ => [120, 240, 480, 960][usize::from(configuration & 3)],
    };
    let frames = parts * length;
    (frames > 0 && frames <= MOST_FRAMES as u64).then_some(frames)
}

/// Decodes the streams of a packet and makes channels of them.
pub(crate) struct Decoder {
    streams: Vec<OpusDecoder>,
    coupled: usize,
    mapping: Vec<u8>,
    gain: f32,
    /// What was decoded last, stream by stream, each interleaved.
    decoded: Vec<Vec<f32>>,
    /// A packet of one stream, made of one of many.
    single: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new(head: &Head) -> Result<Self, AudioError> {
        let coupled = usize::from(head.coupled);
        let channels = |stream: usize| if stream < coupled { 2 } else { 1 };
        let streams = (0..usize::from(head.streams))
            .map(|stream| OpusDecoder::new(RATE as i32, channels(stream)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| AudioError::Unsupported(format!("this Opus ({error})")))?;
        let decoded = (0..streams.len()).map(|stream| vec![0.0; MOST_FRAMES * channels(stream)]).collect();
        let gain = 10_f64.powf(f64::from(head.gain) / 256.0 / 20.0) as f32;
        Ok(Self { streams, coupled, mapping: head.mapping.clone(), gain, decoded, single: Vec::new() })
    }
}

impl Codec for Decoder {
    fn decode(&mut self, packet: &[u8]) -> Result<usize, String> {
        let mut rest = packet;
        let mut all = None;
        let count = self.streams.len();
        for (number, (stream, decoded)) in self.streams.iter_mut().zip(&mut self.decoded).enumerate() {
            let single = if number + 1 < count {
                rest = split(rest, &mut self.single).ok_or("a packet of several streams is damaged")?;
                self.single.as_slice()
            } else {
                rest
            };
            let expected = frames(single).ok_or("a packet breaks the rules")? as usize;
            if all.is_some_and(|all| all != expected) {
                return Err(String::from("the streams of a packet differ in length"));
            }
            all = Some(expected);
            let frames = stream.decode(single, MOST_FRAMES, decoded).map_err(|error| error.to_string())?;
            if frames != expected {
                return Err(String::from("a packet decodes to another length than it says"));
            }
        }
        Ok(all.unwrap_or(0))
    }

    fn copy(&self, frames: Range<usize>, planes: &mut Planes) {
        for (plane, from) in planes.floats.iter_mut().zip(&self.mapping) {
            plane.clear();
            if *from == SILENT {
                plane.resize(frames.len(), 0.0);
                continue;
            }
            let from = usize::from(*from);
            let (stream, channel, width) =
                if from < 2 * self.coupled { (from / 2, from % 2, 2) } else { (from - self.coupled, 0, 1) };
            let samples = self.decoded[stream].chunks_exact(width).skip(frames.start).take(frames.len());
            plane.extend(samples.map(|frame| frame[channel] * self.gain));
        }
    }
}

/// Takes the first stream's packet, which says how long it is, and puts it into `single` as one that does not
/// (RFC 6716, appendix B); the rest is returned.
fn split<'a>(packet: &'a [u8], single: &mut Vec<u8>) -> Option<&'a [u8]> {
    single.clear();
    let (&first, mut rest) = packet.split_first()?;
    single.push(first);
    let mut body = 0;
    match first & 3 {
        0 => body = length(&mut rest)?,
        1 => body = 2 * length(&mut rest)?,
        2 => {
            let before = rest;
            body += length(&mut rest)?;
            single.extend_from_slice(&before[..before.len() - rest.len()]);
            body += length(&mut rest)?;
        }
        _ => {
            let before = rest;
            let (&shape, behind) = rest.split_first()?;
            rest = behind;
            let parts = usize::from(shape & 0x3f);
            if parts == 0 || parts > MOST_PARTS {
                return None;
            }
            if shape & 0x40 != 0 {
                body += padding(&mut rest)?;
            }
            let is_variable = shape & 0x80 != 0;
            for _ in 1..if is_variable { parts } else { 1 } {
                body += length(&mut rest)?;
            }
            single.extend_from_slice(&before[..before.len() - rest.len()]);
            body += length(&mut rest)? * if is_variable { 1 } else { parts };
        }
    }
    let (own, others) = rest.split_at_checked(body)?;
    single.extend_from_slice(own);
    Some(others)
}

/// Bytes of padding at the end of a packet: each 255 stands for 254 and says that more follow.
fn padding(rest: &mut &[u8]) -> Option<usize> {
    let mut padding = 0;
    loop {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        if byte < 255 {
            return Some(padding + usize::from(byte));
        }
        padding += 254;
    }
}

/// The length of a frame: one byte, or two from 252 on.
fn length(rest: &mut &[u8]) -> Option<usize> {
    let (&first, behind) = rest.split_first()?;
    *rest = behind;
    if first < 252 {
        return Some(usize::from(first));
    }
    let (&second, behind) = rest.split_first()?;
    *rest = behind;
    Some(usize::from(first) + 4 * usize::from(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let head = |family: u8, rest: &[u8]| {
            let channels = if family == 0 { 2 } else { 6 };
            let fixed = [1, channels, 0x38, 0x01, 0x80, 0xbb, 0, 0, 0x00, 0xff, family];
            Head::parse(&[b"OpusHead", &fixed[..], rest].concat())
        };
        let stereo = head(0, &[]).unwrap();
        assert_eq!((stereo.pre_skip(), stereo.gain, stereo.channels()), (312, -256, 2));
        // 5.1 in the order of Vorbis: left, centre, right, two behind, LFE.
        let surround = head(1, &[4, 2, 0, 4, 1, 2, 3, 5]).unwrap();
        assert_eq!(surround.mapping, [0, 1, 4, 5, 2, 3]);
        assert!(head(1, &[4, 2, 0, 4, 1, 2, 3]).is_err(), "the table is too short");
        assert!(head(1, &[4, 2, 0, 4, 1, 2, 3, 6]).is_err(), "there is no such channel");
        assert!(head(1, &[2, 4, 0, 4, 1, 2, 3, 5]).is_err(), "more coupled than there are");
        assert!(head(2, &[4, 2, 0, 4, 1, 2, 3, 5]).is_err());
    }

    #[test]
    fn lengths_of_packets_follow_from_their_first_byte() {
        assert_eq!(frames(&[0]), Some(480));
        assert_eq!(frames(&[3 << 3 | 1]), Some(5_760));
        assert_eq!(frames(&[16 << 3]), Some(120));
        assert_eq!(frames(&[31 << 3 | 3, 6]), Some(5_760));
        assert_eq!(frames(&[31 << 3 | 3, 7]), None);
        assert_eq!(frames(&[31 << 3 | 3, 0]), None);
        assert_eq!(frames(&[31 << 3 | 3]), None);
        assert_eq!(frames(&[]), None);
    }

    #[test]
    fn packets_of_several_streams_are_taken_apart() {
        let mut single = Vec::new();
        let mut check = |packet: &[u8], expected: Option<(&[u8], &[u8])>| {
            let rest = split(packet, &mut single);
            assert_eq!(rest.map(|rest| (single.as_slice(), rest)), expected);
        };
        check(&[0xf8, 2, 10, 11, 99], Some((&[0xf8, 10, 11], &[99])));
        check(&[0xf9, 1, 10, 11, 99], Some((&[0xf9, 10, 11], &[99])));
        check(&[0xfa, 1, 2, 10, 20, 21, 99], Some((&[0xfa, 1, 10, 20, 21], &[99])));
        check(&[0xfb, 3, 1, 10, 11, 12, 99], Some((&[0xfb, 3, 10, 11, 12], &[99])));
        check(&[0xfb, 0x82, 1, 2, 10, 20, 21, 99], Some((&[0xfb, 0x82, 1, 10, 20, 21], &[99])));
        check(&[0xfb, 0x41, 2, 1, 10, 0, 0, 99], Some((&[0xfb, 0x41, 2, 10, 0, 0], &[99])));
        check(&[0xf8, 9, 10, 11], None);
        check(&[0xfb, 0], None);
        check(&[], None);
    }
}
