//! ID3v2 (id3.org: ID3v2.2, 2.3.0, 2.4.0), ID3v1 and APE tags.
//!
//! Frames are found here, so that no size is believed, none but those that are wanted are read, and one that is broken
//! costs no other. What is in a frame is lofty's to say.

use std::io::{Cursor, Error, Read, Seek};

use lofty::config::{ParseOptions, ParsingMode};
use lofty::file::AudioFile;
use lofty::mpeg::MpegFile;

use super::picture::{PICTURE_BYTES, PICTURES_LIMIT, too_large};
use super::source::{Source, Stop};
use super::{HELD_BYTES, ITEMS_LIMIT, Raw, TEXT_BYTES, Tag, guarded};
use crate::sniff::id3v2_length;

/// The longest tag with the scheme of unsynchronisation, which can only be taken out of the whole, in bytes.
const UNSYNCHRONISED_BYTES: u64 = HELD_BYTES;
/// What a picture's frame holds beside the picture: a type, a description.
const PICTURE_FRAME_BYTES: u64 = PICTURE_BYTES + 4_096;
/// Zeros behind a tag that is handed on: lofty looks for others there.
const PADDING: usize = 256;
/// Bytes of an ID3v1 tag.
const V1_BYTES: u64 = 128;
/// Bytes of the header, and of the footer, of an APE tag.
const APE_HEADER_BYTES: u64 = 32;
/// The longest APE tag that is read, in bytes.
const APE_BYTES: u64 = 1 << 20;

/// A frame as it stands in a tag: where it is, and how long with its header.
struct Frame {
    /// Three letters in ID3v2.2, else four.
    id: Vec<u8>,
    content: u64,
    length: u64,
    flags: [u8; 2],
}

impl Frame {
    /// Whether it is compressed. Hardly any program does this, and what it would unpack to is bounded by nothing.
    fn is_packed(&self, version: u8) -> bool {
        match version {
            2 => false,
            3 => self.flags[1] & 0x80 != 0,
            _ => self.flags[1] & 0x08 != 0,
        }
    }
}

/// The length of the ID3v2 tag at `start`, if there is one, with its header.
pub(super) fn length_at<R: Read + Seek>(source: &mut Source<R>, start: u64) -> Result<Option<u64>, Error> {
    match source.array::<10>(start) {
        Ok(header) => Ok(id3v2_length(&header)),
        Err(Stop::Broken(_)) => Ok(None),
        Err(Stop::Io(error)) => Err(error),
    }
}

/// The ID3v2 tag at `start`, of `length` bytes with its header.
pub(super) fn read<R: Read + Seek>(
    source: &mut Source<R>,
    start: u64,
    length: u64,
    raw: &mut Raw,
) -> Result<Option<Tag>, Stop> {
    let header = source.array::<10>(start)?;
    let (version, flags) = (header[3], header[5]);
    if !(2..=4).contains(&version) {
        return Err(Stop::broken(format!("ID3v2.{version} is not known")));
    }
    if version == 2 && flags & 0x40 != 0 {
        return Err(Stop::broken("it is compressed as a whole, in a way that was never defined"));
    }
    let end = (start + length).min(source.length());
    if end < start + length {
        raw.warn("the ID3v2 tag is longer than the file");
    }
    // Before 2.4 sizes count bytes as they were before the scheme was applied.
    if flags & 0x80 != 0 && version < 4 {
        let body = source.read(start + 10, (end - start - 10).min(UNSYNCHRONISED_BYTES))?;
        let body = synchronised(&body);
        let end = body.len() as u64;
        let mut body = Source::new(Cursor::new(body)).map_err(Stop::Io)?;
        return frames(&mut body, 0..end, version, flags, raw);
    }
    frames(source, start + 10..end, version, flags, raw)
}

/// Takes out the zeros that keep a tag from looking like sound.
fn synchronised(bytes: &[u8]) -> Vec<u8> {
    let mut before = 0;
    let kept = bytes.iter().copied().filter(|byte| {
        let is_stuffing = before == 0xff && *byte == 0;
        before = *byte;
        !is_stuffing
    });
    kept.collect()
}

