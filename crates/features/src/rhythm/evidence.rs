//! What speaks for beats, and what against them, in numbers.

use super::pulse::{FRAMES_PER_SECOND, Likeness, Period};

/// Numbers of a candidate: [`evidence`].
pub(super) const NUMBERS: usize = 121;

/// A beat of this many seconds is none of octaves away from the middle of tempos.
const MIDDLE: f64 = 0.55;

/// Shares and multiples of a period at which likenesses are looked at.
const MULTIPLES: [f64; 13] = [0.25, 1.0 / 3.0, 0.5, 2.0 / 3.0, 0.75, 1.0, 4.0 / 3.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0];

/// Added before logarithms, so that nothing counts as a tenth of a standard deviation.
const LEAST: f64 = 0.1;

/// What candidates are judged by.
pub(super) struct Signals {
    /// Rises of all ranges, of three ranges, and changes of harmony, with how far around a beat they are looked for.
    pub(super) curves: [(Vec<f32>, usize); 5],
    /// Of the curve that beats are found in, of the lowest range, of the changes of harmony.
    pub(super) likenesses: [Likeness; 3],
}

/// How the beats of a candidate were found, as numbers.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// 1 for beats of one tempo, 0 for those that follow a swaying one.
    pub(super) steady: f64,
    /// 1 for the middles between beats that were found, 0 for these.
    pub(super) phase: f64,
}

/// Numbers about a candidate, in this order: octaves of its period from the middle, their square and cube; its share of the largest
/// salience, its phase, how uneven its beats are; for each curve, what is at beats, half-way, at thirds and quarters, and how much every
/// second or third beat differs; whether every second beat is strong in one range and weak in another; likenesses at multiples and
/// shares of the period; products of octaves with the salience and these; and of
/// which kind it is.
pub(super) fn evidence(signals: &Signals, period: Period, kind: Kind, beats: &[f64]) -> [f64; NUMBERS] {
    let distances: Vec<f64> = beats.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let octaves = (period.frames / FRAMES_PER_SECOND / MIDDLE).log2();
    let mut found = Numbers { values: [0.0; NUMBERS], count: 0 };
    found.extend([octaves, octaves.powi(2), octaves.abs().powi(3)]);
    found.extend([period.salience, kind.phase, unevenness(&distances)]);
    let (at_curves, seconds) = at_curves(&signals.curves, beats, &distances);
    found.extend(at_curves.into_iter().flatten());
    let [_, low, middle, high, changes] = seconds;
    found.extend([-low * middle, -low * high, -middle * high, low * changes]);
    let likenesses =
        signals.likenesses.each_ref().map(|likeness| MULTIPLES.map(|times| likeness.at(period.frames * times)));
    found.extend(likenesses.into_iter().flatten());
    found.extend([octaves * period.salience]);
    found.extend(likenesses.into_iter().flatten().map(|value| octaves * value));
    found.extend([kind.steady, kind.steady * kind.phase]);
    found.values
}

/// Numbers in the order in which they were added.
struct Numbers {
    values: [f64; NUMBERS],
    count: usize,
}

impl Numbers {
    fn extend(&mut self, values: impl IntoIterator<Item = f64>) {
        for (place, value) in self.values[self.count..].iter_mut().zip(values) {
            *place = value;
            self.count += 1;
        }
    }
}

/// The standard deviation of distances, as a share of the usual one.
fn unevenness(distances: &[f64]) -> f64 {
    let average = mean(distances.iter());
    let squares: f64 = distances.iter().map(|distance| (distance - average).powi(2)).sum();
    (squares / distances.len() as f64).sqrt() / median(distances.to_vec())
}

/// Six numbers of each curve, and by how much every second beat exceeds the others in it, as a logarithm.
fn at_curves(curves: &[(Vec<f32>, usize); 5], beats: &[f64], distances: &[f64]) -> ([[f64; 6]; 5], [f64; 5]) {
    let between = |shares: &[f64]| -> Vec<f64> {
        let at = |share: &f64| beats.iter().zip(distances).map(|(beat, distance)| beat + distance * share).collect();
        shares.iter().flat_map(|share| -> Vec<f64> { at(share) }).collect()
    };
    let places = [between(&[0.5]), between(&[1.0 / 3.0, 2.0 / 3.0]), between(&[0.25, 0.75])];
    let mut seconds = [0.0; 5];
    let mut found = [[0.0; 6]; 5];
    for (((curve, reach), found), second) in curves.iter().zip(&mut found).zip(&mut seconds) {
        let on = largest_near(curve, beats, *reach);
        let every = |count: usize, first: usize| logarithm(mean(on.iter().skip(first).step_by(count)));
        let [half, third, quarter] = places.each_ref().map(|places| {
            let near = largest_near(curve, places, *reach);
            logarithm(mean(near.iter()))
        });
        *second = every(2, 0) - every(2, 1);
        let mut thirds: [f64; 3] = std::array::from_fn(|first| every(3, first));
        thirds.sort_by(f64::total_cmp);
        *found = [logarithm(mean(on.iter())), half, third, quarter, second.abs(), thirds[2] - thirds[1]];
    }
    (found, seconds)
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

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}

fn logarithm(value: f64) -> f64 {
    (value + LEAST).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pulse every 20 frames, twice as strong every second time.
    #[test]
    fn every_number_has_its_place() {
        let pulses: Vec<f32> = (0..2_000).map(|at| [2.0, 1.0][at / 20 % 2] * f32::from(at % 20 == 0)).collect();
        let signals = Signals {
            curves: std::array::from_fn(|_| (pulses.clone(), 1)),
            likenesses: std::array::from_fn(|_| Likeness::of(&pulses)),
        };
        let beats: Vec<f64> = (0..100).map(|beat| f64::from(beat) * 20.0).collect();
        let found =
            evidence(&signals, Period { frames: 20.0, salience: 0.5 }, Kind { steady: 1.0, phase: 1.0 }, &beats);
        let octaves = found[0];
        assert!((octaves - (20.0 / FRAMES_PER_SECOND / MIDDLE).log2()).abs() < 1e-12);
        assert_eq!(found[3..6], [0.5, 1.0, 0.0]);
        for curve in found[6..36].as_chunks::<6>().0 {
            let differs = 2.1_f64.ln() - 1.1_f64.ln();
            let expected = [1.6_f64.ln(), LEAST.ln(), LEAST.ln(), LEAST.ln(), differs, 0.0];
            for (number, expected) in curve.iter().zip(expected) {
                assert!((number - expected).abs() < 0.02, "{curve:?}");
            }
        }
        assert!(found[36..39].iter().all(|product| *product < -0.4) && found[39] > 0.4, "{:?}", &found[36..40]);
        let likeness = &found[40..53];
        assert!(likeness[8] > 0.99 && likeness[5] < likeness[8] && likeness[2] < 0.0, "{likeness:?}");
        assert_eq!(found[79], octaves * 0.5);
        assert_eq!(found[80], octaves * found[40]);
        assert_eq!(found[118], octaves * found[78]);
        assert_eq!(found[119..], [1.0, 1.0]);
    }
}
