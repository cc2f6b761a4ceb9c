//! Tags: the same in every format, and what is left of broken ones.
//!
//! `tags/make.py` says how the files of `fuzz/corpus/tags` were made, by another program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use antiphon_audio::tags::{Found, ImageFormat, MusicBrainz, ReplayGain, Tags, read};
use proptest::prelude::*;

#[path = "support/exercise_tags.rs"]
mod exercise_tags;

fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/tags");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn file(name: &str) -> Vec<u8> {
    corpus().into_iter().find(|(path, _)| path.ends_with(name)).unwrap().1
}

fn tags_of(bytes: Vec<u8>) -> Found {
    read(Cursor::new(bytes)).unwrap()
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// What `make.py` wrote into each file.
fn rich() -> Tags {
    Tags {
        title: text("Café Müller"),
        artist: text("Ana & Βασίλης"),
        artists: texts(&["Ana", "Βασίλης"]),
        album: text("夜の歌"),
        album_artist: text("Various"),
        composers: texts(&["C. One", "C. Two"]),
        genres: texts(&["Folk", "Jazz"]),
        track: Some(3),
        track_total: Some(12),
        disc: Some(1),
        disc_total: Some(2),
        date: text("2004-05-17"),
        year: Some(2004),
        original_date: text("1968"),
        comment: text("live"),
        language: text("deu"),
        bpm: Some(128.0),
        key: text("F#m"),
        compilation: Some(true),
        labels: texts(&["Blue Ear"]),
        catalogue_numbers: texts(&["BE 007"]),
        isrcs: texts(&["DEA230400042"]),
        musicbrainz: MusicBrainz {
            recording: text("11111111-aaaa-4aaa-8aaa-000000000001"),
            track: text("22222222-aaaa-4aaa-8aaa-000000000002"),
            release: text("33333333-aaaa-4aaa-8aaa-000000000003"),
            release_group: text("44444444-aaaa-4aaa-8aaa-000000000004"),
            artists: texts(&["55555555-aaaa-4aaa-8aaa-000000000005", "66666666-aaaa-4aaa-8aaa-000000000006"]),
            album_artists: texts(&["77777777-aaaa-4aaa-8aaa-000000000007"]),
        },
        acoustid: text("88888888-aaaa-4aaa-8aaa-000000000008"),
        replay_gain: ReplayGain {
            track_gain: Some(-7.25),
            track_peak: Some(0.988),
            album_gain: Some(-6.5),
            album_peak: Some(1.001),
            ..ReplayGain::default()
        },
        lyrics: true,
    }
}

#[test]
fn every_field_is_read_alike_from_every_format() {
    for name in
        ["id3v24.mp3", "id3v23.mp3", "id3.aiff", "id3.wav", "vorbis.flac", "vorbis.ogg", "vorbis.opus", "ilst.m4a"]
    {
        let Found { mut tags, cover, warnings } = tags_of(file(name));
        assert_eq!(warnings, [""; 0], "{name}");
        if name.ends_with("opus") {
            assert_eq!((tags.replay_gain.r128_track_gain, tags.replay_gain.r128_album_gain), (Some(-7.25), Some(1.0)));
            (tags.replay_gain.r128_track_gain, tags.replay_gain.r128_album_gain) = (None, None);
        }
        assert_eq!(tags, rich(), "{name}");
        let cover = cover.unwrap();
        assert_eq!(cover.format, ImageFormat::Png, "{name}: the front, by its own bytes");
        assert_eq!(cover.bytes.len(), 70, "{name}");
    }
}

#[test]
fn the_plain_kinds_of_tags_are_read() {
    let found = tags_of(file("id3v1.mp3"));
    let old = Tags {
        title: text("One"),
        artist: text("Two"),
        artists: texts(&["Two"]),
        album: text("Three"),
        genres: texts(&["Jazz"]),
        track: Some(7),
        date: text("1999"),
        year: Some(1999),
        comment: text("old"),
        ..Tags::default()
    };
    assert_eq!(found, Found { tags: old, ..Found::default() });

    let ape = tags_of(file("ape.mp3"));
    assert_eq!((ape.tags.title.as_deref(), ape.tags.track, ape.tags.track_total), (Some("Ape"), Some(4), Some(9)));
    assert_eq!((ape.tags.replay_gain.track_gain, ape.warnings.len()), (Some(-3.5), 0));

    for name in ["info.wav", "info-rf64.wav"] {
        let Found { tags, warnings, .. } = tags_of(file(name));
        assert_eq!(warnings, [""; 0], "{name}");
        assert_eq!((tags.title.as_deref(), tags.artist.as_deref()), (Some("Café"), Some("Ana")), "{name}");
        assert_eq!((tags.album.as_deref(), tags.date.as_deref(), tags.track), (Some("Tree"), Some("2001-02"), Some(5)));
        assert_eq!((tags.genres, tags.comment), (texts(&["Folk"]), text("note")), "{name}");
    }
    let Found { tags, .. } = tags_of(file("texts.aiff"));
    assert_eq!((tags.title.as_deref(), tags.artist.as_deref()), (Some("Café"), Some("Ana")));
}

/// ffmpeg writes other forms than mutagen, and is at hand wherever audio is tested.
#[test]
fn what_ffmpeg_writes_is_read() {
    let folder = std::env::temp_dir().join(format!("antiphon-tags-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let formats: [(&str, &[&str]); 8] = [
        ("a.mp3", &["-id3v2_version", "3"]),
        ("b.mp3", &["-id3v2_version", "4"]),
        ("a.flac", &[]),
        ("a.ogg", &["-c:a", "libvorbis"]),
        ("a.opus", &["-ar", "48000"]),
        ("a.m4a", &[]),
        ("a.wav", &[]),
        ("a.aiff", &["-write_id3v2", "1"]),
    ];
    for (name, options) in formats {
        let path = folder.join(name);
        let status = Command::new("ffmpeg")
            .args(["-y", "-v", "error", "-f", "lavfi", "-i", "sine=440", "-t", "0.1"])
            .args(["-metadata", "title=Straße №1", "-metadata", "artist=Ärzte", "-metadata", "album=Öl"])
            .args(["-metadata", "track=2/9", "-metadata", "date=1984", "-metadata", "genre=Punk"])
            .args(options)
            .arg(&path)
            .status()
            .unwrap();
        assert!(status.success(), "{name}");
        let Found { tags, warnings, .. } = tags_of(std::fs::read(&path).unwrap());
        assert_eq!(warnings, [""; 0], "{name}");
        assert_eq!((tags.title, tags.artist, tags.album), (text("Straße №1"), text("Ärzte"), text("Öl")), "{name}");
        assert_eq!((tags.track, tags.year, tags.genres), (Some(2), Some(1984), texts(&["Punk"])), "{name}");
        assert_eq!(tags.track_total, Some(9), "{name}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// A frame of ID3v2.3 in Latin-1.
fn frame(id: &str, content: &[u8]) -> Vec<u8> {
    [id.as_bytes(), &(content.len() as u32).to_be_bytes(), &[0; 2], content].concat()
}

/// A tag of ID3v2.`version` with this body.
fn tag(version: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let size = [21, 14, 7, 0].map(|shift| (body.len() >> shift & 0x7f) as u8);
    [b"ID3", &[version, 0, flags][..], &size, body].concat()
}

#[test]
fn older_and_odder_forms_of_id3_are_read() {
    // ID3v2.2: three letters, three bytes of size.
    let short = |id: &str, text: &str| [id.as_bytes(), &[0, 0, text.len() as u8 + 1, 0], text.as_bytes()].concat();
    let old = tag(2, 0, &[short("TT2", "Zwei"), short("TP1", "Wer"), short("TRK", "5/6")].concat());
    let tags = tags_of(old).tags;
    assert_eq!((tags.title, tags.artist, tags.track_total), (text("Zwei"), text("Wer"), Some(6)));

    // Unsynchronised: a zero after each 0xff. The size of the frame is that from before.
    let body = [&frame("TIT2", b"\0a\xff\xe0b")[..], &frame("TALB", b"\0Then")].concat();
    let position = body.iter().position(|byte| *byte == 0xff).unwrap();
    let stuffed = [&body[..=position], &[0], &body[position + 1..]].concat();
    let tags = tags_of(tag(3, 0x80, &stuffed)).tags;
    assert_eq!((tags.title, tags.album), (text("aÿàb"), text("Then")));

    // ID3v2.4 with plain sizes, as some versions of iTunes wrote them.
    let long = [&[3][..], "x".repeat(200).as_bytes()].concat();
    let tags = tags_of(tag(4, 0, &[frame("TIT2", &long), frame("TALB", b"\x03Then")].concat())).tags;
    assert_eq!((tags.title, tags.album), (text(&"x".repeat(200)), text("Then")));

    // Genres by number, alone or before a name.
    let genre = |value: &str| tags_of(tag(3, 0, &frame("TCON", &[b"\0", value.as_bytes()].concat()))).tags.genres;
    assert_eq!(genre("17"), ["Rock"]);
    assert_eq!(genre("(17)"), ["Rock"]);
    assert_eq!(genre("(8)(17)"), ["Jazz", "Rock"]);
    assert_eq!(genre("(17)Krautrock"), ["Rock", "Krautrock"]);
    assert_eq!(genre("999"), ["999"]);

    // Two tags, one after the other: the first counts, the second fills gaps.
    let two = [
        tag(3, 0, &frame("TIT2", b"\0First")),
        tag(3, 0, &[frame("TIT2", b"\0Second"), frame("TPE1", b"\0Who")].concat()),
    ];
    let tags = tags_of(two.concat()).tags;
    assert_eq!((tags.title, tags.artist), (text("First"), text("Who")));
}

#[test]
fn a_broken_frame_costs_no_other() {
    // 0x0040: encrypted. 0x0080: compressed, which might unpack to anything.
    let flagged = |id: &str, flags: u8| [id.as_bytes(), &6_u32.to_be_bytes(), &[0, flags], b"\0\0\0\0\0x"].concat();
    let body = [
        frame("TIT2", b"\0Good"),
        flagged("TPE1", 0x40),
        flagged("TCON", 0x80),
        frame("TPE2", b"\x07unknown encoding"),
        frame("APIC", b"\0image/png\0\x03\0no image"),
        frame("TALB", b"\0Also good"),
    ];
    let Found { tags, cover, warnings } = tags_of(tag(3, 0, &body.concat()));
    assert_eq!((tags.title, tags.album), (text("Good"), text("Also good")));
    assert!(cover.is_none() && tags.genres.is_empty());
    assert!(warnings.iter().any(|warning| warning.contains("TCON") && warning.contains("compressed")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("no JPEG")), "{warnings:?}");

    // A size that lies ends the tag; what came before is kept, and so is the tag at the end of the file.
    let mut lie = frame("TPE1", b"\0Who");
    lie[4..8].copy_from_slice(&0x0fff_ffff_u32.to_be_bytes());
    let bytes = [tag(3, 0, &[frame("TIT2", b"\0Good"), lie].concat()), file("id3v1.mp3")].concat();
    let Found { tags, warnings, .. } = tags_of(bytes);
    assert_eq!((tags.title, tags.artist, tags.album), (text("Good"), text("Two"), text("Three")));
    assert_eq!(warnings, ["the ID3v2 tag breaks off inside of a frame"]);
}

#[test]
fn what_cannot_be_meant_is_left_out_and_told() {
    let comments = [
        "TITLE=\u{0}\u{7}\u{202e}evil\u{0301}\n title\u{feff}",
        "TRACKNUMBER=-4",
        "DATE=yesterday",
        "BPM=1e9",
        "ISRC=none",
        "MUSICBRAINZ_TRACKID=' OR 1=1",
        "REPLAYGAIN_TRACK_GAIN=NaN dB",
        "REPLAYGAIN_TRACK_PEAK=inf",
        "COMPILATION=perhaps",
        "NOT UNDERSTOOD=x",
        "no equals sign",
    ];
    let mut found = tags_of(flac(&comments, &[]));
    assert_eq!(found.tags.title.take(), text("eviĺ  title"));
    assert_eq!(found.tags, Tags::default());
    for what in ["track number", "date", "tempo", "ISRC", "MusicBrainz recording", "replay gain", "peak", "compilation"]
    {
        assert!(found.warnings.iter().any(|warning| warning.contains(what)), "{what}: {:?}", found.warnings);
    }
    let many: Vec<String> = (0..2_000).map(|number| format!("ARTIST={number}{}", "ß".repeat(2_000))).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let Found { tags, warnings, .. } = tags_of(flac(&many, &[]));
    assert_eq!((tags.artists.len(), tags.artists[0].chars().count()), (32, 1_000));
    assert!(tags.artist.unwrap().chars().count() == 1_000 && warnings.len() == 3, "{warnings:?}");
}

/// A FLAC file of nothing but metadata.
fn flac(comments: &[&str], pictures: &[&[u8]]) -> Vec<u8> {
    let block = |kind: u8, content: &[u8]| [&[kind], &(content.len() as u32).to_be_bytes()[1..], content].concat();
    let sized = |text: &[u8]| [&(text.len() as u32).to_le_bytes(), text].concat();
    let mut list = sized(b"maker");
    list.extend((comments.len() as u32).to_le_bytes());
    list.extend(comments.iter().flat_map(|comment| sized(comment.as_bytes())));
    let mut file = [b"fLaC", &block(0, &[0; 34])[..], &block(4, &list)].concat();
    file.extend(pictures.iter().flat_map(|picture| block(6, picture)));
    file.extend(block(0x81, &[]));
    file
}

/// The content of a FLAC picture block.
fn picture(kind: u32, image: &[u8]) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
    [&kind.to_be_bytes()[..], &sized(b"image/png"), &sized(b""), &[0; 16], &sized(image)].concat()
}

#[test]
fn the_cover_is_the_best_picture_that_is_one() {
    let jpeg = b"\xff\xd8\xff\xe0 a front";
    let gif = b"GIF89a something else";
    let cover = |pictures: &[&[u8]]| tags_of(flac(&[], pictures)).cover.map(|cover| cover.format);
    assert_eq!(cover(&[&picture(0, gif), &picture(3, jpeg)]), Some(ImageFormat::Jpeg));
    assert_eq!(cover(&[&picture(3, b"<svg onload=alert(1)>"), &picture(0, gif)]), Some(ImageFormat::Gif));
    assert_eq!(cover(&[&picture(3, b"-->"), &picture(0, b"\0")]), None);
    assert_eq!(cover(&[&picture(3, jpeg)[..20]]), None);
    let mut large = jpeg.to_vec();
    large.resize(9 << 20, 0);
    let found = tags_of(flac(&["TITLE=x"], &[&picture(3, &large), &picture(4, gif)]));
    assert_eq!(found.cover.map(|cover| cover.format), Some(ImageFormat::Gif));
    assert!(found.tags.title.is_some() && found.warnings[0].contains("at most 8388608"), "{:?}", found.warnings);
}

/// A file with a long run of zeros in it that nobody has to hold, and that counts what is read.
struct Sparse {
    head: Vec<u8>,
    zeros: u64,
    tail: Vec<u8>,
    position: u64,
    read: u64,
}

impl Sparse {
    fn length(&self) -> u64 {
        self.head.len() as u64 + self.zeros + self.tail.len() as u64
    }
}

impl Read for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length().saturating_sub(self.position)).unwrap().min(buffer.len());
        for byte in &mut buffer[..left] {
            let head = self.head.len() as u64;
            *byte = if self.position < head {
                self.head[usize::try_from(self.position).unwrap()]
            } else if self.position < head + self.zeros {
                0
            } else {
                self.tail[usize::try_from(self.position - head - self.zeros).unwrap()]
            };
            self.position += 1;
        }
        self.read += left as u64;
        Ok(left)
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(position) => position,
            SeekFrom::End(offset) => self.length().checked_add_signed(offset).unwrap(),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset).unwrap(),
        };
        Ok(self.position)
    }
}

