//! Matroska and WebM (RFC 9559): tracks, then clusters of blocks, each with one packet or several (laced).

use std::collections::VecDeque;

use crate::coded::{BROKEN_OFF, CodedReader, Lead, MOST_PACKET_BYTES, Packet, Packets, Step, corrupt};
use crate::decode::Info;
use crate::input::{Input, MOST_READ_OVER};
use crate::{AudioError, Format, aac};

mod elements;
mod track;

use elements::{Element, each, number};
use track::{Track, xiph_length};

const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK: u32 = 0xae;
const CLUSTER: u32 = 0x1f43_b675;
const SIMPLE_BLOCK: u32 = 0xa3;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const DISCARD_PADDING: u32 = 0x75a2;

/// Reads up to the first cluster.
pub(crate) fn open(mut source: Input) -> Result<(CodedReader, Info), AudioError> {
    let mut segment_end = None;
    let tracks = loop {
        let element = elements::next(&mut source)?.ok_or_else(|| malformed("there are no tracks"))?;
        match (element.id, element.end) {
            (SEGMENT, end) => segment_end = end,
            (TRACKS, Some(end)) => break read_tracks(&mut source, end)?,
            (CLUSTER, _) => return Err(malformed("the packets come before their tracks")),
            (_, Some(end)) => pass_over(&mut source, end)?,
            (_, None) => return Err(malformed("an element has no end")),
        }
    };
    let mut described = Err(AudioError::Unsupported("Matroska without sound".into()));
    for track in tracks.iter().rev() {
        let opened = track.open();
        // The refusal that is told is that of the first track.
        if opened.is_ok() || described.is_err() {
            described = opened.map(|opened| (track.number, opened));
        }
    }
    let (track, described) = described?;
    let info = described.info;
    let blocks = Blocks { source, track, rate: info.rate, segment_end, laced: VecDeque::new(), padding: 0 };
    let packets: Box<dyn Packets> = Box::new(blocks);
    let packets = if described.is_aac { aac::refuse_spectral_band_replication(packets)? } else { packets };
    Ok((CodedReader::new(packets, described.codec, Lead { frames: described.lead }, info.frames), info))
}

fn read_tracks(source: &mut Input, end: u64) -> Result<Vec<Track>, AudioError> {
    let mut tracks = Vec::new();
    each(source, end, |source, id, end| {
        if id == TRACK {
            let track = Track::read(source, end)?;
            if track.is_sound() && tracks.len() < 8 {
                tracks.push(track);
            }
        }
        Ok(())
    })?;
    Ok(tracks)
}

fn pass_over(source: &mut Input, end: u64) -> Result<(), AudioError> {
    if end.saturating_sub(source.position()) > MOST_READ_OVER {
        return Err(malformed("an element is too long"));
    }
    if source.go_to(end)? { Ok(()) } else { Err(BROKEN_OFF) }
}

/// The packets of one track.
struct Blocks {
    source: Input,
    track: u64,
    rate: u32,
    segment_end: Option<u64>,
    /// The other packets of a block.
    laced: VecDeque<Vec<u8>>,
    /// Frames at the end of the last of them that are padding.
    padding: u64,
}

impl Packets for Blocks {
    fn next(&mut self, packet: &mut Packet) -> Result<Step, AudioError> {
        loop {
            if let Some(data) = self.laced.pop_front() {
                packet.data = data;
                if self.laced.is_empty() {
                    packet.padding = std::mem::take(&mut self.padding);
                }
                return Ok(Step::Packet);
            }
            let Some(element) = elements::next(&mut self.source).map_err(in_the_middle)? else {
                // A live stream ends anywhere between two elements, a file where it says.
                let is_whole = self.segment_end.is_none_or(|end| self.source.position() >= end);
                return if is_whole { Ok(Step::End) } else { Err(BROKEN_OFF) };
            };
            self.visit(element).map_err(in_the_middle)?;
        }
    }
}

impl Blocks {
    fn visit(&mut self, element: Element) -> Result<(), AudioError> {
        match (element.id, element.end) {
            // What they hold comes one by one.
            (CLUSTER | SEGMENT, _) => Ok(()),
            (SIMPLE_BLOCK, Some(end)) => self.read_block(end),
            (BLOCK_GROUP, Some(end)) => {
                while self.source.position() < end {
                    let inner = elements::next(&mut self.source)?.ok_or(BROKEN_OFF)?;
                    let inner_end = inner.end.filter(|own| *own <= end);
                    let inner_end =
                        inner_end.ok_or_else(|| malformed("an element is longer than the one around it"))?;
                    match inner.id {
                        BLOCK => self.read_block(inner_end)?,
                        DISCARD_PADDING => self.read_padding(inner_end)?,
                        _ => pass_over(&mut self.source, inner_end)?,
                    }
                }
                Ok(())
            }
            (_, Some(end)) => pass_over(&mut self.source, end),
            (_, None) => Err(malformed("an element has no end")),
        }
    }

