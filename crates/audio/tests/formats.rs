//! Every format against ffmpeg's decoder: the same music encoded in many ways, decoded by both.
//!
//! Each test prints a table of its worst differences, which `docs/accuracy.md` repeats.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test helper that panics says what failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use antiphon_audio::decode::{Decoder, Info, Limits};
use antiphon_audio::{AudioError, Format};

/// Music of the package `wesnoth-1.16-music`, loud and with transients.
const MUSIC: &str = "/usr/share/games/wesnoth/1.16/data/core/music/battle.ogg";

/// Seconds of it that are used; not a whole number of packets of any codec.
const SECONDS: &str = "3.3";

/// A folder that goes with the test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Encodes music into a file with some options of ffmpeg.
    fn encode(&self, name: &str, options: &str) -> PathBuf {
        let path = self.at(name);
        let words = options.split_whitespace();
        ffmpeg(["-ss", "20", "-t", SECONDS, "-i", MUSIC, "-map", "0:a", "-map_metadata", "-1"], words, &path);
        path
    }
}

fn ffmpeg<'a>(before: impl IntoIterator<Item = &'a str>, options: impl Iterator<Item = &'a str>, path: &Path) {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(before)
        .args(options)
        .arg(path)
        .output()
        .expect("ffmpeg is installed by `cargo xtask test`");
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
}

