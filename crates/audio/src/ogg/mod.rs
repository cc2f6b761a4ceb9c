//! Ogg with Vorbis, Opus or FLAC, also one behind another (chained) and beside others (multiplexed).
//!
//! Sources: RFC 3533 (Ogg), the Vorbis I specification, appendix A, RFC 7845 (Opus), and "FLAC to Ogg mapping" of
//! RFC 9639, section 10.1. Positions of pages tell which of the decoded samples are audio: the first page that has
//! one says where a stream begins that was cut out of another, the last one where it ends.

use std::collections::VecDeque;

use crate::coded::{Codec, CodedReader, Lead, Packet, Packets, Step, corrupt};
use crate::decode::Info;
use crate::input::Input;
use crate::opus::Head;
use crate::{AudioError, Format, codecs};

mod pages;

use pages::{Next, PacketReader, Page};

const VORBIS: &[u8] = b"\x01vorbis";
const OPUS: &[u8] = b"OpusHead";
const FLAC: &[u8] = b"\x7fFLAC";

/// Reads up to the first packet that holds audio.
pub(crate) fn open(source: Input) -> Result<(CodedReader, Info), AudioError> {
    let Some(mut reader) = PacketReader::open(source, is_known).map_err(in_header)? else {
        return Err(AudioError::Unsupported("Ogg without Vorbis, Opus or FLAC".into()));
    };
    let Link { info, codec, lead, read, origin } = Link::open(&mut reader).map_err(in_header)?;
    let mut stream = Stream { reader, info, read, origin, position: 0, is_joined: false, was_last: false };
    stream.count_what_was_read();
    Ok((CodedReader::new(Box::new(stream), codec, lead, info.frames), info))
}

fn is_known(packet: &[u8]) -> bool {
    [VORBIS, OPUS, FLAC].iter().any(|magic| packet.starts_with(magic))
}

/// Damage in a header is a malformed file.
fn in_header(error: AudioError) -> AudioError {
    match error {
        AudioError::Corrupt { reason, .. } => AudioError::Malformed { format: Format::Ogg, reason },
        error => error,
    }
}

/// The beginning of one stream of a chain.
struct Link {
    info: Info,
    codec: Box<dyn Codec>,
    lead: Lead,
    /// Packets that were read to learn where the stream begins.
    read: VecDeque<Packet>,
    /// Position of the first decoded frame; what is left out at the beginning may lie before 0.
    origin: i128,
}

impl Link {
    /// Reads the headers and the first page of audio of the stream whose first page is current.
    fn open(reader: &mut PacketReader) -> Result<Self, AudioError> {
        let mut first = Vec::new();
        take(reader.next(&mut first)?)?;
        if first.starts_with(OPUS) {
            Self::opus(reader, &first)
        } else if first.starts_with(VORBIS) {
            Self::vorbis(reader, first)
        } else {
            Self::flac(reader, &first)
        }
    }

    fn opus(reader: &mut PacketReader, first: &[u8]) -> Result<Self, AudioError> {
        let head = Head::parse(first)?;
        take(reader.read_over()?)?;
        let (mut read, position) = first_page(reader)?;
        let frames: u64 = read.iter().map(|packet| crate::opus::frames(&packet.data).unwrap_or(0)).sum();
        // Less than is decoded is an error at the beginning (RFC 7845, section 4.5), and the end on a last page.
        let origin = position.map_or(0, |position| (i128::from(position) - i128::from(frames)).max(0));
        if reader.page.is_last {
            read.iter_mut().for_each(|packet| packet.end = end(position, origin));
        }
        let info = lossy(48_000, head.channels());
        Ok(Self { info, codec: codecs::opus(&head)?, lead: Lead { frames: head.pre_skip() }, read, origin })
    }

    fn vorbis(reader: &mut PacketReader, first: Vec<u8>) -> Result<Self, AudioError> {
        take(reader.read_over()?)?;
        let mut setup = Vec::new();
        take(reader.next(&mut setup)?)?;
        // Audio begins on a page of its own (Vorbis I, A.2). What comes before is counted by no position, and libvorbis
        // does not decode it.
        reader.leave_page();
        let headers = codecs::VorbisHeaders::parse(first, setup)?;
        let codec = codecs::vorbis(&headers)?;
        let (mut read, position) = first_page(reader)?;
        let mut probe = codecs::vorbis(&headers)?;
        let frames: usize = read.iter().map(|packet| probe.decode(&packet.data).unwrap_or(0)).sum();
        // More than the position says: on a last page the end is cut, on others the beginning. A position below 0 cuts no more
        // than lies before it.
        let surplus = position.map_or(0, |position| frames as i128 - i128::from(position));
        let is_cut_at_end = reader.page.is_last && surplus > 0;
        let origin = if is_cut_at_end { 0 } else { -surplus };
        let lead = if is_cut_at_end { 0 } else { u64::try_from(surplus).unwrap_or(0).min(frames as u64) };
        if reader.page.is_last {
            read.iter_mut().for_each(|packet| packet.end = end(position, origin));
        }
        Ok(Self { info: lossy(headers.rate, headers.channels), codec, lead: Lead { frames: lead }, read, origin })
    }

