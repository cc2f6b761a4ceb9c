//! Half the rate, without delay. The resampler of `antiphon_audio` would do, but for one thing: at the edges of a
//! signal the filters of the low octaves see what a halver leaves of its ringing, and librosa's (soxr's "high quality")
//! rings in its own way.

use antiphon_audio::decimate::Decimator;
use antiphon_audio::resample::bessel_i0;

/// The -6 dB point, as a share of half the lower rate: the middle of soxr's pass band (0.913) and stop band (1).
const CUT_OFF: f64 = 0.956_872;
/// Kaiser's beta, and half the width of the window in samples of the lower rate. Both and the cut-off were fitted to
/// the impulse response of soxr 1.1.0, which they meet to 3e-8; the stop band lies at -130 dB.
const BETA: f64 = 13.040;
const HALF_WIDTH: f64 = 97.25;
/// Samples on either side that take part in an output.
const REACH: usize = 194;

/// A running halver. Output m lies at input 2 m.
pub(super) struct Halver {
    filter: Decimator,
    next_output: i64,
    /// Number of the first pending sample.
    pending_first: i64,
    pending: Vec<f32>,
}

impl Halver {
    /// Input begins at sample `first`; zeros lie before it.
    pub(super) fn new(first: i64) -> Halver {
        let weight = |place: usize| {
            let time = (place as f64 - REACH as f64) / 2.0;
            let angle = std::f64::consts::PI * CUT_OFF * time;
            let sinc = if angle == 0.0 { 1.0 } else { angle.sin() / angle };
            let edge = time / HALF_WIDTH;
            sinc * bessel_i0(BETA * (1.0 - edge * edge).sqrt())
        };
        let weights: Vec<f64> = (0..=2 * REACH).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let taps: Vec<f32> = weights.iter().map(|weight| (weight / sum) as f32).collect();
        let next_output = (first + 1).div_euclid(2);
        let pending_first = 2 * next_output - REACH as i64;
        Halver {
            filter: Decimator::new(&taps, 2),
            next_output,
            pending_first,
            pending: vec![0.0; (first - pending_first) as usize],
        }
    }

    /// Number of the output that comes next.
    pub(super) fn next_output(&self) -> i64 {
        self.next_output
    }

    /// Takes the next samples and appends what is ready.
    pub(super) fn push(&mut self, input: &[f32], output: &mut Vec<f32>) {
        self.pending.extend_from_slice(input);
        let made = self.filter.run(&self.pending, output);
        self.next_output += made as i64;
        self.pending.drain(..2 * made);
        self.pending_first += 2 * made as i64;
    }

    /// The end: zeros follow. Appends all that lies before it, half as many samples as came, rounded up.
    pub(super) fn finish(&mut self, output: &mut Vec<f32>) {
        let end = self.pending_first + self.pending.len() as i64;
        let wanted = usize::try_from((end + 1).div_euclid(2) - self.next_output).unwrap_or(0);
        let start = output.len();
        self.push(&[0.0; REACH], output);
        output.truncate(start + wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{noise, sine};

    fn halved(first: i64, pieces: &[&[f32]]) -> Vec<f32> {
        let mut halver = Halver::new(first);
        let mut output = Vec::new();
        pieces.iter().for_each(|piece| halver.push(piece, &mut output));
        halver.finish(&mut output);
        output
    }

    #[test]
    fn low_tones_pass_in_place_and_high_ones_do_not() {
        for (frequency, gain) in [(0.05, 1.0), (0.15, 1.0), (0.22, 1.0), (0.26, 0.0), (0.3, 0.0), (0.45, 0.0)] {
            let input = sine(1_000, 1_000.0 * frequency, 1.0, 4.0);
            let output = halved(0, &[&input]);
            assert_eq!(output.len(), 2_000);
            for m in 200..1_800 {
                assert!((output[m] - gain * input[2 * m]).abs() < 2e-6, "{frequency}: {} at {m}", output[m]);
            }
        }
    }

    /// What soxr 1.1.0 makes of one sample at the place of an output: its quality "HQ", 2 to 1.
    #[test]
    fn an_impulse_rings_as_in_soxr() {
        let mut input = vec![0.0; 1_000];
        input[400] = 1.0;
        let output = halved(0, &[&input]);
        for (found, expected) in
            output[200..].iter().zip([0.478_435_93, 0.021_483_94, -0.021_244_77, 0.020_850_46, -0.020_307_35])
        {
            assert!((found - expected).abs() < 1e-7_f32, "{found} is not {expected}");
        }
    }

    #[test]
    fn outputs_lie_on_the_absolute_grid_however_the_input_is_cut() {
        let input = noise(1, 1_003);
        let whole = halved(0, &[&input]);
        assert_eq!(whole.len(), 502);
        assert_eq!(halved(0, &[&input[..7], &[], &input[7..600], &input[600..]]), whole);
        assert_eq!(halved(10_000, &[&input]), whole);
        // One sample later, an odd number is first: what was there moves by half a sample of the output.
        let odd = halved(1, &[&input[1..]]);
        assert!(odd.len() == 501 && odd[300..400].iter().zip(&whole[301..401]).all(|(a, b)| (a - b).abs() < 1e-7));
    }
}
