//! Periods that a song may have, and the beats that fit each of them best.

use crate::algorithm::COMMON as SPEC;

/// Frames a second.
pub(super) const FRAMES_PER_SECOND: f64 = SPEC.rate as f64 / SPEC.hop as f64;

/// Frames before and after over which the mean of a curve is taken: a second.
const AROUND: usize = 43;

/// Longest lag of an autocorrelation, in frames: eight of the longest period, 12 s.
const LONGEST_LAG: usize = 520;

/// Shortest and longest beat that is looked for, in seconds: 222 and 40 beats a minute.
const SHORTEST: f64 = 0.27;
const LONGEST: f64 = 1.5;

/// Shares of one, two, three and four periods in how salient a period is.
const SHARES: [f64; 4] = [1.0, 0.8, 0.6, 0.5];

/// Ratios by which a metre divides or joins beats.
const RATIOS: [f64; 6] = [2.0, 0.5, 3.0, 1.0 / 3.0, 1.5, 2.0 / 3.0];

/// Periods whose logarithms are nearer than this are one.
const SAME: f64 = 0.045;

/// What of a curve stands out from its mean over two seconds, in standard deviations of that.
pub(super) fn outstanding(curve: &[f32]) -> Vec<f32> {
    let mut sums = Vec::with_capacity(curve.len() + 1);
    let mut sum = 0.0;
    sums.push(sum);
    sums.extend(curve.iter().map(|value| {
        sum += f64::from(*value);
        sum
    }));
    let mean = |from: usize, to: usize| (sums[to] - sums[from]) / (to - from) as f64;
    let short = curve.len() < 2 * AROUND + 1;
    let mut found: Vec<f32> = (0..curve.len())
        .map(|at| {
            let (from, to) =
                if short { (0, curve.len()) } else { (at.saturating_sub(AROUND), curve.len().min(at + AROUND + 1)) };
            (f64::from(curve[at]) - mean(from, to)).max(0.0) as f32
        })
        .collect();
    let scale = 1.0 / (deviation(&found) + 1e-9);
    found.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
    found
}

pub(super) fn mean(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len().max(1) as f64
}

/// The standard deviation.
pub(super) fn deviation(values: &[f32]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum();
    (squares / values.len().max(1) as f64).sqrt()
}

/// How much a curve is like itself a lag later, for every lag in frames: 1 at lag 0.
pub(super) struct Likeness(Vec<f64>);

impl Likeness {
    pub(super) fn of(curve: &[f32]) -> Likeness {
        let mean = mean(curve);
        let centred: Vec<f64> = curve.iter().map(|value| f64::from(*value) - mean).collect();
        let mut products = vec![0.0; LONGEST_LAG + 1];
        for (lag, product) in products.iter_mut().enumerate().take(centred.len()) {
            *product = dot(&centred[..centred.len() - lag], &centred[lag..]) / (centred.len() - lag) as f64;
        }
        let scale = 1.0 / (products[0] + 1e-12);
        products.iter_mut().for_each(|product| *product *= scale);
        Likeness(products)
    }

    /// Between lags along a straight line; 0 beyond the longest.
    pub(super) fn at(&self, lag: f64) -> f64 {
        let (whole, rest) = (lag.floor() as usize, lag.fract());
        match self.0.get(whole..whole + 2) {
            Some(pair) => pair[0] * (1.0 - rest) + pair[1] * rest,
            None => 0.0,
        }
    }
}

/// Eight sums side by side, in a fixed order.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

/// A period in frames, and how salient it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Period {
    pub(super) frames: f64,
    pub(super) salience: f64,
}

/// Up to twelve periods, the most salient first: peaks of the salience, and what the metre may make of the best three.
pub(super) fn periods(likeness: &Likeness) -> Vec<Period> {
    // From 0.25 to 2.2 s in steps of 1 %.
    let grid: Vec<Period> = (0..218)
        .map(|step| {
            let frames = 0.25 * (0.01 * f64::from(step)).exp() * FRAMES_PER_SECOND;
            let multiples = SHARES.iter().zip(1..).map(|(share, times)| share * likeness.at(frames * f64::from(times)));
            Period { frames, salience: multiples.sum::<f64>() / SHARES.iter().sum::<f64>() }
        })
        .collect();
    let allowed = |frames: f64| (SHORTEST..=LONGEST).contains(&(frames / FRAMES_PER_SECOND));
    let by_salience = |a: &Period, b: &Period| b.salience.total_cmp(&a.salience);
    let mut peaks: Vec<Period> = grid
        .windows(3)
        .filter(|near| near[1].salience >= near[0].salience && near[1].salience > near[2].salience)
        .map(|near| near[1])
        .filter(|period| allowed(period.frames))
        .collect();
    peaks.sort_by(by_salience);
    peaks.truncate(7);
    let related: Vec<Period> = peaks
        .iter()
        .take(3)
        .flat_map(|period| RATIOS.map(|ratio| period.frames * ratio))
        .filter(|frames| allowed(*frames))
        .filter_map(|frames| {
            let near = grid.iter().filter(|other| (other.frames / frames).ln().abs() < SAME);
            near.copied().reduce(|best, other| if other.salience > best.salience { other } else { best })
        })
        .collect();
    peaks.extend(related);
    peaks.sort_by(by_salience);
    let mut found: Vec<Period> = Vec::new();
    for period in peaks {
        if found.iter().all(|other| (other.frames / period.frames).ln().abs() > SAME) {
            found.push(period);
        }
    }
    found.truncate(12);
    found
}

