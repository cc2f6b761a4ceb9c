//! What a file says about itself: title, artist, album, identifiers, gains, and its cover.
//!
//! [`read`] finds the tags of every container that is decoded here, and of a few that are not: ID3v1 and ID3v2.2 to 2.4
//! (MP3, AAC; also before FLAC, and in chunks of WAV and AIFF), APE at the end of MP3, Vorbis comments (FLAC; Ogg with
//! Vorbis, Opus or FLAC), iTunes' `ilst` (MP4), RIFF INFO, and the texts of AIFF. Where a file has several tags,
//! each field is taken from the one that says most.
//!
//! Tags are written by anybody, so nothing in them is believed. At most 48 MiB of a file are read, wherever they lie, at
//! most 12 MiB of one tag are held, and what is made of it; a picture of more than 8 MiB is read over. Text comes in
//! Unicode's NFC, without control characters, at most 1,000 characters a field, 4,000 a comment and 32 values a list. A
//! broken tag is no error: what can be read of it is taken, the rest is told in [`Found::warnings`]. Only a source that
//! fails is an error.
//!
//! ```
//! let file = b"ID3\x03\0\0\0\0\0\x1bTIT2\0\0\0\x06\0\0\0Hello\0\0\0\0\0\0\0\0\0\0\0".to_vec();
//! let found = antiphon_audio::tags::read(std::io::Cursor::new(file)).unwrap();
//! assert_eq!(found.tags.title.as_deref(), Some("Hello"));
//! assert!(found.cover.is_none() && found.warnings.is_empty());
//! ```

mod collect;
mod comments;
mod id3;
mod mp4;
mod picture;
mod riff;
mod source;
mod text;

use std::fmt::Display;
use std::io::{self, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};

use lofty::picture::Picture;
use lofty::tag::{ItemKey, ItemValue};

pub use picture::{Cover, ImageFormat};

use source::{Source, Stop};

/// The longest field that is looked at, in bytes.
const TEXT_BYTES: u64 = 64 << 10;
/// Bytes of one tag that are held at once: a picture as large as is taken, and text.
const HELD_BYTES: u64 = 12 << 20;
/// Fields of one tag that are looked at.
const ITEMS_LIMIT: usize = 1_000;
/// ID3v2 tags one after the other that are looked at.
const LEADING_TAGS: usize = 4;
/// Most warnings that are kept.
const WARNINGS_LIMIT: usize = 20;
/// Most characters of a warning.
const WARNING_LENGTH: usize = 200;

/// What is known of a song from its tags. Whatever is not there, or is not what it should be, is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "schema", derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema))]
#[cfg_attr(feature = "schema", serde(default))]
pub struct Tags {
    /// The title.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub title: Option<String>,
    /// Who plays, as it is to be shown; several values of one field are joined by `; `.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub artist: Option<String>,
    /// Each of who plays, if the file names them one by one.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Vec::is_empty"))]
    pub artists: Vec<String>,
    /// What it is published on.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub album: Option<String>,
    /// Whose the album is, as it is to be shown.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub album_artist: Option<String>,
    /// Who wrote the music.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Vec::is_empty"))]
    pub composers: Vec<String>,
    /// Genres, by name.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Vec::is_empty"))]
    pub genres: Vec<String>,
    /// The number of the track on its disc, from 1.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub track: Option<u32>,
    /// How many tracks the disc has.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub track_total: Option<u32>,
    /// The number of the disc, from 1.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub disc: Option<u32>,
    /// How many discs there are.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub disc_total: Option<u32>,
    /// When it was recorded or published: `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub date: Option<String>,
    /// The year of `date`.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub year: Option<u32>,
    /// When it was published first, in the form of `date`.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub original_date: Option<String>,
    /// A comment; at most 4,000 characters.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub comment: Option<String>,
    /// The language of the words, as the file gives it: ISO 639-2 in ID3v2.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub language: Option<String>,
    /// Beats per minute; over 0, at most 1,000.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub bpm: Option<f64>,
    /// The musical key, as the file gives it.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub key: Option<String>,
    /// Whether it is part of a compilation of several artists.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub compilation: Option<bool>,
    /// Who publishes it.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Vec::is_empty"))]
    pub labels: Vec<String>,
    /// The publisher's numbers for the album.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Vec::is_empty"))]
    pub catalogue_numbers: Vec<String>,
    /// International Standard Recording Codes (ISO 3901), twelve characters each.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Vec::is_empty"))]
    pub isrcs: Vec<String>,
    /// Identifiers at MusicBrainz.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "MusicBrainz::is_empty"))]
    pub musicbrainz: MusicBrainz,
    /// The identifier at AcoustID, a UUID.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub acoustid: Option<String>,
    /// How much louder or softer to play it.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "ReplayGain::is_empty"))]
    pub replay_gain: ReplayGain,
    /// Whether there are lyrics in the file.
    pub lyrics: bool,
}

