//! One rate to another, on an absolute grid.
//!
//! Output sample m lies at the instant m / rate_out, input sample n at n / rate_in: a signal that is resampled in
//! pieces has every output sample at the same place, with the same value, as one resampled as a whole.
//!
//! # Method
//! A polyphase filter: the ideal low pass windowed with a Kaiser window (J. F. Kaiser, "Nonrecursive digital filter
//! design using the I0-sinh window function", 1974). With r the lower of both rates:
//!
//! | what | designed | measured by the tests |
//! |---|---|---|
//! | pass band, 0 to 0.45 r | within 0.001 dB | within 0.01 dB |
//! | cut-off (-6 dB) | 0.475 r | |
//! | stop band, from 0.5 r, aliases and images | -100 dB | below -95 dB |
//! | delay of output m | 64 periods of r after its instant | exact |
//!
//! The ratio is reduced to whole numbers, say up / down. If a table of all `up` phases is small it is exact;
//! otherwise phases are interpolated linearly between so many that the error stays below -110 dB. Either way a
//! table is bounded by [`TABLE_VALUES`] and each phase has a gain of exactly 1 at 0 Hz.

use std::sync::{Arc, Mutex, PoisonError};

use crate::decimate::Decimator;
use crate::vector::{dots, widest};

/// Filters that are remembered. Making one costs milliseconds, as much as analysing a second of audio.
const REMEMBERED: usize = 8;

/// Reduced rates, out and in, with their filter.
type Remembered = ((u64, u64), Arc<Filter>);

/// The filters used last, newest at the end.
static FILTERS: Mutex<Vec<Remembered>> = Mutex::new(Vec::new());

/// Periods of the lower rate on either side of an output sample that take part in it.
const HALF_WIDTH: f64 = 64.0;
/// The -6 dB point, as a share of the lower rate.
const CUT_OFF: f64 = 0.475;
/// Kaiser's beta for 100 dB: 0.1102 (100 - 8.7).
const BETA: f64 = 10.06;
/// Most values in a table of exact phases: 1 MiB.
pub const TABLE_VALUES: usize = 1 << 18;
/// Phases per period of the lower rate when they are interpolated. The filter is band limited to half that rate, so
/// a straight line errs by less than (pi 0.475 / 1024)^2 / 2, which is -119 dB.
const PHASES: f64 = 1_024.0;

/// Sums side by side in an inner product. Short ones are added with less rounding, so there are many.
const LANES: usize = 16;

/// A streaming mono resampler. It allocates in the constructor and, while input pieces keep growing, in its buffer.
#[derive(Debug)]
pub struct Resampler {
    /// Reduced output rate.
    up: u64,
    /// Reduced input rate.
    down: u64,
    filter: Option<Arc<Filter>>,
    /// The filter's only phase, where it has but one.
    decimator: Option<Decimator>,
    next_output: i64,
    /// Number of the input sample that lies at or just before the instant of the next output sample.
    centre: i64,
    /// What the instant lies after it, in 1 / up input samples.
    offset: u64,
    /// Number of the first sample in `pending`.
    pending_first: i64,
    pending: Vec<f32>,
}

/// Where an output lies among the pending samples.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The first sample of its window.
    start: usize,
    /// What its instant lies after the centre of the window, in 1 / up input samples.
    offset: u64,
}

#[derive(Debug)]
struct Filter {
    /// Input samples on either side.
    half: usize,
    phases: usize,
    is_exact: bool,
    /// `2 * half` values for each phase, one phase more than `phases` if they are interpolated.
    table: Vec<f32>,
}

