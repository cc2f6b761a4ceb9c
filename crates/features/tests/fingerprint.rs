//! `fingerprint` against fpcalc, which runs here on the same PCM.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test helper that panics says what failed")]

use std::path::Path;
use std::process::Command;

use antiphon_audio::encode::{PcmFormat, Samples, flac, wav};
use antiphon_features::algorithm::Stream;
use antiphon_features::session::{Item, Session, SummaryValue};

/// Real music, from Debian's package `wesnoth-1.16-music`.
const MUSIC: &str = "/usr/share/games/wesnoth/1.16/data/core/music";

/// 16 bit PCM, interleaved.
struct Sound {
    name: String,
    rate: u32,
    channels: u16,
    samples: Vec<i16>,
}

impl Sound {
    /// What fpcalc says, as text: the fingerprint and whole seconds; `None` if it finds the sound too short for one.
    fn by_fpcalc(&self, folder: &Path) -> Option<(String, f64)> {
        let format = PcmFormat { rate: self.rate, channels: self.channels, bits: 16, float: false };
        let samples: Vec<i32> = self.samples.iter().map(|sample| i32::from(*sample)).collect();
        let path = folder.join("sound");
        // FLAC says which channel is which; WAV of more than two leaves it to the reader.
        let encode = if self.channels > 2 { flac } else { wav };
        std::fs::write(&path, encode(&format, Samples::Integers(&samples)).unwrap()).unwrap();
        // This one calls the end of a file an error after it has printed the result.
        let output = Command::new("fpcalc").arg("-ignore-errors").arg(&path).output();
        let output = output.expect("fpcalc comes with libchromaprint-tools, which `cargo xtask test` installs");
        if !output.status.success() {
            assert!(String::from_utf8_lossy(&output.stderr).contains("Empty fingerprint"), "{output:?}");
            return None;
        }
        let text = String::from_utf8(output.stdout).unwrap();
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
        Some((value("FINGERPRINT="), value("DURATION=").parse().unwrap()))
    }

    /// What the algorithm says of the same samples.
    fn by_us(&self) -> Option<(String, f64)> {
        let channels: Vec<Vec<f32>> = (0..usize::from(self.channels))
            .map(|channel| {
                let samples = self.samples.iter().skip(channel).step_by(usize::from(self.channels));
                samples.map(|sample| f32::from(*sample) / 32_768.0).collect()
            })
            .collect();
        let stream = Stream {
            rate: self.rate,
            channels: self.channels,
            first_sample: 0,
            first_body_sample: 0,
            song: true,
            calibration_db: None,
        };
        let item = Item { algorithm: "fingerprint".into(), ..Item::default() };
        let mut session = Session::new(&[item], &stream).unwrap();
        let mut at = 0;
        for size in [1, 4_096, 333, 50_000].into_iter().cycle() {
            let end = channels[0].len().min(at + size);
            session.push(&channels.iter().map(|channel| &channel[at..end]).collect::<Vec<_>>());
            at = end;
            if at == channels[0].len() {
                break;
            }
        }
        let found = session.finish().summaries;
        let value = |output: &str| &found.iter().find(|summary| summary.output == output).unwrap().value;
        let SummaryValue::Number(duration) = value("duration") else { panic!("every song has a duration") };
        match value("chromaprint") {
            SummaryValue::Text(text) => Some((text.clone(), *duration)),
            SummaryValue::Missing(reason) => {
                assert_eq!(reason, "the song is shorter than 2.73 s");
                None
            }
            SummaryValue::Number(_) => panic!("a fingerprint is a text"),
        }
    }
}

fn music(file: &str, from: u32, seconds: u32, rate: u32, channels: u16) -> Sound {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-ss", &from.to_string(), "-t", &seconds.to_string()])
        .arg("-i")
        .arg(Path::new(MUSIC).join(file))
        .args(["-ar", &rate.to_string(), "-ac", &channels.to_string(), "-f", "s16le", "-"])
        .output()
        .expect("ffmpeg is installed by `cargo xtask test`");
    assert!(output.status.success(), "{output:?}");
    let samples = output.stdout.as_chunks::<2>().0.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect();
    Sound { name: format!("{file} from {from}"), rate, channels, samples }
}

fn synthetic(name: &str, rate: u32, channels: u16, frames: usize, value: impl Fn(f64, u16, f64) -> f64) -> Sound {
    let mut state = 1_u64;
    let mut samples = Vec::with_capacity(frames * usize::from(channels));
    for n in 0..frames {
        for channel in 0..channels {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (state >> 40) as f64 / 8_388_608.0 - 1.0;
            samples.push((value(n as f64 / f64::from(rate), channel, noise) * 32_767.0).round() as i16);
        }
    }
    Sound { name: name.to_owned(), rate, channels, samples }
}

fn sine(frequency: f64, time: f64) -> f64 {
    (std::f64::consts::TAU * frequency * time).sin()
}

