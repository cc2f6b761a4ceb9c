//! Sources (sensors and songs) and the small numbers of layers.

use std::fmt;

use antiphon_platform::clock::Micros;
use antiphon_platform::db::{DbError, ReadTransaction, Row, Statement, Value, WriteTransaction};
use antiphon_platform::sql;

use super::lists::list;
use crate::descriptors::{Foreign, Known};

const BY_NAME: Statement = sql!("sql/source_by_name.sql");
const NAMED: Statement = sql!("sql/sources_named.sql");
const BY_ID: Statement = sql!("sql/source_by_id.sql");
const OF_KIND: Statement = sql!("sql/sources_of_kind.sql");
const INSERT: Statement = sql!("sql/sources_insert.sql");
const UPDATE: Statement = sql!("sql/sources_update.sql");
const LAYERS: Statement = sql!("sql/layers.sql");
const LAYER_INSERT: Statement = sql!("sql/layer_insert.sql");
const SOURCE_LAYERS: Statement = sql!("sql/source_layers.sql");
const SOURCE_LAYERS_INSERT: Statement = sql!("sql/source_layers_insert.sql");

pub(super) const STATEMENTS: &[Statement] =
    &[BY_NAME, NAMED, BY_ID, OF_KIND, INSERT, UPDATE, LAYERS, LAYER_INSERT, SOURCE_LAYERS, SOURCE_LAYERS_INSERT];

/// What recordings belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceKind {
    /// Absolute time.
    Sensor = 1,
    /// Time from the song's start.
    Song = 2,
}

/// A sensor or song as the store knows it: it has had at least one recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its number inside this database.
    pub id: i64,
    /// Sensor or song.
    pub kind: SourceKind,
    /// The sensor's id; the song's id in its text form.
    pub name: String,
    /// Hash of the set of what is stored; changes whenever an answer may.
    pub revision: Revision,
    /// Number of its newest live event; 0 before the first.
    pub sequence: i64,
    /// Its longest recording in µs.
    pub longest: Micros,
    /// When its newest audio was accepted.
    pub last_arrival: Option<Micros>,
    /// From the end of that audio to its arrival, in µs; negative when the sensor's clock is ahead.
    pub last_lag: Option<Micros>,
}

/// Hash of the set of what is stored of a source: the sum modulo 2^64 of the first 8 bytes (big-endian) of SHA-256
/// of each stored result's key and each frozen day. Its text form is 16 hex digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl SourceKind {
    pub(super) fn from_number(number: i64) -> Result<Self, DbError> {
        match number {
            1 => Ok(Self::Sensor),
            2 => Ok(Self::Song),
            other => Err(DbError::Broken(format!("there is no kind of source {other}"))),
        }
    }
}

/// What a layer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerKind {
    /// Partials and cells, frames, or previews.
    Series = 1,
    /// Annotations of one type.
    Annotations = 2,
    /// One summary value.
    Summary = 3,
}

/// A layer of one version of an algorithm, with its number inside this database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRow {
    /// Its number.
    pub id: i64,
    /// What it holds.
    pub kind: LayerKind,
    /// The algorithm's name.
    pub algorithm: String,
    /// The algorithm's version.
    pub version: u32,
    /// The layer's name; of annotations their type, of a summary its output.
    pub layer: String,
    /// What is known of it, if the algorithm belongs to a foreign group.
    pub foreign: Option<&'static Foreign>,
}

/// The source of that name, if anything ever arrived for it.
///
/// # Errors
/// Those of the database.
pub async fn source(tx: &mut ReadTransaction, kind: SourceKind, name: &str) -> Result<Option<Source>, DbError> {
    tx.row(&BY_NAME, &[Value::Int(kind as i64), name.into()]).await?.as_ref().map(source_of).transpose()
}

pub(super) async fn source_by_id(tx: &mut ReadTransaction, id: i64) -> Result<Option<Source>, DbError> {
    tx.row(&BY_ID, &[id.into()]).await?.as_ref().map(source_of).transpose()
}

/// Every source of a kind.
pub(super) async fn sources_of_kind(tx: &mut ReadTransaction, kind: SourceKind) -> Result<Vec<Source>, DbError> {
    tx.rows(&OF_KIND, &[Value::Int(kind as i64)]).await?.iter().map(source_of).collect()
}

/// Every layer that a source has ever had, with the versions: what a query can be answered from.
///
/// # Errors
/// Those of the database.
pub async fn layers_of(tx: &mut ReadTransaction, source: i64) -> Result<Vec<LayerRow>, DbError> {
    let rows = tx.rows(&SOURCE_LAYERS, &[source.into()]).await?.iter().map(layer_of).collect::<Result<_, _>>()?;
    with_foreign(tx, rows).await
}