impl Resampler {
    /// A resampler whose first input sample has the number `first_input`. Samples before it are taken as zeros.
    /// If the rates are equal, samples pass through untouched.
    ///
    /// # Panics
    /// If a rate lies outside of [`crate::MIN_RATE`] to [`crate::MAX_RATE`].
    pub fn new(rate_in: u32, rate_out: u32, first_input: i64) -> Self {
        let rates = crate::MIN_RATE..=crate::MAX_RATE;
        assert!(rates.contains(&rate_in) && rates.contains(&rate_out), "rates are checked where audio comes in");
        let common = greatest_common_divisor(rate_in, rate_out);
        let (up, down) = (u64::from(rate_out / common), u64::from(rate_in / common));
        let filter = (up != down).then(|| Filter::shared(up, down));
        let next_output = div_ceil(i128::from(first_input) * i128::from(up), i128::from(down));
        let instant = i128::from(next_output) * i128::from(down);
        let half = filter.as_ref().map_or(0, |filter| filter.half);
        // The first outputs reach back before the first input: these zeros.
        let centre = instant.div_euclid(i128::from(up)) as i64;
        let pending_first = (centre - half as i64 + 1).min(first_input);
        Self {
            up,
            down,
            decimator: filter.as_ref().filter(|_| up == 1).map(|filter| Decimator::new(&filter.table, down as usize)),
            filter,
            next_output,
            centre,
            offset: instant.rem_euclid(i128::from(up)) as u64,
            pending_first,
            pending: vec![0.0; (first_input - pending_first) as usize],
        }
    }

    /// Number of the output sample that comes next; at first the first one at or after the first input sample.
    pub fn next_output(&self) -> i64 {
        self.next_output
    }

    /// Number of the last input sample that output sample `output` depends on: it comes out once that was pushed.
    pub fn last_input(&self, output: i64) -> i64 {
        let Some(filter) = &self.filter else { return output };
        let centre = (i128::from(output) * i128::from(self.down)).div_euclid(i128::from(self.up));
        centre as i64 + filter.half as i64
    }

    /// Takes the next input samples and appends to `output` what is ready. Returns the number of the first
    /// sample appended (that of the next one, if there is none).
    pub fn push(&mut self, input: &[f32], output: &mut Vec<f32>) -> i64 {
        let first_output = self.next_output;
        let Some(filter) = &self.filter else {
            output.extend_from_slice(input);
            self.next_output += input.len() as i64;
            self.pending_first += input.len() as i64;
            return first_output;
        };
        self.pending.extend_from_slice(input);
        let before = output.len();
        // Never negative: what outputs still need is kept, and the constructor put zeros before the first.
        let start = (self.centre - filter.half as i64 + 1 - self.pending_first) as usize;
        let place = Place { start, offset: self.offset };
        let (pending, ratio) = (&self.pending[..], (self.up, self.down));
        let next = match &mut self.decimator {
            Some(decimator) => {
                let made = decimator.run(pending.get(start..).unwrap_or(&[]), output);
                Place { start: start + made * self.down as usize, ..place }
            }
            None => widest(
                #[inline(always)]
                || filter.run(pending, place, ratio, output),
            ),
        };
        self.next_output += (output.len() - before) as i64;
        self.centre += next.start as i64 - start as i64;
        self.offset = next.offset;
        let used = next.start.min(self.pending.len());
        self.pending.drain(..used);
        self.pending_first += used as i64;
        first_output
    }

    /// The end of the input: zeros follow. Appends all that lies before the instant after the last input
    /// sample, so that n samples become `ceil(n * rate_out / rate_in)` when both grids begin at 0. Returns as
    /// [`push`](Self::push). Nothing may be pushed afterwards.
    pub fn finish(&mut self, output: &mut Vec<f32>) -> i64 {
        let Some(filter) = &self.filter else { return self.next_output };
        let end = self.pending_first + self.pending.len() as i64;
        let end_output = div_ceil(i128::from(end) * i128::from(self.up), i128::from(self.down));
        let wanted = usize::try_from(end_output - self.next_output).unwrap_or(0);
        let start = output.len();
        let first_output = self.push(&vec![0.0; filter.half], output);
        output.truncate(start + wanted);
        self.next_output = first_output + (output.len() - start) as i64;
        first_output
    }
}