/// What ffmpeg decodes a file to, as f32, interleaved.
fn by_ffmpeg(path: &Path, decoder: &[&str]) -> Vec<f32> {
    let raw = path.with_extension("f32");
    let input = path.to_str().unwrap();
    ffmpeg(decoder.iter().copied().chain(["-i", input]), ["-map", "0:a:0", "-f", "f32le"].into_iter(), &raw);
    fs::read(raw).unwrap().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// What ffmpeg decodes a file to, as integers of 32 bits that are filled from the top, interleaved.
fn integers_by_ffmpeg(path: &Path) -> Vec<i32> {
    let raw = path.with_extension("s32");
    ffmpeg(["-i", path.to_str().unwrap()], ["-map", "0:a:0", "-f", "s32le"].into_iter(), &raw);
    fs::read(raw).unwrap().chunks_exact(4).map(|bytes| i32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// All samples, interleaved, and the error that ended them.
fn floats(mut decoder: Decoder) -> (Info, Vec<f32>, Option<AudioError>) {
    let mut samples = Vec::new();
    loop {
        match decoder.next_block() {
            Ok(Some(block)) => {
                samples
                    .extend((0..block.frames()).flat_map(|n| block.channels().iter().map(move |channel| channel[n])));
            }
            Ok(None) => return (*decoder.info(), samples, None),
            Err(error) => return (*decoder.info(), samples, Some(error)),
        }
    }
}

/// Decodes a file from a pipe, and from a file, and asserts that both give the same.
fn ours(path: &Path) -> (Info, Vec<f32>) {
    let open = || fs::File::open(path).unwrap();
    let (info, samples, error) = floats(Decoder::open(open(), Limits::default()).unwrap());
    assert!(error.is_none(), "{}: {error:?}", path.display());
    let (_, again, error) = floats(Decoder::open_seekable(open(), Limits::default()).unwrap());
    assert!(error.is_none() && again == samples, "{}: from a file it differs", path.display());
    assert!(info.frames.is_none_or(|frames| frames as usize * usize::from(info.channels) == samples.len()));
    (info, samples)
}

/// How far samples are from ffmpeg's.
struct Difference {
    /// Largest difference of two samples.
    worst: f32,
    /// Of the energies of signal and difference, in dB.
    ratio: f64,
}

fn difference(ours: &[f32], theirs: &[f32]) -> Difference {
    let pairs = ours.iter().zip(theirs);
    let worst = pairs.clone().fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
    let (signal, noise) = pairs
        .fold((0.0, 0.0), |(signal, noise), (a, b)| (signal + f64::from(*b).powi(2), noise + f64::from(a - b).powi(2)));
    Difference { worst, ratio: 10.0 * (signal / f64::max(noise, 1e-30)).log10() }
}

/// The number of frames that ffmpeg encoded, resampled to `rate`.
fn frames_at(path: &Path, folder: &Folder, options: &str) -> usize {
    // The same filters as the encoder had, without the encoder.
    let words: Vec<&str> = options.split_whitespace().collect();
    let kept = words.chunks(2).filter(|pair| matches!(pair[0], "-ac" | "-ar")).flatten().copied();
    let raw = folder.at("source.f32");
    ffmpeg(["-ss", "20", "-t", SECONDS, "-i", MUSIC, "-map", "0:a"], kept.chain(["-f", "f32le"]), &raw);
    let channels = ours(path).0.channels;
    fs::metadata(raw).unwrap().len() as usize / 4 / usize::from(channels)
}

/// Codecs that lose nothing: the integers are ffmpeg's, from a pipe and from a file.
#[test]
fn lossless_formats_are_ffmpegs_to_the_bit() {
    let folder = Folder::new();
    let cases = [
        ("a.wav", "-c:a pcm_s16le -rf64 always", Format::Wav, 16),
        ("b.wav", "-c:a pcm_s24le -rf64 always -ac 6", Format::Wav, 24),
        ("a.aiff", "-c:a pcm_s16be", Format::Aiff, 16),
        ("b.aiff", "-c:a pcm_s24be -ar 96000", Format::Aiff, 24),
        ("c.aiff", "-c:a pcm_s32be -ac 1", Format::Aiff, 32),
        ("d.aiff", "-c:a pcm_s8 -ar 8000", Format::Aiff, 8),
        ("e.aiff", "-c:a pcm_s16le", Format::Aiff, 16),
        ("a.m4a", "-c:a alac -sample_fmt s16p", Format::Mp4, 16),
        ("b.m4a", "-c:a alac -sample_fmt s16p -ac 1 -ar 8000 -movflags faststart", Format::Mp4, 16),
        ("c.m4a", "-c:a alac -sample_fmt s32p -ar 96000", Format::Mp4, 24),
        ("d.m4a", "-c:a alac -sample_fmt s16p -ac 6", Format::Mp4, 16),
        ("e.m4a", "-c:a alac -sample_fmt s16p -frag_duration 500000 -movflags empty_moov", Format::Mp4, 16),
        ("a.mp4", "-c:a flac -strict -2 -sample_fmt s16", Format::Mp4, 16),
        ("b.mp4", "-c:a flac -strict -2 -sample_fmt s32 -ac 6 -movflags faststart", Format::Mp4, 24),
        ("a.ogg", "-c:a flac -sample_fmt s16", Format::Ogg, 16),
        ("b.ogg", "-c:a flac -ar 96000 -sample_fmt s32 -ac 1", Format::Ogg, 24),
        ("a.mka", "-c:a flac -sample_fmt s16", Format::Matroska, 16),
        ("b.mka", "-c:a alac -sample_fmt s16p", Format::Matroska, 16),
        ("c.mka", "-c:a pcm_s16le -ac 6", Format::Matroska, 16),
        ("d.mka", "-c:a pcm_s24le -ar 96000", Format::Matroska, 24),
        ("e.mka", "-c:a pcm_s16be", Format::Matroska, 16),
        ("f.mka", "-c:a pcm_u8", Format::Matroska, 8),
    ];
    for (name, options, format, bits) in cases {
        let path = folder.encode(name, options);
        let (info, samples) = ours(&path);
        assert_eq!((info.format, info.bits, info.float), (format, bits, false), "{name} {options}");
        let mut decoder = Decoder::open(fs::File::open(&path).unwrap(), Limits::default()).unwrap();
        let mut integers = Vec::new();
        while let Some(block) = decoder.next_integers().unwrap() {
            for n in 0..block.frames() {
                integers.extend(block.channels().iter().map(|channel| channel[n] << (32 - bits)));
            }
        }
        assert_eq!(integers.len(), samples.len());
        assert!(integers == integers_by_ffmpeg(&path), "{name} {options} differs");
    }
    for (name, options) in
        [("f.aiff", "-c:a pcm_f32be"), ("g.aiff", "-c:a pcm_f64be -ac 1"), ("g.mka", "-c:a pcm_f32le")]
    {
        let path = folder.encode(name, options);
        assert!(ours(&path).1 == by_ffmpeg(&path, &[]), "{name} {options} differs");
    }
    println!("{} files are ffmpeg's to the bit", cases.len() + 3);
}

/// Options of an encoder, the least ratio of signal to difference in dB, and the largest difference.
struct Lossy<'a> {
    codec: &'a str,
    extension: &'a str,
    /// Whether the container says where the audio ends.
    exact: bool,
    decoder: &'a [&'a str],
    cases: &'a [&'a str],
    least_ratio: f64,
    largest: f32,
}

