//! Loudness from 100 ms energies: momentary and short-term values by block end, and what is gated of them.
//!
//! ITU-R BS.1770-5 annex 1 (gating), EBU Tech 3341 (momentary 400 ms, short-term 3 s), EBU Tech 3342 (range).
//! Gating works on histograms of 0.1 LU, so that it merges at any resolution; a mean energy kept beside the
//! histogram takes out what the bins round away.

use super::Values;
use super::block::Header;
use super::bytes::{CellError, Input, Rows};
use super::histogram::Histogram;
use super::value::SILENCE_DB;

/// Length of a 100 ms block in µs.
pub const SLOT: u32 = 100_000;

/// A block that lacks no more than the jitter of a sensor's clock is whole.
const WHOLE: u32 = SLOT - super::TOLERANCE as u32;

/// Blocks below this loudness never count in a gated value (BS.1770-5).
const ABSOLUTE_GATE: f32 = -70.0;

/// 100 ms of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slot {
    /// K-weighted mean square, channels summed with their weights, over what was heard.
    pub energy: f32,
    /// What was heard, µs; 0 if nothing, and up to 20 ms more than 100,000 where recordings overlap.
    pub length: u32,
}

/// The blocks of one second, with its true peak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Energies {
    /// Blocks in order.
    pub slots: [Slot; 10],
    /// Largest true peak in dBTP; NaN if it was not computed.
    pub true_peak: f32,
}

/// Loudness of a second or more.
#[derive(Clone, Debug, PartialEq)]
pub struct Loudness {
    /// 400 ms values, one per 100 ms, by the end of the block.
    pub momentary: Gated,
    /// 3 s values, one per 100 ms, by the end of the block.
    pub short_term: Gated,
    /// Largest true peak in dBTP; NaN if it was not computed.
    pub true_peak: f32,
}

/// What is kept of the loudness of many blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Gated {
    /// Those of at least -70 LUFS, in bins of 0.1 LU.
    pub histogram: Histogram,
    /// Mean energy of those in the histogram; NaN if it is empty.
    pub energy: f32,
    /// Smallest of all, LUFS; NaN if there was none.
    pub minimum: f32,
    /// Largest of all, LUFS; NaN if there was none.
    pub maximum: f32,
}

/// Loudness in LUFS of a summed K-weighted mean square; digital silence is -150.
pub(crate) fn lufs(energy: f64) -> f64 {
    (10.0 * energy.log10() - 0.691).max(f64::from(SILENCE_DB))
}

fn energy_of(lufs: f64) -> f64 {
    10f64.powf((lufs + 0.691) / 10.0)
}

impl Energies {
    /// Blocks of a second that was heard from `from` to `to` (µs in the second), one energy for each of the ten;
    /// those outside the interval, or NaN, are nothing.
    pub fn new(from: u32, to: u32, energies: &[f32], true_peak: f32) -> Energies {
        let mut slots = [Slot::default(); 10];
        for (index, (slot, &energy)) in slots.iter_mut().zip(energies).enumerate() {
            let start = index as u32 * SLOT;
            let length = to.min(start + SLOT).saturating_sub(from.max(start));
            if energy.is_finite() && length > 0 {
                *slot = Slot { energy, length };
            }
        }
        Energies { slots, true_peak }
    }

    fn row(&self) -> [f32; 11] {
        let mut row = [f32::NAN; 11];
        for (value, slot) in row.iter_mut().zip(&self.slots) {
            if slot.length > 0 {
                *value = slot.energy;
            }
        }
        row[10] = self.true_peak;
        row
    }

    /// Appends the energies of a partial: the lengths follow from its interval.
    pub(super) fn put(&self, out: &mut Vec<u8>, rows: &mut Rows) {
        rows.put(out, &self.row());
    }

    pub(super) fn take(input: &mut Input<'_>, header: Header, rows: &mut Rows) -> Result<Energies, CellError> {
        let row = rows.take(input)?;
        if row.iter().take(10).any(|&energy| energy < 0.0) {
            return Err(CellError::Range("energy"));
        }
        Ok(Energies::new(header.from, header.to, &row[..10], row[10]))
    }

    fn merge(parts: &[&Energies]) -> Energies {
        let mut slots = [Slot::default(); 10];
        for (index, slot) in slots.iter_mut().enumerate() {
            let (mut sum, mut length) = (0.0, 0u32);
            for part in parts.iter().map(|part| part.slots[index]) {
                sum += f64::from(part.energy) * f64::from(part.length);
                length = length.saturating_add(part.length);
            }
            if length > 0 {
                *slot = Slot { energy: (sum / f64::from(length)) as f32, length };
            }
        }
        let true_peak = parts.iter().map(|part| part.true_peak).fold(f32::NAN, f32::max);
        Energies { slots, true_peak }
    }
}

impl Gated {
    fn of_blocks(energies: &[f64]) -> Gated {
        let levels: Vec<f32> = energies.iter().map(|&energy| lufs(energy) as f32).collect();
        let (mut loud, mut sum) = (Vec::with_capacity(levels.len()), 0.0);
        for (&level, energy) in levels.iter().zip(energies) {
            if level >= ABSOLUTE_GATE {
                loud.push(level);
                sum += energy;
            }
        }
        Gated {
            energy: (sum / loud.len() as f64) as f32,
            histogram: Histogram::of(&loud),
            minimum: levels.iter().copied().fold(f32::NAN, f32::min),
            maximum: levels.iter().copied().fold(f32::NAN, f32::max),
        }
    }

