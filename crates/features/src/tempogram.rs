//! The tempogram: how like itself the onset strength around each instant is a while later.

use std::collections::VecDeque;

use antiphon_audio::vector::widest;

use crate::algorithm::{Algorithm, COMMON as SPEC, Needs, Spectrum, Stream};
use crate::descriptor::{Descriptor, Hop, Kind, Output};
use crate::lanes::dot;
use crate::onset::Strength;
use crate::registry::Request;
use crate::session::Sink;

/// Frames of a window, and lags: 8.9 s.
const WINDOW: usize = 384;

/// The facts about `tempogram`.
pub(crate) static DESCRIPTOR: Descriptor = Descriptor {
    name: "tempogram",
    version: 1,
    family: "rhythm",
    title: "Tempogram: autocorrelation of the onset strength around each instant",
    about: "For songs; a window of 8.9 s has no place at the borders of a sensor's recordings. The strength of `onset` from 192 frames \
            before to 191 after each frame, under a periodic Hann window of 384, is multiplied with itself 0 to 383 frames (23.2 ms each) \
            later and summed; the sums are divided by the largest, that of lag 0. Before the song and after it the strength \
            goes to 0 along a straight line of 192 frames. Where nothing rises in the window all are 0. A lag of t seconds is a tempo \
            of 60 / t.",
    outputs: &[Output {
        name: "",
        title: "Likeness of the onset strength to itself; labels are lags in seconds",
        kind: Kind::frames(WINDOW as u16, "tempogram", Hop::of(&SPEC)),
        unit: "1",
        labels: &LAGS,
        default: false,
    }],
    parameters: &[],
    reference: "librosa 0.11: feature.tempogram(onset_envelope=onset_strength(S=power_to_db(melspectrogram, top_db=None)), sr=22050, \
                hop_length=512, win_length=384)",
};

/// A running `tempogram`.
struct Tempogram {
    strength: Strength,
    window: Vec<f32>,
    /// The last strengths; the oldest first.
    recent: VecDeque<f32>,
    windowed: Vec<f32>,
    values: Vec<f32>,
    /// Index of the frame that a full window would be centred at.
    next: i64,
    last_input: i64,
}

/// Makes `tempogram` run.
pub(crate) fn construct(request: &Request<'_>, stream: &Stream) -> Box<dyn Algorithm> {
    if !stream.song || !request.wants("") {
        return Box::new(Nothing);
    }
    let angle = std::f64::consts::TAU / WINDOW as f64;
    let mut recent = VecDeque::with_capacity(WINDOW + 1);
    // The first strength of a song is 0, so the line to it is too.
    recent.resize(WINDOW / 2, 0.0);
    Box::new(Tempogram {
        strength: Strength::new(true),
        window: (0..WINDOW).map(|n| (0.5 - 0.5 * (angle * n as f64).cos()) as f32).collect(),
        recent,
        windowed: vec![0.0; WINDOW],
        values: vec![0.0; WINDOW],
        next: 0,
        last_input: 0,
    })
}

/// What runs for a sensor.
struct Nothing;

impl Algorithm for Nothing {}

impl Algorithm for Tempogram {
    fn needs(&self) -> Needs {
        Needs { stft: Some(SPEC), mel: true, ..Needs::default() }
    }

    fn spectrum(&mut self, spectrum: &Spectrum<'_>, sink: &mut Sink) {
        if let Some(rise) = self.strength.next(spectrum) {
            self.last_input = spectrum.last_input;
            self.push(rise.strength, spectrum.index + 1, sink);
        }
    }

    fn finish(&mut self, _end: i64, sink: &mut Sink) {
        let last = self.recent.back().copied().unwrap_or(0.0);
        // The index after the last frame: a window that is not full yet has no frame of its own.
        let frames = self.next + self.recent.len() as i64 - (WINDOW / 2) as i64;
        for left in (0..WINDOW / 2).rev() {
            self.push(last * left as f32 / (WINDOW / 2) as f32, frames, sink);
        }
    }
}

