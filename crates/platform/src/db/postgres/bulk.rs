//! Many rows at once: few as arrays in one statement, many by binary COPY through a staging table.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::postgres::{PgArguments, PgConnection, PgTypeInfo};
use sqlx::{Arguments, AssertSqlSafe, SqlSafeStr, SqlStr};
use tokio::time::timeout;

use super::super::engine::statement_error;
use super::super::{Bulk, DbError, OnConflict, Value};
use super::keys::{TableChange, Way};
use super::{ANSWER, Open, lock, values};

/// From how many rows on they go by COPY: fewer are some hundred kilobytes, which one statement takes in one round trip.
const COPY_FROM: usize = 500;

/// Bytes of COPY that are sent at once.
const PIECE: usize = 256 * 1024;

/// How rows get into a table.
pub(super) struct Target {
    /// The types of the columns.
    types: Vec<PgTypeInfo>,
    is_refusable: bool,
    /// INSERT of one array a column.
    insert: SqlStr,
    copy: SqlStr,
    /// What COPY needs when it cannot write to the table itself.
    staging: Option<Staging>,
}

struct Staging {
    make: SqlStr,
    empty: SqlStr,
    insert: SqlStr,
}

impl Open {
    pub(in super::super) async fn bulk_insert(&mut self, bulk: &Bulk, rows: Vec<Vec<Value>>) -> Result<u64, DbError> {
        if rows.is_empty() {
            return Ok(0);
        }
        let target = self.target(bulk).await?;
        let rows = match bulk.on_conflict {
            OnConflict::Replace(keys) => newest(bulk, keys, rows),
            OnConflict::Fail | OnConflict::Ignore => rows,
        };
        if rows.len() < COPY_FROM {
            return self.insert_arrays(bulk, &target, &rows).await;
        }
        // Before the savepoint, so that the table is there whatever becomes of these rows.
        self.stage(bulk, &target).await?;
        if target.is_refusable {
            self.save().await?;
        }
        let outcome = self.copy_through(bulk, &target, &rows).await;
        self.restore(target.is_refusable, outcome).await
    }

    async fn insert_arrays(&mut self, bulk: &Bulk, target: &Target, rows: &[Vec<Value>]) -> Result<u64, DbError> {
        let mut arguments = PgArguments::default();
        for (column, kind) in target.types.iter().enumerate() {
            let array = values::BoundArray::of_column(rows, column, kind);
            let array = array.map_err(|message| refused(bulk, column, &message))?;
            arguments.add(array).map_err(|error| refused(bulk, column, &error.to_string()))?;
        }
        let (_, changed) = self.run_with(bulk.table, target.insert.clone(), arguments, target.is_refusable).await?;
        Ok(changed)
    }

    /// Makes or empties the staging table, if there is to be one.
    async fn stage(&mut self, bulk: &Bulk, target: &Target) -> Result<(), DbError> {
        let Some(staging) = &target.staging else { return Ok(()) };
        let is_made = self.lent.session.as_ref().is_some_and(|session| session.staged.contains(bulk.table));
        if !self.staged.insert(bulk.table) {
            self.simple(bulk.table, staging.empty.clone(), ANSWER).await?;
        } else if !is_made {
            self.simple(bulk.table, staging.make.clone(), ANSWER).await?;
        }
        Ok(())
    }

    async fn copy_through(&mut self, bulk: &Bulk, target: &Target, rows: &[Vec<Value>]) -> Result<u64, DbError> {
        let mut pieces = Vec::new();
        encode(bulk, target, rows, &mut pieces)?;
        let mut session = self.take()?;
        let outcome = copy(&mut session.connection, &target.copy, pieces).await;
        let copied = self.settle(session, bulk.table, outcome)?;
        match &target.staging {
            None => Ok(copied),
            Some(staging) => {
                let arguments = PgArguments::default();
                self.run_with(bulk.table, staging.insert.clone(), arguments, false).await.map(|(_, changed)| changed)
            }
        }
    }