/// Identifiers at MusicBrainz, UUIDs in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema))]
#[cfg_attr(feature = "schema", serde(default))]
pub struct MusicBrainz {
    /// The recording: the same sound wherever it is published.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub recording: Option<String>,
    /// The track: the recording at its place on one release.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub track: Option<String>,
    /// The release.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub release: Option<String>,
    /// The release group: all releases of an album.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub release_group: Option<String>,
    /// The artists.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Vec::is_empty"))]
    pub artists: Vec<String>,
    /// The artists of the album.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Vec::is_empty"))]
    pub album_artists: Vec<String>,
}

impl MusicBrainz {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How much louder or softer to play a song (ReplayGain 1.0 and 2.0; RFC 7845, section 5.2.1 for Opus). Gains in dB,
/// peaks as a share of full scale.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "schema", derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema))]
#[cfg_attr(feature = "schema", serde(default))]
pub struct ReplayGain {
    /// Gain of the song alone, dB, to 89 dB (ReplayGain 1) or -18 LUFS (2).
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub track_gain: Option<f64>,
    /// Largest sample of the song.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub track_peak: Option<f64>,
    /// Gain of the album as a whole, dB.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub album_gain: Option<f64>,
    /// Largest sample of the album.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub album_peak: Option<f64>,
    /// `R128_TRACK_GAIN` of Opus: gain of the song to -23 LUFS, dB.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub r128_track_gain: Option<f64>,
    /// `R128_ALBUM_GAIN` of Opus: gain of the album to -23 LUFS, dB.
    #[cfg_attr(feature = "schema", serde(skip_serializing_if = "Option::is_none"))]
    pub r128_album_gain: Option<f64>,
}

impl ReplayGain {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// What its tags say.
    pub tags: Tags,
    /// Its cover: the front, if a picture says to be that, else the first that may be.
    pub cover: Option<Cover>,
    /// What could not be read, in words; at most 20 of at most 200 characters.
    pub warnings: Vec<String>,
}

/// Reads the tags of a file, whatever it is; of one without tags, nothing.
///
/// # Errors
/// Those of `source` only.
pub fn read(source: impl Read + Seek) -> io::Result<Found> {
    let mut source = Source::new(source)?;
    let mut raw = Raw::default();
    gather(&mut source, &mut raw)?;
    Ok(collect::collect(raw))
}

/// All tags of a file, as they stand there.
#[derive(Default)]
struct Raw {
    /// The ones that say most first.
    tags: Vec<Tag>,
    warnings: Vec<String>,
}

impl Raw {
    fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
        self.warnings.truncate(WARNINGS_LIMIT);
    }

