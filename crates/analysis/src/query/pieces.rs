//! The stored cells that buckets are made of.

use std::collections::BTreeMap;

use antiphon_features::cells::{Cell, Layer, merge_cells};
use antiphon_platform::clock::Micros;
use antiphon_platform::db::ReadTransaction;

use crate::store::{self, LayerRow, Resolution, StoreError};

/// Cells by their length and the time at which they begin.
pub(super) type Cells = BTreeMap<(Resolution, Micros), Cell>;

/// Reads the cells of a layer that buckets are made of (`parts`): runs of neighbours in one scan each. Of length
/// `whole.0` there are many, with stretches between them that have no audio and so no cells; they are read in
/// one scan of `[whole.1, whole.2)`.
pub(super) async fn read(
    tx: &mut ReadTransaction,
    source: i64,
    layer: &LayerRow,
    parts: &[Vec<(Resolution, Micros)>],
    whole: (Resolution, Micros, Micros),
) -> Result<Cells, StoreError> {
    let mut runs: BTreeMap<Resolution, Vec<(Micros, Micros)>> = BTreeMap::new();
    for (length, time) in parts.iter().flatten() {
        let runs = runs.entry(*length).or_default();
        match runs.last_mut() {
            Some((_, end)) if *end == *time => *end += length.length(),
            _ => runs.push((*time, *time + length.length())),
        }
    }
    if let Some(runs) = runs.get_mut(&whole.0)
        && runs.len() > 1
    {
        *runs = vec![(whole.1, whole.2)];
    }
    let mut cells = Cells::new();
    for (length, runs) in runs {
        for (start, end) in runs {
            let read = store::read_cells(tx, source, layer, length, start, end).await?;
            cells.extend(read.into_iter().map(|(time, cell)| ((length, time), cell)));
        }
    }
    Ok(cells)
}

/// The merge, in time order, of those parts that exist.
pub(super) fn join(layout: &'static Layer, parts: &[(Resolution, Micros)], cells: &Cells) -> Option<Cell> {
    let found: Vec<&Cell> = parts.iter().filter_map(|part| cells.get(part)).collect();
    match found.as_slice() {
        [] => None,
        [only] => Some((*only).clone()),
        several => Some(merge_cells(layout, several)),
    }
}

/// Cells of every coarser length, each made of its children as the store makes them.
pub(super) fn roll_up(layout: &'static Layer, cells: Vec<(Micros, Cell)>, finest: Resolution) -> Cells {
    let mut all = Cells::new();
    let mut children = cells;
    for resolution in Resolution::ALL.into_iter().filter(|resolution| *resolution >= finest) {
        if resolution > finest {
            let families = children.chunk_by(|(a, _), (b, _)| resolution.floor(*a) == resolution.floor(*b));
            children = families
                .map(|family| {
                    let cells: Vec<&Cell> = family.iter().map(|(_, cell)| cell).collect();
                    (resolution.floor(family[0].0), merge_cells(layout, &cells))
                })
                .collect();
        }
        all.extend(children.iter().map(|(time, cell)| ((resolution, *time), cell.clone())));
    }
    all
}
