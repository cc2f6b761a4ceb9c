//! What the fuzz target `tags` does with bytes, and a test with the files that are kept.

use std::io::Cursor;

use antiphon_audio::tags::{Found, ImageFormat, read};

/// Reads the tags of any bytes and checks what holds for every file.
pub fn tags(bytes: &[u8]) {
    let Ok(Found { tags, cover, warnings }) = read(Cursor::new(bytes)) else {
        panic!("bytes in memory do not fail");
    };
    let single = [
        &tags.title,
        &tags.artist,
        &tags.album,
        &tags.album_artist,
        &tags.date,
        &tags.original_date,
        &tags.comment,
        &tags.language,
        &tags.key,
        &tags.acoustid,
        &tags.musicbrainz.recording,
        &tags.musicbrainz.track,
        &tags.musicbrainz.release,
        &tags.musicbrainz.release_group,
    ];
    let lists = [
        &tags.artists,
        &tags.composers,
        &tags.genres,
        &tags.labels,
        &tags.catalogue_numbers,
        &tags.isrcs,
        &tags.musicbrainz.artists,
        &tags.musicbrainz.album_artists,
        &warnings,
    ];
    assert!(lists.iter().all(|list| list.len() <= 32) && warnings.len() <= 20);
    for text in single.into_iter().flatten().chain(lists.into_iter().flatten()) {
        assert!(!text.trim().is_empty() && text.chars().count() <= 4_000 && !text.contains(char::is_control));
    }
    let gain = &tags.replay_gain;
    let numbers = [
        gain.track_gain,
        gain.track_peak,
        gain.album_gain,
        gain.album_peak,
        gain.r128_track_gain,
        gain.r128_album_gain,
        tags.bpm,
    ];
    assert!(numbers.into_iter().flatten().all(|number| number.is_finite() && number.abs() <= 1_000.0));
    let counts = [tags.track, tags.track_total, tags.disc, tags.disc_total, tags.year];
    assert!(counts.into_iter().flatten().all(|count| (1..=65_535).contains(&count)));
    if let Some(cover) = cover {
        assert_eq!(ImageFormat::of(&cover.bytes), Some(cover.format));
        assert!(cover.bytes.len() <= bytes.len() && cover.bytes.len() <= 8 << 20);
    }
}
