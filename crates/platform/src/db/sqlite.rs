//! The embedded engine: one SQLite file in WAL mode.
//!
//! One connection writes, guarded by a fair queue; a few, opened when needed, read. `synchronous=FULL` makes a
//! commit durable before it returns. Every connection has a thread of its own inside `sqlx`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow};
use sqlx::sqlite::{SqliteSynchronous, SqliteValueRef};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Executor, Row as _, TypeInfo, ValueRef};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::engine::{Found, Mode, NO_NUL, check_count, statement_error};
use super::{Bulk, DbError, Migration, Row, Statement, Value, conflict_clause};

/// The longest that anything waits for a lock or a connection before it is [`DbError::Unavailable`]; HTTP
/// answers 503 within 5 s.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long SQLite itself waits for a lock of another process. Short: its own back-off polls ever more slowly and
/// starves beside a busy writer, so we ask again until [`PATIENCE`] ends.
const BUSY_TIMEOUT: Duration = Duration::from_millis(20);

/// Connections that read, opened when they are needed. Each has a thread and a cache of its own. Answers that are
/// streamed to slow clients hold one each (at most four at a time), and the others must find one too.
const READERS: usize = 8;

/// Page caches in KiB. The operating system caches the file as well, and idle memory is a promise.
const WRITER_CACHE_KIB: u32 = 4096;
const READER_CACHE_KIB: u32 = 1024;

/// Pages after which a commit copies the write-ahead log back: 16 MB. Larger saves writes to the same page,
/// smaller saves disk.
const CHECKPOINT_PAGES: u32 = 4096;

/// "Anti" as a big-endian integer: tells our files from those of other programs (SQLite header, offset 68).
const APPLICATION_ID: i64 = 0x416e_7469;

/// A database file.
pub(super) struct Sqlite {
    path: String,
    vfs: Option<String>,
}

impl Sqlite {
    pub(super) fn new(path: &str, vfs: Option<&str>) -> Self {
        Self { path: path.to_owned(), vfs: vfs.map(str::to_owned) }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// Connections of one mode to one file, lent one at a time each, first come first served.
pub(super) struct Pool {
    options: SqliteConnectOptions,
    mode: Mode,
    idle: Mutex<Vec<SqliteConnection>>,
    permits: Arc<Semaphore>,
}

impl Pool {
    pub(super) fn new(file: &Sqlite, mode: Mode) -> Arc<Self> {
        let lent = match mode {
            Mode::Read => READERS,
            Mode::Write => 1,
        };
        Arc::new(Self {
            options: options(file, mode),
            mode,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(lent)),
        })
    }

    /// Lends a connection, waiting at most [`PATIENCE`] for its turn.
    async fn lend(self: &Arc<Self>) -> Result<Lent, DbError> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = match turn {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => {
                return Err(DbError::Unavailable(String::from("too many transactions are waiting; try again")));
            }
        };
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.options).await?,
        };
        Ok(Lent { connection: Some(connection), pool: Arc::clone(self), permit: Some(permit) })
    }

    /// Begins a transaction of the pool's mode.
    pub(super) async fn begin(self: &Arc<Self>) -> Result<Open, DbError> {
        let begin = match self.mode {
            // The first read fixes the snapshot, so one is made at once.
            Mode::Read => "BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1",
            Mode::Write => "BEGIN IMMEDIATE",
        };
        let mut open = Open { lent: self.lend().await?, ended: false };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match sqlx::query(begin).execute(open.connection()?).await {
                Ok(_) => return Ok(open),
                Err(error) if is_busy(&error) && Instant::now() < deadline => {
                    // A read may have begun and failed in its second statement.
                    let _ = sqlx::query("ROLLBACK").execute(open.connection()?).await;
                }
                Err(error) => return Err(open.fail("begin", &error)),
            }
        }
    }
}

/// A connection on loan; given back when dropped.
struct Lent {
    connection: Option<SqliteConnection>,
    pool: Arc<Pool>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        drop(self.permit.take());
    }
}

/// A transaction that has begun. Dropped before its end, it is rolled back before the connection is lent again.
pub(super) struct Open {
    lent: Lent,
    ended: bool,
}

impl Open {
    fn connection(&mut self) -> Result<&mut SqliteConnection, DbError> {
        // It is absent after a failure that may have ended the transaction inside SQLite: going on would run
        // statements outside of any transaction.
        let gone = || DbError::Unavailable(String::from("the transaction has failed; begin a new one"));
        self.lent.connection.as_mut().ok_or_else(gone)
    }

