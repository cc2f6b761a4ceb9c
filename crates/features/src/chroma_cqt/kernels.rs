//! The filters of one octave: the same ones serve all, since each runs at the rate that fits it.

use antiphon_audio::vector::widest;

use crate::algorithm::COMMON as SPEC;
use crate::lanes::dot;

/// Filters in an octave.
pub(super) const PER_OCTAVE: usize = 36;
/// C7 in Hz, where the highest octave begins.
const LOWEST: f64 = 2_093.004_522_404_789;

/// Windowed cosines and sines. Windows have an even number of samples and lie about the middle between the centre and
/// the sample after it, as librosa's do; cosines and sines count from there, so that one half of each tells the other.
pub(super) struct Kernels {
    filters: Vec<Filter>,
    /// Samples on either side of the middle that the longest filter has.
    reach: usize,
}

/// Half a filter, from its middle on.
struct Filter {
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Kernels {
    pub(super) fn new() -> Kernels {
        let filters: Vec<Filter> = (0..PER_OCTAVE).map(filter).collect();
        let reach = filters.iter().map(|filter| filter.cosines.len()).max().unwrap_or(0);
        Kernels { filters, reach }
    }

    /// How many samples [`measure`](Self::measure) needs on either side of the middle.
    pub(super) fn reach(&self) -> usize {
        self.reach
    }

    /// The number of each filter and its magnitude, for the `2 * reach` samples about a middle.
    pub(super) fn measure(&self, window: Window<'_>, mut each: impl FnMut(usize, f32)) {
        widest(
            #[inline(always)]
            || {
                for (bin, filter) in self.filters.iter().enumerate() {
                    let real = dot(&filter.cosines, window.sums);
                    let imaginary = dot(&filter.sines, window.differences);
                    each(bin, (real * real + imaginary * imaginary).sqrt());
                }
            },
        );
    }
}

/// The samples about a middle, as sums and differences of those that lie equally far from it.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) sums: &'a [f32],
    pub(super) differences: &'a [f32],
}

/// Half a filter, weighted by the root of its length over the sum of its window.
fn filter(bin: usize) -> Filter {
    let rate = f64::from(SPEC.rate);
    let frequency = LOWEST * (bin as f64 / PER_OCTAVE as f64).exp2();
    let ratio = (2.0 / PER_OCTAVE as f64).exp2();
    let length = (ratio + 1.0) / (ratio - 1.0) * rate / frequency;
    let half = (length / 2.0).floor();
    // A periodic window of 2 half + 1 samples, of which the first is 0.
    let period = 2.0 * half + 1.0;
    let gain = length.sqrt() / (period / 2.0);
    let values = |part: fn(f64) -> f64| {
        (0..half as usize)
            .map(|place| {
                let time = place as f64 + 0.5;
                let window = 0.5 + 0.5 * (std::f64::consts::TAU * time / period).cos();
                (gain * window * part(std::f64::consts::TAU * frequency / rate * time)) as f32
            })
            .collect()
    };
    Filter { cosines: values(f64::cos), sines: values(f64::sin) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What librosa 0.11.0 says of its filters: the lengths that it prints are 547.2 and 278.9.
    #[test]
    fn lengths_fall_with_frequency() {
        let kernels = Kernels::new();
        let halves: Vec<usize> = kernels.filters.iter().map(|filter| filter.cosines.len()).collect();
        assert_eq!((halves[0], halves[PER_OCTAVE - 1], kernels.reach()), (273, 139, 273));
        assert!(halves.is_sorted_by(|a, b| a > b));
    }
}
