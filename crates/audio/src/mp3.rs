//! MPEG audio, layer III: frames one behind another, without a container.
//!
//! Sources: ISO/IEC 11172-3 and 13818-3 for the header; "MP3 Info Tag rev 1 specifications - LAME" for the first
//! frame that holds no audio, the encoder's delay and padding; the decoder's own delay of 529 samples is that
//! which LAME counts with and ffmpeg removes.

use crate::coded::{BROKEN_OFF, CodedReader, Lead, Packet, Packets, Step, corrupt};
use crate::decode::Info;
use crate::input::Input;
use crate::{AudioError, Format, codecs};

/// How far a first frame is looked for behind a tag, and a further one behind what is no frame.
const SEARCH_BYTES: usize = 1 << 20;

/// Frames by which every decoder of layer III is late.
const DECODER_DELAY: u64 = 529;

/// Bytes of an ID3v1 tag.
const ID3V1_BYTES: u64 = 128;

/// Kilobits per second by the index in the header, for MPEG-1 and for the halved rates of MPEG-2 and 2.5. 0 is the free
/// format, which is not decoded.
const BIT_RATES: [[u32; 15]; 2] = [
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) rate: u32,
    pub(crate) channels: u16,
    /// Whether it is MPEG-1: two granules a frame.
    is_mpeg_1: bool,
    /// Bytes of the frame, header included.
    bytes: usize,
}

impl Header {
    /// What the first four bytes of a frame say; `None` if they are none of layer III.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let &[sync, version, rates, mode, ..] = bytes else { return None };
        if sync != 0xff || version & 0xe0 != 0xe0 || version >> 1 & 3 != 1 {
            return None;
        }
        let shift = match version >> 3 & 3 {
            3 => 0,
            2 => 1,
            0 => 2,
            _ => return None,
        };
        let rate = [44_100_u32, 48_000, 32_000].get(usize::from(rates >> 2 & 3))? >> shift;
        let is_mpeg_1 = shift == 0;
        let kilobits = *BIT_RATES[usize::from(!is_mpeg_1)].get(usize::from(rates >> 4))?;
        // Emphasis 2 is reserved.
        if kilobits == 0 || mode & 3 == 2 {
            return None;
        }
        let slots = if is_mpeg_1 { 144_000 } else { 72_000 };
        let bytes = (slots * kilobits / rate + u32::from(rates >> 1 & 1)) as usize;
        Some(Self { rate, channels: if mode >> 6 == 3 { 1 } else { 2 }, is_mpeg_1, bytes })
    }

    /// Frames (samples per channel) of a frame (of the format).
    fn samples(&self) -> u64 {
        if self.is_mpeg_1 { 1_152 } else { 576 }
    }

    /// Whether another frame goes on as this one.
    fn continues(&self, other: &Self) -> bool {
        (self.rate, self.channels, self.is_mpeg_1) == (other.rate, other.channels, other.is_mpeg_1)
    }

    /// Where the tag of Xing and LAME lies in a frame: behind the side information.
    fn tag_at(&self) -> usize {
        4 + match (self.is_mpeg_1, self.channels) {
            (true, 2) => 32,
            (true, _) | (false, 2) => 17,
            (false, _) => 9,
        }
    }
}

/// What the tag in a first frame says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tag {
    /// Frames of the format that follow.
    count: Option<u64>,
    /// Samples that the encoder put before the audio and behind it.
    delay_and_padding: Option<(u64, u64)>,
}