fn check(lossy: &Lossy<'_>) {
    let folder = Folder::new();
    let (mut ratio, mut worst) = (f64::INFINITY, 0.0_f32);
    for (number, case) in lossy.cases.iter().enumerate() {
        let options = format!("-c:a {} {case}", lossy.codec);
        let path = folder.encode(&format!("{number}.{}", lossy.extension), &options);
        let (info, samples) = ours(&path);
        assert!(info.float, "{options}");
        let theirs = by_ffmpeg(&path, lossy.decoder);
        let expected =
            if lossy.exact { frames_at(&path, &folder, case) * usize::from(info.channels) } else { theirs.len() };
        assert_eq!(samples.len(), expected, "{options} as {}", lossy.extension);
        assert!(theirs.len().abs_diff(expected) <= 4_096 * usize::from(info.channels), "{options}");
        let found = difference(&samples, &theirs);
        println!("{:<4} {options:<60} {:>6.1} dB  {:.1e}", lossy.extension, found.ratio, found.worst);
        ratio = ratio.min(found.ratio);
        worst = worst.max(found.worst);
    }
    println!("{} in {}: {ratio:.1} dB, {worst:.1e}", lossy.codec, lossy.extension);
    assert!(ratio >= lossy.least_ratio && worst <= lossy.largest, "{ratio} dB, {worst}");
}

const MP3: &[&str] = &[
    "-b:a 128k",
    "-b:a 320k",
    "-b:a 64k -joint_stereo 0",
    "-b:a 48k -ac 1",
    "-q:a 0",
    "-q:a 4",
    "-q:a 9 -ac 1",
    "-abr 1 -b:a 160k",
    "-b:a 128k -ar 48000",
    "-b:a 96k -ar 32000",
    "-b:a 48k -ar 22050",
    "-b:a 32k -ar 16000 -ac 1",
    "-b:a 32k -ar 12000",
    "-b:a 24k -ar 11025",
    "-b:a 16k -ar 8000 -ac 1",
    "-b:a 128k -reservoir 0",
];

#[test]
fn mp3_is_ffmpegs() {
    let decoder = ["-c:a", "mp3float"];
    check(&Lossy {
        codec: "libmp3lame",
        extension: "mp3",
        exact: true,
        decoder: &decoder,
        cases: MP3,
        least_ratio: 100.0,
        largest: 1e-5,
    });
}

#[test]
fn mp3_without_a_tag_is_all_audio() {
    let folder = Folder::new();
    let path = folder.encode("a.mp3", "-c:a libmp3lame -b:a 128k -write_xing 0 -id3v2_version 0");
    let (info, samples) = ours(&path);
    assert_eq!(info.frames, None);
    let theirs = by_ffmpeg(&path, &["-c:a", "mp3float"]);
    assert_eq!(samples.len(), theirs.len());
    assert!(difference(&samples, &theirs).worst < 1e-5);
}

#[test]
fn vorbis_in_ogg_and_matroska_is_ffmpegs() {
    let cases = [
        "-q:a -1",
        "-q:a 3",
        "-q:a 10",
        "-q:a 3 -ac 1",
        "-q:a 3 -ac 6",
        "-q:a 3 -ar 8000",
        "-q:a 3 -ar 22050 -ac 1",
        "-q:a 5 -ar 48000",
        "-q:a 5 -ar 96000",
        "-b:a 96k -minrate 96k -maxrate 96k",
    ];
    // The codec is the same in the other container: a few will do there.
    for (extension, exact, cases) in [("ogg", true, cases.as_slice()), ("mka", false, &cases[..5])] {
        let decoder = ["-c:a", "vorbis"];
        check(&Lossy {
            codec: "libvorbis",
            extension,
            exact,
            decoder: &decoder,
            cases,
            least_ratio: 100.0,
            largest: 1e-5,
        });
    }
}