impl Filter {
    /// The filter for a ratio: one that was made before, if it is remembered.
    fn shared(up: u64, down: u64) -> Arc<Self> {
        let remembered = || FILTERS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut filters = remembered();
        let found = filters.iter().position(|(ratio, _)| *ratio == (up, down));
        let found = found.map(|index| filters.remove(index));
        if let Some((ratio, filter)) = found {
            filters.push((ratio, Arc::clone(&filter)));
            return filter;
        }
        drop(filters);
        // Made without the lock: others need not wait, and two that make the same one make equal ones.
        let filter = Arc::new(Self::new(up, down));
        let mut filters = remembered();
        filters.push(((up, down), Arc::clone(&filter)));
        if filters.len() > REMEMBERED {
            filters.remove(0);
        }
        filter
    }

    fn new(up: u64, down: u64) -> Self {
        // Input samples per period of the lower rate.
        let stretch = (down as f64 / up as f64).max(1.0);
        let half = (HALF_WIDTH * stretch).ceil() as usize;
        let is_exact = (up as usize).saturating_mul(2 * half) <= TABLE_VALUES;
        let phases = if is_exact { up as usize } else { (PHASES / stretch).ceil() as usize };
        let rows = if is_exact { phases } else { phases + 1 };
        let mut table = Vec::with_capacity(rows * 2 * half);
        for phase in 0..rows {
            let offset = phase as f64 / phases as f64;
            // Tap i multiplies the input sample that lies i - half + 1 after the centre.
            let row: Vec<f64> =
                (0..2 * half).map(|tap| kernel((tap as f64 - half as f64 + 1.0 - offset) / stretch)).collect();
            let gain: f64 = row.iter().sum();
            table.extend(row.iter().map(|value| (value / gain) as f32));
        }
        Self { half, phases, is_exact, table }
    }

    /// Appends the outputs from a place on whose windows lie in `pending`, and returns the place of the one after them.
    #[inline(always)]
    fn run(&self, pending: &[f32], mut place: Place, (up, down): (u64, u64), output: &mut Vec<f32>) -> Place {
        let width = 2 * self.half;
        while let Some(window) = pending.get(place.start..place.start + width) {
            output.push(self.apply(window, place.offset, up));
            place.offset += down;
            place.start += (place.offset / up) as usize;
            place.offset %= up;
        }
        place
    }

    /// The output at `offset` / `up` input samples after the centre of `window`.
    #[inline(always)]
    fn apply(&self, window: &[f32], offset: u64, up: u64) -> f32 {
        let row = |phase: usize| &self.table[phase * window.len()..(phase + 1) * window.len()];
        if self.is_exact {
            let [value] = dots::<1, LANES>([window], [row(offset as usize)]);
            return value;
        }
        let place = offset as f64 / up as f64 * self.phases as f64;
        let phase = (place as usize).min(self.phases - 1);
        let between = (place - phase as f64) as f32;
        let [before, after] = dots::<2, LANES>([window; 2], [row(phase), row(phase + 1)]);
        before + between * (after - before)
    }
}

/// The windowed ideal low pass at `time` periods of the lower rate.
fn kernel(time: f64) -> f64 {
    let edge = time / HALF_WIDTH;
    if edge.abs() >= 1.0 {
        return 0.0;
    }
    let angle = std::f64::consts::PI * 2.0 * CUT_OFF * time;
    let sinc = if angle == 0.0 { 1.0 } else { angle.sin() / angle };
    sinc * bessel_i0(BETA * (1.0 - edge * edge).sqrt())
}

