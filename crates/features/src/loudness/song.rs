//! The loudness of a whole song, computed exactly rather than by histogram.

use super::{INTEGRATED, RANGE, TRUE_PEAK};
use crate::cells::lufs;
use crate::session::{Sink, SummaryValue};

/// Songs longer than this get no exact summary: 48 hours of 100 ms energies.
const LONGEST: usize = 48 * 36_000;

const ABSOLUTE_GATE: f64 = -70.0;

/// What is kept of a song.
#[derive(Default)]
pub(super) struct Song {
    /// Energy of each whole 100 ms.
    energies: Vec<f64>,
    too_long: bool,
    /// Largest true peak in dBTP so far.
    true_peak: Option<f32>,
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

    /// Yields what was asked for: integrated loudness, range and true peak.
    pub(super) fn summarize(&self, [integrated, range, true_peak]: [bool; 3], sink: &mut Sink) {
        if integrated {
            sink.summary(INTEGRATED, self.summary(integrated_loudness(&self.energies), "400 ms"));
        }
        if range {
            sink.summary(RANGE, self.summary(loudness_range(&self.energies), "3 s"));
        }
        if true_peak {
            let missing = || SummaryValue::Missing("the song has no samples".to_owned());
            sink.summary(TRUE_PEAK, self.true_peak.map_or_else(missing, |level| SummaryValue::Number(level.into())));
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
