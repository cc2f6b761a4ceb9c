//! How far a song is tuned from A4 = 440 Hz: librosa's `estimate_tuning`, in constant memory.

use crate::algorithm::COMMON as SPEC;

const HZ_PER_BIN: f32 = SPEC.rate as f32 / SPEC.size as f32;
/// Where peaks are looked for, in Hz.
const LOWEST: f32 = 150.0;
const HIGHEST: f32 = 4_000.0;
/// The share of the largest magnitude in a frame that a peak must exceed.
const THRESHOLD: f32 = 0.1;
/// A0 in Hz.
const A0: f32 = 27.5;
/// Steps of a semitone.
const STEPS: usize = 100;
/// Peaks that are kept: 6 MiB.
const MOST: usize = 1 << 19;

/// A maximum of a spectrum.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Peak {
    height: f32,
    /// Deviation from the nearest semitone, in steps from -1/2.
    step: u8,
    /// Number of the frame that it was found in.
    frame: u32,
}

/// The peaks of a song so far.
pub(super) struct Tuning {
    magnitudes: Vec<f32>,
    peaks: Vec<Peak>,
    /// How many peaks are kept at most.
    most: usize,
    /// Frames so far, and of how many of them one counts.
    frames: u32,
    stride: u32,
}

impl Tuning {
    pub(super) fn new() -> Tuning {
        Tuning::keeping(MOST)
    }

    fn keeping(most: usize) -> Tuning {
        Tuning { magnitudes: Vec::new(), peaks: Vec::new(), most, frames: 0, stride: 1 }
    }

    /// Adds the peaks of a power spectrum.
    pub(super) fn add(&mut self, power: &[f32]) {
        let frame = self.frames;
        self.frames = frame.wrapping_add(1);
        if !frame.is_multiple_of(self.stride) {
            return;
        }
        let largest = power.iter().copied().fold(0.0, f32::max).sqrt();
        let floor = THRESHOLD * largest;
        let first = (LOWEST / HZ_PER_BIN).ceil() as usize;
        let end = (HIGHEST / HZ_PER_BIN).ceil() as usize;
        // With a neighbour on either side.
        self.magnitudes.clear();
        self.magnitudes.extend(power[first - 1..=end].iter().map(|power| power.sqrt()));
        for (place, around) in self.magnitudes.windows(3).enumerate() {
            if let Some((shift, height)) = peak(around[0], around[1], around[2], floor) {
                let frequency = ((first + place) as f32 + shift) * HZ_PER_BIN;
                self.peaks.push(Peak { height, step: step(frequency), frame });
            }
        }
        while self.peaks.len() > self.most {
            self.stride *= 2;
            self.peaks.retain(|peak| peak.frame.is_multiple_of(self.stride));
        }
    }

    /// The step with the most peaks that are at least of median height, in cents; `None` without peaks.
    pub(super) fn cents(&self) -> Option<f64> {
        let mut heights: Vec<f32> = self.peaks.iter().map(|peak| peak.height).collect();
        let middle = heights.len() / 2;
        if heights.is_empty() {
            return None;
        }
        let is_even = heights.len().is_multiple_of(2);
        let (below, upper, _) = heights.select_nth_unstable_by(middle, f32::total_cmp);
        let lower = if is_even { below.iter().copied().fold(f32::NEG_INFINITY, f32::max) } else { *upper };
        let median = lower / 2.0 + *upper / 2.0;
        let mut counts = [0_u32; STEPS];
        for peak in self.peaks.iter().filter(|peak| peak.height >= median) {
            counts[usize::from(peak.step)] += 1;
        }
        let most = counts.iter().max()?;
        let step = counts.iter().position(|count| count == most)?;
        Some(step as f64 - STEPS as f64 / 2.0)
    }
}

/// Where the top of the parabola through three magnitudes lies, in bins from the middle one, and its height; `None` if
/// the middle one is no maximum above the floor.
fn peak(before: f32, here: f32, after: f32, floor: f32) -> Option<(f32, f32)> {
    let above = |magnitude: f32| if magnitude > floor { magnitude } else { 0.0 };
    if !(above(here) > above(before) && above(here) >= above(after)) {
        return None;
    }
    let curvature = after + before - 2.0 * here;
    let slope = (after - before) / 2.0;
    let shift = if slope.abs() >= curvature.abs() { 0.0 } else { -slope / curvature };
    Some((shift, here + 0.5 * slope * shift))
}

/// The deviation of a frequency from the nearest semitone, in steps from -1/2 of one.
fn step(frequency: f32) -> u8 {
    let residual = (12.0 * (frequency / A0).log2()).rem_euclid(1.0);
    let residual = if residual >= 0.5 { residual - 1.0 } else { residual };
    // From 0 to 100; a cast of floating point saturates.
    (((f64::from(residual) + 0.5) * STEPS as f64) as u8).min(STEPS as u8 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A spectrum with one peak at a frequency.
    fn spectrum(frequency: f32, amplitude: f32) -> Vec<f32> {
        let place = frequency / HZ_PER_BIN;
        (0..1_025).map(|bin| (amplitude * (2.0 - (bin as f32 - place).abs().min(2.0)).powi(2)).powi(2)).collect()
    }

    #[test]
    fn the_median_divides_and_the_fullest_step_wins() {
        let mut tuning = Tuning::new();
        assert_eq!(tuning.cents(), None);
        let off = |cents: f32| 440.0 * (cents / 1_200.0).exp2();
        let mut alone = Tuning::new();
        alone.add(&spectrum(off(20.0), 1.0));
        // Many quiet peaks at -30 cents, fewer loud ones at 20 cents, and one each of the loudest elsewhere.
        for _ in 0..20 {
            tuning.add(&spectrum(off(-30.0), 0.1));
        }
        for _ in 0..18 {
            tuning.add(&spectrum(off(20.0), 1.0));
        }
        for cents in [-10.0, 0.0, 10.0] {
            tuning.add(&spectrum(off(cents), 2.0));
        }
        assert_eq!(tuning.cents(), alone.cents());
        assert!((alone.cents().unwrap() - 20.0).abs() < 10.0, "the parabola errs by some cents");
    }

    #[test]
    fn silence_and_slopes_have_no_peak() {
        let mut tuning = Tuning::new();
        tuning.add(&[0.0; 1_025]);
        tuning.add(&[1.0; 1_025]);
        let slope: Vec<f32> = (0..1_025).map(|bin| bin as f32).collect();
        tuning.add(&slope);
        assert_eq!(tuning.cents(), None);
    }

    #[test]
    fn memory_is_bounded_and_frames_stay_evenly_spread() {
        let mut tuning = Tuning::keeping(100);
        for frame in 0..10_000 {
            tuning.add(&spectrum(440.0, 1.0 + frame as f32));
            assert!(tuning.peaks.len() <= 100);
        }
        assert!(tuning.peaks.len() > 40 && tuning.stride == 128);
        let distances: Vec<f32> = tuning.peaks.windows(2).map(|pair| pair[1].height - pair[0].height).collect();
        assert!(distances.iter().all(|distance| (distance / distances[0] - 1.0).abs() < 0.01), "{distances:?}");
    }
}
