//! The boxes of MP4 and QuickTime that describe an audio track (ISO/IEC 14496-12, 14496-14; Apple's "QuickTime File
//! Format" for the older sample descriptions).

use super::{gapless, malformed};
use crate::AudioError;
use crate::input::Input;
use crate::wav::{read_header, skip};

/// Most samples (packets) and chunks of a track: 24 hours at 96 kHz. Memory grows with what is there, not with what
/// is claimed.
const MOST_ENTRIES: usize = 1 << 23;

/// Bytes of a sample description that are looked at; the rest are extensions that nothing here needs.
const MOST_DESCRIPTION_BYTES: u64 = 1 << 16;

/// Edits that are kept: one more than are understood.
const MOST_EDITS: usize = 3;

/// A box whose header was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) kind: [u8; 4],
    /// Where it begins, header included.
    pub(super) start: u64,
    /// Where it ends; `None` if that is where the file does.
    pub(super) end: Option<u64>,
}

/// Looks at the header of the next box; `None` at the end of the file. With how many bytes it has.
pub(super) fn peek(source: &mut Input) -> Result<Option<(Header, u64)>, AudioError> {
    let start = source.position();
    let head = source.peek(16)?;
    if head.is_empty() {
        return Ok(None);
    }
    if head.len() < 8 {
        return Err(crate::coded::BROKEN_OFF);
    }
    let kind = [head[4], head[5], head[6], head[7]];
    let (length, bytes) = match u32_at(head, 0) {
        0 => return Ok(Some((Header { kind, start, end: None }, 8))),
        1 if head.len() < 16 => return Err(crate::coded::BROKEN_OFF),
        1 => (u64::from(u32_at(head, 8)) << 32 | u64::from(u32_at(head, 12)), 16),
        length => (u64::from(length), 8),
    };
    let end = start.checked_add(length).filter(|_| length >= bytes);
    let end = end.ok_or_else(|| malformed("a box is shorter than its header"))?;
    Ok(Some((Header { kind, start, end: Some(end) }, bytes)))
}

/// Reads the header of the next box; `None` at the end of the file.
pub(super) fn next(source: &mut Input) -> Result<Option<Header>, AudioError> {
    let Some((header, bytes)) = peek(source)? else { return Ok(None) };
    source.skip(bytes)?;
    Ok(Some(header))
}

/// Goes through the boxes inside one that ends at `end`. What `visit` leaves unread is passed over.
pub(super) fn each(
    source: &mut Input,
    end: u64,
    mut visit: impl FnMut(&mut Input, [u8; 4], u64) -> Result<(), AudioError>,
) -> Result<(), AudioError> {
    // QuickTime ends some lists with four bytes of 0.
    while source.position() + 8 <= end {
        let Some((header, bytes)) = peek(source)? else { return Err(crate::coded::BROKEN_OFF) };
        let own_end = header.end.unwrap_or(end);
        if own_end > end || header.start + bytes > end {
            return Err(malformed("a box is longer than the one around it"));
        }
        source.skip(bytes)?;
        visit(source, header.kind, own_end)?;
        skip_to(source, own_end)?;
    }
    skip_to(source, end)
}

fn skip_to(source: &mut Input, end: u64) -> Result<(), AudioError> {
    match end.checked_sub(source.position()) {
        Some(rest) if source.skip(rest)? => Ok(()),
        Some(_) => Err(crate::coded::BROKEN_OFF),
        None => Err(malformed("a table is longer than its box")),
    }
}

/// What the index says.
#[derive(Default)]
pub(super) struct Movie {
    timescale: u32,
    /// Tracks of sound, as many as are looked at.
    pub(super) tracks: Vec<Track>,
    /// Whether samples are described in fragments, which come later.
    pub(super) is_fragmented: bool,
    /// What a tag of iTunes says of tracks without edits.
    gapless: Option<Window>,
}

/// A track of sound.
#[derive(Default)]
pub(super) struct Track {
    pub(super) id: u32,
    handler: [u8; 4],
    pub(super) timescale: u32,
    edits: Vec<Edit>,
    /// Type and body of the first sample description.
    pub(super) description: Option<([u8; 4], Vec<u8>)>,
    pub(super) sizes: Sizes,
    pub(super) chunks: Vec<u64>,
    /// From which chunk on, counted from 1, how many samples a chunk has.
    pub(super) samples_per_chunk: Vec<(u32, u32)>,
    /// Duration of all samples in units of the track.
    duration: u64,
    /// Size of samples in fragments that do not say.
    pub(super) fragment_sample_size: u32,
}

/// Bytes of each sample.
pub(super) enum Sizes {
    Equal { bytes: u32, count: u32 },
    Each(Vec<u32>),
}

impl Default for Sizes {
    fn default() -> Self {
        Self::Each(Vec::new())
    }
}

