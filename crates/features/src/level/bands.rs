//! Third-octave bands of two channels at once, by octave decimation.
//!
//! A band is a Butterworth band-pass of order 3 (IEC 61260-1:2014, base 10) as three second-order sections, each
//! matched to its analogue prototype at 0 Hz and about both edges, so that its skirts are those of the prototype. It runs at the
//! lowest rate, halved from that of the source, of which its centre is at most 0.4. Between octaves lies a
//! half-band low-pass that keeps what is below 0.2245 of its rate and suppresses what would fold onto it by 80 dB.

use std::f64::consts::PI;

use wide::f32x4;

use crate::filter::Section;

/// Third-octave bands from 25 Hz to 20 kHz.
pub(super) const BANDS: usize = 30;

/// Their nominal centres in Hz.
pub(super) static NOMINAL: [&str; BANDS] = [
    "25", "31.5", "40", "50", "63", "80", "100", "125", "160", "200", "250", "315", "400", "500", "630", "800", "1000",
    "1250", "1600", "2000", "2500", "3150", "4000", "5000", "6300", "8000", "10000", "12500", "16000", "20000",
];

/// The highest centre, as a share of the rate.
const HIGHEST: f64 = 0.4;

/// Bands that one rate can have: 0.2 to 0.4 of it is 10 dB in logarithmic tenths of a decade, 3 or 4 of them.
const LANES: usize = 4;

/// Exact centre of a band in Hz: 10 to the 10ths (IEC 61260-1:2014, 5.2).
pub(super) fn centre(band: usize) -> f64 {
    10f64.powf((band as f64 + 14.0) / 10.0)
}

/// How often the rate is halved for a band; `None` if its centre is too high for the source.
fn halvings(band: usize, rate: u32) -> Option<usize> {
    let ratio = HIGHEST * f64::from(rate) / centre(band);
    (ratio >= 1.0).then(|| ratio.log2().floor() as usize)
}

/// The three sections of a band at a rate, each with gain 1 at the centre.
fn design(band: usize, rate: f64) -> [Section; 3] {
    let centre = 2.0 * PI * centre(band);
    let edge = 10f64.powf(0.05);
    // Where the response is that of the prototype. Near half the rate one skirt gains what the other loses, and these
    // points leave both inside the mask.
    let (low, high) = match centre / (2.0 * PI * rate) {
        share if share < 0.3 => (1.0, 1.35),
        share if share < 0.38 => (1.0, 1.0),
        _ => (1.14, 1.0),
    };
    let points = [centre / edge / low, centre * edge * high].map(|w| w / (2.0 * PI));
    let width = centre * (edge - 1.0 / edge);
    // The prototype has the poles -1 and -1/2 ± j √3/2; s becomes (s² + centre²) / (width s), which makes two poles of
    // each. Those of -1 are one section, the others two that mirror each other at the centre.
    let bandpass = |w: f64, q: f64| {
        let poles = Section::matched_poles(w, q, rate);
        let response = |frequency: f64| {
            let f = 2.0 * PI * frequency;
            let through = (f * w / q).powi(2);
            through / ((w * w - f * f).powi(2) + through)
        };
        let section = Section::matched(poles, response, points, rate);
        section.scaled(section.power(centre / (2.0 * PI), rate).sqrt().recip())
    };
    let (real, imaginary) = mirrored_pole(width / centre);
    let radius = real.hypot(imaginary);
    let q = radius / (2.0 * real);
    [bandpass(centre, centre / width), bandpass(centre * radius, q), bandpass(centre / radius, q)]
}

/// One of the four poles that -1/2 + j √3/2 becomes, for a centre of 1: minus its real part, and its imaginary part.
/// It solves s² - p b s + 1 = 0; the other is its inverse's conjugate.
fn mirrored_pole(b: f64) -> (f64, f64) {
    let (re, im) = (-0.25 * b, 0.75f64.sqrt() / 2.0 * b);
    // s = h ± √(h² - 1) with h = p b / 2.
    let (square_re, square_im) = (re * re - im * im - 1.0, 2.0 * re * im);
    let size = square_re.hypot(square_im);
    let root_re = ((size + square_re) / 2.0).sqrt();
    let root_im = ((size - square_re) / 2.0).sqrt().copysign(square_im);
    (-(re - root_re), (im - root_im).abs())
}

/// Filters of up to four bands, by lane.
#[derive(Clone, Debug)]
struct Lanes {
    /// Index of the band in each lane.
    bands: Vec<usize>,
    /// b2 / b0, a1 and a2 of each section. They run with b0 = 1, and b1 is -(b0 + b2): there is a zero at 0 Hz.
    sections: [[f32x4; 3]; 3],
    /// |gain|² by lane, which makes up for the b0 of all sections.
    gains: [f64; LANES],
    /// By channel.
    states: [[[f32x4; 2]; 3]; 2],
    /// Sums of squares by channel and lane, without gains.
    sums: [[f64; LANES]; 2],
}

