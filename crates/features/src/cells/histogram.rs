//! Histograms in bins of a tenth of a decibel.

use super::Values;
use super::bytes::{BitReader, BitWriter, CellError, Input, put_varint, unzigzag, zigzag};

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

    /// Appends it: the number of bins and the first bin, then, bit by bit, the count of each bin and the distance to
    /// the next.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.bins.len() as u64);
        let Some((first, _)) = self.bins.first() else {
            return;
        };
        put_varint(out, zigzag(i64::from(*first)));
        let mut bits = BitWriter::new(out);
        let mut before = *first;
        for (index, (bin, count)) in self.bins.iter().enumerate() {
            if index > 0 {
                bits.put((bin - before) as u64);
            }
            bits.put(*count);
            before = *bin;
        }
    }

    pub(super) fn take(input: &mut Input<'_>) -> Result<Histogram, CellError> {
        let length = input.varint()?;
        if length > (HIGHEST - LOWEST + 1) as u64 {
            return Err(CellError::Range("number of bins"));
        }
        let mut bins = Vec::new();
        if length == 0 {
            return Ok(Histogram { bins });
        }
        let mut bin = unzigzag(input.varint()?);
        let mut bits = BitReader::new(input);
        for index in 0..length {
            if index > 0 {
                bin += bits.take()? as i64;
            }
            if !(i64::from(LOWEST)..=i64::from(HIGHEST)).contains(&bin) {
                return Err(CellError::Range("bin"));
            }
            bins.push((bin as i32, bits.take()?.min(MOST)));
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