    /// Nanoseconds at the end of the block that are padding; what is negative would be at its beginning.
    fn read_padding(&mut self, end: u64) -> Result<(), AudioError> {
        let bytes = elements::bytes(&mut self.source, end)?;
        let is_padding = bytes.first().is_some_and(|first| first & 0x80 == 0) && !self.laced.is_empty();
        let nanoseconds = bytes.iter().take(8).fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let frames = (u128::from(nanoseconds) * u128::from(self.rate) + 500_000_000) / 1_000_000_000;
        self.padding = if is_padding { u64::try_from(frames).unwrap_or(u64::MAX) } else { 0 };
        Ok(())
    }

    /// Reads the packets of a block of our track (RFC 9559, section 10).
    fn read_block(&mut self, end: u64) -> Result<(), AudioError> {
        let length = end.saturating_sub(self.source.position());
        let head = self.source.peek(usize::try_from(length).unwrap_or(8).min(8))?;
        let (track, head_bytes) = number(head).ok_or_else(|| corrupt("a block without a track"))?;
        if track != self.track {
            return pass_over(&mut self.source, end);
        }
        if length > MOST_PACKET_BYTES as u64 {
            return Err(corrupt("a block is too long"));
        }
        let mut block = Vec::new();
        if !self.source.append(length as usize, &mut block)? {
            return Err(BROKEN_OFF);
        }
        // The time, two bytes, is not needed: packets follow one another.
        let flags = *block.get(head_bytes + 2).ok_or_else(|| corrupt("a block without a header"))?;
        let body = &block[head_bytes + 3..];
        let packets = unlace(flags >> 1 & 3, body).ok_or_else(|| corrupt("the packets of a block do not fit in it"))?;
        self.laced.extend(packets.into_iter().map(<[u8]>::to_vec));
        Ok(())
    }
}

/// The packets of a block: all of it, or laced by lengths of Xiph (1), all of one length (2), or lengths of EBML (3).
fn unlace(lacing: u8, body: &[u8]) -> Option<Vec<&[u8]>> {
    if lacing == 0 {
        return Some(vec![body]);
    }
    let (&more, mut rest) = body.split_first()?;
    let more = usize::from(more);
    if lacing == 2 {
        let length = rest.len() / (more + 1);
        return (length > 0 && rest.len().is_multiple_of(more + 1)).then(|| rest.chunks(length).collect());
    }
    let mut lengths = Vec::with_capacity(more);
    while lengths.len() < more {
        let length = match (lacing, lengths.last()) {
            (1, _) => xiph_length(&mut rest)?,
            (_, last) => {
                let (value, taken) = number(rest)?;
                rest = &rest[taken..];
                match last {
                    None => usize::try_from(value).ok()?,
                    // A difference, its middle in the middle of its range.
                    Some(last) => {
                        let middle = (1_i64 << (7 * taken - 1)) - 1;
                        usize::try_from(i64::try_from(*last).ok()?.checked_add(i64::try_from(value).ok()? - middle)?)
                            .ok()?
                    }
                }
            }
        };
        lengths.push(length);
    }
    let mut packets = Vec::with_capacity(more + 1);
    for length in lengths {
        let (packet, behind) = rest.split_at_checked(length)?;
        packets.push(packet);
        rest = behind;
    }
    packets.push(rest);
    Some(packets)
}

fn malformed(reason: &str) -> AudioError {
    AudioError::Malformed { format: Format::Matroska, reason: reason.into() }
}

/// What is a malformed header at the beginning of a file is damage later.
fn in_the_middle(error: AudioError) -> AudioError {
    match error {
        AudioError::Malformed { reason, .. } => corrupt(&reason),
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laces_are_taken_apart() {
        let packets = |lacing: u8, body: &'static [u8]| unlace(lacing, body);
        assert_eq!(packets(0, b"abc"), Some(vec![b"abc".as_slice()]));
        assert_eq!(packets(1, b"\x02\x01\x02abbccc"), Some(vec![b"a".as_slice(), b"bb", b"ccc"]));
        assert_eq!(packets(2, b"\x01aabb"), Some(vec![b"aa".as_slice(), b"bb"]));
        // Lengths of 2, then one less, then the rest.
        assert_eq!(packets(3, b"\x02\x82\xbeaabccc"), Some(vec![b"aa".as_slice(), b"b", b"ccc"]));
        assert_eq!(packets(1, b"\x01\x09abc"), None);
        assert_eq!(packets(2, b"\x01aab"), None);
        assert_eq!(packets(3, b"\x02\x82\x80aabccc"), None);
        assert_eq!(packets(3, b"\xff"), None);
    }
}
