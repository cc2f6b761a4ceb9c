//! What is stored of features, and the only code that merges it.
//!
//! A worker yields *partials*: what one recording says about one second of the epoch. The partials of a second
//! that count ([`counting`]) merge into its 1 s *cell*; coarser cells merge their children in time order.
//! All of it is pure: f64 inside, fixed order, rounded to f32 at each level, so a value is the same whichever way
//! it was made and whoever made it. What a layer holds is laid out by its outputs' [`Aggregate`]s.

mod block;
mod bytes;
mod fields;
mod frames;
mod histogram;
mod loudness;
mod overlap;
mod value;

pub use block::{decode_block, decode_cell, encode_block, encode_cell, split_block};
pub use bytes::CellError;
pub use fields::Rule;
pub use frames::{FRAMES, Frame, decode_frames, frame_columns};
pub(crate) use frames::{FrameEncoder, frame_start};
pub use histogram::Histogram;
pub(crate) use loudness::lufs;
pub use loudness::{Energies, Gated, Loudness, SLOT, Slot};
pub use overlap::{TOLERANCE, counting};
pub use value::{SILENCE_DB, decibels, value};

use std::collections::BTreeMap;

use crate::descriptor::{Aggregate, Descriptor, Output, Series};
use crate::session::Block;

/// Microseconds in a second.
pub const SECOND: u32 = 1_000_000;

/// Names a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerId {
    /// The algorithm's name.
    pub algorithm: &'static str,
    /// The layer's name within the algorithm.
    pub layer: &'static str,
}

/// Outputs of one algorithm that are stored and read together.
#[derive(Debug, PartialEq)]
pub struct Layer {
    /// Its name.
    pub id: LayerId,
    /// The version of the algorithm whose results are laid out so.
    pub version: u32,
    pub(crate) kind: LayerKind,
}

/// What the values of a layer are.
#[derive(Debug, PartialEq)]
pub(crate) enum LayerKind {
    /// A row of f32, each merged by its rule; outputs in the order of the descriptor, each with its first field.
    Fields { rules: Vec<Rule>, outputs: Vec<(&'static str, usize)> },
    /// One histogram of 0.1 dB bins.
    Histogram,
    /// 100 ms energies, and what is derived of them.
    Loudness,
    /// Rows of 64 bytes.
    Preview,
}

/// What one recording says about one second.
#[derive(Clone, Debug, PartialEq)]
pub struct Partial {
    /// Second of the epoch (songs: of the song).
    pub second: i64,
    /// Where in the second its audio begins, µs, 0 to 999,999.
    pub from: u32,
    /// Where in the second its audio ends, µs, more than `from`, at most 1,000,000.
    pub to: u32,
    /// What was found.
    pub values: Values,
}

/// A merged set of values of one layer, for any resolution.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The layer whose values these are.
    pub layer: &'static Layer,
    /// Microseconds of audio that went into it.
    pub heard: u64,
    /// The values.
    pub values: Values,
}

/// The values of a partial or a cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// One f32 for each field of the layer; NaN is absent. `count` is the number of frames, where frames count.
    Fields {
        /// Frames that went in; 0 in layers that weigh by time.
        count: u64,
        /// One for each field.
        values: Vec<f32>,
    },
    /// Counts of 125 ms levels.
    Histogram(Histogram),
    /// Loudness before it is derived: a partial, or the merge of a second's partials.
    Energies(Energies),
    /// Loudness of a second or more.
    Loudness(Loudness),
    /// Ten rows of [`PREVIEW_BANDS`] bytes.
    Preview(Box<PreviewRows>),
}

/// The preview of a second: a row for each tenth, `None` where nothing was heard.
pub type PreviewRows = [Option<[u8; PREVIEW_BANDS]>; 10];

/// Bands of a preview row.
pub const PREVIEW_BANDS: usize = 64;

/// The layer of that name, or `None` if the registry has no such layer.
pub fn layer(algorithm: &str, layer: &str) -> Option<&'static Layer> {
    crate::layers().iter().find(|found| found.id.algorithm == algorithm && found.id.layer == layer)
}

impl Layer {
    /// The layers that a descriptor's series are stored in.
    pub fn all_of(descriptor: &'static Descriptor) -> Vec<Layer> {
        let mut layers: Vec<Layer> = Vec::new();
        for (output, series) in descriptor.series() {
            for name in [Some(series.layer), series.histogram].into_iter().flatten() {
                let id = LayerId { algorithm: descriptor.name, layer: name };
                let index = layers.iter().position(|layer| layer.id == id).unwrap_or_else(|| {
                    let kind = LayerKind::of(series, name);
                    layers.push(Layer { id, version: descriptor.version, kind });
                    layers.len() - 1
                });
                if name == series.layer {
                    layers[index].kind.add(output, series);
                }
            }
        }
        layers
    }

    /// How many seconds before a second its cell also depends on: 3 for loudness, else 0.
    pub fn lookback_seconds(&self) -> i64 {
        match self.kind {
            LayerKind::Loudness => 3,
            _ => 0,
        }
    }

    /// Whether cells coarser than a second exist: previews are kept as they are, never merged.
    pub fn rolls_up(&self) -> bool {
        self.kind != LayerKind::Preview
    }