/// Chords that change twice a second, a beat, and noise; different in each channel.
fn chords(time: f64, channel: u16, noise: f64) -> f64 {
    let root = 110.0 * 2_f64.powf((((2.0 * time).floor() * 7.0) % 12.0 + f64::from(channel)) / 12.0);
    let chord = sine(root, time) + sine(root * 1.26, time) + sine(root * 3.0, time);
    let beat = (-20.0 * (4.0 * time).fract()).exp();
    0.2 * chord * (0.4 + 0.6 * beat) + (0.01 + 0.1 * beat) * noise
}

fn assert_equal(sounds: &[Sound]) {
    let folder = tempfile::tempdir().unwrap();
    let mut different = Vec::new();
    for sound in sounds {
        let (expected, found) = (sound.by_fpcalc(folder.path()), sound.by_us());
        if expected != found {
            different.push(format!("{} at {} Hz, {} channels", sound.name, sound.rate, sound.channels));
        }
    }
    println!("{} of {} fingerprints are fpcalc's", sounds.len() - different.len(), sounds.len());
    assert!(different.is_empty(), "{different:#?}");
}

const RATES: [u32; 9] = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000];

#[test]
fn real_music_has_the_fingerprint_of_fpcalc() {
    let files = ["love_theme.ogg", "knolls.ogg", "battle.ogg", "elf-land.ogg", "wanderer.ogg"];
    let mut sounds: Vec<Sound> = RATES
        .into_iter()
        .flat_map(|rate| [(rate, 1), (rate, 2)])
        .enumerate()
        .map(|(number, (rate, channels))| music(files[number % 5], 7 * number as u32, 25, rate, channels))
        .collect();
    sounds.push(music("the_city_falls.ogg", 0, 1_000, 44_100, 2));
    sounds.push(music("vengeful.ogg", 0, 1_000, 48_000, 2));
    assert!(sounds.iter().any(|sound| sound.samples.len() > 2 * 44_100 * 120), "one is longer than 120 s");
    assert_equal(&sounds);
}

#[test]
fn made_sound_has_the_fingerprint_of_fpcalc() {
    let mut sounds = Vec::new();
    for rate in RATES {
        for channels in [1, 2] {
            sounds.push(synthetic("chords", rate, channels, 20 * rate as usize + 123, chords));
            sounds.push(synthetic("noise", rate, channels, 10 * rate as usize, |_, _, noise| noise));
        }
        sounds.push(synthetic("chirp", rate, 1, 10 * rate as usize, |time, _, _| 0.9 * sine(20.0 * time * time, time)));
        sounds.push(synthetic("silence", rate, 1, 5 * rate as usize, |_, _, _| 0.0));
        sounds.push(synthetic("constant", rate, 2, 5 * rate as usize, |_, _, _| 0.5));
        sounds.push(synthetic("impulse", rate, 1, 5 * rate as usize, |time, _, _| f64::from(u8::from(time == 1.0))));
        let square = |time: f64, _, _| if (300.0 * time).fract() < 0.5 { 1.0 } else { -1.0 };
        sounds.push(synthetic("full-scale square", rate, 1, 5 * rate as usize, square));
        let opposite = |time: f64, channel: u16, _| if channel == 0 { sine(440.0, time) } else { -sine(440.0, time) };
        sounds.push(synthetic("antiphase", rate, 2, 5 * rate as usize, opposite));
    }
    assert_equal(&sounds);
}

/// 30,031 samples at 11,025 Hz are the fewest that have a fingerprint.
#[test]
fn the_shortest_fingerprint_has_the_length_of_fpcalcs() {
    let mut sounds = Vec::new();
    for frames in [1, 100, 30_030, 30_031, 31_395, 31_396] {
        sounds.push(synthetic("chords", 11_025, 1, frames, chords));
    }
    for rate in [8_000, 16_000, 44_100, 48_000] {
        let shortest = (30_031 * u64::from(rate)).div_ceil(11_025) as usize;
        for more in 0..40 {
            sounds.push(synthetic(&format!("chords {more}"), rate, 1, shortest - 30 + 2 * more, chords));
        }
    }
    assert_equal(&sounds);
}

#[test]
fn more_than_two_channels_are_mixed_as_fpcalc_does() {
    let sounds: Vec<Sound> =
        (3..=8).map(|channels| synthetic("chords", 44_100, channels, 10 * 44_100, chords)).collect();
    assert_equal(&sounds);
}

#[test]
fn sensors_have_no_fingerprint() {
    let stream =
        Stream { rate: 16_000, channels: 1, first_sample: 0, first_body_sample: 0, song: false, calibration_db: None };
    let item = Item { algorithm: "fingerprint".into(), ..Item::default() };
    let mut session = Session::new(&[item], &stream).unwrap();
    session.push(&[&vec![0.5; 100_000]]);
    assert_eq!(session.finish(), antiphon_features::session::Analysis::default());
}
