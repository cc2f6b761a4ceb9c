//! What analysis costs, as a multiple of the least that any analysis does: decoding FLAC (44.1 kHz, stereo, 16 bit) and one
//! transform (2,048 samples every 512) of the mix-down. One thread, the best of five runs.
//!
//! `cargo bench -p antiphon-features --bench throughput`

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so by a panic")]

use std::time::{Duration, Instant};

use antiphon_audio::decode::{Decoder, Limits};
use antiphon_audio::downmix::mono;
use antiphon_audio::encode::{PcmFormat, Samples, flac, wav};
use antiphon_audio::stft::{Grid, Stft, StftSpec};
use antiphon_features::algorithm::Stream;
use antiphon_features::descriptor::Descriptor;
use antiphon_features::registry;
use antiphon_features::session::{Item, Session};
use antiphon_features::sets::SETS;

const RATE: u32 = 44_100;
const SECONDS: usize = 120;
/// 2026-05-01T00:00:00Z, in samples.
const FIRST: i64 = 1_777_593_600 * RATE as i64;

/// Chords whose loudness wanders, over noise: compresses as music does, to about two thirds.
fn sound() -> Vec<i32> {
    let mut state = 1_u64;
    let mut samples = Vec::with_capacity(2 * SECONDS * RATE as usize);
    for n in 0..SECONDS * RATE as usize {
        let t = n as f64 / f64::from(RATE);
        let tone = |frequency: f64| (std::f64::consts::TAU * frequency * t).sin();
        let chord = 0.2 * (tone(220.0) + tone(277.2) + tone(1_318.5)) * (0.6 + 0.4 * tone(0.3));
        for side in [0.9, 1.1] {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (state >> 40) as f64 / 8_388_608.0 - 1.0;
            samples.push(((chord * side + 0.02 * noise) * 32_000.0) as i32);
        }
    }
    samples
}

fn decode(file: &bytes::Bytes, mut each: impl FnMut(&[&[f32]])) {
    let mut decoder = Decoder::from_bytes(file.clone(), Limits::default()).unwrap();
    while let Some(block) = decoder.next_block().unwrap() {
        each(block.channels());
    }
}

fn baseline(file: &bytes::Bytes) {
    let mut stft = Stft::new(StftSpec { rate: RATE, size: 2_048, hop: 512 }, Grid::Trailing, 0);
    let (mut mixed, mut sum) = (Vec::new(), 0.0);
    decode(file, |channels| {
        mixed.clear();
        mono(channels, &mut mixed);
        stft.push(&mixed, |frame| sum += frame.power[7]);
    });
    std::hint::black_box(sum);
}

fn session(file: &bytes::Bytes, items: &[Item]) {
    let stream = Stream {
        rate: RATE,
        channels: 2,
        first_sample: FIRST,
        first_body_sample: FIRST,
        song: false,
        calibration_db: None,
    };
    let mut session = Session::new(items, &stream).unwrap();
    decode(file, |channels| {
        session.push(channels);
        std::hint::black_box(session.take_blocks());
    });
    std::hint::black_box(session.finish());
}

fn best(mut run: impl FnMut()) -> Duration {
    let times = (0..5).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    times.min().unwrap_or_default()
}

fn main() {
    let item = |descriptor: &Descriptor, outputs: Vec<String>| Item {
        algorithm: descriptor.name.to_owned(),
        outputs,
        ..Item::default()
    };
    let all_outputs = |found: &Descriptor| found.outputs.iter().map(|output| output.name.to_owned()).collect();
    let defaults: Vec<Item> = registry().iter().map(|found| item(found, Vec::new())).collect();
    let all: Vec<Item> = registry().iter().map(|found| item(found, all_outputs(found))).collect();

    let format = PcmFormat { rate: RATE, channels: 2, bits: 16, float: false };
    let samples = sound();
    let (mut file, mut uncompressed) = (bytes::Bytes::new(), bytes::Bytes::new());
    let encoding = best(|| file = flac(&format, Samples::Integers(&samples)).unwrap().into());
    let writing = best(|| uncompressed = wav(&format, Samples::Integers(&samples)).unwrap().into());
    let least = best(|| baseline(&file));
    let print = |name: &str, time: Duration| {
        let speed = SECONDS as f64 / time.as_secs_f64();
        let ratio = time.as_secs_f64() / least.as_secs_f64();
        println!("{name:<28} {speed:>7.0} x real time {ratio:>7.2} x baseline");
    };
    print("encoding FLAC", encoding);
    print("writing WAV", writing);
    print("reading WAV", best(|| decode(&uncompressed, |channels| _ = std::hint::black_box(channels))));
    print("decoding FLAC", best(|| decode(&file, |channels| _ = std::hint::black_box(channels))));
    print("decoding FLAC and one STFT", least);
    for (found, item) in registry().iter().zip(&all) {
        print(found.name, best(|| session(&file, std::slice::from_ref(item))));
    }
    for set in SETS {
        let time = best(|| session(&file, &set.to_items()));
        print(&format!("set {}", set.name), time);
        let (measured, known) = (time.as_secs_f64() * 3_600.0 / SECONDS as f64, set.cpu_seconds_per_hour);
        println!("{:<28} {measured:>7.1} s of CPU per audio-hour; its row says {known:.1}", "");
    }
    let mut families: Vec<&str> = registry().iter().map(|found| found.family).collect();
    families.sort_unstable();
    families.dedup();
    for family in families {
        let members = registry().iter().zip(&all).filter(|(found, _)| found.family == family);
        let items: Vec<Item> = members.map(|(_, item)| item.clone()).collect();
        print(&format!("family {family}"), best(|| session(&file, &items)));
    }
    // The set that has a bound of its own: 1.5 x baseline.
    let bounded: Vec<Item> = registry()
        .iter()
        .filter_map(|found| match found.name {
            "spectral" => Some(item(found, all_outputs(found))),
            "mfcc" => Some(item(found, Vec::new())),
            "chroma" => Some(item(found, vec!["stft".to_owned()])),
            _ => None,
        })
        .collect();
    print("spectral, mfcc, chroma.stft", best(|| session(&file, &bounded)));
    print("all defaults", best(|| session(&file, &defaults)));
    print("all outputs", best(|| session(&file, &all)));
}
