//! Reading cells: a pure function of the partials that are stored, whichever way it is computed.
//!
//! Seconds are made of partials in one scan; 10 s are merged of seconds; coarser cells are rows, unless they
//! are marked stale: then they are made of their children, in the same snapshot. A cell that has no row and no
//! mark has no data.

use std::collections::HashMap;
use std::pin::Pin;

use antiphon_features::cells::{
    Cell, Layer, Partial, counting, decode_block, decode_cell, merge_cells, merge_partials, one_second,
};
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::{DbError, ReadTransaction, Row, Statement, Value};
use antiphon_platform::sql;

use super::error::StoreError;
use super::resolution::Resolution;
use super::sources::LayerRow;

const BLOCKS: Statement = sql!("sql/blocks_of_minutes.sql");
const CELLS: Statement = sql!("sql/cells_between.sql");
pub(super) const STALE: Statement = sql!("sql/stale_between.sql");
const NAME: Statement = sql!("sql/recording_name.sql");

const BLOCK_PRESENT: Statement = sql!("sql/block_present.sql");
const CELL_PRESENT: Statement = sql!("sql/cell_present.sql");

pub(super) const STATEMENTS: &[Statement] = &[BLOCKS, CELLS, STALE, NAME, BLOCK_PRESENT, CELL_PRESENT];

/// Most that is computed at a time, in µs: bounds the memory of a read over years of stale cells.
const STRETCH: Micros = 3_600 * SECOND;

/// Cells with the time at which each begins.
pub type Cells = Vec<(Micros, Cell)>;

/// The cells of a layer that begin in `[from, to)`, in time order; those without audio are absent.
///
/// # Errors
/// Those of the database, [`StoreError::Damaged`], [`StoreError::UnknownLayer`].
pub async fn read_cells(
    tx: &mut ReadTransaction,
    source: i64,
    layer: &LayerRow,
    resolution: Resolution,
    from: Micros,
    to: Micros,
) -> Result<Cells, StoreError> {
    let series = Series { source, layer: layer.id, layout: layer.layout()? };
    if resolution > Resolution::Second && !series.layout.rolls_up() {
        return Ok(Vec::new());
    }
    read(tx, series, resolution, resolution.ceil(from), resolution.ceil(to)).await
}

/// Whether a layer has anything in `[from, to)`, to the minute.
///
/// # Errors
/// Those of the database.
pub async fn is_present(
    tx: &mut ReadTransaction,
    source: i64,
    layer: i64,
    from: Micros,
    to: Micros,
) -> Result<bool, DbError> {
    let minute = Resolution::Minute.length();
    let minutes = [source.into(), layer.into(), from.div_euclid(minute).into(), (to - 1).div_euclid(minute).into()];
    if tx.row(&BLOCK_PRESENT, &minutes).await?.is_some() {
        return Ok(true);
    }
    // Partials of frozen days are gone, their cells are not.
    let times = [source.into(), layer.into(), Resolution::Minute.floor(from).into(), to.into()];
    Ok(tx.row(&CELL_PRESENT, &times).await?.is_some())
}

/// One layer of one source.
#[derive(Clone, Copy)]
pub(super) struct Series {
    pub(super) source: i64,
    pub(super) layer: i64,
    pub(super) layout: &'static Layer,
}

type Reading<'a> = Pin<Box<dyn Future<Output = Result<Cells, StoreError>> + Send + 'a>>;

fn read(tx: &mut ReadTransaction, series: Series, resolution: Resolution, from: Micros, to: Micros) -> Reading<'_> {
    Box::pin(async move {
        match resolution {
            _ if from >= to => Ok(Vec::new()),
            Resolution::Second => seconds(tx, series, from, to).await,
            Resolution::TenSeconds => merge_children(tx, series, resolution, from, to).await,
            stored => stored_cells(tx, series, stored, from, to).await,
        }
    })
}

