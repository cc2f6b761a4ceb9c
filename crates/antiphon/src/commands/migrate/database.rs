//! Rows of all tables, from one database into another.
//!
//! Tables are found in the source itself: every capability makes tables of the same names and columns on both engines.
//! Rows go in the order of their primary key, in batches, keys as they are; a run that was cut off goes on behind the
//! last key that the target has. What counts is the comparison at the end: the number of rows, and the sum of a hash of
//! each, which no order changes.

use std::collections::BTreeSet;

use antiphon_platform::db::{Bulk, Database, OnConflict, ReadTransaction, Row, Statement, Value};
use antiphon_platform::sql;
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use super::progress::Progress;

const TABLES: Statement = sql!("sql/tables.sqlite.sql");
const COLUMNS: Statement = sql!("sql/columns.sqlite.sql");
const IDENTITIES: Statement = sql!("sql/identities.postgres.sql");
const MAKE_PARTITION: Statement = sql!("sql/make_partition.postgres.sql");

/// What each database keeps about itself.
const ITS_OWN: &str = "schema_migrations";

/// The table that PostgreSQL keeps in partitions, and its column that says which.
const PARTITIONED: (&str, &str) = ("blocks", "minute");

/// Minutes of a day: partitions begin with one.
const DAY: i64 = 1_440;

/// Rows that are read at once: the first time, at most, and how many bytes they shall have.
const FIRST_PAGE: usize = 16;
const LARGEST_PAGE: usize = 1_024;
const PAGE: usize = 1 << 20;

/// Bytes after which what was read is written.
const BATCH: usize = 4 << 20;

/// A table as both databases have it.
pub struct Table {
    /// Its name.
    pub name: &'static str,
    columns: &'static [&'static str],
    keys: Vec<usize>,
    count: Statement,
    first: Statement,
    next: Statement,
    last: Statement,
}

/// What was found in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Number of rows.
    pub rows: u64,
    /// Sum modulo 2^128 of the first 16 bytes of SHA-256 of each row.
    pub sum: u128,
}

/// The tables of a SQLite database, in the order of their names.
///
/// # Errors
/// Those of the database.
pub async fn tables(source: &mut ReadTransaction) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for row in source.rows(&TABLES, &[]).await? {
        let name: String = row.get(0)?;
        if name == ITS_OWN {
            continue;
        }
        let mut columns: Vec<&'static str> = Vec::new();
        let mut keys = Vec::new();
        for (position, row) in (0..).zip(source.rows(&COLUMNS, &[name.as_str().into()]).await?) {
            columns.push(kept(row.get(0)?));
            match row.get::<i64>(1)? {
                0 => {}
                order => keys.push((order, position)),
            }
        }
        keys.sort_unstable();
        ensure!(!keys.is_empty(), "the table {name} has no primary key");
        tables.push(Table::new(kept(name), columns, keys.into_iter().map(|(_, position)| position).collect()));
    }
    Ok(tables)
}