#[test]
fn a_picture_of_a_hundred_megabytes_is_read_over() {
    const LARGE: u64 = 100 << 20;
    let synchsafe = |size: u64| [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8);
    let title = frame("TIT2", b"\0Hello");
    let mut picture = frame("APIC", b"\0image/jpeg\0\x03\0\xff\xd8\xff\xe0");
    let more = picture.len() as u64 - 10;
    picture[4..8].copy_from_slice(&(LARGE as u32 + more as u32).to_be_bytes());
    let artist = frame("TPE1", b"\0World");
    let size = (title.len() + picture.len() + artist.len()) as u64 + LARGE;
    let head = [&b"ID3\x03\0\0"[..], &synchsafe(size), &title, &picture].concat();
    let mp3 = Sparse { head, zeros: LARGE, tail: artist, position: 0, read: 0 };

    // In an MP4 file: ilst with a name, a cover and an artist, behind 3 GB of sound.
    let atom = |name: &[u8; 4], content: &[u8], more: u64| {
        [&(content.len() as u32 + 8 + more as u32).to_be_bytes()[..], name, content].concat()
    };
    let data = |text: &[u8]| atom(b"data", &[&[0, 0, 0, 1, 0, 0, 0, 0], text].concat(), 0);
    let (name, artist) = (atom(b"\xa9nam", &data(b"Hello"), 0), atom(b"\xa9ART", &data(b"World"), 0));
    let cover = atom(b"covr", &atom(b"data", &[0, 0, 0, 13, 0, 0, 0, 0, 0xff, 0xd8, 0xff], LARGE), LARGE);
    let ilst = atom(b"ilst", &[&name[..], &cover].concat(), LARGE + artist.len() as u64);
    let meta = atom(b"meta", &[&[0; 4], &ilst[..]].concat(), LARGE + artist.len() as u64);
    let udta = atom(b"udta", &meta, LARGE + artist.len() as u64);
    let moov = atom(b"moov", &udta, LARGE + artist.len() as u64);
    let head = [atom(b"ftyp", b"M4A \0\0\0\0", 0), moov].concat();
    let m4a = Sparse { head, zeros: LARGE, tail: artist, position: 0, read: 0 };

    for (name, mut source) in [("mp3", mp3), ("m4a", m4a)] {
        let Found { tags, cover, warnings } = read(&mut source).unwrap();
        assert_eq!((tags.title, tags.artist), (text("Hello"), text("World")), "{name}");
        assert!(cover.is_none() && warnings.len() == 1 && warnings[0].contains("at most"), "{name}: {warnings:?}");
        assert!(source.read < 10_000, "{name}: {} bytes were read", source.read);
    }
}