/// Reads up to the first frame that holds audio.
pub(crate) fn open(mut source: Input) -> Result<(CodedReader, Info), AudioError> {
    let first = find(&mut source, None)?.ok_or_else(|| AudioError::Unsupported("what follows the ID3v2 tag".into()))?;
    crate::decode::check(first.rate, first.channels)?;
    let mut tag = None;
    let frame = source.peek(first.bytes)?;
    if frame.len() == first.bytes {
        tag = read_tag(frame, &first);
    }
    if tag.is_some() {
        source.skip(first.bytes as u64)?;
    }
    let tag = tag.unwrap_or_default();
    let all = tag.count.map(|count| count * first.samples());
    let (lead, end) = match tag.delay_and_padding {
        Some((delay, padding)) => {
            let end = all.map(|all| (all + DECODER_DELAY).saturating_sub(padding).min(all));
            (delay + DECODER_DELAY, end)
        }
        None => (0, all),
    };
    let frames = end.map(|end| end.saturating_sub(lead));
    let info = Info { format: Format::Mp3, rate: first.rate, channels: first.channels, bits: 32, float: true, frames };
    let codec = codecs::mp3(first.rate, first.channels)?;
    let packets = Frames { source, first, read: 0, count: tag.count, end };
    Ok((CodedReader::new(Box::new(packets), codec, Lead { frames: lead }, frames), info))
}

/// The tag in a frame that holds no audio.
fn read_tag(frame: &[u8], header: &Header) -> Option<Tag> {
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    if frame.get(36..40) == Some(b"VBRI") {
        let count = number(frame.get(50..54)?);
        return Some(Tag { count: (count > 0).then_some(count), delay_and_padding: None });
    }
    let tag = frame.get(header.tag_at()..)?;
    if !tag.starts_with(b"Xing") && !tag.starts_with(b"Info") {
        return None;
    }
    let flags = tag.get(4..8)?[3];
    let mut at = 8;
    let mut found = Tag::default();
    if flags & 1 != 0 {
        let count = number(tag.get(at..at + 4).unwrap_or_default());
        found.count = (count > 0).then_some(count);
        at += 4;
    }
    at +=
        [(2, 4), (4, 100), (8, 4)].iter().filter(|(flag, _)| flags & flag != 0).map(|(_, bytes)| bytes).sum::<usize>();
    let encoder = tag.get(at..at + 4).unwrap_or_default();
    if let (b"LAME" | b"Lavf" | b"Lavc", Some(bytes)) = (encoder, tag.get(at + 21..at + 24)) {
        let both = number(bytes);
        found.delay_and_padding = Some((both >> 12, both & 0xfff));
    }
    Some(found)
}

/// Looks for a frame that another one follows, and goes to it; `like` is what it must go on as.
fn find(source: &mut Input, like: Option<&Header>) -> Result<Option<Header>, AudioError> {
    let mut searched = 0;
    while searched < SEARCH_BYTES {
        let window = source.peek(8_192)?;
        let (offset, found) = match first_pair(window, like) {
            Some(found) => found,
            // What is at the end may be the beginning of a frame.
            None if window.len() == 8_192 => {
                source.skip(4_096)?;
                searched += 4_096;
                continue;
            }
            None => return Ok(None),
        };
        source.skip(offset as u64)?;
        return Ok(Some(found));
    }
    Ok(None)
}

/// The first frame in the first half of `window` that is followed by another, or by the end.
fn first_pair(window: &[u8], like: Option<&Header>) -> Option<(usize, Header)> {
    let ends = window.len() < 8_192;
    let starts = if ends { window.len() } else { 4_096 };
    (0..starts).find_map(|at| {
        let header = Header::parse(&window[at..]).filter(|header| like.is_none_or(|like| like.continues(header)))?;
        let next = window.get(at + header.bytes..).unwrap_or_default();
        let is_followed = match Header::parse(next) {
            Some(next) => header.continues(&next),
            // A file of one frame: the frame at its very beginning is believed.
            None => at == 0 && ends && like.is_none() && next.len() < 4,
        };
        is_followed.then_some((at, header))
    })
}

struct Frames {
    source: Input,
    first: Header,
    /// Frames of the format that were read.
    read: u64,
    /// How many there are by the tag.
    count: Option<u64>,
    /// Where audio ends in these.
    end: Option<u64>,
}

