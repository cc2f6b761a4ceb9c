//! The pitch of a voice in noise: probabilistic YIN over the band in which voices are strongest.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner};

use super::path::{Found, Path};
use super::yin::{LONGEST, PERIODS, SHORTEST};
use crate::algorithm::{Algorithm, COMMON as SPEC, Needs, Spectrum, Stream};
use crate::descriptor::Descriptor;
use crate::registry::Request;
use crate::session::Sink;

const F0: &str = "f0";
const VOICED: &str = "voiced";
const PROBABILITY: &str = "probability";

/// Where the band ends that counts, in Hz, and how steeply above.
const LOW: f64 = 300.0;
const HIGH: f64 = 2_500.0;

/// The facts about `melody`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "melody",
    version: 1,
    family: "pitch",
    title: "Fundamental frequency of one voice, through noise",
    about: "Like the probabilistic YIN of `pitch`, but for the difference function: the power spectrum of 2,048 samples (periodic \
            Hann) every 512 at 22,050 Hz, each bin times f^2 / (f^2 + (300 Hz)^2) / (1 + (f / 2,500 Hz)^4), is transformed back \
            into an autocorrelation r, and d(k) = 2 r(0) - 2 r(k). Rumble and hiss count little in it, a missing fundamental is \
            no loss, and the window follows quick changes. Candidates, `probability`, path, `voiced` and `f0` are made of \
            d(k) over the mean of d(1) to d(k) as described there; 65.4 Hz (C2) to 2,093 Hz (C7) in tenths of a semitone. In digital \
            silence nothing is voiced; in noise some frames are, at a low probability. The path is that of the whole \
            song, and of a sensor's recording with its lead-in. For sensors a frame belongs to the instant of its last input \
            sample, songs are padded with zeros at both ends and frames are centred. Without a lead-in a sensor's \
            first three frames reach into zeros.",
    outputs: &[
        super::output(F0, "Fundamental frequency, where voiced", "Hz", F0, true),
        super::output(VOICED, "Whether there is a pitch, 1 or 0", "1", VOICED, true),
        super::output(PROBABILITY, "Probability that the frame by itself has a pitch", "1", PROBABILITY, true),
    ],
    parameters: &[],
    reference: "Own definition, of probabilistic YIN (M. Mauch and S. Dixon, \"pYIN: a fundamental frequency estimator using \
                probabilistic threshold distributions\", ICASSP 2014) and a weighted YIN in the frequency domain (P. Brossier, \
                \"Automatic annotation of musical audio for interactive applications\", 2006); accuracy is measured on voices \
                of known pitch",
};

/// A running `melody`.
struct Voice {
    difference: Weighted,
    path: Path<(i64, i64)>,
}

/// Makes `melody` run.
pub(crate) fn construct(_request: &Request<'_>, _stream: &Stream) -> Box<dyn Algorithm> {
    Box::new(Voice { difference: Weighted::new(), path: Path::new() })
}

impl Algorithm for Voice {
    fn needs(&self) -> Needs {
        Needs { stft: Some(SPEC), ..Needs::default() }
    }

    fn spectrum(&mut self, spectrum: &Spectrum<'_>, sink: &mut Sink) {
        let normalized = self.difference.normalized(spectrum.power);
        let place = (spectrum.index, spectrum.last_input);
        self.path.push(normalized, place, |place, found| give_out(place, &found, sink));
    }

    fn finish(&mut self, _end: i64, sink: &mut Sink) {
        self.path.finish(|place, found| give_out(place, &found, sink));
    }
}

fn give_out((index, last_input): (i64, i64), found: &Found, sink: &mut Sink) {
    sink.frame(index, last_input, &[found.f0, found.voiced, found.probability]);
}

/// Computes difference functions out of weighted spectra.
struct Weighted {
    inverse: Arc<dyn ComplexToReal<f64>>,
    weights: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    correlation: Vec<f64>,
    scratch: Vec<Complex<f64>>,
    normalized: [f64; PERIODS],
}

impl Weighted {
    fn new() -> Weighted {
        let inverse = RealFftPlanner::<f64>::new().plan_fft_inverse(SPEC.size as usize);
        let weight = |bin: usize| {
            let frequency = bin as f64 * f64::from(SPEC.rate) / f64::from(SPEC.size);
            let low = frequency.powi(2) / (frequency.powi(2) + LOW.powi(2));
            low / (1.0 + (frequency / HIGH).powi(4))
        };
        Weighted {
            weights: (0..=SPEC.size as usize / 2).map(weight).collect(),
            spectrum: inverse.make_input_vec(),
            correlation: inverse.make_output_vec(),
            scratch: inverse.make_scratch_vec(),
            inverse,
            normalized: [0.0; PERIODS],
        }
    }

