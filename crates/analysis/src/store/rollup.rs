//! Makes stale cells again, in the background, finest first.
//!
//! Cells are computed in a read snapshot, without any lock. The short write transaction that follows keeps those
//! whose mark is still the one that the snapshot saw: another mark means that a second below changed meanwhile, and
//! the cell stays stale for the next round. So several writers may run this at once; readers never wait for it,
//! because they make stale cells themselves.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use antiphon_features::cells::encode_cell;
use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::crash;
use antiphon_platform::db::{Bulk, Database, DbError, OnConflict, ReadTransaction, Statement, Value, WriteTransaction};
use antiphon_platform::sql;
use tokio_util::sync::CancellationToken;

use super::cells::{STALE, Series, merge_children, runs};
use super::error::StoreError;
use super::lists::list;
use super::resolution::Resolution;
use super::sources::{LayerKind, LayerRow, layers_of};

const DUE: Statement = sql!("sql/stale_due.sql");
const UNMARK: Statement = sql!("sql/stale_take.sql");
const DELETE: Statement = sql!("sql/cells_delete.sql");
const POSTPONE: Statement = sql!("sql/stale_postpone.sql");

pub(super) const STATEMENTS: &[Statement] = &[DUE, UNMARK, DELETE, POSTPONE];

const CELLS: Bulk = Bulk {
    table: "cells",
    columns: &["source", "layer", "resolution", "time", "data"],
    on_conflict: OnConflict::Replace(&["source", "layer", "resolution", "time"]),
};

/// Most marks in one round: some 20 ms of the write lock.
const ROUND: u32 = 128;

/// Pause when nothing is due, and after an error.
const IDLE: Duration = Duration::from_millis(250);
const AWAY: Duration = Duration::from_secs(1);

/// How long cells rest that cannot be made, so that they do not hold up others.
const UNREADABLE: Micros = 3_600 * SECOND;

/// A stale cell of all layers of a source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) source: i64,
    pub(super) time: Micros,
    pub(super) mark: i64,
}

/// Rows of cells to be written, and (layer, time) of those without data.
#[derive(Default)]
pub(super) struct Made {
    pub(super) rows: Vec<Vec<Value>>,
    empty: Vec<(i64, Micros)>,
}

