//! Sound levels: A, C and Z weighted, their 125 ms levels, third-octave bands, peak and clipping.

mod bands;
mod weighting;

use crate::algorithm::{Algorithm, Stream};
use crate::cells::{Histogram, Values, decibels};
use crate::descriptor::{Aggregate, Descriptor, Hop, Kind, Output, Series};
use crate::registry::Request;
use crate::session::Sink;
use bands::{BANDS, Bank};
use weighting::{A, C, Channels, Weighting, Z};
#[cfg(test)]
use weighting::{a_weighting, c_weighting};

const LEVEL_STATS: &[&str] = &["leq", "min", "max"];
const LEVEL_STATS_WITH_PERCENTILES: &[&str] = &["leq", "min", "max", "lNN"];
const MAIN: &str = "main";
const HISTOGRAM: &str = "histogram";
const BAND_LAYER: &str = "bands";
const FAST_HOP: Option<Hop> = Some(Hop { samples: 1, rate: 8 });

/// The facts about `level`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "level",
    version: 1,
    family: "level",
    title: "Sound levels, third-octave bands, peak and clipping",
    about: "Levels of the mean square: A, C and Z weighted by IEC 61672-1, and in third-octave bands by IEC 61260-1 \
            (base 10, Butterworth order 3). A full-scale sine reads -3.01 dBFS; a calibration adds its dB. Several \
            channels: the mean of their mean squares. The 125 ms levels are the exponential time weighting F, read at \
            every 125 ms of the clock; min, max and the percentiles l01 to l99 (bins of 0.1 dB) are of them. Digital \
            silence counts as -150 dB. Bands whose centre lies above 0.4 of the sample rate are null. Without a \
            lead-in the filters start from rest, and the fast level from the mean square of the first 125 ms. In the \
            first second, bands then read low by up to 0.8 dB (25 Hz), 0.2 dB (100 Hz) and 0.02 dB (1 kHz) for a steady \
            tone; A is off by less than 0.01 dB for noise and tones from 1 kHz on, by up to 0.2 dB for a tone of 100 Hz, \
            and by up to 10 dB for one of 25 Hz, whose sudden start is louder than itself.",
    outputs: &[
        Output {
            name: "a",
            title: "A weighted level",
            kind: Kind::Series(Series {
                dimensions: 1,
                aggregate: Aggregate::Level,
                layer: MAIN,
                histogram: Some(HISTOGRAM),
                stats: LEVEL_STATS_WITH_PERCENTILES,
                hop: FAST_HOP,
                summary: false,
            }),
            unit: "dBFS",
            labels: &[],
            default: true,
        },
        weighted("c", "C weighted level"),
        weighted("z", "Unweighted level"),
        Output {
            name: "bands",
            title: "Levels in third-octave bands; labels are nominal centres in Hz",
            kind: Kind::Series(Series {
                dimensions: BANDS as u16,
                aggregate: Aggregate::Energy,
                layer: BAND_LAYER,
                histogram: None,
                stats: &["leq"],
                hop: None,
                summary: false,
            }),
            unit: "dBFS",
            labels: &bands::NOMINAL,
            default: true,
        },
        Output {
            name: "peak",
            title: "Largest sample of any channel, unweighted: 0 dBFS is full scale",
            kind: Kind::Series(Series {
                dimensions: 1,
                aggregate: Aggregate::Maximum,
                layer: MAIN,
                histogram: None,
                stats: &["max"],
                hop: None,
                summary: false,
            }),
            unit: "dBFS",
            labels: &[],
            default: true,
        },
        Output {
            name: "clipping",
            title: "Share of samples, of all channels, at full scale (at least 32,767 / 32,768)",
            kind: Kind::Series(Series {
                dimensions: 1,
                aggregate: Aggregate::Share,
                layer: MAIN,
                histogram: None,
                stats: &["mean"],
                hop: None,
                summary: false,
            }),
            unit: "1",
            labels: &[],
            default: true,
        },
    ],
    parameters: &[],
    reference: "IEC 61672-1:2013 (weightings A, C, Z, time weighting F), IEC 61260-1:2014 (bands)",
};

const fn weighted(name: &'static str, title: &'static str) -> Output {
    Output {
        name,
        title,
        kind: Kind::Series(Series {
            dimensions: 1,
            aggregate: Aggregate::Level,
            layer: MAIN,
            histogram: None,
            stats: LEVEL_STATS,
            hop: FAST_HOP,
            summary: false,
        }),
        unit: "dBFS",
        labels: &[],
        default: true,
    }
}

