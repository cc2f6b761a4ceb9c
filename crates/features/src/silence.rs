//! Where nothing is to be heard.

use crate::algorithm::{Algorithm, Stream};
use crate::cells::decibels;
use crate::descriptor::{Descriptor, Kind, Output, Parameter};
use crate::registry::Request;
use crate::session::Sink;

/// The shortest silence that a reader shows, in µs.
const MINIMUM: i64 = 500_000;

/// The facts about `silence`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "silence",
    version: 1,
    family: "segmentation",
    title: "Intervals below a level",
    about: "Steps of 25 ms on the clock's grid whose unweighted level (mean of the channels' mean squares; a full-scale sine is \
            -3.01 dBFS) is below the threshold, joined. The threshold is relative to full scale; a calibration is added to \
            the value, which is the mean over time of the steps' levels in dB (digital silence counts as -150 dB). A step is \
            judged by itself, so nothing depends on what came before, a lead-in changes nothing and there is no bias \
            at borders; a step that a border cuts is judged in two parts. Silences shorter than 0.5 s are left out, but \
            for those at a border of a sensor's recording, which a reader joins before it decides.",
    outputs: &[Output {
        name: KIND,
        title: "A silence; the value is its mean level",
        kind: Kind::Annotation { minimum: MINIMUM },
        unit: "dBFS",
        labels: &[],
        default: true,
    }],
    parameters: &[Parameter {
        name: "threshold",
        about: "The level below which it is silent.",
        unit: "dBFS",
        minimum: -140.0,
        maximum: 0.0,
        default: -60.0,
    }],
    reference: "Own definition: level of 25 ms steps below a threshold",
};

const KIND: &str = "silence";

/// A running `silence`.
struct Silence {
    rate: i64,
    first_body_sample: i64,
    threshold_db: f64,
    calibration_db: f64,
    open: Option<Interval>,
}

/// A silence that goes on.
struct Interval {
    /// Number of its first sample, and of the first after it.
    from: i64,
    to: i64,
    /// Sum over samples of the level in dB.
    levels: f64,
}

/// Makes `silence` run.
pub(crate) fn construct(request: &Request<'_>, stream: &Stream) -> Box<dyn Algorithm> {
    Box::new(Silence {
        rate: i64::from(stream.rate),
        first_body_sample: stream.first_body_sample,
        threshold_db: request.parameter("threshold"),
        calibration_db: stream.calibration_db.unwrap_or(0.0),
        open: None,
    })
}

impl Algorithm for Silence {
    fn samples(&mut self, first: i64, channels: &[&[f32]], sink: &mut Sink) {
        if first < self.first_body_sample {
            return;
        }
        let to = first + channels[0].len() as i64;
        let squares: f64 = channels.iter().map(|channel| sum_of_squares(channel)).sum();
        let level = decibels(squares / (channels.len() * channels[0].len()) as f64);
        if level < self.threshold_db {
            let open = self.open.get_or_insert(Interval { from: first, to, levels: 0.0 });
            open.levels += level * (to - first) as f64;
            open.to = to;
        } else if let Some(ended) = self.open.take() {
            self.close(&ended, sink);
        }
    }

    fn finish(&mut self, _end: i64, sink: &mut Sink) {
        if let Some(last) = self.open.take() {
            self.annotate(&last, sink);
        }
    }
}

impl Silence {
    /// Yields a silence that has ended, unless it is short and lies so far from the start that no reader could join it
    /// with one before: pauses between silences are at least a step, longer than what readers bridge.
    fn close(&self, ended: &Interval, sink: &mut Sink) {
        let step = self.rate / 40;
        let is_short = (ended.to - ended.from) * 1_000_000 < MINIMUM * self.rate;
        if !is_short || ended.from - self.first_body_sample <= step {
            self.annotate(ended, sink);
        }
    }

    fn annotate(&self, silence: &Interval, sink: &mut Sink) {
        let level = silence.levels / (silence.to - silence.from) as f64 + self.calibration_db;
        sink.annotation(KIND, "", silence.from..silence.to, Some(level as f32), None);
    }
}