impl Sizes {
    pub(super) fn get(&self, sample: usize) -> Option<u32> {
        match self {
            Self::Equal { bytes, count } => (sample < *count as usize).then_some(*bytes),
            Self::Each(sizes) => sizes.get(sample).copied(),
        }
    }
}

#[derive(Clone, Copy)]
struct Edit {
    /// In units of the movie; 0 in fragmented files: all.
    duration: u64,
    /// In units of the track; -1 for a pause.
    start: i64,
}

/// Which of the decoded frames are audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: u64,
    pub(super) end: Option<u64>,
}

impl Movie {
    /// Reads the box `moov`.
    pub(super) fn read(source: &mut Input, end: u64) -> Result<Self, AudioError> {
        let mut movie = Self::default();
        let mut defaults = Vec::new();
        each(source, end, |source, kind, end| match &kind {
            b"mvhd" => {
                movie.timescale = read_timescale(source)?;
                Ok(())
            }
            b"trak" => {
                let track = Track::read(source, end)?;
                // The tables of other tracks are let go here, so that many tracks take no more memory than two.
                if track.handler == *b"soun" && movie.tracks.len() < 2 {
                    movie.tracks.push(track);
                }
                Ok(())
            }
            b"udta" => {
                movie.gapless = movie.gapless.or(gapless::read(source, end)?);
                Ok(())
            }
            b"mvex" => {
                movie.is_fragmented = true;
                each(source, end, |source, kind, _| {
                    if kind == *b"trex" && defaults.len() < 64 {
                        let fields: [u32; 6] = read_fields(source)?;
                        defaults.push((fields[1], fields[4]));
                    }
                    Ok(())
                })
            }
            _ => Ok(()),
        })?;
        for track in &mut movie.tracks {
            let own = defaults.iter().find(|(id, _)| *id == track.id);
            track.fragment_sample_size = own.map_or(0, |(_, bytes)| *bytes);
        }
        Ok(movie)
    }

    /// Which frames of a track are audio, at `rate` frames a second: as its edit says, or else iTunes' tag, or all.
    pub(super) fn window(&self, track: &Track, rate: u32) -> Result<Window, AudioError> {
        let scaled = |value: u64, timescale: u32, up: bool| {
            let scaled = u128::from(value) * u128::from(rate);
            let unit = u128::from(timescale.max(1));
            u64::try_from((scaled + if up { unit - 1 } else { unit / 2 }) / unit).unwrap_or(u64::MAX)
        };
        let all = (!self.is_fragmented).then(|| scaled(track.duration, track.timescale, false));
        let mut edits = track.edits.iter().filter(|edit| edit.start >= 0);
        let window = match (edits.next(), edits.next()) {
            (None, _) => {
                let told = self.gapless.filter(|told| all.is_none_or(|all| told.start < all));
                let start = told.map_or(0, |told| told.start);
                Window { start, end: told.and_then(|told| told.end).into_iter().chain(all).min() }
            }
            (Some(edit), None) => {
                let start = scaled(edit.start.unsigned_abs(), track.timescale, false);
                // Durations of edits are often rounded to milliseconds, up or down; that of the samples is exact. So an edit
                // that ends less than such a unit before the samples do takes all of them.
                let length = scaled(edit.duration, self.timescale, true);
                let unit = scaled(1, self.timescale, true);
                let end = (edit.duration > 0).then(|| start.saturating_add(length));
                let end = end.filter(|end| all.is_none_or(|all| end.saturating_add(unit) <= all));
                Window { start, end: end.or(all) }
            }
            (Some(_), Some(_)) => return Err(AudioError::Unsupported("MP4 with more than one edit".into())),
        };
        Ok(window)
    }
}

impl Track {
    fn read(source: &mut Input, end: u64) -> Result<Self, AudioError> {
        let mut track = Self::default();
        each(source, end, |source, kind, end| match &kind {
            b"tkhd" => {
                let mut fields = [0; 20];
                read_header(source, &mut fields)?;
                // Version 1 has times of 64 bits before it.
                let at = if fields[0] == 1 { 20 } else { 12 };
                track.id = if at == 12 { u32_at(&fields, 12) } else { read_u32(source)? };
                Ok(())
            }
            b"edts" => each(
                source,
                end,
                |source, kind, end| {
                    if kind == *b"elst" { track.read_edits(source, end) } else { Ok(()) }
                },
            ),
            b"mdia" => each(source, end, |source, kind, end| match &kind {
                b"mdhd" => {
                    track.timescale = read_timescale(source)?;
                    Ok(())
                }
                b"hdlr" => {
                    let fields: [u32; 3] = read_fields(source)?;
                    track.handler = fields[2].to_be_bytes();
                    Ok(())
                }
                b"minf" if track.handler == *b"soun" => {
                    each(
                        source,
                        end,
                        |source, kind, end| {
                            if kind == *b"stbl" { track.read_table(source, end) } else { Ok(()) }
                        },
                    )
                }
                _ => Ok(()),
            }),
            _ => Ok(()),
        })?;
        Ok(track)
    }