#[test]
fn opus_in_ogg_matroska_and_mp4_is_ffmpegs() {
    let cases = [
        "-b:a 8k -ac 1 -ar 48000 -application voip",
        "-b:a 12k -ac 1 -ar 48000 -application voip",
        "-b:a 20k -ac 1 -ar 48000 -application voip",
        "-b:a 32k -ar 48000 -application voip",
        "-b:a 10k -ac 1 -ar 48000 -application voip -frame_duration 60",
        "-b:a 16k -ac 1 -ar 48000 -application voip -fec 1 -packet_loss 20",
        "-b:a 64k -ar 48000",
        "-b:a 510k -ar 48000",
        "-b:a 96k -ar 48000 -vbr off",
        "-b:a 96k -ar 48000 -application lowdelay -frame_duration 2.5",
        "-b:a 96k -ar 48000 -frame_duration 5",
        "-b:a 96k -ar 48000 -frame_duration 10",
        "-b:a 48k -ar 48000 -frame_duration 120",
        "-b:a 256k -ar 48000 -ac 6",
        "-b:a 16k -ar 48000 -ac 1 -cutoff 4000",
        "-b:a 24k -ar 48000 -ac 1 -cutoff 8000",
        "-b:a 48k -ar 48000 -cutoff 12000",
    ];
    let decoder = ["-c:a", "libopus", "-request_sample_fmt", "flt"];
    let few = ["-b:a 32k -ar 48000 -application voip", "-b:a 64k -ar 48000", "-b:a 256k -ar 48000 -ac 6"];
    for (extension, exact, cases) in [("opus", true, cases.as_slice()), ("webm", false, &few), ("mp4", true, &few)] {
        check(&Lossy {
            codec: "libopus",
            extension,
            exact,
            decoder: &decoder,
            cases,
            least_ratio: 120.0,
            largest: 2e-6,
        });
    }
}

#[test]
fn aac_in_mp4_matroska_and_adts_is_ffmpegs() {
    // Noise that decoders may make as they like is switched off here, and tested below.
    let cases = [
        "-b:a 128k -aac_pns 0",
        "-b:a 320k -aac_pns 0",
        "-b:a 32k -ac 1 -aac_pns 0",
        "-b:a 64k -aac_pns 0 -aac_is 0",
        "-b:a 96k -aac_pns 0 -aac_tns 0 -aac_ms 0",
        "-q:a 1 -aac_pns 0",
        "-b:a 128k -ar 96000 -aac_pns 0",
        "-b:a 128k -ar 48000 -aac_pns 0",
        "-b:a 64k -ar 32000 -aac_pns 0",
        "-b:a 48k -ar 22050 -aac_pns 0",
        "-b:a 32k -ar 16000 -ac 1 -aac_pns 0",
        "-b:a 24k -ar 8000 -ac 1 -aac_pns 0",
        "-b:a 128k -aac_pns 0 -movflags faststart",
    ];
    let fragmented =
        ["-b:a 128k -aac_pns 0 -movflags frag_keyframe+empty_moov+default_base_moof -frag_duration 500000"];
    for (extension, exact, cases) in
        [("m4a", true, cases.as_slice()), ("aac", false, &cases[..12]), ("mp4", false, &fragmented)]
    {
        let decoder = ["-c:a", "aac"];
        check(&Lossy { codec: "aac", extension, exact, decoder: &decoder, cases, least_ratio: 100.0, largest: 1e-5 });
    }
}

