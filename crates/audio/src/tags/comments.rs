//! Vorbis comments (xiph.org, "Ogg Vorbis I format specification: comment field and header specification"), in FLAC
//! (RFC 9639, section 8) and in Ogg (RFC 3533; RFC 7845 for Opus).

use std::io::{Read, Seek};

use lofty::config::ParsingMode;
use lofty::picture::Picture;
use lofty::tag::{ItemKey, TagType};

use super::picture::{ImageFormat, NO_IMAGE, PICTURE_BYTES, PICTURES_LIMIT, rank, too_large};
use super::source::{Source, Stop};
use super::text::utf8_or_latin1;
use super::{HELD_BYTES, ITEMS_LIMIT, Item, Raw, TEXT_BYTES, Tag, guarded};

/// The most bytes of comments that are read: a picture in base64, and text.
const COMMENTS_BYTES: u64 = HELD_BYTES;
/// Blocks before the sound of a FLAC file that are walked.
const BLOCKS_LIMIT: usize = 1_000;

const VORBIS_COMMENT: u8 = 4;
const PICTURE: u8 = 6;

/// The tag of a FLAC file whose marker is at `start`.
pub(super) fn flac<R: Read + Seek>(source: &mut Source<R>, start: u64, raw: &mut Raw) -> Result<Option<Tag>, Stop> {
    let mut tag = Tag::default();
    let mut pictures: Vec<(u64, u64)> = Vec::new();
    let mut at = start + 4;
    for _ in 0..BLOCKS_LIMIT {
        let header = match source.array::<4>(at) {
            Ok(header) => header,
            Err(Stop::Broken(reason)) => {
                raw.warn(format!("the metadata of the FLAC file break off: {reason}"));
                break;
            }
            Err(stop) => return Err(stop),
        };
        let (content, length) = (at + 4, u64::from(u32::from_be_bytes([0, header[1], header[2], header[3]])));
        match header[0] & 0x7f {
            VORBIS_COMMENT => match source.read(content, length.min(COMMENTS_BYTES)) {
                Ok(bytes) => comments(&bytes, &mut tag, raw),
                Err(Stop::Broken(reason)) => raw.warn(format!("the Vorbis comments are left out: {reason}")),
                Err(stop) => return Err(stop),
            },
            PICTURE if length > PICTURE_BYTES + 4_096 => raw.warn(too_large(length)),
            PICTURE => pictures.push((content, length)),
            _ => {}
        }
        at = content + length;
        if header[0] & 0x80 != 0 {
            break;
        }
    }
    for (content, length) in best_first(source, pictures)? {
        match source.read(content, length) {
            Ok(bytes) => picture(&bytes, Encoding::Raw, &mut tag, raw),
            Err(Stop::Broken(reason)) => raw.warn(format!("a picture is left out: {reason}")),
            Err(stop) => return Err(stop),
        }
        // The best one that is an image is enough; others need not be held.
        match tag.pictures.last().map(|picture| ImageFormat::of(picture.data())) {
            Some(Some(_)) => break,
            Some(None) => {
                tag.pictures.pop();
                raw.warn(NO_IMAGE);
            }
            None => {}
        }
    }
    Ok((!tag.is_empty()).then_some(tag))
}

/// Pictures in the order in which they are tried as the cover, by the kind that each says to be.
fn best_first<R: Read + Seek>(source: &mut Source<R>, pictures: Vec<(u64, u64)>) -> Result<Vec<(u64, u64)>, Stop> {
    let mut ranked = Vec::new();
    for (content, length) in pictures.into_iter().take(PICTURES_LIMIT) {
        let kind = match source.array::<4>(content) {
            Ok([0, 0, 0, kind]) => rank(lofty::picture::PictureType::from_u8(kind)),
            Ok(_) | Err(Stop::Broken(_)) => u8::MAX,
            Err(stop) => return Err(stop),
        };
        ranked.push((kind, content, length));
    }
    ranked.sort_by_key(|(kind, ..)| *kind);
    Ok(ranked.into_iter().map(|(_, content, length)| (content, length)).collect())
}

