//! Sums over the frames of a block or a song, and the indices that follow from them.

use std::ops::Range;

use super::INDICES;
use super::frame::{BINS, Frame};
use crate::algorithm::COMMON as SPEC;

/// Width of a bin in Hz.
const RESOLUTION: f64 = SPEC.rate as f64 / SPEC.size as f64;

/// What resampling leaves untouched, as a share of the lower rate.
const PASS_BAND: f64 = 0.45;

/// Bands of 1 kHz whose scores make ADI.
const SCORES: usize = 10;
/// What a score counts lies no more than 50 dB below the largest power.
const SCORE_RANGE: f64 = 1e-5;
/// Steps of power, 2,048 an octave: the exponent of an f32 and the upper eleven bits of its mantissa. What counts spans 17
/// octaves, so the counts of 32 are kept, going around.
const STEPS: usize = 1 << 16;
const STEP_SHIFT: u32 = 12;
/// Frames whose powers are counted at once, band by band: the counts of all bands are more than the processor keeps at hand.
const COUNTED_AT_ONCE: u64 = 64;

/// Sums over frames. Its size does not depend on their number.
pub(super) struct Sums {
    /// Bins that the source's rate reaches.
    bins: usize,
    frames: u64,
    power: Vec<f64>,
    amplitude: Vec<f64>,
    change: Vec<f64>,
    /// Largest power of any bin and frame.
    largest: f64,
    /// How often each step of power came, by band of ADI.
    counts: Vec<[u32; STEPS]>,
    /// What counts below this were forgotten.
    forgotten: f32,
    /// Powers that are not yet counted, by band.
    recent: [Vec<f32>; SCORES],
    envelope: Envelope,
}

/// Sums over the squared envelope.
#[derive(Default)]
struct Envelope {
    count: u64,
    sum: f64,
    /// Of each value times its logarithm.
    logarithms: f64,
}

