//! What was heard: the joined intervals of recordings with at least one stored result.
//!
//! Holes of up to [`JITTER`] are closed. Which intervals touch is a question about pairs, so the joined spans
//! depend on the set of intervals only, not on the order in which they came.

use antiphon_platform::clock::Micros;
use antiphon_platform::db::{DbError, ReadTransaction, Row, Statement, WriteTransaction};
use antiphon_platform::sql;

const BEFORE: Statement = sql!("sql/span_before.sql");
const BETWEEN: Statement = sql!("sql/spans_between.sql");
const LAST: Statement = sql!("sql/span_last.sql");
const DELETE: Statement = sql!("sql/span_delete.sql");
const INSERT: Statement = sql!("sql/span_insert.sql");

pub(super) const STATEMENTS: &[Statement] = &[BEFORE, BETWEEN, LAST, DELETE, INSERT];

/// The longest hole between two recordings that is a sensor clock's jitter and no gap, in µs.
pub const JITTER: Micros = 20_000;

/// A half-open interval of time, in µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The first instant in it.
    pub start: Micros,
    /// The first instant after it.
    pub finish: Micros,
}

/// The spans of a source that overlap `[from, to)`, whole (not clipped), in order. Two of them are always
/// more than [`JITTER`] apart.
///
/// # Errors
/// Those of the database.
pub async fn spans(tx: &mut ReadTransaction, source: i64, from: Micros, to: Micros) -> Result<Vec<Span>, DbError> {
    let mut found = Vec::new();
    if let Some(row) = tx.row(&BEFORE, &[source.into(), from.into()]).await? {
        found.push(span_of(&row)?);
    }
    for row in tx.rows(&BETWEEN, &[source.into(), from.into(), to.saturating_sub(1).into()]).await? {
        found.push(span_of(&row)?);
    }
    found.retain(|span| span.finish > from && span.start < to);
    Ok(found)
}

/// The newest span of a source; its finish is the end of the newest stored audio.
///
/// # Errors
/// Those of the database.
pub async fn last_span(tx: &mut ReadTransaction, source: i64) -> Result<Option<Span>, DbError> {
    tx.row(&LAST, &[source.into()]).await?.as_ref().map(span_of).transpose()
}

/// Joins intervals in memory, by the same rule.
#[must_use]
pub fn join(mut intervals: Vec<Span>) -> Vec<Span> {
    intervals.retain(|span| span.start < span.finish);
    intervals.sort_unstable();
    let mut joined: Vec<Span> = Vec::with_capacity(intervals.len());
    for interval in intervals {
        match joined.last_mut() {
            Some(last) if interval.start <= last.finish + JITTER => last.finish = last.finish.max(interval.finish),
            _ => joined.push(interval),
        }
    }
    joined
}

/// Adds intervals to the spans of a source.
pub(super) async fn add(tx: &mut WriteTransaction, source: i64, intervals: Vec<Span>) -> Result<(), DbError> {
    for interval in join(intervals) {
        let reach = Span { start: interval.start - JITTER, finish: interval.finish + JITTER + 1 };
        let mut touching = Vec::new();
        if let Some(row) = tx.row(&BEFORE, &[source.into(), reach.start.into()]).await? {
            touching.push(span_of(&row)?);
        }
        let bounds = [source.into(), reach.start.into(), (reach.finish - 1).into()];
        for row in tx.rows(&BETWEEN, &bounds).await? {
            touching.push(span_of(&row)?);
        }
        touching.retain(|span| span.finish >= reach.start);
        if touching.iter().any(|span| span.start <= interval.start && span.finish >= interval.finish) {
            continue;
        }
        for span in &touching {
            tx.execute(&DELETE, &[source.into(), span.start.into()]).await?;
        }
        touching.push(interval);
        for span in join(touching) {
            tx.execute(&INSERT, &[source.into(), span.start.into(), span.finish.into()]).await?;
        }
    }
    Ok(())
}

fn span_of(row: &Row) -> Result<Span, DbError> {
    Ok(Span { start: row.get(0)?, finish: row.get(1)? })
}