/// The frames of a tag that are wanted, through lofty.
fn frames<R: Read + Seek>(
    source: &mut Source<R>,
    range: std::ops::Range<u64>,
    version: u8,
    flags: u8,
    raw: &mut Raw,
) -> Result<Option<Tag>, Stop> {
    let mut at = range.start;
    if flags & 0x40 != 0 {
        let size = source.array::<4>(at)?;
        at += if version == 4 { synchsafe(size) } else { 4 + u64::from(u32::from_be_bytes(size)) };
    }
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let (mut pictures, mut held) = (0, 0);
    while let Some(frame) = next_frame(source, at, range.end, version, raw)? {
        at = frame.content + frame.length;
        let is_picture = matches!(&frame.id[..], b"APIC" | b"PIC");
        let is_text = frame.id.starts_with(b"T")
            || matches!(&frame.id[..], b"COMM" | b"COM" | b"USLT" | b"ULT" | b"UFID" | b"UFI");
        let limit = if is_picture { PICTURE_FRAME_BYTES } else { TEXT_BYTES };
        if !is_picture && !is_text {
            continue;
        }
        if frame.is_packed(version) {
            raw.warn(format!("{} in the ID3v2 tag is left out: it is compressed", frame.id.escape_ascii()));
            continue;
        }
        if frame.length > limit {
            raw.warn(if is_picture { too_large(frame.length) } else { too_long(&frame.id, frame.length) });
            continue;
        }
        let is_full = kept.len() == ITEMS_LIMIT || held + frame.length > HELD_BYTES;
        if is_full || (is_picture && pictures == PICTURES_LIMIT) {
            raw.warn("the ID3v2 tag has more frames than are read");
            continue;
        }
        (pictures, held) = (pictures + usize::from(is_picture), held + frame.length);
        let content = match source.read(frame.content, frame.length) {
            Ok(content) => content,
            Err(Stop::Broken(reason)) => {
                raw.warn(format!("a frame of the ID3v2 tag is left out: {reason}"));
                continue;
            }
            Err(stop) => return Err(stop),
        };
        kept.push(with_header(&frame, version, &content));
    }
    if kept.is_empty() {
        return Ok(None);
    }
    match through_lofty(version, &kept) {
        Ok(tag) => Ok(tag),
        // One that lofty refuses as a whole may have frames that it takes.
        Err(_) => Ok(one_by_one(version, &kept, raw)),
    }
}

/// The frame at `at`; `None` at padding, at the end, and where what follows is no frame.
fn next_frame<R: Read + Seek>(
    source: &mut Source<R>,
    at: u64,
    end: u64,
    version: u8,
    raw: &mut Raw,
) -> Result<Option<Frame>, Stop> {
    let header_length = if version == 2 { 6 } else { 10 };
    if at + header_length > end {
        return Ok(None);
    }
    let header = source.read(at, header_length)?;
    if header[0] == 0 {
        return Ok(None);
    }
    let id = &header[..if version == 2 { 3 } else { 4 }];
    if !is_frame_id(id) {
        raw.warn("the ID3v2 tag breaks off: what follows is no frame");
        return Ok(None);
    }
    let content = at + header_length;
    let length = match version {
        2 => u64::from(u32::from_be_bytes([0, header[3], header[4], header[5]])),
        3 => u64::from(u32::from_be_bytes([header[4], header[5], header[6], header[7]])),
        _ => {
            let size = [header[4], header[5], header[6], header[7]];
            let (by_the_rule, plain) = (synchsafe(size), u64::from(u32::from_be_bytes(size)));
            // Some programs write plain sizes in 2.4; then only these lead to the next frame.
            let is_plain = by_the_rule != plain
                && (size.iter().any(|byte| byte & 0x80 != 0) || !leads_on(source, content + by_the_rule, end)?)
                && leads_on(source, content + plain, end)?;
            if is_plain { plain } else { by_the_rule }
        }
    };
    if content + length > end {
        raw.warn("the ID3v2 tag breaks off inside of a frame");
        return Ok(None);
    }
    let flags = if version == 2 { [0; 2] } else { [header[8], header[9]] };
    Ok(Some(Frame { id: id.to_vec(), content, length, flags }))
}

/// Whether a frame, padding or the end of the tag is at `at`.
fn leads_on<R: Read + Seek>(source: &mut Source<R>, at: u64, end: u64) -> Result<bool, Stop> {
    if at + 10 > end {
        return Ok(at <= end);
    }
    let next = source.array::<4>(at)?;
    Ok(next[0] == 0 || is_frame_id(&next))
}