impl Sums {
    /// For a source of that many samples per second.
    pub(super) fn new(rate: u32) -> Sums {
        let reach = (PASS_BAND * f64::from(rate) / RESOLUTION).ceil() as usize;
        let bins = if rate < SPEC.rate { reach.min(BINS) } else { BINS };
        let zeros = || vec![0.0; BINS];
        let counts = vec![[0; STEPS]; SCORES];
        Sums {
            bins,
            frames: 0,
            power: zeros(),
            amplitude: zeros(),
            change: zeros(),
            largest: 0.0,
            counts,
            forgotten: 0.0,
            recent: Default::default(),
            envelope: Envelope::default(),
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        for sums in [&mut self.power, &mut self.amplitude, &mut self.change] {
            sums.fill(0.0);
        }
        self.counts.iter_mut().for_each(|counts| counts.fill(0));
        self.recent.iter_mut().for_each(Vec::clear);
        (self.frames, self.largest, self.forgotten, self.envelope) = (0, 0.0, 0.0, Envelope::default());
    }

    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Adds a frame that follows the one added before.
    pub(super) fn add(&mut self, frame: &Frame) {
        add(&mut self.power, &frame.power);
        add(&mut self.amplitude, &frame.amplitude);
        let new_peaks = if self.frames == 0 { &frame.peaks[..] } else { &frame.peaks[3..] };
        new_peaks.iter().for_each(|peak| self.envelope.add(*peak));
        if self.frames > 0 {
            add(&mut self.change, &frame.change);
        }
        self.largest = self.largest.max(largest(&frame.power));
        for (band, recent) in self.recent.iter_mut().enumerate() {
            recent.extend(frame.power[score_bins(band)].iter().map(|power| *power as f32));
        }
        self.frames += 1;
        if self.frames.is_multiple_of(COUNTED_AT_ONCE) {
            self.count();
        }
    }

    /// Counts the powers that are not yet counted. What is 50 dB below the largest so far will be below the largest of all.
    fn count(&mut self) {
        let least = self.least();
        self.forget(step(self.forgotten)..step(least));
        self.forgotten = least;
        for (counts, recent) in self.counts.iter_mut().zip(&mut self.recent) {
            for power in recent.drain(..).filter(|power| *power >= least) {
                let count = &mut counts[step(power) % STEPS];
                *count = count.saturating_add(1);
            }
        }
    }

    /// The least power that a score counts, as things stand.
    fn least(&self) -> f32 {
        (self.largest * SCORE_RANGE) as f32
    }

    /// Steps that nothing will ever count again make room for those 32 octaves above.
    fn forget(&mut self, steps: Range<usize>) {
        let steps = steps.end.saturating_sub(STEPS).max(steps.start)..steps.end;
        for counts in &mut self.counts {
            steps.clone().for_each(|step| counts[step % STEPS] = 0);
        }
    }

    /// ACI, ADI, BI, NDSI, H, Ht and Hf; NaN for what does not exist.
    pub(super) fn indices(&mut self) -> [f64; INDICES] {
        self.count();
        let (time, frequency) = (self.envelope.entropy(), entropy(&self.power));
        [self.complexity(), self.diversity(), self.bioacoustic(), self.difference(), time * frequency, time, frequency]
    }

    fn complexity(&self) -> f64 {
        // A bin that was silent throughout gives 0 / 0, and so no index.
        let bins = self.change.iter().zip(&self.amplitude).take(self.bins);
        bins.map(|(change, amplitude)| change / amplitude).sum()
    }

    fn diversity(&self) -> f64 {
        if self.largest == 0.0 {
            return f64::NAN;
        }
        let scores: Vec<f64> = (0..SCORES).map(|band| self.score(band)).collect();
        entropy(&scores) * (SCORES as f64).ln()
    }

    /// The share of a band that reaches the threshold. Of the step in which the threshold lies counts what is above it, as if its
    /// values were spread evenly.
    fn score(&self, band: usize) -> f64 {
        let least = self.least();
        let first = step(least);
        let border = |step: usize| f64::from(f32::from_bits((step as u32) << STEP_SHIFT));
        let (from, to) = (border(first), border(first + 1));
        let share = (to - f64::from(least)) / (to - from);
        let counts = &self.counts[band];
        let count = |step: usize| f64::from(counts[step % STEPS]);
        let above: f64 = (first + 1..=step(self.largest as f32)).map(count).sum();
        (above + share * count(first)) / (self.frames as f64 * score_bins(band).len() as f64)
    }

    fn bioacoustic(&self) -> f64 {
        let (first, end) = (nearest(2_000.0), self.bins.min(nearest(8_000.0) + 1));
        if self.largest == 0.0 || first >= end {
            return f64::NAN;
        }
        let scale = 1.0 / (self.frames as f64 * self.largest.sqrt());
        let levels = || {
            let amplitudes = &self.amplitude[first..end];
            amplitudes.iter().map(|sum| 20.0 * (sum * scale).max(f64::MIN_POSITIVE).log10())
        };
        let smallest = levels().fold(f64::INFINITY, f64::min);
        levels().map(|level| level - smallest).sum::<f64>() / RESOLUTION
    }

    fn difference(&self) -> f64 {
        let mean = |kilohertz: usize| {
            let from = |kilohertz: usize| (kilohertz as f64 * 1_000.0 / RESOLUTION).ceil() as usize;
            let band = &self.power[from(kilohertz)..from(kilohertz + 1)];
            band.iter().sum::<f64>() / band.len() as f64
        };
        let (people, animals) = (mean(1), (2..8).map(mean).sum::<f64>());
        (animals - people) / (animals + people)
    }
}

impl Envelope {
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.logarithms += times_logarithm(value);
    }

    fn entropy(&self) -> f64 {
        relative_entropy(self.count, self.sum, self.logarithms)
    }
}

/// Entropy of values as shares of their sum, relative to the largest that so many can have.
fn entropy(values: &[f64]) -> f64 {
    let logarithms = values.iter().map(|value| times_logarithm(*value)).sum();
    relative_entropy(values.len() as u64, values.iter().sum(), logarithms)
}

/// -sum p ln p / ln n for p = v / sum v, by the sums of v and of v ln v. It is 1 where all are 0, and 0 of one value.
fn relative_entropy(count: u64, sum: f64, logarithms: f64) -> f64 {
    match count {
        0 | 1 => 0.0,
        _ if sum == 0.0 => 1.0,
        _ => ((sum.ln() - logarithms / sum) / (count as f64).ln()).clamp(0.0, 1.0),
    }
}

fn times_logarithm(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value * value.ln() }
}

/// The largest of numbers that are not negative, in lanes that do not wait for each other.
fn largest(values: &[f64]) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let (chunks, rest) = values.as_chunks::<8>();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane = if *value > *lane { *value } else { *lane });
    }
    lanes.iter().chain(rest).fold(0.0, |largest, value| value.max(largest))
}

fn add(sums: &mut [f64], values: &[f64]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

/// The bin nearest to a frequency.
fn nearest(frequency: f64) -> usize {
    (frequency / RESOLUTION).round() as usize
}

fn score_bins(band: usize) -> Range<usize> {
    nearest(band as f64 * 1_000.0)..nearest((band + 1) as f64 * 1_000.0) + 1
}

/// Which step a power, which is not negative, belongs to.
fn step(power: f32) -> usize {
    (power.to_bits() >> STEP_SHIFT) as usize
}
