//! `onset` against librosa 0.11.0.

use std::f64::consts::TAU;

use crate::golden;
use crate::signals::{Signal, noise};

const RATE: u32 = 22_050;
const TWELVE_SECONDS: usize = 264_600;

#[test]
fn every_strength_is_librosas() {
    let largest =
        golden::check(include_bytes!("golden/onset.f32"), 1, |signal| golden::frames("onset", "strength", signal));
    assert!(largest > 0.0, "nothing is equal to the last bit");
}

/// Tones and bursts of noise at uneven times, over a floor of noise: the same as in `make_onset.py`.
fn music(number: usize) -> Signal {
    let chance: Vec<f64> = noise(100 + number as u64, 1_000).into_iter().map(|value| (value + 1.0) / 2.0).collect();
    let floor = 10.0_f64.powi(-(2 + number as i32 % 4));
    let mut samples = noise(200 + number as u64, TWELVE_SECONDS);
    samples.iter_mut().for_each(|sample| *sample *= floor);
    let (mut at, mut draw) = (3_000.0, 0);
    while at < (TWELVE_SECONDS - 5_000) as f64 {
        let &[gap, loudness, pitch, kind] = &chance[draw..draw + 4] else { panic!("there are four") };
        draw += 4;
        let start = at as usize;
        let length = 12_000.min(TWELVE_SECONDS - start);
        let burst = noise(1_000 + draw as u64, length);
        for k in 0..length {
            let (n, frequency) = (k as f64, 110.0 * (4.0 * pitch).exp2());
            let body = if kind < 0.7 {
                (TAU * frequency * n / f64::from(RATE)).sin() * 0.5_f64.powf(n / 2_000.0)
            } else {
                burst[k] * 0.5_f64.powf(n / 400.0)
            };
            samples[start + k] += (0.1 + 0.4 * loudness) * body;
        }
        at += 2_000.0 + 9_000.0 * gap;
    }
    let samples = samples.into_iter().map(|sample| sample as f32).collect();
    Signal { name: format!("music {number}"), rate: RATE, samples }
}

/// Twelve signals of twelve seconds: F of onsets in the same frame, of all together and of each, is at least 0.98.
#[test]
fn onsets_of_songs_are_librosas() {
    let (mut hits, mut total) = (0, 0);
    for (number, line) in include_str!("golden/onsets.txt").lines().enumerate() {
        let expected: Vec<i64> = line.split_whitespace().map(|frame| frame.parse().unwrap()).collect();
        let analysis = golden::analyse("onset", "onset", &music(number));
        // A frame is 512 samples; an onset starts at one, in whole microseconds.
        let frame = |start: i64| (start * i64::from(RATE) + 256_000_000) / 512_000_000;
        let found: Vec<i64> = analysis.annotations.iter().map(|onset| frame(onset.from)).collect();
        let same = found.iter().filter(|frame| expected.contains(frame)).count();
        let f = 2.0 * same as f64 / (found.len() + expected.len()) as f64;
        assert!(f >= 0.98 && expected.len() > 20, "signal {number}: F is {f}\n{found:?}\n{expected:?}");
        hits += 2 * same;
        total += found.len() + expected.len();
    }
    println!("F of onsets: {}", f64::from(hits as u32) / f64::from(total as u32));
}
