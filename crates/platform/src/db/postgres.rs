//! The engine for many machines: a PostgreSQL server, 15 or newer.
//!
//! All write transactions of a schema take turns, as on SQLite, by one advisory lock that PostgreSQL hands out first
//! come first served and takes back when a transaction ends, however it ends. `docs/decisions/postgresql.md` says why.
//! Readers wait for nobody. Whatever takes too long is given up on both sides: here by a timer, and at the server by
//! settings of the session, so that a process that vanished holds nothing for long.

mod bulk;
mod errors;
mod keys;
mod server;
mod values;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use sqlx::postgres::{PgArguments, PgConnection, PgRow, PgTypeInfo};
use sqlx::{Arguments, AssertSqlSafe, Connection, Either, Executor, SqlSafeStr, SqlStr, Statement as _};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{timeout, timeout_at};

use super::engine::{Found, Mode, check_count, statement_error};
use super::{DbError, Migration, OnConflict, Row, Statement, Value};
use crate::clock::duration;
use errors::{translate, unavailable};
use keys::Keys;
pub(super) use server::Server;
use server::Session;
pub(super) use watch::Watch;

/// The longest that anything waits for a lock or a connection before it is [`DbError::Unavailable`]; HTTP
/// answers 503 within 5 s.
const PATIENCE: Duration = Duration::from_secs(4);

/// The longest that a statement may take. The server gives up a little earlier (`statement_timeout`), so that this is
/// met only when no answer comes at all, as from a connection whose other end is gone. Short enough for work to go on
/// within 10 s of such a loss, with the time to try again.
const ANSWER: Duration = Duration::from_secs(6);

/// The longest that a migration may take.
const MIGRATION: Duration = Duration::from_secs(3600);

/// The longest for what the server does at once: a question whether it is there, a rollback.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How long one of the connections that are lent is waited for, rather than opening another one: that takes several round
/// trips and a new process at the server, some 90 ms with TLS.
const ON_ITS_WAY: Duration = Duration::from_millis(20);

/// A connection that was idle for so long is asked whether it still works before it is lent.
const IDLE: Duration = Duration::from_secs(2);

/// Connections that read, as many as on SQLite, opened when they are needed.
const READERS: usize = 8;

/// The write lock. It belongs to the schema: several of them may share a database.
const BEGIN_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
     SELECT pg_advisory_xact_lock(hashtextextended('antiphon ' || current_schema(), 0))";
const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

const FOUND: Statement = crate::sql!("postgres/found.sql");
const IS_OURS: Statement =
    Statement { name: "is ours", text: "SELECT count(*) FROM schema_migrations WHERE owner = 'platform'" };
const STALENESS: Statement = crate::sql!("postgres/staleness.sql");

/// Connections of one mode to one server, lent one at a time each, first come first served.
pub(super) struct Pool {
    server: Arc<Server>,
    mode: Mode,
    idle: Mutex<Vec<Session>>,
    /// How many may be lent at once.
    size: usize,
    permits: Arc<Semaphore>,
    /// Word of each connection that is idle again.
    returned: Notify,
    /// What is known of each statement, by the address of its text.
    known: Mutex<HashMap<usize, Arc<Known>>>,
    bulks: Mutex<HashMap<BulkKey, Arc<bulk::Target>>>,
}

