//! `mel` against librosa 0.11.0: `golden/mel.f32` is what `golden/make_mel.py` wrote for the same twenty signals.

#![expect(clippy::unwrap_used, reason = "a test helper that panics says what failed")]

use std::f64::consts::TAU;

use antiphon_features::algorithm::Stream;
use antiphon_features::cells::{FRAMES, decode_frames};
use antiphon_features::find;
use antiphon_features::session::{Item, Session};

const RATE: u32 = 22_050;
const GOLDEN: &[u8] = include_bytes!("golden/mel.f32");

/// Knuth's linear congruential generator; the upper 24 bits are exact in f32.
fn noise(seed: u64, n: usize) -> Vec<f64> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / 8_388_608.0 - 1.0
    };
    (0..n).map(next).collect()
}

fn sine(frequency: f64, k: usize) -> f64 {
    (TAU * frequency * k as f64 / f64::from(RATE)).sin()
}

fn signal(number: usize, n: usize) -> Vec<f32> {
    let by_sample = |value: &dyn Fn(usize) -> f64| (0..n).map(value).collect::<Vec<f64>>();
    let scaled = |scale: f64, values: Vec<f64>| values.into_iter().map(|value| scale * value).collect::<Vec<f64>>();
    let samples = match number {
        0 => vec![0.0; n],
        1 => by_sample(&|k| f64::from(u8::from(k == 3_000))),
        2 => scaled(0.5, noise(1, n)),
        3 => scaled(1e-3, noise(2, n)),
        4 => scaled(1e-5, noise(3, n)),
        5 => by_sample(&|k| 0.5 * sine(440.0, k)),
        6 => by_sample(&|k| sine(10_000.0, k)),
        7 => by_sample(&|k| 0.9 * sine(30.0, k)),
        8 => by_sample(&|k| {
            let t = k as f64 / f64::from(RATE);
            0.7 * (TAU * (100.0 * t + 10_000.0 * t * t)).sin()
        }),
        9 => by_sample(&|k| 0.2 * (sine(261.6, k) + sine(329.6, k) + sine(392.0, k) + sine(1_046.5, k))),
        10 => by_sample(&|k| if k / 50 % 2 == 0 { 0.4 } else { -0.4 }),
        11 => noise(4, n).into_iter().enumerate().map(|(k, value)| (0.5 + 0.5 * sine(4.0, k)) * value).collect(),
        12 => noise(5, n).into_iter().enumerate().map(|(k, value)| if k < 2_500 { value } else { 0.0 }).collect(),
        13 => by_sample(&|k| if k < 4_000 { 0.0 } else { 0.8 * sine(1_234.5, k) }),
        14 => vec![0.25; n],
        15 => by_sample(&|k| if k % 2 == 0 { 0.3 } else { -0.3 }),
        16 => by_sample(&|k| sine(800.0, k) * 0.5_f64.powf(k as f64 / 500.0)),
        17 => by_sample(&|k| (3.0 * sine(200.0, k)).clamp(-1.0, 1.0)),
        18 => noise(6, n).into_iter().enumerate().map(|(k, value)| 0.3 * sine(3_000.0, k) + 0.01 * value).collect(),
        19 => scaled(0.5, noise(7, n)),
        _ => panic!("there are twenty signals"),
    };
    samples.into_iter().map(|sample| sample as f32).collect()
}

fn frames(samples: &[f32]) -> Vec<Vec<f32>> {
    let item = Item { algorithm: "mel".into(), outputs: vec![String::new()], frames: true, ..Item::default() };
    let stream =
        Stream { rate: RATE, channels: 1, first_sample: 0, first_body_sample: 0, song: true, calibration_db: None };
    let mut session = Session::new(&[item], &stream).unwrap();
    session.push(&[samples]);
    let analysis = session.finish();
    let blocks = analysis.blocks.iter().filter(|block| block.layer == FRAMES);
    blocks
        .flat_map(|block| decode_frames(find("mel").unwrap(), block.minute, &block.data).unwrap())
        .map(|frame| frame.values)
        .collect()
}

/// |a - b| <= 1e-3 max(|b|, s) for every frame and dimension, edges included; s is the 95th percentile of |b| in that
/// dimension.
#[test]
fn every_frame_is_librosas() {
    let mut golden = GOLDEN.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let mut largest = 0.0_f32;
    for number in 0..20 {
        let n = if number == 19 { 100 } else { 6_000 + 371 * number };
        let expected: Vec<Vec<f32>> = (0..=n / 512).map(|_| golden.by_ref().take(128).collect()).collect();
        let found = frames(&signal(number, n));
        assert_eq!(found.len(), expected.len(), "signal {number}");
        for dimension in 0..128 {
            let mut sizes: Vec<f32> = expected.iter().map(|frame| frame[dimension].abs()).collect();
            sizes.sort_by(f32::total_cmp);
            let scale = sizes[(sizes.len() - 1) * 95 / 100];
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let (a, b) = (found[dimension], expected[dimension]);
                let difference = (a - b).abs() / b.abs().max(scale);
                largest = largest.max(difference);
                assert!(difference <= 1e-3, "signal {number}, frame {index}, band {dimension}: {a} is not {b}");
            }
        }
    }
    assert_eq!(golden.next(), None);
    assert!(largest > 0.0, "nothing is equal to the last bit");
    println!("largest difference: {largest}");
}
