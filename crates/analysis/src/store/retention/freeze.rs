//! Freezing: a UTC day whose 1 s data expires gets its last cells, which are final from then on.
//!
//! A day freezes when it ended long enough ago *and* nothing was stored in it for a week, so old recordings that
//! arrive late find it open. Freezing and the end of the partials are two steps: the first is one
//! transaction, the second many short ones, which the next run finishes if they are cut off.

use antiphon_features::cells::FRAMES;
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::{Database, Statement, Value};
use antiphon_platform::sql;

use super::Retention;
use crate::store::error::StoreError;
use crate::store::rollup;
use crate::store::sources::{LayerKind, LayerRow, Source, layers_of, source_by_id, update_sources};
use crate::store::writer::{DAY, hash_of};

const TO_FREEZE: Statement = sql!("../sql/days_to_freeze.sql");
const STORED_DAY: Statement = sql!("../sql/stored_day.sql");
const FROZEN_DAY: Statement = sql!("../sql/frozen_day.sql");
const FREEZE: Statement = sql!("../sql/frozen_insert.sql");
const PENDING: Statement = sql!("../sql/frozen_pending.sql");
const DONE: Statement = sql!("../sql/frozen_done.sql");
const FIRST: Statement = sql!("../sql/block_first.sql");
const DELETE: Statement = sql!("../sql/blocks_delete_between.sql");

pub(super) const STATEMENTS: &[Statement] = &[TO_FREEZE, STORED_DAY, FROZEN_DAY, FREEZE, PENDING, DONE, FIRST, DELETE];

/// How long after the last recording that is stored in it a day stays open.
const QUIET: Micros = 7 * DAY;

/// Minutes in a day.
const MINUTES: i64 = 1_440;

/// Minutes of blocks that one transaction deletes.
const STEP: i64 = 360;

/// Name of the layer of previews.
const PREVIEW: &str = "preview";

/// Freezes the days of a sensor whose time has come, and removes their partials and frames.
pub(super) async fn run(db: &Database, source: &Source, kept: &Retention, now: Micros) -> Result<(), StoreError> {
    let last_day = (now - i64::from(kept.one_second_days) * DAY).div_euclid(DAY) - 1;
    let quiet = now - QUIET;
    let mut tx = db.read().await?;
    let rows = tx.rows(&TO_FREEZE, &[source.id.into(), last_day.into(), quiet.into()]).await?;
    drop(tx);
    for row in rows {
        freeze(db, source, row.get(0)?, quiet, now).await?;
    }
    let mut tx = db.read().await?;
    let pending = tx.rows(&PENDING, &[source.id.into()]).await?;
    let layers = layers_of(&mut tx, source.id).await?;
    drop(tx);
    for row in pending {
        remove_partials(db, source.id, &layers, row.get(0)?).await?;
    }
    Ok(())
}

/// Makes the last cells of a day and closes it, unless something was stored in it meanwhile.
async fn freeze(db: &Database, source: &Source, day: i64, quiet: Micros, now: Micros) -> Result<(), StoreError> {
    let range = day * DAY..(day + 1) * DAY;
    // Most of the work, without the lock.
    rollup::make_all(db, source.id, range.clone()).await?;
    let mut tx = db.write().await?;
    let key: [Value; 2] = [source.id.into(), day.into()];
    let last_stored: Option<Micros> = tx.row(&STORED_DAY, &key).await?.map(|row| row.get(0)).transpose()?;
    if last_stored.is_none_or(|last| last > quiet) {
        return Ok(());
    }
    rollup::make_within(&mut tx, source.id, range).await?;
    if tx.execute(&FREEZE, &[source.id.into(), day.into(), now.into()]).await? == 1 {
        let Some(mut current) = source_by_id(&mut tx, source.id).await? else { return Ok(()) };
        let share = hash_of(&format!("{}/frozen/{day}", source.name));
        current.revision.0 = current.revision.0.wrapping_add(share);
        update_sources(&mut tx, &[&current]).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Removes the partials and frames of a frozen day; what loudness looks back at stays until the next day is frozen.
async fn remove_partials(db: &Database, source: i64, layers: &[LayerRow], day: i64) -> Result<(), StoreError> {
    let first = day * MINUTES;
    let mut tx = db.read().await?;
    let next_is_frozen = tx.row(&FROZEN_DAY, &[source.into(), (day + 1).into()]).await?.is_some();
    let before_is_frozen = tx.row(&FROZEN_DAY, &[source.into(), (day - 1).into()]).await?.is_some();
    drop(tx);
    for layer in layers.iter().filter(|layer| layer.kind == LayerKind::Series) {
        let looks_back = layer.layer != FRAMES && layer.layout().is_ok_and(|layout| layout.lookback_seconds() > 0);
        let start = if looks_back && before_is_frozen { first - 1 } else { first };
        let end = if looks_back && !next_is_frozen { first + MINUTES - 1 } else { first + MINUTES };
        delete_blocks(db, source, layer.id, start, end).await?;
    }
    let mut tx = db.write().await?;
    tx.execute(&DONE, &[source.into(), day.into()]).await?;
    tx.commit().await?;
    Ok(())
}

/// Deletes the blocks of minutes `[start, end)` in short transactions.
pub(super) async fn delete_blocks(
    db: &Database,
    source: i64,
    layer: i64,
    start: i64,
    end: i64,
) -> Result<(), StoreError> {
    let mut from = start;
    while from < end {
        let to = (from + STEP).min(end);
        let mut tx = db.write().await?;
        tx.execute(&DELETE, &[source.into(), layer.into(), from.into(), to.into()]).await?;
        tx.commit().await?;
        from = to;
    }
    Ok(())
}

/// The first minute of which a layer has a block.
pub(super) async fn first_block(db: &Database, source: i64, layer: i64) -> Result<Option<i64>, StoreError> {
    let row = db.read().await?.row(&FIRST, &[source.into(), layer.into()]).await?;
    Ok(row.map(|row| row.get(0)).transpose()?)
}

/// Removes previews older than the sensor keeps.
pub(super) async fn expire_previews(
    db: &Database,
    source: &Source,
    kept: &Retention,
    now: Micros,
) -> Result<(), StoreError> {
    let end = (now - i64::from(kept.preview_hours) * 3_600 * SECOND).div_euclid(60 * SECOND);
    let layers = layers_of(&mut db.read().await?, source.id).await?;
    for layer in layers.iter().filter(|layer| layer.kind == LayerKind::Series && layer.layer == PREVIEW) {
        // Old recordings may arrive late, so there may be holes of years: go from block to block.
        while let Some(first) = first_block(db, source.id, layer.id).await?.filter(|first| *first < end) {
            delete_blocks(db, source.id, layer.id, first, (first + STEP).min(end)).await?;
        }
    }
    Ok(())
}
