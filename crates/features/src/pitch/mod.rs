//! The pitch of one voice: YIN and probabilistic YIN.

mod candidates;
mod decoder;
pub(crate) mod melody;
mod path;
mod yin;

use crate::algorithm::{Algorithm, COMMON as SPEC, Needs, Spectrum, Stream};
use crate::descriptor::{Descriptor, Hop, Kind, Output, Parameter};
use crate::registry::Request;
use crate::session::Sink;
use path::{Found, Path};
use yin::Difference;

const YIN: &str = "yin";
const APERIODICITY: &str = "aperiodicity";
const F0: &str = "f0";
const VOICED: &str = "voiced";
const PROBABILITY: &str = "probability";
const LIMIT: &str = "aperiodicity_limit";

/// What digital silence counts as: nothing repeats in it.
const NOT_PERIODIC: f32 = 1.0;

/// The facts about `pitch`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "pitch",
    version: 1,
    family: "pitch",
    title: "Fundamental frequency of one voice, and whether there is one",
    about: "The mono mix-down resampled to 22,050 Hz, frames of 2,048 samples every 512 without a window. For lags k of 1 to 338 \
            samples, the difference d(k) is the sum over the frame of (y[n] - y[n+k])^2 with zeros behind the frame (for \
            k = 1 with y[0]^2 added), and d'(k) = d(k) / mean of d(1) to d(k). Periods of 10 to 338 samples count: 65.4 Hz \
            (C2) to 2,093 Hz (C7). `yin` is 22,050 over the first local minimum of d' below 0.1, or over the lowest d' if \
            there is none, refined by the parabola through it and its neighbours; `aperiodicity` is d' there: near 0 for \
            a clean tone, near 0.1 and more for low ones (the frame holds few periods), about the share of noise otherwise, \
            1 in digital silence. `yin` is absent where it exceeds `aperiodicity_limit`. Probabilistic YIN: every local minimum \
            of d' is a candidate; each threshold of 0.01, 0.02, ... 1, with the probability that the beta distribution (2, 18) \
            has between it and the one before, shares that among the minima below it in the ratio exp(-2 i), i their place \
            in order of period; the lowest minimum gets 0.01 of what no minimum is below. `probability` is the sum over \
            candidates in bins of a tenth of a semitone from C2 to C7. A Viterbi path through 601 voiced and 601 unvoiced states \
            (transitions: a triangle of 50 bins to either side, and 0.01 for going from voiced to unvoiced or back; \
            each unvoiced state is observed with (1 - probability) / 601) \
            yields `voiced` (1 or 0) and, where that is 1, `f0`, the centre of the bin. The path is that of the \
            whole song, and of a sensor's recording with its lead-in: at its end the path does not know what \
            follows. A frame is given out when no later one can change it; what is still open after 47 s is decided \
            by the likeliest path. In noise the path is often voiced, as the reference's is: see `probability` and \
            `aperiodicity`. An offset (DC) raises the aperiodicity. For sensors a frame belongs to the instant of its last \
            input sample, songs are padded with zeros at both ends and frames are centred. Without a lead-in a sensor's \
            first three frames reach into zeros.",
    outputs: &[
        output(YIN, "Fundamental frequency by YIN, where periodic", "Hz", YIN, true),
        output(APERIODICITY, "What of the frame does not repeat at that frequency", "1", APERIODICITY, true),
        output(F0, "Fundamental frequency by probabilistic YIN, where voiced", "Hz", F0, true),
        output(VOICED, "Whether probabilistic YIN finds a pitch, 1 or 0", "1", VOICED, true),
        output(PROBABILITY, "Probability that the frame by itself has a pitch", "1", PROBABILITY, true),
    ],
    parameters: &[Parameter {
        name: LIMIT,
        about: "The aperiodicity above which a frame has no `yin`; 10 keeps all but digital silence.",
        unit: "1",
        minimum: 0.0,
        maximum: 10.0,
        default: 0.4,
    }],
    reference: "librosa 0.11: yin and pyin (y, sr=22050, fmin=note_to_hz('C2'), fmax=note_to_hz('C7'), frame_length=2048, \
                hop_length=512, pad_mode='constant'), in double precision",
};

const fn output(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    layer: &'static str,
    default: bool,
) -> Output {
    Output { name, title, kind: Kind::frames(1, layer, Hop::of(&SPEC)), unit, labels: &[], default }
}

/// A running `pitch`.
struct Pitch {
    difference: Difference,
    limit: f64,
    path: Option<Path<Frame>>,
}

/// What is told of a frame whose path is not decided.
struct Frame {
    index: i64,
    last_input: i64,
    yin: f32,
    aperiodicity: f32,
}

/// Makes `pitch` run.
pub(crate) fn construct(request: &Request<'_>, _stream: &Stream) -> Box<dyn Algorithm> {
    let probabilistic = [F0, VOICED, PROBABILITY].iter().any(|output| request.wants(output));
    let path = probabilistic.then(Path::new);
    Box::new(Pitch { difference: Difference::new(), limit: request.parameter(LIMIT), path })
}

impl Algorithm for Pitch {
    fn needs(&self) -> Needs {
        Needs { stft: Some(SPEC), ..Needs::default() }
    }

    fn spectrum(&mut self, spectrum: &Spectrum<'_>, sink: &mut Sink) {
        let normalized = self.difference.normalized(spectrum.samples);
        let (mut yin, mut aperiodicity) = (f32::NAN, NOT_PERIODIC);
        if let Some(normalized) = normalized {
            let period = yin::period(normalized);
            aperiodicity = normalized[period] as f32;
            if normalized[period] <= self.limit {
                yin = yin::frequency(normalized, period) as f32;
            }
        }
        let (index, last_input) = (spectrum.index, spectrum.last_input);
        let Some(path) = &mut self.path else {
            sink.frame(index, last_input, &[yin, aperiodicity, f32::NAN, f32::NAN, f32::NAN]);
            return;
        };
        let frame = Frame { index, last_input, yin, aperiodicity };
        path.push(normalized, frame, |frame, found| give_out(&frame, &found, sink));
    }

    fn finish(&mut self, _end: i64, sink: &mut Sink) {
        if let Some(path) = &mut self.path {
            path.finish(|frame, found| give_out(&frame, &found, sink));
        }
    }
}

fn give_out(frame: &Frame, found: &Found, sink: &mut Sink) {
    let values = [frame.yin, frame.aperiodicity, found.f0, found.voiced, found.probability];
    sink.frame(frame.index, frame.last_input, &values);
}

#[cfg(test)]
mod tests;
