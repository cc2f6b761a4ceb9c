//! Rows of recordings: what was accepted, what became of it.

use std::collections::HashMap;

use antiphon_platform::clock::Micros;
use antiphon_platform::db::{DbError, ReadTransaction, Row, Statement, WriteTransaction};
use antiphon_platform::sql;

use super::lists::{hex, list};
use super::retention::{Retention, retentions};
use super::sources::{Source, SourceKind, make_sources};

const BY_NAME: Statement = sql!("sql/recording_by_name.sql");
const NAMED: Statement = sql!("sql/recordings_named.sql");
const OVERLAPPING: Statement = sql!("sql/recordings_overlapping.sql");
const INSERT: Statement = sql!("sql/recordings_insert.sql");
const UPDATE: Statement = sql!("sql/recordings_update.sql");
const OF_DELETED: Statement = sql!("sql/recordings_of_deleted.sql");
const DELETE: Statement = sql!("sql/recordings_delete.sql");
const RESULTS_DELETE: Statement = sql!("sql/results_delete.sql");
const STAGED_DELETE: Statement = sql!("sql/staged_delete_all.sql");

pub(super) const STATEMENTS: &[Statement] =
    &[BY_NAME, NAMED, OVERLAPPING, INSERT, UPDATE, OF_DELETED, DELETE, RESULTS_DELETE, STAGED_DELETE];

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
    /// Its audio is kept, or was until the retention changed.
    pub has_audio: bool,
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
    let mut sensors: Vec<&str> = recordings.iter().map(|accepted| accepted.sensor.as_str()).collect();
    sensors.sort_unstable();
    sensors.dedup();
    let sources = make_sources(tx, SourceKind::Sensor, &sensors).await?;
    let sources: HashMap<String, i64> = sources.into_iter().map(|source| (source.name, source.id)).collect();
    let kept = retentions(tx, &sensors).await?;
    let row = |accepted: &Accepted| {
        Some(NewRecording {
            name: accepted.name,
            source: *sources.get(&accepted.sensor)?,
            start: accepted.start,
            accepted_at: accepted.accepted_at,
            keeps_audio: kept.get(&accepted.sensor).is_some_and(Retention::keeps_audio),
        })
    };
    let rows: Vec<NewRecording> = recordings.iter().filter_map(row).collect();
    make_recordings(tx, &rows).await
}

/// What is known of a recording when its row is made.
pub(super) struct NewRecording {
    pub(super) name: [u8; 20],
    pub(super) source: i64,
    pub(super) start: Micros,
    pub(super) accepted_at: Micros,
    pub(super) keeps_audio: bool,
}

/// Writes rows `accepted`, where they are missing. Rows that are left of a deleted sensor make room.
pub(super) async fn make_recordings(tx: &mut WriteTransaction, new: &[NewRecording]) -> Result<(), DbError> {
    let row = |new: &NewRecording| (hex(&new.name), new.source, new.start, new.accepted_at, i64::from(new.keeps_audio));
    let rows = list(&new.iter().map(row).collect::<Vec<_>>());
    if tx.execute(&INSERT, std::slice::from_ref(&rows)).await? == new.len() as u64 {
        return Ok(());
    }
    let deleted = tx.rows(&OF_DELETED, std::slice::from_ref(&rows)).await?;
    if !deleted.is_empty() {
        let deleted = deleted.iter().map(|row| Ok((row.get(0)?,))).collect::<Result<Vec<_>, DbError>>()?;
        remove_recordings(tx, &deleted).await?;
        tx.execute(&INSERT, &[rows]).await?;
    }
    Ok(())
}

/// The recordings (and songs) of those ids, in no order.
pub(super) async fn recordings_named(
    tx: &mut ReadTransaction,
    names: impl Iterator<Item = &[u8; 20]>,
) -> Result<Vec<Recording>, DbError> {
    let names: Vec<(String,)> = names.map(|name| (hex(name),)).collect();
    tx.rows(&NAMED, &[list(&names)]).await?.iter().map(recording_of).collect()
}

/// Removes rows of recordings, by their numbers, and what was kept to apply their results once.
pub(super) async fn remove_recordings(tx: &mut WriteTransaction, numbers: &[(i64,)]) -> Result<(), DbError> {
    for statement in [RESULTS_DELETE, STAGED_DELETE, DELETE] {
        tx.execute(&statement, &[list(numbers)]).await?;
    }
    Ok(())
}

/// Writes back what a transaction changed of recordings.
pub(super) async fn update_recordings(tx: &mut WriteTransaction, recordings: &[&Recording]) -> Result<(), DbError> {
    let row = |found: &&Recording| {
        let status = found.status as i64;
        let (partial, pieces) = (i64::from(found.partial), found.pieces);
        let (reason, plan) = (found.reason.clone(), found.plan_version);
        (found.id, found.finish, status, found.stored_at, found.failed_at, reason, partial, plan, pieces)
    };
    let rows: Vec<_> = recordings.iter().map(row).collect();
    tx.execute(&UPDATE, &[list(&rows)]).await.map(drop)
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
        has_audio: row.get(14)?,
    })
}
