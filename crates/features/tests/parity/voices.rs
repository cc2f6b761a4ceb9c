//! Longer signals with a pitch that moves, for algorithms that follow it; `signals.py` makes the same ones.

use std::f64::consts::TAU;

use crate::signals::{Signal, noise};

const RATE: f64 = 22_050.0;

/// A signal of seven.
pub(crate) fn all() -> Vec<Signal> {
    let all_partials: Vec<(f64, f64)> = (1..=8).map(|number| (f64::from(number), 1.0 / f64::from(number))).collect();
    let high_partials: Vec<(f64, f64)> = (3..=8).map(|number| (f64::from(number), 0.3)).collect();
    let single = [(1.0, 1.0)];
    vec![
        voice("glide", 40_000, &|t| 100.0 + 150.0 * t, &all_partials, 0.01),
        voice("vibrato", 40_000, &|t| 220.0 * (0.03 * (TAU * 6.0 * t).sin()).exp2(), &all_partials, 0.05),
        voice("melody", 90_000, &melody, &all_partials, 0.02),
        voice("no fundamental", 30_000, &|t| 110.0 + 5.0 * t, &high_partials, 0.1),
        voice("above the range", 30_000, &|t| 1_500.0 + 700.0 * t, &single, 0.01),
        voice("below the range", 30_000, &|t| 90.0 - 25.0 * t, &all_partials, 0.03),
        voice("noise", 30_000, &|_| 0.0, &single, 0.5),
    ]
}

/// Notes of a quarter of a second; 0 is a rest.
fn melody(t: f64) -> f64 {
    const NOTES: [f64; 9] = [330.0, 440.0, 0.0, 196.0, 784.0, 185.0, 0.0, 1_175.0, 147.0];
    NOTES[(4.0 * t) as usize % NOTES.len()]
}

/// Partials (number and amplitude) of a frequency that depends on time, over noise.
fn voice(name: &str, n: usize, frequency: &dyn Fn(f64) -> f64, partials: &[(f64, f64)], hiss: f64) -> Signal {
    let mut phase = 0.0;
    let hiss = noise(n as u64, n).into_iter().map(|value| hiss * value);
    let samples = hiss.enumerate().map(|(k, hiss)| {
        let frequency = frequency(k as f64 / RATE);
        phase += TAU * frequency / RATE;
        let mut value = hiss;
        if frequency > 0.0 {
            for (number, amplitude) in partials {
                value += 0.3 * amplitude * (number * phase).sin();
            }
        }
        value as f32
    });
    Signal { name: name.to_owned(), rate: 22_050, samples: samples.collect() }
}