/// Files of iTunes have no list of edits, but a tag that says what to leave out.
#[test]
fn the_tag_of_itunes_says_what_an_edit_says() {
    let folder = Folder::new();
    let with_edit = folder.encode("a.m4a", "-c:a aac -b:a 128k");
    let (info, expected) = ours(&with_edit);
    let mut bytes = fs::read(&with_edit).unwrap();
    let find = |bytes: &[u8], name: &[u8]| bytes.windows(name.len()).position(|four| four == name).unwrap();
    // Without its edit the file begins with the encoder's delay.
    let edits = find(&bytes, b"edts");
    bytes[edits..edits + 4].copy_from_slice(b"free");
    let path = folder.at("b.m4a");
    fs::write(&path, &bytes).unwrap();
    assert!(ours(&path).1.len() > expected.len());
    // The index lies last, so it can grow.
    let atom = |kind: &[u8], body: Vec<u8>| [&(body.len() as u32 + 8).to_be_bytes()[..], kind, &body].concat();
    let frames = expected.len() / usize::from(info.channels);
    let text = format!(" 00000000 {:08X} {:08X} {frames:016X} 00000000", 1_024, 0);
    let tag = [
        atom(b"mean", b"\0\0\0\0com.apple.iTunes".to_vec()),
        atom(b"name", b"\0\0\0\0iTunSMPB".to_vec()),
        atom(b"data", [&[0, 0, 0, 1, 0, 0, 0, 0], text.as_bytes()].concat()),
    ];
    let list = atom(b"ilst", atom(b"----", tag.concat()));
    let user_data = atom(b"udta", atom(b"meta", [vec![0; 4], list].concat()));
    let index = find(&bytes, b"moov");
    let length = u32::from_be_bytes(bytes[index - 4..index].try_into().unwrap());
    assert_eq!(index - 4 + length as usize, bytes.len());
    bytes[index - 4..index].copy_from_slice(&(length + user_data.len() as u32).to_be_bytes());
    bytes.extend(user_data);
    fs::write(&path, &bytes).unwrap();
    let (found, samples) = ours(&path);
    assert_eq!((found, samples == expected), (info, true));
}

/// ffmpeg counts edits in milliseconds, to the nearest: these lengths are 0.2 ms more and 0.1 ms less than that.
#[test]
fn edits_that_are_rounded_to_milliseconds_cut_nothing_off() {
    let folder = Folder::new();
    for frames in [100_028, 100_015] {
        let path = folder.encode("a.m4a", &format!("-c:a aac -b:a 128k -af atrim=end_sample={frames}"));
        let (info, samples) = ours(&path);
        assert_eq!((info.frames, samples.len()), (Some(frames), frames as usize * usize::from(info.channels)));
    }
}

/// ffmpeg does not leave out what `CodecDelay` of Matroska counts for AAC; we do.
#[test]
fn the_delay_of_aac_in_matroska_is_left_out() {
    let folder = Folder::new();
    let path = folder.encode("a.mka", "-c:a aac -b:a 128k -aac_pns 0");
    let (info, samples) = ours(&path);
    let theirs = by_ffmpeg(&path, &["-c:a", "aac"]);
    let delay = theirs.len() - samples.len();
    assert!(delay == 0 || delay == 1_024 * usize::from(info.channels), "{delay}");
    assert!(difference(&samples, &theirs[delay..]).worst < 1e-5);
}

/// MPEG-2 says that a band of layer III begins at line 332 at 24 kHz (ISO/IEC 13818-3, table B.2.a); ffmpeg has 330
/// there, so it is the source that is compared with.
#[test]
fn mp3_of_24_khz_is_nearer_to_its_source_than_ffmpegs() {
    let folder = Folder::new();
    let path = folder.encode("a.mp3", "-c:a libmp3lame -b:a 96k -ar 24000");
    let (_, samples) = ours(&path);
    let theirs = by_ffmpeg(&path, &["-c:a", "mp3float"]);
    let source = folder.encode("source.wav", "-c:a pcm_f32le -ar 24000");
    let source = by_ffmpeg(&source, &[]);
    assert_eq!((samples.len(), theirs.len()), (source.len(), source.len()));
    let (ours, theirs, both) =
        (difference(&samples, &source).ratio, difference(&theirs, &source).ratio, difference(&samples, &theirs).ratio);
    println!("to the source: ours {ours:.1} dB, ffmpeg {theirs:.1} dB; to each other {both:.1} dB");
    assert!(ours > theirs && both > 25.0);
}

