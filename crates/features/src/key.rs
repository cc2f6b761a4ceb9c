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
/// Peaks count between these frequencies in Hz: below, semitones fall together; above, overtones are more than notes.
const RANGE: [f64; 2] = [50.0, 1_000.0];
/// Bins from 0 Hz to beyond [`RANGE`], by half a median more, whose medians are taken.
const BINS: usize = 440;
/// Bins in such a median.
const FLOOR: usize = 65;
/// What a peak must exceed the median around it by, as the natural logarithm of power: 13 dB.
const PROMINENCE: f32 = 3.0;
/// What counts as nothing.
const NOTHING: f32 = 1e-12;
/// Pitch classes are gathered in parts of a semitone, until the tuning is known.
const PARTS: usize = 10;
/// How much of the class a fifth above counts with a class: the third partial of its notes lies there.
const FIFTH: f64 = 0.2;
/// Added to the correlations of minor keys when keys are ranked: their profiles have more tones that are used by turns, and fit less
/// well. Chosen with everything else by `evaluation/fit_key.py`.
const MINOR_MORE: f64 = 0.04;

const KEY: &str = "key";
const STRENGTH: &str = "strength";
const ALTERNATIVES: &str = "alternatives";

/// The facts about `key`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "key",
    version: 2,
    family: "tonal",
    title: "Key of a song",
    about: "For songs only. The mono mix-down resampled to 22,050 Hz; power spectra of 8,192 samples (periodic Hann) every \
            4,096, centred. Tones are the local maxima between 50 and 1,000 Hz that exceed the median of the 65 bins around \
            them (mirrored at 0 Hz) by 13 dB, which drums and noise seldom do; their frequency f and height are those of the parabola \
            through the logarithm of the power. A tone weighs (amplitude)^0.5 x (f / 440 Hz)^-0.5, over the sum of these in \
            the frame, so that all frames with tones count alike. Tuning: the angle of the sum of weight x exp(2 pi i p), p the \
            pitch in semitones above A. A tone d semitones beside the nearest note of that tuning counts 1 - 4 d^2 of its \
            weight for the note's pitch class. To each of the twelve sums 0.2 of the one a fifth above is added (the third partial). They are \
            correlated (Pearson) with a profile of major and of minor in all twelve positions: the sum of Gómez's and \
            Sha'ath's profiles, each less its mean and divided by the root of the sum of its squares. `key` is the one whose \
            correlation, 0.04 more for minor keys, is largest; `strength` is its correlation (at most 1), without the 0.04, \
            `alternatives` names the next two with theirs, such as \"A minor 0.81, G major 0.74\". A song that changes its key \
            gets the one that fits the whole best. Without tones there is no key.",
    outputs: &[
        output(KEY, "Key, such as \"Eb major\" or \"F# minor\""),
        output(STRENGTH, "Correlation of pitch classes with the key's profile"),
        output(ALTERNATIVES, "The next two keys, with their correlations"),
    ],
    parameters: &[],
    reference: "Own definition. Profiles: E. Gómez, \"Tonal description of polyphonic audio for music content processing\", INFORMS \
                Journal on Computing 18(3), 2006; I. Sha'ath, \"Estimation of key in digital music recordings\", 2011. Compared with \
                Essentia on pieces of known key in docs/accuracy.md",
};

const fn output(name: &'static str, title: &'static str) -> Output {
    Output { name, title, kind: Kind::Summary, unit: "1", labels: &[], default: true }
}

/// How strong each pitch class is in a major and in a minor key, from the tonic up, by Gómez (as Essentia has it) and by Sha'ath.
const GOMEZ: [[f64; 12]; 2] = [
    [0.82, 0.00, 0.55, 0.00, 0.53, 0.30, 0.08, 1.00, 0.00, 0.38, 0.00, 0.47],
    [0.81, 0.00, 0.53, 0.54, 0.00, 0.27, 0.07, 1.00, 0.27, 0.07, 0.10, 0.36],
];
const SHAATH: [[f64; 12]; 2] = [
    [6.6, 2.0, 3.5, 2.3, 4.6, 4.0, 2.5, 5.2, 2.4, 3.7, 2.3, 3.4],
    [6.5, 2.7, 3.5, 5.4, 2.6, 3.5, 2.5, 5.2, 4.0, 2.7, 4.3, 3.2],
];

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
        Needs { stft: self.song.then_some(SPEC), ..Needs::default() }
    }

    fn spectrum(&mut self, spectrum: &Spectrum<'_>, _sink: &mut Sink) {
        self.find_tones(spectrum.power);
        let sum: f64 = self.tones.iter().map(|(_, weight)| weight).sum();
        for (pitch, weight) in &self.tones {
            let weight = weight / sum;
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
            // The fourth root of the power is that of the amplitude; the root of the frequency comes off.
            self.tones.push((12.0 * octaves, (0.25 * height).exp() * (-0.5 * octaves).exp2()));
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
        std::array::from_fn(|class| classes[class] + FIFTH * classes[(class + 7) % 12])
    }

    /// All keys with their correlations, the best first; none if the pitch classes are all alike.
    fn ranking(&self) -> Vec<(String, f64)> {
        let Some(classes) = standard(&self.pitch_classes()) else { return Vec::new() };
        let mut ranking = Vec::with_capacity(24);
        for (mode, names, more) in [(0, MAJOR_NAMES, 0.0), (1, MINOR_NAMES, MINOR_MORE)] {
            let profile = profile(mode);
            for (tonic, name) in names.iter().enumerate() {
                let correlation: f64 = (0..12).map(|class| classes[class] * profile[(class + 12 - tonic) % 12]).sum();
                // Rounding may go beyond 1.
                let correlation = correlation.clamp(-1.0, 1.0);
                ranking.push((format!("{name} {}", ["major", "minor"][mode]), correlation, correlation + more));
            }
        }
        ranking.sort_by(|a, b| b.2.total_cmp(&a.2));
        ranking.into_iter().map(|(key, correlation, _)| (key, correlation)).collect()
    }
}

/// The profile of major (0) or minor (1) keys, standardised.
fn profile(mode: usize) -> [f64; 12] {
    let [gomez, shaath] = [GOMEZ[mode], SHAATH[mode]].map(|profile| standard(&profile).unwrap_or_default());
    standard(&std::array::from_fn(|class| gomez[class] + shaath[class])).unwrap_or_default()
}

/// Values less their mean, over the root of the sum of their squares, so that the product of two is Pearson's correlation; `None` if
/// they do not vary.
fn standard(values: &[f64; 12]) -> Option<[f64; 12]> {
    let mean = values.iter().sum::<f64>() / 12.0;
    let length = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>().sqrt();
    // Rounding leaves a little of what is all alike.
    (length > 1e-9 * mean.abs()).then(|| values.map(|value| (value - mean) / length))
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

    /// Expected: the profile "gomez + shaath" of `evaluation/fit_key.py`.
    #[test]
    fn profiles_are_those_that_were_chosen() {
        let major = [
            0.553568, -0.325999, 0.088033, -0.29271, 0.201092, 0.030978, -0.234504, 0.479243, -0.281613, 0.0337,
            -0.29271, 0.040924,
        ];
        let minor = [
            0.557308, -0.302742, 0.052282, 0.291154, -0.315059, -0.07354, -0.293502, 0.489127, -0.011953, -0.268867,
            -0.057269, -0.066939,
        ];
        for (mode, expected) in [major, minor].into_iter().enumerate() {
            for (found, expected) in profile(mode).into_iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
            }
        }
        assert_eq!(standard(&[0.3; 12]), None);
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