    fn merge<'a>(parts: impl Iterator<Item = &'a Gated> + Clone) -> Gated {
        let (mut sum, mut count) = (0.0, 0.0);
        for part in parts.clone().filter(|part| part.energy.is_finite()) {
            let total = part.histogram.total() as f64;
            sum += f64::from(part.energy) * total;
            count += total;
        }
        Gated {
            energy: (sum / count) as f32,
            histogram: Histogram::sum(parts.clone().map(|part| &part.histogram)),
            minimum: parts.clone().map(|part| part.minimum).fold(f32::NAN, f32::min),
            maximum: parts.map(|part| part.maximum).fold(f32::NAN, f32::max),
        }
    }

    /// Integrated loudness in LUFS of 400 ms blocks: the mean of those that are above -70 LUFS and less than
    /// 10 LU below the mean of those (BS.1770-5). `None` if none is above -70 LUFS.
    pub fn integrated(&self) -> Option<f64> {
        let mean = self.gate_mean()?;
        let gate = lufs(mean) - 10.0;
        let (mut all, mut all_count, mut loud, mut loud_count) = (0.0, 0.0, 0.0, 0.0);
        for &(bin, count) in self.histogram.bins() {
            let (level, count) = (Histogram::centre(bin), count as f64);
            all += energy_of(level) * count;
            all_count += count;
            if level > gate {
                loud += energy_of(level) * count;
                loud_count += count;
            }
        }
        let rounding = mean / (all / all_count);
        Some(lufs(loud / loud_count * rounding))
    }

    /// Loudness range in LU of short-term values: from their 10th to their 95th percentile, of those that are above
    /// -70 LUFS and less than 20 LU below the mean of those (Tech 3342). `None` if none is above -70 LUFS.
    pub fn range(&self) -> Option<f64> {
        let gate = lufs(self.gate_mean()?) - 20.0;
        let loud: Vec<(f64, u64)> = self
            .histogram
            .bins()
            .iter()
            .map(|&(bin, count)| (Histogram::centre(bin), count))
            .filter(|(level, _)| *level >= gate)
            .collect();
        let total: u64 = loud.iter().map(|(_, count)| count).sum();
        let percentile = |share: f64| {
            let rank = (share * total.saturating_sub(1) as f64).round() as u64;
            let mut before = 0;
            loud.iter().find_map(|(level, count)| {
                before += count;
                (before > rank).then_some(*level)
            })
        };
        Some(percentile(0.95)? - percentile(0.10)?)
    }

    fn gate_mean(&self) -> Option<f64> {
        let mean = f64::from(self.energy);
        (mean > 0.0 && !self.histogram.bins().is_empty()).then_some(mean)
    }
}

impl Loudness {
    /// The values whose blocks end in a second, from its energies and those of the three seconds before. A value
    /// exists where all of its 100 ms blocks are whole.
    pub(super) fn derive(before: [Option<&Energies>; 3], own: &Energies) -> Loudness {
        let mut slots = [Slot::default(); 40];
        for (target, energies) in slots.chunks_mut(10).zip(before.into_iter().chain([Some(own)])) {
            if let Some(energies) = energies {
                target.copy_from_slice(&energies.slots);
            }
        }
        let blocks = |slots_per_block: usize| {
            let energies: Vec<f64> = (31..=40).filter_map(|end| mean(&slots[end - slots_per_block..end])).collect();
            Gated::of_blocks(&energies)
        };
        Loudness { momentary: blocks(4), short_term: blocks(30), true_peak: own.true_peak }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let row = [
            self.momentary.energy,
            self.momentary.minimum,
            self.momentary.maximum,
            self.short_term.energy,
            self.short_term.minimum,
            self.short_term.maximum,
            self.true_peak,
        ];
        Rows::new(row.len()).put(out, &row);
        self.momentary.histogram.put(out);
        self.short_term.histogram.put(out);
    }

    pub(super) fn take(input: &mut Input<'_>) -> Result<Loudness, CellError> {
        let row = Rows::new(7).take(input)?;
        let mut gated = |at: usize| {
            let histogram = Histogram::take(input)?;
            Ok(Gated { histogram, energy: row[at], minimum: row[at + 1], maximum: row[at + 2] })
        };
        Ok(Loudness { momentary: gated(0)?, short_term: gated(3)?, true_peak: row[6] })
    }
}

fn mean(slots: &[Slot]) -> Option<f64> {
    let (mut sum, mut length) = (0.0, 0.0);
    for slot in slots {
        if slot.length < WHOLE {
            return None;
        }
        sum += f64::from(slot.energy) * f64::from(slot.length);
        length += f64::from(slot.length);
    }
    Some(sum / length)
}

pub(super) fn merge(children: &[(u64, &Values)]) -> Values {
    let energies: Vec<&Energies> = children
        .iter()
        .filter_map(|(_, values)| match values {
            Values::Energies(energies) => Some(energies),
            _ => None,
        })
        .collect();
    if !energies.is_empty() {
        return Values::Energies(Energies::merge(&energies));
    }
    let parts: Vec<&Loudness> = children
        .iter()
        .filter_map(|(_, values)| match values {
            Values::Loudness(loudness) => Some(loudness),
            _ => None,
        })
        .collect();
    Values::Loudness(Loudness {
        momentary: Gated::merge(parts.iter().map(|part| &part.momentary)),
        short_term: Gated::merge(parts.iter().map(|part| &part.short_term)),
        true_peak: parts.iter().map(|part| part.true_peak).fold(f32::NAN, f32::max),
    })
}
