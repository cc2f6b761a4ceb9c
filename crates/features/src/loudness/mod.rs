//! Loudness and true peak.

mod song;
mod true_peak;
mod weighting;

use crate::algorithm::{Algorithm, Stream};
use crate::cells::{Energies, Values, decibels};
use crate::descriptor::{Aggregate, Descriptor, Kind, Output, Series};
use crate::registry::Request;
use crate::session::Sink;
use song::Song;
use true_peak::{Interpolator, TruePeak};
use weighting::{Channels, Weighting};

const MAIN: &str = "main";
pub(super) const INTEGRATED: &str = "integrated";
pub(super) const RANGE: &str = "range";
pub(super) const TRUE_PEAK: &str = "true_peak";
pub(super) const TRACK_GAIN: &str = "track_gain";
pub(super) const TRACK_PEAK: &str = "track_peak";

/// The facts about `loudness`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "loudness",
    version: 1,
    family: "loudness",
    title: "Loudness by EBU R 128, loudness range, true peak and ReplayGain 2.0",
    about: "K weighted energies of 100 ms on the clock's grid, channels summed with the weights of BS.1770-5: in the order of \
            WAV and FLAC, 1 for front, centre and back, 1.41 for surround and side, 0 for the LFE of 5.1, 6.1 and 7.1; \
            a mono file counts one channel, four channels are quadraphonic, five are 5.0. Momentary (400 ms) and \
            short-term (3 s) values belong to the instant at which their block ends, and exist where all of it was \
            heard, across recordings too. Integrated loudness is gated at -70 LUFS and 10 LU below the mean, the range at -70 \
            LUFS and 20 LU below, over bins of 0.1 LU; a song's summary is exact. Values of less than 400 ms or 3 s \
            of audio do not exist. True peak is the largest value at four times the rate (twice from 96 kHz, the \
            samples themselves from 192 kHz). Digital silence counts as -150. Calibration does not enter. Without a lead-in \
            filters start from rest: of a steady sound, the first 100 ms read up to 0.3 dB off, and nothing after them. \
            ReplayGain 2.0, for songs: the track gain is what brings the integrated loudness to -18 LUFS, the track peak the largest \
            absolute sample of any channel, where 1 is full scale.",
    outputs: &[
        output("momentary", "Loudness of 400 ms", "LUFS", &["max", "min"], false),
        output("short_term", "Loudness of 3 s", "LUFS", &["max", "min"], false),
        output(INTEGRATED, "Gated loudness", "LUFS", &["value"], true),
        output(RANGE, "Loudness range", "LU", &["value"], true),
        output(TRUE_PEAK, "Largest value between samples, of any channel", "dBTP", &["max"], true),
        summary(TRACK_GAIN, "ReplayGain 2.0: what brings the song to -18 LUFS", "dB"),
        summary(TRACK_PEAK, "ReplayGain 2.0: largest absolute sample, 1 is full scale", "1"),
    ],
    parameters: &[],
    reference: "ITU-R BS.1770-5, EBU R 128, EBU Tech 3341 and 3342; ReplayGain 2.0 specification",
};

const fn output(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    stats: &'static [&'static str],
    summary: bool,
) -> Output {
    Output {
        name,
        title,
        kind: Kind::Series(Series {
            dimensions: 1,
            aggregate: Aggregate::Loudness,
            layer: MAIN,
            histogram: None,
            stats,
            hop: None,
            summary,
        }),
        unit,
        labels: &[],
        default: true,
    }
}

const fn summary(name: &'static str, title: &'static str, unit: &'static str) -> Output {
    Output { name, title, kind: Kind::Summary, unit, labels: &[], default: true }
}

/// Weights of channels by how many there are (BS.1770-5, tables 3 and 4), in the order of WAV and FLAC.
fn weights(channels: usize) -> &'static [f64] {
    match channels {
        0..=3 => &[1.0, 1.0, 1.0][..channels],
        4 => &[1.0, 1.0, 1.41, 1.41],
        5 => &[1.0, 1.0, 1.0, 1.41, 1.41],
        6 => &[1.0, 1.0, 1.0, 0.0, 1.41, 1.41],
        7 => &[1.0, 1.0, 1.0, 0.0, 1.0, 1.41, 1.41],
        _ => &[1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.41, 1.41],
    }
}

/// A running `loudness`.
struct Loudness {
    rate: i64,
    first_body_sample: i64,
    weights: &'static [f64],
    weighting: Weighting,
    /// Two channels each; the second of the last is a copy of the first when their number is odd.
    weighted: Vec<Channels>,
    interpolator: Interpolator,
    /// By channel; empty if true peak was not asked for.
    true_peaks: Vec<TruePeak>,
    measures_energy: bool,
    second: Second,
    song: Option<Song>,
    /// Of integrated loudness, range, true peak, track gain and track peak: which a song was asked for.
    summaries: [bool; 5],
}

