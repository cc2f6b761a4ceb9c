//! The database port: SQL text in, rows out, two kinds of transaction.
//!
//! # Law
//! - A [`ReadTransaction`] MUST see one snapshot: what other transactions commit after its first
//!   statement is invisible to it (case: `read_sees_one_snapshot`).
//! - A [`WriteTransaction`] MUST be serialisable for what it read (SQLite: BEGIN IMMEDIATE)
//!   (case: `concurrent_writers_are_serialisable`).
//! - A writer that works without pause MUST NOT keep those of other processes from writing
//!   (case: `busy_writer_does_not_starve_others`).
//! - Dropping a transaction without [`WriteTransaction::commit`] MUST undo all of it, wherever its task was
//!   cancelled (cases: `dropped_write_is_undone`, `cancelled_write_leaves_nothing_open`).
//! - When `commit` returns `Ok`, the transaction MUST survive `kill -9` and a power cut
//!   (cases: `committed_survives_a_kill`, `nothing_acknowledged_is_lost`).
//! - A statement that a key refuses MUST end in [`DbError::Conflict`], and the transaction MUST be able to go on
//!   without it (case: `conflict_is_told_apart_and_survivable`).
//! - A read handle MUST refuse statements that write (case: `read_handle_refuses_writes`).
//! - Rows of a bulk insert whose key exists MUST fail, stay or be replaced as [`OnConflict`] says
//!   (cases: `bulk_insert_fails_keeps_or_replaces`, `bulk_insert_of_thousands`).
//! - [`Reader::changed`] MUST return within 250 ms of a commit by any process (case: `changes_are_told`).
//! - Migrations MUST run once, in order, under the write lock, also when several processes open the database at
//!   the same time (case: `migrations_run_once`).
//! - A database of a newer version or of another program MUST be refused and left as it is
//!   (cases: `newer_schema_is_refused`, `foreign_files_are_refused_and_untouched`,
//!   `database_of_another_program_is_refused_and_untouched`, `schema_of_another_program_is_refused_and_untouched`).
//! - A [`Reader`] MUST refuse a database that is not there or whose schema is older, and make none
//!   (case: `reader_needs_the_schema`).
//! - The same SQL text, with `$1` placeholders, MUST mean the same on every engine: values come back as they were
//!   given, too few or too many and texts that hold NUL are refused, sums of integers are integers (cases:
//!   `values_come_back`, `wrong_number_of_values_is_refused`, `text_with_nul_is_refused`,
//!   `arithmetic_means_the_same`).
//! - A server that went away, came back or does not answer MUST cost no more than the transactions that were open: each
//!   ends in [`DbError::Unavailable`] in time, and the handle works again once the server does, without a restart (cases:
//!   `lost_connection_ends_its_transaction_only`, `silent_server_is_unavailable_in_time`,
//!   `vanished_server_is_found_again`, `killed_server_keeps_what_was_committed`).
//! - Credentials that were rotated MUST be taken up without an error, wrong ones MUST be told without being shown
//!   (cases: `rotated_credentials_are_taken_up`, `wrong_password_is_told_but_not_shown`).
//! - A connection MUST be encrypted, and the server's certificate checked, where its address says so
//!   (case: `encrypted_and_verified_as_the_address_says`).
//! - An account MUST need no right to make tables while the schema is current, and none to write for a [`Reader`]
//!   (case: `accounts_need_no_more_than_their_role`).
//! - A standby MUST be readable and say how stale it is (case: `standby_is_read_and_tells_its_age`).
//! - A database that cannot be used (locked for too long, disk full, read-only, gone) MUST be
//!   reported as [`DbError::Unavailable`] within the bounded wait, never by hanging
//!   (cases: `locked_for_too_long_is_unavailable`, `folder_that_is_not_there_is_unavailable`,
//!   `a_full_disk_refuses_and_recovers`, `a_read_only_disk_is_refused_and_nothing_is_damaged`).

mod engine;
mod migrate;
#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;

#[doc(hidden)]
pub mod contract;
#[cfg(test)]
pub(crate) mod testing;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::address::Address;
use engine::{Mode, Open, Place, Pool, Watch};

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
    /// The SQL text for PostgreSQL, which makes tables of the same names and columns.
    pub postgres: &'static str,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnConflict {
    /// The whole insert fails with [`DbError::Conflict`].
    Fail,
    /// The row that is there stays.
    Ignore,
    /// The row that is there is replaced; the table's key columns are named.
    Replace(&'static [&'static str]),
}

