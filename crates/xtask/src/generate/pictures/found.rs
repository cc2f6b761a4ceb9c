//! What our own analysis finds in a sound, as rows of numbers.

use std::collections::BTreeMap;

use antiphon_features::algorithm::Stream;
use antiphon_features::cells::{self, FRAMES, Values, decode_frames, frame_columns};
use antiphon_features::descriptor::{Descriptor, Hop, Kind, Output, Series};
use antiphon_features::find;
use antiphon_features::session::{Analysis, Item, Session};
use anyhow::{Context, Result, bail};

use super::sounds::Sound;

/// A series of one output: a row of numbers for each step of time, NaN where there is none.
pub struct Rows {
    /// Seconds from one row to the next.
    pub step: f64,
    /// Whether a row is of the whole step rather than of an instant.
    pub lasts: bool,
    pub dimensions: usize,
    pub values: Vec<Vec<f32>>,
}

/// The algorithm and output that a column (`level.a`, `mel`) names.
pub fn column(name: &str) -> Result<(&'static Descriptor, &'static Output)> {
    let (algorithm, output) = name.split_once('.').unwrap_or((name, ""));
    let descriptor = find(algorithm).with_context(|| format!("there is no algorithm {algorithm}"))?;
    Ok((descriptor, descriptor.output(output).with_context(|| format!("there is no output {name}"))?))
}

/// Analyses a sound as a song by all these columns.
pub fn analyse<'a>(sound: &Sound, columns: impl Iterator<Item = &'a str>) -> Result<Analysis> {
    let mut items: BTreeMap<&str, Item> = BTreeMap::new();
    for name in columns {
        let (descriptor, output) = column(name)?;
        let item = items.entry(descriptor.name).or_insert_with(|| Item {
            algorithm: descriptor.name.to_owned(),
            frames: descriptor.hop().is_some(),
            ..Item::default()
        });
        if !item.outputs.iter().any(|known| known == output.name) {
            item.outputs.push(output.name.to_owned());
        }
    }
    let items: Vec<Item> = items.into_values().collect();
    let rate = sound.rate;
    let stream = Stream { rate, channels: 1, first_sample: 0, first_body_sample: 0, song: true, calibration_db: None };
    let mut session = Session::new(&items, &stream)?;
    session.push(&[&sound.samples]);
    Ok(session.finish())
}

/// The rows of a column: its frames if it has any, else what is stored of each second.
pub fn rows(analysis: &Analysis, name: &str) -> Result<Rows> {
    let (descriptor, output) = column(name)?;
    let Kind::Series(series) = &output.kind else { bail!("{name} is no series") };
    match series.hop {
        Some(hop) => frames(analysis, descriptor, output, hop),
        None => seconds(analysis, descriptor, output, series),
    }
}

fn frames(analysis: &Analysis, descriptor: &'static Descriptor, output: &Output, hop: Hop) -> Result<Rows> {
    let columns = frame_columns(descriptor, output.name);
    let step = f64::from(hop.samples) / f64::from(hop.rate);
    let mut values = Vec::new();
    let blocks = analysis.blocks.iter().filter(|block| block.algorithm == descriptor.name && block.layer == FRAMES);
    for block in blocks {
        for frame in decode_frames(descriptor, block.minute, &block.data)? {
            let index = (frame.start as f64 * 1e-6 / step).round() as usize;
            put(&mut values, index, frame.values[columns.clone()].to_vec());
        }
    }
    Ok(Rows { step, lasts: step >= 1.0, dimensions: columns.len(), values: filled(values, columns.len()) })
}

fn seconds(
    analysis: &Analysis,
    descriptor: &'static Descriptor,
    output: &'static Output,
    series: &Series,
) -> Result<Rows> {
    let dimensions = usize::from(series.dimensions);
    let layer = cells::layer(descriptor.name, series.layer).context("a series has a layer")?;
    let mut values = Vec::new();
    let mut step = 1.0;
    for (second, cell) in cells::seconds(layer, &analysis.blocks)? {
        let second = usize::try_from(second).context("a song begins at 0")?;
        if let Values::Preview(tenths) = &cell.values {
            step = 0.1;
            for (tenth, row) in tenths.iter().enumerate() {
                let row = row.map(|row| row.iter().map(|byte| f32::from(*byte)).collect());
                put(&mut values, 10 * second + tenth, row.unwrap_or_default());
            }
            continue;
        }
        let value = |dimension| cells::value(&cell, output, series.default_stat(), dimension).unwrap_or(f32::NAN);
        put(&mut values, second, (0..dimensions).map(value).collect());
    }
    Ok(Rows { step, lasts: true, dimensions, values: filled(values, dimensions) })
}

fn put(values: &mut Vec<Vec<f32>>, index: usize, row: Vec<f32>) {
    if values.len() <= index {
        values.resize(index + 1, Vec::new());
    }
    values[index] = row;
}

/// Rows that were not found, as NaN.
fn filled(mut values: Vec<Vec<f32>>, dimensions: usize) -> Vec<Vec<f32>> {
    for row in values.iter_mut().filter(|row| row.is_empty()) {
        row.resize(dimensions, f32::NAN);
    }
    values
}

impl Rows {
    /// At most `steps` rows of at most `dimensions` numbers: each the mean of what it stands for.
    pub fn folded(self, steps: usize, dimensions: usize) -> Rows {
        let (by_step, by_dimension) =
            (self.values.len().div_ceil(steps).max(1), self.dimensions.div_ceil(dimensions).max(1));
        let row = |rows: &[Vec<f32>]| {
            let means = (0..self.dimensions).step_by(by_dimension).map(|first| {
                let end = (first + by_dimension).min(self.dimensions);
                mean(rows.iter().flat_map(|row| &row[first..end]))
            });
            means.collect::<Vec<f32>>()
        };
        let values = self.values.chunks(by_step).map(row).collect();
        Rows { step: self.step * by_step as f64, dimensions: self.dimensions.div_ceil(by_dimension), values, ..self }
    }
}

/// The mean of those that are numbers.
fn mean<'a>(values: impl Iterator<Item = &'a f32>) -> f32 {
    let (sum, count) = values
        .filter(|value| value.is_finite())
        .fold((0.0, 0_u32), |(sum, count), value| (sum + f64::from(*value), count + 1));
    if count == 0 { f32::NAN } else { (sum / f64::from(count)) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_takes_means_of_what_there_is() {
        let values = vec![vec![1.0, 2.0, 5.0], vec![3.0, f32::NAN, 7.0], vec![f32::NAN; 3]];
        let folded = Rows { step: 0.5, lasts: false, dimensions: 3, values }.folded(2, 2);
        assert_eq!((folded.step, folded.dimensions, folded.values.len()), (1.0, 2, 2));
        assert_eq!(folded.values[0], [2.0, 6.0]);
        assert!(folded.values[1].iter().all(|value| value.is_nan()));
    }
}
