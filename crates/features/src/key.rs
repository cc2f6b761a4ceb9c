//! The key of a song.

use std::f64::consts::TAU;

use antiphon_audio::stft::StftSpec;

use crate::algorithm::{Algorithm, Needs, Spectrum, Stream};
use crate::descriptor::{Descriptor, Kind, Output};
use crate::median::medians;
use crate::registry::Request;
use crate::session::{Sink, SummaryValue};

/// Long enough to tell semitones apart down to 50 Hz.
const SPEC: StftSpec = StftSpec { rate: 22_050, size: 8_192, hop: 4_096 };
const HERTZ_PER_BIN: f64 = SPEC.rate as f64 / SPEC.size as f64;
/// Peaks count between these frequencies in Hz: below, semitones fall together; above, there are overtones only.
const RANGE: [f64; 2] = [50.0, 2_000.0];
/// Bins from 0 Hz to beyond [`RANGE`], whose medians are taken.
const BINS: usize = 800;
/// Bins in such a median.
const FLOOR: usize = 65;
/// What a peak must exceed the median around it by, as the natural logarithm of power: 13 dB.
const PROMINENCE: f32 = 3.0;
/// What counts as nothing.
const NOTHING: f32 = 1e-12;
/// Pitch classes are gathered in parts of a semitone, until the tuning is known.
const PARTS: usize = 10;

const KEY: &str = "key";
const STRENGTH: &str = "strength";
const ALTERNATIVES: &str = "alternatives";

/// The facts about `key`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "key",
    version: 1,
    family: "tonal",
    title: "Key of a song",
    about: "For songs only. The mono mix-down resampled to 22,050 Hz; power spectra of 8,192 samples (periodic Hann) every \
            4,096, centred. Tones are the local maxima between 50 and 2,000 Hz that exceed the median of the 65 bins around \
            them (mirrored at 0 Hz) by 13 dB, which drums and noise seldom do; their frequency f and height are those of the parabola \
            through the logarithm of the power. A tone weighs its amplitude x (f / 440 Hz)^-0.5, over the root of the sum of these in \
            the frame, so that loud passages count a little more. Tuning: the angle of the sum of weight x exp(2 pi i p), p the \
            pitch in semitones above A. A tone d semitones beside the nearest note of that tuning counts 1 - 4 d^2 of its \
            weight for the note's pitch class. The twelve sums are correlated (Pearson) with the profiles of Noland and Sandler, \
            major and minor, in all twelve positions: `key` is the best of the 24, `strength` its correlation (at most 1), \
            `alternatives` names the next two with theirs, such as \"A minor 0.81, G major 0.74\". A song that changes its key \
            gets the one that fits the whole best. Without tones there is no key.",
    outputs: &[
        output(KEY, "Key, such as \"Eb major\" or \"F# minor\""),
        output(STRENGTH, "Correlation of pitch classes with the key's profile"),
        output(ALTERNATIVES, "The next two keys, with their correlations"),
    ],
    parameters: &[],
    reference: "K. Noland and M. Sandler, \"Influences of signal processing, tone profiles, and chord progressions on a model for \
                estimating the musical key from audio\", Computer Music Journal 33(1), 2009: their profiles. What pitch classes are \
                made of is our own definition; accuracy is measured on pieces of known key",
};

const fn output(name: &'static str, title: &'static str) -> Output {
    Output { name, title, kind: Kind::Summary, unit: "1", labels: &[], default: true }
}

/// How strong each pitch class is in a key, from the tonic up, by Noland and Sandler.
const MAJOR: [f64; 12] = [0.0629, 0.0146, 0.061, 0.0121, 0.0623, 0.0414, 0.0248, 0.0631, 0.015, 0.0521, 0.0142, 0.0478];
const MINOR: [f64; 12] = [0.0682, 0.0138, 0.0543, 0.0519, 0.0234, 0.0544, 0.0176, 0.067, 0.0349, 0.0297, 0.0401, 0.027];

