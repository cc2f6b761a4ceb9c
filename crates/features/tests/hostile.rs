//! What every algorithm of the registry must stand: silence, impulses, overload, what is no number, any rate, any number of
//! channels, any length and any chunks; as a song and as a sensor.

#![expect(clippy::unwrap_used, reason = "a test helper that panics says what failed")]

use std::collections::BTreeMap;

use antiphon_features::algorithm::Stream;
use antiphon_features::cells::{self, FRAMES, Partial, decode_block, decode_frames};
use antiphon_features::descriptor::{Descriptor, Kind};
use antiphon_features::session::{Analysis, Block, Item, Session, SummaryValue};
use antiphon_features::{find, registry};
use proptest::prelude::*;

const RATES: [u32; 8] = [1_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000];

/// 2026-05-01T00:00:00Z, in seconds.
const START: i64 = 1_777_593_600;

/// A sound: what it is called, and what its samples are, by place, channel and rate.
type Sound = (&'static str, fn(usize, usize, f64) -> f32);

const SOUNDS: [Sound; 14] = [
    ("silence", |_, _, _| 0.0),
    ("a constant", |_, _, _| 0.5),
    ("an impulse", |n, _, _| if n == 700 { 1.0 } else { 0.0 }),
    ("a first sample", |n, _, _| if n == 0 { -1.0 } else { 0.0 }),
    ("a square wave at full scale", |n, _, rate| if (n as f64 * 440.0 / rate).fract() < 0.5 { 1.0 } else { -1.0 }),
    ("every other sample", |n, _, _| if n % 2 == 0 { 1.0 } else { -1.0 }),
    ("a sine", |n, _, rate| (std::f64::consts::TAU * 300.0 * n as f64 / rate).sin() as f32),
    ("channels in antiphase", |n, channel, rate| {
        let sine = (std::f64::consts::TAU * 200.0 * n as f64 / rate).sin() as f32;
        if channel % 2 == 0 { sine } else { -sine }
    }),
    ("noise", |n, channel, _| random(n, channel)),
    ("quiet noise", |n, channel, _| 1e-6 * random(n, channel)),
    ("numbers that are none", |n, channel, _| match n % 97 {
        3 => f32::NAN,
        17 => f32::INFINITY,
        40 => f32::NEG_INFINITY,
        _ => 0.3 * random(n, channel),
    }),
    ("nothing but numbers that are none", |n, _, _| [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][n % 3]),
    ("far too large numbers", |n, channel, _| if random(n, channel) > 0.0 { f32::MAX } else { f32::MIN }),
    ("denormal numbers", |n, channel, _| 1e-40 * random(n, channel)),
];

/// Uniform in [-1, 1), the same for the same place.
fn random(n: usize, channel: usize) -> f32 {
    let mut state = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ ((channel as u64 + 1) << 40);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (state >> 40) as f32 / 8_388_608.0 - 1.0
}

/// All algorithms with all outputs, frames kept.
fn everything() -> Vec<Item> {
    let outputs = |found: &Descriptor| found.outputs.iter().map(|output| output.name.to_owned()).collect();
    let item = |found: &&'static Descriptor| Item {
        algorithm: found.name.to_owned(),
        outputs: outputs(found),
        frames: found.hop().is_some(),
        ..Item::default()
    };
    registry().iter().map(item).collect()
}

fn stream(rate: u32, channels: usize, song: bool) -> Stream {
    let first = if song { 0 } else { START * i64::from(rate) + 137 };
    let channels = channels as u16;
    Stream { rate, channels, first_sample: first, first_body_sample: first, song, calibration_db: None }
}

