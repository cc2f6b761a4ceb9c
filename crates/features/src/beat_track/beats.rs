//! Beats by dynamic programming: D. Ellis, "Beat Tracking by Dynamic Programming", 2007, as librosa's `beat.beat_track` has it.

/// How much a distance between beats that is not the period costs.
const TIGHTNESS: f64 = 100.0;
/// The share of the highest score that the first beat must reach.
const FIRST: f64 = 0.01;

/// Frames of the beats that fit a period in frames (3 or more) best.
pub(super) fn track(strengths: &[f32], period: usize) -> Vec<usize> {
    let scores = scores(strengths, period);
    let (totals, before) = totals(&scores, period);
    let mut beats = Vec::new();
    let mut next = last_beat(&totals);
    while let Some(beat) = next {
        beats.push(beat);
        next = before[beat].map(|before| before as usize);
    }
    beats.reverse();
    trim(&mut beats, &scores);
    beats
}

/// Strengths over their standard deviation, smoothed over a sixteenth of the period or so.
fn scores(strengths: &[f32], period: usize) -> Vec<f64> {
    let scale = 1.0 / (deviation(strengths) + f64::from(f32::MIN_POSITIVE));
    let weights: Vec<f64> =
        (0..=period).map(|distance| (-0.5 * (32.0 * distance as f64 / period as f64).powi(2)).exp()).collect();
    let mut scores = vec![0.0; strengths.len()];
    // Most strengths are 0.
    for (at, strength) in strengths.iter().enumerate().filter(|(_, strength)| **strength > 0.0) {
        let strength = f64::from(*strength) * scale;
        let (first, end) = (at.saturating_sub(period), scores.len().min(at + period + 1));
        for (place, score) in scores[first..end].iter_mut().enumerate() {
            *score += strength * weights[(first + place).abs_diff(at)];
        }
    }
    scores
}

/// The standard deviation of a sample.
fn deviation(strengths: &[f32]) -> f64 {
    let mean = strengths.iter().map(|strength| f64::from(*strength)).sum::<f64>() / strengths.len().max(1) as f64;
    let squares: f64 = strengths.iter().map(|strength| (f64::from(*strength) - mean).powi(2)).sum();
    (squares / strengths.len().saturating_sub(1).max(1) as f64).sqrt()
}

/// For each frame the best total of beats that end there, and the beat before it.
fn totals(scores: &[f64], period: usize) -> (Vec<f64>, Vec<Option<u32>>) {
    let shortest = (period as f64 / 2.0).round_ties_even() as usize;
    let costs: Vec<f64> =
        (0..=2 * period).map(|distance| TIGHTNESS * ((distance as f64).ln() - (period as f64).ln()).powi(2)).collect();
    let enough = FIRST * scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut totals: Vec<f64> = Vec::with_capacity(scores.len());
    let mut before = Vec::with_capacity(scores.len());
    let mut has_begun = false;
    for (at, score) in scores.iter().enumerate() {
        let mut best: Option<(f64, usize)> = None;
        for distance in shortest..=(2 * period).min(at) {
            let total = totals[at - distance] - costs[distance];
            if best.is_none_or(|(most, _)| total > most) {
                best = Some((total, at - distance));
            }
        }
        totals.push(score + best.map_or(0.0, |(total, _)| total));
        has_begun |= *score >= enough;
        // A song of 20 minutes has fewer frames than 2^32.
        before.push(best.filter(|_| has_begun).map(|(_, beat)| beat as u32));
    }
    (totals, before)
}

/// The last local maximum that reaches half the median of all of them; the last frame if there is none.
fn last_beat(totals: &[f64]) -> Option<usize> {
    let is_maximum =
        |at: usize| at > 0 && totals[at] > totals[at - 1] && totals.get(at + 1).is_none_or(|next| totals[at] >= *next);
    let mut maxima: Vec<f64> = (0..totals.len()).filter(|at| is_maximum(*at)).map(|at| totals[at]).collect();
    maxima.sort_unstable_by(f64::total_cmp);
    let middle = maxima.len() / 2;
    let median = match maxima.len() {
        0 => 0.0,
        count if count % 2 == 0 => 0.5 * (maxima[middle - 1] + maxima[middle]),
        _ => maxima[middle],
    };
    let found = (0..totals.len()).rev().find(|at| is_maximum(*at) && totals[*at] >= 0.5 * median);
    found.or(totals.len().checked_sub(1))
}

/// Leaves out beats at the start and at the end at which little sounds.
fn trim(beats: &mut Vec<usize>, scores: &[f64]) {
    let at = |place: Option<usize>| place.and_then(|place| beats.get(place)).map_or(0.0, |beat| scores[*beat]);
    // The smoothing reaches two places beyond the last beat.
    let smooth =
        (0..beats.len() + 2).map(|place| 0.5 * at(place.checked_sub(1)) + at(Some(place)) + 0.5 * at(Some(place + 1)));
    let squares: f64 = smooth.map(|value| value * value).sum();
    let threshold = 0.5 * (squares / (beats.len() + 2) as f64).sqrt();
    let loud = |score: &f64| *score > threshold;
    match (scores.iter().position(loud), scores.iter().rposition(loud)) {
        (Some(first), Some(last)) => beats.retain(|beat| (first..=last).contains(beat)),
        _ => beats.clear(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_are_at_pulses_and_bridge_a_gap() {
        let mut strengths = vec![0.0; 600];
        (10..600).step_by(20).for_each(|at| strengths[at] = 1.0);
        strengths[190..260].fill(0.0);
        // From the first one the way back leads to the frame before it, at which it is too quiet: so too with librosa.
        let expected: Vec<usize> = (30..600).step_by(20).collect();
        assert_eq!(track(&strengths, 20), expected);
    }

    #[test]
    fn quiet_beats_at_both_ends_are_left_out() {
        let mut strengths = vec![0.0; 600];
        (10..600).step_by(20).for_each(|at| strengths[at] = if (100..500).contains(&at) { 1.0 } else { 0.05 });
        let expected: Vec<usize> = (110..500).step_by(20).collect();
        assert_eq!(track(&strengths, 20), expected);
    }

    #[test]
    fn beats_follow_a_tempo_that_changes() {
        let mut at = 30.0;
        let mut expected = Vec::new();
        for number in 0..40 {
            expected.push(at as usize);
            at += 20.0 + 0.1 * f64::from(number);
        }
        let mut strengths = vec![0.0; at as usize];
        expected.iter().for_each(|at| strengths[*at] = 1.0);
        assert_eq!(track(&strengths, 22), expected);
    }

    #[test]
    fn few_frames_have_the_beat_of_librosa() {
        for length in 0..40 {
            let mut strengths = vec![0.0; length];
            assert!(track(&strengths, 343).is_empty());
            if let Some(last) = strengths.last_mut() {
                *last = 1.0;
            }
            // What librosa 0.11.0 prints for 2 to 39 frames of which the last is 1.
            let expected = length.checked_sub(1).map(|last| if (12..19).contains(&length) { 10 } else { last });
            assert_eq!(track(&strengths, 22), Vec::from_iter(expected), "{length}");
        }
    }
}
