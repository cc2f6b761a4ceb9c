//! Partitions of `blocks`, made when something is first stored in their month.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use antiphon_platform::db::{Database, DbError, Engine, Statement};
use antiphon_platform::sql;
use chrono::{DateTime, Datelike};

const MAKE: Statement = sql!("sql/blocks_partition.postgres.sql");

/// Statements of PostgreSQL only.
pub(super) const STATEMENTS: &[Statement] = &[MAKE];

/// The months of which a process knows that they have a partition; none is taken away while it runs.
#[derive(Debug, Default)]
pub struct Partitions {
    /// Year and month.
    made: Mutex<BTreeSet<(i32, u32)>>,
}

impl Partitions {
    /// Makes the partitions that blocks of these minutes of the epoch (0 or more) need, where they are missing, each in
    /// a short transaction of its own. Nothing is to be done on SQLite.
    ///
    /// # Errors
    /// [`DbError::Unavailable`], also when this account may not make them: then nothing can be stored until it may.
    pub async fn make(&self, db: &Database, minutes: impl Iterator<Item = i64>) -> Result<(), DbError> {
        if db.reader().engine() == Engine::Sqlite {
            return Ok(());
        }
        for (month, minute) in self.missing(minutes) {
            let mut tx = db.write().await?;
            let made = tx.row(&MAKE, &[minute.into()]).await.map_err(|error| match error {
                error @ DbError::Broken(_) => error,
                other => DbError::Unavailable(format!("a partition of blocks cannot be made: {other}")),
            })?;
            tx.commit().await?;
            if made.is_some_and(|row| row.get::<i64>(0).is_ok_and(|made| made == 1)) {
                tracing::info!(year = month.0, month = month.1, "made a partition of blocks");
            }
            self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(month);
        }
        Ok(())
    }

    /// Months of which nothing is known, with a minute in each.
    fn missing(&self, minutes: impl Iterator<Item = i64>) -> BTreeMap<(i32, u32), i64> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let month = |minute: i64| {
            let time = DateTime::from_timestamp(minute.checked_mul(60)?, 0)?;
            Some(((time.year(), time.month()), minute))
        };
        minutes.filter_map(month).filter(|(month, _)| !made.contains(month)).collect()
    }
}
