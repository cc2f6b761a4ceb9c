//! The rows of alerts and of their history.

use antiphon_notify::Hook;
use antiphon_platform::clock::Micros;
use antiphon_platform::db::{DbError, Migration, ReadTransaction, Row, Statement, WriteTransaction};
use antiphon_platform::sql;

use super::definition::Definition;
use super::machine::{Change, Standing};

const DUE: Statement = sql!("sql/due.sql");
const ADVANCE: Statement = sql!("sql/advance.sql");
const CHANGE_INSERT: Statement = sql!("sql/change_insert.sql");
const CHANGES: Statement = sql!("sql/changes.sql");
const INSERT: Statement = sql!("sql/insert.sql");
const UPDATE: Statement = sql!("sql/update.sql");
const DELETE: Statement = sql!("sql/delete.sql");
const CHANGES_DELETE: Statement = sql!("sql/changes_delete.sql");
const CHANGES_EXPIRE: Statement = sql!("sql/changes_expire.sql");
const CHANGES_SHORTEN: Statement = sql!("sql/changes_shorten.sql");
const OF_SENSOR: Statement = sql!("sql/of_sensor.sql");
const COUNT: Statement = sql!("sql/count.sql");
const GET: Statement = sql!("sql/get.sql");
const LIST: Statement = sql!("sql/list.sql");
const STRETCHES_ON: Statement = sql!("sql/stretches_on.sql");

pub(super) const STATEMENTS: &[Statement] = &[
    DUE,
    ADVANCE,
    CHANGE_INSERT,
    CHANGES,
    INSERT,
    UPDATE,
    DELETE,
    CHANGES_DELETE,
    CHANGES_EXPIRE,
    CHANGES_SHORTEN,
    OF_SENSOR,
    COUNT,
    GET,
    LIST,
    STRETCHES_ON,
];

/// The tables of alerts.
pub const MIGRATIONS: &[Migration] = &[Migration {
    owner: "alerts",
    version: 1,
    sqlite: include_str!("sql/migration-1.sql"),
    postgres: include_str!("sql/migration-1.postgres.sql"),
}];

/// An alert, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Alert {
    pub(super) id: String,
    pub(super) sensor: String,
    pub(super) definition: Definition,
    pub(super) hook: Option<Hook>,
    pub(super) standing: Standing,
    /// The number of the source's last event that was looked at.
    pub(super) seen: i64,
    /// The number of its last change.
    pub(super) number: i64,
    pub(super) version: i64,
}

/// An alert as people see it.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) alert: Alert,
    pub(super) is_enabled: bool,
    pub(super) created_at: Micros,
}

/// A row of the history.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) number: i64,
    pub(super) change: Change,
    pub(super) is_late: bool,
    pub(super) told_at: Micros,
    /// The web hook that was told, if there was one.
    pub(super) hook: Option<Hook>,
}

/// At most `limit` alerts of sensors that have changed since they were looked at, after the id `after`.
pub(super) async fn due(tx: &mut ReadTransaction, after: &str, limit: u32) -> Result<Vec<Alert>, DbError> {
    tx.rows(&DUE, &[after.into(), limit.into()]).await?.iter().map(alert_of).collect()
}

/// Moves an alert on from where `before` found it; whether it was still there.
pub(super) async fn advance(
    tx: &mut WriteTransaction,
    before: &Alert,
    standing: Standing,
    seen: i64,
    number: i64,
) -> Result<bool, DbError> {
    let values = [
        before.id.as_str().into(),
        before.version.into(),
        before.seen.into(),
        before.number.into(),
        standing.is_on.into(),
        standing.floor.into(),
        standing.position.into(),
        seen.into(),
        number.into(),
    ];
    Ok(tx.execute(&ADVANCE, &values).await? == 1)
}

/// Adds to the history.
pub(super) async fn tell(tx: &mut WriteTransaction, alert: &str, told: &Told) -> Result<(), DbError> {
    let Told { number, change, is_late, told_at, hook } = told;
    let values = [
        alert.into(),
        (*number).into(),
        change.is_on.into(),
        change.began.into(),
        change.last.into(),
        change.value.into(),
        (*is_late).into(),
        (*told_at).into(),
        hook.as_ref().map(|hook| hook.0.as_str()).into(),
    ];
    tx.execute(&CHANGE_INSERT, &values).await.map(drop)
}

/// At most `limit` changes of an alert before the one numbered `before`, the newest first.
pub(super) async fn history(
    tx: &mut ReadTransaction,
    alert: &str,
    before: i64,
    limit: usize,
) -> Result<Vec<Told>, DbError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    tx.rows(&CHANGES, &[alert.into(), before.into(), limit.into()]).await?.iter().map(told_of).collect()
}