/// Rolls up until `stop` fires.
pub async fn run(db: Database, clock: Clock, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let pause = match round(&db, clock.now()).await {
            Ok(0) => IDLE,
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(%error, "cells could not be rolled up; trying again");
                AWAY
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Makes some of the cells that are due at `now`, of the finest resolution that has any; how many marks it saw.
///
/// # Errors
/// Those of the database.
pub async fn round(db: &Database, now: Micros) -> Result<usize, StoreError> {
    let mut snapshot = db.read().await?;
    for resolution in Resolution::STORED {
        let values = [Value::Int(resolution as i64), now.into(), ROUND.into()];
        let rows = snapshot.rows(&DUE, &values).await?;
        if rows.is_empty() {
            continue;
        }
        let mut by_source: BTreeMap<i64, Vec<Mark>> = BTreeMap::new();
        for row in &rows {
            let mark = Mark { source: row.get(0)?, time: row.get(1)?, mark: row.get(2)? };
            by_source.entry(mark.source).or_default().push(mark);
        }
        let mut made = Vec::new();
        let mut unreadable = Vec::new();
        for (source, marks) in by_source {
            match make(&mut snapshot, source, resolution, &marks).await {
                Ok(cells) => made.push((cells, marks)),
                Err(StoreError::Database(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::error!(%error, source, "cells cannot be made; they are tried again in an hour");
                    unreadable.extend(marks);
                }
            }
        }
        drop(snapshot);
        let mut tx = db.write().await?;
        keep(&mut tx, resolution, made).await?;
        for mark in unreadable {
            let key = [mark.source.into(), Value::Int(resolution as i64), mark.time.into(), (now + UNREADABLE).into()];
            tx.execute(&POSTPONE, &key).await?;
        }
        tx.commit().await?;
        metrics::counter!("antiphon_cells_rolled_up_total").increment(rows.len() as u64);
        return Ok(rows.len());
    }
    Ok(0)
}

/// Makes every stale cell of a source that begins in `range`, in short transactions.
pub(super) async fn make_all(db: &Database, source: i64, range: Range<Micros>) -> Result<(), StoreError> {
    for resolution in Resolution::STORED {
        let mut snapshot = db.read().await?;
        let marks = marks(&mut snapshot, source, resolution, &range).await?;
        for some in marks.chunks(ROUND as usize) {
            let mut snapshot = db.read().await?;
            let made = make(&mut snapshot, source, resolution, some).await?;
            drop(snapshot);
            let mut tx = db.write().await?;
            keep(&mut tx, resolution, vec![(made, some.to_vec())]).await?;
            tx.commit().await?;
        }
    }
    Ok(())
}

/// Makes every stale cell of a source that begins in `range`, inside a transaction.
pub(super) async fn make_within(
    tx: &mut WriteTransaction,
    source: i64,
    range: Range<Micros>,
) -> Result<(), StoreError> {
    for resolution in Resolution::STORED {
        let marks = marks(tx, source, resolution, &range).await?;
        let made = make(tx, source, resolution, &marks).await?;
        keep(tx, resolution, vec![(made, marks)]).await?;
    }
    Ok(())
}

async fn marks(
    tx: &mut ReadTransaction,
    source: i64,
    resolution: Resolution,
    range: &Range<Micros>,
) -> Result<Vec<Mark>, DbError> {
    let values = [source.into(), Value::Int(resolution as i64), range.start.into(), range.end.into()];
    let rows = tx.rows(&STALE, &values).await?;
    rows.iter().map(|row| Ok(Mark { source, time: row.get(0)?, mark: row.get(1)? })).collect()
}

/// Makes the cells of all layers at the given times.
pub(super) async fn make(
    snapshot: &mut ReadTransaction,
    source: i64,
    resolution: Resolution,
    marks: &[Mark],
) -> Result<Made, StoreError> {
    let mut times: Vec<Micros> = marks.iter().map(|mark| mark.time).collect();
    times.sort_unstable();
    let mut made = Made::default();
    for layer in layers_of(snapshot, source).await? {
        let Some(series) = series_of(source, &layer) else { continue };
        let mut cells = Vec::new();
        for (start, end) in runs(&times, resolution.length()) {
            cells.extend(merge_children(snapshot, series, resolution, start, end).await?);
        }
        let there: Vec<Micros> = cells.iter().map(|(time, _)| *time).collect();
        made.empty.extend(times.iter().filter(|time| there.binary_search(time).is_err()).map(|time| (layer.id, *time)));
        made.rows.extend(cells.into_iter().map(|(time, cell)| {
            let key = [source.into(), layer.id.into(), Value::Int(resolution as i64), time.into()];
            [key.as_slice(), &[Value::Bytes(encode_cell(&cell))]].concat()
        }));
    }
    Ok(made)
}

/// The layer, if it has cells coarser than a second.
fn series_of(source: i64, layer: &LayerRow) -> Option<Series> {
    if layer.kind != LayerKind::Series {
        return None;
    }
    let layout = layer.layout().ok().filter(|layout| layout.rolls_up())?;
    Some(Series { source, layer: layer.id, layout })
}

/// Writes what was made, where the marks are still the same.
async fn keep(
    tx: &mut WriteTransaction,
    resolution: Resolution,
    made: Vec<(Made, Vec<Mark>)>,
) -> Result<(), StoreError> {
    let marks: Vec<(i64, i64, Micros, i64)> = made
        .iter()
        .flat_map(|(_, marks)| marks.iter().map(|mark| (mark.source, resolution as i64, mark.time, mark.mark)))
        .collect();
    let mut current: HashSet<(i64, Micros)> = HashSet::with_capacity(marks.len());
    for row in tx.rows(&UNMARK, &[list(&marks)]).await? {
        current.insert((row.get(0)?, row.get(1)?));
    }
    crash::point("rollup.inside");
    let (mut rows, mut empty) = (Vec::new(), Vec::new());
    for (made, marks) in made {
        let Some(source) = marks.first().map(|mark| mark.source) else { continue };
        let is_current = |time: &Micros| current.contains(&(source, *time));
        let without_data = made.empty.iter().filter(|(_, time)| is_current(time));
        empty.extend(without_data.map(|(layer, time)| (source, *layer, resolution as i64, *time)));
        rows.extend(
            made.rows.into_iter().filter(|row| matches!(row.get(3), Some(Value::Int(time)) if is_current(time))),
        );
    }
    if !empty.is_empty() {
        tx.execute(&DELETE, &[list(&empty)]).await?;
    }
    tx.bulk_insert(&CELLS, rows).await?;
    Ok(())
}
