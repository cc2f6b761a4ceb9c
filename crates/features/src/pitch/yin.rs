//! YIN: the normalised difference function of a frame, its troughs, and the period that they tell.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use crate::algorithm::COMMON;

pub(super) const RATE: f64 = COMMON.rate as f64;
/// The lowest pitch in Hz, C2; the highest, C7, lies five octaves above.
pub(super) const LOWEST: f64 = 65.406_391_325_149_66;
/// The range of periods in samples: that of C7 rounded down, that of C2 rounded up.
pub(super) const SHORTEST: usize = 10;
pub(super) const LONGEST: usize = 338;
pub(super) const PERIODS: usize = LONGEST - SHORTEST + 1;
/// The first trough below this is the period.
const THRESHOLD: f64 = 0.1;
/// At least the frame and [`LONGEST`], so that no lag in use wraps around, and a product of small primes.
const TRANSFORM: usize = 2_400;

/// Computes difference functions.
pub(super) struct Difference {
    forward: Arc<dyn RealToComplex<f64>>,
    inverse: Arc<dyn ComplexToReal<f64>>,
    padded: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    correlation: Vec<f64>,
    scratch: Vec<Complex<f64>>,
    normalized: [f64; PERIODS],
}

impl Difference {
    /// Plans the transforms.
    pub(super) fn new() -> Difference {
        let mut planner = RealFftPlanner::<f64>::new();
        let (forward, inverse) = (planner.plan_fft_forward(TRANSFORM), planner.plan_fft_inverse(TRANSFORM));
        let scratch = forward.get_scratch_len().max(inverse.get_scratch_len());
        Difference {
            padded: forward.make_input_vec(),
            spectrum: forward.make_output_vec(),
            correlation: inverse.make_output_vec(),
            scratch: vec![Complex::new(0.0, 0.0); scratch],
            forward,
            inverse,
            normalized: [0.0; PERIODS],
        }
    }

    /// The difference function of a frame over its cumulative mean, for the periods from [`SHORTEST`] on; `None` if the
    /// frame is digital silence, of which no period can be told.
    ///
    /// The difference at lag k is the sum of (y\[n\] - y\[n+k\])² over all n of the frame, with zeros behind it, and is made
    /// of the autocorrelation r: 2 r(0) - 2 r(k) less the energy of the first k samples. At lag 1 that energy is left
    /// in, as librosa does.
    pub(super) fn normalized(&mut self, samples: &[f32]) -> Option<&[f64; PERIODS]> {
        if samples.iter().all(|&sample| sample == 0.0) {
            return None;
        }
        self.padded.fill(0.0);
        self.padded.iter_mut().zip(samples).for_each(|(target, &sample)| *target = f64::from(sample));
        // Both fail only for slices of wrong lengths, which come from the transforms themselves, and the second for a
        // spectrum that is not real at 0 Hz and at half the rate: all of it is real.
        let done = self.forward.process_with_scratch(&mut self.padded, &mut self.spectrum, &mut self.scratch);
        debug_assert!(done.is_ok());
        let scale = 1.0 / TRANSFORM as f64;
        self.spectrum.iter_mut().for_each(|bin| *bin = Complex::new(bin.norm_sqr() * scale, 0.0));
        let done = self.inverse.process_with_scratch(&mut self.spectrum, &mut self.correlation, &mut self.scratch);
        debug_assert!(done.is_ok());

        let zero_lag = self.correlation[0];
        let (mut energy, mut sum) = (0.0, 0.0);
        for lag in 1..=LONGEST {
            if lag > 1 {
                // The two samples of lags 1 and 2 come in together.
                let first = if lag == 2 { f64::from(samples[0]).powi(2) } else { 0.0 };
                energy += first + f64::from(samples[lag - 1]).powi(2);
            }
            let difference = 2.0 * (zero_lag - self.correlation[lag]) - energy;
            sum += difference;
            if lag >= SHORTEST {
                let mean = sum / lag as f64;
                self.normalized[lag - SHORTEST] = difference / (mean + f64::MIN_POSITIVE);
            }
        }
        Some(&self.normalized)
    }
}

/// Places of the local minima: below the value before, not above the one after; at either end below the only neighbour.
pub(super) fn troughs(normalized: &[f64; PERIODS]) -> impl Iterator<Item = usize> {
    (0..PERIODS).filter(|&place| {
        let value = normalized[place];
        let below_left = place == 0 || value < normalized[place - 1];
        let below_right = match normalized.get(place + 1) {
            Some(&right) if place == 0 => value < right,
            Some(&right) => value <= right,
            None => true,
        };
        below_left && below_right
    })
}

/// The frequency in Hz of the period at a place, refined by the parabola through it and its neighbours.
pub(super) fn frequency(normalized: &[f64; PERIODS], place: usize) -> f64 {
    let mut shift = 0.0;
    if place > 0 && place + 1 < PERIODS {
        let [left, middle, right] = [normalized[place - 1], normalized[place], normalized[place + 1]];
        let bend = right + left - 2.0 * middle;
        let slope = (right - left) / 2.0;
        // A vertex beyond the neighbours says nothing.
        if slope.abs() < bend.abs() {
            shift = -slope / bend;
        }
    }
    RATE / ((SHORTEST + place) as f64 + shift)
}

/// The place of the period: the first trough below the threshold, else the lowest value of all.
pub(super) fn period(normalized: &[f64; PERIODS]) -> usize {
    let below = troughs(normalized).find(|&place| normalized[place] < THRESHOLD);
    let lower = |best: usize, place: usize| if normalized[place] < normalized[best] { place } else { best };
    below.unwrap_or_else(|| (1..PERIODS).fold(0, lower))
}
