//! Annotations as workers yielded them, with what a reader needs to clip and join them.

use antiphon_platform::clock::Micros;
use antiphon_platform::db::{DbError, ReadTransaction, Row, Statement, Value};
use antiphon_platform::sql;

use super::sources::Source;
use super::spans::Span;

const OVERLAPPING: Statement = sql!("sql/annotations_overlapping.sql");
const COUNTING: Statement = sql!("sql/counting_intervals.sql");

pub(super) const STATEMENTS: &[Statement] = &[OVERLAPPING, COUNTING];

/// An interval that one recording yielded, unclipped.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAnnotation {
    /// When, in µs.
    pub span: Span,
    /// The algorithm's name.
    pub algorithm: String,
    /// Its version.
    pub version: u32,
    /// What kind of thing it is, such as `silence`.
    pub kind: String,
    /// What it says, may be empty.
    pub label: String,
    /// A number that belongs to it.
    pub value: Option<f32>,
    /// How sure the algorithm is, 0 to 1.
    pub confidence: Option<f32>,
    /// It touches the recording's start and may begin earlier.
    pub open_start: bool,
    /// It touches the recording's end and may go on.
    pub open_end: bool,
    /// The recording that it comes from: (start, id), the order of the overlap rule.
    pub recording: (Micros, [u8; 20]),
}

/// An interval of a recording of which a result is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CountingInterval {
    /// The recording: (start, id), the order of the overlap rule.
    pub recording: (Micros, [u8; 20]),
    /// What of it was analysed.
    pub span: Span,
}

/// The annotations of a source that overlap `[from, to)`, in the order of (start, recording, algorithm, type), of
/// the given types (none given: all).
///
/// # Errors
/// Those of the database.
pub async fn annotations(
    tx: &mut ReadTransaction,
    source: &Source,
    from: Micros,
    to: Micros,
    types: &[String],
) -> Result<Vec<StoredAnnotation>, DbError> {
    let rows = tx.rows(&OVERLAPPING, &overlap(source, from, to)).await?;
    let mut found = rows.iter().map(annotation_of).collect::<Result<Vec<_>, _>>()?;
    found.retain(|annotation| types.is_empty() || types.contains(&annotation.kind));
    Ok(found)
}

/// What was analysed of the recordings of a source that overlap `[from, to)`, in the order of the overlap rule; a
/// recording that was cut into pieces gives one interval, or several if pieces are still missing.
///
/// # Errors
/// Those of the database.
pub async fn counting_intervals(
    tx: &mut ReadTransaction,
    source: &Source,
    from: Micros,
    to: Micros,
) -> Result<Vec<CountingInterval>, DbError> {
    let mut intervals: Vec<CountingInterval> = Vec::new();
    for row in tx.rows(&COUNTING, &overlap(source, from, to)).await? {
        let recording = (row.get(0)?, name_of(&row, 1)?);
        let span = Span { start: row.get(2)?, finish: row.get(3)? };
        match intervals.last_mut() {
            Some(last) if last.recording == recording && span.start <= last.span.finish => {
                last.span.finish = last.span.finish.max(span.finish);
            }
            _ => intervals.push(CountingInterval { recording, span }),
        }
    }
    Ok(intervals)
}

/// Nothing is longer than the source's longest recording, so what overlaps begins at most that much earlier.
fn overlap(source: &Source, from: Micros, to: Micros) -> [Value; 4] {
    [source.id.into(), from.saturating_sub(source.longest).into(), to.into(), from.into()]
}

fn name_of(row: &Row, column: usize) -> Result<[u8; 20], DbError> {
    let name: Vec<u8> = row.get(column)?;
    name.try_into().map_err(|_| DbError::Broken(String::from("a recording's id has not 20 bytes")))
}

#[expect(clippy::cast_possible_truncation, reason = "columns hold widened f32")]
fn annotation_of(row: &Row) -> Result<StoredAnnotation, DbError> {
    Ok(StoredAnnotation {
        span: Span { start: row.get(0)?, finish: row.get(1)? },
        algorithm: row.get(2)?,
        version: row.get(3)?,
        kind: row.get(4)?,
        label: row.get(5)?,
        value: row.get::<Option<f64>>(6)?.map(|value| value as f32),
        confidence: row.get::<Option<f64>>(7)?.map(|value| value as f32),
        open_start: row.get(8)?,
        open_end: row.get(9)?,
        recording: (row.get(11)?, name_of(row, 10)?),
    })
}
