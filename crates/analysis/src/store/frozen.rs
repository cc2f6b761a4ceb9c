//! What is kept how finely.

use antiphon_platform::clock::Micros;
use antiphon_platform::db::{DbError, ReadTransaction, Statement};
use antiphon_platform::sql;

use super::writer::DAY;

const FROZEN: Statement = sql!("sql/frozen_days_between.sql");
const PRESENT: Statement = sql!("sql/layer_present.sql");

pub(super) const STATEMENTS: &[Statement] = &[FROZEN, PRESENT];

/// The frozen UTC days (days since 1970) that overlap `[from, to)`: nothing finer than a minute is kept of them.
///
/// # Errors
/// Those of the database.
pub async fn frozen_days(tx: &mut ReadTransaction, source: i64, from: Micros, to: Micros) -> Result<Vec<i64>, DbError> {
    let (first, last) = (from.div_euclid(DAY), (to - 1).div_euclid(DAY));
    tx.rows(&FROZEN, &[source.into(), first.into(), last.into()]).await?.iter().map(|row| row.get(0)).collect()
}

/// Whether anything of a layer is stored in the minutes that overlap `[from, to)`.
///
/// # Errors
/// Those of the database.
pub async fn is_present(
    tx: &mut ReadTransaction,
    source: i64,
    layer: i64,
    from: Micros,
    to: Micros,
) -> Result<bool, DbError> {
    const MINUTE: Micros = 60_000_000;
    let (first, last) = (from.div_euclid(MINUTE), (to - 1).div_euclid(MINUTE));
    let times = [(first * MINUTE).into(), (last * MINUTE).into()];
    let [from, to] = times;
    Ok(tx.row(&PRESENT, &[source.into(), layer.into(), first.into(), last.into(), from, to]).await?.is_some())
}
