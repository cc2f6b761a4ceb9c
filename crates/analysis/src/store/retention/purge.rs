//! Deleting a sensor or a song with its data.
//!
//! The source is buried at once, in the caller's transaction: nothing finds it any more, and the same name starts
//! anew. Its rows, which may be gigabytes, go later in short transactions.

use std::sync::Arc;

use antiphon_platform::blobs::Blobs;
use antiphon_platform::clock::Micros;
use antiphon_platform::db::{Database, DbError, Statement, Value, WriteTransaction};
use antiphon_platform::sql;

use super::freeze::{delete_blocks, first_block};
use super::{RetentionError, audio_of};
use crate::store::recordings::remove_recordings;
use crate::store::resolution::Resolution;
use crate::store::sources::{SourceKind, layers_of, source};
use crate::store::writer::DAY;

const BURY: Statement = sql!("../sql/source_bury.sql");
const UNMARK: Statement = sql!("../sql/stale_delete_of_source.sql");
const LETTERS: Statement = sql!("../sql/dead_letters_delete_of_source.sql");
const BURIED: Statement = sql!("../sql/sources_buried.sql");
const RECORDINGS: Statement = sql!("../sql/recordings_of_source.sql");
const FIRST_CELL: Statement = sql!("../sql/cell_first.sql");
const DELETE_CELLS: Statement = sql!("../sql/cells_delete_between.sql");
const DELETE_SOURCE: Statement = sql!("../sql/source_delete.sql");
const REST: [Statement; 8] = [
    sql!("../sql/spans_delete_of_source.sql"),
    sql!("../sql/annotations_delete_of_source.sql"),
    sql!("../sql/summaries_delete_of_source.sql"),
    sql!("../sql/changes_delete_of_source.sql"),
    sql!("../sql/arrivals_delete_of_source.sql"),
    sql!("../sql/frozen_days_delete_of_source.sql"),
    sql!("../sql/stored_days_delete_of_source.sql"),
    sql!("../sql/source_layers_delete_of_source.sql"),
];

pub(super) const STATEMENTS: &[Statement] = &[
    BURY,
    UNMARK,
    LETTERS,
    BURIED,
    RECORDINGS,
    FIRST_CELL,
    DELETE_CELLS,
    DELETE_SOURCE,
    REST[0],
    REST[1],
    REST[2],
    REST[3],
    REST[4],
    REST[5],
    REST[6],
    REST[7],
];

/// Recordings that one transaction removes.
const PAGE: u32 = 256;

/// Time of cells that one transaction removes, in cells.
const CELLS: i64 = 4_096;

/// Makes all data of a sensor, dead letters included, vanish once the transaction commits; the rows go in the next run of the job.
///
/// # Errors
/// Those of the database.
pub async fn delete_sensor(tx: &mut WriteTransaction, sensor: &str) -> Result<(), DbError> {
    tx.execute(&LETTERS, &[format!("sensors/{sensor}").into()]).await?;
    bury(tx, SourceKind::Sensor, sensor).await
}

/// Makes all data of a song vanish once the transaction commits; the rows go in the next run of the job.
///
/// # Errors
/// Those of the database.
pub async fn delete_song(tx: &mut WriteTransaction, song: &str) -> Result<(), DbError> {
    bury(tx, SourceKind::Song, song).await
}

async fn bury(tx: &mut WriteTransaction, kind: SourceKind, name: &str) -> Result<(), DbError> {
    if let Some(found) = source(tx, kind, name).await? {
        tx.execute(&UNMARK, &[found.id.into()]).await?;
        tx.execute(&BURY, &[Value::Int(kind as i64), name.into()]).await?;
    }
    Ok(())
}

/// Removes the rows and the audio of buried sources.
pub(super) async fn run(db: &Database, blobs: &Arc<dyn Blobs>) -> Result<(), RetentionError> {
    let buried = db.read().await?.rows(&BURIED, &[]).await?;
    for row in buried {
        let source: i64 = row.get(0)?;
        let layers = layers_of(&mut db.read().await?, source).await?;
        for layer in &layers {
            while let Some(first) = first_block(db, source, layer.id).await? {
                delete_blocks(db, source, layer.id, first, first + 1_440).await?;
            }
            for resolution in Resolution::STORED {
                remove_cells(db, source, layer.id, resolution).await?;
            }
        }
        remove_recordings_of(db, blobs, source).await?;
        let mut tx = db.write().await?;
        for statement in REST {
            tx.execute(&statement, &[source.into()]).await?;
        }
        tx.execute(&DELETE_SOURCE, &[source.into()]).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn remove_cells(db: &Database, source: i64, layer: i64, resolution: Resolution) -> Result<(), RetentionError> {
    let key: [Value; 3] = [source.into(), layer.into(), Value::Int(resolution as i64)];
    loop {
        let Some(row) = db.read().await?.row(&FIRST_CELL, &key).await? else { return Ok(()) };
        let first: Micros = row.get(0)?;
        let end = first.saturating_add((CELLS * resolution.length()).max(DAY));
        let mut tx = db.write().await?;
        tx.execute(&DELETE_CELLS, &[&key[..], &[first.into(), end.into()]].concat()).await?;
        tx.commit().await?;
    }
}

async fn remove_recordings_of(db: &Database, blobs: &Arc<dyn Blobs>, source: i64) -> Result<(), RetentionError> {
    loop {
        let rows = db.read().await?.rows(&RECORDINGS, &[source.into(), PAGE.into()]).await?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in &rows {
            if row.get(2)? {
                blobs.delete(&audio_of(row, 1)?).await?;
            }
        }
        let numbers = rows.iter().map(|row| Ok((row.get(0)?,))).collect::<Result<Vec<_>, DbError>>()?;
        let mut tx = db.write().await?;
        remove_recordings(&mut tx, &numbers).await?;
        tx.commit().await?;
    }
}
