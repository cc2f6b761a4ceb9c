//! MP4, M4A and QuickTime: an index of samples (packets), before them or behind; or fragments, each with its own.

use std::io::{Read, Seek};

use crate::coded::{BROKEN_OFF, CodedReader, Lead, MOST_PACKET_BYTES, Packet, Packets, Step, corrupt};
use crate::decode::Info;
use crate::input::{Input, MOST_READ_OVER};
use crate::{AudioError, Format, SPOOL_BYTES, aac};

mod boxes;
mod description;
mod fragments;
mod gapless;

use boxes::{Header, Movie, Track, Window};

/// Reads up to the first packet.
pub(crate) fn open(mut source: Input) -> Result<(CodedReader, Info), AudioError> {
    let movie = loop {
        let Some(header) = boxes::next(&mut source)? else { return Err(malformed("there is no index")) };
        match (&header.kind, header.end) {
            (b"moov", Some(end)) => break Movie::read(&mut source, end)?,
            (b"moov", None) => return Err(malformed("the index has no end")),
            (b"mdat", _) if !source.is_seekable() => {
                // The samples come before their index: they are kept until it is known.
                source = spool(source, header.end)?;
                pass_over(&mut source, &header)?;
            }
            _ => pass_over(&mut source, &header)?,
        }
    };
    open_track(source, movie)
}

/// Passes over a box whose header was read.
fn pass_over(source: &mut Input, header: &Header) -> Result<(), AudioError> {
    let length = header.end.unwrap_or(0).saturating_sub(source.position());
    if length > MOST_READ_OVER && !matches!(&header.kind, b"mdat" | b"free" | b"skip" | b"moof" | b"moov") {
        return Err(malformed("a box is too long"));
    }
    let is_whole = match header.end {
        Some(end) => source.go_to(end)?,
        None => return Err(malformed("there is no index")),
    };
    if is_whole { Ok(()) } else { Err(BROKEN_OFF) }
}

/// Copies what comes, up to the end of the index, into a file without a name, so that it can be gone back in. The
/// source stands inside a box that ends at `end`.
fn spool(mut source: Input, mut end: Option<u64>) -> Result<Input, AudioError> {
    let start = source.position();
    let mut file = tempfile::tempfile()?;
    let mut is_index = false;
    loop {
        let Some(own_end) = end else { return Err(malformed("there is no index")) };
        if own_end - start > SPOOL_BYTES {
            let gigabytes = SPOOL_BYTES >> 30;
            let refusal = format!("a stream of more than {gigabytes} GiB whose index comes behind the samples");
            return Err(AudioError::Unsupported(refusal));
        }
        let length = own_end - source.position();
        if std::io::copy(&mut source.by_ref().take(length), &mut file)? < length {
            return Err(BROKEN_OFF);
        }
        if is_index {
            break;
        }
        let (next, _) = boxes::peek(&mut source)?.ok_or_else(|| malformed("there is no index"))?;
        (is_index, end) = (next.kind == *b"moov", next.end);
    }
    file.rewind()?;
    Ok(Input::file(file).at(start))
}

/// Opens the first track of sound whose codec is known.
fn open_track(source: Input, mut movie: Movie) -> Result<(CodedReader, Info), AudioError> {
    let describe = |track: &Track| match &track.description {
        Some((kind, body)) => description::open(*kind, body),
        None => Err(malformed("no description of the samples")),
    };
    let mut first = Err(AudioError::Unsupported("MP4 without sound".into()));
    for number in (0..movie.tracks.len()).rev() {
        let described = describe(&movie.tracks[number]);
        // The refusal that is told is that of the first track.
        if described.is_ok() || first.is_err() {
            first = described.map(|described| (number, described));
        }
    }
    let (number, described) = first?;
    let window = movie.window(&movie.tracks[number], described.info.rate)?;
    let Window { start, end } = window;
    let track = movie.tracks.swap_remove(number);
    let frames = end.map(|end| end.saturating_sub(start));
    let packets: Box<dyn Packets> = if movie.is_fragmented {
        Box::new(fragments::Fragments::new(source, &track, end))
    } else {
        Box::new(Samples::new(source, track, end))
    };
    let packets = if described.is_aac { aac::refuse_spectral_band_replication(packets)? } else { packets };
    let info = Info { frames, ..described.info };
    Ok((CodedReader::new(packets, described.codec, Lead { frames: start }, frames), info))
}

/// The samples of an index, in order.
struct Samples {
    source: SampleReader,
    track: Track,
    end: Option<u64>,
    sample: usize,
    /// The chunk that is read, and how many samples of it are left.
    chunk: usize,
    left: u32,
    /// Which row of the table of samples per chunk holds.
    row: usize,
    /// Where the next sample lies.
    offset: u64,
}

impl Samples {
    fn new(source: Input, track: Track, end: Option<u64>) -> Self {
        Self { source: SampleReader::new(source), track, end, sample: 0, chunk: 0, left: 0, row: 0, offset: 0 }
    }

    /// Goes on to a chunk that has samples; false if there is none.
    fn next_chunk(&mut self) -> bool {
        while self.left == 0 {
            let Some(offset) = self.track.chunks.get(self.chunk) else { return false };
            self.chunk += 1;
            let rows = &self.track.samples_per_chunk;
            while rows.get(self.row + 1).is_some_and(|(first, _)| *first as usize <= self.chunk) {
                self.row += 1;
            }
            self.left = rows.get(self.row).map_or(0, |(_, samples)| *samples);
            self.offset = *offset;
        }
        true
    }
}

impl Packets for Samples {
    fn next(&mut self, packet: &mut Packet) -> Result<Step, AudioError> {
        let Some(bytes) = self.track.sizes.get(self.sample) else { return Ok(Step::End) };
        if !self.next_chunk() {
            return Ok(Step::End);
        }
        self.source.read(self.offset, bytes, packet)?;
        self.offset = self.offset.saturating_add(u64::from(bytes));
        self.sample += 1;
        self.left -= 1;
        packet.end = self.end;
        Ok(Step::Packet)
    }
}

/// Reads samples wherever they lie.
struct SampleReader {
    source: Input,
    /// Bytes of samples that were read, and the end of the one that lies furthest behind.
    read: u64,
    furthest: u64,
}

impl SampleReader {
    fn new(source: Input) -> Self {
        Self { source, read: 0, furthest: 0 }
    }

    /// Reads a sample of `bytes` that lies at `offset`. Samples do not overlap in files that are meant to be heard;
    /// where they do, a small file could keep us busy for ever.
    fn read(&mut self, offset: u64, bytes: u32, packet: &mut Packet) -> Result<(), AudioError> {
        let end = offset.saturating_add(u64::from(bytes));
        self.read += u64::from(bytes);
        self.furthest = self.furthest.max(end);
        if bytes as usize > MOST_PACKET_BYTES || self.read > self.furthest {
            return Err(corrupt("its packets are too long, or lie over one another"));
        }
        if offset < self.source.position() && !self.source.is_seekable() {
            return Err(corrupt("its packets are not in order, so that it must be read from a file"));
        }
        let is_whole = self.source.go_to(offset)? && self.source.append(bytes as usize, &mut packet.data)?;
        if is_whole { Ok(()) } else { Err(BROKEN_OFF) }
    }
}

fn malformed(reason: &str) -> AudioError {
    AudioError::Malformed { format: Format::Mp4, reason: reason.into() }
}
