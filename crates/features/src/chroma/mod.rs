//! Which of the twelve notes sound, whatever their octave.

mod bank;
mod tuning;

use crate::algorithm::{Algorithm, COMMON as SPEC, Needs, Spectrum, Stream};
use crate::descriptor::{Descriptor, Hop, Kind, Output};
use crate::registry::Request;
use crate::session::{Sink, SummaryValue};
use bank::Bank;
use tuning::Tuning;

/// Notes of an octave, from C.
pub(crate) const NOTES: usize = 12;
/// Their names.
pub(crate) const NAMES: [&str; NOTES] = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];
const DIRECTIONS: usize = 6;
const STFT: &str = "stft";
const TONNETZ: &str = "tonnetz";
const TUNING: &str = "tuning";

/// The facts about `chroma`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "chroma",
    version: 1,
    family: "tonal",
    title: "Energy by note of the octave, tonal centroid and tuning",
    about: "The mono mix-down (mean of channels) resampled to 22,050 Hz; power spectra P of 2,048 samples (periodic \
            Hann) every 512. Bin k > 0 of frequency f lies n(k) = 12 log2(f / 27.5) semitones above A0; bin 0 18 below \
            bin 1. With d the distance from n(k) to note c (A is 0) within -6 to 6, and w the larger of 1 and n(k + 1) \
            - n(k), the weight of the bin for the note is exp(-(2 d / w)^2 / 2), divided by the root of the sum of \
            squares over all notes, times exp(-((n(k) / 12 - 5) / 2)^2 / 2). Chroma: the sum of P by weight for each \
            note, over the largest of the twelve. The notes are those of A4 = 440 Hz whatever the tuning, since that \
            would need all of the signal. Tonnetz: chroma divided by its sum, projected onto the sine and cosine of \
            steps of fifths (7/6 pi), minor thirds (3/2 pi) and major thirds (2/3 pi, halved) a semitone: phi(i, c) = \
            r(i) cos(pi (s(i) c - 1/2)) for even i, without the 1/2 for odd i. Of digital silence all are 0. Tuning, \
            of songs only: peaks of |X| from 150 to 4,000 Hz that are above a tenth of the frame's largest, refined by \
            a parabola; of those at or above the median height, the deviation from the nearest semitone, in steps of 1 \
            cent; the step with the most peaks, from -50 to 49. Where a song has more than 2^19 peaks (some 8 minutes \
            of dense music), only every second, fourth, ... frame counts, so that memory is bounded. Calibration does \
            not enter. For sensors a frame belongs to the instant of its last input sample (93 ms of audio, and the \
            resampler's reach of 3 ms). Songs are padded with zeros at both ends, frames are centred. Without a \
            lead-in a sensor's first three frames reach into zeros before the start, where it begins as a click, so \
            that a tone spreads to other notes in the first.",
    outputs: &[
        Output {
            name: STFT,
            title: "Energy of each note, the largest is 1",
            kind: Kind::frames(NOTES as u16, STFT, Hop::of(&SPEC)),
            unit: "1",
            labels: &NAMES,
            default: true,
        },
        Output {
            name: TONNETZ,
            title: "Tonal centroid: where the chroma lies on circles of fifths, minor and major thirds",
            kind: Kind::frames(DIRECTIONS as u16, TONNETZ, Hop::of(&SPEC)),
            unit: "1",
            labels: &["fifths x", "fifths y", "minor thirds x", "minor thirds y", "major thirds x", "major thirds y"],
            default: false,
        },
        Output {
            name: TUNING,
            title: "Deviation from A4 = 440 Hz",
            kind: Kind::Summary,
            unit: "cent",
            labels: &[],
            default: true,
        },
    ],
    parameters: &[],
    reference: "librosa 0.11 at sr=22050: feature.chroma_stft(y=y, tuning=0.0), feature.tonnetz(chroma=that), 100 * \
                estimate_tuning(y=y)",
};

/// A running `chroma`.
struct Chroma {
    bank: Option<Bank>,
    directions: [[f64; NOTES]; DIRECTIONS],
    tuning: Option<Tuning>,
}

/// Makes `chroma` run.
pub(crate) fn construct(request: &Request<'_>, stream: &Stream) -> Box<dyn Algorithm> {
    Box::new(Chroma {
        bank: (request.wants(STFT) || request.wants(TONNETZ)).then(Bank::new),
        directions: directions(),
        tuning: (stream.song && request.wants(TUNING)).then(Tuning::new),
    })
}

impl Algorithm for Chroma {
    fn needs(&self) -> Needs {
        Needs { stft: Some(SPEC), ..Needs::default() }
    }

    fn spectrum(&mut self, spectrum: &Spectrum<'_>, sink: &mut Sink) {
        if let Some(tuning) = &mut self.tuning {
            tuning.add(spectrum.power);
        }
        let Some(bank) = self.bank.as_ref().filter(|_| sink.wants_frames()) else {
            return;
        };
        let mut values = [0.0; NOTES + DIRECTIONS];
        let (notes, directions) = values.split_at_mut(NOTES);
        bank.apply(spectrum.power, notes);
        let sum: f64 = notes.iter().map(|note| f64::from(*note)).sum();
        if sum > 0.0 {
            for (value, direction) in directions.iter_mut().zip(&self.directions) {
                let projected: f64 =
                    direction.iter().zip(&*notes).map(|(weight, note)| weight * f64::from(*note)).sum();
                *value = (projected / sum) as f32;
            }
        }
        by_largest(notes);
        sink.frame(spectrum.index, spectrum.last_input, &values);
    }

    fn finish(&mut self, _end: i64, sink: &mut Sink) {
        if let Some(tuning) = &self.tuning {
            let missing = || SummaryValue::Missing("nothing between 150 and 4,000 Hz has a peak".to_owned());
            sink.summary(TUNING, tuning.cents().map_or_else(missing, SummaryValue::Number));
        }
    }
}

/// Divides by the largest; what is too small to be divided stays, as in librosa's `normalize`.
pub(crate) fn by_largest(notes: &mut [f32]) {
    let largest = notes.iter().copied().fold(0.0, f32::max);
    if largest >= f32::MIN_POSITIVE {
        notes.iter_mut().for_each(|note| *note /= largest);
    }
}

/// C. Harte, M. Sandler and M. Gasser, "Detecting harmonic change in musical audio" (2006), as librosa has it.
fn directions() -> [[f64; NOTES]; DIRECTIONS] {
    let steps = [7.0 / 6.0, 3.0 / 2.0, 2.0 / 3.0];
    let radii = [1.0, 1.0, 0.5];
    std::array::from_fn(|direction| {
        let (step, radius) = (steps[direction / 2], radii[direction / 2]);
        let offset = if direction % 2 == 0 { 0.5 } else { 0.0 };
        std::array::from_fn(|note| radius * (std::f64::consts::PI * (step * note as f64 - offset)).cos())
    })
}

#[cfg(test)]
mod tests;
