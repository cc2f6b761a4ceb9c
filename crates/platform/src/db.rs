//! The database port: SQL text in, rows out, two kinds of transaction.
//!
//! # Law
//! - A [`ReadTransaction`] MUST see one snapshot: what other transactions commit after its first
//!   statement is invisible to it.
//! - A [`WriteTransaction`] MUST be serialisable for what it read (SQLite: BEGIN IMMEDIATE).
//! - Dropping a transaction without [`WriteTransaction::commit`] MUST undo all of it.
//! - When `commit` returns `Ok`, the transaction MUST survive `kill -9` and a power cut.
//! - A read handle MUST refuse statements that write.
//! - The same SQL text, with `$1` placeholders, MUST mean the same on every engine.
//! - A database that cannot be used (locked for too long, disk full, read-only, gone) MUST be
//!   reported as [`DbError::Unavailable`] within the bounded wait, never by hanging.

use std::ops::{Deref, DerefMut};

/// One statement: SQL text kept in a `.sql` file beside the code that runs it.
#[derive(Clone, Copy, Debug)]
pub struct Statement {
    /// The file it comes from, for logs and errors.
    pub name: &'static str,
    /// The SQL text.
    pub text: &'static str,
}

/// Makes a [`Statement`] of a `.sql` file beside the calling source file.
#[macro_export]
macro_rules! sql {
    ($path:literal) => {
        $crate::db::Statement { name: $path, text: include_str!($path) }
    };
}

/// A value as both engines know it. Times are integers (µs), JSON is text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL null.
    Null,
    /// 64-bit integer.
    Int(i64),
    /// 64-bit float.
    Real(f64),
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

macro_rules! value_from {
    ($($type:ty => $make:expr),* $(,)?) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Self {
                #[allow(clippy::redundant_closure_call)]
                ($make)(value)
            }
        })*
    };
}
value_from! {
    i64 => Value::Int,
    i32 => |v| Value::Int(i64::from(v)),
    u32 => |v| Value::Int(i64::from(v)),
    bool => |v| Value::Int(i64::from(v)),
    f64 => Value::Real,
    String => Value::Text,
    &str => |v: &str| Value::Text(v.to_owned()),
    Vec<u8> => Value::Bytes,
    &[u8] => |v: &[u8]| Value::Bytes(v.to_vec()),
}
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// What can go wrong at the database.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Locked for too long, disk full, read-only, gone: try again later.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// A unique or foreign key said no; the constraint or the message as the engine gives it.
    #[error("the database refused a duplicate or dangling key: {0}")]
    Conflict(String),
    /// The file or schema is damaged, foreign, or made by a newer version.
    #[error("the database cannot be used: {0}")]
    Broken(String),
    /// A mistake of ours: wrong SQL, wrong column type, a write through a read handle.
    #[error("{statement}: {message}")]
    Statement {
        /// The statement's file name.
        statement: String,
        /// What the engine said.
        message: String,
    },
}

/// One row of an answer: values by position.
#[derive(Clone, Debug, PartialEq)]
pub struct Row(pub Vec<Value>);

/// A type that a column can be read as; null only as `Option`.
pub trait FromValue: Sized {
    /// Reads it, or `None` when the value has another type.
    fn from_value(value: &Value) -> Option<Self>;
}

impl Row {
    /// Column `index` as `T`.
    ///
    /// # Errors
    /// [`DbError::Statement`] when there is no such column or it has another type.
    pub fn get<T: FromValue>(&self, index: usize) -> Result<T, DbError> {
        self.0.get(index).and_then(T::from_value).ok_or_else(|| DbError::Statement {
            statement: String::from("row"),
            message: format!("column {index} is {:?}, not a {}", self.0.get(index), std::any::type_name::<T>()),
        })
    }
}

macro_rules! from_value {
    ($($type:ty => $pattern:pat => $value:expr),* $(,)?) => {
        $(impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value { $pattern => $value, _ => None }
            }
        })*
    };
}
from_value! {
    i64 => Value::Int(v) => Some(*v),
    u32 => Value::Int(v) => u32::try_from(*v).ok(),
    bool => Value::Int(v) => Some(*v != 0),
    f64 => Value::Real(v) => Some(*v),
    String => Value::Text(v) => Some(v.clone()),
    Vec<u8> => Value::Bytes(v) => Some(v.clone()),
}
impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        if *value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

