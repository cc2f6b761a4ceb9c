//! The rows of sensors.

use antiphon_platform::clock::Micros;
use antiphon_platform::db::{DbError, ReadTransaction, Row, Statement, Value, WriteTransaction};
use antiphon_platform::sql;

use crate::plan::History;
use crate::store::retention::Retention;

const INSERT: Statement = sql!("insert.sql");
const GET: Statement = sql!("get.sql");
const LIST: Statement = sql!("list.sql");
const NAMES: Statement = sql!("names.sql");
const UPDATE: Statement = sql!("update.sql");
const REMOVE: Statement = sql!("remove.sql");

pub(super) const STATEMENTS: [Statement; 6] = [INSERT, GET, LIST, NAMES, UPDATE, REMOVE];

/// A sensor as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensor {
    /// Its id, `[a-z0-9][a-z0-9-]{0,62}`.
    pub id: String,
    /// What people call it.
    pub name: Option<String>,
    /// Degrees north, -90 to 90.
    pub latitude: Option<f64>,
    /// Degrees east, -180 to 180.
    pub longitude: Option<f64>,
    /// The IANA zone whose days count for it; UTC without one.
    pub timezone: Option<String>,
    /// What its audio is analysed by, over time.
    pub plans: History,
    /// How long what is kept.
    pub retention: Retention,
    /// When it was made, µs since 1970.
    pub created_at: Micros,
    /// When it was deleted; its data stays readable.
    pub deleted_at: Option<Micros>,
}

/// The sensor with this id, deleted ones included.
pub(super) async fn get(tx: &mut ReadTransaction, id: &str) -> Result<Option<Sensor>, DbError> {
    tx.row(&GET, &[id.into()]).await?.as_ref().map(sensor_of).transpose()
}

/// At most `limit` sensors that exist, by id, after the id `after`.
pub(super) async fn list(tx: &mut ReadTransaction, after: &str, limit: u32) -> Result<Vec<Sensor>, DbError> {
    tx.rows(&LIST, &[after.into(), limit.into()]).await?.iter().map(sensor_of).collect()
}

/// At most `limit` ids, those of deleted sensors included.
pub(super) async fn names(tx: &mut ReadTransaction, limit: u32) -> Result<Vec<String>, DbError> {
    tx.rows(&NAMES, &[limit.into()]).await?.iter().map(|row| row.get(0)).collect()
}

/// Adds a row; [`DbError::Conflict`] when the id is taken.
pub(super) async fn insert(tx: &mut WriteTransaction, sensor: &Sensor) -> Result<(), DbError> {
    let mut values = values(sensor);
    values.truncate(10);
    tx.execute(&INSERT, &values).await.map(drop)
}

/// Writes a row back.
pub(super) async fn update(tx: &mut WriteTransaction, sensor: &Sensor) -> Result<(), DbError> {
    tx.execute(&UPDATE, &values(sensor)).await.map(drop)
}

/// Removes a row.
pub(super) async fn remove(tx: &mut WriteTransaction, id: &str) -> Result<(), DbError> {
    tx.execute(&REMOVE, &[id.into()]).await.map(drop)
}

fn values(sensor: &Sensor) -> Vec<Value> {
    let plan = sensor.plans.current();
    vec![
        sensor.id.as_str().into(),
        sensor.name.clone().into(),
        sensor.latitude.into(),
        sensor.longitude.into(),
        sensor.timezone.clone().into(),
        plan.calibration.into(),
        sensor.plans.to_text().into(),
        plan.version.into(),
        sensor.retention.to_text().into(),
        sensor.created_at.into(),
        sensor.deleted_at.into(),
    ]
}

fn sensor_of(row: &Row) -> Result<Sensor, DbError> {
    let id: String = row.get(0)?;
    let broken = |what: &str| DbError::Broken(format!("the {what} of sensor {id} cannot be read"));
    Ok(Sensor {
        name: row.get(1)?,
        latitude: row.get(2)?,
        longitude: row.get(3)?,
        timezone: row.get(4)?,
        plans: History::from_text(&row.get::<String>(5)?).map_err(|_| broken("plan"))?,
        retention: Retention::from_text(&row.get::<String>(6)?).map_err(|_| broken("retention"))?,
        created_at: row.get(7)?,
        deleted_at: row.get(8)?,
        id,
    })
}
