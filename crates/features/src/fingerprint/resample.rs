//! To mono at 11,025 Hz and 16 bit, to the bit as libswresample does it for fpcalc.
//!
//! Two bits of a fingerprint hang on whether a number lies above or below a threshold, so a signal that is merely as good
//! would give a fingerprint that is merely alike. What has to be followed for equality, beside the filter itself: all is done in
//! 16 bit with taps of 16 bit, rounded and clipped after the filter and again after the mix; the taps are divided by the sum of the
//! first phase's, not each phase's own; where 256 phases are not enough to be exact, the sums of two are interpolated; and the
//! signal is mirrored about its first sample before the start, while what needs samples after its last is left out.

use std::f64::consts::PI;

/// The rate that fingerprints are made at.
pub(super) const RATE: u32 = 11_025;

/// Periods of the sinc, its cut-off as a share of half the lower rate, and Kaiser's beta.
const PERIODS: f64 = 16.0;
const CUT_OFF: f64 = 0.8;
const BETA: f64 = 9.0;
/// Phases of the filter, unless the ratio of the rates needs fewer to be exact.
const MOST_PHASES: u64 = 256;
/// One, as a tap or weight is written, and half of it, which is added before it is divided by.
const ONE: f64 = 32_768.0;
const ONE_BITS: u32 = 15;
const HALF: i32 = 1 << (ONE_BITS - 1);

/// A streaming resampler and mixer. It stops after so many output samples.
pub(super) struct Resampler {
    rate: u64,
    longest: usize,
    weights: Vec<i32>,
    /// `None` at the rate of fingerprints itself.
    filter: Option<Filter>,
    /// The samples that the next outputs need, by channel, and the number of the first.
    pending: Vec<Vec<i16>>,
    first: i64,
    /// Whether the mirrored beginning is in.
    has_begun: bool,
}

struct Filter {
    /// Taps of a phase.
    length: usize,
    phases: u64,
    /// Phase after phase, and the first once more, a sample later.
    taps: Vec<i16>,
}

impl Resampler {
    /// For a stream of that many samples per second and channels, until `longest` samples have come out.
    pub(super) fn new(rate: u32, channels: usize, longest: usize) -> Resampler {
        Resampler {
            rate: u64::from(rate),
            longest,
            weights: weights(channels),
            filter: (rate != RATE).then(|| Filter::new(u64::from(rate))),
            pending: vec![Vec::new(); channels],
            first: 0,
            has_begun: false,
        }
    }

    /// Takes the next samples, and appends what can be made of them.
    pub(super) fn push(&mut self, channels: &[&[f32]], out: &mut Vec<i16>) {
        if out.len() >= self.longest {
            return;
        }
        for (pending, channel) in self.pending.iter_mut().zip(channels) {
            pending.extend(channel.iter().map(|sample| to_16_bit(*sample)));
        }
        let Some(filter) = &self.filter else {
            let frames = self.pending[0].len().min(self.longest - out.len());
            out.extend((0..frames).map(|place| mix(&self.weights, self.pending.iter().map(|pending| pending[place]))));
            self.pending.iter_mut().for_each(Vec::clear);
            return;
        };
        if !self.has_begun {
            if self.pending[0].len() <= filter.length {
                return;
            }
            let before = filter.before();
            for pending in &mut self.pending {
                let mirrored: Vec<i16> = pending[1..=before].iter().rev().copied().collect();
                pending.splice(0..0, mirrored);
            }
            self.first = -(before as i64);
            self.has_begun = true;
        }
        let mut done = 0;
        while out.len() < self.longest {
            let place = filter.place(self.rate, out.len());
            done = (place.start - self.first) as usize;
            if done + filter.length > self.pending[0].len() {
                break;
            }
            let filtered = self.pending.iter().map(|pending| filter.apply(&place, &pending[done..]));
            out.push(mix(&self.weights, filtered));
        }
        done = done.min(self.pending[0].len());
        self.pending.iter_mut().for_each(|pending| drop(pending.drain(..done)));
        self.first += done as i64;
    }
}

