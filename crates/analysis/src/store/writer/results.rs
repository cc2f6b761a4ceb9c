//! The rows that prove what was applied, and their share in a source's revision.

use antiphon_features::cells::FRAMES;
use antiphon_platform::db::{DbError, ReadTransaction, Row, Statement, Value, WriteTransaction};
use antiphon_platform::sql;
use sha2::{Digest, Sha256};

use super::batch::id_text;
use crate::ids::result_message;
use crate::store::sources::{LayerRow, SourceKind};
use crate::store::spans::Span;

const FIND: Statement = sql!("../sql/result.sql");
const ALL: Statement = sql!("../sql/results_of.sql");
const PUT: Statement = sql!("../sql/result_upsert.sql");
const DELETE: Statement = sql!("../sql/result_delete.sql");

pub(crate) const STATEMENTS: &[Statement] = &[FIND, ALL, PUT, DELETE];

/// What one group found in one piece, as it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) piece: u32,
    pub(super) group: String,
    pub(super) plan_version: u32,
    pub(super) parts: u32,
    pub(super) span: Span,
    pub(super) fault: bool,
    pub(super) layers: Vec<i64>,
}

/// The result of a group for a piece, if one is applied.
pub(super) async fn find(
    tx: &mut ReadTransaction,
    recording: i64,
    piece: u32,
    group: &str,
) -> Result<Option<Applied>, DbError> {
    let row = tx.row(&FIND, &[recording.into(), piece.into(), group.into()]).await?;
    row.map(|row| applied_of(&row, 0, piece, group.to_owned())).transpose()
}

/// Every result of a recording.
pub(super) async fn all(tx: &mut ReadTransaction, recording: i64) -> Result<Vec<Applied>, DbError> {
    let rows = tx.rows(&ALL, &[recording.into()]).await?;
    rows.iter().map(|row| applied_of(row, 2, row.get(0)?, row.get(1)?)).collect()
}

/// Writes the row of a result in place of an earlier one.
pub(super) async fn put(tx: &mut WriteTransaction, recording: i64, applied: &Applied) -> Result<(), DbError> {
    let layers: Vec<u8> =
        applied.layers.iter().flat_map(|layer| u16::try_from(*layer).unwrap_or(u16::MAX).to_le_bytes()).collect();
    let values = [
        recording.into(),
        applied.piece.into(),
        applied.group.as_str().into(),
        applied.plan_version.into(),
        applied.parts.into(),
        applied.span.start.into(),
        applied.span.finish.into(),
        applied.fault.into(),
        Value::Bytes(layers),
    ];
    tx.execute(&PUT, &values).await.map(drop)
}

pub(super) async fn delete(tx: &mut WriteTransaction, recording: i64, applied: &Applied) -> Result<(), DbError> {
    let values = [recording.into(), applied.piece.into(), applied.group.as_str().into()];
    tx.execute(&DELETE, &values).await.map(drop)
}

/// A result's share in the revision: for each part the first 8 bytes (big-endian) of SHA-256 of its key, summed
/// modulo 2^64. A result that broke off is another one than its later repair.
pub(super) fn hash(kind: SourceKind, name: &[u8; 20], applied: &Applied) -> u64 {
    let source = id_text(kind, name);
    let fault = if applied.fault { "/fault" } else { "" };
    (0..applied.parts)
        .map(|part| {
            let key = result_message(&source, applied.piece, &applied.group, applied.plan_version, part);
            hash_of(&format!("{key}{fault}"))
        })
        .fold(0, u64::wrapping_add)
}

/// The first 8 bytes (big-endian) of SHA-256 of a key.
pub(crate) fn hash_of(key: &str) -> u64 {
    let digest = Sha256::digest(key.as_bytes());
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// Whether cells of a layer also depend on the seconds before.
pub(super) fn looks_back(layer: &LayerRow) -> bool {
    layer.layer != FRAMES
        && antiphon_features::cells::layer(&layer.algorithm, &layer.layer)
            .is_some_and(|layout| layout.lookback_seconds() > 0)
}

fn applied_of(row: &Row, first: usize, piece: u32, group: String) -> Result<Applied, DbError> {
    let layers: Vec<u8> = row.get(first + 5)?;
    Ok(Applied {
        piece,
        group,
        plan_version: row.get(first)?,
        parts: row.get(first + 1)?,
        span: Span { start: row.get(first + 2)?, finish: row.get(first + 3)? },
        fault: row.get(first + 4)?,
        layers: layers.chunks_exact(2).map(|pair| i64::from(u16::from_le_bytes([pair[0], pair[1]]))).collect(),
    })
}
