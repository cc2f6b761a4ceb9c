//! The first half of probabilistic YIN: which pitches a frame may have, and how likely each is.

use super::yin::{LOWEST, PERIODS, frequency, troughs};

/// Pitches are told in tenths of a semitone.
pub(super) const PER_OCTAVE: f64 = 120.0;
/// Bins from C2 to C7, both included.
pub(super) const BINS: usize = 601;

const THRESHOLDS: usize = 100;
/// Of a Boltzmann distribution over the troughs below a threshold: shorter periods are more likely.
const DECAY: f64 = 2.0;
/// What of a threshold's probability the lowest trough gets when none is below the threshold.
const NO_TROUGH: f64 = 0.01;

/// Finds the candidates of frames.
pub(super) struct Candidates {
    /// Probability of each threshold: a beta distribution with parameters 2 and 18.
    thresholds: [f64; THRESHOLDS],
    /// exp(-DECAY k), for the k-th trough below a threshold.
    decay: [f64; PERIODS],
    troughs: Vec<Trough>,
    sorted: Vec<f64>,
    /// Bin and probability of each candidate.
    found: Vec<(usize, f64)>,
}

struct Trough {
    place: usize,
    height: f64,
    probability: f64,
}

impl Candidates {
    /// Makes the tables.
    pub(super) fn new() -> Candidates {
        // The distribution function of beta(2, 18).
        let cumulative = |x: f64| 1.0 - (1.0 - x).powi(18) * (1.0 + 18.0 * x);
        let thresholds = std::array::from_fn(|index| cumulative(threshold(index)) - cumulative(index as f64 * 0.01));
        Candidates {
            thresholds,
            decay: std::array::from_fn(|k| (-DECAY * k as f64).exp()),
            troughs: Vec::with_capacity(PERIODS),
            sorted: Vec::with_capacity(PERIODS),
            found: Vec::with_capacity(PERIODS),
        }
    }

    /// The candidates of a frame, each bin once, with their probabilities, whose sum is at most 1.
    pub(super) fn of(&mut self, normalized: &[f64; PERIODS]) -> &[(usize, f64)] {
        self.troughs.clear();
        self.troughs.extend(troughs(normalized).map(|place| Trough {
            place,
            height: normalized[place],
            probability: 0.0,
        }));
        self.found.clear();
        self.spread();
        for trough in self.troughs.iter().filter(|trough| trough.probability > 0.0) {
            let bin = (PER_OCTAVE * (frequency(normalized, trough.place) / LOWEST).log2()).round_ties_even().max(0.0);
            let bin = bin as usize;
            if bin >= BINS {
                continue;
            }
            // Of two troughs in one bin the one of the longer period counts.
            match self.found.iter_mut().find(|(other, _)| *other == bin) {
                Some((_, probability)) => *probability = trough.probability,
                None => self.found.push((bin, trough.probability)),
            }
        }
        &self.found
    }

    /// Gives each threshold's probability to the troughs below it, earlier ones first; the lowest trough gets a little of
    /// those that no trough is below.
    fn spread(&mut self) {
        let Some(lowest) =
            (0..self.troughs.len()).min_by(|&a, &b| self.troughs[a].height.total_cmp(&self.troughs[b].height))
        else {
            return;
        };
        self.sorted.clear();
        self.sorted.extend(self.troughs.iter().map(|trough| trough.height));
        self.sorted.sort_unstable_by(f64::total_cmp);
        let (mut count, mut mass, mut below_none) = (0, 0.0, 0.0);
        for index in 0..THRESHOLDS {
            let before = count;
            while self.sorted.get(count).is_some_and(|&height| height < threshold(index)) {
                count += 1;
            }
            if count > before {
                self.give(mass, before);
                mass = 0.0;
            }
            if count == 0 {
                below_none += self.thresholds[index];
            } else {
                mass += self.thresholds[index];
            }
        }
        self.give(mass, count);
        self.troughs[lowest].probability += NO_TROUGH * below_none;
    }

    /// Spreads probability over the `count` lowest troughs.
    fn give(&mut self, mass: f64, count: usize) {
        let Some(highest) = count.checked_sub(1).map(|last| self.sorted[last]) else {
            return;
        };
        let share = mass * (1.0 - self.decay[1]) / (1.0 - (-DECAY * count as f64).exp());
        let below = self.troughs.iter_mut().filter(|trough| trough.height <= highest);
        below.zip(&self.decay).for_each(|(trough, decay)| trough.probability += share * decay);
    }
}

/// Threshold `index`: 0.01 to 1.
fn threshold(index: usize) -> f64 {
    (index + 1) as f64 * 0.01
}

/// The frequency of a bin in Hz.
pub(super) fn bin_frequency(bin: usize) -> f64 {
    LOWEST * (bin as f64 / PER_OCTAVE).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_reach_from_c2_to_c7() {
        assert_eq!(bin_frequency(0), LOWEST);
        assert!((bin_frequency(BINS - 1) - 2_093.004_522_404_789).abs() < 1e-9);
    }
}
