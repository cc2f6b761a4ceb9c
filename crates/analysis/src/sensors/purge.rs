//! Deleting all data of a sensor, in steps that each hold the write lock for a short while only.

use antiphon_platform::blobs::{BlobError, Blobs};
use antiphon_platform::db::{Database, DbError, Statement};
use antiphon_platform::sql;

use crate::ids::RecordingId;
use crate::recordings::audio_key;
use crate::store::{SourceKind, source};

/// Tables that may be large, to be emptied in steps: `$1` the source, `$2` how many rows.
const LARGE: [Statement; 3] = [sql!("purge/blocks.sql"), sql!("purge/cells.sql"), sql!("purge/annotations.sql")];

/// What belongs to recordings, and they themselves last: `$1` the source, `$2` how many recordings.
const RECORDINGS: [Statement; 3] =
    [sql!("purge/results.sql"), sql!("purge/staged_results.sql"), sql!("purge/recordings.sql")];

/// Ids of the recordings that [`RECORDINGS`] deletes.
const NAMES: Statement = sql!("purge/names.sql");

/// What is small, and the source itself last: `$1` the source.
const SMALL: [Statement; 9] = [
    sql!("purge/stale.sql"),
    sql!("purge/spans.sql"),
    sql!("purge/summaries.sql"),
    sql!("purge/changes.sql"),
    sql!("purge/arrivals.sql"),
    sql!("purge/frozen_days.sql"),
    sql!("purge/stored_days.sql"),
    sql!("purge/source_layers.sql"),
    sql!("purge/sources.sql"),
];

/// Dead letters, which hold audio: `$1` the CloudEvents source.
const DEAD_LETTERS: Statement = sql!("purge/dead_letters.sql");

/// Rows deleted in one transaction.
const STEP: i64 = 2_000;

pub(super) fn statements() -> Vec<Statement> {
    let mut all = vec![NAMES, DEAD_LETTERS];
    all.extend(LARGE);
    all.extend(RECORDINGS);
    all.extend(SMALL);
    all
}

/// What can go wrong when data is deleted; what was not yet deleted is when this is asked for again.
#[derive(Debug, thiserror::Error)]
pub(super) enum PurgeError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The audio that was kept.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

/// Deletes what is stored of a sensor: results, recordings, kept audio, dead letters.
pub(super) async fn purge(database: &Database, blobs: &dyn Blobs, sensor: &str) -> Result<(), PurgeError> {
    let found = source(&mut database.read().await?, SourceKind::Sensor, sensor).await?;
    if let Some(found) = found {
        let id = found.id;
        for statement in &LARGE {
            while step(database, statement, id).await? > 0 {}
        }
        while recordings_step(database, blobs, id).await? {}
        let mut transaction = database.write().await?;
        // What was stored since the steps above goes with the rest.
        for statement in LARGE.iter().chain(&RECORDINGS) {
            transaction.execute(statement, &[id.into(), i64::MAX.into()]).await?;
        }
        for statement in &SMALL {
            transaction.execute(statement, &[id.into()]).await?;
        }
        transaction.commit().await?;
    }
    let mut transaction = database.write().await?;
    transaction.execute(&DEAD_LETTERS, &[format!("sensors/{sensor}").into()]).await?;
    transaction.commit().await?;
    Ok(())
}

async fn step(database: &Database, statement: &Statement, source: i64) -> Result<u64, DbError> {
    let mut transaction = database.write().await?;
    let deleted = transaction.execute(statement, &[source.into(), STEP.into()]).await?;
    transaction.commit().await?;
    Ok(deleted)
}

/// Deletes some recordings, their audio first, so that none is left without a row; whether there were any.
async fn recordings_step(database: &Database, blobs: &dyn Blobs, source: i64) -> Result<bool, PurgeError> {
    let values = [source.into(), STEP.into()];
    let mut transaction = database.write().await?;
    let names = transaction.rows(&NAMES, &values).await?;
    for row in &names {
        if let Ok(id) = RecordingId::try_from(row.get::<Vec<u8>>(0)?.as_slice()) {
            blobs.delete(&audio_key(id)).await?;
        }
    }
    for statement in &RECORDINGS {
        transaction.execute(statement, &values).await?;
    }
    transaction.commit().await?;
    Ok(!names.is_empty())
}