/// Samples of at least this size count as clipped: the largest positive one of 16 bit.
const FULL_SCALE: f32 = 32_767.0 / 32_768.0;

/// What is asked for.
#[derive(Clone, Copy)]
struct Wanted {
    /// By weighting.
    levels: [bool; 3],
    bands: bool,
    peak: bool,
    clipping: bool,
}

/// A running `level`.
pub(crate) struct Level {
    rate: i64,
    first_body_sample: i64,
    channels: usize,
    /// |gain|² of the calibration.
    calibration: f64,
    wanted: Wanted,
    weighting: Weighting,
    /// Two channels each; the second of the last is a copy of the first when their number is odd.
    weighted: Vec<Channels>,
    banks: Vec<Bank>,
    start: Option<Start>,
    second: Second,
}

/// The first 125 ms, kept until the mean square that fast levels start from is known.
struct Start {
    /// Number of the first sample of each step.
    steps: Vec<i64>,
    /// What has come, per channel.
    samples: Vec<Vec<f32>>,
    /// Samples in 125 ms.
    needed: usize,
}

/// Sums of the body samples of one second.
struct Second {
    samples: u64,
    /// Sums of squares by weighting, over all channels, without gains.
    squares: [f64; 3],
    /// 125 ms levels in dB by weighting.
    fast: [Vec<f32>; 3],
    peak: f32,
    clipped: u64,
}

/// Makes `level` run.
pub(crate) fn construct(request: &Request<'_>, stream: &Stream) -> Box<dyn Algorithm> {
    let wanted = Wanted {
        levels: ["a", "c", "z"].map(|name| request.wants(name)),
        bands: request.wants("bands"),
        peak: request.wants("peak"),
        clipping: request.wants("clipping"),
    };
    let channels = usize::from(stream.channels);
    let pairs = channels.div_ceil(2);
    let needed = (stream.rate as usize).div_ceil(8);
    Box::new(Level {
        rate: i64::from(stream.rate),
        first_body_sample: stream.first_body_sample,
        channels,
        calibration: 10f64.powf(stream.calibration_db.unwrap_or(0.0) / 10.0),
        wanted,
        weighting: Weighting::new(stream.rate),
        weighted: vec![Channels::new(); pairs],
        banks: if wanted.bands { vec![Bank::new(stream.rate); pairs] } else { Vec::new() },
        start: Some(Start {
            steps: Vec::new(),
            samples: vec![Vec::with_capacity(needed + needed / 4); channels],
            needed,
        }),
        second: Second::new(),
    })
}

impl Algorithm for Level {
    fn samples(&mut self, first: i64, channels: &[&[f32]], sink: &mut Sink) {
        let Some(start) = &mut self.start else {
            return self.step(first, channels, sink);
        };
        start.steps.push(first);
        for (kept, channel) in start.samples.iter_mut().zip(channels) {
            kept.extend_from_slice(channel);
        }
        if start.samples[0].len() >= start.needed {
            self.begin(sink);
        }
    }

    fn finish(&mut self, end: i64, sink: &mut Sink) {
        self.begin(sink);
        if self.second.samples > 0 {
            self.close_second((end - 1).div_euclid(self.rate), sink);
        }
    }
}

impl Level {
    /// Starts the fast levels from the mean square of what was kept, and takes what was kept.
    fn begin(&mut self, sink: &mut Sink) {
        let Some(start) = self.start.take() else {
            return;
        };
        let length = start.samples[0].len();
        let used = length.min(start.needed);
        if used > 0 {
            let slices: Vec<&[f32]> = start.samples.iter().map(|channel| &channel[..used]).collect();
            for (pair, weighted) in slices.chunks(2).zip(&mut self.weighted) {
                let sums = weighted.clone().run(&self.weighting, pair[0], pair[pair.len() - 1]);
                weighted.start_fast(sums.map(|sums| sums.map(|sum| sum / used as f64)));
            }
        }
        let Some(&origin) = start.steps.first() else {
            return;
        };
        for (index, &first) in start.steps.iter().enumerate() {
            let end = start.steps.get(index + 1).map_or(length, |next| (next - origin) as usize);
            let range = (first - origin) as usize..end;
            let slices: Vec<&[f32]> = start.samples.iter().map(|channel| &channel[range.clone()]).collect();
            self.step(first, &slices, sink);
        }
    }

