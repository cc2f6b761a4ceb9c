//! Alerts: a threshold on the seconds of a sensor, and what is told when it is passed.
//!
//! What people set is a `definition`; a `machine` says when it is on; `follow` looks at what the writer has stored
//! and tells, each change once; `notify` sends it. Why it is so: `docs/decisions/alerts.md`.

mod definition;
mod follow;
mod machine;
mod message;
mod quiet;
mod routes;
mod rows;
#[cfg(test)]
mod tests;
mod views;
mod window;

use antiphon_notify::Hook;
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::{Database, DbError, ReadTransaction, Statement, WriteTransaction};

pub use follow::{round, run};
pub use machine::Side;
pub use quiet::QuietHours;
pub use routes::{Api, routes};
pub use rows::MIGRATIONS;

/// How long changes are in the history: 400 days, in µs.
const KEPT: Micros = 400 * 86_400 * SECOND;

/// How long after a second was stored an alert may still turn out to have been on in it, in µs: it looks back so far at
/// what comes late, and takes so long to be sure.
pub(crate) const UNDECIDED: Micros = (machine::LATE + definition::LONGEST as i64) * SECOND;

/// Every statement of this module, for the test that prepares them on each engine.
#[must_use]
pub fn statements() -> Vec<Statement> {
    rows::STATEMENTS.to_vec()
}

/// Changes of one alert that are in the history: what flaps every second for months fills no disk.
const MOST_KEPT: i64 = 10_000;

/// Drops what is longer ago than 400 days or than 10,000 changes of an alert, here and among the notices.
///
/// # Errors
/// Those of the database.
pub async fn expire(db: &Database, now: Micros) -> Result<(), DbError> {
    let mut tx = db.write().await?;
    rows::expire(&mut tx, now - KEPT, MOST_KEPT).await?;
    tx.commit().await?;
    antiphon_notify::expire(db, now).await
}

/// Deletes the alerts of a sensor whose data is deleted, with their history and web hooks: both tell of the data.
///
/// # Errors
/// Those of the database.
pub(crate) async fn delete_of(tx: &mut WriteTransaction, sensor: &str) -> Result<(), DbError> {
    for (alert, hook) in rows::of_sensor(tx, sensor).await? {
        delete(tx, &alert, hook.as_ref()).await?;
    }
    Ok(())
}

/// The times in which an alert of a sensor was on, in µs since 1970 and by their beginning, widened by `around` on both
/// sides and joined where they touch: `[from, to)`. What may still come is not among them: see [`UNDECIDED`].
///
/// # Errors
/// Those of the database.
pub(crate) async fn times_on(
    tx: &mut ReadTransaction,
    sensor: &str,
    around: Micros,
) -> Result<Vec<(Micros, Micros)>, DbError> {
    let mut times: Vec<(Micros, Micros)> = Vec::new();
    for (began, last) in rows::stretches_on(tx, sensor).await? {
        let from = began * SECOND - around;
        let to = last.map_or(Micros::MAX, |last| (last + 1) * SECOND + around);
        match times.last_mut() {
            Some(before) if from <= before.1 => before.1 = before.1.max(to),
            _ => times.push((from, to)),
        }
    }
    Ok(times)
}

async fn delete(tx: &mut WriteTransaction, alert: &str, hook: Option<&Hook>) -> Result<(), DbError> {
    if let Some(hook) = hook {
        antiphon_notify::remove(tx, hook).await?;
    }
    rows::delete(tx, alert).await
}
