//! What all indices need of one frame.

use std::f64::consts::TAU;

use antiphon_audio::vector::{side_by_side, widest};

use super::{HOP, SIZE};
use crate::algorithm::Spectrum;

/// Bins below half the rate.
pub(super) const BINS: usize = SIZE as usize / 2;

/// Where, relative to the power that a removed mean had, only the transform's rounding is left.
const ROUNDING: f64 = 1e-28;

/// Numbers that are summed side by side: the compiler makes vector instructions of it, in a fixed order.
const LANES: usize = 8;

/// One frame, and what it has of the one before it.
pub(super) struct Frame {
    /// Power by bin, the mean of the samples removed.
    pub(super) power: Vec<f64>,
    /// Its root.
    pub(super) amplitude: Vec<f64>,
    /// By how much the root differs from the frame before.
    pub(super) change: Vec<f64>,
    /// Largest squares of each quarter, oldest first.
    pub(super) peaks: [f64; 4],
    /// The window, and the window times the first cosine and sine.
    windows: [Vec<f64>; 3],
}

impl Frame {
    pub(super) fn new() -> Frame {
        let window = |part: fn(f64) -> f64| {
            let angles = (0..SIZE).map(|n| TAU * n as f64 / SIZE as f64);
            angles.map(|angle| (0.5 - 0.5 * angle.cos()) * part(angle)).collect()
        };
        let windows = [window(|_| 1.0), window(f64::cos), window(f64::sin)];
        let zeros = || vec![0.0; BINS];
        Frame { power: zeros(), amplitude: zeros(), change: zeros(), peaks: [0.0; 4], windows }
    }

    /// Takes the next frame.
    pub(super) fn take(&mut self, spectrum: &Spectrum<'_>) {
        widest(
            #[inline(always)]
            || self.take_wide(spectrum),
        );
    }

    #[inline(always)]
    fn take_wide(&mut self, spectrum: &Spectrum<'_>) {
        let mean = sum(spectrum.samples) / SIZE as f64;
        // Of a periodic Hann window, a constant has bins 0 and 1 only.
        let at_zero = mean * SIZE as f64 / 2.0;
        let floor = at_zero * at_zero * ROUNDING;
        for (power, found) in self.power.iter_mut().zip(spectrum.power) {
            *power = if f64::from(*found) < floor { 0.0 } else { f64::from(*found) };
        }
        (self.power[0], self.power[1]) = self.lowest(spectrum.samples, mean);
        for ((change, amplitude), power) in self.change.iter_mut().zip(&mut self.amplitude).zip(&self.power) {
            let root = power.sqrt();
            *change = (root - *amplitude).abs();
            *amplitude = root;
        }
        for (peak, quarter) in self.peaks.iter_mut().zip(spectrum.samples.chunks_exact(HOP as usize)) {
            let mut lanes = [0.0_f32; LANES];
            for samples in quarter.as_chunks::<LANES>().0 {
                let larger = |lane: f32, size: f32| if size > lane { size } else { lane };
                lanes.iter_mut().zip(samples).for_each(|(lane, sample)| *lane = larger(*lane, sample.abs()));
            }
            let largest = side_by_side(lanes).into_iter().fold(0.0_f32, f32::max);
            *peak = f64::from(largest) * f64::from(largest);
        }
    }

    /// Power in bins 0 and 1 of samples less their mean.
    #[inline(always)]
    fn lowest(&self, samples: &[f32], mean: f64) -> (f64, f64) {
        let mut sums = [[0.0; LANES]; 3];
        let windows = self.windows.each_ref().map(|window| window.as_chunks::<LANES>().0);
        for (number, samples) in samples.as_chunks::<LANES>().0.iter().enumerate() {
            let samples = samples.map(|sample| f64::from(sample) - mean);
            for (lanes, window) in sums.iter_mut().zip(windows) {
                for ((lane, sample), weight) in lanes.iter_mut().zip(samples).zip(window[number]) {
                    *lane += sample * weight;
                }
            }
        }
        let [constant, real, imaginary] = side_by_side(sums).map(|lanes| lanes.iter().sum::<f64>());
        (constant * constant, real * real + imaginary * imaginary)
    }
}

#[inline(always)]
fn sum(samples: &[f32]) -> f64 {
    let mut lanes = [0.0; LANES];
    for samples in samples.as_chunks::<LANES>().0 {
        lanes.iter_mut().zip(samples).for_each(|(lane, sample)| *lane += f64::from(*sample));
    }
    lanes.iter().sum()
}