impl Filter {
    fn new(rate: u64) -> Filter {
        let factor = (CUT_OFF * f64::from(RATE) / rate as f64).min(1.0);
        let length = ((PERIODS / factor).ceil() as usize).next_multiple_of(2);
        let exact = u64::from(RATE) / greatest_common_divisor(u64::from(RATE), rate);
        let phases = if exact <= MOST_PHASES { exact } else { MOST_PHASES };
        let mut filter = Filter { length, phases, taps: Vec::new() };
        let before = filter.before() as f64;
        let tap = |phase: u64, place: usize| {
            let x = PI * (place as f64 - before - phase as f64 / phases as f64) * factor;
            let sinc = if x == 0.0 { 1.0 } else { x.sin() / x };
            let edge = 2.0 * x / (factor * length as f64 * PI);
            sinc * bessel(BETA * (1.0 - edge * edge).max(0.0).sqrt())
        };
        let sum: f64 = (0..length).map(|place| tap(0, place)).sum();
        let taps = (0..phases).flat_map(|phase| (0..length).map(move |place| (phase, place)));
        // A cast of floating point saturates: a tap of 1 becomes 32,767.
        filter.taps = taps.map(|(phase, place)| rounded(tap(phase, place) * ONE / sum) as i16).collect();
        filter.taps.push(0);
        filter.taps.extend_from_within(..length - 1);
        filter
    }

    /// Taps before the one in the middle.
    fn before(&self) -> usize {
        (self.length - 1) / 2
    }

    /// Where an output lies.
    fn place(&self, rate: u64, output: usize) -> Place {
        let steps = output as u64 * rate * self.phases;
        let (whole, rest) = (steps / u64::from(RATE), steps % u64::from(RATE));
        let start = (whole / self.phases) as i64 - self.before() as i64;
        Place { start, phase: (whole % self.phases) as usize, rest: rest as i64 }
    }

    /// The filter at a place, on samples from its start.
    fn apply(&self, place: &Place, samples: &[i16]) -> i16 {
        let sum = |phase: usize| {
            let taps = self.taps[phase * self.length..(phase + 1) * self.length].iter().zip(samples);
            taps.map(|(tap, sample)| i32::from(*tap) * i32::from(*sample)).fold(HALF, i32::wrapping_add)
        };
        let mut value = sum(place.phase);
        if place.rest > 0 {
            let difference = i64::from(sum(place.phase + 1).wrapping_sub(value));
            value = value.wrapping_add((difference * place.rest / i64::from(RATE)) as i32);
        }
        clipped(value >> ONE_BITS)
    }
}

/// Where an output lies among the input.
struct Place {
    /// Number of the first input sample that it needs.
    start: i64,
    phase: usize,
    /// How far it is to the next phase, in 1 / 11,025.
    rest: i64,
}

/// To the nearest whole number, by way of 32 bit.
fn rounded(value: f64) -> f32 {
    (value as f32).round_ties_even()
}

fn mix(weights: &[i32], mut samples: impl Iterator<Item = i16>) -> i16 {
    if weights.len() == 1 {
        return samples.next().unwrap_or(0);
    }
    let sum: i32 = weights.iter().zip(samples).map(|(weight, sample)| weight * i32::from(sample)).sum();
    clipped((sum + HALF) >> ONE_BITS)
}

fn clipped(value: i32) -> i16 {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// Exact for samples that were 16 bit; others are rounded, and clipped by the cast.
fn to_16_bit(sample: f32) -> i16 {
    (sample * ONE as f32).round_ties_even() as i16
}

/// The share of each channel in mono, by FFmpeg's rules: front left and right 3 dB below the centre, what is beside and behind
/// 6 dB below it, no LFE; scaled so that nothing can clip. Channels in the order of WAV and FLAC.
fn weights(channels: usize) -> Vec<i32> {
    const SIDE: f64 = std::f64::consts::FRAC_1_SQRT_2;
    let levels: &[f64] = match channels {
        0 | 1 => &[1.0],
        2 => &[SIDE, SIDE],
        3 => &[SIDE, SIDE, 1.0],
        4 => &[SIDE, SIDE, 0.5, 0.5],
        5 => &[SIDE, SIDE, 1.0, 0.5, 0.5],
        6 => &[SIDE, SIDE, 1.0, 0.0, 0.5, 0.5],
        7 => &[SIDE, SIDE, 1.0, 0.0, 0.5, 0.5, 0.5],
        _ => &[SIDE, SIDE, 1.0, 0.0, 0.5, 0.5, 0.5, 0.5],
    };
    let sum: f64 = levels.iter().sum();
    levels.iter().map(|level| rounded(level / sum * ONE) as i32).collect()
}

/// The modified Bessel function of the first kind and order 0, by its power series.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term, mut index) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= (x / (2.0 * index)) * (x / (2.0 * index));
        sum += term;
        index += 1.0;
    }
    sum
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
