//! Where a curve has its peaks.

use std::ops::Range;

/// A peak is no smaller than this many frames before it and after it.
const BESIDE: usize = 1;
/// Frames before and after over which the mean is taken that a peak must exceed.
const AROUND: usize = 4;
/// Frames before when nothing later may be looked at.
const BEFORE: usize = 8;
/// Frames after a peak that cannot be one.
const WAIT: usize = 1;

/// Indices of the peaks of a whole curve: what exceeds the mean of the nine frames around it by the threshold, and no
/// neighbour exceeds.
pub(super) fn whole(curve: &[f32], threshold: f32) -> Vec<usize> {
    let mut peaks = Vec::new();
    let mut at = 0;
    while at < curve.len() {
        let within = |reach: usize| at.saturating_sub(reach)..curve.len().min(at + reach + 1);
        if is_peak(curve, at, within(BESIDE), within(AROUND), threshold) {
            peaks.push(at);
            at += WAIT;
        }
        at += 1;
    }
    peaks
}

fn is_peak(curve: &[f32], at: usize, near: Range<usize>, around: Range<usize>, threshold: f32) -> bool {
    let value = curve[at];
    let mean = curve[around.clone()].iter().sum::<f32>() / around.len() as f32;
    curve[near].iter().all(|other| *other <= value) && value >= mean + threshold
}

/// Finds peaks as frames come, without looking ahead.
pub(super) struct Running {
    threshold: f32,
    /// The last frames, the newest last.
    recent: Vec<f32>,
    /// Frames to pass over after a peak.
    wait: usize,
}

impl Running {
    /// `threshold` is what a peak must exceed the mean by, in the unit of the curve.
    pub(super) fn new(threshold: f32) -> Running {
        Running { threshold, recent: Vec::with_capacity(BEFORE + 2), wait: 0 }
    }

    /// Whether the next frame is a peak.
    pub(super) fn next(&mut self, value: f32) -> bool {
        if self.recent.len() > BEFORE {
            self.recent.remove(0);
        }
        self.recent.push(value);
        if self.wait > 0 {
            self.wait -= 1;
            return false;
        }
        let at = self.recent.len() - 1;
        let found = is_peak(&self.recent, at, at.saturating_sub(BESIDE)..at + 1, 0..at + 1, self.threshold);
        if found {
            self.wait = WAIT;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_without_change_has_no_peak() {
        assert!(whole(&[], 0.1).is_empty());
        assert!(whole(&[0.0; 50], 0.1).is_empty());
        assert!(whole(&[3.0; 50], 0.1).is_empty());
    }

    #[test]
    fn peaks_exceed_what_is_around_them_and_keep_their_distance() {
        let mut curve = [0.0; 40];
        (curve[0], curve[10], curve[12], curve[13], curve[30]) = (1.0, 0.5, 1.0, 0.9, 0.06);
        assert_eq!(whole(&curve, 0.07), [0, 10, 12]);
        let mut running = Running::new(0.07);
        let found: Vec<usize> = (0..curve.len()).filter(|at| running.next(curve[*at])).collect();
        assert_eq!(found, [10, 12]);
    }

    #[test]
    fn a_running_search_forgets() {
        let curve: Vec<f32> = (0..200).map(|n| ((n * 7919) % 101) as f32 / 20.0).collect();
        let peaks = |from: usize| {
            let mut running = Running::new(1.0);
            let found: Vec<usize> = (from..200).filter(|at| running.next(curve[*at])).collect();
            found.into_iter().filter(|at| *at >= 100).collect::<Vec<_>>()
        };
        assert!(!peaks(0).is_empty());
        assert_eq!(peaks(0), peaks(60));
    }
}
