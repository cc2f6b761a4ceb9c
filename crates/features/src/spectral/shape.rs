//! The seven scalars.

use antiphon_audio::vector;

use super::{BINS, HZ_PER_BIN};
use crate::lanes::{dot, larger, largest, ln, sum_of};

/// The share of the magnitude that lies below the roll-off.
const ROLL_OFF: f64 = 0.85;
/// The least power that counts for flatness, as in librosa.
const LEAST_POWER: f32 = 1e-10;
/// The magnitude at the peak of a full-scale sine: a quarter of the transform's size.
const FULL_SCALE: f32 = 512.0;
/// Bins whose magnitudes are summed before the sum is widened.
const RUN: usize = 16;

/// Measures one frame after the other.
pub(super) struct Shape {
    /// Numbers of the bins.
    bins: Vec<f32>,
    magnitudes: Vec<f32>,
    before: Vec<f32>,
    /// Natural logarithms of the power.
    logarithms: Vec<f32>,
    /// Sums of the magnitudes of [`RUN`] bins.
    runs: Vec<f64>,
}

impl Shape {
    /// Silence lies before the first frame.
    pub(super) fn new() -> Shape {
        Shape {
            bins: (0..BINS).map(|bin| bin as f32).collect(),
            magnitudes: vec![0.0; BINS],
            before: vec![0.0; BINS],
            logarithms: vec![0.0; BINS],
            runs: vec![0.0; BINS.div_ceil(RUN)],
        }
    }

    /// The magnitudes of the spectrum that was measured last.
    pub(super) fn magnitudes(&self) -> &[f32] {
        &self.magnitudes
    }

    /// Centroid, bandwidth, roll-off, flatness, flux, crest and entropy of a power spectrum.
    #[inline(always)]
    pub(super) fn measure(&mut self, power: &[f32], values: &mut [f32]) {
        std::mem::swap(&mut self.magnitudes, &mut self.before);
        self.magnitudes.iter_mut().zip(power).for_each(|(magnitude, power)| *magnitude = power.sqrt());
        let magnitudes = &self.magnitudes[..];
        let (runs, rest) = magnitudes.as_chunks::<RUN>();
        self.runs.iter_mut().zip(runs).for_each(|(sum, run)| *sum = f64::from(vector::total(*run)));
        // The spectrum has one bin more than whole runs.
        self.runs[runs.len()] = f64::from(rest.iter().sum::<f32>());
        let total: f64 = self.runs.iter().sum();
        let flux = sum_of(magnitudes, &self.before, |now, before| (now - before) * (now - before)).sqrt();
        // The logarithm of the smallest normal number is finite, and its magnitude makes the term vanish.
        let smallest = f32::MIN_POSITIVE;
        self.logarithms.iter_mut().zip(power).for_each(|(logarithm, power)| *logarithm = ln(larger(*power, smallest)));
        let logarithms = &self.logarithms[..];
        let floor = ln(LEAST_POWER);
        let above_floor = sum_of(logarithms, &self.bins, |logarithm, _| larger(logarithm, floor) - floor);
        let geometric = f64::from(above_floor) / BINS as f64;
        let weighted = f64::from(dot(magnitudes, logarithms));
        // Both relative to the least power, so that silence is flat to the last bit.
        let excess = sum_of(power, &self.bins, |power, _| larger(power - LEAST_POWER, 0.0)) / LEAST_POWER;
        values[3] = (geometric.exp() / (1.0 + f64::from(excess) / BINS as f64)) as f32;
        values[4] = flux / FULL_SCALE;
        if total == 0.0 {
            (values[0], values[1], values[2], values[5], values[6]) = (0.0, 0.0, 0.0, 0.0, 0.0);
            return;
        }
        let centroid = (f64::from(sum_of(magnitudes, &self.bins, |magnitude, bin| magnitude * bin)) / total) as f32;
        let spread = sum_of(magnitudes, &self.bins, |magnitude, bin| magnitude * (bin - centroid) * (bin - centroid));
        values[0] = centroid * HZ_PER_BIN;
        values[1] = (f64::from(spread) / total).sqrt() as f32 * HZ_PER_BIN;
        values[2] = self.roll_off(total) as f32 * HZ_PER_BIN;
        values[5] = (f64::from(largest(magnitudes)) * BINS as f64 / total) as f32;
        // With shares p = m / total: -sum p log2 p = log2 total - sum m log2 m / total, and ln m = ln(m^2) / 2.
        let entropy = (total.ln() - weighted / (2.0 * total)) / std::f64::consts::LN_2;
        values[6] = entropy.max(0.0) as f32;
    }

    /// The first bin up to which the sum of magnitudes reaches the roll-off's share.
    #[inline(always)]
    fn roll_off(&self, total: f64) -> usize {
        let wanted = ROLL_OFF * total;
        let mut sum = 0.0;
        for (index, run) in self.runs.iter().enumerate() {
            if sum + run >= wanted {
                for (place, magnitude) in self.magnitudes[index * RUN..].iter().enumerate() {
                    sum += f64::from(*magnitude);
                    if sum >= wanted {
                        return index * RUN + place;
                    }
                }
            }
            sum += run;
        }
        BINS - 1
    }
}
