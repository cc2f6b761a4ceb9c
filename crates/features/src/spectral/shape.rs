//! The seven scalars.

use wide::f32x8;

use super::{BINS, HZ_PER_BIN};
use crate::lanes::sum_of;

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
            runs: vec![0.0; BINS.div_ceil(RUN)],
        }
    }

    /// Centroid, bandwidth, roll-off, flatness, flux, crest and entropy of a power spectrum. Returns the magnitudes.
    pub(super) fn measure(&mut self, power: &[f32], values: &mut [f32]) -> &[f32] {
        std::mem::swap(&mut self.magnitudes, &mut self.before);
        self.magnitudes.iter_mut().zip(power).for_each(|(magnitude, power)| *magnitude = power.sqrt());
        let magnitudes = &self.magnitudes[..];
        for (sum, run) in self.runs.iter_mut().zip(magnitudes.chunks(RUN)) {
            *sum = f64::from(run.iter().sum::<f32>());
        }
        let total: f64 = self.runs.iter().sum();
        let flux = sum_of(magnitudes, &self.before, |now, before| (now - before) * (now - before)).sqrt();
        let (geometric, weighted) = logarithms(power, magnitudes);
        // Both relative to the least power, so that silence is flat to the last bit.
        let excess = sum_of(power, &self.bins, |power, _| (power - LEAST_POWER).max(0.0)) / LEAST_POWER;
        values[3] = (geometric.exp() / (1.0 + f64::from(excess) / BINS as f64)) as f32;
        values[4] = flux / FULL_SCALE;
        if total == 0.0 {
            (values[0], values[1], values[2], values[5], values[6]) = (0.0, 0.0, 0.0, 0.0, 0.0);
            return &self.magnitudes;
        }
        let centroid = (f64::from(sum_of(magnitudes, &self.bins, |magnitude, bin| magnitude * bin)) / total) as f32;
        let spread = sum_of(magnitudes, &self.bins, |magnitude, bin| magnitude * (bin - centroid) * (bin - centroid));
        values[0] = centroid * HZ_PER_BIN;
        values[1] = (f64::from(spread) / total).sqrt() as f32 * HZ_PER_BIN;
        values[2] = self.roll_off(total) as f32 * HZ_PER_BIN;
        let largest = magnitudes.iter().copied().fold(0.0, f32::max);
        values[5] = (f64::from(largest) * BINS as f64 / total) as f32;
        // With shares p = m / total: -sum p log2 p = log2 total - sum m log2 m / total, and ln m = ln(m^2) / 2.
        let entropy = (total.ln() - weighted / (2.0 * total)) / std::f64::consts::LN_2;
        values[6] = entropy.max(0.0) as f32;
        &self.magnitudes
    }

    /// The first bin up to which the sum of magnitudes reaches the roll-off's share.
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

/// The mean of ln(max(power / [`LEAST_POWER`], 1)), and the sum of magnitude x ln(power).
fn logarithms(power: &[f32], magnitudes: &[f32]) -> (f64, f64) {
    // ln of the smallest positive f32 is finite, and its magnitude makes the term vanish.
    let smallest = f32x8::splat(f32::MIN_POSITIVE);
    let floor = f32x8::splat(LEAST_POWER.ln());
    let (mut logs, mut weighted) = (f32x8::ZERO, f32x8::ZERO);
    let (power, last_power) = power.as_chunks::<8>();
    let (magnitudes, last_magnitudes) = magnitudes.as_chunks::<8>();
    for (power, magnitude) in power.iter().zip(magnitudes) {
        let ln = f32x8::new(*power).max(smallest).ln();
        logs += ln.max(floor) - floor;
        weighted += f32x8::new(*magnitude) * ln;
    }
    let (mut logs, mut weighted) = (f64::from(logs.reduce_add()), f64::from(weighted.reduce_add()));
    for (power, magnitude) in last_power.iter().zip(last_magnitudes) {
        logs += f64::from(power / LEAST_POWER).max(1.0).ln();
        weighted += f64::from(*magnitude) * f64::from(power.max(f32::MIN_POSITIVE).ln());
    }
    (logs / BINS as f64, weighted)
}
