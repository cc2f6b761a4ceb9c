//! The K weighting of ITU-R BS.1770-5, of two channels at once.

use std::f64::consts::PI;

use wide::f64x2;

use crate::filter::Section;

/// The analogue prototypes behind the coefficients that BS.1770-5 gives for 48 kHz (tables 1 and 2): a high shelf
/// and a high-pass; frequency in Hz, quality, and for the shelf its gain and the gain in the middle, in dB.
const SHELF: (f64, f64) = (1_681.974_450_955_533, 0.707_175_236_955_419_6);
const SHELF_GAIN_DB: f64 = 3.999_843_853_973_347;
const SHELF_MIDDLE: f64 = 0.499_666_774_154_541_6;
const HIGH_PASS: (f64, f64) = (38.135_470_876_024_44, 0.500_327_037_323_877_3);

/// The sections for one rate.
#[derive(Clone, Debug)]
pub(super) struct Weighting {
    shelf: Section,
    /// Its numerator is 1 - 2 z⁻¹ + z⁻², as in the standard, where that makes it 0.04 dB too loud.
    high_pass: Section,
    /// |gain|² that makes it as loud at other rates.
    gain: f64,
}

impl Weighting {
    /// Bilinear transforms that keep the corner frequencies. At low rates that would bend the shelf, which is matched
    /// to the prototype there.
    pub(super) fn new(rate: u32) -> Weighting {
        let rate = f64::from(rate);
        let gain = (high_pass_unit(48_000.0) / high_pass_unit(rate)).powi(2);
        Weighting { shelf: shelf(rate), high_pass: high_pass(rate), gain }
    }

    /// What the sums of [`Channels`] must be multiplied by.
    pub(super) fn gain(&self) -> f64 {
        self.gain
    }

    /// |H|² at a frequency in Hz.
    #[cfg(test)]
    fn power(&self, frequency: f64, rate: f64) -> f64 {
        self.shelf.power(frequency, rate) * self.high_pass.power(frequency, rate) * self.gain
    }
}

fn shelf(rate: f64) -> Section {
    let (frequency, q) = SHELF;
    let high = 10f64.powf(SHELF_GAIN_DB / 20.0);
    let middle = high.powf(SHELF_MIDDLE);
    if rate < 40_000.0 {
        let response = |f: f64| {
            let f = f / frequency;
            let through = (1.0 - high * f * f).powi(2) + (middle * f / q).powi(2);
            through / ((1.0 - f * f).powi(2) + (f / q).powi(2))
        };
        let poles = Section::matched_poles(2.0 * PI * frequency, q, rate);
        return Section::matched(poles, response, [frequency.min(0.2 * rate), 0.4 * rate], rate);
    }
    let k = (PI * frequency / rate).tan();
    let unit = 1.0 + k / q + k * k;
    Section {
        b: [
            (high + middle * k / q + k * k) / unit,
            2.0 * (k * k - high) / unit,
            (high - middle * k / q + k * k) / unit,
        ],
        a: [2.0 * (k * k - 1.0) / unit, (1.0 - k / q + k * k) / unit],
    }
}

/// What the bilinear transform of the high-pass is divided by.
fn high_pass_unit(rate: f64) -> f64 {
    let (frequency, q) = HIGH_PASS;
    let k = (PI * frequency / rate).tan();
    1.0 + k / q + k * k
}

fn high_pass(rate: f64) -> Section {
    let (frequency, q) = HIGH_PASS;
    let k = (PI * frequency / rate).tan();
    let unit = high_pass_unit(rate);
    Section { b: [1.0, -2.0, 1.0], a: [2.0 * (k * k - 1.0) / unit, (1.0 - k / q + k * k) / unit] }
}

/// The running weighting of two channels.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    states: [[f64x2; 2]; 2],
}

/// States below this are taken for 0: denormal numbers are slow, and it lies 600 dB below full scale.
const TINY: f64 = 1e-30;

impl Channels {
    pub(super) fn new() -> Channels {
        Channels { states: [[f64x2::ZERO; 2]; 2] }
    }

    /// Takes two channels of equal length, and returns their sums of weighted squares.
    pub(super) fn run(&mut self, weighting: &Weighting, left: &[f32], right: &[f32]) -> [f64; 2] {
        let b = weighting.shelf.b.map(f64x2::splat);
        let a = weighting.shelf.a.map(f64x2::splat);
        let high = weighting.high_pass.a.map(f64x2::splat);
        let [mut s, mut t] = self.states;
        let mut sum = f64x2::ZERO;
        for (&left, &right) in left.iter().zip(right) {
            let x = f64x2::new([f64::from(left), f64::from(right)]);
            let y = x * b[0] + s[0];
            s[0] = s[1] + x * b[1] - y * a[0];
            s[1] = x * b[2] - y * a[1];
            let x = y;
            let y = x + t[0];
            t[0] = t[1] - (x + x) - y * high[0];
            t[1] = x - y * high[1];
            sum += y * y;
        }
        let flush = |value: f64x2| f64x2::new(value.to_array().map(|v| if v.abs() < TINY { 0.0 } else { v }));
        self.states = [s, t].map(|state| state.map(flush));
        sum.to_array()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BS.1770-5, tables 1 and 2.
    #[test]
    fn at_48_khz_the_coefficients_are_those_of_the_standard() {
        let weighting = Weighting::new(48_000);
        let close = |found: &[f64], given: &[f64]| found.iter().zip(given).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(close(&weighting.shelf.b, &[1.535_124_859_586_97, -2.691_696_189_406_38, 1.198_392_810_852_85]));
        assert!(close(&weighting.shelf.a, &[-1.690_659_293_182_41, 0.732_480_774_215_85]));
        assert!(close(&weighting.high_pass.a, &[-1.990_047_454_833_98, 0.990_072_250_366_21]));
    }

    #[test]
    fn other_rates_respond_as_48_khz_does() {
        let response =
            |rate: u32, frequency: f64| 10.0 * Weighting::new(rate).power(frequency, f64::from(rate)).log10();
        for rate in [1_000, 4_000, 8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 88_200, 96_000, 192_000] {
            for frequency in [20.0, 40.0, 100.0, 400.0, 997.0, 2_000.0, 4_000.0, 8_000.0, 15_000.0] {
                if frequency < 0.4 * f64::from(rate) {
                    let off = response(rate, frequency) - response(48_000, frequency);
                    assert!(off.abs() < 0.08, "{frequency} Hz at {rate}: {off:.3} dB");
                }
            }
        }
    }
}