impl Tempogram {
    /// Takes the next strength of a song that has so many frames or more, and yields a frame if its window is full.
    fn push(&mut self, strength: f32, frames: i64, sink: &mut Sink) {
        self.recent.push_back(strength);
        if self.recent.len() < WINDOW {
            return;
        }
        if self.next < frames {
            self.correlate();
            sink.frame(self.next, self.last_input, &self.values);
        }
        self.next += 1;
        self.recent.pop_front();
    }

    fn correlate(&mut self) {
        for (target, (value, weight)) in self.windowed.iter_mut().zip(self.recent.iter().zip(&self.window)) {
            *target = value * weight;
        }
        let (windowed, values) = (&self.windowed, &mut self.values);
        widest(
            #[inline(always)]
            || {
                for (lag, value) in values.iter_mut().enumerate() {
                    *value = dot(&windowed[..WINDOW - lag], &windowed[lag..]);
                }
            },
        );
        let largest = self.values[0];
        if largest > f32::MIN_POSITIVE {
            self.values.iter_mut().for_each(|value| *value /= largest);
        } else {
            self.values.fill(0.0);
        }
    }
}

/// Lags in seconds.
#[rustfmt::skip]
const LAGS: [&str; WINDOW] = [
    "0.000", "0.023", "0.046", "0.070", "0.093", "0.116", "0.139", "0.163", "0.186", "0.209", "0.232", "0.255", "0.279", "0.302", "0.325", "0.348",
    "0.372", "0.395", "0.418", "0.441", "0.464", "0.488", "0.511", "0.534", "0.557", "0.580", "0.604", "0.627", "0.650", "0.673", "0.697", "0.720",
    "0.743", "0.766", "0.789", "0.813", "0.836", "0.859", "0.882", "0.906", "0.929", "0.952", "0.975", "0.998", "1.022", "1.045", "1.068", "1.091",
    "1.115", "1.138", "1.161", "1.184", "1.207", "1.231", "1.254", "1.277", "1.300", "1.324", "1.347", "1.370", "1.393", "1.416", "1.440", "1.463",
    "1.486", "1.509", "1.533", "1.556", "1.579", "1.602", "1.625", "1.649", "1.672", "1.695", "1.718", "1.741", "1.765", "1.788", "1.811", "1.834",
    "1.858", "1.881", "1.904", "1.927", "1.950", "1.974", "1.997", "2.020", "2.043", "2.067", "2.090", "2.113", "2.136", "2.159", "2.183", "2.206",
    "2.229", "2.252", "2.276", "2.299", "2.322", "2.345", "2.368", "2.392", "2.415", "2.438", "2.461", "2.485", "2.508", "2.531", "2.554", "2.577",
    "2.601", "2.624", "2.647", "2.670", "2.694", "2.717", "2.740", "2.763", "2.786", "2.810", "2.833", "2.856", "2.879", "2.902", "2.926", "2.949",
    "2.972", "2.995", "3.019", "3.042", "3.065", "3.088", "3.111", "3.135", "3.158", "3.181", "3.204", "3.228", "3.251", "3.274", "3.297", "3.320",
    "3.344", "3.367", "3.390", "3.413", "3.437", "3.460", "3.483", "3.506", "3.529", "3.553", "3.576", "3.599", "3.622", "3.646", "3.669", "3.692",
    "3.715", "3.738", "3.762", "3.785", "3.808", "3.831", "3.855", "3.878", "3.901", "3.924", "3.947", "3.971", "3.994", "4.017", "4.040", "4.063",
    "4.087", "4.110", "4.133", "4.156", "4.180", "4.203", "4.226", "4.249", "4.272", "4.296", "4.319", "4.342", "4.365", "4.389", "4.412", "4.435",
    "4.458", "4.481", "4.505", "4.528", "4.551", "4.574", "4.598", "4.621", "4.644", "4.667", "4.690", "4.714", "4.737", "4.760", "4.783", "4.807",
    "4.830", "4.853", "4.876", "4.899", "4.923", "4.946", "4.969", "4.992", "5.016", "5.039", "5.062", "5.085", "5.108", "5.132", "5.155", "5.178",
    "5.201", "5.224", "5.248", "5.271", "5.294", "5.317", "5.341", "5.364", "5.387", "5.410", "5.433", "5.457", "5.480", "5.503", "5.526", "5.550",
    "5.573", "5.596", "5.619", "5.642", "5.666", "5.689", "5.712", "5.735", "5.759", "5.782", "5.805", "5.828", "5.851", "5.875", "5.898", "5.921",
    "5.944", "5.968", "5.991", "6.014", "6.037", "6.060", "6.084", "6.107", "6.130", "6.153", "6.177", "6.200", "6.223", "6.246", "6.269", "6.293",
    "6.316", "6.339", "6.362", "6.385", "6.409", "6.432", "6.455", "6.478", "6.502", "6.525", "6.548", "6.571", "6.594", "6.618", "6.641", "6.664",
    "6.687", "6.711", "6.734", "6.757", "6.780", "6.803", "6.827", "6.850", "6.873", "6.896", "6.920", "6.943", "6.966", "6.989", "7.012", "7.036",
    "7.059", "7.082", "7.105", "7.129", "7.152", "7.175", "7.198", "7.221", "7.245", "7.268", "7.291", "7.314", "7.338", "7.361", "7.384", "7.407",
    "7.430", "7.454", "7.477", "7.500", "7.523", "7.546", "7.570", "7.593", "7.616", "7.639", "7.663", "7.686", "7.709", "7.732", "7.755", "7.779",
    "7.802", "7.825", "7.848", "7.872", "7.895", "7.918", "7.941", "7.964", "7.988", "8.011", "8.034", "8.057", "8.081", "8.104", "8.127", "8.150",
    "8.173", "8.197", "8.220", "8.243", "8.266", "8.290", "8.313", "8.336", "8.359", "8.382", "8.406", "8.429", "8.452", "8.475", "8.499", "8.522",
    "8.545", "8.568", "8.591", "8.615", "8.638", "8.661", "8.684", "8.707", "8.731", "8.754", "8.777", "8.800", "8.824", "8.847", "8.870", "8.893",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::{FRAMES, decode_frames};
    use crate::session::{Analysis, Item};
    use crate::testing::{item, noise, run, sensor, song};

    fn frames(samples: &[f32]) -> Vec<Vec<f32>> {
        let item = Item { outputs: vec![String::new()], frames: true, ..item("tempogram") };
        let analysis = run(&[item], &song(22_050, 1), &[samples]);
        let blocks = analysis.blocks.iter().filter(|block| block.layer == FRAMES);
        let decoded =
            blocks.flat_map(|block| decode_frames(&DESCRIPTOR, block.minute, &block.data).expect("own frames"));
        decoded.map(|frame| frame.values).collect()
    }

    #[test]
    fn labels_are_lags() {
        let lag = |index: usize| format!("{:.3}", index as f64 * f64::from(SPEC.hop) / f64::from(SPEC.rate));
        assert!(LAGS.iter().enumerate().all(|(index, label)| *label == lag(index)));
    }

    #[test]
    fn there_is_a_frame_for_each_of_the_strength_and_silence_is_0() {
        for samples in [1, 511, 512, 100_000, 300_000] {
            let found = frames(&vec![0.0; samples]);
            assert_eq!(found.len(), 1 + samples / 512);
            assert!(found.iter().flatten().all(|value| *value == 0.0));
        }
        let found = frames(&noise(1, 300_000));
        assert!(found.iter().all(|frame| frame[0] == 1.0 && frame.iter().all(|value| (0.0..=1.0).contains(value))));
    }

    #[test]
    fn clicks_are_like_themselves_a_beat_later() {
        // A click every 22 frames: 0.511 s.
        let samples: Vec<f32> = (0..500_000).map(|n| if n % (22 * 512) == 0 { 1.0 } else { 0.0 }).collect();
        let middle = &frames(&samples)[400];
        assert!(middle[22] > 0.9 && middle[44] > 0.8 && middle[11] < 0.1, "{:?}", &middle[..50]);
    }

    #[test]
    fn a_sensor_has_none() {
        let item = Item { outputs: vec![String::new()], frames: true, ..item("tempogram") };
        assert_eq!(run(&[item], &sensor(22_050, 1, 0), &[&noise(1, 50_000)]), Analysis::default());
    }
}
