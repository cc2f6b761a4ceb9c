//! Watching for commits of other processes.
//!
//! It asks instead of listening: `NOTIFY` makes all commits of a server take turns, reaches no standby and no pooler.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::DbError;
use super::super::engine::Mode;
use super::PATIENCE;
use super::errors::translate;
use super::server::{Server, Session};

/// Changes whenever any transaction that wrote has ended, on a standby when that is replayed.
const SNAPSHOT: &str = "SELECT pg_current_snapshot()::text";

/// A connection of its own, made when somebody waits.
pub(in super::super) struct Watch {
    server: Arc<Server>,
    session: Option<Session>,
    /// A connection that is being made. It goes on when nobody waits any more: who waits for less time than it takes
    /// would begin another one each time, and have none ever.
    connecting: Option<JoinHandle<Result<Session, DbError>>>,
}

impl Watch {
    pub(in super::super) fn new(server: Arc<Server>) -> Self {
        Self { server, session: None, connecting: None }
    }

    /// A text that differs from the last one whenever a transaction that wrote has ended in between, in this or
    /// another database of the server. Cancel-safe.
    pub(in super::super) async fn version(&mut self) -> Result<String, DbError> {
        let mut session = match self.session.take().filter(|session| !session.is_old()) {
            Some(session) => session,
            None => self.connect().await?,
        };
        let asked = sqlx::query_scalar(SNAPSHOT).fetch_one(&mut session.connection);
        let version = timeout(PATIENCE, asked).await.map_err(|_| self.server.silent())?;
        let version = version.map_err(|error| translate("snapshot", &error, Mode::Read, &self.server))?;
        self.session = Some(session);
        Ok(version)
    }

    async fn connect(&mut self) -> Result<Session, DbError> {
        let connecting = self.connecting.get_or_insert_with(|| {
            let server = Arc::clone(&self.server);
            tokio::spawn(async move {
                timeout(PATIENCE, server.connect(Mode::Read)).await.unwrap_or_else(|_| Err(server.silent()))
            })
        });
        let connected = connecting.await;
        self.connecting = None;
        connected.unwrap_or_else(|error| Err(DbError::Unavailable(format!("the connection was not made: {error}"))))
    }
}
