//! Small files of every format, damaged in every way: an error that has a type, or what decodes, and never a panic.

#![expect(clippy::unwrap_used, reason = "a test helper that panics says what failed")]

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use antiphon_audio::decode::{Decoder, Limits};
use antiphon_audio::{AudioError, Format, sniff};
use proptest::prelude::*;

#[path = "support/exercise.rs"]
mod exercise;

/// The files of `fuzz/corpus/decode` that have a name of their own, by format.
fn files(format: Format) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/decode");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let files: Vec<_> = paths
        .iter()
        .filter(|path| path.extension().is_some())
        .map(|path| std::fs::read(path).unwrap())
        .filter(|bytes| sniff(bytes) == Some(format))
        .collect();
    assert!(!files.is_empty(), "no file of {format:?}");
    files
}

/// What is done to a file: bytes that are changed, a part that is left out, and an end that is cut off.
#[derive(Clone, Debug)]
struct Damage {
    changes: Vec<(f64, u8)>,
    left_out: Option<(f64, usize)>,
    cut: Option<f64>,
    /// Whether damage is kept to the first bytes, where the headers are.
    is_early: bool,
}

fn damage() -> impl Strategy<Value = Damage> {
    let changes = prop::collection::vec((0.0..1.0, any::<u8>()), 0..8);
    let left_out = prop::option::weighted(0.2, (0.0..1.0, 1_usize..64));
    let cut = prop::option::weighted(0.2, 0.0..1.0);
    (changes, left_out, cut, any::<bool>()).prop_map(|(changes, left_out, cut, is_early)| Damage {
        changes,
        left_out,
        cut,
        is_early,
    })
}

fn damaged(bytes: &[u8], damage: &Damage) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let reach = if damage.is_early { bytes.len().min(700) } else { bytes.len() };
    let place = |fraction: f64| (fraction * reach as f64) as usize;
    for (at, byte) in &damage.changes {
        bytes[place(*at)] = *byte;
    }
    if let Some((at, count)) = damage.left_out {
        let start = place(at);
        let end = (start + count).min(bytes.len());
        bytes.drain(start..end);
    }
    if let Some(at) = damage.cut {
        bytes.truncate((at * bytes.len() as f64) as usize);
    }
    bytes
}

fn survives(format: Format, which: usize, damage: &Damage) {
    let files = files(format);
    let bytes = damaged(&files[which % files.len()], damage);
    exercise::decode(&bytes);
    if format == Format::Ogg {
        exercise::ogg(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_wav(which in 0_usize..64, damage in damage()) {
        survives(Format::Wav, which, &damage);
    }

    #[test]
    fn damaged_aiff(which in 0_usize..64, damage in damage()) {
        survives(Format::Aiff, which, &damage);
    }

    #[test]
    fn damaged_mp3(which in 0_usize..64, damage in damage()) {
        survives(Format::Mp3, which, &damage);
    }

    #[test]
    fn damaged_ogg(which in 0_usize..64, damage in damage()) {
        survives(Format::Ogg, which, &damage);
    }

    #[test]
    fn damaged_mp4(which in 0_usize..64, damage in damage()) {
        survives(Format::Mp4, which, &damage);
    }

    #[test]
    fn damaged_adts(which in 0_usize..64, damage in damage()) {
        survives(Format::Adts, which, &damage);
    }

    #[test]
    fn damaged_matroska(which in 0_usize..64, damage in damage()) {
        survives(Format::Matroska, which, &damage);
    }

    #[test]
    fn any_packets(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        exercise::packets(&bytes);
        exercise::mpeg(&bytes);
        exercise::mp4(&bytes);
        exercise::matroska(&bytes);
        exercise::wav(&bytes);
        exercise::flac(&bytes);
    }
}

/// How decoding ended, and after how many frames.
fn end(source: impl Read + Send + Sync + 'static, limits: Limits) -> (u64, Option<AudioError>) {
    let mut decoder = match Decoder::open(source, limits) {
        Ok(decoder) => decoder,
        Err(error) => return (0, Some(error)),
    };
    loop {
        match decoder.next_block() {
            Ok(Some(_)) => {}
            Ok(None) => return (decoder.position(), None),
            Err(error) => return (decoder.position(), Some(error)),
        }
    }
}

/// A file of any format that is cut yields a beginning of what the whole yields, and never more.
#[test]
fn every_beginning_of_every_format_is_a_beginning() {
    for format in Format::ALL {
        for bytes in files(format) {
            let (all, _) = end(std::io::Cursor::new(bytes.clone()), Limits::default());
            let mut before = 0;
            let step = (bytes.len() / 150).max(1);
            for length in (0..bytes.len()).step_by(step) {
                let (frames, error) = end(std::io::Cursor::new(bytes[..length].to_vec()), Limits::default());
                assert!(
                    frames <= all + 10_000 && (frames > 0 || error.is_some() || before == 0),
                    "{format:?} {length}"
                );
                before = frames;
            }
        }
    }
}

/// A source without an end: some bytes, and then others over and over.
struct Endless {
    first: Vec<u8>,
    again: Vec<u8>,
    at: usize,
    given: u64,
    most: u64,
}

impl Read for Endless {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        assert!(self.given < self.most, "{:?} reads on and on", sniff(&self.first));
        let source = if self.at < self.first.len() {
            &self.first[self.at..]
        } else {
            let at = (self.at - self.first.len()) % self.again.len();
            &self.again[at..]
        };
        let count = source.len().min(target.len());
        target[..count].copy_from_slice(&source[..count]);
        self.at += count;
        self.given += count as u64;
        Ok(count)
    }
}

/// Streams without an end are ended by the limit of duration, or by what is wrong with them, after a bounded number of
/// bytes.
#[test]
fn endless_streams_end() {
    let limits = Limits { duration: Duration::from_secs(2) };
    for format in Format::ALL {
        for bytes in files(format) {
            for again in [bytes.clone(), vec![0; 4_096], vec![0xff; 4_096]] {
                let source = Endless { first: bytes.clone(), again, at: 0, given: 0, most: 300 << 20 };
                let (_, error) = end(source, limits);
                // MP4 ends where its index says; others go on until they are stopped.
                assert!(error.is_some() || format_ends(format), "{format:?}");
            }
        }
    }
}

/// Whether files of a format say where they end.
fn format_ends(format: Format) -> bool {
    matches!(format, Format::Wav | Format::Aiff | Format::Flac | Format::Mp4 | Format::Mp3)
}

/// A tag of 100 MB before the first frame is read over, never kept, and what follows is known for what it is.
#[test]
fn long_tags_are_read_over() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/decode");
    for (format, name) in [(Format::Mp3, "lame-stereo.mp3"), (Format::Flac, "whole-16-stereo.flac")] {
        let file = std::fs::read(folder.join(name)).unwrap();
        // The length, in bytes of seven bits.
        let tag = b"ID3\x04\0\0\x2f\x57\x42\0";
        let length = tag[6..].iter().fold(0_u64, |length, byte| length << 7 | u64::from(*byte));
        assert!(length > 99_000_000);
        let picture = std::io::repeat(0).take(length);
        let source = tag.as_slice().chain(picture).chain(std::io::Cursor::new(file));
        let mut decoder = Decoder::open(source, Limits::default()).unwrap();
        assert_eq!(decoder.info().format, format);
        assert!(decoder.next_block().unwrap().is_some());
    }
}
