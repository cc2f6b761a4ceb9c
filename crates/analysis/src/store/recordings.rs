//! Rows of recordings: what was accepted, what became of it.

use std::collections::HashMap;

use antiphon_platform::clock::Micros;
use antiphon_platform::db::{DbError, ReadTransaction, Row, Statement, Value, WriteTransaction};
use antiphon_platform::sql;

use super::retention::retention_of;
use super::sources::{Source, SourceKind, make_source};

const BY_NAME: Statement = sql!("sql/recording_by_name.sql");
const OVERLAPPING: Statement = sql!("sql/recordings_overlapping.sql");
const INSERT: Statement = sql!("sql/recording_insert.sql");
const UPDATE: Statement = sql!("sql/recording_update.sql");
const OF_DELETED: Statement = sql!("sql/recording_of_deleted.sql");
const DELETE: Statement = sql!("sql/recording_delete.sql");
const RESULTS_DELETE: Statement = sql!("sql/results_delete.sql");
const STAGED_DELETE: Statement = sql!("sql/staged_delete_all.sql");

pub(super) const STATEMENTS: &[Statement] =
    &[BY_NAME, OVERLAPPING, INSERT, UPDATE, OF_DELETED, DELETE, RESULTS_DELETE, STAGED_DELETE];

/// How far a recording has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Durable in the queue.
    Accepted = 0,
    /// All parts of all pieces of all groups are stored.
    Stored = 1,
    /// It cannot be analysed, or not to its end.
    Failed = 2,
}

/// What is known of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Its number inside this database.
    pub id: i64,
    /// The 20 bytes of its id.
    pub name: [u8; 20],
    /// Sensor or song.
    pub kind: SourceKind,
    /// The sensor's id, or the song's in its text form.
    pub source: String,
    /// First sample after the lead-in, µs since 1970 (songs: 0).
    pub start: Micros,
    /// End of what was analysed so far; the start while nothing is.
    pub finish: Micros,
    /// How far it has come.
    pub status: Status,
    /// When the queue had it.
    pub accepted_at: Micros,
    /// When all its results were stored.
    pub stored_at: Option<Micros>,
    /// When it failed.
    pub failed_at: Option<Micros>,
    /// Why, in words.
    pub reason: Option<String>,
    /// It failed, and what decoded before the fault is kept.
    pub partial: bool,
    /// The highest version of the plan of which results are stored.
    pub plan_version: u32,
    /// Number of its pieces, once the last one is known.
    pub pieces: Option<u32>,
}

/// What the accept path knows of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The 20 bytes of its id.
    pub name: [u8; 20],
    /// The sensor's id.
    pub sensor: String,
    /// First sample after the lead-in, µs since 1970.
    pub start: Micros,
    /// When the queue had it, µs since 1970.
    pub accepted_at: Micros,
}

/// The recording (or song) of that id.
///
/// # Errors
/// Those of the database.
pub async fn recording(tx: &mut ReadTransaction, name: &[u8; 20]) -> Result<Option<Recording>, DbError> {
    tx.row(&BY_NAME, &[name.as_slice().into()]).await?.as_ref().map(recording_of).transpose()
}

/// Up to `limit` recordings of a source that overlap `[from, to)`, in the order of (start, id), after the one
/// named by `after`. One of which nothing is analysed yet counts by its start.
///
/// # Errors
/// Those of the database.
pub async fn recordings_overlapping(
    tx: &mut ReadTransaction,
    source: &Source,
    from: Micros,
    to: Micros,
    after: Option<(Micros, [u8; 20])>,
    limit: u32,
) -> Result<Vec<Recording>, DbError> {
    let (after_start, after_name) = after.map_or((i64::MIN, Vec::new()), |(start, name)| (start, name.to_vec()));
    let values = [
        source.id.into(),
        from.saturating_sub(source.longest).into(),
        to.into(),
        from.into(),
        after_start.into(),
        after_name.into(),
        limit.into(),
    ];
    tx.rows(&OVERLAPPING, &values).await?.iter().map(recording_of).collect()
}

/// Writes the rows `accepted`, where they are missing.
///
/// # Errors
/// Those of the database.
pub async fn accept(tx: &mut WriteTransaction, recordings: &[Accepted]) -> Result<(), DbError> {
    let mut sensors: HashMap<&str, (Source, bool)> = HashMap::new();
    for accepted in recordings {
        if !sensors.contains_key(accepted.sensor.as_str()) {
            let source = make_source(tx, SourceKind::Sensor, &accepted.sensor).await?;
            let keeps_audio = retention_of(tx, &accepted.sensor).await?.keeps_audio();
            sensors.insert(&accepted.sensor, (source, keeps_audio));
        }
        if let Some((source, keeps_audio)) = sensors.get(accepted.sensor.as_str()) {
            make_recording(tx, source.id, &accepted.name, accepted.start, accepted.accepted_at, *keeps_audio).await?;
        }
    }
    Ok(())
}

/// Writes the row `accepted`, unless it is there. A row that is left of a deleted sensor makes room.
pub(super) async fn make_recording(
    tx: &mut WriteTransaction,
    source: i64,
    name: &[u8; 20],
    start: Micros,
    accepted_at: Micros,
    keeps_audio: bool,
) -> Result<(), DbError> {
    let name: Value = name.as_slice().into();
    let values = [name.clone(), source.into(), start.into(), accepted_at.into(), keeps_audio.into()];
    if tx.execute(&INSERT, &values).await? == 1 {
        return Ok(());
    }
    let Some(row) = tx.row(&OF_DELETED, &[name]).await? else { return Ok(()) };
    remove_recording(tx, row.get(0)?).await?;
    tx.execute(&INSERT, &values).await.map(drop)
}

/// Removes a recording's row and what was kept to apply its results once.
pub(super) async fn remove_recording(tx: &mut WriteTransaction, id: i64) -> Result<(), DbError> {
    for statement in [RESULTS_DELETE, STAGED_DELETE, DELETE] {
        tx.execute(&statement, &[id.into()]).await?;
    }
    Ok(())
}

/// Writes back what a transaction changed of a recording.
pub(super) async fn update_recording(tx: &mut WriteTransaction, recording: &Recording) -> Result<(), DbError> {
    let values = [
        recording.id.into(),
        recording.finish.into(),
        Value::Int(recording.status as i64),
        recording.stored_at.into(),
        recording.failed_at.into(),
        recording.reason.clone().into(),
        recording.partial.into(),
        recording.plan_version.into(),
        recording.pieces.into(),
    ];
    tx.execute(&UPDATE, &values).await.map(drop)
}

fn recording_of(row: &Row) -> Result<Recording, DbError> {
    let name: Vec<u8> = row.get(1)?;
    let status = match row.get::<i64>(6)? {
        0 => Status::Accepted,
        1 => Status::Stored,
        2 => Status::Failed,
        other => return Err(DbError::Broken(format!("there is no status {other} of a recording"))),
    };
    Ok(Recording {
        id: row.get(0)?,
        name: name.try_into().map_err(|_| DbError::Broken(String::from("a recording's id has not 20 bytes")))?,
        kind: SourceKind::from_number(row.get(2)?)?,
        source: row.get(3)?,
        start: row.get(4)?,
        finish: row.get(5)?,
        status,
        accepted_at: row.get(7)?,
        stored_at: row.get(8)?,
        failed_at: row.get(9)?,
        reason: row.get(10)?,
        partial: row.get(11)?,
        plan_version: row.get(12)?,
        pieces: row.get(13)?,
    })
}
