//! Where a PostgreSQL server is, and how sessions with it begin.

use std::collections::HashSet;
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};

use super::super::DbError;
use super::super::engine::Mode;
use super::errors::{is_refused_login, translate, unavailable};
use crate::address::{Address, Freshness};

/// The oldest version that is supported, as `server_version_num`.
const OLDEST: u32 = 150_000;

/// How long a connection is used: credentials that were rotated are taken up by its successor before the old ones end.
const LIFETIME: Duration = Duration::from_secs(300);

/// Statements that stay prepared on a connection.
const PREPARED: usize = 256;

/// A server's address.
pub(in super::super) struct Server {
    address: Address,
    /// Host, port and database.
    name: String,
}

/// A connection that is set up.
pub(super) struct Session {
    pub(super) connection: PgConnection,
    born: Instant,
    pub(super) last_used: Instant,
    /// Tables whose staging tables are there.
    pub(super) staged: HashSet<&'static str>,
}

impl Session {
    /// Whether it is time for a new one.
    pub(super) fn is_old(&self) -> bool {
        self.born.elapsed() > LIFETIME
    }
}

impl Server {
    /// The server of `address`, which is `url` now.
    pub(in super::super) fn new(address: Address, url: &str) -> Result<Self, DbError> {
        let options = options(url)?;
        let host = options.get_socket().map_or(options.get_host().to_owned(), |path| path.display().to_string());
        let database = options.get_database().unwrap_or(options.get_username());
        Ok(Self { name: format!("PostgreSQL {host}:{}/{database}", options.get_port()), address })
    }

    /// What it is called in messages.
    pub(in super::super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn silent(&self) -> DbError {
        unavailable(self, "no answer in time")
    }

    /// Connects with the credentials of now. The caller bounds the time.
    pub(super) async fn connect(&self, mode: Mode) -> Result<Session, DbError> {
        let connection = match self.log_in(Freshness::Cached).await {
            // They may have been rotated since they were looked up.
            Err(error) if is_refused_login(&error) => self.log_in(Freshness::Now).await,
            other => other,
        };
        let connection = connection.map_err(|error| translate("connect", &error, mode, self))?;
        self.set_up(connection, mode).await
    }

    async fn log_in(&self, freshness: Freshness) -> sqlx::Result<PgConnection> {
        let url = self.address.current(freshness).await;
        let url = url.map_err(|error| sqlx::Error::Configuration(Box::new(error)))?;
        let options = options(url.reveal()).map_err(|error| sqlx::Error::Configuration(Box::new(error)))?;
        options.connect().await
    }

    async fn set_up(&self, mut connection: PgConnection, mode: Mode) -> Result<Session, DbError> {
        let version = connection.server_version_num().unwrap_or(0);
        if version < OLDEST {
            let found = version / 10_000;
            let message = format!("{}: version {found} is too old; version 15 or newer is needed", self.name);
            return Err(DbError::Broken(message));
        }
        let set = sqlx::raw_sql(AssertSqlSafe(settings(mode))).execute(&mut connection).await;
        set.map_err(|error| translate("set up", &error, mode, self))?;
        let now = Instant::now();
        Ok(Session { connection, born: now, last_used: now, staged: HashSet::new() })
    }
}

fn options(url: &str) -> Result<PgConnectOptions, DbError> {
    // What the parser says may quote a password.
    let wrong =
        |_| DbError::Broken(String::from("the database's address is not of the form postgres://USER@HOST/DATABASE"));
    let options = PgConnectOptions::from_str(url).map_err(wrong)?;
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("antiphon"),
    };
    Ok(options.statement_cache_capacity(PREPARED).disable_statement_logging())
}

/// What a session is told to do. Each line bounds how long something that went wrong holds up others.
fn settings(mode: Mode) -> String {
    let (idle_in_transaction, durable) = match mode {
        // Answers that are streamed to slow clients hold a snapshot meanwhile.
        Mode::Read => ("600s", ""),
        // The write lock of a process that has stopped, or whose connection leads nowhere, is freed after this: before
        // those who wait for it give up, since the next in turn may be another that is gone, which holds it as long.
        Mode::Write => (
            "3s",
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';",
        ),
    };
    format!(
        "SET statement_timeout = '5s';
         SET lock_timeout = '4s';
         SET idle_in_transaction_session_timeout = '{idle_in_transaction}';
         SET client_connection_check_interval = '2s';
         SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;
         SET tcp_user_timeout = '6s';
         SET client_min_messages = 'error';
         -- Compiling a plan takes longer than any of our statements should.
         SET jit = off;
         {durable}"
    )
}
