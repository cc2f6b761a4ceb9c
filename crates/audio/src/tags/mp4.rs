//! Tags in MP4: the atom `ilst` as iTunes writes it, below `moov/udta/meta`.
//!
//! Atoms are found here, without belief in their sizes; what is in those that are wanted is lofty's to say.

use std::io::{Cursor, Read, Seek};
use std::ops::Range;

use lofty::config::{ParseOptions, ParsingMode};
use lofty::file::AudioFile;
use lofty::mp4::{AtomData, AtomIdent, Mp4File};
use lofty::tag::ItemKey;

use super::picture::{PICTURE_BYTES, too_large};
use super::source::{Source, Stop};
use super::{HELD_BYTES, ITEMS_LIMIT, Item, Raw, TEXT_BYTES, Tag, guarded};

/// What the atom of a picture holds beside it.
const PICTURE_ATOM_BYTES: u64 = PICTURE_BYTES + 4_096;

/// An atom: its four letters and where its content is.
struct Atom {
    name: [u8; 4],
    start: u64,
    content: Range<u64>,
}

/// The tag of a file.
pub(super) fn read<R: Read + Seek>(source: &mut Source<R>, raw: &mut Raw) -> Result<Option<Tag>, Stop> {
    let whole = 0..source.length();
    let Some(moov) = find(source, whole, *b"moov")? else {
        return Err(Stop::broken("there is no moov"));
    };
    let place = match find(source, moov.clone(), *b"udta")? {
        Some(udta) => find(source, udta, *b"meta")?,
        None => find(source, moov, *b"meta")?,
    };
    let Some(meta) = place else { return Ok(None) };
    // `meta` begins with a version and flags, but in files of QuickTime.
    let offset = if is_plain(source, &meta)? { 0 } else { 4 };
    let Some(ilst) = find(source, meta.start + offset..meta.end, *b"ilst")? else { return Ok(None) };
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let (mut at, mut held) = (ilst.start, 0);
    while let Some(atom) = next(source, at, ilst.end)? {
        at = atom.content.end;
        let length = atom.content.end - atom.start;
        let is_picture = &atom.name == b"covr";
        if length > if is_picture { PICTURE_ATOM_BYTES } else { TEXT_BYTES } {
            let name = atom.name.escape_ascii();
            raw.warn(if is_picture {
                too_large(length)
            } else {
                format!("{name} of {length} bytes is left out: at most {TEXT_BYTES} are taken")
            });
        } else if kept.len() == ITEMS_LIMIT || held + length > HELD_BYTES {
            raw.warn("the MP4 file has more tags than are read");
        } else {
            held += length;
            kept.push(atom_of(atom.name, &source.read(atom.content.start, atom.content.end - atom.content.start)?));
        }
    }
    if kept.is_empty() {
        return Ok(None);
    }
    match through_lofty(&kept) {
        Ok(tag) => Ok(tag),
        Err(_) => Ok(one_by_one(&kept, raw)),
    }
}

fn is_plain<R: Read + Seek>(source: &mut Source<R>, meta: &Range<u64>) -> Result<bool, Stop> {
    if meta.end - meta.start < 8 {
        return Err(Stop::broken("the atom meta is too short"));
    }
    let head = source.array::<8>(meta.start)?;
    Ok(matches!(&head[4..], b"hdlr" | b"ilst" | b"keys"))
}

/// Where the content of the first atom `name` in `range` is.
fn find<R: Read + Seek>(source: &mut Source<R>, range: Range<u64>, name: [u8; 4]) -> Result<Option<Range<u64>>, Stop> {
    let mut at = range.start;
    while let Some(atom) = next(source, at, range.end)? {
        if atom.name == name {
            return Ok(Some(atom.content));
        }
        at = atom.content.end;
    }
    Ok(None)
}

/// The atom at `at` (ISO/IEC 14496-12, section 4.2); one that is longer than what holds it ends there.
fn next<R: Read + Seek>(source: &mut Source<R>, at: u64, end: u64) -> Result<Option<Atom>, Stop> {
    if at + 8 > end {
        return Ok(None);
    }
    let [a, b, c, d, name @ ..] = source.array::<8>(at)?;
    let (length, header) = match u32::from_be_bytes([a, b, c, d]) {
        0 => (end - at, 8),
        1 if at + 16 <= end => (u64::from_be_bytes(source.array::<8>(at + 8)?), 16),
        length => (u64::from(length), 8),
    };
    if length < header {
        return Err(Stop::broken("an atom is shorter than its header"));
    }
    let atom_end = at.saturating_add(length).min(end);
    Ok(Some(Atom { name, start: at, content: at + header..atom_end }))
}

fn one_by_one(atoms: &[Vec<u8>], raw: &mut Raw) -> Option<Tag> {
    let mut whole = Tag::default();
    for atom in atoms {
        match through_lofty(std::slice::from_ref(atom)) {
            Ok(Some(tag)) => {
                whole.items.extend(tag.items);
                whole.pictures.extend(tag.pictures);
            }
            Ok(None) => {}
            Err(reason) => {
                let name = atom.get(4..8).unwrap_or_default().escape_ascii();
                raw.warn(format!("{name} in the MP4 file is left out: {reason}"));
            }
        }
    }
    (!whole.is_empty()).then_some(whole)
}

/// What lofty makes of atoms, as a file of nothing but a tag of them.
fn through_lofty(atoms: &[Vec<u8>]) -> Result<Option<Tag>, String> {
    let meta = [&[0; 4][..], &atom_of(*b"ilst", &atoms.concat())].concat();
    let mut file = atom_of(*b"ftyp", b"M4A \0\0\0\0");
    file.extend(atom_of(*b"moov", &atom_of(*b"udta", &atom_of(*b"meta", &meta))));
    let options = ParseOptions::new().read_properties(false).parsing_mode(ParsingMode::Relaxed);
    let mut read = guarded(|| Mp4File::read_from(&mut Cursor::new(file), options))?;
    let Some(ilst) = read.remove_ilst() else { return Ok(None) };
    // lofty's general form of a tag leaves out what is a number here.
    let tempo =
        ilst.get(&AtomIdent::Fourcc(*b"tmpo")).and_then(|atom| atom.data().next()).and_then(|data| match data {
            AtomData::SignedInteger(bpm) => u32::try_from(*bpm).ok(),
            AtomData::UnsignedInteger(bpm) => Some(*bpm),
            _ => None,
        });
    let mut tag = Tag::from(lofty::tag::Tag::from(ilst));
    tag.items.extend(tempo.map(|bpm| Item::new(ItemKey::IntegerBpm, bpm.to_string())));
    Ok(Some(tag))
}

fn atom_of(name: [u8; 4], content: &[u8]) -> Vec<u8> {
    // The limits keep all of them together far below 4 GB.
    let mut bytes = (content.len() as u32 + 8).to_be_bytes().to_vec();
    bytes.extend(name);
    bytes.extend(content);
    bytes
}
