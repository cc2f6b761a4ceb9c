//! Sources (sensors and songs) and the small numbers of layers.

use std::fmt;

use antiphon_platform::clock::Micros;
use antiphon_platform::db::{DbError, ReadTransaction, Row, Statement, Value, WriteTransaction};
use antiphon_platform::sql;

const BY_NAME: Statement = sql!("sql/source_by_name.sql");
const BY_ID: Statement = sql!("sql/source_by_id.sql");
const OF_KIND: Statement = sql!("sql/sources_of_kind.sql");
const INSERT: Statement = sql!("sql/source_insert.sql");
const UPDATE: Statement = sql!("sql/source_update.sql");
const LAYERS: Statement = sql!("sql/layers.sql");
const LAYER_INSERT: Statement = sql!("sql/layer_insert.sql");
const SOURCE_LAYERS: Statement = sql!("sql/source_layers.sql");
const SOURCE_LAYER_INSERT: Statement = sql!("sql/source_layer_insert.sql");

pub(super) const STATEMENTS: &[Statement] =
    &[BY_NAME, BY_ID, OF_KIND, INSERT, UPDATE, LAYERS, LAYER_INSERT, SOURCE_LAYERS, SOURCE_LAYER_INSERT];

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
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    tx.rows(&SOURCE_LAYERS, &[source.into()]).await?.iter().map(layer_of).collect()
}

/// The source of that name, made if it is missing.
pub(super) async fn make_source(tx: &mut WriteTransaction, kind: SourceKind, name: &str) -> Result<Source, DbError> {
    if let Some(found) = source(tx, kind, name).await? {
        return Ok(found);
    }
    tx.execute(&INSERT, &[Value::Int(kind as i64), name.into()]).await?;
    source(tx, kind, name).await?.ok_or_else(|| DbError::Broken(format!("source {name} was not kept")))
}

/// Writes back what a transaction changed of a source.
pub(super) async fn update_source(tx: &mut WriteTransaction, source: &Source) -> Result<(), DbError> {
    let values = [
        source.id.into(),
        Value::Int(source.revision.0.cast_signed()),
        source.sequence.into(),
        source.longest.into(),
        source.last_arrival.into(),
        source.last_lag.into(),
    ];
    tx.execute(&UPDATE, &values).await.map(drop)
}

/// The small numbers of layers, as far as one transaction knows them.
#[derive(Default)]
pub(super) struct Layers(Vec<LayerRow>);

impl Layers {
    pub(super) async fn load(tx: &mut ReadTransaction) -> Result<Self, DbError> {
        tx.rows(&LAYERS, &[]).await?.iter().map(layer_of).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn by_id(&self, id: i64) -> Option<&LayerRow> {
        self.0.iter().find(|row| row.id == id)
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

/// Remembers that a source has had a layer.
pub(super) async fn add_layer(tx: &mut WriteTransaction, source: i64, layer: i64) -> Result<(), DbError> {
    tx.execute(&SOURCE_LAYER_INSERT, &[source.into(), layer.into()]).await.map(drop)
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
    Ok(LayerRow { id: row.get(0)?, kind, algorithm: row.get(2)?, version: row.get(3)?, layer: row.get(4)? })
}