#[test]
fn mp3_in_matroska_and_mp4_is_ffmpegs() {
    let folder = Folder::new();
    // Matroska has no delay for it, MP4 has the edit list; only we leave out the padding at the end, too.
    for (name, surplus) in [("a.mka", 1_105), ("a.mp4", 0)] {
        let path = folder.encode(name, "-c:a libmp3lame -b:a 128k");
        let (info, samples) = ours(&path);
        let theirs = by_ffmpeg(&path, &["-c:a", "mp3float"]);
        let frames = frames_at(&path, &folder, "") + surplus;
        assert_eq!(samples.len(), frames * usize::from(info.channels), "{name}");
        assert!(theirs.len() - samples.len() < 1_152 * usize::from(info.channels), "{name}");
        assert!(difference(&samples, &theirs).worst < 1e-5, "{name}");
    }
}

/// Noise that a decoder makes where an encoder named no more of a band than its level: both make the same.
#[test]
fn aac_with_noise_substitution_is_ffmpegs() {
    let folder = Folder::new();
    for (name, options) in [("a.m4a", "-c:a aac -b:a 128k"), ("b.m4a", "-c:a aac -b:a 48k -ac 1")] {
        let path = folder.encode(name, options);
        let found = difference(&ours(&path).1, &by_ffmpeg(&path, &["-c:a", "aac"]));
        println!("{options}: {:.1} dB, {:.1e}", found.ratio, found.worst);
        assert!(found.ratio > 100.0, "{options}: {:.1} dB", found.ratio);
    }
}

/// Streams one behind another, as radio stations send them: each is decoded from its own headers, and trimmed.
#[test]
fn chained_streams_follow_one_another() {
    let folder = Folder::new();
    for codec in ["-c:a libvorbis -q:a 2", "-c:a libopus -b:a 64k", "-c:a flac -sample_fmt s16"] {
        let parts = [("1.ogg", codec.to_owned()), ("2.ogg", format!("{codec} -af volume=0.5 -serial_offset 5"))];
        let (mut chain, mut apart) = (Vec::new(), Vec::new());
        for (name, options) in &parts {
            let path = folder.encode(name, options);
            chain.extend(fs::read(&path).unwrap());
            apart.extend(ours(&path).1);
        }
        let whole = folder.at("whole.ogg");
        fs::write(&whole, chain).unwrap();
        assert!(ours(&whole).1 == apart, "{codec}");
    }
}

/// What goes on with other channels cannot be one signal.
#[test]
fn a_chain_that_changes_its_channels_ends_there() {
    let folder = Folder::new();
    let [stereo, mono] = [("1.ogg", "-c:a libvorbis"), ("2.ogg", "-c:a libvorbis -ac 1 -serial_offset 5")]
        .map(|(name, options)| folder.encode(name, options));
    let whole = folder.at("whole.ogg");
    fs::write(&whole, [fs::read(&stereo).unwrap(), fs::read(mono).unwrap()].concat()).unwrap();
    let decoder = Decoder::open(fs::File::open(&whole).unwrap(), Limits::default()).unwrap();
    let (_, samples, error) = floats(decoder);
    assert!(samples == ours(&stereo).1);
    assert!(matches!(error, Some(AudioError::Corrupt { frames, .. }) if frames as usize * 2 == samples.len()));
}

/// Makes the checksum of a page of Ogg right.
fn seal(page: &mut [u8]) {
    page[22..26].fill(0);
    let crc = page.iter().fold(0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    });
    page[22..26].copy_from_slice(&crc.to_le_bytes());
}

/// The pages of an Ogg file.
fn pages(mut file: &[u8]) -> Vec<Vec<u8>> {
    let mut pages = Vec::new();
    while !file.is_empty() {
        let segments = usize::from(file[26]);
        let body: usize = file[27..27 + segments].iter().map(|length| usize::from(*length)).sum();
        let (page, rest) = file.split_at(27 + segments + body);
        pages.push(page.to_vec());
        file = rest;
    }
    pages
}

/// Where the last packet of a page of Ogg ends.
fn position(page: &[u8]) -> i64 {
    i64::from_le_bytes(page[6..14].try_into().unwrap())
}