/// One schema step of one capability: forward only, never edited once released.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The capability that owns the tables, such as `analysis`.
    pub owner: &'static str,
    /// 1, 2, 3, ... per owner.
    pub version: u32,
    /// The SQL text for SQLite (several statements, `;` between them).
    pub sqlite: &'static str,
}

/// Rows for [`WriteTransaction::bulk_insert`].
#[derive(Clone, Copy, Debug)]
pub struct Bulk {
    /// The table's name.
    pub table: &'static str,
    /// Its columns, in the order of each row's values.
    pub columns: &'static [&'static str],
    /// What to do with a row whose key exists.
    pub on_conflict: OnConflict,
}

/// What a bulk insert does with a row whose key exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// The whole insert fails with [`DbError::Conflict`].
    Fail,
    /// The row that is there stays.
    Ignore,
    /// The row that is there is replaced; the table's key columns are named.
    Replace(&'static [&'static str]),
}

/// A handle that can only read. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    // engine connections; filled in by the engine
}

/// A handle that can read and write. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    reader: Reader,
}

/// One snapshot.
pub struct ReadTransaction {}

/// One serialisable transaction; undone when dropped without [`commit`](WriteTransaction::commit).
pub struct WriteTransaction {
    read: ReadTransaction,
}

#[expect(clippy::unimplemented, clippy::unused_async, unused_variables, clippy::missing_errors_doc, reason = "signatures first")]
impl Reader {
    /// Opens `url` (`sqlite:PATH`) for reading only; the schema must be there.
    pub async fn open(url: &str) -> Result<Self, DbError> { unimplemented!() }
    /// Begins a snapshot.
    pub async fn read(&self) -> Result<ReadTransaction, DbError> { unimplemented!() }
    /// A signal that fires after commits of any process that may have changed something; coalesced, may
    /// fire spuriously, never later than 250 ms after the commit.
    pub async fn changed(&self) { unimplemented!() }
}

#[expect(clippy::unimplemented, clippy::unused_async, unused_variables, clippy::missing_errors_doc, reason = "signatures first")]
impl Database {
    /// Opens `url`, creating the file if needed, and brings the schema up to `migrations` under a lock.
    pub async fn open(url: &str, migrations: &[Migration]) -> Result<Self, DbError> { unimplemented!() }
    /// Begins a write transaction, waiting for other writers within the bound.
    pub async fn write(&self) -> Result<WriteTransaction, DbError> { unimplemented!() }
    /// Begins a snapshot.
    pub async fn read(&self) -> Result<ReadTransaction, DbError> { self.reader.read().await }
    /// The reading half.
    #[must_use]
    pub fn reader(&self) -> Reader { self.reader.clone() }
}

#[expect(clippy::unimplemented, clippy::unused_async, unused_variables, clippy::missing_errors_doc, reason = "signatures first")]
impl ReadTransaction {
    /// All rows of an answer.
    pub async fn rows(&mut self, statement: &Statement, values: &[Value]) -> Result<Vec<Row>, DbError> { unimplemented!() }
    /// The first row, if there is one.
    pub async fn row(&mut self, statement: &Statement, values: &[Value]) -> Result<Option<Row>, DbError> { unimplemented!() }
}

#[expect(clippy::unimplemented, clippy::unused_async, unused_variables, clippy::missing_errors_doc, reason = "signatures first")]
impl WriteTransaction {
    /// Runs a statement that changes rows; how many it changed.
    pub async fn execute(&mut self, statement: &Statement, values: &[Value]) -> Result<u64, DbError> { unimplemented!() }
    /// Inserts many rows; how many are new.
    pub async fn bulk_insert(&mut self, bulk: &Bulk, rows: Vec<Vec<Value>>) -> Result<u64, DbError> { unimplemented!() }
    /// Makes it all durable and visible.
    pub async fn commit(self) -> Result<(), DbError> { unimplemented!() }
}

impl Deref for WriteTransaction {
    type Target = ReadTransaction;
    fn deref(&self) -> &ReadTransaction {
        &self.read
    }
}
impl DerefMut for WriteTransaction {
    fn deref_mut(&mut self) -> &mut ReadTransaction {
        &mut self.read
    }
}
