//! Spectral contrast: D. Jiang et al., "Music type classification by spectral contrast feature", ICME 2002, with the
//! bands and shares of librosa.

use antiphon_audio::vector::{side_by_side, widest};

use super::{BINS, HZ_PER_BIN};
use crate::lanes::larger;

/// The lowest band and six octaves above it.
pub(super) const BANDS: usize = 7;
/// Upper end of the lowest band in Hz.
const LOWEST: f32 = 200.0;
/// The share of bins that counts as peaks, and as valleys.
const SHARE: f64 = 0.02;
/// The least mean magnitude that counts, 114 dB below the 512 of a full-scale sine. What lies lower is what resampling
/// leaves.
const FLOOR: f32 = 1e-3;
/// The most bins that are peaks of one band, a bound that the test checks; and lanes, of which each has its own extreme.
const MOST: usize = 16;

/// Measures contrasts.
pub(super) struct Contrast {
    bands: [Band; BANDS],
}

/// The bins of a band, and how many of them count as peaks and as valleys.
#[derive(Clone, Debug, PartialEq)]
struct Band {
    bins: std::ops::Range<usize>,
    count: usize,
}

impl Contrast {
    pub(super) fn new() -> Contrast {
        Contrast { bands: std::array::from_fn(band) }
    }

    /// Peaks over valleys of each band in dB.
    pub(super) fn measure(&self, magnitudes: &[f32], contrasts: &mut [f32]) {
        widest(
            #[inline(always)]
            || {
                for (band, contrast) in self.bands.iter().zip(contrasts) {
                    let (valley, peak) = extremes(&magnitudes[band.bins.clone()], band.count);
                    *contrast = 10.0 * (peak.max(FLOOR).log10() - valley.max(FLOOR).log10());
                }
            },
        );
    }
}

/// Both ends of an octave belong to it, and the last bin of the octave below; the last bin of all is then left out of
/// every band but the highest, which reaches to the end. It still counts when the share is taken.
fn band(number: usize) -> Band {
    let low = if number == 0 { 0.0 } else { LOWEST * (1 << (number - 1)) as f32 };
    let high = LOWEST * (1 << number) as f32;
    let inside = |bin: &usize| (low..=high).contains(&(*bin as f32 * HZ_PER_BIN));
    let first = (0..BINS).find(inside).unwrap_or(0);
    let first = if number == 0 { first } else { first - 1 };
    let end = if number == BANDS - 1 { BINS } else { (0..BINS).rfind(inside).map_or(BINS, |last| last + 1) };
    let count = ((SHARE * (end - first) as f64).round_ties_even() as usize).clamp(1, MOST);
    Band { bins: first..if number == BANDS - 1 { end } else { end - 1 }, count }
}

/// The means of the `count` smallest and of the `count` largest values.
#[inline(always)]
fn extremes(values: &[f32], count: usize) -> (f32, f32) {
    (-mean_of_largest::<true>(values, count), mean_of_largest::<false>(values, count))
}

/// The mean of the `count` largest values, or of the negatives of the smallest.
///
/// Of the largest values of 16 lanes, `count` reach the `count`-th of them; whatever lies below that is none of the
/// `count` largest of all. Few others lie above it, whether the values rise or fall, so hardly any has to be put in order.
#[inline(always)]
fn mean_of_largest<const NEGATIVE: bool>(values: &[f32], count: usize) -> f32 {
    let signed = |value: f32| if NEGATIVE { -value } else { value };
    let (chunks, rest) = values.as_chunks::<MOST>();
    let mut lanes = [f32::NEG_INFINITY; MOST];
    for chunk in chunks {
        for lane in 0..MOST {
            lanes[lane] = larger(signed(chunk[lane]), lanes[lane]);
        }
    }
    let mut lanes = side_by_side(lanes);
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = larger(signed(*value), *lane);
    }
    if count == 1 {
        return lanes.into_iter().fold(f32::NEG_INFINITY, larger);
    }
    let least = nth_largest(&lanes, count);
    let mut largest = [f32::NEG_INFINITY; MOST];
    let largest = &mut largest[..count];
    let mut above = 0;
    let mut offer = |values: &[f32]| {
        for value in values.iter().map(|value| signed(*value)) {
            if value > least {
                above += 1;
                if value > largest[count - 1] {
                    insert(largest, value);
                }
            }
        }
    };
    for chunk in chunks {
        // Without branches, so that a chunk is compared as one.
        let reaches = chunk.iter().fold(false, |reaches, value| reaches | (signed(*value) > least));
        if reaches {
            offer(chunk);
        }
    }
    offer(rest);
    // What is not above it is equal to it.
    largest[above.min(count)..].fill(least);
    largest.iter().sum::<f32>() / count as f32
}

/// The n-th largest of some values: the smallest that less than n others exceed. Without branches, since values of a
/// spectrum come in no order that a processor could guess.
#[inline(always)]
fn nth_largest(values: &[f32; MOST], n: usize) -> f32 {
    let mut exceeded = [0_i32; MOST];
    for &other in values {
        for lane in 0..MOST {
            exceeded[lane] += i32::from(other > values[lane]);
        }
    }
    let exceeded = side_by_side(exceeded);
    let mut smallest = f32::INFINITY;
    for (value, exceeded) in values.iter().zip(exceeded) {
        smallest = if exceeded < n as i32 && *value < smallest { *value } else { smallest };
    }
    smallest
}

/// Puts a value into its place in a falling list, whose last falls out.
#[inline(always)]
fn insert(list: &mut [f32], value: f32) {
    let mut place = list.len() - 1;
    while place > 0 && value > list[place - 1] {
        list[place] = list[place - 1];
        place -= 1;
    }
    list[place] = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_librosas() {
        let bands: Vec<_> = (0..BANDS).map(band).map(|band| (band.bins.start, band.bins.end, band.count)).collect();
        // Printed by librosa 0.11.0 for sr=22050, n_fft=2048.
        let expected =
            [(0, 18, 1), (18, 37, 1), (37, 74, 1), (74, 148, 2), (148, 297, 3), (297, 594, 6), (594, 1_025, 9)];
        assert_eq!(bands, expected);
    }

    #[test]
    fn extremes_are_those_of_a_sorted_list() {
        for length in [18, 75, 431] {
            // In no order, and falling with repeated values, as spectra do.
            let scattered = (0..length).map(|n| (n * 7_919 % 1_009) as f32).collect();
            let falling = (0..length).map(|n| ((length - n) / 3) as f32).collect();
            for values in [scattered, falling] {
                let values: Vec<f32> = values;
                let mut sorted = values.clone();
                sorted.sort_by(f32::total_cmp);
                for count in 1..=MOST {
                    let mean = |values: &[f32]| values.iter().sum::<f32>() / count as f32;
                    let expected = (mean(&sorted[..count]), mean(&sorted[length - count..]));
                    assert_eq!(extremes(&values, count), expected, "whole numbers are exact");
                }
            }
        }
    }
}