    fn step(&mut self, first: i64, channels: &[&[f32]], sink: &mut Sink) {
        let length = channels[0].len();
        let end = first + length as i64;
        let counts = first >= self.first_body_sample;
        for (index, pair) in channels.chunks(2).enumerate() {
            let (left, right) = (pair[0], pair[pair.len() - 1]);
            if self.wanted.levels.contains(&true) {
                let sums = self.weighted[index].run(&self.weighting, left, right);
                if counts {
                    for (total, sums) in self.second.squares.iter_mut().zip(sums) {
                        *total += sums[..pair.len()].iter().sum::<f64>();
                    }
                }
            }
            if self.wanted.bands {
                self.banks[index].run(first, pair, counts);
            }
        }
        if counts {
            self.second.samples += length as u64;
            for channel in channels {
                self.second.measure(channel);
            }
            if self.ends_fast_level(end) {
                self.read_fast_levels(end, sink);
            }
        }
        if end.rem_euclid(self.rate) == 0 && self.second.samples > 0 {
            self.close_second((end - 1).div_euclid(self.rate), sink);
        }
    }

    /// Whether a border of the 125 ms grid, ceil(k x rate / 8), is here.
    fn ends_fast_level(&self, end: i64) -> bool {
        (end * 8).div_euclid(self.rate) > ((end - 1) * 8).div_euclid(self.rate)
    }

    fn read_fast_levels(&mut self, end: i64, sink: &mut Sink) {
        let mut frame = [f32::NAN; 3];
        let gains = self.weighting.gains();
        for weight in [A, C, Z] {
            if !self.wanted.levels[weight] {
                continue;
            }
            let mut sum = 0.0;
            for (index, channels) in self.weighted.iter().enumerate() {
                let present = (self.channels - 2 * index).min(2);
                sum += channels.fast()[weight][..present].iter().sum::<f64>();
            }
            let mean = sum / self.channels as f64 * gains[weight] * self.calibration;
            frame[weight] = decibels(mean) as f32;
            self.second.fast[weight].push(frame[weight]);
        }
        if sink.wants_frames() {
            // The frame is the 125 ms that end here.
            let index = (end * 8).div_euclid(self.rate) - 1;
            sink.frame(index, end - 1, &frame);
        }
    }

    fn close_second(&mut self, second: i64, sink: &mut Sink) {
        let sums = std::mem::replace(&mut self.second, Second::new());
        let samples = (sums.samples * self.channels as u64) as f64;
        let gains = self.weighting.gains();
        let mut row = Vec::with_capacity(11);
        for weight in [A, C, Z] {
            if self.wanted.levels[weight] {
                let mean = sums.squares[weight] / samples * gains[weight] * self.calibration;
                let levels = &sums.fast[weight];
                row.push(mean as f32);
                row.push(levels.iter().copied().fold(f32::NAN, f32::min));
                row.push(levels.iter().copied().fold(f32::NAN, f32::max));
            } else {
                row.extend([f32::NAN; 3]);
            }
        }
        let peak = decibels(f64::from(sums.peak).powi(2) * self.calibration) as f32;
        row.push(if self.wanted.peak { peak } else { f32::NAN });
        row.push(if self.wanted.clipping { (sums.clipped as f64 / samples) as f32 } else { f32::NAN });
        sink.partial(MAIN, second, Values::Fields { count: 0, values: row });
        if self.wanted.levels[A] {
            sink.partial(HISTOGRAM, second, Values::Histogram(Histogram::of(&sums.fast[A])));
        }
        if self.wanted.bands {
            let values = self.close_bands();
            sink.partial(BAND_LAYER, second, Values::Fields { count: 0, values });
        }
    }

    /// Mean squares by band, over all channels.
    fn close_bands(&mut self) -> Vec<f32> {
        let mut means = [f64::NAN; BANDS];
        for (index, bank) in self.banks.iter_mut().enumerate() {
            let present = (self.channels - 2 * index).min(2);
            for (mean, band) in means.iter_mut().zip(bank.take_mean_squares()) {
                let sum = band[..present].iter().sum::<f64>();
                *mean = if mean.is_nan() { sum } else { *mean + sum };
            }
        }
        means.iter().map(|sum| (sum / self.channels as f64 * self.calibration) as f32).collect()
    }
}

impl Second {
    fn new() -> Second {
        Second { samples: 0, squares: [0.0; 3], fast: [const { Vec::new() }; 3], peak: 0.0, clipped: 0 }
    }

    fn measure(&mut self, samples: &[f32]) {
        let (mut peak, mut clipped) = (0.0f32, 0u32);
        for &sample in samples {
            let size = sample.abs();
            peak = if size > peak { size } else { peak };
            clipped += u32::from(size >= FULL_SCALE);
        }
        self.peak = self.peak.max(peak);
        self.clipped += u64::from(clipped);
    }
}

#[cfg(test)]
mod tests;
