//! Mel-frequency cepstral coefficients.

use antiphon_audio::vector::{dots, widest};

use crate::algorithm::{Algorithm, COMMON as SPEC, Needs, Spectrum, Stream};
use crate::descriptor::{Descriptor, Hop, Kind, Output};
use crate::mel::BANDS;
use crate::registry::Request;
use crate::session::Sink;

/// Coefficients, and what they are called.
pub(crate) const COEFFICIENTS: usize = 20;
pub(crate) const LABELS: [&str; COEFFICIENTS] =
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19"];
/// Coefficients that are summed together: a divisor of their number.
const TOGETHER: usize = 4;

/// The facts about `mfcc`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "mfcc",
    version: 1,
    family: "spectral",
    title: "Mel-frequency cepstral coefficients",
    about: "The first 20 coefficients of the orthonormal cosine transform (DCT-II) of the 128 bands of `mel` in dB: \
            with M(b) the level of band b, at least -100 dB and not referred to the loudest frame, c(0) = sum M(b) / \
            sqrt(128) and c(n) = sqrt(2 / 128) sum M(b) cos(pi n (2 b + 1) / 256). No liftering. Nothing is cut off at \
            80 dB below the loudest frame (librosa's `top_db`), since that frame may be yet to come. Of digital \
            silence c(0) is -1131.4 and all others are 0. For sensors a frame belongs to the instant of its last input \
            sample (93 ms of audio, and the resampler's reach of 3 ms). Songs are padded with zeros at both ends, \
            frames are centred. Without a lead-in a sensor's first three frames reach into zeros before the start: in \
            steady noise c(0) reads low there by 171, 39 and 3, as `mel` does by 15, 3 and 0.2 dB.",
    outputs: &[Output {
        name: "",
        title: "Coefficients 0 to 19",
        kind: Kind::frames(COEFFICIENTS as u16, "mfcc", Hop::of(&SPEC)),
        unit: "1",
        labels: &LABELS,
        default: true,
    }],
    parameters: &[],
    reference: "librosa 0.11: feature.mfcc(S=power_to_db(feature.melspectrogram(y=y, sr=22050), top_db=None), \
                n_mfcc=20)",
};

/// The transform of bands into coefficients.
pub(crate) struct Cosines {
    /// A row of [`BANDS`] for each coefficient.
    rows: Vec<f32>,
}

impl Cosines {
    pub(crate) fn new() -> Cosines {
        let element = |place: usize| {
            let (coefficient, band) = (place / BANDS, place % BANDS);
            let scale = if coefficient == 0 { 1.0 } else { std::f64::consts::SQRT_2 } / (BANDS as f64).sqrt();
            // Reduced to one turn first, so that mirrored elements are equal.
            let turn = coefficient * (2 * band + 1) % (4 * BANDS);
            (scale * (std::f64::consts::PI * turn as f64 / (2 * BANDS) as f64).cos()) as f32
        };
        Cosines { rows: (0..COEFFICIENTS * BANDS).map(element).collect() }
    }

    /// The coefficients of the levels of [`BANDS`] in dB.
    pub(crate) fn transform(&self, levels: &[f32]) -> [f32; COEFFICIENTS] {
        // All coefficients but the first are those of the differences to one band, exactly 0 for silence.
        let reference = levels[0];
        let mut relative = [0.0; BANDS];
        relative.iter_mut().zip(levels).for_each(|(relative, level)| *relative = level - reference);
        let mut values = [0.0; COEFFICIENTS];
        widest(
            #[inline(always)]
            || {
                // What is loaded of the levels serves several coefficients.
                let (values, _) = values.as_chunks_mut::<TOGETHER>();
                for (values, rows) in values.iter_mut().zip(self.rows.chunks_exact(TOGETHER * BANDS)) {
                    let row = |number: usize| &rows[number * BANDS..][..BANDS];
                    *values = dots::<TOGETHER, 8>([&relative[..]; TOGETHER], [row(0), row(1), row(2), row(3)]);
                }
            },
        );
        values[0] += reference * (BANDS as f32).sqrt();
        values
    }
}

/// A running `mfcc`.
struct Mfcc(Cosines);

/// Makes `mfcc` run.
pub(crate) fn construct(_request: &Request<'_>, _stream: &Stream) -> Box<dyn Algorithm> {
    Box::new(Mfcc(Cosines::new()))
}

impl Algorithm for Mfcc {
    fn needs(&self) -> Needs {
        Needs { stft: Some(SPEC), mel: true, ..Needs::default() }
    }

    fn spectrum(&mut self, spectrum: &Spectrum<'_>, sink: &mut Sink) {
        if sink.wants_frames() {
            sink.frame(spectrum.index, spectrum.last_input, &self.0.transform(spectrum.mel));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_pieces_agree, frames, noise, sensor, sine, song};

    #[test]
    fn silence_has_one_coefficient() {
        for values in frames("mfcc", &song(22_050, 1), &[0.0; 22_050]) {
            assert!((values[0] + 100.0 * 128_f32.sqrt()).abs() < 1e-3);
            assert!(values[1..].iter().all(|value| *value == 0.0), "{values:?}");
        }
    }

    /// Ten times the amplitude is 20 dB more in each band: only the first coefficient moves, by 20 sqrt(128).
    #[test]
    fn loudness_moves_the_first_coefficient_only() {
        let quiet = noise(4, 22_050);
        let loud: Vec<f32> = quiet.iter().map(|sample| sample * 10.0).collect();
        let all = [quiet, loud].map(|samples| frames("mfcc", &song(22_050, 1), &samples));
        for (quiet, loud) in all[0].iter().zip(&all[1]) {
            assert!((loud[0] - quiet[0] - 20.0 * 128_f32.sqrt()).abs() < 1e-2);
            assert!(loud[1..].iter().zip(&quiet[1..]).all(|(a, b)| (a - b).abs() < 1e-2));
        }
    }

    #[test]
    fn without_a_lead_in_the_first_coefficient_reads_low() {
        let hop = i64::from(SPEC.hop);
        let first = 1_777_593_600 * 22_050 / hop * hop;
        let rounds = 20;
        let mut bias = [0.0; 4];
        for seed in 1..=rounds {
            // As noise, but steady.
            let samples: Vec<f32> = noise(seed, 20_000).iter().map(|sample| sample.signum() * 0.1).collect();
            let found = frames("mfcc", &sensor(22_050, 1, first), &samples);
            let steady = found[10..30].iter().map(|values| values[0]).sum::<f32>() / 20.0;
            bias.iter_mut().zip(&found).for_each(|(sum, values)| *sum += (values[0] - steady) / rounds as f32);
        }
        let told = [-171.0, -39.0, -3.0, 0.0];
        assert!(bias.iter().zip(told).all(|(found, told)| (found - told).abs() < 3.0_f32), "{bias:?}");
    }

    #[test]
    fn hostile_signals_give_finite_values() {
        let square: Vec<f32> = (0..22_050).map(|n| if n / 50 % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let mut impulse = vec![0.0; 22_050];
        impulse[9_000] = 1.0;
        let loud: Vec<f32> = sine(22_050, 500.0, 1e30, 0.5);
        for samples in [vec![1.0; 22_050], square, impulse, loud, vec![1.0], vec![0.3; 220]] {
            for stream in [song(22_050, 1), sensor(22_050, 1, 7)] {
                let found = frames("mfcc", &stream, &samples);
                assert!(found.iter().flatten().all(|value| value.is_finite()));
            }
        }
    }

    #[test]
    fn pieces_with_lead_in_agree_with_the_whole() {
        assert_pieces_agree("mfcc", 1);
    }
}
