//! The period of a song: the mean of local autocorrelations, under a prior (librosa's `feature.tempo`).

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use crate::algorithm::COMMON as SPEC;

/// Frames of a window, and lags: 8 s.
const WINDOW: usize = 344;
/// At least two windows, so that products do not wrap around.
const TRANSFORM: usize = 768;
/// The shortest period in frames: the slowest of 320 beats a minute and more is longer.
const SHORTEST: usize = 9;
/// The likeliest tempo before anything is heard, in beats a minute. Octaves from it are the standard deviations of the prior.
const START: f64 = 120.0;
/// What an autocorrelation is multiplied with before 1 is added and its logarithm taken.
const BEND: f64 = 1e6;

/// Beats a minute of a period in frames.
pub(super) fn of_period(period: usize) -> f64 {
    60.0 * f64::from(SPEC.rate) / (f64::from(SPEC.hop) * period as f64)
}

/// The likeliest period in frames; `None` if all strengths are 0.
pub(super) fn period(strengths: &[f32]) -> Option<usize> {
    if strengths.iter().all(|strength| *strength == 0.0) {
        return None;
    }
    let likeness = likeness(strengths);
    let score = |period: usize| {
        let octaves = (of_period(period) / START).log2();
        (BEND * likeness[period]).ln_1p() - 0.5 * octaves * octaves
    };
    (SHORTEST..WINDOW).reduce(|best, period| if score(period) > score(best) { period } else { best })
}

/// For each lag the mean of the autocorrelations around all frames, each over its sum for lag 0.
///
/// An autocorrelation is the transform of a power spectrum, so the spectra are added up, each over its energy, and the sum alone is
/// transformed back.
fn likeness(strengths: &[f32]) -> Vec<f64> {
    let mut planner = RealFftPlanner::<f64>::new();
    let (forward, backward) = (planner.plan_fft_forward(TRANSFORM), planner.plan_fft_inverse(TRANSFORM));
    let (mut windowed, mut spectrum) = (forward.make_input_vec(), forward.make_output_vec());
    let mut scratch = forward.make_scratch_vec();
    let mut powers = vec![Complex::new(0.0, 0.0); spectrum.len()];

    let angle = std::f64::consts::TAU / WINDOW as f64;
    let window: Vec<f64> = (0..WINDOW).map(|n| 0.5 - 0.5 * (angle * n as f64).cos()).collect();
    let around = extended(strengths);
    for around in around.windows(WINDOW).take(strengths.len()) {
        // The transform writes over its input.
        windowed.fill(0.0);
        let mut energy = 0.0;
        for (target, (strength, weight)) in windowed.iter_mut().zip(around.iter().zip(&window)) {
            *target = strength * weight;
            energy += *target * *target;
        }
        if energy < f64::MIN_POSITIVE {
            continue;
        }
        // Fails only for slices of wrong lengths; these come from the transform itself.
        let done = forward.process_with_scratch(&mut windowed, &mut spectrum, &mut scratch);
        debug_assert!(done.is_ok());
        let scale = 1.0 / energy;
        for (sum, bin) in powers.iter_mut().zip(&spectrum) {
            sum.re += scale * bin.norm_sqr();
        }
    }
    // The spectrum is real, as the inverse asks for.
    let done = backward.process(&mut powers, &mut windowed);
    debug_assert!(done.is_ok());
    let scale = 1.0 / (TRANSFORM as f64 * strengths.len() as f64);
    // Rounding leaves next to nothing where there is nothing, and less than that is no likeness.
    windowed[..WINDOW].iter().map(|product| (scale * product).max(0.0)).collect()
}

/// The strengths with half a window before and after them, in which they begin and end at 0 along straight lines.
fn extended(strengths: &[f32]) -> Vec<f64> {
    const HALF: usize = WINDOW / 2;
    let line = |end: f32, step: usize| f64::from(end) * step as f64 / HALF as f64;
    let (first, last) = (strengths.first().copied().unwrap_or(0.0), strengths.last().copied().unwrap_or(0.0));
    let mut found = Vec::with_capacity(strengths.len() + WINDOW);
    found.extend((0..HALF).map(|step| line(first, step)));
    found.extend(strengths.iter().map(|strength| f64::from(*strength)));
    found.extend((0..HALF).rev().map(|step| line(last, step)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, without transforms.
    fn expected(strengths: &[f32]) -> Vec<f64> {
        let angle = std::f64::consts::TAU / WINDOW as f64;
        let around = extended(strengths);
        let mut mean = vec![0.0; WINDOW];
        for frame in 0..strengths.len() {
            let windowed: Vec<f64> =
                (0..WINDOW).map(|n| around[frame + n] * (0.5 - 0.5 * (angle * n as f64).cos())).collect();
            let product = |lag: usize| windowed.iter().zip(&windowed[lag..]).map(|(a, b)| a * b).sum::<f64>();
            let energy = product(0);
            for (lag, mean) in mean.iter_mut().enumerate().filter(|_| energy > 0.0) {
                *mean += product(lag) / energy / strengths.len() as f64;
            }
        }
        mean
    }

    #[test]
    fn likeness_is_that_of_the_definition() {
        let strengths: Vec<f32> =
            (0..500_usize).map(|n| (n * n % 37) as f32 * if n > 300 { 0.0 } else { 0.1 }).collect();
        for length in [1, 4, 171, 173, 500] {
            let (found, expected) = (likeness(&strengths[..length]), expected(&strengths[..length]));
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12), "{length}");
        }
    }

    #[test]
    fn a_pulse_has_its_period_and_a_single_one_the_likeliest() {
        let pulse = |period: usize| (0..2_000).map(|n| f32::from(u8::from(n % period == 5))).collect::<Vec<f32>>();
        // 215 beats a minute are less likely than half as many.
        for (pulses, expected) in [(12, 24), (20, 20), (26, 26), (33, 33)] {
            assert_eq!(period(&pulse(pulses)), Some(expected));
        }
        assert_eq!(period(&pulse(5_000)), Some(22), "117 beats a minute are nearer to 120 than 123 are");
        assert_eq!(period(&[0.0; 100]), None);
        assert_eq!(period(&[]), None);
        assert!((of_period(22) - 117.453_84).abs() < 1e-4);
    }
}