/// Four files of `hyperrogue-music` have their headers again amid the audio, on a page whose position is -104, with one packet of
/// audio behind them; ffmpeg refuses three of them. By the format such packets are ignored; where audio then begins anew below 0, libvorbis
/// leaves out what lies before 0.
#[test]
fn headers_amid_vorbis_are_read_over() {
    let folder = Folder::new();
    let path = folder.encode("a.ogg", "-c:a libvorbis -q:a 3");
    let plain = ours(&path).1;
    let pages = pages(&fs::read(&path).unwrap());
    let first = pages.iter().position(|page| page[6..14] != [0; 8]).unwrap();
    let mut header = pages[0].clone();
    // It does not begin a stream.
    header[5] = 0;
    header[6..14].copy_from_slice(&(-104_i64).to_le_bytes());
    for place in [first, first + 1, pages.len() - 1] {
        let mut pages = pages.clone();
        pages.insert(place, header.clone());
        for (number, page) in (0_u32..).zip(&mut pages) {
            page[18..22].copy_from_slice(&number.to_le_bytes());
            seal(page);
        }
        let whole = folder.at("whole.ogg");
        fs::write(&whole, pages.concat()).unwrap();
        assert!(ours(&whole).1 == plain, "before page {place}");
    }

    // A packet on each page.
    let path = folder.encode("b.ogg", "-c:a libvorbis -q:a 3 -page_duration 1");
    let (info, plain) = ours(&path);
    let mut pages = self::pages(&fs::read(&path).unwrap());
    let middle = pages.len() / 2;
    let first = position(&pages[middle]);
    for page in &mut pages[middle..] {
        let anew = position(page) - first - 104;
        page[6..14].copy_from_slice(&anew.to_le_bytes());
    }
    let mut header = pages[0].clone();
    header[5] = 0;
    pages.insert(middle, header);
    for (number, page) in (0_u32..).zip(&mut pages) {
        page[18..22].copy_from_slice(&number.to_le_bytes());
        seal(page);
    }
    let anew = folder.at("anew.ogg");
    fs::write(&anew, pages.concat()).unwrap();
    let joined = ours(&anew).1;
    let channels = usize::from(info.channels);
    let at = joined.iter().zip(&plain).take_while(|(one, other)| one == other).count();
    assert!(joined == [&plain[..at], &plain[at + 104 * channels..]].concat());
    // Positions of ffmpeg's muxer may be half a block off.
    assert!(at.abs_diff(first as usize * channels) < 2 * 2_048 * channels, "{at} of {first}");
}

/// The files of packages that editors joined: one goes on behind its end, with another end on each page (`northerners.ogg` of
/// `wesnoth-1.16-music`), one begins again amid its pages (`hr-savino-palace.ogg` of `hyperrogue-music`). libvorbis counts on from each
/// position that it meets, and only a page that says that it is the last cuts off what lies behind its position.
#[test]
fn joined_files_are_counted_from_each_of_their_positions() {
    const CUT: usize = 300;
    let folder = Folder::new();
    for codec in ["-c:a libvorbis -q:a 3", "-c:a libopus -b:a 64k"] {
        let path = folder.encode("a.ogg", codec);
        let (info, plain) = ours(&path);
        let plain_pages = pages(&fs::read(&path).unwrap());
        // A page amid the audio, and how many samples of ours lie before its end.
        let middle = plain_pages.len() / 2;
        let skipped = position(plain_pages.last().unwrap()) as usize - plain.len() / usize::from(info.channels);
        let before = position(&plain_pages[middle]) as usize - skipped;
        let written = |change: &dyn Fn(usize, &mut [u8], i64) -> i64| {
            let mut pages = plain_pages.clone();
            for (number, page) in pages.iter_mut().enumerate() {
                let at = position(page);
                let at = change(number, page, at);
                page[6..14].copy_from_slice(&at.to_le_bytes());
                seal(page);
            }
            let joined = folder.at("joined.ogg");
            fs::write(&joined, pages.concat()).unwrap();
            ours(&joined).1
        };

        // Behind the end that its middle page says, all goes on from there.
        let ended = written(&|number, page, at| {
            page[5] |= if number == middle { 4 } else { 0 };
            if number >= middle { at - CUT as i64 } else { at }
        });
        let frames = |range: std::ops::Range<usize>| {
            range.start * usize::from(info.channels)..range.end * usize::from(info.channels)
        };
        let mut expected = plain[frames(0..before - CUT)].to_vec();
        expected.extend_from_slice(&plain[frames(before..plain.len() / usize::from(info.channels))]);
        assert!(ended == expected, "{codec}: an end amid");

        // Positions that begin anew, even below 0, lose nothing, neither there nor at the end.
        for first in [-104, 0, 5_000] {
            let anew = position(&plain_pages[middle]) - first;
            let again = written(&|number, _, at| if number >= middle { at - anew } else { at });
            assert!(again == plain, "{codec}: positions that begin again at {first}");
        }
    }
}