/// The tag of the first stream of an Ogg file whose first page is at `start`.
pub(super) fn ogg<R: Read + Seek>(source: &mut Source<R>, start: u64, raw: &mut Raw) -> Result<Option<Tag>, Stop> {
    let mut packets = Packets { at: start, serial: None, left: Vec::new() };
    let first = packets.next(source, 64)?;
    let comment_header: &[u8] = match &first[..] {
        [1, b'v', b'o', b'r', b'b', b'i', b's', ..] => b"\x03vorbis",
        [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', ..] => b"OpusTags",
        // The comments are a metadata block with a header of four bytes.
        [0x7f, b'F', b'L', b'A', b'C', ..] => b"",
        _ => return Ok(None),
    };
    let second = packets.next(source, COMMENTS_BYTES)?;
    let body = if comment_header.is_empty() {
        second.get(4..).filter(|_| second[0] & 0x7f == VORBIS_COMMENT)
    } else {
        second.strip_prefix(comment_header)
    };
    let mut tag = Tag::default();
    match body {
        Some(body) => comments(body, &mut tag, raw),
        None => raw.warn("the second packet of the Ogg stream holds no comments"),
    }
    Ok((!tag.is_empty()).then_some(tag))
}

/// The packets of one logical stream (RFC 3533, section 6).
struct Packets {
    /// Where the next page is.
    at: u64,
    /// The stream: that of the first page.
    serial: Option<[u8; 4]>,
    /// Segments of the page that are not yet taken: where, how long.
    left: Vec<(u64, u8)>,
}

impl Packets {
    /// The next packet, of which at most `limit` bytes are kept.
    fn next<R: Read + Seek>(&mut self, source: &mut Source<R>, limit: u64) -> Result<Vec<u8>, Stop> {
        let mut packet = Vec::new();
        loop {
            let packet_ends = self.left.iter().position(|(_, length)| *length < 255);
            let count = packet_ends.map_or(self.left.len(), |last| last + 1);
            let segments: Vec<_> = self.left.drain(..count).collect();
            if let Some((start, _)) = segments.first() {
                let length = segments.iter().map(|(_, length)| u64::from(*length)).sum::<u64>();
                let room = limit.saturating_sub(packet.len() as u64);
                packet.extend(source.read(*start, length.min(room))?);
            }
            if packet_ends.is_some() || packet.len() as u64 >= limit {
                return Ok(packet);
            }
            match self.next_page(source) {
                Ok(()) => {}
                // What there is of it may hold whole comments.
                Err(Stop::Broken(_)) if !packet.is_empty() => return Ok(packet),
                Err(stop) => return Err(stop),
            }
        }
    }

    fn next_page<R: Read + Seek>(&mut self, source: &mut Source<R>) -> Result<(), Stop> {
        loop {
            let header = source.array::<27>(self.at)?;
            if !header.starts_with(b"OggS\0") {
                return Err(Stop::broken("there is no page where one should be"));
            }
            let table = source.read(self.at + 27, u64::from(header[26]))?;
            let body = self.at + 27 + u64::from(header[26]);
            self.at = body + table.iter().map(|length| u64::from(*length)).sum::<u64>();
            let serial = [header[14], header[15], header[16], header[17]];
            if *self.serial.get_or_insert(serial) != serial {
                continue;
            }
            let mut start = body;
            for length in table {
                self.left.push((start, length));
                start += u64::from(length);
            }
            return Ok(());
        }
    }
}

/// Adds the comments in `bytes`, as far as they go.
fn comments(bytes: &[u8], tag: &mut Tag, raw: &mut Raw) {
    let mut rest = bytes;
    let mut next = || -> Option<&[u8]> {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (text, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = after;
        Some(text)
    };
    let begins = next().is_some();
    let count = if begins { rest.split_first_chunk::<4>() } else { None };
    let Some((count, after)) = count else {
        raw.warn("the Vorbis comments break off before the first");
        return;
    };
    rest = after;
    for number in 0..u32::from_le_bytes(*count) {
        let Some((length, after)) = rest.split_first_chunk::<4>() else {
            raw.warn(format!("the Vorbis comments break off after {number}"));
            return;
        };
        let Some((comment, after)) = after.split_at_checked(u32::from_le_bytes(*length) as usize) else {
            raw.warn(format!("the Vorbis comments break off inside of number {}", number + 1));
            return;
        };
        rest = after;
        if tag.items.len() >= ITEMS_LIMIT {
            raw.warn("there are more Vorbis comments than are read");
            return;
        }
        add(comment, tag, raw);
    }
}

fn add(comment: &[u8], tag: &mut Tag, raw: &mut Raw) {
    let Some(equals) = comment.iter().position(|byte| *byte == b'=') else { return };
    let (name, value) = (&comment[..equals], &comment[equals + 1..]);
    let Ok(name) = std::str::from_utf8(name) else { return };
    if name.eq_ignore_ascii_case("METADATA_BLOCK_PICTURE") {
        if value.len() as u64 > (PICTURE_BYTES + 4_096) / 3 * 4 {
            raw.warn(too_large(value.len() as u64 / 4 * 3));
        } else if tag.pictures.len() < PICTURES_LIMIT {
            picture(value, Encoding::Base64, tag, raw);
        }
        return;
    }
    let Some(key) = ItemKey::from_key(TagType::VorbisComments, name) else { return };
    if value.len() as u64 > TEXT_BYTES {
        raw.warn(format!("{name} of {} bytes is left out: at most {TEXT_BYTES} are taken", value.len()));
        return;
    }
    tag.items.push(Item::new(key, utf8_or_latin1(value)));
}

/// How the bytes of a picture with its description are written.
enum Encoding {
    Raw,
    Base64,
}

fn picture(bytes: &[u8], encoding: Encoding, tag: &mut Tag, raw: &mut Raw) {
    let encoded = matches!(encoding, Encoding::Base64);
    match guarded(|| Picture::from_flac_bytes(bytes, encoded, ParsingMode::Relaxed)) {
        Ok((picture, _)) => tag.pictures.push(picture),
        Err(reason) => raw.warn(format!("a picture is left out: {reason}")),
    }
}