/// What keeps the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file on this host.
    Sqlite,
    /// A server.
    Postgres,
}

/// How often the database is asked for commits of other processes, while somebody waits for them.
const POLL: Duration = Duration::from_millis(150);

/// Waits after the watch has failed; then the waiter is woken, to find out for itself.
const POLL_AGAIN: Duration = Duration::from_secs(1);

/// A handle that can only read. Cheap to clone.
pub struct Reader {
    pool: Arc<Pool>,
    changes: Arc<Changes>,
    /// The last change that [`Reader::changed`] told of through this handle.
    seen: AtomicU64,
}

/// A handle that can read and write. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    reader: Reader,
    writer: Arc<Pool>,
}

/// One snapshot.
pub struct ReadTransaction {
    open: Open,
}

/// One serialisable transaction; undone when dropped without [`commit`](WriteTransaction::commit).
pub struct WriteTransaction {
    read: ReadTransaction,
    changes: Arc<Changes>,
}

/// Counts commits that may have changed something.
struct Changes {
    count: watch::Sender<u64>,
    /// Held by the one waiter that asks the file for all of them.
    watch: tokio::sync::Mutex<(Watch, Option<String>)>,
}

impl Clone for Reader {
    fn clone(&self) -> Self {
        Self {
            pool: Arc::clone(&self.pool),
            changes: Arc::clone(&self.changes),
            seen: AtomicU64::new(*self.changes.count.borrow()),
        }
    }
}

impl Reader {
    /// Opens `url` (`sqlite:PATH`) for reading only. The schema must be there, made by a role that writes.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] when there is no database yet, its schema is older than `migrations`, or it cannot
    /// be read; [`DbError::Broken`] when it is foreign, damaged or newer.
    pub async fn open(address: impl Into<Address>, migrations: &[Migration]) -> Result<Self, DbError> {
        let place = Place::of(address.into(), None).await?;
        let pool = place.pool(Mode::Read);
        migrate::check(&place, &pool, migrations, migrate::Needs::Schema).await?;
        Ok(Self::new(&place, pool))
    }

    fn new(place: &Place, pool: Pool) -> Self {
        let changes = Changes { count: watch::Sender::new(0), watch: tokio::sync::Mutex::new((place.watch(), None)) };
        Self { pool: Arc::new(pool), changes: Arc::new(changes), seen: AtomicU64::new(0) }
    }

    /// Begins a snapshot.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] after at most 4 s.
    pub async fn read(&self) -> Result<ReadTransaction, DbError> {
        Ok(ReadTransaction { open: self.pool.begin().await? })
    }

    /// Waits until something may have changed since this handle was made (by `clone` or `open`) or last told of a
    /// change: a loop of its own handle, that reads and then waits, misses nothing. Coalesced; may return
    /// spuriously; never later than 250 ms after a commit of any process. Cancel-safe.
    pub async fn changed(&self) {
        let mut count = self.changes.count.subscribe();
        loop {
            let now = *count.borrow_and_update();
            if self.seen.swap(now, Ordering::SeqCst) != now {
                return;
            }
            tokio::select! {
                _ = count.changed() => {}
                () = self.changes.watch() => {}
            }
        }
    }

    /// Which engine the database has, for the few statements that one of them needs and the other does not know.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match *self.pool {
            Pool::Sqlite(_) => Engine::Sqlite,
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => Engine::Postgres,
        }
    }

    /// How far the standby that this handle reads from is behind its primary; `None` on a primary and on SQLite, which
    /// are never behind. Zero when it has replayed all that it has received.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] after at most 4 s, or when the standby cannot tell.
    pub async fn staleness(&self) -> Result<Option<Duration>, DbError> {
        self.pool.begin().await?.staleness().await
    }

    /// Prepares every statement without running it, for the tests of those who wrote them.
    ///
    /// # Errors
    /// [`DbError::Statement`] with the name of the first one that the engine does not take.
    pub async fn prepare_all(&self, statements: &[Statement]) -> Result<(), DbError> {
        let mut transaction = self.read().await?;
        for statement in statements {
            transaction.open.prepare(statement).await?;
        }
        Ok(())
    }
}

impl Changes {
    fn tell(&self) {
        self.count.send_modify(|count| *count += 1);
    }

    /// Asks the file until another process has committed; waits while another waiter asks.
    async fn watch(&self) {
        let mut guard = self.watch.lock().await;
        let (watch, last) = &mut *guard;
        loop {
            match watch.version().await {
                Ok(version) if last.as_ref() == Some(&version) => tokio::time::sleep(POLL).await,
                Ok(version) => {
                    *last = Some(version);
                    self.tell();
                    return;
                }
                Err(_) => {
                    tokio::time::sleep(POLL_AGAIN).await;
                    self.tell();
                    return;
                }
            }
        }
    }
}

