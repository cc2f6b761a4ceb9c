//! Onsets of songs by librosa's definition.

use crate::algorithm::{Algorithm, COMMON as SPEC, Needs, Song, Stream};
use crate::descriptor::{Descriptor, Kind, Output};
use crate::lanes::sum_of;
use crate::mel::TOO_LONG;
use crate::onset::{instant, strengths};
use crate::registry::Request;
use crate::session::{Sink, SummaryValue};

const ONSET: &str = "onset";
const COUNT: &str = "count";

/// Frames before an onset of which none is higher. None after it is looked at.
const BEFORE: usize = 1;
/// Frames before and after over which the mean is taken that an onset must exceed, and by how much of the highest strength.
const AROUND: usize = 4;
const DELTA: f64 = 0.07;
/// Frames after an onset that cannot be one.
const WAIT: usize = 1;

/// The facts about `onset_detect`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "onset_detect",
    version: 1,
    family: "rhythm",
    title: "Onsets of a song as librosa finds them",
    about: "For songs of up to 20 minutes; beside `onset`, for who compares with librosa's numbers. The strength of a frame is the mean over \
            the 128 bands of `mel` of what each rose by in dB since the frame before, falls counting as 0, where every band \
            is at least 80 dB below the loudest band of any frame of the song (librosa's `top_db`). Frames are centred, and \
            frame k has the rise of frame k - 2; the first three are 0. From all strengths the least is taken, and all are divided by \
            the largest, so that they reach from 0 to 1. Frame k is an onset if it is no lower than frame k - 1, exceeds the mean of the \
            frames k - 4 to k + 4 (of those there are) by 0.07 or more, and frame k - 1 is none. It is told at the centre of the \
            frame, k x 512 / 22,050 s, lasts a hop (23 ms), and its value is that strength. Without any rise there are none. \
            The bands of the whole song are kept for it, so a longer song has no onsets and no count, for that reason.",
    outputs: &[
        Output {
            name: ONSET,
            title: "Something begins to sound; the value is its strength over the largest",
            kind: Kind::Annotation { minimum: 0 },
            unit: "1",
            labels: &[],
            default: false,
        },
        Output {
            name: COUNT,
            title: "How many onsets there are",
            kind: Kind::Summary,
            unit: "1",
            labels: &[],
            default: false,
        },
    ],
    parameters: &[],
    reference: "librosa 0.11: onset.onset_detect(y=y, sr=22050, hop_length=512)",
};

/// A running `onset_detect`.
struct OnsetDetect {
    rate: u32,
    song: bool,
    wants: [bool; 2],
}

/// Makes `onset_detect` run.
pub(crate) fn construct(request: &Request<'_>, stream: &Stream) -> Box<dyn Algorithm> {
    let wants = [ONSET, COUNT].map(|output| request.wants(output));
    Box::new(OnsetDetect { rate: stream.rate, song: stream.song && wants.contains(&true), wants })
}

impl Algorithm for OnsetDetect {
    fn needs(&self) -> Needs {
        if self.song { Needs { stft: Some(SPEC), mel: true, song: true } } else { Needs::default() }
    }

    fn song(&mut self, song: &Song, sink: &mut Sink) {
        let [wants_onsets, wants_count] = self.wants;
        let mean = |rises: &mut [f32; crate::mel::BANDS]| sum_of(rises, rises, |rise, _| rise) / rises.len() as f32;
        let Some(mut strengths) = strengths(song, mean) else {
            if wants_count {
                sink.summary(COUNT, SummaryValue::Missing(TOO_LONG.to_owned()));
            }
            return;
        };
        normalize(&mut strengths);
        let found = peaks(&strengths);
        if wants_count {
            sink.summary(COUNT, SummaryValue::Number(found.len() as f64));
        }
        for index in found.into_iter().filter(|_| wants_onsets) {
            sink.annotation(ONSET, "", instant(index as i64, self.rate), Some(strengths[index]), None);
        }
    }
}

/// From 0 to 1; what is the same everywhere becomes 0.
fn normalize(strengths: &mut [f32]) {
    let least = strengths.iter().copied().fold(f32::INFINITY, f32::min);
    strengths.iter_mut().for_each(|strength| *strength -= least);
    let largest = strengths.iter().copied().fold(0.0, f32::max);
    strengths.iter_mut().for_each(|strength| *strength /= largest + f32::MIN_POSITIVE);
}

