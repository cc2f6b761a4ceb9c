//! Histograms in bins of a tenth of a decibel.

use super::Values;
use super::bytes::{CellError, Input, put_varint, unzigzag, zigzag};

/// Counts by bin; bin b holds levels in [b / 10, (b + 1) / 10).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// (bin, count), bins rising, counts above 0.
    bins: Vec<(i32, u64)>,
}

/// Bins that levels fall into, -150 dB to 400 dB; what is beyond counts in the outermost.
const LOWEST: i32 = -1_500;
const HIGHEST: i32 = 4_000;

/// Counts above this do not occur (a second has 8 levels, and this many seconds is 10^7 years).
const MOST: u64 = 1 << 52;

impl Histogram {
    /// The bin of a level in dB.
    pub fn bin_of(level: f32) -> i32 {
        ((f64::from(level) * 10.0).floor() as i32).clamp(LOWEST, HIGHEST)
    }

    /// The centre of a bin in dB.
    pub fn centre(bin: i32) -> f64 {
        (f64::from(bin) + 0.5) / 10.0
    }

    /// Counts levels, in dB.
    pub fn of(levels: &[f32]) -> Histogram {
        let mut bins: Vec<i32> = levels.iter().map(|&level| Histogram::bin_of(level)).collect();
        bins.sort_unstable();
        let bins = bins.chunk_by(|a, b| a == b).map(|equal| (equal[0], equal.len() as u64)).collect();
        Histogram { bins }
    }

    /// (bin, count) in rising order.
    pub fn bins(&self) -> &[(i32, u64)] {
        &self.bins
    }

    /// How many levels were counted.
    pub fn total(&self) -> u64 {
        self.bins.iter().map(|(_, count)| count).sum()
    }

    /// The level exceeded `percent` % of the time: the centre of the bin in which the count from the top first
    /// reaches that share.
    pub fn exceeded(&self, percent: u8) -> Option<f64> {
        let needed = u128::from(self.total()) * u128::from(percent);
        let mut seen = 0u128;
        self.bins.iter().rev().find_map(|(bin, count)| {
            seen += u128::from(*count) * 100;
            (seen >= needed).then(|| Histogram::centre(*bin))
        })
    }

    /// Sums histograms, bin by bin.
    pub fn sum<'a>(parts: impl Iterator<Item = &'a Histogram>) -> Histogram {
        let mut all: Vec<(i32, u64)> = parts.flat_map(|part| part.bins.iter().copied()).collect();
        all.sort_unstable_by_key(|(bin, _)| *bin);
        let mut bins: Vec<(i32, u64)> = Vec::new();
        for (bin, count) in all {
            match bins.last_mut() {
                Some((last, sum)) if *last == bin => *sum = (*sum + count).min(MOST),
                _ => bins.push((bin, count)),
            }
        }
        Histogram { bins }
    }

    /// Appends it: the number of bins, the first bin, then a byte a bin for the distance to the next (3 bits) and
    /// the count (5 bits), with longer ones after it.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.bins.len() as u64);
        let mut before: Option<i32> = None;
        for &(bin, count) in &self.bins {
            let distance = match before {
                None => {
                    put_varint(out, zigzag(i64::from(bin)));
                    0
                }
                Some(before) => (bin - before - 1) as u64,
            };
            let count = count - 1;
            out.push((distance.min(7) as u8) << 5 | count.min(31) as u8);
            if distance >= 7 {
                put_varint(out, distance - 7);
            }
            if count >= 31 {
                put_varint(out, count - 31);
            }
            before = Some(bin);
        }
    }

    pub(super) fn take(input: &mut Input<'_>) -> Result<Histogram, CellError> {
        let length = input.varint()?;
        if length > (HIGHEST - LOWEST + 1) as u64 {
            return Err(CellError::Range("number of bins"));
        }
        let mut bins: Vec<(i32, u64)> = Vec::new();
        for _ in 0..length {
            let first = if bins.is_empty() { Some(unzigzag(input.varint()?)) } else { None };
            let packed = input.byte()?;
            let distance = match packed >> 5 {
                7 => input.varint()?.saturating_add(7),
                short => u64::from(short),
            };
            let count = match packed & 31 {
                31 => input.varint()?.saturating_add(32),
                short => u64::from(short) + 1,
            };
            let bin = match (first, bins.last()) {
                (None, Some((before, _))) => i64::from(*before).saturating_add_unsigned(distance).saturating_add(1),
                (first, _) => first.unwrap_or(0),
            };
            if !(i64::from(LOWEST)..=i64::from(HIGHEST)).contains(&bin) {
                return Err(CellError::Range("bin"));
            }
            if count > MOST {
                return Err(CellError::Range("count"));
            }
            bins.push((bin as i32, count));
        }
        Ok(Histogram { bins })
    }
}

pub(super) fn merge(children: &[(u64, &Values)]) -> Values {
    Values::Histogram(Histogram::sum(children.iter().filter_map(|(_, values)| match values {
        Values::Histogram(histogram) => Some(histogram),
        _ => None,
    })))
}