/// The sources of those names, in the order of their numbers; made where they are missing. Names must differ.
pub(super) async fn make_sources(
    tx: &mut WriteTransaction,
    kind: SourceKind,
    names: &[&str],
) -> Result<Vec<Source>, DbError> {
    let names: Vec<(&str,)> = names.iter().map(|name| (*name,)).collect();
    let values = [Value::Int(kind as i64), list(&names)];
    let mut found = tx.rows(&NAMED, &values).await?;
    if found.len() < names.len() {
        tx.execute(&INSERT, &values).await?;
        found = tx.rows(&NAMED, &values).await?;
    }
    found.iter().map(source_of).collect()
}

/// Writes back what a transaction changed of sources.
pub(super) async fn update_sources(tx: &mut WriteTransaction, sources: &[&Source]) -> Result<(), DbError> {
    let row = |source: &&Source| {
        let revision = source.revision.0.cast_signed();
        (source.id, revision, source.sequence, source.longest, source.last_arrival, source.last_lag)
    };
    let rows: Vec<_> = sources.iter().map(row).collect();
    tx.execute(&UPDATE, &[list(&rows)]).await.map(drop)
}

/// The small numbers of layers, as far as one transaction knows them.
#[derive(Default)]
pub(super) struct Layers(Vec<LayerRow>);

impl Layers {
    pub(super) async fn load(tx: &mut ReadTransaction) -> Result<Self, DbError> {
        let rows = tx.rows(&LAYERS, &[]).await?.iter().map(layer_of).collect::<Result<_, _>>()?;
        with_foreign(tx, rows).await.map(Self)
    }

    pub(super) fn by_id(&self, id: i64) -> Option<&LayerRow> {
        self.0.iter().find(|row| row.id == id)
    }

    pub(super) fn of_kind(&self, kind: LayerKind) -> impl Iterator<Item = &LayerRow> {
        self.0.iter().filter(move |row| row.kind == kind)
    }

    /// The number of a layer, made if it is new.
    pub(super) async fn number(
        &mut self,
        tx: &mut WriteTransaction,
        kind: LayerKind,
        algorithm: &str,
        version: u32,
        layer: &str,
    ) -> Result<i64, DbError> {
        if let Some(id) = self.find(kind, algorithm, version, layer) {
            return Ok(id);
        }
        let values = [Value::Int(kind as i64), algorithm.into(), version.into(), layer.into()];
        tx.execute(&LAYER_INSERT, &values).await?;
        *self = Self::load(tx).await?;
        self.find(kind, algorithm, version, layer)
            .ok_or_else(|| DbError::Broken(format!("layer {layer} of {algorithm} was not kept")))
    }

    fn find(&self, kind: LayerKind, algorithm: &str, version: u32, layer: &str) -> Option<i64> {
        let wanted = |row: &&LayerRow| {
            row.kind == kind && row.version == version && row.algorithm == algorithm && row.layer == layer
        };
        self.0.iter().find(wanted).map(|row| row.id)
    }
}

/// Remembers that sources have had layers: (source, layer).
pub(super) async fn add_layers(tx: &mut WriteTransaction, layers: &[(i64, i64)]) -> Result<(), DbError> {
    tx.execute(&SOURCE_LAYERS_INSERT, &[list(layers)]).await.map(drop)
}

/// Looks up, in the same snapshot, what is known of layers of foreign groups.
async fn with_foreign(tx: &mut ReadTransaction, mut rows: Vec<LayerRow>) -> Result<Vec<LayerRow>, DbError> {
    let known = Known::for_names(tx, rows.iter().map(|row| row.algorithm.as_str())).await?;
    for row in &mut rows {
        row.foreign = known.foreign(&row.algorithm, row.version);
    }
    Ok(rows)
}

fn source_of(row: &Row) -> Result<Source, DbError> {
    Ok(Source {
        id: row.get(0)?,
        kind: SourceKind::from_number(row.get(1)?)?,
        name: row.get(2)?,
        revision: Revision(row.get::<i64>(3)?.cast_unsigned()),
        sequence: row.get(4)?,
        longest: row.get(5)?,
        last_arrival: row.get(6)?,
        last_lag: row.get(7)?,
    })
}

fn layer_of(row: &Row) -> Result<LayerRow, DbError> {
    let kind = match row.get::<i64>(1)? {
        1 => LayerKind::Series,
        2 => LayerKind::Annotations,
        3 => LayerKind::Summary,
        other => return Err(DbError::Broken(format!("there is no kind of layer {other}"))),
    };
    let (id, algorithm, version, layer) = (row.get(0)?, row.get(2)?, row.get(3)?, row.get(4)?);
    Ok(LayerRow { id, kind, algorithm, version, layer, foreign: None })
}