    /// The difference function over its cumulative mean; `None` if nothing is in the band.
    fn normalized(&mut self, power: &[f32]) -> Option<&[f64; PERIODS]> {
        for ((bin, &power), weight) in self.spectrum.iter_mut().zip(power).zip(&self.weights) {
            *bin = Complex::new(f64::from(power) * weight, 0.0);
        }
        // Fails only for slices of wrong lengths, which come from the transform itself, and for a spectrum that is not real
        // at 0 Hz and at half the rate: all of it is real.
        let done = self.inverse.process_with_scratch(&mut self.spectrum, &mut self.correlation, &mut self.scratch);
        debug_assert!(done.is_ok());
        let zero_lag = self.correlation[0];
        if zero_lag <= 0.0 {
            return None;
        }
        let mut sum = 0.0;
        for lag in 1..=LONGEST {
            let difference = (zero_lag - self.correlation[lag]) / zero_lag;
            sum += difference;
            if lag >= SHORTEST {
                self.normalized[lag - SHORTEST] = difference * lag as f64 / (sum + f64::MIN_POSITIVE);
            }
        }
        Some(&self.normalized)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::{FRAMES, decode_frames};
    use crate::session::{Analysis, Item};
    use crate::testing::{item, noise, run, sensor, song};

    fn analyse(stream: &Stream, samples: &[f32]) -> Analysis {
        let channels = vec![samples; usize::from(stream.channels)];
        run(&[Item { frames: true, ..item("melody") }], stream, &channels)
    }

    fn frames(analysis: &Analysis) -> Vec<(i64, Vec<f32>)> {
        let blocks = analysis.blocks.iter().filter(|block| block.layer == FRAMES);
        let frames = blocks.flat_map(|block| decode_frames(&DESCRIPTOR, block.minute, &block.data).unwrap());
        frames.map(|frame| (frame.start, frame.values)).collect()
    }

    /// Partials of a frequency, from `first` to the tenth.
    fn tone(rate: u32, frequency: f64, first: u32, seconds: f64) -> Vec<f32> {
        let angle = std::f64::consts::TAU * frequency / f64::from(rate);
        let partial = |n: usize, number: u32| (angle * f64::from(number) * n as f64).sin() / f64::from(number);
        let sample = |n: usize| 0.2 * (first..=10).map(|number| partial(n, number)).sum::<f64>() as f32;
        (0..(seconds * f64::from(rate)) as usize).map(sample).collect()
    }

    #[test]
    fn a_voice_has_its_pitch_without_fundamental_and_in_noise() {
        for (rate, channels) in [(16_000, 1), (22_050, 1), (44_100, 2), (192_000, 1)] {
            for (frequency, first) in [(98.0, 1), (220.0, 1), (220.0, 3), (700.0, 1)] {
                let mut samples = tone(rate, frequency, first, 1.5);
                let hiss = noise(7, samples.len());
                let loudness = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>();
                // 6 dB below the voice, at a level that wanders.
                let scale = 0.5 * (loudness(&samples) / loudness(&hiss)).sqrt();
                samples.iter_mut().zip(hiss).for_each(|(sample, hiss)| *sample += scale * hiss);
                let frames = frames(&analyse(&song(rate, channels), &samples));
                let inside = &frames[4..frames.len() - 4];
                let right = |values: &[f32]| (f64::from(values[0]) / frequency).log2().abs() < 1.0 / 24.0;
                let count = inside.iter().filter(|(_, values)| right(values)).count();
                let wanted = 9 * inside.len() / 10;
                assert!(count >= wanted, "{rate} {frequency} {first}: {count} of {}", inside.len());
            }
        }
    }

    #[test]
    fn nothing_is_voiced_in_silence_and_bad_samples_do_no_harm() {
        for samples in [vec![0.0; 22_050], vec![]] {
            for (start, values) in frames(&analyse(&song(22_050, 1), &samples)) {
                assert!(values[0].is_nan() && values[1..] == [0.0, 0.0], "{start}: {values:?}");
            }
        }
        let broken = [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN, -1e-30, 1e-20];
        let broken: Vec<f32> = (0..22_050).map(|n| broken[n % 7 % broken.len()]).collect();
        for samples in [broken, vec![1.0], vec![0.5; 22_050], vec![1e-20; 9_000], noise(2, 22_050)] {
            for (start, values) in frames(&analyse(&song(22_050, 8), &samples)) {
                assert!(values[0].is_nan() || (65.0..2_094.0).contains(&values[0]), "{start}: {values:?}");
                assert!(values[1] == f32::from(u8::from(!values[0].is_nan())) && (0.0..=1.0).contains(&values[2]));
            }
        }
    }

    #[test]
    fn a_part_with_lead_in_says_what_the_whole_says() {
        let rate = 22_050_i64;
        let first = 1_777_593_600 * rate;
        let samples: Vec<f32> = [150.0, 300.0, 130.0, 600.0, 200.0, 250.0, 170.0, 500.0]
            .into_iter()
            .flat_map(|frequency| tone(rate as u32, frequency, 1, 1.7))
            .zip(noise(3, 300_000))
            .map(|(tone, hiss)| tone + 0.2 * hiss)
            .collect();
        let whole = frames(&analyse(&sensor(rate as u32, 1, first), &samples));
        let stream = Stream { first_body_sample: first + 7 * rate, ..sensor(rate as u32, 1, first + 3 * rate) };
        let part = frames(&analyse(&stream, &samples[3 * rate as usize..12 * rate as usize]));
        assert!(part.len() > 200);
        // A path that ends knows nothing of what follows: its last frames may differ.
        for (start, values) in &part[..part.len() - 8] {
            let expected = &whole.iter().find(|(other, _)| other == start).unwrap().1;
            assert!(
                values.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()),
                "{start}: {values:?} {expected:?}"
            );
        }
    }
}
