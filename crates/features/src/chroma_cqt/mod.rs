//! Chroma by a constant-Q transform: notes are told apart as well in the bass as in the treble.

mod halver;
mod kernels;
mod octaves;

use crate::algorithm::{Algorithm, COMMON as SPEC, Needs, Spectrum, Stream};
use crate::chroma::{NAMES, NOTES, by_largest};
use crate::descriptor::{Descriptor, Hop, Kind, Output};
use crate::registry::Request;
use crate::session::Sink;
use kernels::{Kernels, PER_OCTAVE};
use octaves::{OCTAVES, Octaves};

const HOP: i64 = SPEC.hop as i64;
/// Hops from the middle of a sensor's frame to its end: half of the longest filter, and what the decimators look ahead.
const LAG: i64 = 58;

/// The facts about `chroma_cqt`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "chroma_cqt",
    version: 1,
    family: "tonal",
    title: "Energy by note of the octave, by a constant-Q transform",
    about: "The mono mix-down (mean of channels) resampled to 22,050 Hz, x; every 512 samples, 36 filters for each of \
            the seven octaves from C1 = 32.70 Hz, at f(b) = C1 2^(b / 36) with Q = (r^2 + 1) / (r^2 - 1) = 51.9, where \
            r = 2^(1/36). A filter is L = 22,050 Q / f samples long (1.59 s for C1, 13 ms for the highest) and has a \
            Hann window w: C(b) = sqrt(L) |sum w(n) x(t + n) exp(-2 pi i f n / 22,050)| / sum w. The octaves below the \
            highest run on x halved in rate once, twice, ... by linear-phase filters (flat to 0.91 of half the lower \
            rate, -130 dB from 1), with the samples of w that the highest octave has. Chroma: the sum of C of the \
            filters nearest to each note, three an octave, over the largest of the twelve sums. The notes are those of \
            A4 = 440 Hz whatever the tuning. Of digital silence all are 0; far from any sound, and above or below the \
            range of the filters, what little leaks in is scaled to 1 too. Calibration does not enter. For sensors a \
            frame belongs to the instant of its last input sample, 1.35 s after its middle (half of the longest filter \
            and the reach of the decimators). Songs have zeros at both ends, frames are centred. Without a lead-in the \
            first 1.35 s of a sensor have no values, and in the 0.8 s after them the longest filters reach into zeros \
            before the start; with less than 3 s of lead-in the same is true in part.",
    outputs: &[Output {
        name: "",
        title: "Magnitude of each note, the largest is 1",
        kind: Kind::frames(NOTES as u16, "chroma_cqt", Hop::of(&SPEC)),
        unit: "1",
        labels: &NAMES,
        default: true,
    }],
    parameters: &[],
    reference: "librosa 0.11 at sr=22050: feature.chroma_cqt(C=abs(cqt(y, hop_length=512, n_bins=252, \
                bins_per_octave=36, tuning=0.0, sparsity=0)), bins_per_octave=36): the filters whole rather than with \
                1 % of their spectra left out",
};

/// A running `chroma_cqt`.
struct ChromaCqt {
    song: bool,
    kernels: Kernels,
    /// `None` before the first frame, which tells the number of the first sample.
    octaves: Option<Octaves>,
    /// Index of the next frame of a song, and that of the last frame of the shared transform.
    next: i64,
    last: i64,
}

/// Makes `chroma_cqt` run.
pub(crate) fn construct(_request: &Request<'_>, stream: &Stream) -> Box<dyn Algorithm> {
    Box::new(ChromaCqt { song: stream.song, kernels: Kernels::new(), octaves: None, next: 0, last: -1 })
}

impl Algorithm for ChromaCqt {
    fn needs(&self) -> Needs {
        // For its frames of samples, which come at the right rate and hop.
        Needs { stft: Some(SPEC), ..Needs::default() }
    }

    fn spectrum(&mut self, spectrum: &Spectrum<'_>, sink: &mut Sink) {
        if !sink.wants_frames() {
            return;
        }
        let size = i64::from(SPEC.size);
        let covered = spectrum.index * HOP - if self.song { size / 2 } else { size };
        let (first, end) = spectrum.inside;
        let octaves = self.octaves.get_or_insert_with(|| Octaves::new(covered + first as i64, self.kernels.reach()));
        // Never negative: each frame covers what comes next, since hops are shorter than frames.
        let known = (octaves.next_sample() - covered).max(0) as usize;
        octaves.push(spectrum.samples.get(known..end).unwrap_or_default());
        self.last = spectrum.index;
        if !self.song {
            let centre = (spectrum.index - LAG) * HOP;
            let values = if centre < octaves.first_sample() {
                [f32::NAN; NOTES]
            } else {
                chroma(&self.kernels, octaves, centre)
            };
            sink.frame(spectrum.index, spectrum.last_input, &values);
            return;
        }
        // Frames of a song all lie in its body, whatever came last.
        while self.next + LAG <= octaves.next_sample() / HOP {
            let values = chroma(&self.kernels, octaves, self.next * HOP);
            sink.frame(self.next, spectrum.last_input, &values);
            self.next += 1;
        }
    }