/// The modified Bessel function of the first kind and order 0, of which Kaiser windows are made, by its power series
/// (Abramowitz and Stegun 9.6.12).
pub fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= quarter / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn div_ceil(a: i128, b: i128) -> i64 {
    -((-a).div_euclid(b)) as i64
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    fn resample(rate_in: u32, rate_out: u32, first: i64, input: &[f32]) -> (i64, Vec<f32>) {
        let mut resampler = Resampler::new(rate_in, rate_out, first);
        let mut output = Vec::new();
        let first_output = resampler.push(input, &mut output);
        resampler.finish(&mut output);
        (first_output, output)
    }

    /// Level in dB of a sine of `frequency` after resampling, and the rest that is not that sine.
    fn sine_response(rate_in: u32, rate_out: u32, frequency: f64) -> (f64, f64) {
        let seconds = 8_192.0 / f64::from(rate_in.min(rate_out));
        let samples = (seconds * f64::from(rate_in)) as usize;
        let input: Vec<f32> =
            (0..samples).map(|n| (TAU * frequency * n as f64 / f64::from(rate_in)).sin() as f32).collect();
        let (_, output) = resample(rate_in, rate_out, 0, &input);
        // Away from the ends, where zeros were assumed.
        let margin = output.len() / 8;
        let middle = margin..output.len() - margin;
        let (mut sine, mut cosine, mut norm) = (0.0, 0.0, 0.0);
        let angle = |m: usize| TAU * frequency * m as f64 / f64::from(rate_out);
        // A window that makes the projection independent of whole periods.
        let weight = |m: usize| {
            let place = (m - middle.start) as f64 / middle.len() as f64;
            0.5 - 0.5 * (TAU * place).cos()
        };
        for m in middle.clone() {
            sine += weight(m) * f64::from(output[m]) * angle(m).sin();
            cosine += weight(m) * f64::from(output[m]) * angle(m).cos();
            norm += weight(m) / 2.0;
        }
        let (sine, cosine) = (sine / norm, cosine / norm);
        let rest: f64 = middle
            .clone()
            .map(|m| (f64::from(output[m]) - sine * angle(m).sin() - cosine * angle(m).cos()).powi(2))
            .sum();
        let decibels = |power: f64| 10.0 * power.max(1e-30).log10();
        (decibels(sine * sine + cosine * cosine), decibels(2.0 * rest / middle.len() as f64))
    }

    const RATES: [(u32, u32); 8] = [
        (44_100, 22_050),
        (88_200, 22_050),
        (48_000, 22_050),
        (32_000, 22_050),
        (8_000, 22_050),
        (96_000, 22_050),
        (44_101, 22_050),
        (22_050, 48_000),
    ];

    #[test]
    fn the_pass_band_is_flat_in_amplitude_and_phase() {
        for (rate_in, rate_out) in RATES {
            let lower = f64::from(rate_in.min(rate_out));
            for share in [0.01, 0.1, 0.2, 0.3, 0.4, 0.42, 0.44, 0.45] {
                let (level, rest) = sine_response(rate_in, rate_out, share * lower);
                assert!(level.abs() < 0.01, "{rate_in} to {rate_out}: {level} dB at {share}");
                assert!(rest < -95.0, "{rate_in} to {rate_out}: {rest} dB of other sounds at {share}");
            }
        }
    }

    #[test]
    fn the_stop_band_holds_nothing() {
        for (rate_in, rate_out) in RATES.into_iter().filter(|(rate_in, rate_out)| rate_in > rate_out) {
            let nyquist = f64::from(rate_in) / 2.0;
            let lower = f64::from(rate_out);
            for share in [0.5, 0.502, 0.51, 0.55, 0.6, 0.75, 0.9, 0.99] {
                let frequency = share * lower;
                if frequency < nyquist * 0.999 {
                    let (level, rest) = sine_response(rate_in, rate_out, frequency);
                    assert!(level.max(rest) < -95.0, "{rate_in} to {rate_out}: {level} {rest} dB at {share}");
                }
            }
        }
    }

    #[test]
    fn the_phase_is_absolute() {
        // A sine by absolute time, started at a sample number of 2026, comes out as the sine of absolute time.
        let first = 1_780_000_000_i64 * 48_000 + 12_345;
        let frequency = 1_000.0;
        let input: Vec<f32> = (0..48_000_i64)
            .map(|n| (TAU * frequency * ((first + n) % 48_000) as f64 / 48_000.0).sin() as f32)
            .collect();
        let (first_output, output) = resample(48_000, 22_050, first, &input);
        assert_eq!(first_output, div_ceil(i128::from(first) * 22_050, 48_000));
        for (m, value) in output.iter().enumerate().skip(200).take(20_000) {
            let expected = (TAU * frequency * ((first_output + m as i64) % 22_050) as f64 / 22_050.0).sin();
            assert!((f64::from(*value) - expected).abs() < 1e-4, "{m}: {value} {expected}");
        }
    }

    #[test]
    fn the_last_input_is_exact() {
        for (rate_in, rate_out) in RATES {
            let first = 1_000_000_007;
            let mut resampler = Resampler::new(rate_in, rate_out, first);
            for n in first..first + 4_000 {
                let mut output = Vec::new();
                let first_output = resampler.push(&[1.0], &mut output);
                for m in first_output..first_output + output.len() as i64 {
                    assert_eq!(resampler.last_input(m), n);
                }
            }
        }
    }

    #[test]
    fn lengths_follow_the_ratio() {
        for (rate_in, rate_out) in RATES {
            for samples in [0, 1, 2, 99, 1_000] {
                let (first, output) = resample(rate_in, rate_out, 0, &vec![0.5; samples]);
                let expected = (samples as u64 * u64::from(rate_out)).div_ceil(u64::from(rate_in));
                assert_eq!((first, output.len() as u64), (0, expected), "{rate_in} {rate_out} {samples}");
            }
        }
        assert_eq!(resample(8_000, 8_000, 5, &[0.1, f32::MIN_POSITIVE]), (5, vec![0.1, f32::MIN_POSITIVE]));
    }

    /// With and without wide registers, alone and with others.
    #[test]
    fn outputs_are_the_same_bits_on_every_processor() {
        for (rate_in, rate_out) in RATES {
            let common = greatest_common_divisor(rate_in, rate_out);
            let ratio = (u64::from(rate_out / common), u64::from(rate_in / common));
            let filter = Filter::new(ratio.0, ratio.1);
            let pending: Vec<f32> = (0..5_000).map(|n| ((n * 7_919 % 1_000) as f32 - 500.0) / 499.0).collect();
            let place = Place { start: 3, offset: 0 };
            let (mut wide, mut plain, mut alone) = (Vec::new(), Vec::new(), Vec::new());
            let end = widest(
                #[inline(always)]
                || filter.run(&pending, place, ratio, &mut wide),
            );
            let plain_end = std::hint::black_box(filter.run(&pending, place, ratio, &mut plain));
            let mut next = place;
            while next.start + 2 * filter.half <= pending.len() {
                let reached = &pending[..next.start + 2 * filter.half];
                next = filter.run(reached, next, ratio, &mut alone);
            }
            assert_eq!((end.start, end.offset), (plain_end.start, plain_end.offset));
            assert_eq!((end.start, end.offset), (next.start, next.offset));
            assert!(!wide.is_empty() && wide == plain && wide == alone, "{rate_in} to {rate_out}");
        }
    }

    #[test]
    fn tables_are_bounded() {
        for (rate_in, rate_out) in [(768_000, 1_000), (767_999, 1_000), (1_000, 767_999), (768_000, 767_999)] {
            let resampler = Resampler::new(rate_in, rate_out, 0);
            assert!(resampler.filter.is_some_and(|filter| filter.table.len() <= TABLE_VALUES + 2 * filter.half));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn output_does_not_depend_on_chunks(
            rates in prop::sample::select(RATES.to_vec()),
            first in -1_000_000_000_i64..1_000_000_000_000,
            cuts in prop::collection::vec(0_usize..700, 1..20),
        ) {
            let samples: usize = cuts.iter().sum();
            let input: Vec<f32> = (0..samples).map(|n| ((n * 7_919 % 1_000) as f32 - 500.0) / 500.0).collect();
            let whole = resample(rates.0, rates.1, first, &input);
            let mut resampler = Resampler::new(rates.0, rates.1, first);
            let mut output = Vec::new();
            let mut rest = &input[..];
            for cut in cuts {
                let (piece, later) = rest.split_at(cut);
                let next = resampler.next_output();
                prop_assert_eq!(resampler.push(piece, &mut output), next);
                rest = later;
            }
            resampler.finish(&mut output);
            prop_assert_eq!(whole.1, output);
        }
    }
}
