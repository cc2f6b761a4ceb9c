//! Alerts: a threshold on the seconds of a sensor, and what is told when it is passed.
//!
//! What people set is a [`definition`]; a [`machine`] says when it is on; [`follow`] looks at what the writer has stored
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

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::{Database, DbError, Statement};

pub use follow::{round, run};
pub use machine::Side;
pub use quiet::QuietHours;
pub use routes::{Api, routes};
pub use rows::MIGRATIONS;

/// How long changes are in the history: 400 days, in µs.
const KEPT: Micros = 400 * 86_400 * SECOND;

/// Every statement of this module, for the test that prepares them on each engine.
#[must_use]
pub fn statements() -> Vec<Statement> {
    rows::STATEMENTS.to_vec()
}

/// Drops what is longer ago than 400 days, here and among the notices.
///
/// # Errors
/// Those of the database.
pub async fn expire(db: &Database, now: Micros) -> Result<(), DbError> {
    let mut tx = db.write().await?;
    rows::expire(&mut tx, now - KEPT).await?;
    tx.commit().await?;
    antiphon_notify::expire(db, now).await
}