    fn finish(&mut self, end: i64, sink: &mut Sink) {
        let Some(octaves) = self.octaves.as_mut().filter(|_| self.song) else {
            return;
        };
        octaves.finish();
        for index in self.next..=self.last {
            sink.frame(index, end - 1, &chroma(&self.kernels, octaves, index * HOP));
        }
    }
}

/// The chroma of the frame whose middle is at a sample. Later frames must lie later.
fn chroma(kernels: &Kernels, octaves: &mut Octaves, centre: i64) -> [f32; NOTES] {
    let mut notes = [0.0; NOTES];
    for halvings in 0..OCTAVES {
        let window = octaves.around(halvings, centre);
        // The filters of each lower octave are twice as long, and weigh by the root of their length.
        let gain = (halvings as f32 / 2.0).exp2();
        kernels.measure(window, |bin, magnitude| {
            notes[(bin + 1) / (PER_OCTAVE / NOTES) % NOTES] += gain * magnitude;
        });
    }
    by_largest(&mut notes);
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_pieces_agree, frames, noise, sensor, sine, song};

    fn of_song(samples: &[f32]) -> Vec<Vec<f32>> {
        frames("chroma_cqt", &song(22_050, 1), samples)
    }

    #[test]
    fn every_note_of_seven_octaves_is_found() {
        for semitone in (0..84).step_by(5) {
            let frequency = 32.703_195_66 * 2f64.powf(f64::from(semitone) / 12.0);
            let found = of_song(&sine(22_050, frequency, 0.5, 3.0));
            assert_eq!(found.len(), 1 + 3 * 22_050 / 512);
            for values in &found[55..75] {
                let note = (0..NOTES).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap();
                assert_eq!(NAMES[note], NAMES[semitone as usize % NOTES], "{frequency} Hz");
                // Away from its neighbours, little is left of it.
                assert!(values[(note + 6) % NOTES] < 0.02, "{frequency} Hz: {values:?}");
            }
        }
    }

    /// Two notes a semitone apart in the second octave, 4 Hz: `chroma.stft` cannot tell them from one.
    #[test]
    fn low_notes_are_told_apart() {
        let mut samples = sine(22_050, 65.406_391, 0.3, 3.0);
        samples.iter_mut().zip(sine(22_050, 73.416_192, 0.3, 3.0)).for_each(|(sum, sample)| *sum += sample);
        for values in &of_song(&samples)[55..75] {
            assert!(values[0].min(values[2]) > 0.8 && values[1] < 0.6 && values[7] < 0.1, "{values:?}");
        }
    }

    #[test]
    fn hostile_signals_give_finite_values() {
        let square: Vec<f32> = (0..22_050).map(|n| if n / 50 % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let mut impulse = vec![0.0; 22_050];
        impulse[9_000] = 1.0;
        let loud: Vec<f32> = noise(1, 9_000).iter().map(|sample| sample * 1e30).collect();
        let quiet: Vec<f32> = noise(1, 9_000).iter().map(|sample| sample * 1e-18).collect();
        for samples in [vec![0.0; 22_050], vec![1.0; 22_050], square, impulse, loud, quiet, vec![1.0], vec![0.3; 220]] {
            let found = of_song(&samples);
            assert_eq!(found.len(), 1 + samples.len() / 512);
            assert!(found.iter().flatten().all(|value| (0.0..=1.0).contains(value)));
            let is_silent = samples.iter().all(|sample| *sample == 0.0);
            assert_eq!(found.iter().flatten().all(|value| *value == 0.0), is_silent);
            for values in frames("chroma_cqt", &sensor(22_050, 1, 7), &samples) {
                assert!(values.iter().all(|value| value.is_nan()), "it is too short for a value");
            }
        }
        assert!(of_song(&[]).is_empty());
    }

    /// A sensor has the frames of a song, later.
    #[test]
    fn sensors_lag_behind_songs() {
        let samples = noise(9, 22_050 * 3);
        let (early, late) = (of_song(&samples), frames("chroma_cqt", &sensor(22_050, 1, 0), &samples));
        assert!(late[..LAG as usize - 1].iter().flatten().all(|value| value.is_nan()));
        // The first trailing frame has index 1.
        for (a, b) in late[LAG as usize - 1..].iter().zip(&early) {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} is not {b:?}");
        }
        assert_eq!(late.len() - (LAG as usize - 1), samples.len() / 512 - LAG as usize + 1);
    }

    #[test]
    fn pieces_with_lead_in_agree_with_the_whole() {
        assert_pieces_agree("chroma_cqt", 5);
    }
}
