//! What the samples of a frame say without a transform.

use antiphon_audio::vector::widest;

use crate::algorithm::{Algorithm, COMMON as SPEC, Needs, Spectrum, Stream};
use crate::descriptor::{Descriptor, Hop, Kind, Output};
use crate::lanes::dot;
use crate::registry::Request;
use crate::session::Sink;

/// Samples not below this, and not above its negative, count as zero, which is positive.
const THRESHOLD: f32 = -1e-10;

/// The facts about `waveform`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "waveform",
    version: 1,
    family: "waveform",
    title: "Zero-crossing rate and root mean square",
    about: "The mono mix-down (mean of channels) resampled to 22,050 Hz, in frames of 2,048 samples every 512, without \
            a window. Zero-crossing rate: how many of the samples of a frame differ in sign from the sample before \
            them in the frame, divided by 2,048; samples from -1e-10 to 1e-10 are zero, and zero is positive. Where a \
            frame reaches beyond the signal, the signal's first or last sample is repeated, which adds no crossings. \
            RMS: the root of the mean square of the frame, zeros beyond the signal; a full-scale sine is 0.707. \
            Calibration does not enter. For sensors a frame belongs to the instant of its last input sample (93 ms of \
            audio, and the resampler's reach of 3 ms). Songs are padded at both ends, frames are centred. Without a \
            lead-in the first three frames of a sensor hold less than 2,048 samples of signal and read low: in steady \
            noise the share of the frame that is signal for crossings, and its root for RMS.",
    outputs: &[
        output("zero_crossing_rate", "Share of samples at which the sign changes"),
        output("rms", "Root mean square, 1 is full scale"),
    ],
    parameters: &[],
    reference: "librosa 0.11: feature.zero_crossing_rate(y, frame_length=2048, hop_length=512) and feature.rms(y=y, \
                frame_length=2048, hop_length=512) at sr=22050",
};

const fn output(name: &'static str, title: &'static str) -> Output {
    let kind = Kind::frames(1, "main", Hop::of(&SPEC));
    Output { name, title, kind, unit: "1", labels: &[], default: true }
}

/// A running `waveform`, which keeps nothing.
struct Waveform;

/// Makes `waveform` run.
pub(crate) fn construct(_request: &Request<'_>, _stream: &Stream) -> Box<dyn Algorithm> {
    Box::new(Waveform)
}

impl Algorithm for Waveform {
    fn needs(&self) -> Needs {
        Needs { stft: Some(SPEC), ..Needs::default() }
    }

    fn spectrum(&mut self, spectrum: &Spectrum<'_>, sink: &mut Sink) {
        if !sink.wants_frames() {
            return;
        }
        let size = spectrum.samples.len() as f32;
        let (first, end) = spectrum.inside;
        let crossings = crossings(&spectrum.samples[first..end]) as f32 / size;
        let energy = widest(
            #[inline(always)]
            || dot(spectrum.samples, spectrum.samples),
        );
        let rms = (energy / size).sqrt();
        sink.frame(spectrum.index, spectrum.last_input, &[crossings, rms]);
    }
}

/// How often the sign changes.
fn crossings(samples: &[f32]) -> u32 {
    let later = samples.get(1..).unwrap_or_default();
    later.iter().zip(samples).map(|(now, before)| u32::from((*now < THRESHOLD) != (*before < THRESHOLD))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Session;
    use crate::testing::{assert_pieces_agree, frames, item, noise, overall, sensor, sine, song};

    #[test]
    fn crossings_count_changes_of_sign_and_zero_is_positive() {
        assert_eq!(crossings(&[]), 0);
        assert_eq!(crossings(&[-1.0]), 0);
        assert_eq!(crossings(&[1.0, -1.0, 1.0, 1.0]), 2);
        assert_eq!(crossings(&[0.0, -0.0, 1e-11, -1e-11, 1.0]), 0);
        assert_eq!(crossings(&[-1.0, 0.0, -1.0, -1e-11]), 3);
    }

    /// Steady signals, in frames that lie inside: their rate and root mean square.
    #[test]
    fn steady_signals_have_their_values() {
        let square: Vec<f32> = (0..22_050).map(|n| if n / 50 % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let cases = [
            (vec![0.0; 22_050], 0.0, 0.0),
            (vec![-0.25; 22_050], 0.0, 0.25),
            (square, 0.02, 1.0),
            (sine(22_050, 1_000.0, 1.0, 1.0), 2_000.0 / 22_050.0, 0.5_f32.sqrt()),
        ];
        for (samples, rate, rms) in cases {
            for values in &frames("waveform", &song(22_050, 1), &samples)[2..40] {
                assert!((values[0] - rate).abs() < 1e-3 && (values[1] - rms).abs() < 1e-3, "{values:?} {rate} {rms}");
            }
        }
    }

    /// One impulse is no crossing, since zero is positive; a negative one is two.
    #[test]
    fn an_impulse_and_the_shortest_signals() {
        let mut samples = vec![0.0; 22_050];
        samples[10_000] = 1.0;
        assert!(frames("waveform", &song(22_050, 1), &samples).iter().all(|values| values[0] == 0.0));
        samples[10_000] = -1.0;
        let found = frames("waveform", &song(22_050, 1), &samples);
        assert_eq!(found.iter().filter(|values| values[0] == 2.0 / 2_048.0).count(), 4);
        for length in [1, 220] {
            let found = frames("waveform", &song(22_050, 1), &vec![0.5; length]);
            assert_eq!(found, [[0.0, 0.5 * (length as f32 / 2_048.0).sqrt()]]);
        }
    }

    #[test]
    fn without_a_lead_in_three_frames_read_low() {
        let hop = i64::from(SPEC.hop);
        let found = frames("waveform", &sensor(22_050, 1, 1_777_593_600 * 22_050 / hop * hop), &[0.5; 4_096]);
        let expected = [0.25_f32, 0.5, 0.75, 1.0, 1.0].map(|share| 0.5 * share.sqrt());
        for (values, expected) in found.iter().zip(expected) {
            assert!((values[1] - expected).abs() < 1e-6, "{values:?}");
        }
        let alternating: Vec<f32> = (0..4_096).map(|n| if n % 2 == 0 { 0.5 } else { -0.5 }).collect();
        let found = frames("waveform", &sensor(22_050, 1, 1_777_593_600 * 22_050 / hop * hop), &alternating);
        for (values, samples) in found.iter().zip([512.0, 1_024.0, 1_536.0, 2_048.0, 2_048.0]) {
            assert_eq!(values[0], (samples - 1.0) / 2_048.0);
        }
    }

    #[test]
    fn seconds_are_stored() {
        let samples = noise(3, 44_100);
        let mut session = Session::new(&[item("waveform")], &sensor(22_050, 1, 0)).unwrap();
        session.push(&[&samples]);
        let blocks = session.finish().blocks;
        let rms = overall(&blocks, "waveform.rms", "mean", 0).unwrap();
        let rate = overall(&blocks, "waveform.zero_crossing_rate", "mean", 0).unwrap();
        assert!(rms > 0.001 && (rate - 0.5).abs() < 0.03, "{rms} {rate}");
    }

    #[test]
    fn pieces_with_lead_in_agree_with_the_whole() {
        assert_pieces_agree("waveform", 1);
    }
}
