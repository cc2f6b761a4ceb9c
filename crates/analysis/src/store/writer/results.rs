//! The rows that prove what was applied, and their share in a source's revision.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use antiphon_features::cells::FRAMES;
use antiphon_platform::db::{DbError, ReadTransaction, Row, Statement, WriteTransaction};
use antiphon_platform::sql;
use sha2::{Digest, Sha256};

use super::batch::id_text;
use crate::ids::result_message;
use crate::store::lists::{hex, list};
use crate::store::sources::{LayerRow, SourceKind};
use crate::store::spans::Span;

const OF_RECORDINGS: Statement = sql!("../sql/results_of_recordings.sql");
const PUT: Statement = sql!("../sql/results_upsert.sql");
const DELETE: Statement = sql!("../sql/result_delete.sql");

pub(crate) const STATEMENTS: &[Statement] = &[OF_RECORDINGS, PUT, DELETE];

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

/// The results of some recordings, as far as one transaction knows them.
#[derive(Default)]
pub(super) struct Results {
    by_recording: HashMap<i64, BTreeMap<(u32, String), Applied>>,
    /// Those whose rows are to be written: recording, piece, group.
    changed: BTreeSet<(i64, u32, String)>,
}

impl Results {
    /// Every result of the recordings of these numbers.
    pub(super) async fn load(tx: &mut ReadTransaction, recordings: impl Iterator<Item = i64>) -> Result<Self, DbError> {
        let numbers: Vec<(i64,)> = recordings.map(|number| (number,)).collect();
        let mut found = Self::default();
        for row in tx.rows(&OF_RECORDINGS, &[list(&numbers)]).await? {
            let applied = applied_of(&row)?;
            let key = (applied.piece, applied.group.clone());
            found.by_recording.entry(row.get(0)?).or_default().insert(key, applied);
        }
        Ok(found)
    }

    /// The result of a group for a piece, if one is applied.
    pub(super) fn find(&self, recording: i64, piece: u32, group: &str) -> Option<&Applied> {
        self.by_recording.get(&recording)?.get(&(piece, group.to_owned()))
    }

    /// Every result of a recording, by piece and group.
    pub(super) fn all(&self, recording: i64) -> Vec<Applied> {
        self.by_recording.get(&recording).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Puts a result in place of an earlier one.
    pub(super) fn put(&mut self, recording: i64, applied: Applied) {
        let key = (applied.piece, applied.group.clone());
        self.changed.insert((recording, key.0, key.1.clone()));
        self.by_recording.entry(recording).or_default().insert(key, applied);
    }

    /// Removes a result and its row.
    pub(super) async fn delete(
        &mut self,
        tx: &mut WriteTransaction,
        recording: i64,
        applied: &Applied,
    ) -> Result<(), DbError> {
        let key = (applied.piece, applied.group.clone());
        if let Some(known) = self.by_recording.get_mut(&recording) {
            known.remove(&key);
        }
        self.changed.remove(&(recording, key.0, key.1));
        let values = [recording.into(), applied.piece.into(), applied.group.as_str().into()];
        tx.execute(&DELETE, &values).await.map(drop)
    }

    /// Writes the rows of what was put.
    pub(super) async fn write(&self, tx: &mut WriteTransaction) -> Result<(), DbError> {
        let row = |(recording, piece, group): &(i64, u32, String)| {
            let found = self.find(*recording, *piece, group)?;
            let layers: Vec<u8> =
                found.layers.iter().flat_map(|layer| u16::try_from(*layer).unwrap_or(u16::MAX).to_le_bytes()).collect();
            let (plan, span, fault) = (found.plan_version, found.span, i64::from(found.fault));
            Some((*recording, *piece, group.clone(), plan, found.parts, span.start, span.finish, fault, hex(&layers)))
        };
        let rows: Vec<_> = self.changed.iter().filter_map(row).collect();
        if rows.is_empty() {
            return Ok(());
        }
        tx.execute(&PUT, &[list(&rows)]).await.map(drop)
    }
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

fn applied_of(row: &Row) -> Result<Applied, DbError> {
    let layers: Vec<u8> = row.get(8)?;
    Ok(Applied {
        piece: row.get(1)?,
        group: row.get(2)?,
        plan_version: row.get(3)?,
        parts: row.get(4)?,
        span: Span { start: row.get(5)?, finish: row.get(6)? },
        fault: row.get(7)?,
        layers: layers.chunks_exact(2).map(|pair| i64::from(u16::from_le_bytes([pair[0], pair[1]]))).collect(),
    })
}
