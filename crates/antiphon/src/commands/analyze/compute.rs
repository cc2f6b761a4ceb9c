//! From a file to values: decoded once, analysed once, merged as the server merges.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::path::Path;

use antiphon_audio::decode::{Decoder, Info, Limits};
use antiphon_features::algorithm::Stream;
use antiphon_features::cells::{Cell, layer, merge_cells, seconds, value};
use antiphon_features::session::{Analysis, Annotation, Block, Item, Session, Summary};
use anyhow::{Context, Result, anyhow, bail};

use super::select::{Column, Selection};

/// A bucket's width in seconds, or the whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Buckets of so many seconds, from 0 on.
    Seconds(i64),
    /// One row for all of it.
    Whole,
}

/// The widths of stored cells in seconds: each is made of the one before it.
const LADDER: [i64; 6] = [1, 10, 60, 600, 3_600, 86_400];

/// What was found in one file.
pub struct Found {
    /// What the file is.
    pub info: Info,
    /// Seconds of audio.
    pub duration: f64,
    /// Start of each bucket in seconds, and a value for each column.
    pub rows: Vec<(i64, Vec<Option<f32>>)>,
    /// What has a beginning, an end and a label.
    pub annotations: Vec<Annotation>,
    /// Values of the whole.
    pub summaries: Vec<Summary>,
    /// Why the end of the file is missing, if it is.
    pub broken: Option<String>,
}

/// Cells of one layer by the second at which they begin.
type Cells = BTreeMap<i64, Cell>;

/// Analyses a file as a song.
///
/// # Errors
/// When it cannot be read or is no audio that is decoded. One that breaks off later is analysed up to there.
pub fn analyze(path: &Path, selection: &Selection, resolution: Resolution) -> Result<Found> {
    let mut blocks = Vec::new();
    let Reading { info, duration, analysis, broken } = read(path, &selection.items, |_, mut ready| {
        blocks.append(&mut ready);
        Ok(())
    })?;
    blocks.extend(analysis.blocks);
    let rows = rows(&blocks, &selection.columns, resolution)?;
    let (annotations, summaries) = (analysis.annotations, analysis.summaries);
    Ok(Found { info, duration, rows, annotations, summaries, broken })
}

/// What reading a file to its end gives.
pub(super) struct Reading {
    /// What the file is.
    pub(super) info: Info,
    /// Seconds of audio.
    pub(super) duration: f64,
    /// What was found last, and what is known of the whole.
    pub(super) analysis: Analysis,
    /// Why the end of the file is missing, if it is.
    pub(super) broken: Option<String>,
}

/// Reads a file and analyses it as a song; `each` gets the channels of every decoded block and what has become ready with it.
///
/// # Errors
/// When the file cannot be read, is no audio that is decoded, or an error of `each`. One that breaks off later is read up to there.
pub(super) fn read(
    path: &Path,
    items: &[Item],
    mut each: impl FnMut(&[&[f32]], Vec<Block>) -> Result<()>,
) -> Result<Reading> {
    let file = File::open(path).context("it cannot be read")?;
    if file.metadata().is_ok_and(|there| there.is_dir()) {
        bail!("is a folder: name files, or send what is in it to a server with `antiphon ingest`");
    }
    let mut decoder = Decoder::open_seekable(file, Limits::default())?;
    let info = *decoder.info();
    let mut session = Session::new(items, &Stream::of_song(info.rate, info.channels))?;
    let broken = loop {
        match decoder.next_block() {
            Ok(Some(block)) => {
                session.push(block.channels());
                each(block.channels(), session.take_blocks())?;
            }
            Ok(None) => break None,
            Err(error) => break Some(error.to_string()),
        }
    };
    let duration = decoder.position() as f64 / f64::from(info.rate);
    Ok(Reading { info, duration, analysis: session.finish(), broken })
}