impl Packets for Frames {
    fn next(&mut self, packet: &mut Packet) -> Result<Step, AudioError> {
        loop {
            let head = self.source.peek(32)?;
            match Header::parse(head) {
                Some(header) if header.continues(&self.first) => {
                    if !self.source.append(header.bytes, &mut packet.data)? {
                        return Err(BROKEN_OFF);
                    }
                    // What follows the counted frames is another file's, without padding that we know of.
                    packet.end = self.end.filter(|_| self.count.is_some_and(|count| self.read < count));
                    self.read += 1;
                    return Ok(Step::Packet);
                }
                Some(header) => {
                    let Header { rate, channels, .. } = header;
                    return Err(corrupt(&format!("it goes on with {channels} channels at {rate} samples per second")));
                }
                None => {}
            }
            if head.is_empty() {
                return Ok(Step::End);
            }
            if let Some(length) = tag_length(head) {
                self.source.skip(length)?;
                continue;
            }
            if head.len() < 4 && head[0] == 0xff {
                return Err(BROKEN_OFF);
            }
            // Rubbish at the end is common. In the middle it shows that something is missing.
            return match find(&mut self.source, Some(&self.first))? {
                Some(_) => Err(corrupt("what should be a frame is none")),
                None if self.source.peek(1)?.is_empty() || self.source.peek(8_192)?.len() < 8_192 => Ok(Step::End),
                None => Err(corrupt("no frame for a long while")),
            };
        }
    }
}

/// Bytes of a tag that may stand between frames or at the end: ID3, APE.
pub(crate) fn tag_length(head: &[u8]) -> Option<u64> {
    if head.starts_with(b"TAG") {
        return Some(ID3V1_BYTES);
    }
    if head.starts_with(b"APETAGEX") {
        let body = head.get(12..16)?;
        // The length has the footer in it, not the header that we are at.
        return Some(32 + u64::from(u32::from_le_bytes([body[0], body[1], body[2], body[3]])));
    }
    crate::sniff::id3v2_length(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_what_is_none_is_not() {
        let cases = [
            ([0xff, 0xfb, 0x90, 0x44], Some((44_100, 2, 417))),
            ([0xff, 0xfb, 0x92, 0xc4], Some((44_100, 1, 418))),
            ([0xff, 0xfa, 0xe4, 0x00], Some((48_000, 2, 960))),
            ([0xff, 0xf3, 0x84, 0xc4], Some((24_000, 1, 192))),
            ([0xff, 0xe3, 0x18, 0xc4], Some((8_000, 1, 72))),
            ([0xff, 0xfb, 0x00, 0x44], None),
            ([0xff, 0xfb, 0xf0, 0x44], None),
            ([0xff, 0xfb, 0x9c, 0x44], None),
            ([0xff, 0xfd, 0x90, 0x44], None),
            ([0xff, 0xeb, 0x90, 0x44], None),
            ([0xff, 0xf1, 0x50, 0x80], None),
        ];
        for (bytes, expected) in cases {
            let header = Header::parse(&bytes).map(|header| (header.rate, header.channels, header.bytes));
            assert_eq!(header, expected, "{bytes:x?}");
        }
    }

    #[test]
    fn the_tag_of_lame_gives_delay_and_padding() {
        let header = Header::parse(&[0xff, 0xfb, 0x90, 0x44]).unwrap();
        let mut frame = vec![0; header.bytes];
        let at = header.tag_at();
        frame[at..at + 12].copy_from_slice(b"Info\0\0\0\x0f\0\0\0\x0a");
        let lame = at + 12 + 4 + 100 + 4;
        frame[lame..lame + 9].copy_from_slice(b"LAME3.100");
        frame[lame + 21..lame + 24].copy_from_slice(&[0x24, 0x04, 0x56]);
        let tag = Tag { count: Some(10), delay_and_padding: Some((576, 1_110)) };
        assert_eq!(read_tag(&frame, &header), Some(tag));
        frame[lame] = b'X';
        assert_eq!(read_tag(&frame, &header), Some(Tag { delay_and_padding: None, ..tag }));
        frame[at] = 0;
        assert_eq!(read_tag(&frame, &header), None);
    }
}
