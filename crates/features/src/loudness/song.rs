//! The loudness of a whole song, computed exactly rather than by histogram.

use super::{INTEGRATED, RANGE, TRACK_GAIN, TRACK_PEAK, TRUE_PEAK};
use crate::cells::lufs;
use crate::session::{Sink, SummaryValue};

/// Songs longer than this get no exact summary: 48 hours of 100 ms energies.
const LONGEST: usize = 48 * 36_000;

const ABSOLUTE_GATE: f64 = -70.0;

/// The loudness that ReplayGain 2.0 brings a song to, in LUFS.
const REPLAY_GAIN_LEVEL: f64 = -18.0;

/// What is kept of a song.
#[derive(Default)]
pub(super) struct Song {
    /// Energy of each whole 100 ms.
    energies: Vec<f64>,
    too_long: bool,
    /// Largest true peak in dBTP so far.
    true_peak: Option<f32>,
    /// Largest absolute sample so far.
    peak: Option<f32>,
}

impl Song {
    pub(super) fn push(&mut self, energy: f64) {
        self.too_long |= self.energies.len() == LONGEST;
        if !self.too_long {
            self.energies.push(energy);
        }
    }

    pub(super) fn push_true_peak(&mut self, level: f32) {
        self.true_peak = Some(self.true_peak.map_or(level, |largest| largest.max(level)));
    }

    /// Takes samples of one channel.
    pub(super) fn push_samples(&mut self, samples: &[f32]) {
        let largest = samples.iter().fold(0.0_f32, |largest, sample| largest.max(sample.abs()));
        if !samples.is_empty() {
            self.peak = Some(self.peak.map_or(largest, |before| before.max(largest)));
        }
    }

    /// Yields what was asked for: integrated loudness, range, true peak, track gain and track peak.
    pub(super) fn summarize(&self, [integrated, range, true_peak, track_gain, track_peak]: [bool; 5], sink: &mut Sink) {
        if integrated || track_gain {
            let loudness = integrated_loudness(&self.energies);
            if integrated {
                sink.summary(INTEGRATED, self.summary(loudness, "400 ms"));
            }
            if track_gain {
                let gain = loudness.map(|loudness| REPLAY_GAIN_LEVEL - loudness);
                sink.summary(TRACK_GAIN, self.summary(gain, "400 ms"));
            }
        }
        if range {
            sink.summary(RANGE, self.summary(loudness_range(&self.energies), "3 s"));
        }
        if true_peak {
            sink.summary(TRUE_PEAK, of_samples(self.true_peak));
        }
        if track_peak {
            sink.summary(TRACK_PEAK, of_samples(self.peak));
        }
    }

    fn summary(&self, value: Option<f64>, block: &str) -> SummaryValue {
        match value {
            _ if self.too_long => SummaryValue::Missing("the song is longer than 48 hours".to_owned()),
            Some(value) => SummaryValue::Number(value),
            None => SummaryValue::Missing(format!("no {block} of it is louder than -70 LUFS")),
        }
    }
}

fn of_samples(value: Option<f32>) -> SummaryValue {
    let missing = || SummaryValue::Missing("the song has no samples".to_owned());
    value.map_or_else(missing, |value| SummaryValue::Number(value.into()))
}

/// Gated loudness in LUFS of 100 ms energies (BS.1770-5, annex 1): 400 ms blocks, one every 100 ms.
fn integrated_loudness(energies: &[f64]) -> Option<f64> {
    let blocks = block_means(energies, 4);
    let gate = lufs(mean_above(&blocks, ABSOLUTE_GATE)?) - 10.0;
    mean_above(&blocks, gate.max(ABSOLUTE_GATE)).map(lufs)
}

/// Loudness range in LU of 100 ms energies (Tech 3342): 3 s blocks, one every 100 ms.
fn loudness_range(energies: &[f64]) -> Option<f64> {
    let blocks = block_means(energies, 30);
    let gate = lufs(mean_above(&blocks, ABSOLUTE_GATE)?) - 20.0;
    let mut levels: Vec<f64> = blocks.iter().map(|&energy| lufs(energy)).collect();
    levels.retain(|&level| level > ABSOLUTE_GATE && level >= gate);
    levels.sort_unstable_by(f64::total_cmp);
    let percentile = |share: f64| levels.get(((levels.len() - 1) as f64 * share).round() as usize).copied();
    Some(percentile(0.95)? - percentile(0.10)?)
}

fn block_means(energies: &[f64], length: usize) -> Vec<f64> {
    energies.windows(length).map(|block| block.iter().sum::<f64>() / length as f64).collect()
}

/// Mean of the energies whose loudness is above a gate; `None` if there are none.
fn mean_above(energies: &[f64], gate: f64) -> Option<f64> {
    let (sum, count) = energies
        .iter()
        .filter(|&&energy| lufs(energy) > gate)
        .fold((0.0, 0u64), |(sum, count), energy| (sum + energy, count + 1));
    (count > 0).then(|| sum / count as f64)
}