    /// How each field of a layer of fields is merged; none for others.
    pub fn rules(&self) -> &[Rule] {
        match &self.kind {
            LayerKind::Fields { rules, .. } => rules,
            _ => &[],
        }
    }

    /// Number of fields of a layer of fields; 0 of others.
    pub(crate) fn width(&self) -> usize {
        self.rules().len()
    }

    /// The first field of an output, in a layer of fields.
    pub fn field(&self, output: &str) -> Option<usize> {
        match &self.kind {
            LayerKind::Fields { outputs, .. } => {
                outputs.iter().find(|(name, _)| *name == output).map(|(_, first)| *first)
            }
            _ => None,
        }
    }
}

impl LayerKind {
    fn of(series: &Series, name: &str) -> LayerKind {
        if series.histogram == Some(name) {
            return LayerKind::Histogram;
        }
        match series.aggregate {
            Aggregate::Loudness => LayerKind::Loudness,
            Aggregate::Preview => LayerKind::Preview,
            Aggregate::Level | Aggregate::Energy | Aggregate::Moments | Aggregate::Maximum | Aggregate::Share => {
                LayerKind::Fields { rules: Vec::new(), outputs: Vec::new() }
            }
        }
    }

    fn add(&mut self, output: &'static Output, series: &Series) {
        if let LayerKind::Fields { rules, outputs } = self {
            outputs.push((output.name, rules.len()));
            for _ in 0..series.dimensions {
                rules.extend_from_slice(Rule::of(series.aggregate, series.dimensions));
            }
        }
    }
}

impl Partial {
    /// Microseconds of audio in it.
    pub fn heard(&self) -> u64 {
        u64::from(self.to.saturating_sub(self.from))
    }
}

/// Merges the counting partials of one second, in (start, id) order.
pub fn merge_partials(layer: &'static Layer, partials: &[&Partial]) -> Cell {
    let children: Vec<(u64, &Values)> = partials.iter().map(|partial| (partial.heard(), &partial.values)).collect();
    merge(layer, &children)
}

/// Makes the 1 s cell of a second out of its merged partials and those of the three seconds before it
/// (`previous_three[0]` is the earliest, `None` where nothing was heard). Only loudness looks back; any other
/// layer's cell is `own` itself.
pub fn one_second(layer: &'static Layer, previous_three: [Option<&Cell>; 3], own: &Cell) -> Cell {
    let Values::Energies(energies) = &own.values else {
        return own.clone();
    };
    let before = previous_three.map(|cell| match cell.map(|cell| &cell.values) {
        Some(Values::Energies(energies)) => Some(energies),
        _ => None,
    });
    Cell { layer, heard: own.heard, values: Values::Loudness(Loudness::derive(before, energies)) }
}

/// The 1 s cells of a layer, made of the blocks of one recording (or song) alone; blocks of other layers are passed over.
///
/// # Errors
/// For a block that does not hold what its layer says.
pub fn seconds(layer: &'static Layer, blocks: &[Block]) -> Result<BTreeMap<i64, Cell>, CellError> {
    let mut own = BTreeMap::new();
    for block in blocks.iter().filter(|block| block.algorithm == layer.id.algorithm && block.layer == layer.id.layer) {
        for partial in decode_block(layer, block.minute, &block.data)? {
            own.insert(partial.second, merge_partials(layer, &[&partial]));
        }
    }
    let second = |at: &i64, cell: &Cell| one_second(layer, [3, 2, 1].map(|before| own.get(&(at - before))), cell);
    Ok(own.iter().map(|(at, cell)| (*at, second(at, cell))).collect())
}

/// Merges cells, given in time order, into one of a coarser resolution. Loudness must be derived
/// ([`one_second`]) before; energies that are not count as seconds with nothing before them.
pub fn merge_cells(layer: &'static Layer, children: &[&Cell]) -> Cell {
    let derived: Vec<Cell>;
    let mut children: Vec<&Cell> = children.to_vec();
    if children.iter().any(|cell| matches!(cell.values, Values::Energies(_))) {
        derived = children.iter().map(|cell| one_second(layer, [None; 3], cell)).collect();
        children = derived.iter().collect();
    }
    let children: Vec<(u64, &Values)> = children.iter().map(|cell| (cell.heard, &cell.values)).collect();
    merge(layer, &children)
}

fn merge(layer: &'static Layer, children: &[(u64, &Values)]) -> Cell {
    let heard = children.iter().fold(0u64, |sum, (heard, _)| sum.saturating_add(*heard));
    if let [(_, only)] = children {
        return Cell { layer, heard, values: (*only).clone() };
    }
    let values = match &layer.kind {
        LayerKind::Fields { rules, .. } => fields::merge(rules, children),
        LayerKind::Histogram => histogram::merge(children),
        LayerKind::Loudness => loudness::merge(children),
        LayerKind::Preview => merge_previews(children),
    };
    Cell { layer, heard, values }
}

/// The first recording that has a row of a tenth gives it.
fn merge_previews(children: &[(u64, &Values)]) -> Values {
    let mut rows = [None; 10];
    for (_, values) in children {
        if let Values::Preview(more) = values {
            for (row, other) in rows.iter_mut().zip(more.iter()) {
                *row = row.or(*other);
            }
        }
    }
    Values::Preview(Box::new(rows))
}

#[cfg(test)]
mod tests;