/// In f64, eight sums side by side: the compiler makes vector instructions of it, in a fixed order.
fn sum_of_squares(samples: &[f32]) -> f64 {
    let (chunks, rest) = samples.as_chunks::<8>();
    let mut sums = [0.0f64; 8];
    for chunk in chunks {
        for (sum, sample) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(*sample) * f64::from(*sample);
        }
    }
    let rest: f64 = rest.iter().map(|sample| f64::from(*sample) * f64::from(*sample)).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Annotation, Item, Session};

    const RATE: u32 = 8_000;
    const START: i64 = 1_777_593_600;

    /// Runs of a constant amplitude, each with its length in ms.
    fn analyse(stream: &Stream, threshold: Option<f64>, runs: &[(i64, f32)]) -> Vec<Annotation> {
        let mut item = Item { algorithm: "silence".into(), ..Item::default() };
        if let Some(threshold) = threshold {
            item.parameters.insert("threshold".into(), threshold.into());
        }
        let mut session = Session::new(&[item], stream).unwrap();
        for (milliseconds, amplitude) in runs {
            let samples = vec![*amplitude; (milliseconds * i64::from(stream.rate) / 1_000) as usize];
            let inverted: Vec<f32> = samples.iter().map(|sample| -sample).collect();
            session.push(&[&samples[..], &inverted[..]][..usize::from(stream.channels)]);
        }
        session.finish().annotations
    }

    fn sensor(lead_in_ms: i64) -> Stream {
        let first_body_sample = START * i64::from(RATE);
        let first_sample = first_body_sample - lead_in_ms * i64::from(RATE) / 1_000;
        Stream { rate: RATE, channels: 1, first_sample, first_body_sample, song: false, calibration_db: None }
    }

    fn song(channels: u16) -> Stream {
        Stream::of_song(RATE, channels)
    }

    fn places(annotations: &[Annotation]) -> Vec<(i64, i64)> {
        annotations.iter().map(|annotation| (annotation.from / 1_000, annotation.to / 1_000)).collect()
    }

    #[test]
    fn silences_have_their_place_and_mean_level() {
        let found = analyse(&song(1), None, &[(1_000, 0.5), (600, 0.0005), (200, 0.00005), (700, 0.5)]);
        assert_eq!(places(&found), [(1_000, 1_800)]);
        let expected = (600.0 * 20.0 * 0.0005_f64.log10() + 200.0 * 20.0 * 0.00005_f64.log10()) / 800.0;
        assert!((f64::from(found[0].value.unwrap()) - expected).abs() < 0.01);
        assert_eq!((found[0].kind, found[0].label.as_str(), found[0].confidence), ("silence", "", None));
        assert!(!found[0].open_start && !found[0].open_end);
    }

    #[test]
    fn short_ones_inside_are_left_out_and_those_at_borders_are_open() {
        let runs = [(100, 0.0), (300, 0.5), (475, 0.0), (300, 0.5), (500, 0.0), (300, 0.5), (50, 0.0)];
        let found = analyse(&sensor(0), None, &runs);
        let start = START * 1_000;
        let expected = [(0, 100), (1_175, 1_675), (1_975, 2_025)].map(|(from, to)| (start + from, start + to));
        assert_eq!(places(&found), expected);
        let open: Vec<_> = found.iter().map(|found| (found.open_start, found.open_end)).collect();
        assert_eq!(open, [(true, false), (false, false), (false, true)]);
    }

    #[test]
    fn the_lead_in_yields_nothing() {
        let found = analyse(&sensor(1_000), None, &[(1_500, 0.0), (500, 0.5)]);
        assert_eq!(places(&found), [(START * 1_000, START * 1_000 + 500)]);
        assert!(found[0].open_start);
        assert!(analyse(&sensor(1_000), None, &[(1_000, 0.0), (500, 0.5)]).is_empty());
    }

    #[test]
    fn the_threshold_is_a_parameter_relative_to_full_scale() {
        let runs = [(1_000, 0.05)];
        assert!(analyse(&song(1), None, &runs).is_empty());
        assert_eq!(analyse(&song(1), Some(-26.0), &runs).len(), 1);
        assert_eq!(analyse(&song(1), Some(-26.1), &runs).len(), 0);
        let calibrated = Stream { calibration_db: Some(94.0), ..sensor(0) };
        let found = analyse(&calibrated, Some(-20.0), &runs);
        assert!((found[0].value.unwrap() - (94.0 - 26.02)).abs() < 0.01);
    }

    #[test]
    fn channels_in_antiphase_are_not_silent() {
        assert!(analyse(&song(2), None, &[(1_000, 0.5)]).is_empty());
        assert_eq!(analyse(&song(2), None, &[(1_000, 0.0)]).len(), 1);
    }
}