    /// Turns an engine's error into ours. After one that SQLite may answer by rolling back on its own, the
    /// connection is closed, which undoes whatever is left.
    fn fail(&mut self, statement: &str, error: &sqlx::Error) -> DbError {
        let error = translate(statement, error, self.lent.pool.mode);
        if matches!(error, DbError::Unavailable(_) | DbError::Broken(_)) {
            self.lent.connection = None;
        }
        error
    }

    pub(super) async fn rows(&mut self, statement: &Statement, values: &[Value]) -> Result<Vec<Row>, DbError> {
        let query = sqlx::query_with(statement.text, arguments(statement, values)?);
        match query.fetch_all(self.connection()?).await {
            Ok(rows) => rows.iter().map(|row| row_of(statement, row)).collect(),
            Err(error) => Err(self.fail(statement.name, &error)),
        }
    }

    pub(super) async fn row(&mut self, statement: &Statement, values: &[Value]) -> Result<Option<Row>, DbError> {
        let query = sqlx::query_with(statement.text, arguments(statement, values)?);
        match query.fetch_optional(self.connection()?).await {
            Ok(row) => row.map(|row| row_of(statement, &row)).transpose(),
            Err(error) => Err(self.fail(statement.name, &error)),
        }
    }

    pub(super) async fn execute(&mut self, statement: &Statement, values: &[Value]) -> Result<u64, DbError> {
        let query = sqlx::query_with(statement.text, arguments(statement, values)?);
        match query.execute(self.connection()?).await {
            Ok(done) => Ok(done.rows_affected()),
            Err(error) => Err(self.fail(statement.name, &error)),
        }
    }

    /// Runs text that was made here rather than in a `.sql` file, with values given away.
    async fn execute_made(
        &mut self,
        name: &str,
        text: String,
        values: impl Iterator<Item = Value>,
    ) -> Result<u64, DbError> {
        let mut arguments = SqliteArguments::default();
        for value in values {
            add(&mut arguments, value).map_err(|message| statement_error(name, message))?;
        }
        match sqlx::query_with(AssertSqlSafe(text), arguments).execute(self.connection()?).await {
            Ok(done) => Ok(done.rows_affected()),
            Err(error) => Err(self.fail(name, &error)),
        }
    }

    /// Inserts rows by statements of many rows each.
    pub(super) async fn bulk_insert(&mut self, bulk: &Bulk, rows: Vec<Vec<Value>>) -> Result<u64, DbError> {
        let mut changed = 0;
        let mut left = rows.len();
        let mut rows = rows.into_iter();
        self.script("savepoint", "SAVEPOINT bulk").await?;
        while left > 0 {
            let chunk = bulk_chunk(left, bulk.columns.len());
            let values = rows.by_ref().take(chunk).flatten();
            match self.execute_made(bulk.table, bulk_text(bulk, chunk), values).await {
                Ok(count) => changed += count,
                Err(error @ DbError::Conflict(_)) => {
                    // What earlier statements have inserted goes too: it is one insert to the caller.
                    self.script("savepoint", "ROLLBACK TO bulk; RELEASE bulk").await?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
            left -= chunk;
        }
        self.script("savepoint", "RELEASE bulk").await?;
        Ok(changed)
    }

    pub(super) async fn migrate(&mut self, migration: &Migration) -> Result<(), DbError> {
        self.script(migration.owner, migration.sqlite).await
    }

    /// Marks a new file as ours.
    pub(super) async fn mark(&mut self) -> Result<(), DbError> {
        self.script("application_id", "PRAGMA application_id = 1097757801").await
    }

    pub(super) async fn found(&mut self) -> Result<Found, DbError> {
        let sql = "SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id";
        let row = self.row(&Statement { name: "application_id", text: sql }, &[]).await?;
        let row = row.ok_or_else(|| DbError::Broken(String::from("the file has no header")))?;
        let (application_id, tables): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok(match (application_id, tables) {
            (APPLICATION_ID, _) => Found::Ours,
            (0, 0) => Found::New,
            _ => Found::Foreign,
        })
    }

    /// Runs several statements without values.
    async fn script(&mut self, name: &str, text: &'static str) -> Result<(), DbError> {
        match sqlx::raw_sql(text).execute(self.connection()?).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.fail(name, &error)),
        }
    }