/// Sums of the body samples of one second.
#[derive(Default)]
struct Second {
    /// Weighted sums of squares of each 100 ms, and how many samples went in.
    energies: [f64; 10],
    samples: [u32; 10],
}

/// Makes `loudness` run.
pub(crate) fn construct(request: &Request<'_>, stream: &Stream) -> Box<dyn Algorithm> {
    let channels = usize::from(stream.channels);
    let measures_peak = request.wants(TRUE_PEAK);
    let of_energy = ["momentary", "short_term", INTEGRATED, RANGE, TRACK_GAIN];
    let measures_energy = of_energy.iter().any(|output| request.wants(output));
    Box::new(Loudness {
        rate: i64::from(stream.rate),
        first_body_sample: stream.first_body_sample,
        weights: weights(channels),
        weighting: Weighting::new(stream.rate),
        weighted: vec![Channels::new(); channels.div_ceil(2)],
        interpolator: Interpolator::new(stream.rate),
        true_peaks: if measures_peak { vec![TruePeak::new(); channels] } else { Vec::new() },
        measures_energy,
        second: Second::default(),
        song: stream.song.then(Song::default),
        summaries: [INTEGRATED, RANGE, TRUE_PEAK, TRACK_GAIN, TRACK_PEAK].map(|output| request.wants(output)),
    })
}

impl Algorithm for Loudness {
    fn samples(&mut self, first: i64, channels: &[&[f32]], sink: &mut Sink) {
        let length = channels[0].len();
        let end = first + length as i64;
        let counts = first >= self.first_body_sample;
        // A step never crosses the border of a 100 ms block.
        let slot = (first.rem_euclid(self.rate) * 10 / self.rate) as usize;
        if self.measures_energy {
            let mut energy = 0.0;
            for (index, pair) in channels.chunks(2).enumerate() {
                let sums = self.weighted[index].run(&self.weighting, pair[0], pair[pair.len() - 1]);
                let weights = &self.weights[2 * index..2 * index + pair.len()];
                energy += weights.iter().zip(sums).map(|(weight, sum)| weight * sum).sum::<f64>();
            }
            if counts {
                self.second.energies[slot] += energy;
            }
        }
        for (true_peak, channel) in self.true_peaks.iter_mut().zip(channels) {
            true_peak.run(&self.interpolator, channel, counts);
        }
        if let Some(song) = self.song.as_mut().filter(|_| self.summaries[4]) {
            channels.iter().for_each(|channel| song.push_samples(channel));
        }
        if counts {
            self.second.samples[slot] += length as u32;
            if end.rem_euclid(self.rate) == 0 {
                self.close_second((end - 1).div_euclid(self.rate), sink);
            }
        }
    }

    fn finish(&mut self, end: i64, sink: &mut Sink) {
        if self.song.is_some() {
            // What rings after the last sample belongs to it.
            let silence = [0.0; 32];
            for true_peak in &mut self.true_peaks {
                true_peak.run(&self.interpolator, &silence, true);
            }
        }
        if self.second.samples != [0; 10] {
            self.close_second((end - 1).div_euclid(self.rate), sink);
        }
        if let Some(song) = &self.song {
            song.summarize(self.summaries, sink);
        }
    }
}

impl Loudness {
    fn close_second(&mut self, second: i64, sink: &mut Sink) {
        let sums = std::mem::take(&mut self.second);
        let true_peak = self.true_peaks.iter_mut().map(TruePeak::take).reduce(f32::max);
        let true_peak = true_peak.map_or(f32::NAN, |peak| decibels(f64::from(peak).powi(2)) as f32);
        let mut means = [f64::NAN; 10];
        for (mean, (energy, samples)) in means.iter_mut().zip(sums.energies.iter().zip(sums.samples)) {
            if self.measures_energy && samples > 0 {
                *mean = energy / f64::from(samples) * self.weighting.gain();
            }
        }
        if let Some(song) = &mut self.song {
            for (index, (mean, samples)) in means.iter().zip(sums.samples).enumerate() {
                let border = |slot: i64| -(-slot * self.rate).div_euclid(10);
                let whole = border(index as i64 + 1) - border(index as i64);
                if i64::from(samples) == whole {
                    song.push(*mean);
                }
            }
            song.push_true_peak(true_peak);
        }
        if let Some((from, to)) = sink.interval(second) {
            let energies = means.map(|mean| mean as f32);
            sink.partial(MAIN, second, Values::Energies(Energies::new(from, to, &energies, true_peak)));
        }
    }
}

#[cfg(test)]
mod tests;
