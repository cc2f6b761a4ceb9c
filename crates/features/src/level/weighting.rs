//! Frequency weightings A and C (IEC 61672-1:2013, annex E), and the time weighting F, of two channels at once.

use std::f64::consts::PI;

use wide::f64x2;

use crate::filter::Section;

/// Corner frequencies of the analogue weightings in Hz (IEC 61672-1:2013, E.4).
const F1: f64 = 20.598_997;
const F2: f64 = 107.652_65;
const F3: f64 = 737.862_23;
const F4: f64 = 12_194.217;

/// Time constant of the weighting F in seconds.
const FAST: f64 = 0.125;

/// Index of the weightings in everything that holds three.
pub(super) const A: usize = 0;
pub(super) const C: usize = 1;
pub(super) const Z: usize = 2;

/// The sections and gains for one rate.
///
/// C is a high-pass (two poles at F1) and a low-pass (two poles at F4); A adds a high-pass (poles at F2 and F3).
/// The low-pass is matched at 0 Hz, 0.2 and 0.4 of the rate, for a bilinear one leaves the mask near half the
/// rate.
#[derive(Clone, Debug)]
pub(super) struct Weighting {
    lowest: Section,
    highest: Section,
    middle: Section,
    /// |gain|² that makes 1 kHz 0 dB: by weighting.
    gains: [f64; 3],
    /// Share of the fast level that is left after a sample.
    decay: f64,
}

impl Weighting {
    pub(super) fn new(rate: u32) -> Weighting {
        let rate = f64::from(rate);
        let low_pass = |frequency: f64| (1.0 + (frequency / F4).powi(2)).powi(-2);
        let poles = Section::matched_poles(2.0 * PI * F4, 0.5, rate);
        let lowest = Section::high_pass(F1, F1, rate);
        let middle = Section::high_pass(F2, F3, rate);
        // The high-passes run with the numerator 1 - 2 z⁻¹ + z⁻²: their own gain comes in here.
        let c = lowest.b[0].powi(2) / c_weighting(1_000.0);
        let a = (lowest.b[0] * middle.b[0]).powi(2) / a_weighting(1_000.0);
        Weighting {
            lowest,
            highest: Section::matched(poles, low_pass, [0.2 * rate, 0.4 * rate], rate),
            middle,
            gains: [a, c, 1.0],
            decay: (-1.0 / (FAST * rate)).exp(),
        }
    }

    /// What the mean squares of [`Channels`] must be multiplied by, by weighting.
    pub(super) fn gains(&self) -> [f64; 3] {
        self.gains
    }

    /// |H|² at a frequency in Hz, by weighting.
    #[cfg(test)]
    pub(super) fn power(&self, frequency: f64, rate: f64) -> [f64; 3] {
        let plain = |section: &Section| section.scaled(1.0 / section.b[0]).power(frequency, rate);
        let c = plain(&self.lowest) * self.highest.power(frequency, rate);
        [c * plain(&self.middle) * self.gains[A], c * self.gains[C], 1.0]
    }
}

/// |H|² of the analogue C weighting before it is made 0 dB at 1 kHz.
pub(super) fn c_weighting(f: f64) -> f64 {
    let f = f * f;
    (F4 * F4 * f / ((f + F1 * F1) * (f + F4 * F4))).powi(2)
}

/// |H|² of the analogue A weighting before it is made 0 dB at 1 kHz.
pub(super) fn a_weighting(f: f64) -> f64 {
    let squared = f * f;
    c_weighting(f) * squared / (squared + F2 * F2) * squared / (squared + F3 * F3)
}

/// The running weightings of two channels.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    states: [[f64x2; 2]; 3],
    /// Fast mean squares by weighting.
    fast: [f64x2; 3],
}

/// States below this are taken for 0: denormal numbers are slow, and it lies 600 dB below full scale.
const TINY: f64 = 1e-30;

impl Channels {
    pub(super) fn new() -> Channels {
        Channels { states: [[f64x2::ZERO; 2]; 3], fast: [f64x2::ZERO; 3] }
    }

    /// The fast mean squares now, by weighting and channel, without gains.
    pub(super) fn fast(&self) -> [[f64; 2]; 3] {
        self.fast.map(f64x2::to_array)
    }

    /// Sets the fast mean squares that are to be there before the next sample.
    pub(super) fn start_fast(&mut self, mean_squares: [[f64; 2]; 3]) {
        self.fast = mean_squares.map(f64x2::new);
    }

    /// Takes two channels of equal length, and returns the sums of squares by weighting and channel, without
    /// gains.
    pub(super) fn run(&mut self, weighting: &Weighting, left: &[f32], right: &[f32]) -> [[f64; 2]; 3] {
        let splat = |section: &Section| (section.b.map(f64x2::splat), section.a.map(f64x2::splat));
        let (_, lowest) = splat(&weighting.lowest);
        let (low_pass, highest) = splat(&weighting.highest);
        let (_, middle) = splat(&weighting.middle);
        let decay = f64x2::splat(weighting.decay);
        let rise = f64x2::splat(1.0 - weighting.decay);
        let [mut s0, mut s1, mut s2] = self.states;
        let [mut fast_a, mut fast_c, mut fast_z] = self.fast;
        let [mut sum_a, mut sum_c, mut sum_z] = [f64x2::ZERO; 3];
        for (&left, &right) in left.iter().zip(right) {
            let x = f64x2::new([f64::from(left), f64::from(right)]);
            let squared = x * x;
            sum_z += squared;
            fast_z = fast_z * decay + squared * rise;

            let y = x + s0[0];
            s0[0] = s0[1] - (x + x) - y * lowest[0];
            s0[1] = x - y * lowest[1];
            let x = y;

            let y = x * low_pass[0] + s1[0];
            s1[0] = s1[1] + x * low_pass[1] - y * highest[0];
            s1[1] = x * low_pass[2] - y * highest[1];
            let x = y;
            let squared = x * x;
            sum_c += squared;
            fast_c = fast_c * decay + squared * rise;

            let y = x + s2[0];
            s2[0] = s2[1] - (x + x) - y * middle[0];
            s2[1] = x - y * middle[1];
            let squared = y * y;
            sum_a += squared;
            fast_a = fast_a * decay + squared * rise;
        }
        let flush = |value: f64x2| value.to_array().map(|value| if value.abs() < TINY { 0.0 } else { value });
        self.states = [s0, s1, s2].map(|state| state.map(|value| f64x2::new(flush(value))));
        self.fast = [fast_a, fast_c, fast_z].map(|value| f64x2::new(flush(value)));
        [sum_a, sum_c, sum_z].map(f64x2::to_array)
    }
}