/// Frames of the beats that fit a period best (D. Ellis, "Beat Tracking by Dynamic Programming", 2007): they maximise the sum
/// of the curve at beats, less what each distance between beats deviates by: a tightness times its squared logarithm,
/// relative to the period. Here it is 100: beats find their way to a tempo that is not quite the period.
pub(super) fn loose_beats(curve: &[f32], period: f64) -> Vec<usize> {
    fit(curve, &vec![period as f32; curve.len()], 100.0)
}

/// Beats that follow a tempo that changes: their period is that of the eight loose beats around; the tightness is 200.
pub(super) fn swaying_beats(curve: &[f32], loose: &[usize]) -> Vec<usize> {
    fit(curve, &local_periods(loose, curve.len()), 200.0)
}

/// Beats of one tempo, the usual one of loose beats, which hardly leave it: the tightness is 1,000.
pub(super) fn steady_beats(curve: &[f32], loose: &[usize], period: f64) -> Vec<usize> {
    let usual = if loose.len() > 16 {
        super::evidence::median(loose.iter().zip(&loose[8..]).map(|(from, to)| (to - from) as f64 / 8.0).collect())
    } else {
        period
    };
    fit(curve, &vec![usual as f32; curve.len()], 1_000.0)
}

fn fit(curve: &[f32], periods: &[f32], tightness: f64) -> Vec<usize> {
    let Some(longest) = periods.iter().copied().reduce(f32::max) else {
        return Vec::new();
    };
    let logarithms: Vec<f64> = (0..=(2.0 * longest).round() as usize).map(|lag| (lag as f64).ln()).collect();
    let mut totals: Vec<f64> = Vec::with_capacity(curve.len());
    let mut before: Vec<Option<u32>> = Vec::with_capacity(curve.len());
    for (at, (&value, &period)) in curve.iter().zip(periods).enumerate() {
        let shortest = ((period * 0.5).round() as usize).max(1);
        let longest = (period * 2.0).round() as usize;
        let expected = f64::from(period).ln();
        let mut best = (f64::NEG_INFINITY, None);
        for lag in shortest..=longest.min(at) {
            let deviation = logarithms[lag] - expected;
            let total = totals[at - lag] - tightness * deviation * deviation;
            if total > best.0 {
                // A song has fewer frames than 2^32: it is at most two hours long.
                best = (total, Some((at - lag) as u32));
            }
        }
        // Near the start a beat may be the first.
        let joins = best.1.is_some() && (best.0 > 0.0 || at > longest);
        totals.push(f64::from(value) + if joins { best.0 } else { 0.0 });
        before.push(best.1.filter(|_| joins));
    }
    let last_period = periods[periods.len() - 1].round() as usize;
    let tail = curve.len().saturating_sub(last_period + 1)..curve.len();
    let mut next = tail.reduce(|best, at| if totals[at] > totals[best] { at } else { best });
    let mut found = Vec::new();
    while let Some(at) = next {
        found.push(at);
        next = before[at].map(|before| before as usize);
    }
    found.reverse();
    found
}

/// The mean distance of the eight beats around each frame; along straight lines between beats.
fn local_periods(beats: &[usize], frames: usize) -> Vec<f32> {
    let last = beats.len() - 1;
    let distance = |beat: usize| {
        let (from, to) = (beat.saturating_sub(4), last.min(beat + 4));
        (beats[to] - beats[from]) as f64 / (to - from) as f64
    };
    let mut found = Vec::with_capacity(frames);
    let mut beat = 0;
    for at in 0..frames {
        while beat < last && beats[beat + 1] <= at {
            beat += 1;
        }
        let value = if at <= beats[beat] || beat == last {
            distance(beat)
        } else {
            let share = (at - beats[beat]) as f64 / (beats[beat + 1] - beats[beat]) as f64;
            distance(beat) * (1.0 - share) + distance(beat + 1) * share
        };
        found.push(value as f32);
    }
    found
}
