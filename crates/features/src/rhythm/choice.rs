//! Which of several periods is the beat, and which of its two phases: halving, doubling and off-beats are told apart here.

use super::curves::Curves;
use super::evidence::{Kind, Signals, evidence, median};
use super::pulse::{self, FRAMES_PER_SECOND, Likeness, Period};
use super::weights::WEIGHTS;

/// Candidates have the same tempo if one is off the other by no more than this share.
pub(super) const SAME_TEMPO: f64 = 0.04;

/// Fewer beats make no tempo.
const LEAST_BEATS: usize = 5;

/// Beats that could be those of a song.
pub(super) struct Candidate {
    /// Places in frames.
    pub(super) beats: Vec<f64>,
    /// Beats a minute.
    pub(super) tempo: f64,
    /// 0 to 1; all candidates together have 1.
    pub(super) probability: f64,
}

/// All candidates of a song, the best first, and how salient its most salient period is; none without a period.
pub(super) fn candidates(curves: &Curves) -> (Vec<Candidate>, f64) {
    let rises: [Vec<f32>; 4] = std::array::from_fn(|range| pulse::outstanding(&curves.rises[range]));
    let scale = 1.0 / (pulse::deviation(&curves.changes) + 1e-9);
    let frames = 0..curves.len();
    let all = |weights: [f32; 4], change: f64| -> Vec<f32> {
        let sum = |at: usize| {
            let rise: f32 = rises.iter().zip(weights).map(|(rise, weight)| weight * rise[at]).sum();
            rise + (change * scale * f64::from(curves.changes[at])) as f32
        };
        pulse::outstanding(&frames.clone().map(sum).collect::<Vec<f32>>())
    };
    // Bass and changes of harmony say more of where beats are than what goes on above them.
    let curve = all([3.0, 1.0, 1.0, 1.0], 2.0);
    let likeness = Likeness::of(&curve);
    let periods = pulse::periods(&likeness);
    let salience = periods.first().map_or(0.0, |period| period.salience);
    if salience <= 0.0 {
        return (Vec::new(), 0.0);
    }
    let mean = 1.0 / (pulse::mean(&curves.changes) + 1e-9);
    let changes = curves.changes.iter().map(|change| (f64::from(*change) * mean) as f32).collect();
    let likenesses = [likeness, Likeness::of(&rises[0]), Likeness::of(&curves.changes)];
    let together = all([1.0; 4], 0.0);
    let [low, middle, _, high] = rises;
    let curves = [(together, 1), (low, 1), (middle, 1), (high, 1), (changes, 2)];
    let signals = Signals { curves, likenesses };

    let mut found = Vec::new();
    for period in &periods {
        let loose = pulse::loose_beats(&curve, period.frames);
        if loose.len() < LEAST_BEATS {
            continue;
        }
        let swaying = pulse::swaying_beats(&curve, &loose);
        let steady = pulse::steady_beats(&signals.curves[0].0, &loose, period.frames);
        for (number, beats) in [swaying, steady].into_iter().enumerate() {
            if beats.len() < LEAST_BEATS {
                continue;
            }
            let beats: Vec<f64> = beats.into_iter().map(|beat| beat as f64).collect();
            let between: Vec<f64> = beats.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
            for (phase, beats) in [beats, between].into_iter().enumerate() {
                let share = Period { salience: period.salience / salience, ..*period };
                let kind = Kind { steady: number as f64, phase: phase as f64 };
                let numbers = evidence(&signals, share, kind, &beats);
                let probability = numbers.iter().zip(WEIGHTS).map(|(number, weight)| number * weight).sum();
                found.push(Candidate { tempo: tempo(&beats, period.frames), beats, probability });
            }
        }
    }
    share_probability(&mut found);
    put_best_first(&mut found);
    (found, salience)
}

/// Beats a minute: the median of distances of four beats, or the period if there are few.
fn tempo(beats: &[f64], period: f64) -> f64 {
    let distance = if beats.len() > 8 {
        median(beats.iter().zip(&beats[4..]).map(|(from, to)| (to - from) / 4.0).collect())
    } else {
        period
    };
    60.0 * FRAMES_PER_SECOND / distance
}

/// Turns scores into probabilities, and sorts by them.
fn share_probability(found: &mut [Candidate]) {
    let best = found.iter().map(|candidate| candidate.probability).fold(f64::NEG_INFINITY, f64::max);
    found.iter_mut().for_each(|candidate| candidate.probability = (candidate.probability - best).exp());
    let total: f64 = found.iter().map(|candidate| candidate.probability).sum();
    found.iter_mut().for_each(|candidate| candidate.probability /= total);
    found.sort_by(|a, b| b.probability.total_cmp(&a.probability));
}

/// Puts the candidate first that is best chosen: beats and tempo are to be right, so its probability counts once, and once that of its
/// tempo, in both phases and of whichever period.
fn put_best_first(found: &mut [Candidate]) {
    let worth = |candidate: &Candidate| {
        let is_same = |other: &&Candidate| (other.tempo / candidate.tempo - 1.0).abs() <= SAME_TEMPO;
        candidate.probability + found.iter().filter(is_same).map(|other| other.probability).sum::<f64>()
    };
    let worths: Vec<f64> = found.iter().map(worth).collect();
    let best = (0..worths.len()).reduce(|best, other| if worths[other] > worths[best] { other } else { best });
    if let Some(best) = best {
        found[..=best].rotate_right(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_phases_of_a_tempo_count_together() {
        let candidate = |tempo: f64, probability: f64| Candidate { beats: Vec::new(), tempo, probability };
        let mut found = vec![candidate(100.0, 0.4), candidate(50.0, 0.35), candidate(50.5, 0.25)];
        put_best_first(&mut found);
        assert_eq!(found.iter().map(|candidate| candidate.tempo).collect::<Vec<_>>(), [50.0, 100.0, 50.5]);
        put_best_first(&mut Vec::new());
    }
}
