//! What was heard: the joined intervals of recordings with at least one stored result.
//!
//! Holes of up to [`JITTER`] are closed. Which intervals touch is a question about pairs, so the joined spans
//! depend on the set of intervals only, not on the order in which they came.

use std::collections::BTreeMap;

use antiphon_platform::clock::Micros;
use antiphon_platform::db::{DbError, ReadTransaction, Row, Statement, WriteTransaction};
use antiphon_platform::sql;

use super::lists::list;

const BEFORE: Statement = sql!("sql/span_before.sql");
const BETWEEN: Statement = sql!("sql/spans_between.sql");
const LAST: Statement = sql!("sql/span_last.sql");
const TOUCHING: Statement = sql!("sql/spans_touching.sql");
const DELETE: Statement = sql!("sql/spans_delete.sql");
const PUT: Statement = sql!("sql/spans_upsert.sql");

pub(super) const STATEMENTS: &[Statement] = &[BEFORE, BETWEEN, LAST, TOUCHING, DELETE, PUT];

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

/// Adds intervals to the spans of sources, whose numbers are the keys.
pub(super) async fn add(tx: &mut WriteTransaction, heard: BTreeMap<i64, Vec<Span>>) -> Result<(), DbError> {
    let heard: BTreeMap<i64, Vec<Span>> = heard.into_iter().map(|(source, spans)| (source, join(spans))).collect();
    let reach = |source: i64, span: &Span| (source, span.start - JITTER, span.finish + JITTER);
    let reaches: Vec<_> =
        heard.iter().flat_map(|(source, spans)| spans.iter().map(|span| reach(*source, span))).collect();
    if reaches.is_empty() {
        return Ok(());
    }
    let mut touching: BTreeMap<i64, Vec<Span>> = BTreeMap::new();
    for row in tx.rows(&TOUCHING, &[list(&reaches)]).await? {
        touching.entry(row.get(0)?).or_default().push(Span { start: row.get(1)?, finish: row.get(2)? });
    }
    // Stored spans that touch nothing new are too far from these to be joined with what comes out.
    let (mut gone, mut put) = (Vec::new(), Vec::new());
    for (source, spans) in heard {
        let before = touching.remove(&source).unwrap_or_default();
        let after = join([before.as_slice(), &spans].concat());
        let is_kept = |span: &&Span| after.iter().any(|other| other.start == span.start);
        gone.extend(before.iter().filter(|span| !is_kept(span)).map(|span| (source, span.start)));
        let is_new = |span: &&Span| !before.contains(span);
        put.extend(after.iter().filter(is_new).map(|span| (source, span.start, span.finish)));
    }
    if !gone.is_empty() {
        tx.execute(&DELETE, &[list(&gone)]).await?;
    }
    if !put.is_empty() {
        tx.execute(&PUT, &[list(&put)]).await?;
    }
    Ok(())
}

fn span_of(row: &Row) -> Result<Span, DbError> {
    Ok(Span { start: row.get(0)?, finish: row.get(1)? })
}
