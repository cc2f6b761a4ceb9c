//! Mel-frequency cepstral coefficients of whole songs, with librosa's floor below the loudest band of all.

use crate::algorithm::{Algorithm, COMMON as SPEC, Needs, Song, Stream};
use crate::descriptor::{Descriptor, Hop, Kind, Output};
use crate::mel::{BANDS, TOO_LONG};
use crate::mfcc::{COEFFICIENTS, Cosines, LABELS};
use crate::onset::instant;
use crate::registry::Request;
use crate::session::{Sink, SummaryValue};

const SERIES: &str = "";
const FLOOR: &str = "floor";

/// The facts about `mfcc_top_db`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "mfcc_top_db",
    version: 1,
    family: "spectral",
    title: "Mel-frequency cepstral coefficients above a floor 80 dB below the loudest of a song",
    about: "For songs of up to 20 minutes; beside `mfcc`, for who compares with librosa's numbers. The first 20 coefficients of the \
            orthonormal cosine transform (DCT-II) of the 128 bands of `mel` in dB, of which each that lies more than 80 dB below the \
            loudest band of any frame of the song counts as that (librosa's `top_db`): with M(b) the level of band b so limited, c(0) = sum \
            M(b) / sqrt(128) and c(n) = sqrt(2 / 128) sum M(b) cos(pi n (2 b + 1) / 256). No liftering. `floor` is that limit. Songs are padded \
            with zeros at both ends, frames are centred. Digital silence in a song that is not silent has c(0) = \
            11.31 times the floor, or -1131.4 if that is more, since `mel` itself ends at -100 dB, and all others are 0. The bands of the whole song are kept for it; a \
            longer song has neither frames nor a floor, for that reason.",
    outputs: &[
        Output {
            name: SERIES,
            title: "Coefficients 0 to 19",
            kind: Kind::frames(COEFFICIENTS as u16, "mfcc_top_db", Hop::of(&SPEC)),
            unit: "1",
            labels: &LABELS,
            default: false,
        },
        Output {
            name: FLOOR,
            title: "80 dB below the loudest band of any frame",
            kind: Kind::Summary,
            unit: "dB",
            labels: &[],
            default: false,
        },
    ],
    parameters: &[],
    reference: "librosa 0.11: feature.mfcc(y=y, sr=22050, n_mfcc=20)",
};

/// A running `mfcc_top_db`.
struct MfccTopDb {
    rate: u32,
    song: bool,
    wants_floor: bool,
}

/// Makes `mfcc_top_db` run.
pub(crate) fn construct(request: &Request<'_>, stream: &Stream) -> Box<dyn Algorithm> {
    let wants_floor = request.wants(FLOOR);
    let is_asked = wants_floor || request.wants(SERIES);
    Box::new(MfccTopDb { rate: stream.rate, song: stream.song && is_asked, wants_floor })
}

impl Algorithm for MfccTopDb {
    fn needs(&self) -> Needs {
        if self.song { Needs { stft: Some(SPEC), mel: true, song: true } } else { Needs::default() }
    }

    fn song(&mut self, song: &Song, sink: &mut Sink) {
        let floor = song.floor();
        let frames = song.frames();
        if self.wants_floor {
            let value = match &frames {
                None => SummaryValue::Missing(TOO_LONG.to_owned()),
                Some(frames) if frames.len() == 0 => SummaryValue::Missing("the song has no samples".to_owned()),
                Some(_) => SummaryValue::Number(f64::from(floor)),
            };
            sink.summary(FLOOR, value);
        }
        let Some(frames) = frames.filter(|_| sink.wants_frames()) else { return };
        let cosines = Cosines::new();
        let mut limited = [0.0; BANDS];
        for (index, bands) in (0..).zip(frames) {
            limited.iter_mut().zip(bands).for_each(|(limited, band)| *limited = band.max(floor));
            sink.frame(index, instant(index, self.rate).start, &cosines.transform(&limited));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::{FRAMES, decode_frames};
    use crate::session::{Analysis, Item};
    use crate::testing::{noise, run, sensor, sine, song};

    fn analyse(stream: &Stream, samples: &[f32]) -> Analysis {
        let outputs = vec![SERIES.to_owned(), FLOOR.to_owned()];
        let item = Item { outputs, algorithm: "mfcc_top_db".to_owned(), frames: true, ..Item::default() };
        run(&[item], stream, &[samples])
    }

    fn frames(analysis: &Analysis) -> Vec<Vec<f32>> {
        let blocks = analysis.blocks.iter().filter(|block| block.layer == FRAMES);
        let decoded =
            blocks.flat_map(|block| decode_frames(&DESCRIPTOR, block.minute, &block.data).expect("own frames"));
        decoded.map(|frame| frame.values).collect()
    }

    fn floor(analysis: &Analysis) -> f32 {
        let [summary] = &analysis.summaries[..] else { panic!("one summary, not {:?}", analysis.summaries) };
        let SummaryValue::Number(floor) = summary.value else { panic!("{summary:?}") };
        floor as f32
    }

    /// A second of a sine, then one of silence, whose level the sine decides from behind and from before.
    #[test]
    fn silence_lies_on_the_floor() {
        let tone = sine(22_050, 440.0, 1.0, 1.0);
        let silence = vec![0.0; 22_050];
        for samples in [[&tone[..], &silence].concat(), [&silence[..], &tone].concat()] {
            let analysis = analyse(&song(22_050, 1), &samples);
            let found = frames(&analysis);
            assert_eq!(found.len(), 87);
            let floor = floor(&analysis);
            assert!((-41.0..-38.0).contains(&floor), "a full-scale sine has some 40 dB: {floor}");
            let is_silent = |values: &&Vec<f32>| values[1..].iter().all(|value| *value == 0.0);
            let silent: Vec<&Vec<f32>> = found.iter().filter(is_silent).collect();
            assert!(silent.len() >= 38, "{}", silent.len());
            assert!(silent.iter().all(|values| (values[0] - floor * 128_f32.sqrt()).abs() < 1e-2));
        }
    }

    #[test]
    fn silence_alone_and_next_to_nothing_have_their_values() {
        for samples in [vec![0.0; 22_050], vec![0.0]] {
            let analysis = analyse(&song(22_050, 1), &samples);
            assert_eq!(floor(&analysis), -180.0);
            let found = frames(&analysis);
            assert_eq!(found.len(), 1 + samples.len() / 512);
            assert!(found.iter().all(|values| (values[0] + 100.0 * 128_f32.sqrt()).abs() < 1e-3));
        }
        let square: Vec<f32> = (0..22_050).map(|n| if n / 50 % 2 == 0 { 1.0 } else { -1.0 }).collect();
        for samples in [vec![1.0], noise(1, 220), vec![0.3; 22_050], square, vec![1e30; 9_000], vec![f32::NAN; 9_000]] {
            let analysis = analyse(&song(22_050, 1), &samples);
            assert!(floor(&analysis).is_finite());
            assert!(frames(&analysis).iter().flatten().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn a_sensor_has_none() {
        assert_eq!(analyse(&sensor(22_050, 1, 0), &noise(1, 100_000)), Analysis::default());
    }
}
