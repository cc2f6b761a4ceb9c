//! What changed, for live events.

use antiphon_platform::db::{DbError, ReadTransaction, Row, Statement};
use antiphon_platform::sql;

const SINCE: Statement = sql!("sql/changes_since.sql");
const OLDEST: Statement = sql!("sql/oldest_change.sql");

pub(super) const STATEMENTS: &[Statement] = &[SINCE, OLDEST];

/// Seconds that one transaction changed. Each second is one event; they are numbered one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The number of the event of `last`; second `s` has the number `sequence - (last - s)`.
    pub sequence: i64,
    /// The first second of the epoch that may have changed.
    pub first: i64,
    /// The last one.
    pub last: i64,
}

/// Changes that hold events after number `sequence`, in commit order; the first may begin before it.
///
/// # Errors
/// Those of the database.
pub async fn changes_since(
    tx: &mut ReadTransaction,
    source: i64,
    sequence: i64,
    limit: u32,
) -> Result<Vec<Change>, DbError> {
    tx.rows(&SINCE, &[source.into(), sequence.into(), limit.into()]).await?.iter().map(change_of).collect()
}

/// Whether everything after event `sequence` is still known; if not, a client must begin anew (`reset`).
///
/// # Errors
/// Those of the database.
pub async fn can_resume(tx: &mut ReadTransaction, source: &super::Source, sequence: i64) -> Result<bool, DbError> {
    if sequence > source.sequence || sequence < 0 {
        return Ok(false);
    }
    if sequence == source.sequence {
        return Ok(true);
    }
    let oldest = tx.row(&OLDEST, &[source.id.into()]).await?.as_ref().map(change_of).transpose()?;
    Ok(oldest.is_some_and(|oldest| sequence >= oldest.sequence - (oldest.last - oldest.first) - 1))
}

fn change_of(row: &Row) -> Result<Change, DbError> {
    Ok(Change { sequence: row.get(0)?, first: row.get(1)?, last: row.get(2)? })
}