/// What runs at one rate.
#[derive(Clone, Debug)]
struct Octave {
    lanes: Option<Lanes>,
    decimator: HalfBand,
    /// The input of a step, at this rate.
    input: [Vec<f32>; 2],
    /// Body samples since the last read.
    samples: u64,
}

/// The bands of two channels.
#[derive(Clone, Debug)]
pub(super) struct Bank {
    octaves: Vec<Octave>,
}

/// States below this are taken for 0: denormal numbers are slow, and it lies 400 dB below full scale.
const TINY: f32 = 1e-20;

impl Bank {
    pub(super) fn new(rate: u32) -> Bank {
        let last = (0..BANDS).filter_map(|band| halvings(band, rate)).max();
        let octaves = (0..last.map_or(0, |last| last + 1))
            .map(|halved| {
                let bands: Vec<usize> = (0..BANDS).filter(|&band| halvings(band, rate) == Some(halved)).collect();
                let lanes = (!bands.is_empty()).then(|| Lanes::new(bands, f64::from(rate) / (1u64 << halved) as f64));
                Octave { lanes, decimator: HalfBand::new(), input: [Vec::new(), Vec::new()], samples: 0 }
            })
            .collect();
        Bank { octaves }
    }

    /// Takes one or two channels of equal length, whose first sample has the number `first`. Sums are kept of what
    /// `counts`.
    pub(super) fn run(&mut self, first: i64, channels: &[&[f32]], counts: bool) {
        let Some(top) = self.octaves.first_mut() else {
            return;
        };
        top.take(channels, counts);
        let mut first = first;
        for halved in 1..self.octaves.len() {
            let (above, below) = self.octaves.split_at_mut(halved);
            let (above, octave) = (&mut above[halved - 1], &mut below[0]);
            let (left, right) = match halved {
                1 => (channels[0], channels[channels.len() - 1]),
                _ => (&above.input[0][..], &above.input[1][..]),
            };
            above.decimator.run(first, left, right, &mut octave.input);
            // A pair belongs to the instant of its second sample.
            first = first.div_euclid(2);
            let [left, right] = std::mem::take(&mut octave.input);
            octave.take(&[&left[..], &right[..]][..channels.len()], counts);
            octave.input = [left, right];
        }
    }

    /// Mean squares of what counted since the last call, by band and channel; NaN where the rate is too low or
    /// nothing counted.
    pub(super) fn take_mean_squares(&mut self) -> [[f64; 2]; BANDS] {
        let mut means = [[f64::NAN; 2]; BANDS];
        for octave in &mut self.octaves {
            let samples = std::mem::take(&mut octave.samples) as f64;
            let Some(lanes) = &mut octave.lanes else {
                continue;
            };
            for (lane, &band) in lanes.bands.iter().enumerate() {
                means[band] = lanes.sums.map(|sums| sums[lane] * lanes.gains[lane] / samples);
            }
            lanes.sums = [[0.0; LANES]; 2];
        }
        means
    }
}

impl Octave {
    fn take(&mut self, channels: &[&[f32]], counts: bool) {
        if let Some(lanes) = &mut self.lanes {
            match channels {
                [one] => lanes.run([*one], counts),
                [left, right, ..] => lanes.run([*left, *right], counts),
                [] => {}
            }
        }
        if counts {
            self.samples += channels[0].len() as u64;
        }
    }
}

impl Lanes {
    fn new(bands: Vec<usize>, rate: f64) -> Lanes {
        let mut coefficients = [[[0f32; LANES]; 3]; 3];
        let mut gains = [1.0; LANES];
        for (lane, &band) in bands.iter().enumerate() {
            for (slot, section) in coefficients.iter_mut().zip(design(band, rate)) {
                let values = [section.b[2] / section.b[0], section.a[0], section.a[1]];
                for (lanes, value) in slot.iter_mut().zip(values) {
                    lanes[lane] = value as f32;
                }
                gains[lane] *= section.b[0] * section.b[0];
            }
        }
        let sections = coefficients.map(|section| section.map(f32x4::new));
        Lanes { bands, sections, gains, states: [[[f32x4::ZERO; 2]; 3]; 2], sums: [[0.0; LANES]; 2] }
    }