    fn read_edits(&mut self, source: &mut Input, end: u64) -> Result<(), AudioError> {
        let [version, count] = read_fields(source)?;
        for _ in 0..count {
            let bytes = if version >> 24 == 1 { 20 } else { 12 };
            if source.position() + bytes > end || self.edits.len() == MOST_EDITS {
                return Ok(());
            }
            let (duration, start) = if version >> 24 == 1 {
                (read_u64(source)?, read_u64(source)? as i64)
            } else {
                (u64::from(read_u32(source)?), i64::from(read_u32(source)? as i32))
            };
            skip(source, 4)?;
            self.edits.push(Edit { duration, start });
        }
        Ok(())
    }

    /// The box `stbl`: what the samples are and where they lie.
    fn read_table(&mut self, source: &mut Input, end: u64) -> Result<(), AudioError> {
        each(source, end, |source, kind, end| {
            match &kind {
                b"stsd" if self.description.is_none() => {
                    let [_, count] = read_fields(source)?;
                    let entry = if count > 0 { next(source)? } else { None };
                    let entry = entry.ok_or_else(|| malformed("no description of the samples"))?;
                    let entry_end = entry.end.unwrap_or(end).min(end);
                    let bytes = entry_end.saturating_sub(source.position()).min(MOST_DESCRIPTION_BYTES);
                    let mut body = Vec::new();
                    if !source.append(bytes as usize, &mut body)? {
                        return Err(crate::coded::BROKEN_OFF);
                    }
                    self.description = Some((entry.kind, body));
                }
                b"stts" => {
                    let [_, count] = read_fields(source)?;
                    let mut duration = 0_u64;
                    rows(source, end, count, |[samples, delta]: [u32; 2]| {
                        duration = duration.saturating_add(u64::from(samples) * u64::from(delta));
                    })?;
                    self.duration = duration;
                }
                b"stsz" => {
                    let [_, bytes, count] = read_fields(source)?;
                    self.sizes = if bytes > 0 {
                        Sizes::Equal { bytes, count }
                    } else {
                        let mut sizes = Vec::new();
                        rows(source, end, count, |[bytes]: [u32; 1]| sizes.push(bytes))?;
                        Sizes::Each(sizes)
                    };
                }
                b"stsc" => {
                    let [_, count] = read_fields(source)?;
                    let mut per_chunk = Vec::new();
                    rows(source, end, count, |[first, samples, _]: [u32; 3]| per_chunk.push((first, samples)))?;
                    self.samples_per_chunk = per_chunk;
                }
                b"stco" => {
                    let [_, count] = read_fields(source)?;
                    let mut chunks = Vec::new();
                    rows(source, end, count, |[offset]: [u32; 1]| chunks.push(u64::from(offset)))?;
                    self.chunks = chunks;
                }
                b"co64" => {
                    let [_, count] = read_fields(source)?;
                    let mut chunks = Vec::new();
                    rows(source, end, count, |[high, low]: [u32; 2]| {
                        chunks.push(u64::from(high) << 32 | u64::from(low));
                    })?;
                    self.chunks = chunks;
                }
                _ => {}
            }
            Ok(())
        })
    }
}

/// Reads the rows of a table, as many as lie before `end`.
fn rows<const N: usize>(
    source: &mut Input,
    end: u64,
    count: u32,
    mut visit: impl FnMut([u32; N]),
) -> Result<(), AudioError> {
    let room = end.saturating_sub(source.position()) / (4 * N as u64);
    let count = u64::from(count).min(room);
    if count > MOST_ENTRIES as u64 {
        return Err(AudioError::Unsupported("MP4 with so many packets".into()));
    }
    for _ in 0..count {
        visit(read_fields(source)?);
    }
    Ok(())
}

/// The timescale in `mvhd` or `mdhd`.
fn read_timescale(source: &mut Input) -> Result<u32, AudioError> {
    let [version] = read_fields(source)?;
    skip(source, if version >> 24 == 1 { 16 } else { 8 })?;
    read_u32(source)
}

pub(super) fn read_fields<const N: usize>(source: &mut Input) -> Result<[u32; N], AudioError> {
    let mut fields = [0; N];
    for field in &mut fields {
        *field = read_u32(source)?;
    }
    Ok(fields)
}

pub(super) fn read_u32(source: &mut Input) -> Result<u32, AudioError> {
    let mut bytes = [0; 4];
    read_header(source, &mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

pub(super) fn read_u64(source: &mut Input) -> Result<u64, AudioError> {
    let [high, low] = read_fields(source)?;
    Ok(u64::from(high) << 32 | u64::from(low))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|byte| bytes[at + byte]))
}
