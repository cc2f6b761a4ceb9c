//! The statements on the state database, each from a file in `sql/`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{Candidate, Claim, Claimed, Cursor, End, GroupState, Returned, Setting, Settlement};
use crate::clock::Micros;
use crate::queue::QueueError;
use crate::queue::files::segment::{HEADER, topic_folder};

/// How long a transaction waits for those of other processes.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);

pub(super) async fn claim(
    setting: &Setting,
    connection: &mut SqliteConnection,
    claim: &Claim,
) -> Result<Claimed, QueueError> {
    let mut claimed = Claimed::default();
    let rows = sqlx::query(include_str!("../sql/claim_returned.sql"))
        .bind(claim.group)
        .bind(claim.kind.waiting_state())
        .bind(setting.clock.now())
        .bind(setting.owner.name())
        .bind(int(claim.limit as u64))
        .fetch_all(&mut *connection)
        .await
        .map_err(unavailable)?;
    for row in &rows {
        claimed.returned.push(returned(row)?);
    }
    let Some((topic, segment)) = &claim.segment else { return Ok(claimed) };
    let cursor = match cursor(connection, claim.group, segment).await? {
        Some(cursor) => cursor,
        // Without a row, nothing is taken yet; unless everything was, and file and rows are gone.
        None if topic_folder(&setting.folder, topic).join(segment).exists() => {
            Cursor { position: HEADER, records: 0, done: false }
        }
        None => return Ok(claimed),
    };
    let mut ahead = cursor;
    let mut taken: Vec<&Candidate> = Vec::new();
    for candidate in claim.candidates.iter().filter(|candidate| candidate.position >= cursor.position) {
        let full = taken.len() + claimed.returned.len() >= claim.limit;
        // A gap would skip what another process has not claimed: the candidates are older than the cursor's file.
        if cursor.done || candidate.position != ahead.position || (candidate.wanted && full) {
            break;
        }
        ahead = Cursor { position: candidate.next, records: ahead.records + 1, done: false };
        if candidate.wanted {
            taken.push(candidate);
        }
    }
    if ahead != cursor {
        set_cursor(connection, claim.group, segment, ahead).await?;
    }
    if !taken.is_empty() {
        let rows: Vec<Value> = taken.iter().map(|taken| json!([taken.position, taken.published])).collect();
        let query = sqlx::query(include_str!("../sql/claim_new.sql"))
            .bind(claim.group)
            .bind(segment)
            .bind(setting.owner.name())
            .bind(Value::from(rows).to_string());
        for row in query.fetch_all(&mut *connection).await.map_err(unavailable)? {
            claimed.new.push((get(&row, 0)?, get::<i64>(&row, 1)? as u64));
        }
    }
    claimed.cursor = Some(ahead);
    Ok(claimed)
}

fn returned(row: &SqliteRow) -> Result<Returned, QueueError> {
    let death = match get::<Option<i64>>(row, 6)? {
        Some(died) => Some((get::<Option<String>>(row, 5)?.unwrap_or_default(), died, get(row, 7)?)),
        None => None,
    };
    Ok(Returned {
        id: get(row, 0)?,
        segment: get(row, 1)?,
        position: get::<i64>(row, 2)? as u64,
        deliveries: get(row, 3)?,
        retries: get(row, 4)?,
        death,
    })
}

pub(super) async fn settle(connection: &mut SqliteConnection, settlements: &[Settlement]) -> Result<(), QueueError> {
    let mut acks: Vec<Value> = Vec::new();
    let mut returns: Vec<Value> = Vec::new();
    for Settlement { id, deliveries, end, .. } in settlements {
        match end {
            End::Ack => acks.push(json!([id, deliveries])),
            End::Return(to) => {
                let (reason, died) = to.death.as_ref().map(|(reason, died)| (reason, died)).unzip();
                let state = to.to.waiting_state();
                let (unseen, step) = (i64::from(to.unseen), i64::from(to.step));
                returns.push(json!([id, deliveries, state, to.not_before, unseen, step, reason, died]));
            }
        }
    }
    for (rows, text) in [(acks, include_str!("../sql/ack.sql")), (returns, include_str!("../sql/return.sql"))] {
        if !rows.is_empty() {
            let query = sqlx::query(text).bind(Value::from(rows).to_string());
            query.execute(&mut *connection).await.map_err(unavailable)?;
        }
    }
    Ok(())
}

