//! Sensors: what they are, how they are doing, who may send for them.

mod directory;
mod fields;
mod health;
mod keys;
pub mod routes;
mod rows;

use antiphon_platform::db::{DbError, ReadTransaction, Reader, Statement};
use antiphon_platform::http::{Problem, nearest};

pub use directory::{Directory, Known};
pub use fields::check_id;
pub(crate) use fields::{checked_name, sent};
pub use health::Health;
pub use rows::Sensor;

/// Every statement of this module, for the test that prepares them on each engine.
#[must_use]
pub fn statements() -> Vec<Statement> {
    let mut all = rows::STATEMENTS.to_vec();
    all.extend([directory::FIND, health::ARRIVALS]);
    all
}

/// Ids among which the nearest to an unknown one is looked for.
const CANDIDATES: u32 = 1_000;

/// Whether data of a sensor can be asked for: it exists, or was deleted without its data.
///
/// # Errors
/// Those of the database.
pub async fn is_readable(tx: &mut ReadTransaction, sensor: &str) -> Result<bool, DbError> {
    Ok(rows::get(tx, sensor).await?.is_some())
}

/// The sensor with this id, deleted ones included.
///
/// # Errors
/// Those of the database.
pub async fn find(tx: &mut ReadTransaction, sensor: &str) -> Result<Option<Sensor>, DbError> {
    rows::get(tx, sensor).await
}

/// Whether the sensor's retention keeps audio; not if there is no such sensor.
///
/// # Errors
/// Those of the database.
pub async fn keeps_audio(tx: &mut ReadTransaction, sensor: &str) -> Result<bool, DbError> {
    Ok(rows::get(tx, sensor).await?.is_some_and(|found| found.retention.keeps_audio()))
}

/// 404 for a sensor that does not exist, with the nearest id as hint.
pub async fn unknown(reader: &Reader, sensor: &str) -> Problem {
    let names = match reader.read().await {
        Ok(mut transaction) => rows::names(&mut transaction, CANDIDATES).await.unwrap_or_default(),
        // The hint is a kindness; without the database the answer is still right.
        Err(_) => Vec::new(),
    };
    let shown: String = sensor.chars().take(100).collect();
    Problem::not_found(format!("there is no sensor {shown:?}"))
        .hint(nearest(sensor, names.iter().map(String::as_str)).map(str::to_owned))
}