    /// Takes what a part of the file gave; that it is broken costs no other part.
    fn take(&mut self, part: &str, result: Result<impl IntoIterator<Item = Tag>, Stop>) -> io::Result<()> {
        match result {
            Ok(tags) => self.tags.extend(tags),
            Err(Stop::Broken(reason)) => self.warn(format!("{part} left out: {reason}")),
            Err(Stop::Io(error)) => return Err(error),
        }
        Ok(())
    }
}

/// One tag of a file.
#[derive(Default)]
struct Tag {
    items: Vec<Item>,
    pictures: Vec<Picture>,
}

impl Tag {
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.pictures.is_empty()
    }
}

impl From<lofty::tag::Tag> for Tag {
    fn from(mut tag: lofty::tag::Tag) -> Self {
        let mut pictures = Vec::new();
        while !tag.pictures().is_empty() {
            pictures.push(tag.remove_picture(0));
        }
        let items = tag.items().filter_map(|item| match item.value() {
            ItemValue::Text(text) => {
                Some(Item { key: item.key(), text: text.clone(), is_described: !item.description().is_empty() })
            }
            _ => None,
        });
        Self { items: items.take(ITEMS_LIMIT).collect(), pictures }
    }
}

/// One field of a tag.
struct Item {
    key: ItemKey,
    text: String,
    /// Whether it is one of several of its kind that are told apart by a description.
    is_described: bool,
}

impl Item {
    fn new(key: ItemKey, text: String) -> Self {
        Self { key, text, is_described: false }
    }
}

/// What begins behind the ID3v2 tags in front.
enum Container {
    Flac,
    Ogg,
    Chunks(riff::Family),
    Mp4,
    /// MPEG audio, or nothing that is known: frames without a container.
    None,
}

impl Container {
    fn of(head: &[u8]) -> Self {
        match (head.get(..4), head.get(4..8), head.get(8..12)) {
            (Some(b"fLaC"), ..) => Self::Flac,
            (Some(b"OggS"), ..) => Self::Ogg,
            (Some(b"RIFF" | b"RF64" | b"BW64"), _, Some(b"WAVE")) => Self::Chunks(riff::Family::Wave),
            (Some(b"FORM"), _, Some(b"AIFF" | b"AIFC")) => Self::Chunks(riff::Family::Aiff),
            (_, Some(b"ftyp"), _) => Self::Mp4,
            _ => Self::None,
        }
    }
}

fn gather<R: Read + Seek>(source: &mut Source<R>, raw: &mut Raw) -> io::Result<()> {
    let mut start = 0;
    let mut leading = Vec::new();
    while leading.len() < LEADING_TAGS
        && let Some(length) = id3::length_at(source, start)?
    {
        leading.push((start, length));
        start += length;
    }
    let head = match source.read(start, source.length().saturating_sub(start).min(12)) {
        Ok(head) => head,
        Err(Stop::Broken(_)) => Vec::new(),
        Err(Stop::Io(error)) => return Err(error),
    };
    let container = Container::of(&head);
    match container {
        Container::Flac => {
            let tag = comments::flac(source, start, raw);
            raw.take("the FLAC metadata are", tag)?;
        }
        Container::Ogg => {
            let tag = comments::ogg(source, start, raw);
            raw.take("the Ogg comments are", tag)?;
        }
        Container::Chunks(family) if start == 0 => {
            let tags = riff::read(source, family, raw);
            raw.take("the texts are", tags)?;
        }
        Container::Mp4 if start == 0 => {
            let tag = mp4::read(source, raw);
            raw.take("the MP4 tags are", tag)?;
        }
        _ => {}
    }
    for (start, length) in leading {
        let tag = id3::read(source, start, length, raw);
        raw.take("the ID3v2 tag is", tag)?;
    }
    if matches!(container, Container::Flac | Container::None) {
        let tags = id3::at_the_end(source, raw);
        raw.take("the tags at the end are", tags)?;
    }
    Ok(())
}

/// What lofty makes of bytes; that it panics is an error like others, and no file's end.
fn guarded<T, E: Display>(parse: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(parse)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(String::from("its reader failed")),
    }
}