impl Database {
    /// Opens `url` (`sqlite:PATH`), creating the file if needed, and brings the schema up to `migrations` (and the
    /// platform's own) under the write lock.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] when it is locked for more than 4 s, the disk is full or may not be written;
    /// [`DbError::Broken`] when it is foreign, damaged or made by a newer version. It is untouched then.
    pub async fn open(address: impl Into<Address>, migrations: &[Migration]) -> Result<Self, DbError> {
        Self::open_with_vfs(address, migrations, None).await
    }

    /// The same through a registered SQLite VFS of this name, for tests that cut the power.
    #[doc(hidden)]
    pub async fn open_with_vfs(
        address: impl Into<Address>,
        migrations: &[Migration],
        vfs: Option<&str>,
    ) -> Result<Self, DbError> {
        let place = Place::of(address.into(), vfs).await?;
        let (reader, writer) = (place.pool(Mode::Read), place.pool(Mode::Write));
        migrate::check(&place, &reader, migrations, migrate::Needs::Nothing).await?;
        migrate::run(&place, &writer, migrations).await?;
        Ok(Self { reader: Reader::new(&place, reader), writer: Arc::new(writer) })
    }

    /// Begins a write transaction, waiting for other writers, first come first served.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] after at most 8 s (4 s for writers of this process, 4 s for those of others).
    pub async fn write(&self) -> Result<WriteTransaction, DbError> {
        let read = ReadTransaction { open: self.writer.begin().await? };
        Ok(WriteTransaction { read, changes: Arc::clone(&self.reader.changes) })
    }

    /// Begins a snapshot.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] after at most 4 s.
    pub async fn read(&self) -> Result<ReadTransaction, DbError> {
        self.reader.read().await
    }

    /// The reading half.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }
}

impl ReadTransaction {
    /// All rows of an answer.
    ///
    /// # Errors
    /// Any [`DbError`]; after [`DbError::Unavailable`] the transaction is over.
    pub async fn rows(&mut self, statement: &Statement, values: &[Value]) -> Result<Vec<Row>, DbError> {
        self.open.rows(statement, values).await
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub async fn row(&mut self, statement: &Statement, values: &[Value]) -> Result<Option<Row>, DbError> {
        self.open.row(statement, values).await
    }
}

impl WriteTransaction {
    /// Runs a statement that changes rows; how many it changed.
    ///
    /// # Errors
    /// Any [`DbError`]. After [`DbError::Conflict`] the transaction can go on without the statement; after
    /// [`DbError::Unavailable`] it is over.
    pub async fn execute(&mut self, statement: &Statement, values: &[Value]) -> Result<u64, DbError> {
        self.read.open.execute(statement, values).await
    }

    /// Inserts many rows; how many were inserted or replaced.
    ///
    /// # Errors
    /// As [`execute`](Self::execute); [`DbError::Statement`] when a row has not one value per column.
    pub async fn bulk_insert(&mut self, bulk: &Bulk, rows: Vec<Vec<Value>>) -> Result<u64, DbError> {
        if rows.iter().any(|row| row.len() != bulk.columns.len()) {
            let message = format!("a row has not one value for each of the columns {:?}", bulk.columns);
            return Err(DbError::Statement { statement: bulk.table.to_owned(), message });
        }
        self.read.open.bulk_insert(bulk, rows).await
    }

    /// Makes it all durable and visible.
    ///
    /// # Errors
    /// [`DbError::Unavailable`]: it may or may not have happened, as with any commit whose answer is lost.
    pub async fn commit(self) -> Result<(), DbError> {
        self.read.open.commit().await?;
        self.changes.tell();
        Ok(())
    }
}

/// What a bulk insert's statement says of rows whose key exists.
fn conflict_clause(bulk: &Bulk) -> String {
    match bulk.on_conflict {
        OnConflict::Fail => String::new(),
        OnConflict::Ignore => String::from(" ON CONFLICT DO NOTHING"),
        OnConflict::Replace(keys) => {
            let others = bulk.columns.iter().filter(|column| !keys.contains(column));
            let updates = others.map(|column| format!("{column} = excluded.{column}")).collect::<Vec<_>>();
            format!(" ON CONFLICT ({}) DO UPDATE SET {}", keys.join(","), updates.join(","))
        }
    }
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