#[test]
fn a_source_that_fails_is_an_error_and_the_only_one() {
    struct Failing(Cursor<Vec<u8>>, u64);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.position() >= self.1 { Err(io::Error::other("the disk")) } else { self.0.read(buffer) }
        }
    }
    impl Seek for Failing {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    for (path, bytes) in corpus() {
        let from = bytes.len() as u64 / 2;
        let name = path.display();
        // What is read behind the middle is not the same for all; those that read nothing there succeed.
        match read(Failing(Cursor::new(bytes.clone()), from)) {
            Ok(found) => assert_eq!(found, tags_of(bytes), "{name}"),
            Err(error) => assert_eq!(error.to_string(), "the disk", "{name}"),
        }
    }
    assert_eq!(read(Failing(Cursor::new(file("vorbis.flac")), 0)).unwrap_err().to_string(), "the disk");
}

#[test]
fn every_file_of_the_corpus_keeps_the_rules_and_so_does_every_beginning() {
    let files = corpus();
    assert!(files.len() >= 13, "{}", files.len());
    for (_, bytes) in files {
        exercise_tags::tags(&bytes);
        (0..bytes.len()).step_by(7).for_each(|length| exercise_tags::tags(&bytes[..length]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_breaks_nothing(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
        doubled in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let files = corpus();
        let mut bytes = which.get(&files).1.clone();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some((from, to)) = doubled {
            let part = bytes[from.index(bytes.len())..].to_vec();
            let at = to.index(bytes.len());
            bytes.splice(at..at, part);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        exercise_tags::tags(&bytes);
    }
}