fn is_frame_id(id: &[u8]) -> bool {
    id.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn too_long(id: &[u8], bytes: u64) -> String {
    format!("{} of {bytes} bytes is left out: at most {TEXT_BYTES} are taken", id.escape_ascii())
}

/// A frame with a header whose size is written as its version says.
fn with_header(frame: &Frame, version: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = frame.id.clone();
    // The limits keep sizes far below what 24 and 28 bits hold.
    let size = (content.len() as u32).to_be_bytes();
    match version {
        2 => bytes.extend(&size[1..]),
        3 => bytes.extend(size),
        _ => bytes.extend(to_synchsafe(content.len())),
    }
    if version > 2 {
        bytes.extend(frame.flags);
    }
    bytes.extend(content);
    bytes
}

fn one_by_one(version: u8, frames: &[Vec<u8>], raw: &mut Raw) -> Option<Tag> {
    let mut whole = Tag::default();
    for frame in frames {
        match through_lofty(version, std::slice::from_ref(frame)) {
            Ok(Some(tag)) => {
                whole.items.extend(tag.items);
                whole.pictures.extend(tag.pictures);
            }
            Ok(None) => {}
            Err(reason) => {
                let id = frame[..3 + usize::from(version > 2)].escape_ascii().to_string();
                raw.warn(format!("{id} in the ID3v2 tag is left out: {reason}"));
            }
        }
    }
    (!whole.is_empty()).then_some(whole)
}

/// What lofty makes of frames, as a file of nothing but a tag of them.
fn through_lofty(version: u8, frames: &[Vec<u8>]) -> Result<Option<Tag>, String> {
    let length = frames.iter().map(Vec::len).sum::<usize>() + PADDING;
    let mut file = vec![b'I', b'D', b'3', version, 0, 0];
    file.extend(to_synchsafe(length));
    file.extend(frames.iter().flatten());
    file.extend([0; PADDING]);
    let mut read = mpeg(file)?;
    Ok(read.remove_id3v2().map(|tag| Tag::from(lofty::tag::Tag::from(tag))))
}

/// The APE tag and the ID3v1 tag at the end of a file, the former first.
pub(super) fn at_the_end<R: Read + Seek>(source: &mut Source<R>, raw: &mut Raw) -> Result<Vec<Tag>, Stop> {
    let mut tags = Vec::new();
    let mut end = source.length();
    let v1 = if end >= V1_BYTES { Some(source.read(end - V1_BYTES, V1_BYTES)?) } else { None };
    let v1 = v1.filter(|bytes| bytes.starts_with(b"TAG"));
    end -= if v1.is_some() { V1_BYTES } else { 0 };
    if let Some(ape) = ape_before(source, end)? {
        match lone(ape) {
            Ok(mut file) => tags.extend(file.remove_ape().map(|tag| Tag::from(lofty::tag::Tag::from(tag)))),
            Err(reason) => raw.warn(format!("the APE tag is left out: {reason}")),
        }
    }
    if let Some(v1) = v1 {
        match lone(v1) {
            Ok(mut file) => tags.extend(file.remove_id3v1().map(|tag| Tag::from(lofty::tag::Tag::from(tag)))),
            Err(reason) => raw.warn(format!("the ID3v1 tag is left out: {reason}")),
        }
    }
    Ok(tags)
}

/// The bytes of the APE tag that ends at `end`, from its first item to the end of its footer.
fn ape_before<R: Read + Seek>(source: &mut Source<R>, end: u64) -> Result<Option<Vec<u8>>, Stop> {
    let Some(footer_start) = end.checked_sub(APE_HEADER_BYTES) else { return Ok(None) };
    let footer = source.array::<32>(footer_start)?;
    if !footer.starts_with(b"APETAGEX") {
        return Ok(None);
    }
    let length = u64::from(u32::from_le_bytes([footer[12], footer[13], footer[14], footer[15]]));
    match end.checked_sub(length) {
        Some(start) if (APE_HEADER_BYTES..=APE_BYTES).contains(&length) => source.read(start, length).map(Some),
        _ => Err(Stop::broken("the APE tag has no length that can be")),
    }
}

/// A file of nothing but what stands at the end of one.
fn lone(tail: Vec<u8>) -> Result<MpegFile, String> {
    // Ones are neither padding nor the beginning of sound.
    let mut file = vec![1; PADDING];
    file.extend(tail);
    mpeg(file)
}

fn mpeg(file: Vec<u8>) -> Result<MpegFile, String> {
    let options = ParseOptions::new().read_properties(false).parsing_mode(ParsingMode::Relaxed);
    guarded(|| MpegFile::read_from(&mut Cursor::new(file), options))
}

/// A size of four bytes of seven bits (ID3v2.4.0 structure, section 6.2).
fn synchsafe(size: [u8; 4]) -> u64 {
    size.iter().fold(0, |length, byte| length << 7 | u64::from(byte & 0x7f))
}

fn to_synchsafe(size: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8)
}