    pub(super) async fn prepare(&mut self, statement: &Statement) -> Result<(), DbError> {
        match self.connection()?.prepare(sqlx::SqlStr::from_static(statement.text)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.fail(statement.name, &error)),
        }
    }

    pub(super) async fn commit(mut self) -> Result<(), DbError> {
        match sqlx::query("COMMIT").execute(self.connection()?).await {
            Ok(_) => {
                self.ended = true;
                Ok(())
            }
            Err(error) => {
                let error = self.fail("commit", &error);
                // Whatever kept it from committing, nothing may be left open.
                self.lent.connection = None;
                Err(error)
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let Some(mut connection) = self.lent.connection.take() else { return };
        // Without a runtime the connection is closed instead, which rolls back as well.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (pool, permit) = (Arc::clone(&self.lent.pool), self.lent.permit.take());
        runtime.spawn(async move {
            // The commands of one connection are carried out in order: a begin or commit whose caller went away
            // is over when this runs. After a commit there is nothing to roll back, and SQLite says so.
            let rolled_back = sqlx::query("ROLLBACK").execute(&mut connection).await;
            let usable = match &rolled_back {
                Ok(_) => true,
                Err(error) => primary_code(error) == Some(1),
            };
            let connection = usable.then_some(connection);
            drop(Lent { connection, pool, permit });
        });
    }
}

/// Watches for commits of other processes.
pub(super) struct Watch {
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
}

impl Watch {
    pub(super) fn new(file: &Sqlite) -> Self {
        Self { options: options(file, Mode::Read), connection: None }
    }

    /// A number that differs from the last one whenever another connection has committed in between.
    pub(super) async fn version(&mut self) -> Result<i64, DbError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.options).await?,
        };
        let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut connection).await;
        let version = version.map_err(|error| translate("data_version", &error, Mode::Read))?;
        self.connection = Some(connection);
        Ok(version)
    }
}

fn options(file: &Sqlite, mode: Mode) -> SqliteConnectOptions {
    let mut options = SqliteConnectOptions::new()
        .filename(&file.path)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .statement_cache_capacity(128)
        .row_buffer_size(512)
        .thread_name(move |id| format!("database-{id}"))
        .disable_statement_logging();
    options = match mode {
        Mode::Read => options.read_only(true).pragma("cache_size", format!("-{READER_CACHE_KIB}")),
        Mode::Write => options
            .create_if_missing(true)
            // Blocks of results are 0.3 to 2 kB; with pages of 4 kB a third of them spill into pages of their own, and
            // the same data takes 53 MB instead of 29 (measured).
            .page_size(8192)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
            .pragma("journal_size_limit", (64 << 20).to_string())
            .pragma("cache_size", format!("-{WRITER_CACHE_KIB}")),
    };
    match &file.vfs {
        Some(vfs) => options.vfs(vfs.clone()),
        None => options,
    }
}

/// Connects, asking again while another process sets the file up or recovers it.
async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, DbError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match options.connect().await {
            Ok(connection) => return Ok(connection),
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                // Switching a new file to WAL is a lock that SQLite does not wait for.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => return Err(translate("open", &error, Mode::Write)),
        }
    }
}

/// Rows for the next statement of a bulk insert. Few sizes, so that the texts stay prepared; SQLite takes 32,766
/// values in one statement.
fn bulk_chunk(left: usize, columns: usize) -> usize {
    let limit = 32_766 / columns.max(1);
    [256, 64, 16, 4].into_iter().find(|size| *size <= left && *size <= limit).unwrap_or(1)
}

fn bulk_text(bulk: &Bulk, rows: usize) -> String {
    let columns = bulk.columns.len();
    let tuple = |row: usize| {
        let numbers = (1..=columns).map(|column| format!("${}", row * columns + column)).collect::<Vec<_>>();
        format!("({})", numbers.join(","))
    };
    let tuples = (0..rows).map(tuple).collect::<Vec<_>>().join(",");
    let conflict = conflict_clause(bulk);
    format!("INSERT INTO {} ({}) VALUES {tuples}{conflict}", bulk.table, bulk.columns.join(","))
}