/// The output gain of Opus, in 1/256 dB, lies in the header; the checksum of its page is made right.
#[test]
fn the_gain_of_opus_is_applied() {
    let folder = Folder::new();
    let path = folder.encode("a.opus", "-c:a libopus -b:a 64k");
    let plain = ours(&path).1;
    let mut bytes = fs::read(&path).unwrap();
    let head = bytes.windows(8).position(|window| window == b"OpusHead").unwrap();
    bytes[head + 16..head + 18].copy_from_slice(&(-6 * 256_i16).to_le_bytes());
    seal(&mut bytes[..head + 19]);
    fs::write(&path, bytes).unwrap();
    let quiet = ours(&path).1;
    let scaled: Vec<f32> = plain.iter().map(|sample| sample * 10_f32.powf(-6.0 / 20.0)).collect();
    assert!(difference(&quiet, &scaled).worst < 1e-6);
    let theirs = by_ffmpeg(&path, &["-c:a", "libopus", "-request_sample_fmt", "flt"]);
    assert!(difference(&quiet, &theirs).worst < 2e-6);
}

/// Music of a package as it is there: whole files of Ogg Vorbis, up to eight minutes.
#[test]
fn native_files_of_packages_are_ffmpegs() {
    let folder = Folder::new();
    let music = Path::new(MUSIC).parent().unwrap();
    for name in ["defeat.ogg", "defeat2.ogg", "elf-land.ogg", "battle-epic.ogg"] {
        let copy = folder.at(name);
        fs::copy(music.join(name), &copy).unwrap();
        let (info, samples) = ours(&copy);
        // The position of the last page says how long it is.
        let bytes = fs::read(&copy).unwrap();
        let last = bytes.windows(4).rposition(|window| window == b"OggS").unwrap();
        let frames = u64::from_le_bytes(bytes[last + 6..last + 14].try_into().unwrap());
        let channels = usize::from(info.channels);
        assert_eq!(samples.len(), frames as usize * channels, "{name}");
        // Audio on the page of the headers, which is none by the format, is decoded by ffmpeg, not by libvorbis and us.
        let theirs = by_ffmpeg(&copy, &["-c:a", "vorbis"]);
        let surplus = theirs.len() - samples.len();
        assert!(surplus <= 1_024 * channels, "{name}: {surplus}");
        let found = difference(&samples, &theirs[surplus..]);
        println!("{name}: {frames} frames, {:.1} dB, {:.1e}", found.ratio, found.worst);
        assert!(found.worst < 1e-5, "{name}");
    }
}

/// HE-AAC whose frames alone tell of it, and HE-AAC that is announced: half of its band must never pass for all of it.
#[test]
fn he_aac_is_refused_by_name_wherever_it_lies() {
    let folder = Folder::new();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/decode");
    for name in ["he-aac.aac", "he-aac-v2.aac", "he-aac-24.aac"] {
        let original = corpus.join(name);
        let mut paths = vec![original.clone()];
        for extension in ["m4a", "mka"] {
            let path = folder.at(name).with_extension(extension);
            ffmpeg(["-i", original.to_str().unwrap()], ["-c", "copy"].into_iter(), &path);
            paths.push(path);
        }
        for path in paths {
            let error = Decoder::open(fs::File::open(&path).unwrap(), Limits::default()).err().unwrap();
            assert!(matches!(&error, AudioError::Unsupported(_)), "{}: {error}", path.display());
            assert!(error.to_string().contains("HE-AAC"), "{}: {error}", path.display());
        }
    }
    // The same encoder without it.
    let (_, samples) = ours(&corpus.join("adts-lc.aac"));
    assert!(samples.len() > 30_000);
}