/// Adds an alert that begins to look at second `floor`.
pub(super) async fn insert(tx: &mut WriteTransaction, stored: &Stored) -> Result<(), DbError> {
    let Stored { alert, is_enabled, created_at } = stored;
    let values = [
        alert.id.as_str().into(),
        alert.sensor.as_str().into(),
        alert.definition.to_text().into(),
        alert.hook.as_ref().map(|hook| hook.0.as_str()).into(),
        (*is_enabled).into(),
        (*created_at).into(),
        alert.standing.floor.into(),
        alert.seen.into(),
    ];
    tx.execute(&INSERT, &values).await.map(drop)
}

/// Writes back what people changed; what was being looked at by the old definition is not told any more.
pub(super) async fn update(tx: &mut WriteTransaction, stored: &Stored) -> Result<(), DbError> {
    let Stored { alert, is_enabled, .. } = stored;
    let values = [
        alert.id.as_str().into(),
        alert.definition.to_text().into(),
        alert.hook.as_ref().map(|hook| hook.0.as_str()).into(),
        (*is_enabled).into(),
        alert.standing.floor.into(),
        alert.standing.position.into(),
        alert.seen.into(),
    ];
    tx.execute(&UPDATE, &values).await.map(drop)
}

/// Removes an alert and its history.
pub(super) async fn delete(tx: &mut WriteTransaction, id: &str) -> Result<(), DbError> {
    tx.execute(&CHANGES_DELETE, &[id.into()]).await?;
    tx.execute(&DELETE, &[id.into()]).await.map(drop)
}

/// Drops changes that were told before `time`, and of each alert all but the newest `most`.
pub(super) async fn expire(tx: &mut WriteTransaction, time: Micros, most: i64) -> Result<(), DbError> {
    tx.execute(&CHANGES_EXPIRE, &[time.into()]).await?;
    tx.execute(&CHANGES_SHORTEN, &[most.into()]).await.map(drop)
}

/// The alerts of a sensor: their ids and web hooks.
pub(super) async fn of_sensor(tx: &mut ReadTransaction, sensor: &str) -> Result<Vec<(String, Option<Hook>)>, DbError> {
    let rows = tx.rows(&OF_SENSOR, &[sensor.into()]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get::<Option<String>>(1)?.map(Hook)))).collect()
}

/// When alerts of a sensor were on, by their beginning: from the first second that turned one on to the last that turned
/// it off, `None` while it is on. Those of several alerts may overlap.
pub(super) async fn stretches_on(tx: &mut ReadTransaction, sensor: &str) -> Result<Vec<(i64, Option<i64>)>, DbError> {
    let rows = tx.rows(&STRETCHES_ON, &[sensor.into()]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// How many alerts a sensor has.
pub(super) async fn count(tx: &mut ReadTransaction, sensor: &str) -> Result<i64, DbError> {
    tx.row(&COUNT, &[sensor.into()]).await?.map_or(Ok(0), |row| row.get(0))
}

/// The alert of this id.
pub(super) async fn get(tx: &mut ReadTransaction, id: &str) -> Result<Option<Stored>, DbError> {
    tx.row(&GET, &[id.into()]).await?.as_ref().map(stored_of).transpose()
}

/// At most `limit` alerts, of one sensor or of all, in one state or in either, by id, after the id `after`.
pub(super) async fn list(
    tx: &mut ReadTransaction,
    after: &str,
    sensor: Option<&str>,
    is_on: Option<bool>,
    limit: usize,
) -> Result<Vec<Stored>, DbError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let state = is_on.map_or(-1, i64::from);
    let values = [after.into(), sensor.unwrap_or_default().into(), state.into(), limit.into()];
    tx.rows(&LIST, &values).await?.iter().map(stored_of).collect()
}

fn alert_of(row: &Row) -> Result<Alert, DbError> {
    let id: String = row.get(0)?;
    let definition = Definition::from_text(&row.get::<String>(2)?)
        .map_err(|error| DbError::Broken(format!("alert {id} cannot be read: {error}")))?;
    Ok(Alert {
        sensor: row.get(1)?,
        definition,
        hook: row.get::<Option<String>>(3)?.map(Hook),
        standing: Standing { is_on: row.get(4)?, floor: row.get(5)?, position: row.get(6)? },
        seen: row.get(7)?,
        number: row.get(8)?,
        version: row.get(9)?,
        id,
    })
}

fn stored_of(row: &Row) -> Result<Stored, DbError> {
    Ok(Stored { alert: alert_of(row)?, is_enabled: row.get(10)?, created_at: row.get(11)? })
}

fn told_of(row: &Row) -> Result<Told, DbError> {
    let change = Change { is_on: row.get(1)?, began: row.get(2)?, last: row.get(3)?, value: row.get(4)? };
    Ok(Told {
        number: row.get(0)?,
        change,
        is_late: row.get(5)?,
        told_at: row.get(6)?,
        hook: row.get::<Option<String>>(7)?.map(Hook),
    })
}
