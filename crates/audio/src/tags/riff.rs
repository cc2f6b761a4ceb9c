//! Tags in RIFF WAVE (also RF64 and BW64: EBU Tech 3306, ITU-R BS.2088) and AIFF: a list of texts, or an ID3v2 tag in
//! a chunk.

use std::io::{Read, Seek};

use lofty::tag::{ItemKey, TagType};

use super::source::{Source, Stop};
use super::text::utf8_or_latin1;
use super::{ITEMS_LIMIT, Item, Raw, TEXT_BYTES, Tag, id3};

/// The longest list of texts that is read, in bytes.
const LIST_BYTES: u64 = 1 << 20;

/// The two families of chunked files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// RIFF WAVE: little-endian.
    Wave,
    /// AIFF and AIFC: big-endian.
    Aiff,
}

/// The tags of a file whose first chunk is at 12; the ID3v2 tag first, since it says more.
pub(super) fn read<R: Read + Seek>(source: &mut Source<R>, family: Family, raw: &mut Raw) -> Result<Vec<Tag>, Stop> {
    let (mut rich, mut plain) = (Vec::new(), Tag::default());
    let mut data_length = None;
    let mut at = 12_u64;
    while at.saturating_add(8) <= source.length() {
        let header = match source.array::<8>(at) {
            Ok(header) => header,
            Err(Stop::Broken(reason)) => {
                raw.warn(format!("the search for tags ended: {reason}"));
                break;
            }
            Err(stop) => return Err(stop),
        };
        let [a, b, c, d, size @ ..] = header;
        let id = [a, b, c, d];
        let mut length =
            u64::from(if family == Family::Wave { u32::from_le_bytes(size) } else { u32::from_be_bytes(size) });
        let content = at + 8;
        match &id {
            b"ds64" if length >= 24 => {
                let sizes = source.array::<16>(content)?;
                let [.., a, b, c, d, e, f, g, h] = sizes;
                data_length = Some(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
            }
            // 2^32 - 1: the length is in `ds64`, or the sound goes on to the end.
            b"data" if length == u64::from(u32::MAX) => length = data_length.unwrap_or(u64::MAX),
            b"id3 " | b"ID3 " => {
                let tag = id3::length_at(source, content).map_err(Stop::Io)?;
                if let Some(tag_length) = tag {
                    match id3::read(source, content, tag_length.min(length), raw) {
                        Ok(tag) => rich.extend(tag),
                        Err(Stop::Broken(reason)) => raw.warn(format!("the ID3v2 tag is left out: {reason}")),
                        Err(stop) => return Err(stop),
                    }
                }
            }
            b"LIST" if family == Family::Wave && length > LIST_BYTES => {
                raw.warn(format!("a list of {length} bytes is left out: at most {LIST_BYTES} are read"));
            }
            b"LIST" if family == Family::Wave => match source.read(content, length) {
                Ok(list) => info(&list, &mut plain, raw),
                Err(Stop::Broken(reason)) => raw.warn(format!("the list of texts is left out: {reason}")),
                Err(stop) => return Err(stop),
            },
            b"NAME" | b"AUTH" | b"ANNO" if family == Family::Aiff => {
                match source.read(content, length.min(TEXT_BYTES)) {
                    Ok(text) => add(TagType::AiffText, &id, &text, &mut plain),
                    Err(Stop::Broken(reason)) => raw.warn(format!("a text is left out: {reason}")),
                    Err(stop) => return Err(stop),
                }
            }
            _ => {}
        }
        at = content.saturating_add(length).saturating_add(length & 1);
    }
    rich.extend((!plain.is_empty()).then_some(plain));
    Ok(rich)
}

/// Adds the texts of a `LIST` chunk of type `INFO`.
fn info(list: &[u8], tag: &mut Tag, raw: &mut Raw) {
    let Some(mut rest) = list.strip_prefix(b"INFO") else { return };
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, size @ ..] = *header;
        let length = u32::from_le_bytes(size) as usize;
        let Some((text, after)) = after.split_at_checked(length) else {
            raw.warn("the list of texts breaks off");
            return;
        };
        add(TagType::RiffInfo, &[a, b, c, d], text, tag);
        // Texts begin at even places; not every program knows.
        let padded = length % 2 == 1 && after.first() == Some(&0);
        rest = if padded { &after[1..] } else { after };
    }
}

fn add(kind: TagType, id: &[u8; 4], text: &[u8], tag: &mut Tag) {
    let Ok(name) = std::str::from_utf8(id) else { return };
    let Some(key) = ItemKey::from_key(kind, name) else { return };
    if text.len() as u64 <= TEXT_BYTES && tag.items.len() < ITEMS_LIMIT {
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        tag.items.push(Item::new(key, utf8_or_latin1(text)));
    }
}