    /// How rows get into the table of `bulk`; the server is asked the first time.
    async fn target(&mut self, bulk: &Bulk) -> Result<Arc<Target>, DbError> {
        // A table may be written to in several ways, each with a list of columns of its own.
        let key = (bulk.table, bulk.columns, bulk.on_conflict);
        if let Some(target) = lock(&self.lent.pool.bulks).get(&key) {
            return Ok(Arc::clone(target));
        }
        let columns = bulk.columns.join(",");
        let numbers = (1..=bulk.columns.len()).map(|number| format!("${number}")).collect::<Vec<_>>().join(",");
        let table = bulk.table;
        // Shared, so that lending it to the driver copies nothing.
        let sql = |text: String| AssertSqlSafe(Arc::<str>::from(text)).into_sql_str();
        let types = self.types(table, sql(format!("INSERT INTO {table} ({columns}) VALUES ({numbers})"))).await?;
        let way = match bulk.on_conflict {
            OnConflict::Fail => Way::Insert,
            OnConflict::Ignore => Way::InsertOrLeave,
            OnConflict::Replace(_) => Way::InsertOrUpdate,
        };
        let is_refusable = self.keys(table).await?.is_none_or(|keys| keys.may_refuse(&TableChange { table, way }));
        let conflict = super::super::conflict_clause(bulk);
        let staged = format!("pg_temp.staging_{table}");
        let staging = (bulk.on_conflict != OnConflict::Fail).then(|| Staging {
            make: sql(format!(
                "CREATE TEMP TABLE staging_{table} ON COMMIT DELETE ROWS AS SELECT * FROM {table} WITH NO DATA"
            )),
            empty: sql(format!("TRUNCATE {staged}")),
            insert: sql(format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM {staged}{conflict}")),
        });
        let into = if staging.is_some() { staged.as_str() } else { table };
        let target = Arc::new(Target {
            is_refusable,
            insert: sql(format!("INSERT INTO {table} ({columns}) SELECT * FROM unnest({numbers}){conflict}")),
            copy: sql(format!("COPY {into} ({columns}) FROM STDIN (FORMAT binary)")),
            staging,
            types,
        });
        lock(&self.lent.pool.bulks).insert(key, Arc::clone(&target));
        Ok(target)
    }
}

/// Of rows with one key only the last, as if they had come one after the other; one statement cannot do that.
fn newest(bulk: &Bulk, keys: &[&str], rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    let places: Vec<usize> =
        keys.iter().filter_map(|key| bulk.columns.iter().position(|column| column == key)).collect();
    let key_of = |row: &[Value]| places.iter().filter_map(|place| row.get(*place)).map(key_bytes).collect::<Vec<_>>();
    let mut seen = HashSet::with_capacity(rows.len());
    let is_last: Vec<bool> = rows.iter().rev().map(|row| seen.insert(key_of(row))).collect();
    if is_last.iter().all(|is_last| *is_last) {
        return rows;
    }
    rows.into_iter().zip(is_last.into_iter().rev()).filter_map(|(row, is_last)| is_last.then_some(row)).collect()
}

/// What tells values of one column apart.
fn key_bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => Vec::new(),
        Value::Int(value) => value.to_be_bytes().to_vec(),
        Value::Real(value) => value.to_be_bytes().to_vec(),
        Value::Text(value) => value.as_bytes().to_vec(),
        Value::Bytes(value) => value.clone(),
    }
}

/// The rows in the binary form of COPY (<https://www.postgresql.org/docs/current/sql-copy.html>), in pieces.
fn encode(bulk: &Bulk, target: &Target, rows: &[Vec<Value>], pieces: &mut Vec<Vec<u8>>) -> Result<(), DbError> {
    let columns = i16::try_from(bulk.columns.len()).map_err(|error| refused(bulk, 0, &error.to_string()))?;
    let mut piece = Vec::with_capacity(PIECE);
    piece.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    for row in rows {
        piece.extend_from_slice(&columns.to_be_bytes());
        for (column, (value, kind)) in row.iter().zip(&target.types).enumerate() {
            values::field(value, kind, &mut piece).map_err(|message| refused(bulk, column, &message))?;
        }
        if piece.len() >= PIECE {
            pieces.push(std::mem::replace(&mut piece, Vec::with_capacity(PIECE)));
        }
    }
    piece.extend_from_slice(&(-1_i16).to_be_bytes());
    pieces.push(piece);
    Ok(())
}

/// Sends pieces, each within the time of a statement.
async fn copy(
    connection: &mut PgConnection,
    text: &SqlStr,
    pieces: Vec<Vec<u8>>,
) -> Result<sqlx::Result<u64>, tokio::time::error::Elapsed> {
    let mut copy = match timeout(ANSWER, connection.copy_in_raw(text.as_str())).await? {
        Ok(copy) => copy,
        Err(error) => return Ok(Err(error)),
    };
    for piece in pieces {
        if let Err(error) = timeout(ANSWER, copy.send(piece)).await? {
            return Ok(Err(error));
        }
    }
    timeout(ANSWER, copy.finish()).await
}

fn refused(bulk: &Bulk, column: usize, message: &str) -> DbError {
    let column = bulk.columns.get(column).copied().unwrap_or_default();
    statement_error(bulk.table, format!("column {column}: {message}"))
}