/// What tells bulk inserts apart.
type BulkKey = (&'static str, &'static [&'static str], OnConflict);

/// What the server says of a statement.
struct Known {
    /// The statement's text, or one that differs by a space and has wider types.
    text: SqlStr,
    /// The types of its placeholders.
    types: Vec<PgTypeInfo>,
    /// Whether a key may refuse it.
    is_refusable: bool,
}

impl Pool {
    pub(super) fn new(server: Arc<Server>, mode: Mode) -> Arc<Self> {
        let size = match mode {
            Mode::Read => READERS,
            // The others would wait for the write lock.
            Mode::Write => 1,
        };
        Arc::new(Self {
            server,
            mode,
            idle: Mutex::default(),
            size,
            permits: Arc::new(Semaphore::new(size)),
            returned: Notify::new(),
            known: Mutex::default(),
            bulks: Mutex::default(),
        })
    }

    /// Begins a transaction of the pool's mode.
    pub(super) async fn begin(self: &Arc<Self>) -> Result<Open, DbError> {
        let permit = match timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => {
                return Err(DbError::Unavailable(String::from("too many transactions are waiting; try again")));
            }
        };
        let mut lent = Lent { session: None, pool: Arc::clone(self), permit: Some(permit) };
        // The server gives up its wait for the lock by itself, at the end of `PATIENCE`.
        match timeout(PATIENCE + AT_ONCE / 2, self.begin_on_any(&mut lent)).await {
            Ok(begun) => begun?,
            Err(_) => {
                // What was idle meanwhile is as silent, most likely; a new connection is cheaper than to find out.
                self.idle().clear();
                return Err(self.server.silent());
            }
        }
        Ok(Open { lent, ended: false, aborted: false, savepoint: false, staged: HashSet::new() })
    }

    /// Begins on a connection that was used before, or on a new one when that has broken.
    async fn begin_on_any(&self, lent: &mut Lent) -> Result<(), DbError> {
        let begin = match self.mode {
            Mode::Read => BEGIN_READ,
            Mode::Write => BEGIN_WRITE,
        };
        loop {
            let used = self.take_idle().await;
            let is_used = used.is_some();
            let mut session = match used {
                Some(session) => session,
                None => self.server.connect(self.mode).await?,
            };
            match sqlx::raw_sql(begin).execute(&mut session.connection).await {
                Ok(_) => {
                    lent.session = Some(session);
                    return Ok(());
                }
                Err(error) if is_used && errors::is_broken(&error) => {}
                Err(error) => return Err(translate("begin", &error, self.mode, &self.server)),
            }
        }
    }

    /// A connection that works as far as can be told. All others go with one that does not answer.
    async fn take_idle(&self) -> Option<Session> {
        let deadline = tokio::time::Instant::now() + ON_ITS_WAY;
        loop {
            // Asked first: one that is given back in between is idle then.
            let others = self.size.saturating_sub(self.permits.available_permits() + 1);
            let Some(mut session) = self.idle().pop() else {
                if others > 0 && timeout_at(deadline, self.returned.notified()).await.is_ok() {
                    continue;
                }
                return None;
            };
            if session.is_old() {
                continue;
            }
            if session.last_used.elapsed() < IDLE {
                return Some(session);
            }
            match timeout(AT_ONCE, session.connection.ping()).await {
                Ok(Ok(())) => return Some(session),
                Ok(Err(_)) => {}
                Err(_) => self.idle().clear(),
            }
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        lock(&self.idle)
    }
}

/// A connection on loan; given back when dropped.
struct Lent {
    /// Absent while a statement runs, so that one that is cancelled closes the connection, and after a failure.
    session: Option<Session>,
    pool: Arc<Pool>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(mut session) = self.session.take().filter(|session| !session.is_old()) {
            session.last_used = Instant::now();
            self.pool.idle().push(session);
            self.pool.returned.notify_one();
        }
        drop(self.permit.take());
    }
}

/// A transaction that has begun. Dropped before its end, it is rolled back before the connection is lent again.
pub(super) struct Open {
    lent: Lent,
    ended: bool,
    /// A statement failed, and the server takes no other.
    aborted: bool,
    /// There is a savepoint to be released.
    savepoint: bool,
    /// Tables whose staging tables this transaction has used.
    staged: HashSet<&'static str>,
}

impl Open {
    /// Lends the connection for one statement; [`settle`](Self::settle) gives it back.
    fn take(&mut self) -> Result<Session, DbError> {
        if self.aborted {
            return Err(DbError::Unavailable(String::from("the transaction has failed; begin a new one")));
        }
        let gone = || DbError::Unavailable(String::from("the transaction has failed; begin a new one"));
        self.lent.session.take().ok_or_else(gone)
    }

    /// Keeps the connection if it can be used on.
    fn settle<T>(
        &mut self,
        session: Session,
        statement: &str,
        outcome: Result<sqlx::Result<T>, tokio::time::error::Elapsed>,
    ) -> Result<T, DbError> {
        let pool = &self.lent.pool;
        match outcome {
            Ok(Ok(answer)) => {
                self.lent.session = Some(session);
                Ok(answer)
            }
            Ok(Err(error)) => {
                let error = translate(statement, &error, pool.mode, &pool.server);
                if matches!(error, DbError::Conflict(_) | DbError::Statement { .. }) {
                    self.lent.session = Some(session);
                    self.aborted = true;
                }
                Err(error)
            }
            Err(_) => Err(pool.server.silent()),
        }
    }

    /// Runs statements that have no values and no answer.
    async fn simple(&mut self, name: &str, text: impl sqlx::SqlSafeStr, patience: Duration) -> Result<(), DbError> {
        let mut session = self.take()?;
        let outcome = timeout(patience, sqlx::raw_sql(text).execute(&mut session.connection)).await;
        self.settle(session, name, outcome).map(drop)
    }

    pub(super) async fn rows(&mut self, statement: &Statement, values: &[Value]) -> Result<Vec<Row>, DbError> {
        let (rows, _) = self.run(statement, values).await?;
        rows.iter().map(|row| row_of(statement.name, row)).collect()
    }

    pub(super) async fn row(&mut self, statement: &Statement, values: &[Value]) -> Result<Option<Row>, DbError> {
        let (rows, _) = self.run(statement, values).await?;
        rows.first().map(|row| row_of(statement.name, row)).transpose()
    }

    pub(super) async fn execute(&mut self, statement: &Statement, values: &[Value]) -> Result<u64, DbError> {
        self.run(statement, values).await.map(|(_, changed)| changed)
    }

    async fn run(&mut self, statement: &Statement, values: &[Value]) -> Result<(Vec<PgRow>, u64), DbError> {
        let known = self.known(statement).await?;
        check_count(statement, known.types.len(), values.len())?;
        let mut arguments = PgArguments::default();
        for (index, (value, kind)) in values.iter().zip(&known.types).enumerate() {
            let bound = values::Bound { value, kind };
            let refused = |error| statement_error(statement.name, format!("${}: {error}", index + 1));
            arguments.add(bound).map_err(refused)?;
        }
        self.run_with(statement.name, known.text.clone(), arguments, known.is_refusable).await
    }

    /// Runs a statement; where a key may refuse it, behind a savepoint.
    async fn run_with(
        &mut self,
        name: &str,
        text: SqlStr,
        arguments: PgArguments,
        is_refusable: bool,
    ) -> Result<(Vec<PgRow>, u64), DbError> {
        if is_refusable {
            self.save().await?;
        }
        let mut session = self.take()?;
        let outcome = timeout(ANSWER, answer(&mut session.connection, text, arguments)).await;
        let outcome = self.settle(session, name, outcome);
        self.restore(is_refusable, outcome).await
    }

    /// Sets a savepoint. The one before is released in the same round trip.
    async fn save(&mut self) -> Result<(), DbError> {
        let text = if self.savepoint { "RELEASE one; SAVEPOINT one" } else { "SAVEPOINT one" };
        self.simple("savepoint", text, ANSWER).await?;
        self.savepoint = true;
        Ok(())
    }

    /// After a conflict behind a savepoint the transaction can go on.
    async fn restore<T>(&mut self, is_saved: bool, outcome: Result<T, DbError>) -> Result<T, DbError> {
        if is_saved && matches!(outcome, Err(DbError::Conflict(_))) {
            self.aborted = false;
            self.simple("savepoint", "ROLLBACK TO one", ANSWER).await?;
        }
        outcome
    }

    /// What is known of a statement; the server is asked the first time.
    async fn known(&mut self, statement: &Statement) -> Result<Arc<Known>, DbError> {
        // A statement's text lives as long as the program.
        let key = statement.text.as_ptr() as usize;
        if let Some(known) = lock(&self.lent.pool.known).get(&key) {
            return Ok(Arc::clone(known));
        }
        let mut text = SqlStr::from_static(statement.text);
        let mut types = self.types(statement.name, text.clone()).await?;
        if let Some(wider) = values::wider(&types) {
            // In `$1 - 60` PostgreSQL takes $1 for an integer of 32 bits, which times are not. Where the wider type is not
            // accepted, as by a function that takes only the narrow one, that one was meant.
            let changed: SqlStr = AssertSqlSafe(Arc::<str>::from(format!("{} ", statement.text))).into_sql_str();
            self.save().await?;
            match self.prepare_as(statement.name, changed.clone(), &wider).await {
                Ok(()) => (text, types) = (changed, wider),
                Err(DbError::Statement { .. }) => {
                    self.aborted = false;
                    self.simple("savepoint", "ROLLBACK TO one", ANSWER).await?;
                }
                Err(error) => return Err(error),
            }
        }
        let is_refusable = self.lent.pool.mode == Mode::Write && self.is_refusable(statement.text).await?;
        let known = Arc::new(Known { text, types, is_refusable });
        lock(&self.lent.pool.known).insert(key, Arc::clone(&known));
        Ok(known)
    }

    /// The types that the server gives to a statement's placeholders.
    async fn types(&mut self, name: &str, text: SqlStr) -> Result<Vec<PgTypeInfo>, DbError> {
        let mut session = self.take()?;
        let outcome = timeout(ANSWER, session.connection.prepare(text)).await;
        let prepared = self.settle(session, name, outcome)?;
        match prepared.parameters() {
            Some(Either::Left(types)) => Ok(types.to_vec()),
            Some(Either::Right(_)) | None => Err(statement_error(name, String::from("the server gives it no types"))),
        }
    }

    async fn prepare_as(&mut self, name: &str, text: SqlStr, types: &[PgTypeInfo]) -> Result<(), DbError> {
        let mut session = self.take()?;
        let outcome = timeout(ANSWER, session.connection.prepare_with(text, types)).await;
        self.settle(session, name, outcome).map(drop)
    }

    async fn is_refusable(&mut self, text: &str) -> Result<bool, DbError> {
        let change = match keys::change_of(text) {
            keys::Change::None => return Ok(false),
            keys::Change::Unknown => return Ok(true),
            keys::Change::Of(change) => change,
        };
        let keys = self.keys(change.table).await?;
        Ok(keys.is_none_or(|keys| keys.may_refuse(&change)))
    }

    /// The keys of a table; `None` if there is none of this name.
    async fn keys(&mut self, table: &str) -> Result<Option<Keys>, DbError> {
        let mut arguments = PgArguments::default();
        let name = keys::STATEMENT.name;
        arguments.add(table).map_err(|error| statement_error(name, error.to_string()))?;
        let text = SqlStr::from_static(keys::STATEMENT.text);
        let (rows, _) = self.run_with(name, text, arguments, false).await?;
        rows.first().map(|row| Keys::from_row(&row_of(name, row)?)).transpose()
    }

    pub(super) async fn prepare(&mut self, statement: &Statement) -> Result<(), DbError> {
        self.known(statement).await.map(drop)
    }

    /// Runs the text of a schema step; it may take longer than other statements.
    pub(super) async fn migrate(&mut self, migration: &Migration) -> Result<(), DbError> {
        self.simple(migration.owner, "SET LOCAL statement_timeout = 0", ANSWER).await?;
        self.simple(migration.owner, migration.postgres, MIGRATION).await
    }

    /// A schema is marked as ours by what `schema_migrations` says.
    pub(super) async fn mark(&mut self) -> Result<(), DbError> {
        Ok(())
    }

    pub(super) async fn found(&mut self) -> Result<Found, DbError> {
        let row = self.row(&FOUND, &[]).await?;
        let row = row.ok_or_else(|| DbError::Broken(String::from("the server does not know its own catalogue")))?;
        let (schema, encoding): (Option<String>, String) = (row.get(0)?, row.get(1)?);
        if schema.is_none() {
            let advice = "make one, or name one in the address: ?options=-csearch_path%3DNAME";
            return Err(DbError::Broken(format!("{}: no schema to use; {advice}", self.lent.pool.server.name())));
        }
        if encoding != "UTF8" {
            let server = self.lent.pool.server.name();
            return Err(DbError::Broken(format!("{server}: its encoding is {encoding}; make a database with UTF8")));
        }
        let (is_marked, others): (bool, bool) = (row.get(2)?, row.get(3)?);
        if is_marked {
            let row = self.row(&IS_OURS, &[]).await?;
            let is_ours = row.map_or(Ok(0), |row| row.get::<i64>(0))? > 0;
            return Ok(if is_ours { Found::Ours } else { Found::Foreign });
        }
        Ok(if others { Found::Foreign } else { Found::New })
    }

    pub(super) async fn staleness(&mut self) -> Result<Option<Duration>, DbError> {
        let row = self.row(&STALENESS, &[]).await?;
        let (is_standby, behind): (bool, Option<i64>) =
            row.map_or(Ok((false, None)), |row| Ok::<_, DbError>((row.get(0)?, row.get(1)?)))?;
        match (is_standby, behind) {
            (false, _) => Ok(None),
            (true, Some(behind)) => Ok(Some(duration(behind))),
            (true, None) => Err(unavailable(&self.lent.pool.server, "the standby does not say how far it is behind")),
        }
    }

    pub(super) async fn commit(mut self) -> Result<(), DbError> {
        // Of a transaction that has failed, COMMIT makes a ROLLBACK and calls it done.
        self.simple("commit", "COMMIT", ANSWER).await?;
        self.ended = true;
        if let Some(session) = &mut self.lent.session {
            session.staged.extend(&self.staged);
        }
        Ok(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let Some(mut session) = self.lent.session.take() else { return };
        // Without a runtime the connection is closed instead, which rolls back as well.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (pool, permit) = (Arc::clone(&self.lent.pool), self.lent.permit.take());
        runtime.spawn(async move {
            let rolled_back = timeout(AT_ONCE, sqlx::raw_sql("ROLLBACK").execute(&mut session.connection)).await;
            let session = matches!(rolled_back, Ok(Ok(_))).then_some(session);
            drop(Lent { session, pool, permit });
        });
    }
}

async fn answer(
    connection: &mut PgConnection,
    text: SqlStr,
    arguments: PgArguments,
) -> sqlx::Result<(Vec<PgRow>, u64)> {
    let mut parts = connection.fetch_many(sqlx::query_with(text, arguments));
    let (mut rows, mut changed) = (Vec::new(), 0);
    while let Some(part) = parts.try_next().await? {
        match part {
            Either::Left(done) => changed += done.rows_affected(),
            Either::Right(row) => rows.push(row),
        }
    }
    Ok((rows, changed))
}

fn row_of(statement: &str, row: &PgRow) -> Result<Row, DbError> {
    values::row_of(row).map(Row).map_err(|message| statement_error(statement, message))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