/// The database port takes names and texts that live as long as the program; there are a few dozen, made once.
fn kept(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

impl Table {
    fn new(name: &'static str, columns: Vec<&'static str>, keys: Vec<usize>) -> Self {
        let list = columns.join(", ");
        let key: Vec<&str> = keys.iter().map(|position| columns[*position]).collect();
        let (key, order) = (key.join(", "), key.join(" desc, "));
        let marks = (1..=keys.len()).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ");
        let limit = keys.len() + 1;
        let statement = |text: String| Statement { name, text: kept(text) };
        Self {
            name,
            count: statement(format!("select count(*) from {name}")),
            first: statement(format!("select {list} from {name} order by {key} limit $1")),
            next: statement(format!(
                "select {list} from {name} where ({key}) > ({marks}) order by {key} limit ${limit}"
            )),
            last: statement(format!("select {list} from {name} order by {order} desc limit 1")),
            columns: Box::leak(columns.into_boxed_slice()),
            keys,
        }
    }

    fn key_of(&self, row: &Row) -> Vec<Value> {
        self.keys.iter().map(|position| row.0[*position].clone()).collect()
    }

    /// Number of rows.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn count(&self, read: &mut ReadTransaction) -> Result<u64> {
        let row = read.row(&self.count, &[]).await?.context("a count has no row")?;
        Ok(u64::try_from(row.get::<i64>(0)?)?)
    }

    /// Reads every row.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn content(&self, read: &mut ReadTransaction, progress: &Progress) -> Result<Content> {
        let mut content = Content::default();
        let mut pages = Pages { table: self, after: None, limit: FIRST_PAGE };
        loop {
            let rows = pages.next(read).await?;
            if rows.is_empty() {
                return Ok(content);
            }
            for row in &rows {
                content.add(row);
            }
            progress.add(rows.len() as u64);
        }
    }

    /// Copies rows that the target does not have; from behind the last one that it has if `goes_on`.
    ///
    /// # Errors
    /// Those of the databases.
    pub async fn copy(&self, source: &Database, target: &Target, goes_on: Start, progress: &Progress) -> Result<()> {
        let mut read = source.read().await?;
        let after = match goes_on {
            Start::First => None,
            Start::Behind => target.database.read().await?.row(&self.last, &[]).await?.map(|row| self.key_of(&row)),
        };
        let mut pages = Pages { table: self, after, limit: FIRST_PAGE };
        let (mut batch, mut size) = (Vec::new(), 0);
        loop {
            let rows = pages.next(&mut read).await?;
            let is_last = rows.is_empty();
            size += rows.iter().map(size_of).sum::<usize>();
            batch.extend(rows.into_iter().map(|row| row.0));
            if is_last || size >= BATCH {
                let count = batch.len() as u64;
                target.insert(self, std::mem::take(&mut batch)).await?;
                progress.add(count);
                size = 0;
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

/// The rows of a table, in the order of their keys, as many at a time as have about [`PAGE`] bytes.
struct Pages<'a> {
    table: &'a Table,
    after: Option<Vec<Value>>,
    limit: usize,
}

impl Pages<'_> {
    /// The next rows; none at the end.
    async fn next(&mut self, read: &mut ReadTransaction) -> Result<Vec<Row>> {
        let limit = Value::Int(self.limit as i64);
        let rows = match &self.after {
            None => read.rows(&self.table.first, &[limit]).await,
            Some(key) => read.rows(&self.table.next, &[&key[..], &[limit]].concat()).await,
        };
        let rows = rows.with_context(|| format!("cannot read {}", self.table.name))?;
        self.after = rows.last().map(|last| self.table.key_of(last));
        let size: usize = rows.iter().map(size_of).sum();
        self.limit = if size < PAGE { (self.limit * 2).min(LARGEST_PAGE) } else { (self.limit / 2).max(1) };
        Ok(rows)
    }
}

/// Where a copy begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first row.
    First,
    /// Behind the last row that the target has.
    Behind,
}

/// Where rows go.
pub struct Target {
    /// The database.
    pub database: Database,
    /// Whether it is a server, which counts its identities and keeps partitions.
    pub is_server: bool,
}

impl Target {
    async fn insert(&self, table: &Table, rows: Vec<Vec<Value>>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut tx = self.database.write().await?;
        if self.is_server && table.name == PARTITIONED.0 {
            let column = table.columns.iter().position(|column| *column == PARTITIONED.1);
            let column = column.with_context(|| format!("{} has no column {}", PARTITIONED.0, PARTITIONED.1))?;
            let mut days = BTreeSet::new();
            for row in &rows {
                let Value::Int(minute) = row[column] else { bail!("{} holds a minute that is no number", table.name) };
                days.insert(minute.div_euclid(DAY));
            }
            for day in days {
                tx.rows(&MAKE_PARTITION, &[(day * DAY).into()]).await?;
            }
        }
        let bulk = Bulk { table: table.name, columns: table.columns, on_conflict: OnConflict::Ignore };
        tx.bulk_insert(&bulk, rows).await.with_context(|| format!("cannot write {}", table.name))?;
        tx.commit().await?;
        Ok(())
    }

    /// Lets the next row that the server numbers itself come after all that were copied.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn count_on(&self) -> Result<()> {
        if !self.is_server {
            return Ok(());
        }
        let mut tx = self.database.write().await?;
        for row in tx.rows(&IDENTITIES, &[]).await? {
            let (table, column): (String, String) = (row.get(0)?, row.get(1)?);
            let text = format!(
                "select setval(pg_get_serial_sequence('{table}', '{column}'), \
                 (select coalesce(max({column}), 0) + 1 from {table}), false)"
            );
            tx.rows(&Statement { name: "identity", text: kept(text) }, &[]).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

impl Content {
    fn add(&mut self, row: &Row) {
        let mut hash = Sha256::new();
        for value in &row.0 {
            let (kind, bytes): (u8, &[u8]) = match value {
                Value::Null => (0, &[]),
                Value::Int(number) => (1, &number.to_be_bytes()),
                Value::Real(number) => (2, &number.to_bits().to_be_bytes()),
                Value::Text(text) => (3, text.as_bytes()),
                Value::Bytes(bytes) => (4, bytes),
            };
            hash.update([kind]);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let (first, _) = digest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        self.rows += 1;
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(*first));
    }
}

fn size_of(row: &Row) -> usize {
    let size = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Null | Value::Int(_) | Value::Real(_) => 8,
    };
    row.0.iter().map(size).sum()
}
