//! Which engine a database has: every operation of the port goes through here to the one or the other.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "postgres")]
use super::postgres::{self, Server};
use super::sqlite::{self, Sqlite};
use super::{Bulk, DbError, Row, Statement, Value};
use crate::address::{Address, Freshness};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Read,
    Write,
}

/// What is in a database before anything is changed in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    New,
    /// A schema of ours.
    Ours,
    /// Something else.
    Foreign,
}

/// Where a database is.
pub(super) enum Place {
    Sqlite(Sqlite),
    #[cfg(feature = "postgres")]
    Postgres(Arc<Server>),
}

/// Connections of one mode to one database.
pub(super) enum Pool {
    Sqlite(Arc<sqlite::Pool>),
    #[cfg(feature = "postgres")]
    Postgres(Arc<postgres::Pool>),
}

/// A transaction that has begun. Dropped before its end, it is undone.
pub(super) enum Open {
    Sqlite(sqlite::Open),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Open),
}

/// Watches for commits of other processes.
pub(super) enum Watch {
    Sqlite(Box<sqlite::Watch>),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Watch),
}

impl Place {
    pub(super) async fn of(address: Address, vfs: Option<&str>) -> Result<Self, DbError> {
        let url = address.current(Freshness::Cached).await;
        let url = url.map_err(|error| DbError::Unavailable(format!("its address is not known: {error}")))?;
        match url.reveal().split_once(':') {
            Some(("sqlite", path)) if !path.trim_start_matches("//").is_empty() => {
                Ok(Self::Sqlite(Sqlite::new(path.strip_prefix("//").unwrap_or(path), vfs)))
            }
            #[cfg(feature = "postgres")]
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(Arc::new(Server::new(address, url.reveal())?))),
            #[cfg(not(feature = "postgres"))]
            Some(("postgres" | "postgresql", _)) => Err(DbError::Broken(String::from(
                "this program was built without PostgreSQL; build it with the feature `postgres`",
            ))),
            _ => Err(DbError::Broken(String::from(
                "the database's address is neither of the form sqlite:PATH nor postgres://USER@HOST/DATABASE",
            ))),
        }
    }

    /// What it is called in messages: nothing secret.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Sqlite(file) => file.path(),
            #[cfg(feature = "postgres")]
            Self::Postgres(server) => server.name(),
        }
    }

    /// False while there is not even a file.
    pub(super) fn exists(&self) -> bool {
        match self {
            Self::Sqlite(file) => std::path::Path::new(file.path()).exists(),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => true,
        }
    }

    pub(super) fn pool(&self, mode: Mode) -> Pool {
        match self {
            Self::Sqlite(file) => Pool::Sqlite(sqlite::Pool::new(file, mode)),
            #[cfg(feature = "postgres")]
            Self::Postgres(server) => Pool::Postgres(postgres::Pool::new(Arc::clone(server), mode)),
        }
    }

    pub(super) fn watch(&self) -> Watch {
        match self {
            Self::Sqlite(file) => Watch::Sqlite(Box::new(sqlite::Watch::new(file))),
            #[cfg(feature = "postgres")]
            Self::Postgres(server) => Watch::Postgres(postgres::Watch::new(Arc::clone(server))),
        }
    }
}

impl Pool {
    pub(super) async fn begin(&self) -> Result<Open, DbError> {
        match self {
            Self::Sqlite(pool) => pool.begin().await.map(Open::Sqlite),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => pool.begin().await.map(Open::Postgres),
        }
    }
}

macro_rules! either {
    ($open:expr, $inner:ident => $call:expr) => {
        match $open {
            Open::Sqlite($inner) => $call,
            #[cfg(feature = "postgres")]
            Open::Postgres($inner) => $call,
        }
    };
}

impl Open {
    pub(super) async fn rows(&mut self, statement: &Statement, values: &[Value]) -> Result<Vec<Row>, DbError> {
        either!(self, open => open.rows(statement, values).await)
    }

    pub(super) async fn row(&mut self, statement: &Statement, values: &[Value]) -> Result<Option<Row>, DbError> {
        either!(self, open => open.row(statement, values).await)
    }

    pub(super) async fn execute(&mut self, statement: &Statement, values: &[Value]) -> Result<u64, DbError> {
        either!(self, open => open.execute(statement, values).await)
    }

    pub(super) async fn bulk_insert(&mut self, bulk: &Bulk, rows: Vec<Vec<Value>>) -> Result<u64, DbError> {
        either!(self, open => open.bulk_insert(bulk, rows).await)
    }

    pub(super) async fn prepare(&mut self, statement: &Statement) -> Result<(), DbError> {
        either!(self, open => open.prepare(statement).await)
    }

    /// What is in the database.
    pub(super) async fn found(&mut self) -> Result<Found, DbError> {
        either!(self, open => open.found().await)
    }

    /// Marks a new database as ours.
    pub(super) async fn mark(&mut self) -> Result<(), DbError> {
        either!(self, open => open.mark().await)
    }

    /// Runs the engine's text of a schema step: several statements, no values.
    pub(super) async fn migrate(&mut self, migration: &super::Migration) -> Result<(), DbError> {
        either!(self, open => open.migrate(migration).await)
    }

    /// How far a standby is behind; `None` if this is none.
    pub(super) async fn staleness(&mut self) -> Result<Option<Duration>, DbError> {
        match self {
            Self::Sqlite(_) => Ok(None),
            #[cfg(feature = "postgres")]
            Self::Postgres(open) => open.staleness().await,
        }
    }

    pub(super) async fn commit(self) -> Result<(), DbError> {
        either!(self, open => open.commit().await)
    }
}

impl Watch {
    /// A text that differs from the last one whenever another connection has committed in between.
    pub(super) async fn version(&mut self) -> Result<String, DbError> {
        match self {
            Self::Sqlite(watch) => watch.version().await.map(|version| version.to_string()),
            #[cfg(feature = "postgres")]
            Self::Postgres(watch) => watch.version().await,
        }
    }
}

/// A mistake of ours in a statement.
pub(super) fn statement_error(statement: &str, message: String) -> DbError {
    DbError::Statement { statement: statement.to_owned(), message }
}

/// What a text must not hold: PostgreSQL cannot keep it, and both engines keep the same.
pub(super) const NO_NUL: &str = "a text holds the character NUL, which databases do not keep";

/// Refuses a number of values that is not that of the placeholders.
pub(super) fn check_count(statement: &Statement, expected: usize, given: usize) -> Result<(), DbError> {
    if expected == given {
        return Ok(());
    }
    let message = format!("it has {expected} placeholders and was given {given} values");
    Err(statement_error(statement.name, message))
}
