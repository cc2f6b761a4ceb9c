//! Which of several periods is the beat, and which of its two phases: halving, doubling and off-beats are told apart here.

use super::curves::Curves;
use super::pulse::{self, FRAMES_PER_SECOND, Likeness, Period};

/// What makes a beat likely, for each of [`evidence`]: the weights of a softmax over all candidates of a song. They were fitted
/// to the half for tuning of the pieces that `evaluation/` renders, and to faster performances of its scores with more
/// drums, so as to expect the largest mean of beat F and tempo Accuracy 1; the penalty on the sum of squares of weights (of
/// standardised evidence) is 3, chosen by cross-validation over scores.
#[rustfmt::skip]
const WEIGHTS: [f64; 60] = [
    -0.0864, -1.5738, -0.8346, 1.8879, -0.8805, 0.2330, -0.0411, -0.0155, -0.0700, -0.6048,
    -0.2101, 0.3145, -0.4575, -0.1912, 0.0680, 0.2469, 0.1477, 0.3224, -0.0206, -0.1212,
    0.3121, -0.6930, -0.3204, 0.1789, -0.0015, 0.1290, 0.1359, -0.4179, -0.2774, 2.6770,
    -2.2261, -4.0370, -2.3520, 1.1134, 0.1337, 3.4233, 1.9054, 1.5367, 0.0864, 1.5067,
    1.2962, -0.8643, -0.3093, -3.1735, 1.5541, -0.0736, 0.4270, 2.1442, -1.2592, 1.0773,
    -1.0448, 1.5394, 0.9057, 0.5964, -0.0667, -0.3555, -8.9600, -1.1057, -2.1348, -0.3191,
];

/// Added before logarithms, so that nothing counts as a tenth of a standard deviation.
const LEAST: f64 = 0.1;

/// Beats that could be those of a song.
pub(super) struct Candidate {
    /// Places in frames.
    pub(super) beats: Vec<f64>,
    /// Beats a minute.
    pub(super) tempo: f64,
    /// 0 to 1; all candidates together have 1.
    pub(super) probability: f64,
}

/// What candidates are judged by.
struct Signals {
    /// Rises of all ranges, of three ranges, and changes of harmony, with how far around a beat they are looked for.
    curves: [(Vec<f32>, usize); 5],
    /// Of the curve that beats are found in, of the lowest range, of the changes of harmony.
    likenesses: [Likeness; 3],
}

/// All candidates of a song, the likeliest first, and how salient its most salient period is; none without a period.
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
        let beats: Vec<f64> = pulse::beats(&curve, period.frames).into_iter().map(|beat| beat as f64).collect();
        if beats.len() < 5 {
            continue;
        }
        let between: Vec<f64> = beats.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
        for (phase, beats) in [beats, between].into_iter().enumerate() {
            let share = Period { salience: period.salience / salience, ..*period };
            let probability = score(&evidence(&signals, share, phase, &beats));
            found.push(Candidate { tempo: tempo(&beats, period.frames), beats, probability });
        }
    }
    share_probability(&mut found);
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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}

fn score(evidence: &[f64; 60]) -> f64 {
    evidence.iter().zip(WEIGHTS).map(|(value, weight)| value * weight).sum()
}

/// Turns scores into probabilities, and sorts by them.
fn share_probability(found: &mut [Candidate]) {
    let best = found.iter().map(|candidate| candidate.probability).fold(f64::NEG_INFINITY, f64::max);
    found.iter_mut().for_each(|candidate| candidate.probability = (candidate.probability - best).exp());
    let total: f64 = found.iter().map(|candidate| candidate.probability).sum();
    found.iter_mut().for_each(|candidate| candidate.probability /= total);
    found.sort_by(|a, b| b.probability.total_cmp(&a.probability));
}

/// Sixty numbers about a candidate: its period, its share of the largest salience and its phase; for each curve, what is at
/// beats, half-way, at thirds and quarters, and how much every second or third beat differs; likenesses at multiples and fractions of the period; how
/// even the beats are; and products of the period with some of these.
fn evidence(signals: &Signals, period: Period, phase: usize, beats: &[f64]) -> [f64; 60] {
    let distances: Vec<f64> = beats.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let between = |shares: &[f64]| -> Vec<f64> {
        let at = |share: &f64| beats.iter().zip(&distances).map(|(beat, distance)| beat + distance * share).collect();
        shares.iter().flat_map(|share| -> Vec<f64> { at(share) }).collect()
    };
    let places = [between(&[0.5]), between(&[1.0 / 3.0, 2.0 / 3.0]), between(&[0.25, 0.75])];
    // Octaves from a beat of 0.55 s.
    let octaves = (period.frames / FRAMES_PER_SECOND / 0.55).log2();
    let mut found = [0.0; 60];
    let mut values = found.iter_mut();
    let mut add = |value: f64| {
        if let Some(place) = values.next() {
            *place = value;
        }
    };
    [octaves, octaves.powi(2), octaves.abs().powi(3), period.salience, phase as f64].into_iter().for_each(&mut add);
    for (curve, reach) in &signals.curves {
        let on = largest_near(curve, beats, *reach);
        add(logarithm(mean(on.iter())));
        places.iter().for_each(|places| add(logarithm(mean(largest_near(curve, places, *reach).iter()))));
        let every = |count: usize, first: usize| logarithm(mean(on.iter().skip(first).step_by(count)));
        add((every(2, 0) - every(2, 1)).abs());
        let mut thirds = [every(3, 0), every(3, 1), every(3, 2)];
        thirds.sort_by(f64::total_cmp);
        add(thirds[2] - thirds[1]);
    }
    for likeness in &signals.likenesses {
        [0.5, 1.0 / 3.0, 1.0, 2.0, 3.0, 4.0, 1.5].iter().for_each(|times| add(likeness.at(period.frames * times)));
    }
    let usual = median(distances.clone());
    let average = mean_of(&distances);
    let spread = distances.iter().map(|distance| (distance - average).powi(2)).sum::<f64>() / distances.len() as f64;
    add(spread.sqrt() / usual);
    let likeness = &signals.likenesses[0];
    add(octaves * likeness.at(period.frames));
    add(octaves * likeness.at(period.frames / 2.0));
    add(octaves * period.salience);
    found
}

/// The largest value of a curve within some frames of each place.
fn largest_near(curve: &[f32], places: &[f64], reach: usize) -> Vec<f64> {
    let last = curve.len() - 1;
    let near = |place: &f64| {
        // Places lie between the first beat and the last, so within the curve.
        let at = (place.round_ties_even() as usize).min(last);
        f64::from(curve[at.saturating_sub(reach)..=last.min(at + reach)].iter().copied().fold(0.0, f32::max))
    };
    places.iter().map(near).collect()
}

fn mean<'a>(values: impl ExactSizeIterator<Item = &'a f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

fn mean_of(values: &[f64]) -> f64 {
    mean(values.iter())
}

fn logarithm(value: f64) -> f64 {
    (value + LEAST).ln()
}