fn rows(blocks: &[Block], columns: &[Column], resolution: Resolution) -> Result<Vec<(i64, Vec<Option<f32>>)>> {
    let mut layers: BTreeMap<(&str, &str), Cells> = BTreeMap::new();
    for column in columns {
        let key = (column.descriptor.name, column.layer);
        if let Entry::Vacant(layer) = layers.entry(key) {
            layer.insert(cells(blocks, key, resolution)?);
        }
    }
    let mut starts: Vec<i64> = layers.values().flat_map(BTreeMap::keys).copied().collect();
    starts.sort_unstable();
    starts.dedup();
    let row = |start: &i64| {
        let values = columns.iter().map(|column| {
            let cell = layers.get(&(column.descriptor.name, column.layer))?.get(start)?;
            value(cell, column.output, &column.stat, column.dimension)
        });
        (*start, values.collect())
    };
    Ok(starts.iter().map(row).collect())
}

/// The cells of a layer at a resolution, each level made of all cells of the level below, as the server does it.
fn cells(blocks: &[Block], (algorithm, name): (&str, &str), resolution: Resolution) -> Result<Cells> {
    let layer = layer(algorithm, name).ok_or_else(|| anyhow!("{algorithm} has no layer {name}"))?;
    let mut cells = seconds(layer, blocks)?;
    let widest = match resolution {
        Resolution::Seconds(seconds) => seconds,
        Resolution::Whole => LADDER[LADDER.len() - 1],
    };
    for width in LADDER.into_iter().skip(1).take_while(|width| *width <= widest) {
        let mut children: BTreeMap<i64, Vec<&Cell>> = BTreeMap::new();
        for (at, cell) in &cells {
            children.entry(at.div_euclid(width) * width).or_default().push(cell);
        }
        let merged = children.iter().map(|(at, children)| (*at, merge_cells(layer, children))).collect();
        cells = merged;
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use antiphon_audio::encode::{PcmFormat, Samples, wav};

    use super::super::select::select;
    use super::*;

    /// A sine of full scale for three and a half seconds, then half of it for the rest of twelve.
    fn file(folder: &Path) -> std::path::PathBuf {
        let rate = 16_000;
        let samples: Vec<f32> = (0..12 * rate)
            .map(|index| {
                let amplitude = if index < rate * 7 / 2 { 1.0 } else { 0.5 };
                amplitude * (std::f32::consts::TAU * 1_000.0 * index as f32 / rate as f32).sin()
            })
            .collect();
        let format = PcmFormat { rate: rate as u32, channels: 1, bits: 16, float: false };
        let path = folder.join("sine.wav");
        std::fs::write(&path, wav(&format, Samples::Floats(&samples)).unwrap()).unwrap();
        path
    }

    #[test]
    fn levels_of_a_sine_are_what_they_must_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path());
        let selection = select(Some("level.z"), None).unwrap();
        let found = analyze(&path, &selection, Resolution::Seconds(1)).unwrap();
        assert_eq!((found.duration, found.rows.len()), (12.0, 12));
        let levels: Vec<f32> = found.rows.iter().map(|(_, values)| values[0].unwrap()).collect();
        // A sine of full scale has a mean square of 1/2; half the amplitude is 6.02 dB less.
        assert!((levels[1] - -3.01).abs() < 0.02 && (levels[8] - -9.03).abs() < 0.02, "{levels:?}");
        let whole = analyze(&path, &selection, Resolution::Whole).unwrap().rows;
        let expected = 10.0 * ((3.5 * 0.5 + 8.5 * 0.125) / 12.0_f32).log10();
        assert_eq!((whole.len(), whole[0].0), (1, 0));
        assert!((whole[0].1[0].unwrap() - expected).abs() < 0.02, "{whole:?}, not {expected}");
        let tens = analyze(&path, &selection, Resolution::Seconds(10)).unwrap().rows;
        assert_eq!(tens.iter().map(|(start, _)| *start).collect::<Vec<_>>(), [0, 10]);
    }

    #[test]
    fn a_file_that_breaks_off_is_analysed_up_to_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..44 + 2 * 16_000 * 5]).unwrap();
        let found = analyze(&path, &select(Some("level.a"), None).unwrap(), Resolution::Seconds(1)).unwrap();
        assert_eq!(found.rows.len(), 5);
        assert!(found.broken.is_some());
        std::fs::write(&path, "words").unwrap();
        assert!(analyze(&path, &select(None, None).unwrap(), Resolution::Whole).is_err());
        let Err(error) = analyze(folder.path(), &select(None, None).unwrap(), Resolution::Whole) else {
            panic!("a folder was analysed")
        };
        assert!(error.to_string().starts_with("is a folder"), "{error:#}");
    }
}