/// Rows where they are current, else merged of children.
async fn stored_cells(
    tx: &mut ReadTransaction,
    series: Series,
    resolution: Resolution,
    from: Micros,
    to: Micros,
) -> Result<Cells, StoreError> {
    let range = [Value::Int(resolution as i64), from.into(), to.into()];
    let [length, first, end] = &range;
    let marks = tx.rows(&STALE, &[series.source.into(), length.clone(), first.clone(), end.clone()]).await?;
    let stale: Vec<Micros> = marks.iter().map(|row| row.get(0)).collect::<Result<_, DbError>>()?;
    let values = [series.source.into(), series.layer.into(), length.clone(), first.clone(), end.clone()];
    let mut cells = Vec::new();
    for row in tx.rows(&CELLS, &values).await? {
        let time: Micros = row.get(0)?;
        if stale.binary_search(&time).is_err() {
            let data: Vec<u8> = row.get(1)?;
            let cell = decode_cell(series.layout, &data);
            cells.push((time, cell.map_err(|error| series.damaged("cells", time, error))?));
        }
    }
    if stale.is_empty() {
        return Ok(cells);
    }
    for (start, end) in runs(&stale, resolution.length()) {
        cells.extend(merge_children(tx, series, resolution, start, end).await?);
    }
    cells.sort_by_key(|(time, _)| *time);
    Ok(cells)
}

/// Makes all cells in `[from, to)` of their children, whatever rows there are.
pub(super) async fn merge_children(
    tx: &mut ReadTransaction,
    series: Series,
    resolution: Resolution,
    from: Micros,
    to: Micros,
) -> Result<Cells, StoreError> {
    let Some(child) = resolution.child() else {
        return read(tx, series, resolution, from, to).await;
    };
    let stretch = STRETCH.max(resolution.length());
    let mut merged = Vec::new();
    let mut start = from;
    while start < to {
        let end = start.saturating_add(stretch).min(to);
        let children = read(tx, series, child, start, end).await?;
        for family in children.chunk_by(|(a, _), (b, _)| resolution.floor(*a) == resolution.floor(*b)) {
            let cells: Vec<&Cell> = family.iter().map(|(_, cell)| cell).collect();
            merged.push((resolution.floor(family[0].0), merge_cells(series.layout, &cells)));
        }
        start = end;
    }
    Ok(merged)
}

/// Joins times that follow each other at a distance of `length` into `(start, end)`.
pub(super) fn runs(times: &[Micros], length: Micros) -> Vec<(Micros, Micros)> {
    let mut runs: Vec<(Micros, Micros)> = Vec::new();
    for &time in times {
        match runs.last_mut() {
            Some((_, end)) if *end == time => *end = time + length,
            _ => runs.push((time, time + length)),
        }
    }
    runs
}

/// 1 s cells, by the overlap rule, in one scan of the partials.
async fn seconds(tx: &mut ReadTransaction, series: Series, from: Micros, to: Micros) -> Result<Cells, StoreError> {
    let (first, end) = (from / SECOND, to / SECOND);
    let lookback = series.layout.lookback_seconds();
    let partials = partials(tx, series, first - lookback, end).await?;
    let mut merged: Vec<(i64, Cell)> = Vec::new();
    for same in partials.chunk_by(|a, b| a.second == b.second) {
        let counted = counted(same);
        if !counted.is_empty() {
            merged.push((same[0].second, merge_partials(series.layout, &counted)));
        }
    }
    if lookback == 0 {
        return Ok(merged.into_iter().map(|(second, cell)| (second * SECOND, cell)).collect());
    }
    let mut cells = Vec::with_capacity(merged.len());
    for (index, (second, own)) in merged.iter().enumerate() {
        if *second < first {
            continue;
        }
        let earlier = &merged[index.saturating_sub(3)..index];
        let at = |wanted: i64| earlier.iter().find(|(second, _)| *second == wanted).map(|(_, cell)| cell);
        let before = [at(second - 3), at(second - 2), at(second - 1)];
        cells.push((second * SECOND, one_second(series.layout, before, own)));
    }
    Ok(cells)
}

/// The partials of one second that count.
fn counted(same: &[Partial]) -> Vec<&Partial> {
    if let [only] = same {
        return vec![only];
    }
    let second = same[0].second;
    let at = |offset: u32| second * SECOND + i64::from(offset);
    let intervals: Vec<(i64, i64)> = same.iter().map(|partial| (at(partial.from), at(partial.to))).collect();
    let flags = counting(second, &intervals);
    same.iter().zip(flags).filter_map(|(partial, counts)| counts.then_some(partial)).collect()
}