/// Everything found, by pieces of these sizes in turn, with blocks taken between them; in a fixed order.
fn analyse(stream: &Stream, sound: &[Vec<f32>], sizes: &[usize]) -> Analysis {
    let mut session = Session::new(&everything(), stream).unwrap();
    let mut blocks = Vec::new();
    let (mut at, length) = (0, sound[0].len());
    for size in sizes.iter().cycle() {
        let end = length.min(at + size.max(&1));
        session.push(&sound.iter().map(|channel| &channel[at..end]).collect::<Vec<_>>());
        blocks.extend(session.take_blocks());
        at = end;
        if at == length {
            break;
        }
    }
    let mut analysis = session.finish();
    blocks.append(&mut analysis.blocks);
    blocks.sort_by_key(|block: &Block| (block.algorithm, block.layer, block.minute));
    Analysis { blocks, ..analysis }
}

/// Checks all that was found in a sound, twice: as one piece, and in small ones.
fn check(rate: u32, sound: &[Vec<f32>], sizes: &[usize]) {
    for song in [true, false] {
        let stream = stream(rate, sound.len(), song);
        let whole = analyse(&stream, sound, &[usize::MAX / 2]);
        check_frames(&whole.blocks);
        check_cells(&whole.blocks);
        check_annotations(&stream, sound[0].len(), &whole);
        check_summaries(song, &whole);
        let pieces = analyse(&stream, sound, sizes);
        for (a, b) in whole.blocks.iter().zip(&pieces.blocks) {
            assert!(a == b, "{} {} depends on chunks", a.algorithm, a.layer);
        }
        assert_eq!(whole.blocks.len(), pieces.blocks.len());
        assert_eq!(whole.annotations, pieces.annotations);
        assert_eq!(whole.summaries, pieces.summaries);
    }
}

/// No frame holds an infinity; NaN is absent.
fn check_frames(blocks: &[Block]) {
    for block in blocks.iter().filter(|block| block.layer == FRAMES) {
        for frame in decode_frames(find(block.algorithm).unwrap(), block.minute, &block.data).unwrap() {
            let fine = frame.values.iter().all(|value| !value.is_infinite());
            assert!(fine, "{} at {}: {:?}", block.algorithm, frame.start, frame.values);
        }
    }
}

/// Every stat of every second is finite or absent.
fn check_cells(blocks: &[Block]) {
    let mut partials: BTreeMap<(&str, &str), Vec<Partial>> = BTreeMap::new();
    for block in blocks.iter().filter(|block| block.layer != FRAMES) {
        let layer = cells::layer(block.algorithm, block.layer).unwrap();
        let found = decode_block(layer, block.minute, &block.data).unwrap();
        partials.entry((block.algorithm, block.layer)).or_default().extend(found);
    }
    for ((algorithm, name), partials) in &partials {
        let layer = cells::layer(algorithm, name).unwrap();
        for partial in partials {
            let cell = cells::one_second(layer, [None; 3], &cells::merge_partials(layer, &[partial]));
            for (output, series) in find(algorithm).unwrap().series().filter(|(_, series)| series.layer == *name) {
                for stat in series.stats.iter().filter(|stat| series.layer_of(stat).is_some()) {
                    for dimension in 0..usize::from(series.dimensions) {
                        let value = cells::value(&cell, output, stat, dimension);
                        let place = || format!("{algorithm}.{} {stat} of dimension {dimension}", output.name);
                        assert!(value.is_none_or(f32::is_finite), "{}: {value:?}", place());
                    }
                }
            }
        }
    }
}

fn check_annotations(stream: &Stream, length: usize, analysis: &Analysis) {
    let micros = |sample: i64| sample as f64 * 1e6 / f64::from(stream.rate);
    let (start, end) = (micros(stream.first_sample), micros(stream.first_sample + length as i64));
    for found in &analysis.annotations {
        assert!(found.from < found.to, "{found:?}");
        assert!(found.from as f64 >= start - 1.0 && found.to as f64 <= end + 1.0, "{found:?} of {start} to {end}");
        assert!(found.value.is_none_or(f32::is_finite), "{found:?}");
        assert!(found.confidence.is_none_or(|confidence| (0.0..=1.0).contains(&confidence)), "{found:?}");
    }
}

