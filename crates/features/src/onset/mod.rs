//! Onsets: where something begins to sound.

mod peaks;
mod strength;
mod whole;

use crate::algorithm::{Algorithm, COMMON as SPEC, Needs, Spectrum, Stream};
use crate::descriptor::{Descriptor, Hop, Kind, Output, Parameter};
use crate::registry::Request;
use crate::session::Sink;
use peaks::Running;
use strength::Rise;
pub(crate) use strength::Strength;
pub(crate) use whole::strengths;

const STRENGTH: &str = "strength";
const ONSET: &str = "onset";
const THRESHOLD: &str = "threshold";

/// By how many seconds the centre of the frame in which a song's onset is found lies after it, measured on the half for
/// tuning of `evaluation/`.
const LATENESS: f64 = 0.01;

/// Songs longer than this get no onsets: 48 hours of frames.
const LONGEST: usize = 48 * 3_600 * SPEC.rate as usize / SPEC.hop as usize;

/// The facts about `onset`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "onset",
    version: 1,
    family: "rhythm",
    title: "Onset strength, and onsets",
    about: "The strength is the mean over the 128 bands of `mel` of what each rose by in dB since the frame before, falls \
            counting as 0 (spectral flux in dB). No band is cut at a level below the loudest of the whole signal, as librosa does \
            unless it is told otherwise, since that level is not known before the end. A rise belongs to the instant of the last \
            sample of the frame that has it. So in songs, whose frames are centred, frame k has the rise of frame k - 2, and \
            the first three are 0. \
            Onsets are found in another curve: the root of the mean square rise of the bands, those more than 60 dB below the loudest band of the \
            last second counting as that. A frame is an onset if neither neighbour exceeds it, it exceeds the mean of the nine \
            around it by the threshold, and the frame before was none; in a song it is told 10 ms before its centre, by which onsets are \
            seen late. In sensors nothing later is looked at: the mean is that of the frame and the eight before it, and an onset is told at the \
            last sample of its frame, 56 ms later than in a song. An onset lasts a hop (23 ms); its value is that of the curve. \
            Without a lead-in a sensor has no strength for its first frames, until two of them (116 ms) lie inside what was heard; \
            what exists has no bias. A lead-in of 1.5 s gives the onsets that the whole gives.",
    outputs: &[
        Output {
            name: STRENGTH,
            title: "Mean rise of the mel bands since the frame before",
            kind: Kind::frames(1, STRENGTH, Hop::of(&SPEC)),
            unit: "dB",
            labels: &[],
            default: true,
        },
        Output {
            name: ONSET,
            title: "Something begins to sound; the value is how far it rises",
            kind: Kind::Annotation { minimum: 0 },
            unit: "dB",
            labels: &[],
            default: true,
        },
    ],
    parameters: &[Parameter {
        name: THRESHOLD,
        about: "By how much the root of the mean square rise must exceed its mean to be an onset.",
        unit: "dB",
        minimum: 0.1,
        maximum: 60.0,
        default: 0.75,
    }],
    reference: "librosa 0.11: onset.onset_strength(S=power_to_db(melspectrogram, top_db=None), sr=22050, hop_length=512); \
                onsets: own definition, compared with librosa, Essentia and aubio on known truth in docs/accuracy.md",
};

/// A running `onset`.
struct Onset {
    strength: Strength,
    search: Search,
    /// Source samples per second.
    rate: u32,
    first_body_sample: i64,
    threshold: f32,
}

/// How onsets are looked for.
enum Search {
    /// They were not asked for.
    No,
    /// As frames come (sensors).
    Running(Running),
    /// In the end, in the curve of the song; `None` once that is too long.
    Whole(Option<Vec<f32>>),
}

/// Makes `onset` run.
pub(crate) fn construct(request: &Request<'_>, stream: &Stream) -> Box<dyn Algorithm> {
    let threshold = request.parameter(THRESHOLD) as f32;
    let search = match (request.wants(ONSET), stream.song) {
        (false, _) => Search::No,
        (true, true) => Search::Whole(Some(Vec::new())),
        (true, false) => Search::Running(Running::new(threshold)),
    };
    Box::new(Onset {
        strength: Strength::new(stream.song),
        search,
        rate: stream.rate,
        first_body_sample: stream.first_body_sample,
        threshold,
    })
}

impl Algorithm for Onset {
    fn needs(&self) -> Needs {
        Needs { stft: Some(SPEC), mel: true, ..Needs::default() }
    }

    fn spectrum(&mut self, spectrum: &Spectrum<'_>, sink: &mut Sink) {
        let Some(Rise { strength, attack }) = self.strength.next(spectrum) else {
            return;
        };
        if sink.wants_frames() {
            sink.frame(spectrum.index, spectrum.last_input, &[strength]);
        }
        match &mut self.search {
            Search::No => {}
            Search::Whole(curve) => {
                if let Some(values) = curve {
                    values.push(attack);
                    if values.len() > LONGEST {
                        *curve = None;
                    }
                }
            }
            Search::Running(running) => {
                if running.next(attack) && spectrum.last_input >= self.first_body_sample {
                    sink.annotation(ONSET, "", instant(spectrum.index, self.rate), Some(attack), None);
                }
            }
        }
    }

    fn finish(&mut self, _end: i64, sink: &mut Sink) {
        if let Search::Whole(Some(curve)) = &self.search {
            let late = (LATENESS * f64::from(self.rate)).round() as i64;
            for index in peaks::whole(curve, self.threshold) {
                let hop = instant(index as i64, self.rate);
                let start = (hop.start - late).max(0);
                sink.annotation(ONSET, "", start..start + (hop.end - hop.start), Some(curve[index]), None);
            }
        }
    }
}

/// Source samples of the hop that begins at the instant of a frame.
pub(crate) fn instant(index: i64, rate: u32) -> std::ops::Range<i64> {
    let sample = |index: i64| {
        let hops = i128::from(index) * i128::from(SPEC.hop) * i128::from(rate);
        hops.div_euclid(i128::from(SPEC.rate)) as i64
    };
    sample(index)..sample(index + 1)
}

#[cfg(test)]
mod tests;