/// The partials of seconds `[first, end)`, by second, inside a second by the recording's (start, id).
async fn partials(tx: &mut ReadTransaction, series: Series, first: i64, end: i64) -> Result<Vec<Partial>, StoreError> {
    let blocks = blocks(tx, series.source, series.layer, first.div_euclid(60), (end - 1).div_euclid(60)).await?;
    let mut partials = Vec::with_capacity(usize::try_from(end - first).unwrap_or(0));
    for block in blocks {
        let decoded = decode_block(series.layout, block.minute, &block.data)
            .map_err(|error| series.damaged("partials", block.minute * 60 * SECOND, error))?;
        partials.extend(decoded.into_iter().filter(|partial| (first..end).contains(&partial.second)));
    }
    // Stable: recordings keep their order inside each second.
    partials.sort_by_key(|partial| partial.second);
    Ok(partials)
}

/// One row of blocks.
pub(super) struct Block {
    pub(super) minute: i64,
    pub(super) start: Micros,
    pub(super) recording: i64,
    pub(super) data: Vec<u8>,
}

/// Blocks of minutes `[first, last]`, by minute and the recording's (start, id).
pub(super) async fn blocks(
    tx: &mut ReadTransaction,
    source: i64,
    layer: i64,
    first: i64,
    last: i64,
) -> Result<Vec<Block>, DbError> {
    let rows = tx.rows(&BLOCKS, &[source.into(), layer.into(), first.into(), last.into()]).await?;
    let mut blocks: Vec<Block> = rows.iter().map(block_of).collect::<Result<_, _>>()?;
    let tied = |a: &Block, b: &Block| a.minute == b.minute && a.start == b.start;
    if blocks.windows(2).any(|pair| tied(&pair[0], &pair[1]) && pair[0].recording != pair[1].recording) {
        settle_ties(tx, &mut blocks).await?;
    }
    Ok(blocks)
}

/// Orders blocks of the same minute and start by the 20 bytes of the recording's id: numbers inside the database
/// depend on the order of arrival, and no answer may.
async fn settle_ties(tx: &mut ReadTransaction, blocks: &mut [Block]) -> Result<(), DbError> {
    let mut names: HashMap<i64, Vec<u8>> = HashMap::new();
    for group in blocks.chunk_by_mut(|a, b| a.minute == b.minute && a.start == b.start) {
        if group.iter().all(|block| block.recording == group[0].recording) {
            continue;
        }
        for block in group.iter() {
            if names.contains_key(&block.recording) {
                continue;
            }
            let name = match tx.row(&NAME, &[block.recording.into()]).await? {
                Some(row) => row.get(0)?,
                None => return Err(DbError::Broken(format!("there is no recording {}", block.recording))),
            };
            names.insert(block.recording, name);
        }
        group.sort_by(|a, b| names.get(&a.recording).cmp(&names.get(&b.recording)));
    }
    Ok(())
}

fn block_of(row: &Row) -> Result<Block, DbError> {
    Ok(Block { minute: row.get(0)?, start: row.get(1)?, recording: row.get(2)?, data: row.get(4)? })
}

impl Series {
    fn damaged(&self, what: &'static str, time: Micros, error: antiphon_features::cells::CellError) -> StoreError {
        StoreError::Damaged { what, source_id: self.source, time, error }
    }
}

impl LayerRow {
    /// How its values are laid out.
    ///
    /// # Errors
    /// [`StoreError::UnknownLayer`] when this build's registry has no such layer.
    pub fn layout(&self) -> Result<&'static Layer, StoreError> {
        let found = match self.foreign {
            Some(foreign) => foreign.layer(&self.layer),
            None => antiphon_features::cells::layer(&self.algorithm, &self.layer),
        };
        found.ok_or_else(|| StoreError::UnknownLayer { algorithm: self.algorithm.clone(), layer: self.layer.clone() })
    }
}
