//! Everything in `fuzz/corpus`, without a fuzzer; and the files of other encoders, sample by sample.

#![expect(clippy::unwrap_used, reason = "a test helper that panics says what failed")]

use std::path::{Path, PathBuf};

use antiphon_audio::decode::{Decoder, Limits};
use antiphon_audio::{AudioError, Format};

#[path = "support/exercise.rs"]
mod exercise;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    assert!(!files.is_empty(), "no files for {target}");
    files
}

#[test]
fn every_file_of_the_corpus_keeps_the_rules() {
    corpus("decode").iter().for_each(|(_, bytes)| exercise::decode(bytes));
    corpus("wav").iter().for_each(|(_, bytes)| exercise::wav(bytes));
    corpus("flac").iter().for_each(|(_, bytes)| exercise::flac(bytes));
    corpus("ogg").iter().for_each(|(_, bytes)| exercise::ogg(bytes));
    corpus("mp4").iter().for_each(|(_, bytes)| exercise::mp4(bytes));
    corpus("matroska").iter().for_each(|(_, bytes)| exercise::matroska(bytes));
    corpus("mpeg").iter().for_each(|(_, bytes)| exercise::mpeg(bytes));
    corpus("packets").iter().for_each(|(_, bytes)| exercise::packets(bytes));
}

#[test]
fn every_beginning_of_a_file_keeps_the_rules() {
    for (_, bytes) in corpus("decode") {
        let step = (bytes.len() / 300).max(1);
        (0..bytes.len()).step_by(step).for_each(|length| exercise::decode(&bytes[..length]));
    }
}

/// All frames, interleaved, and the error that ended them.
fn integers(bytes: &[u8]) -> (Decoder, Vec<i32>, Option<AudioError>) {
    let mut decoder = Decoder::from_bytes(bytes.to_vec().into(), Limits::default()).unwrap();
    let mut samples = Vec::new();
    loop {
        match decoder.next_integers() {
            Ok(Some(block)) => {
                samples
                    .extend((0..block.frames()).flat_map(|n| block.channels().iter().map(move |channel| channel[n])));
            }
            Ok(None) => return (decoder, samples, None),
            Err(error) => return (decoder, samples, Some(error)),
        }
    }
}

/// The MD5 in the stream information is over the samples that went *into* the encoder (libFLAC, ffmpeg): equal to that
/// of ours means that decoding is exact to the bit.
#[test]
fn whole_flac_files_are_exact_by_their_md5() {
    let mut checked = 0;
    for (path, bytes) in corpus("decode") {
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.starts_with("whole") || !name.ends_with(".flac") {
            continue;
        }
        let (decoder, samples, error) = integers(&bytes);
        assert!(error.is_none(), "{name}: {error:?}");
        assert_eq!(decoder.info().format, Format::Flac);
        let sample_bytes = usize::from(decoder.info().bits.div_ceil(8));
        let pcm: Vec<u8> =
            samples.iter().flat_map(|sample| sample.to_le_bytes().into_iter().take(sample_bytes)).collect();
        let marker = bytes.windows(4).position(|window| window == b"fLaC").unwrap();
        let md5 = &bytes[marker + 8 + 18..marker + 8 + 34];
        assert_eq!(md5::compute(&pcm).0, md5, "{name}");
        checked += 1;
    }
    assert!(checked >= 10, "only {checked} files");
}

#[test]
fn damaged_flac_keeps_what_came_before() {
    let (_, bytes) = corpus("decode").into_iter().find(|(path, _)| path.ends_with("whole-16-stereo.flac")).unwrap();
    let (_, whole, _) = integers(&bytes);
    let mut errors = [0, 0];
    for at in (bytes.len() / 3..bytes.len()).step_by(23) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let (decoder, samples, error) = integers(&damaged);
        assert!(whole.starts_with(&samples), "damage at {at} invents samples");
        assert!(samples.len() < whole.len());
        match error {
            Some(AudioError::Corrupt { frames, .. }) if frames == decoder.position() => errors[0] += 1,
            Some(AudioError::Truncated { frames }) if frames == decoder.position() => errors[1] += 1,
            error => panic!("damage at {at}: {error:?}"),
        }
    }
    assert!(errors.iter().all(|count| *count > 0), "{errors:?}");
    for length in (bytes.len() / 3..bytes.len()).step_by(41) {
        let (decoder, samples, error) = integers(&bytes[..length]);
        assert!(whole.starts_with(&samples), "{length}");
        assert!(matches!(error, Some(AudioError::Truncated { frames }) if frames == decoder.position()), "{error:?}");
    }
}