fn arguments(statement: &Statement, values: &[Value]) -> Result<SqliteArguments, DbError> {
    // SQLite would read a value that is not there as null.
    check_count(statement, placeholders(statement.text), values.len())?;
    let mut arguments = SqliteArguments::default();
    for value in values {
        add(&mut arguments, value.clone()).map_err(|message| statement_error(statement.name, message))?;
    }
    Ok(arguments)
}

fn add(arguments: &mut SqliteArguments, value: Value) -> Result<(), String> {
    let added = match value {
        Value::Null => arguments.add(None::<i64>),
        Value::Int(value) => arguments.add(value),
        Value::Real(value) => arguments.add(value),
        Value::Text(value) if value.contains('\0') => return Err(NO_NUL.to_owned()),
        Value::Text(value) => arguments.add(value),
        Value::Bytes(value) => arguments.add(value),
    };
    added.map_err(|error| error.to_string())
}

/// The highest N of the `$N` in a text.
fn placeholders(text: &str) -> usize {
    let numbers = text.split('$').skip(1).map(|rest| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest.get(..digits).and_then(|digits| digits.parse().ok()).unwrap_or(0)
    });
    numbers.max().unwrap_or(0)
}

fn row_of(statement: &Statement, row: &SqliteRow) -> Result<Row, DbError> {
    (0..row.len())
        .map(|index| {
            let value = row.try_get_raw(index).map_err(|error| statement_error(statement.name, error.to_string()))?;
            value_of(value).map_err(|message| statement_error(statement.name, message))
        })
        .collect::<Result<Vec<_>, _>>()
        .map(Row)
}

fn value_of(value: SqliteValueRef<'_>) -> Result<Value, String> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let kind = value.type_info().into_owned();
    let decoded = match kind.name() {
        "INTEGER" => sqlx::Decode::<sqlx::Sqlite>::decode(value).map(Value::Int),
        "REAL" => sqlx::Decode::<sqlx::Sqlite>::decode(value).map(Value::Real),
        "TEXT" => sqlx::Decode::<sqlx::Sqlite>::decode(value).map(Value::Text),
        "BLOB" => sqlx::Decode::<sqlx::Sqlite>::decode(value).map(Value::Bytes),
        other => return Err(format!("a value of type {other} has no common form")),
    };
    decoded.map_err(|error| error.to_string())
}

/// SQLite's primary result code (<https://www.sqlite.org/rescode.html>), if the error is one of SQLite's.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    Some(extended_code(error)? & 0xff)
}

fn extended_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

fn is_busy(error: &sqlx::Error) -> bool {
    // BUSY, LOCKED, PROTOCOL (a race while the log is opened).
    matches!(primary_code(error), Some(5 | 6 | 15))
}

fn translate(statement: &str, error: &sqlx::Error, mode: Mode) -> DbError {
    let Some(database) = error.as_database_error() else {
        return match error {
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => DbError::Unavailable(error.to_string()),
            _ => statement_error(statement, error.to_string()),
        };
    };
    let message = database.message();
    let unavailable = |advice: &str| DbError::Unavailable(format!("{message}: {advice}"));
    match (primary_code(error), extended_code(error)) {
        // PRIMARYKEY, UNIQUE, ROWID, FOREIGNKEY.
        (_, Some(1555 | 2067 | 2579 | 787)) => DbError::Conflict(message.to_owned()),
        // Plain READONLY through a handle that may not write is our mistake, not the disk's.
        (_, Some(8)) if mode == Mode::Read => statement_error(statement, message.to_owned()),
        (Some(5 | 6 | 15), _) => unavailable("another process holds it for too long"),
        (Some(13), _) => unavailable("free some space on the disk of the data folder"),
        (Some(8), _) => unavailable("the data folder cannot be written; check its owner and how it is mounted"),
        (Some(14 | 3 | 23), _) => unavailable("check that the data folder is there and may be used by this user"),
        (Some(10), _) => unavailable("the disk of the data folder reports an error"),
        (Some(7), _) => unavailable("memory is short"),
        (Some(11), _) => DbError::Broken(format!("{message}: restore a backup of the data folder")),
        (Some(26), _) => DbError::Broken(format!("{message}: this is no database of antiphon's")),
        _ => statement_error(statement, message.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_the_highest_number() {
        assert_eq!(placeholders("SELECT 1"), 0);
        assert_eq!(placeholders("SELECT $1, $12, $2 WHERE a = $1"), 12);
    }
}