/// The frames that are onsets, of strengths from 0 to 1.
fn peaks(strengths: &[f32]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < strengths.len() {
        let strength = strengths[at];
        let around = &strengths[at.saturating_sub(AROUND)..strengths.len().min(at + AROUND + 1)];
        let mean = around.iter().map(|other| f64::from(*other)).sum::<f64>() / around.len() as f64;
        let is_highest = strengths[at.saturating_sub(BEFORE)..at].iter().all(|before| *before <= strength);
        if is_highest && f64::from(strength) >= mean + DELTA {
            found.push(at);
            at += WAIT;
        }
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Analysis, Item};
    use crate::testing::{noise, run, sensor, sine, song};

    fn analyse(stream: &Stream, samples: &[f32]) -> Analysis {
        let outputs = vec![ONSET.to_owned(), COUNT.to_owned()];
        run(&[Item { outputs, algorithm: "onset_detect".to_owned(), ..Item::default() }], stream, &[samples])
    }

    fn count(analysis: &Analysis) -> f64 {
        let [summary] = &analysis.summaries[..] else { panic!("one summary, not {:?}", analysis.summaries) };
        let SummaryValue::Number(count) = summary.value else { panic!("{summary:?}") };
        assert_eq!(count, analysis.annotations.len() as f64);
        count
    }

    /// Sines that begin and end every 400 ms, at every rate.
    #[test]
    fn tones_are_found_where_they_begin() {
        for rate in [8_000, 22_050, 44_100, 192_000] {
            let gap = rate as usize * 2 / 5;
            let mut samples: Vec<f32> = noise(3, 10 * gap).iter().map(|sample| sample * 1e-3).collect();
            for (number, tone) in samples.chunks_mut(gap).enumerate() {
                let pure = sine(rate, [330.0, 440.0, 550.0][number % 3], 0.5, 0.4);
                for (n, (sample, pure)) in tone.iter_mut().zip(pure).enumerate() {
                    *sample += pure * (-8.0 * n as f32 / rate as f32).exp();
                }
            }
            let analysis = analyse(&song(rate, 1), &samples);
            for expected in (1..10).map(|number| 400_000 * number) {
                let near = |onset: &&crate::session::Annotation| (onset.from - expected).abs() < 50_000;
                assert!(analysis.annotations.iter().any(|onset| near(&onset)), "{rate}, {expected}");
            }
            assert!(count(&analysis) < 14.0, "{:?}", analysis.annotations);
            let is_strength = |value: Option<f32>| value.is_some_and(|value| (0.07..=1.0).contains(&value));
            assert!(analysis.annotations.iter().all(|onset| is_strength(onset.value)));
        }
    }

    #[test]
    fn what_does_not_rise_has_none() {
        for samples in [vec![], vec![0.5], noise(1, 220), noise(1, 1_000), vec![0.0; 100_000]] {
            assert_eq!(count(&analyse(&song(22_050, 1), &samples)), 0.0);
        }
        // A click: the rise of the first frame that has it, and of the next, which has it nearer to its middle.
        let mut impulse = vec![0.0; 50_000];
        impulse[25_000] = 1.0;
        let found = analyse(&song(22_050, 1), &impulse).annotations;
        assert!(!found.is_empty() && found.iter().all(|onset| (onset.from - 1_133_787).abs() < 50_000), "{found:?}");
    }

    #[test]
    fn wild_samples_do_no_harm() {
        let broken = [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN, -1e-30, 1e-20];
        let broken: Vec<f32> = (0..50_000).map(|n| broken[n % 7 % broken.len()]).collect();
        let square: Vec<f32> = (0..50_000).map(|n| if n / 50 % 2 == 0 { 1.0 } else { -1.0 }).collect();
        for samples in [broken, square, vec![0.25; 50_000], noise(9, 50_000)] {
            count(&analyse(&song(44_100, 1), &samples));
        }
    }

    #[test]
    fn a_sensor_has_none() {
        assert_eq!(analyse(&sensor(22_050, 1, 0), &noise(1, 100_000)), Analysis::default());
    }

    /// The wait, the mean, and the neighbour before.
    #[test]
    fn peaks_exceed_what_is_around_them() {
        assert!(peaks(&[]).is_empty() && peaks(&[0.0; 9]).is_empty() && peaks(&[1.0; 9]).is_empty());
        let mut curve = [0.0; 30];
        (curve[4], curve[5], curve[12], curve[13], curve[20], curve[21]) = (0.5, 1.0, 0.9, 0.8, 0.07, 0.0);
        assert_eq!(peaks(&curve), [4, 12]);
        curve[20] = 0.08;
        assert_eq!(peaks(&curve), [4, 12, 20]);
    }
}