pub(super) async fn cursor(
    connection: &mut SqliteConnection,
    group: &str,
    segment: &str,
) -> Result<Option<Cursor>, QueueError> {
    let query = sqlx::query(include_str!("../sql/cursor.sql")).bind(group).bind(segment);
    let row = query.fetch_optional(connection).await.map_err(unavailable)?;
    row.map(|row| cursor_of(&row, 0)).transpose()
}

fn cursor_of(row: &SqliteRow, first: usize) -> Result<Cursor, QueueError> {
    Ok(Cursor {
        position: get::<i64>(row, first)? as u64,
        records: get::<i64>(row, first + 1)? as u64,
        done: get(row, first + 2)?,
    })
}

pub(super) async fn set_cursor(
    connection: &mut SqliteConnection,
    group: &str,
    segment: &str,
    cursor: Cursor,
) -> Result<(), QueueError> {
    let query = sqlx::query(include_str!("../sql/set_cursor.sql"))
        .bind(group)
        .bind(segment)
        .bind(int(cursor.position))
        .bind(int(cursor.records))
        .bind(cursor.done);
    query.execute(connection).await.map_err(unavailable).map(drop)
}

pub(super) async fn cursors(
    connection: &mut SqliteConnection,
    group: &str,
) -> Result<HashMap<String, Cursor>, QueueError> {
    let query = sqlx::query(include_str!("../sql/cursors.sql")).bind(group);
    let rows = query.fetch_all(connection).await.map_err(unavailable)?;
    rows.iter().map(|row| Ok((get(row, 0)?, cursor_of(row, 1)?))).collect()
}

pub(super) async fn groups(connection: &mut SqliteConnection) -> Result<Vec<(String, String)>, QueueError> {
    let rows = sqlx::query(include_str!("../sql/groups.sql")).fetch_all(connection).await.map_err(unavailable)?;
    rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
}

pub(super) async fn depths(connection: &mut SqliteConnection) -> Result<Vec<GroupState>, QueueError> {
    let mut states = Vec::new();
    for (name, topic) in groups(&mut *connection).await? {
        let cursors = cursors(&mut *connection, &name).await?;
        states.push(GroupState { name, topic, cursors, ..GroupState::default() });
    }
    let rows = sqlx::query(include_str!("../sql/counts.sql")).fetch_all(connection).await.map_err(unavailable)?;
    for row in &rows {
        let (name, state, count): (String, i64, i64) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
        let Some(group) = states.iter_mut().find(|group| group.name == name) else { continue };
        match state {
            0 => {
                group.waiting = count as u64;
                group.oldest_published = get::<Option<Micros>>(row, 3)?;
            }
            1 => group.in_flight = count as u64,
            _ => group.dead += count as u64,
        }
    }
    Ok(states)
}

/// Forgets a segment whose file is gone.
pub(super) async fn forget(connection: &mut SqliteConnection, segment: &str) -> Result<(), QueueError> {
    for text in [include_str!("../sql/forget_cursors.sql"), include_str!("../sql/forget_deliveries.sql")] {
        sqlx::query(text).bind(segment).execute(&mut *connection).await.map_err(unavailable)?;
    }
    Ok(())
}

/// Begins to write. SQLite's own waiting polls ever more slowly and starves beside a busy process; so it is cut
/// short, and we ask again until [`PATIENCE`] ends.
pub(super) async fn begin(connection: &mut SqliteConnection) -> Result<(), QueueError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {}
            other => return other.map_err(unavailable).map(drop),
        }
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(5)
}

/// SQLite's result code without the extension in its upper bytes: 5 is busy, 11 corrupt, 26 not a database.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    Some(code.parse::<u32>().ok()? & 0xff)
}

pub(super) fn get<'r, T>(row: &'r SqliteRow, column: usize) -> Result<T, QueueError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(column).map_err(unavailable)
}

/// Positions and counts fit by far: a segment is some 64 MiB long.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unavailable(error: sqlx::Error) -> QueueError {
    let damaged = matches!(primary_code(&error), Some(11 | 26));
    if damaged {
        return QueueError::Broken(format!(
            "state.db is damaged: {error}; move it away to have every message delivered again"
        ));
    }
    QueueError::Unavailable(format!("the queue's state: {error}"))
}