/// A song has every summary once, a sensor none.
fn check_summaries(song: bool, analysis: &Analysis) {
    for found in &analysis.summaries {
        match &found.value {
            SummaryValue::Number(value) => assert!(value.is_finite(), "{found:?}"),
            SummaryValue::Text(text) | SummaryValue::Missing(text) => assert!(!text.is_empty(), "{found:?}"),
        }
    }
    for descriptor in registry() {
        for output in descriptor.outputs {
            let is_summary = match &output.kind {
                Kind::Summary => true,
                Kind::Series(series) => series.summary,
                Kind::Annotation { .. } => false,
            };
            let of_output = |found: &&antiphon_features::session::Summary| {
                found.algorithm == descriptor.name && found.output == output.name
            };
            let count = analysis.summaries.iter().filter(of_output).count();
            assert_eq!(count, usize::from(song && is_summary), "{}.{}", descriptor.name, output.name);
        }
    }
}

fn make(sound: Sound, rate: u32, channels: usize, length: usize) -> Vec<Vec<f32>> {
    (0..channels).map(|channel| (0..length).map(|n| sound.1(n, channel, f64::from(rate))).collect()).collect()
}

/// Every sound at every rate; the number of channels goes around.
#[test]
fn any_sound_at_any_rate() {
    let mut channels = 0;
    for rate in RATES {
        for sound in SOUNDS {
            channels = channels % 8 + 1;
            println!("{} at {rate}, {channels} channels", sound.0);
            let length = rate as usize * 3 / 10 + 7;
            check(rate, &make(sound, rate, channels, length), &[1, 100, 4_097]);
        }
    }
}

#[test]
fn any_number_of_channels() {
    for channels in 1..=8 {
        for rate in [8_000, 44_100] {
            check(rate, &make(SOUNDS[8], rate, channels, rate as usize / 2), &[1_000]);
        }
    }
}

/// Nothing, one sample, two, 10 ms, and around what frames and seconds need.
#[test]
fn any_length() {
    for rate in RATES {
        for length in [0, 1, 2, rate as usize / 100, 511, 512, 1_024, 2_047, 2_048, 2_049, 6_000] {
            println!("{length} samples at {rate}");
            check(rate, &make(SOUNDS[8], rate, 1, length), &[63]);
            check(rate, &make(SOUNDS[0], rate, 2, length), &[1, 200]);
        }
    }
}

/// Long enough for blocks of several seconds and for a minute's border: a sensor's begins 7 s before it.
#[test]
fn what_is_longer_than_a_block() {
    let rate = 16_000;
    for sound in [SOUNDS[0], SOUNDS[6], SOUNDS[8]] {
        check(rate, &make(sound, rate, 1, 12 * rate as usize), &[3_000, 70_000]);
    }
}

/// A part of a random sound: which kind, its length in ms, and its level in dB.
fn parts() -> impl Strategy<Value = Vec<(usize, usize, f32)>> {
    prop::collection::vec((0..SOUNDS.len(), 0_usize..400, -120.0_f32..20.0), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_sequence_of_sounds(
        rate in prop_oneof![Just(1_000_u32), Just(22_050), Just(44_100), Just(48_000), 1_000_u32..100_000],
        channels in 1_usize..=3,
        parts in parts(),
        sizes in prop::collection::vec(1_usize..20_000, 1..5),
    ) {
        let mut sound = vec![Vec::new(); channels];
        for (kind, milliseconds, level) in parts {
            let gain = 10_f32.powf(level / 20.0);
            let part = make(SOUNDS[kind], rate, channels, milliseconds * rate as usize / 1_000);
            for (sound, part) in sound.iter_mut().zip(part) {
                sound.extend(part.into_iter().map(|sample| gain * sample));
            }
        }
        check(rate, &sound, &sizes);
    }
}