    fn flac(reader: &mut PacketReader, first: &[u8]) -> Result<Self, AudioError> {
        // The mapping's version, the number of further headers, and the beginning of a native file.
        let native = first.get(9..).filter(|native| native.starts_with(b"fLaC")).and_then(|native| native.get(8..42));
        let stream_info = native.ok_or_else(|| corrupt("no stream information"))?;
        let headers = u16::from_be_bytes([first[7], first[8]]);
        let (codec, info) = codecs::flac(stream_info)?;
        let mut read = VecDeque::new();
        for _ in 0..headers {
            take(reader.read_over()?)?;
        }
        // Without their number, headers end where a frame begins.
        while headers == 0 && read.is_empty() {
            let mut packet = Packet::default();
            take(reader.next(&mut packet.data)?)?;
            if packet.data.first() == Some(&0xff) {
                read.push_back(packet);
            }
        }
        Ok(Self { info: Info { format: Format::Ogg, ..info }, codec, lead: Lead::default(), read, origin: 0 })
    }
}

fn lossy(rate: u32, channels: u16) -> Info {
    Info { format: Format::Ogg, rate, channels, bits: 32, float: true, frames: None }
}

/// A header must be there.
fn take(next: Next) -> Result<(), AudioError> {
    match next {
        Next::Packet => Ok(()),
        Next::Stream => Err(corrupt("a header is missing")),
        Next::End => Err(crate::coded::BROKEN_OFF),
    }
}

/// Where audio ends, in decoded frames, by a position; nothing ends below 0.
fn end(position: Option<i64>, origin: i128) -> Option<u64> {
    position.filter(|position| *position >= 0).map(|position| u64::try_from(i128::from(position) - origin).unwrap_or(0))
}

/// The packets up to the first page that has a position, and this position.
fn first_page(reader: &mut PacketReader) -> Result<(VecDeque<Packet>, Option<i64>), AudioError> {
    let mut read = VecDeque::new();
    loop {
        let mut packet = Packet::default();
        match reader.next(&mut packet.data)? {
            Next::Packet => read.push_back(packet),
            // A stream without audio; what comes then is met again by whoever reads on.
            Next::Stream | Next::End => return Ok((read, None)),
        }
        if reader.page_is_done() && reader.page.position.is_some() {
            return Ok((read, reader.page.position));
        }
        if read.len() > 1_024 {
            return Err(corrupt("pages without a position"));
        }
    }
}

struct Stream {
    reader: PacketReader,
    info: Info,
    read: VecDeque<Packet>,
    origin: i128,
    /// The position before.
    position: i64,
    /// Whether positions are those of a file that an editor joined.
    is_joined: bool,
    /// Whether the page before said that the stream ends.
    was_last: bool,
}

impl Packets for Stream {
    fn next(&mut self, packet: &mut Packet) -> Result<Step, AudioError> {
        if let Some(read) = self.read.pop_front() {
            *packet = read;
            return Ok(Step::Packet);
        }
        loop {
            match self.reader.next(&mut packet.data)? {
                Next::Packet => {
                    // Positions of FLAC say no more than its frames do.
                    if self.info.float {
                        let Page { position, is_last, .. } = self.reader.page;
                        packet.end = if is_last { end(position, self.origin) } else { None };
                        if self.reader.page_is_done() {
                            packet.reached = self.reached();
                        }
                    }
                    return Ok(Step::Packet);
                }
                Next::Stream if self.reader.begins_with(&is_known) => return self.next_link(),
                Next::Stream => self.reader.pass_over(),
                Next::End => return Ok(Step::End),
            }
        }
    }
}

impl Stream {
    /// How many decoded frames the container counts up to the end of the current page, where that can be another number than those
    /// that were decoded: at a page that says that it is the last, though others may follow, and in files that editors joined, whose positions
    /// go back. In others a position may be half a block off (ffmpeg's muxer), so they are not asked.
    fn reached(&mut self) -> Option<i64> {
        let Page { position: Some(position), is_last, .. } = self.reader.page else { return None };
        self.is_joined |= self.was_last || position < self.position;
        (self.position, self.was_last) = (position, is_last);
        let reached = i64::try_from(i128::from(position) - self.origin).ok();
        reached.filter(|_| is_last || self.is_joined)
    }

    /// The same of the page that was read to open the stream.
    fn count_what_was_read(&mut self) {
        let reached = self.reached().filter(|_| self.info.float);
        if let Some(packet) = self.read.back_mut() {
            packet.reached = reached;
        }
    }

    /// The next stream of a chain, if its samples are of the same kind.
    fn next_link(&mut self) -> Result<Step, AudioError> {
        self.reader.follow();
        let link = Link::open(&mut self.reader).map_err(|error| match error {
            error @ (AudioError::Io(_) | AudioError::Truncated { .. } | AudioError::Corrupt { .. }) => error,
            error => corrupt(&error.to_string()),
        })?;
        let Info { rate, channels, bits, float, .. } = link.info;
        if (rate, channels, bits, float) != (self.info.rate, self.info.channels, self.info.bits, self.info.float) {
            return Err(corrupt(&format!("it goes on with {channels} channels at {rate} samples per second")));
        }
        (self.read, self.origin) = (link.read, link.origin);
        (self.position, self.is_joined, self.was_last) = (0, false, false);
        self.count_what_was_read();
        Ok(Step::Codec(link.codec, link.lead))
    }
}