const MAJOR_NAMES: [&str; 12] = ["C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];
const MINOR_NAMES: [&str; 12] = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"];

/// A running `key`.
struct Key {
    song: bool,
    wants: [bool; 3],
    logarithms: Vec<f32>,
    floor: Vec<f32>,
    /// Pitch in semitones above A, and weight, of the tones of a frame.
    tones: Vec<(f64, f64)>,
    /// Weights by pitch class in parts of a semitone, from A.
    classes: [f64; 12 * PARTS],
    /// Sum of weight x exp(2 pi i pitch).
    tuning: [f64; 2],
}

/// Makes `key` run.
pub(crate) fn construct(request: &Request<'_>, stream: &Stream) -> Box<dyn Algorithm> {
    Box::new(Key {
        song: stream.song,
        wants: [KEY, STRENGTH, ALTERNATIVES].map(|output| request.wants(output)),
        logarithms: vec![0.0; BINS],
        floor: vec![0.0; BINS],
        tones: Vec::with_capacity(BINS),
        classes: [0.0; 12 * PARTS],
        tuning: [0.0; 2],
    })
}

impl Algorithm for Key {
    fn needs(&self) -> Needs {
        Needs { stft: self.song.then_some(SPEC), mel: false }
    }

    fn spectrum(&mut self, spectrum: &Spectrum<'_>, _sink: &mut Sink) {
        self.find_tones(spectrum.power);
        let sum: f64 = self.tones.iter().map(|(_, weight)| weight).sum();
        for (pitch, weight) in &self.tones {
            let weight = weight / sum.sqrt();
            self.tuning[0] += weight * (TAU * pitch).cos();
            self.tuning[1] += weight * (TAU * pitch).sin();
            let part = (pitch * PARTS as f64).round() as i64;
            self.classes[part.rem_euclid(12 * PARTS as i64) as usize] += weight;
        }
    }

    fn finish(&mut self, _end: i64, sink: &mut Sink) {
        let ranking = self.ranking();
        let missing = || SummaryValue::Missing("no tones stand out of the song".to_owned());
        let [best, others @ ..] = &ranking[..] else {
            let outputs = [KEY, STRENGTH, ALTERNATIVES].into_iter().zip(self.wants);
            outputs.filter(|(_, wanted)| *wanted).for_each(|(output, _)| sink.summary(output, missing()));
            return;
        };
        let others: Vec<String> = others.iter().take(2).map(|(key, strength)| format!("{key} {strength:.2}")).collect();
        let values = [
            (KEY, SummaryValue::Text(best.0.clone())),
            (STRENGTH, SummaryValue::Number(best.1)),
            (ALTERNATIVES, SummaryValue::Text(others.join(", "))),
        ];
        for ((output, value), wanted) in values.into_iter().zip(self.wants) {
            if wanted {
                sink.summary(output, value);
            }
        }
    }
}

impl Key {
    /// The tones of a spectrum.
    fn find_tones(&mut self, power: &[f32]) {
        self.tones.clear();
        self.logarithms.iter_mut().zip(power).for_each(|(target, power)| *target = power.max(NOTHING).ln());
        let floor = &mut self.floor;
        medians::<FLOOR>(&self.logarithms, |bin, median| floor[bin] = median);
        for bin in 1..BINS - 1 {
            let [left, middle, right] = [bin - 1, bin, bin + 1].map(|bin| self.logarithms[bin]);
            if middle <= left || middle < right || middle - self.floor[bin] <= PROMINENCE {
                continue;
            }
            let [left, middle, right] = [left, middle, right].map(f64::from);
            let shift = 0.5 * (left - right) / (left - 2.0 * middle + right);
            let frequency = (bin as f64 + shift) * HERTZ_PER_BIN;
            if !(RANGE[0]..RANGE[1]).contains(&frequency) {
                continue;
            }
            let height = middle - 0.25 * (left - right) * shift;
            let octaves = (frequency / 440.0).log2();
            // The root of the power is the amplitude, and that of the frequency comes off.
            self.tones.push((12.0 * octaves, (0.5 * height).exp() * (-0.5 * octaves).exp2()));
        }
    }

    /// Weights of the pitch classes, from C, at the song's tuning.
    fn pitch_classes(&self) -> [f64; 12] {
        let tuning = self.tuning[1].atan2(self.tuning[0]) / TAU;
        let mut classes = [0.0; 12];
        for (part, weight) in self.classes.iter().enumerate() {
            let pitch = part as f64 / PARTS as f64 - tuning;
            let beside = pitch - pitch.round();
            // A lies nine semitones above C.
            let class = (pitch.round() as i64 + 9).rem_euclid(12) as usize;
            classes[class] += weight * (1.0 - 4.0 * beside * beside);
        }
        classes
    }

    /// All keys with their correlations, the best first; none if the pitch classes are all alike.
    fn ranking(&self) -> Vec<(String, f64)> {
        let classes = self.pitch_classes();
        let mut ranking = Vec::with_capacity(24);
        for (names, mode, profile) in [(MAJOR_NAMES, "major", MAJOR), (MINOR_NAMES, "minor", MINOR)] {
            for (tonic, name) in names.iter().enumerate() {
                let turned: [f64; 12] = std::array::from_fn(|class| profile[(class + 12 - tonic) % 12]);
                if let Some(correlation) = correlation(&classes, &turned) {
                    ranking.push((format!("{name} {mode}"), correlation));
                }
            }
        }
        ranking.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranking
    }
}

/// Pearson's; `None` if one of the two does not vary.
fn correlation(a: &[f64; 12], b: &[f64; 12]) -> Option<f64> {
    let mean = |values: &[f64; 12]| values.iter().sum::<f64>() / 12.0;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let product = |x: &[f64; 12], x_mean: f64, y: &[f64; 12], y_mean: f64| {
        x.iter().zip(y).map(|(x, y)| (x - x_mean) * (y - y_mean)).sum::<f64>()
    };
    let spread = (product(a, mean_a, a, mean_a) * product(b, mean_b, b, mean_b)).sqrt();
    // Rounding leaves a little of what is all alike.
    (spread > 1e-9 * mean_a.abs()).then(|| product(a, mean_a, b, mean_b) / spread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Summary;
    use crate::testing::{item, noise, run, sensor, song};

    /// Chords of three notes above A3 (semitones), half a second each, of tones with four partials.
    fn chords(rate: u32, cents: f64, chords: &[[i32; 3]]) -> Vec<f32> {
        let length = rate as usize / 2;
        let mut samples = Vec::with_capacity(chords.len() * length);
        for chord in chords {
            samples.extend((0..length).map(|n| {
                let t = n as f64 / f64::from(rate);
                let note = |semitones: i32| {
                    let frequency = 220.0 * (f64::from(semitones) / 12.0 + cents / 1_200.0).exp2();
                    (1..=4).map(|k| (TAU * f64::from(k) * frequency * t).sin() / f64::from(k * k)).sum::<f64>()
                };
                (0.1 * chord.iter().map(|&semitones| note(semitones)).sum::<f64>()) as f32
            }));
        }
        samples
    }

    /// Tonic, subdominant, dominant, tonic, twice, and a minor or major chord on the tonic.
    fn cadence(tonic: i32, minor: bool) -> Vec<[i32; 3]> {
        let third = if minor { 3 } else { 4 };
        let degrees = [[0, third, 7], [5, 5 + third, 12], [7, 11, 14], [0, third, 7]];
        degrees.into_iter().cycle().take(8).map(|chord| chord.map(|note| tonic + note)).collect()
    }

    fn summaries(stream: &Stream, samples: &[f32]) -> Vec<Summary> {
        let channels = vec![samples; usize::from(stream.channels)];
        run(&[item("key")], stream, &channels).summaries
    }

    fn text(summary: &Summary) -> &str {
        match &summary.value {
            SummaryValue::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn cadences_have_their_key_in_any_tuning_and_at_any_rate() {
        for tonic in 0..12 {
            for minor in [false, true] {
                let rate = [22_050, 8_000, 44_100, 48_000][tonic as usize % 4];
                let cents = f64::from(tonic * 8 - 44);
                let found = summaries(&song(rate, 1), &chords(rate, cents, &cadence(tonic, minor)));
                let (names, mode) = if minor { (MINOR_NAMES, "minor") } else { (MAJOR_NAMES, "major") };
                let expected = format!("{} {mode}", names[(tonic as usize + 9) % 12]);
                assert_eq!(text(&found[0]), expected, "{cents} cents");
                let SummaryValue::Number(strength) = found[1].value else { panic!("a number") };
                assert!((0.7..=1.0).contains(&strength), "{strength}");
                let others: Vec<&str> = text(&found[2]).split(", ").collect();
                assert!(others.len() == 2 && !others[0].starts_with(&expected), "{others:?}");
            }
        }
    }

    #[test]
    fn noise_does_not_hide_a_key() {
        let rate = 22_050;
        let tones = chords(rate, 20.0, &cadence(5, false));
        let spoilt: Vec<f32> = tones.iter().zip(noise(4, tones.len())).map(|(tone, hiss)| tone + 0.5 * hiss).collect();
        assert_eq!(text(&summaries(&song(rate, 1), &spoilt)[0]), "D major");
    }

    #[test]
    fn without_tones_there_is_no_key() {
        let rate = 44_100;
        let impulse: Vec<f32> = (0..rate).map(|n| f32::from(u8::from(n == 9_000))).collect();
        for samples in [vec![], vec![0.0; rate as usize], vec![0.5; rate as usize], impulse] {
            let found = summaries(&song(rate, 2), &samples);
            assert_eq!(found.len(), 3);
            assert!(found.iter().all(|found| matches!(found.value, SummaryValue::Missing(_))), "{found:?}");
        }
    }

    #[test]
    fn sensors_have_no_key_and_short_or_loud_songs_do_no_harm() {
        assert!(summaries(&sensor(22_050, 1, 0), &chords(22_050, 0.0, &cadence(0, false))).is_empty());
        let square: Vec<f32> = (0..44_100).map(|n| if n / 50 % 2 == 0 { 1e30 } else { -1e30 }).collect();
        for samples in [&square[..], &square[..441], &square[..1]] {
            for found in summaries(&song(44_100, 8), samples) {
                assert!(!matches!(found.value, SummaryValue::Number(number) if !(-1.0..=1.0).contains(&number)));
            }
        }
    }
}
