//! `iTunSMPB`, by which iTunes says which samples are audio where there is no list of edits.
//!
//! A tag in `moov/udta/meta/ilst`: a box `----` of `mean` (`com.apple.iTunes`), `name` and `data`, whose text is
//! hexadecimal words: one of no meaning, the samples before the audio, those behind it, those of the audio, and more that
//! say nothing (as ffmpeg's `mov_read_custom` reads it; Apple documents the tag nowhere).

use super::boxes::{self, Window};
use crate::AudioError;
use crate::coded::BROKEN_OFF;
use crate::input::Input;

/// Bytes of a name or of the text that are looked at.
const MOST_BYTES: u64 = 256;

/// Most samples before the audio that are believed: encoders have one to three packets.
const MOST_DELAY: u64 = 1 << 14;

/// Reads the box `udta` that ends at `end`. What is malformed in it is as good as not there: it is no part of the sound.
pub(super) fn read(source: &mut Input, end: u64) -> Result<Option<Window>, AudioError> {
    let mut found = None;
    let outcome = boxes::each(source, end, |source, kind, end| match &kind {
        b"meta" => {
            // A version and flags, but in files of QuickTime.
            let head = source.peek(8)?;
            if head.len() == 8 && !matches!(&head[4..], b"hdlr" | b"ilst" | b"keys") {
                source.skip(4)?;
            }
            boxes::each(source, end, |source, kind, end| match &kind {
                b"ilst" => boxes::each(source, end, |source, kind, end| match &kind {
                    b"----" => {
                        found = found.or(custom(source, end)?);
                        Ok(())
                    }
                    _ => Ok(()),
                }),
                _ => Ok(()),
            })
        }
        _ => Ok(()),
    });
    match outcome {
        Ok(()) | Err(AudioError::Malformed { .. }) => Ok(found),
        Err(error) => Err(error),
    }
}

/// Reads a box `----`.
fn custom(source: &mut Input, end: u64) -> Result<Option<Window>, AudioError> {
    let (mut is_named, mut found) = (false, None);
    boxes::each(source, end, |source, kind, end| {
        if matches!(&kind, b"name" | b"data") {
            let mut bytes = Vec::new();
            let length = end.saturating_sub(source.position()).min(MOST_BYTES);
            if !source.append(length as usize, &mut bytes)? {
                return Err(BROKEN_OFF);
            }
            match &kind {
                b"name" => is_named = bytes.get(4..) == Some(b"iTunSMPB"),
                _ if is_named => found = bytes.get(8..).and_then(window),
                _ => {}
            }
        }
        Ok(())
    })?;
    Ok(found)
}

/// What the text says.
fn window(text: &[u8]) -> Option<Window> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.split_whitespace().skip(1).map_while(|word| u64::from_str_radix(word, 16).ok());
    let (start, _, samples) = (words.next()?, words.next()?, words.next()?);
    let end = start.checked_add(samples).filter(|_| samples > 0 && start <= MOST_DELAY)?;
    Some(Window { start, end: Some(end) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }

    /// The content of `udta` with a tag of one name and text.
    fn tagged(name: &str, text: &str) -> Vec<u8> {
        let name = atom(b"name", &[&[0; 4], name.as_bytes()].concat());
        let data = atom(b"data", &[&[0, 0, 0, 1, 0, 0, 0, 0], text.as_bytes()].concat());
        let tag = atom(b"----", &[atom(b"mean", b"\0\0\0\0com.apple.iTunes"), name, data].concat());
        let ilst = atom(b"ilst", &[atom(b"trkn", &[0; 24]), tag].concat());
        atom(b"meta", &[vec![0; 4], atom(b"hdlr", &[0; 25]), ilst].concat())
    }

    fn read_all(bytes: Vec<u8>) -> Option<Window> {
        let end = bytes.len() as u64;
        read(&mut Input::stream(std::io::Cursor::new(bytes)), end).unwrap()
    }

    #[test]
    fn the_words_of_itunes_are_read() {
        // As iTunes writes it: 2,112 samples before the audio.
        let text = " 00000000 00000840 000001CA 00000000003F31F6 00000000 00000000 00000000 00000000";
        let expected = Window { start: 0x840, end: Some(0x840 + 0x3F_31F6) };
        assert_eq!(read_all(tagged("iTunSMPB", text)), Some(expected));
        assert_eq!(read_all(tagged("iTunNORM", text)), None);
    }

    #[test]
    fn what_cannot_be_is_as_good_as_not_there() {
        for text in [
            "",
            " 00000000",
            " 00000000 00000840 000001CA",
            " 00000000 xyz 0 1",
            " 0 0 0 0",
            " 0 FFFFFFFF 0 1",
            " 0 1 0 FFFFFFFFFFFFFFFF",
            " 0 1 0 1FFFFFFFFFFFFFFFF",
        ] {
            assert_eq!(read_all(tagged("iTunSMPB", text)), None, "{text}");
        }
        let whole = tagged("iTunSMPB", " 0 840 0 1000");
        for at in 0..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 0xff;
            read_all(bent);
        }
    }
}