    /// Takes channels of equal length, side by side: each waits for its own filters only.
    fn run<const CHANNELS: usize>(&mut self, channels: [&[f32]; CHANNELS], counts: bool) {
        let [c0, c1, c2] = self.sections;
        let mut states: [[[f32x4; 2]; 3]; CHANNELS] = std::array::from_fn(|channel| self.states[channel]);
        let mut sums = [f32x4::ZERO; CHANNELS];
        let length = channels.iter().map(|samples| samples.len()).min().unwrap_or(0);
        let channels = channels.map(|samples| &samples[..length]);
        for number in 0..length {
            for ((samples, [s0, s1, s2]), sum) in channels.iter().zip(&mut states).zip(&mut sums) {
                let x = f32x4::splat(samples[number]);
                let x = section(&c0, s0, x);
                let x = section(&c1, s1, x);
                let x = section(&c2, s2, x);
                *sum += x * x;
            }
        }
        let flush = |value: f32x4| f32x4::new(value.to_array().map(|v| if v.abs() < TINY { 0.0 } else { v }));
        for (kept, states) in self.states.iter_mut().zip(states) {
            *kept = states.map(|state| state.map(flush));
        }
        if counts {
            for (totals, sum) in self.sums.iter_mut().zip(sums) {
                totals.iter_mut().zip(sum.to_array()).for_each(|(total, sum)| *total += f64::from(sum));
            }
        }
    }
}

#[inline(always)]
fn section(c: &[f32x4; 3], state: &mut [f32x4; 2], x: f32x4) -> f32x4 {
    let y = x + state[0];
    let last = x * c[0];
    state[0] = (state[1] - x - last) - y * c[1];
    state[1] = last - y * c[2];
    y
}

/// Allpass coefficients of the half-band low-pass: elliptic of order 13, pass band to 0.2245 of the rate, 80 dB from
/// 0.2755. R. Valenzuela and A. Constantinides, "Digital signal processing schemes for efficient interpolation and
/// decimation" (1983). The first three are those of the branch of odd samples.
const ALLPASS: [[f64; 2]; 3] = [
    [0.059_620_126_567, 0.213_856_881_686],
    [0.409_381_991_718, 0.601_014_144_538],
    [0.770_181_761_457, 0.922_885_274_599],
];

/// Halves the rate of two channels. Lanes are (channel, branch).
#[derive(Clone, Debug)]
struct HalfBand {
    inputs: [f32x4; 3],
    outputs: [f32x4; 3],
    /// The sample of an even number that still waits for the odd one.
    held: [f32; 2],
}

impl HalfBand {
    fn new() -> HalfBand {
        HalfBand { inputs: [f32x4::ZERO; 3], outputs: [f32x4::ZERO; 3], held: [0.0; 2] }
    }

    /// Puts into `halved` a sample for each pair (even, odd) of sample numbers that is complete.
    fn run(&mut self, first: i64, left: &[f32], right: &[f32], halved: &mut [Vec<f32>; 2]) {
        let (mut left, mut right) = (left, right);
        let mut done = 0;
        for channel in halved.iter_mut() {
            channel.resize(left.len() / 2 + 1, 0.0);
        }
        if first.rem_euclid(2) == 1
            && let ([l, left_rest @ ..], [r, right_rest @ ..]) = (left, right)
        {
            let held = self.held;
            self.pairs(&[held[0], *l], &[held[1], *r], halved, 0);
            (left, right) = (left_rest, right_rest);
            done = 1;
        }
        self.pairs(left, right, halved, done);
        for channel in halved {
            channel.truncate(done + left.len() / 2);
        }
        if left.len() % 2 == 1 {
            self.held = [left[left.len() - 1], right[right.len() - 1]];
        }
    }

    fn pairs(&mut self, left: &[f32], right: &[f32], halved: &mut [Vec<f32>; 2], at: usize) {
        let coefficients = ALLPASS.map(|stage| {
            let [odd, even] = stage.map(|coefficient| coefficient as f32);
            f32x4::new([odd, even, odd, even])
        });
        let [mut x0, mut x1, mut x2] = self.inputs;
        let [mut y0, mut y1, mut y2] = self.outputs;
        let [to_left, to_right] = halved;
        let to = to_left[at..].iter_mut().zip(&mut to_right[at..]);
        let from = left.as_chunks::<2>().0.iter().zip(right.as_chunks::<2>().0);
        for (([left_even, left_odd], [right_even, right_odd]), (to_left, to_right)) in from.zip(to) {
            let x = f32x4::new([*left_odd, *left_even, *right_odd, *right_even]);
            let y = (x - y0) * coefficients[0] + x0;
            (x0, y0) = (x, y);
            let x = y;
            let y = (x - y1) * coefficients[1] + x1;
            (x1, y1) = (x, y);
            let x = y;
            let y = (x - y2) * coefficients[2] + x2;
            (x2, y2) = (x, y);
            let [left_odd, left_even, right_odd, right_even] = y.to_array();
            *to_left = 0.5 * (left_odd + left_even);
            *to_right = 0.5 * (right_odd + right_even);
        }
        let flush = |value: f32x4| f32x4::new(value.to_array().map(|v| if v.abs() < TINY { 0.0 } else { v }));
        self.inputs = [x0, x1, x2].map(flush);
        self.outputs = [y0, y1, y2].map(flush);
    }
}

#[cfg(test)]
mod tests;
