//! True peak: the largest absolute value of the signal between its samples (ITU-R BS.1770-5, annex 2).

use std::f64::consts::PI;

use wide::f32x4;

/// Taps of each phase of the interpolator.
const TAPS: usize = 16;

/// Samples whose interpolation is computed, or left out, together.
const BLOCK: usize = 64;

/// Steepness of the Kaiser window: sines up to 0.42 of the rate come through within 0.13 dB.
const BETA: f64 = 4.0;

/// The phases between the samples for one rate: three below 96 kHz (four times the rate), one below 192 kHz, none
/// above. A windowed sinc passes the samples themselves unchanged, so they need no phase.
#[derive(Clone, Debug)]
pub(super) struct Interpolator {
    /// The taps in the order of the samples they meet, oldest first.
    phases: Vec<[f32; TAPS]>,
    /// No interpolated value exceeds the largest sample by more than this factor.
    bound: f32,
}

impl Interpolator {
    pub(super) fn new(rate: u32) -> Interpolator {
        let fractions: &[f64] = match rate {
            0..96_000 => &[0.25, 0.5, 0.75],
            96_000..192_000 => &[0.5],
            _ => &[],
        };
        let phases: Vec<[f32; TAPS]> = fractions.iter().map(|&fraction| taps(fraction)).collect();
        let sizes = phases.iter().map(|taps| taps.iter().map(|tap| tap.abs()).sum::<f32>());
        let bound = sizes.fold(1.0, f32::max) * 1.000_01;
        Interpolator { phases, bound }
    }
}

/// Interpolates at `fraction` between the two middle samples of [`TAPS`], scaled so that a constant stays as it is.
fn taps(fraction: f64) -> [f32; TAPS] {
    let half = TAPS as f64 / 2.0;
    let raw: Vec<f64> = (0..TAPS)
        .map(|index| {
            let distance = index as f64 - (half - 1.0) - fraction;
            let sinc = (PI * distance).sin() / (PI * distance);
            sinc * bessel(BETA * (1.0 - (distance / half).powi(2)).sqrt()) / bessel(BETA)
        })
        .collect();
    let sum: f64 = raw.iter().sum();
    std::array::from_fn(|index| (raw[index] / sum) as f32)
}

/// The modified Bessel function of the first kind, of order 0.
fn bessel(x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..50 {
        term *= (x / (2.0 * f64::from(k))).powi(2);
        sum += term;
    }
    sum
}

/// The running true peak of one channel.
#[derive(Clone, Debug)]
pub(super) struct TruePeak {
    /// The last samples before this step, then the step, then zeros up to a whole vector.
    samples: Vec<f32>,
    largest: f32,
}

const HISTORY: usize = TAPS - 1;

impl TruePeak {
    pub(super) fn new() -> TruePeak {
        TruePeak { samples: vec![0.0; HISTORY], largest: 0.0 }
    }

    /// The largest absolute value since the last call, of what counted.
    pub(super) fn take(&mut self) -> f32 {
        std::mem::take(&mut self.largest)
    }

    /// Takes samples; values between samples belong to the last sample that they are made of.
    pub(super) fn run(&mut self, interpolator: &Interpolator, samples: &[f32], counts: bool) {
        self.samples.extend_from_slice(samples);
        if counts {
            self.measure(interpolator, samples.len());
        }
        let kept = self.samples.len() - HISTORY;
        self.samples.drain(..kept);
    }

    fn measure(&mut self, interpolator: &Interpolator, length: usize) {
        let end = self.samples.len();
        // Vectors reach past the end; what comes of it there is left out.
        self.samples.resize(end + 8, 0.0);
        let mut first = 0;
        while first < length {
            let size = BLOCK.min(length - first);
            let reach = &self.samples[first..first + size + HISTORY];
            let sample_peak = peak(&reach[HISTORY..]);
            self.largest = self.largest.max(sample_peak);
            let ceiling = peak(reach) * interpolator.bound;
            if ceiling > self.largest {
                let window = &self.samples[first..first + size + HISTORY + 8];
                for taps in &interpolator.phases {
                    self.largest = self.largest.max(largest_interpolated(taps, window, size));
                }
            }
            first += size;
        }
        self.samples.truncate(end);
    }
}

fn peak(samples: &[f32]) -> f32 {
    let mut lanes = [0f32; 8];
    let (chunks, rest) = samples.as_chunks::<8>();
    for chunk in chunks {
        for (lane, sample) in lanes.iter_mut().zip(chunk) {
            let size = sample.abs();
            *lane = if size > *lane { size } else { *lane };
        }
    }
    rest.iter().map(|sample| sample.abs()).chain(lanes).fold(0.0, f32::max)
}

/// The largest of `count` values, the n-th made of the samples from n on; up to 7 samples more are read.
fn largest_interpolated(taps: &[f32; TAPS], samples: &[f32], count: usize) -> f32 {
    let taps = taps.map(f32x4::splat);
    let mut largest = [f32x4::ZERO; 2];
    for at in (0..count).step_by(8) {
        let Some(reach) = samples[at..].first_chunk::<{ TAPS + 7 }>() else { break };
        let mut sums = [f32x4::ZERO; 2];
        for (index, tap) in taps.iter().enumerate() {
            for (half, sum) in sums.iter_mut().enumerate() {
                let from = index + 4 * half;
                *sum += *tap * f32x4::new([reach[from], reach[from + 1], reach[from + 2], reach[from + 3]]);
            }
        }
        for (half, (largest, sum)) in largest.iter_mut().zip(sums).enumerate() {
            let present = count - at;
            let inside = f32x4::new(std::array::from_fn(|lane| if 4 * half + lane < present { 1.0 } else { 0.0 }));
            *largest = largest.fast_max(sum.abs() * inside);
        }
    }
    largest[0].fast_max(largest[1]).to_array().into_iter().fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    #[test]
    fn leaving_blocks_out_changes_nothing() {
        let samples = noise(11, 20_000);
        let interpolator = Interpolator::new(44_100);
        let always = Interpolator { bound: f32::INFINITY, ..interpolator.clone() };
        let (mut found, mut expected) = (TruePeak::new(), TruePeak::new());
        let mut at = 0;
        for size in [1, 3, 64, 1_000, 1_103, 17].into_iter().cycle() {
            let Some(step) = samples.get(at..at + size) else { break };
            found.run(&interpolator, step, at > 500);
            expected.run(&always, step, at > 500);
            at += size;
            if at % 5 == 0 {
                assert_eq!(found.take(), expected.take());
            }
        }
        assert_eq!(found.take(), expected.take());
    }

    #[test]
    fn sines_reach_their_amplitude_up_to_high_frequencies() {
        for share in [0.01, 0.1, 0.25, 0.3, 0.4, 0.44] {
            for rate in [44_100, 96_000] {
                let step = 2.0 * PI * share;
                let tone: Vec<f32> = (0..8_000).map(|n| (step * f64::from(n) + 0.77).sin() as f32).collect();
                let mut meter = TruePeak::new();
                let interpolator = Interpolator::new(rate);
                meter.run(&interpolator, &tone[..100], false);
                meter.run(&interpolator, &tone[100..], true);
                let level = 20.0 * meter.take().log10();
                // Four times the rate misses up to 0.69 dB at 0.5 of the rate, twice the rate 3 dB, between values.
                let missed = if rate < 96_000 { 0.15 } else { 0.1 };
                assert!((-0.7..=missed).contains(&level), "{share} of {rate}: {level:.3} dB");
            }
        }
    }
}
