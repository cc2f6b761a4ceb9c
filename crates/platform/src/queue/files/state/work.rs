//! The thread that talks to the state database.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::sync::oneshot;

use super::statements::{
    PATIENCE, begin, claim, cursor, cursors, depths, forget, get, groups, set_cursor, settle, unavailable,
};
use super::{AGAIN, Ask, Cursor, End, Op, Setting, Settlement};
use crate::clock::Micros;
use crate::disk::FolderClaim;
use crate::queue::files::consumer::given_back;
use crate::queue::files::segment::{HEADER, topic_folder};
use crate::queue::{DELIVERY_LIMIT, QueueError, limit_reason};

/// The most questions that share a transaction.
const BATCH: usize = 4096;

/// How often segments that every group has finished are looked for, while anything changes.
const SWEEP: Duration = Duration::from_secs(1);

/// The version of the database's tables.
const VERSION: i64 = 1;

/// Answers questions until nobody can ask any more.
pub(super) fn run(setting: &Setting, questions: &Receiver<Op>, ready: oneshot::Sender<Result<(), QueueError>>) {
    // A runtime of its own: the engine's outlives its deliveries only by chance.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(QueueError::Unavailable(error.to_string())))),
    };
    runtime.block_on(async {
        let now = Instant::now();
        let mut worker =
            Worker { setting, connection: None, unsettled: Vec::new(), changed: true, swept: now, beaten: now };
        let opened = worker.open().await;
        let failed = opened.is_err();
        if ready.send(opened).is_err() || failed {
            return;
        }
        if let Err(error) = worker.forget_missing().await {
            tracing::warn!(%error, "the queue's state could not be tidied");
        }
        while let Some(ops) = gather(questions, worker.patience()) {
            worker.work(ops).await;
            worker.beat();
        }
        worker.work(Vec::new()).await;
        if let Some(connection) = worker.connection.take() {
            // Nothing is lost if it fails: the next one to open reads the log.
            let _ = connection.close().await;
        }
    });
}

/// Waits for a question, then takes all that are there; `None` when nobody can ask any more.
fn gather(questions: &Receiver<Op>, patience: Duration) -> Option<Vec<Op>> {
    let first = match questions.recv_timeout(patience) {
        Ok(op) => op,
        Err(RecvTimeoutError::Timeout) => return Some(Vec::new()),
        Err(RecvTimeoutError::Disconnected) => return None,
    };
    let mut ops = vec![first];
    ops.extend(questions.try_iter().take(BATCH - 1));
    Some(ops)
}

struct Worker<'a> {
    setting: &'a Setting,
    connection: Option<SqliteConnection>,
    /// Settlements that failed, as returns: their messages must not stay in flight for ever.
    unsettled: Vec<Settlement>,
    /// Something ended since the last sweep.
    changed: bool,
    swept: Instant,
    beaten: Instant,
}

impl Worker<'_> {
    /// How long to wait for questions before there is something to do without any.
    fn patience(&self) -> Duration {
        let sweep = self.changed.then(|| SWEEP.saturating_sub(self.swept.elapsed()));
        let again = (!self.unsettled.is_empty()).then_some(AGAIN);
        let beat = FolderClaim::REFRESH.saturating_sub(self.beaten.elapsed());
        [sweep, again].into_iter().flatten().fold(beat, Duration::min)
    }

    /// Keeps the folder's claim fresh for other machines.
    fn beat(&mut self) {
        if self.beaten.elapsed() >= FolderClaim::REFRESH {
            self.beaten = Instant::now();
            if let Err(error) = self.setting.claim.refresh(self.setting.clock.now()) {
                tracing::debug!(%error, "the claim of the queue's folder could not be refreshed");
            }
        }
    }

    async fn open(&mut self) -> Result<(), QueueError> {
        let path = self.setting.folder.join("state.db");
        let mut options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(PATIENCE)
            .disable_statement_logging();
        if let Some(vfs) = self.setting.vfs {
            options = options.vfs(vfs);
        }
        let mut connection = options.connect().await.map_err(unavailable)?;
        // Opening alone waits inside SQLite: who opens or closes beside us is soon done.
        sqlx::query("PRAGMA busy_timeout = 20").execute(&mut connection).await.map_err(unavailable)?;
        begin(&mut connection).await?;
        let version: i64 = sqlx::query("PRAGMA user_version")
            .fetch_one(&mut connection)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(unavailable)?;
        match version {
            0 => sqlx::raw_sql(include_str!("../sql/schema.sql"))
                .execute(&mut connection)
                .await
                .map_err(unavailable)
                .map(drop)?,
            VERSION => {}
            newer => {
                return Err(QueueError::Broken(format!(
                    "{} has version {newer}, this program knows {VERSION}: use the newer program",
                    path.display()
                )));
            }
        }
        sqlx::query("COMMIT").execute(&mut connection).await.map_err(unavailable)?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Rows of segments that are no longer there: consumed, but a crash came between file and rows.
    async fn forget_missing(&mut self) -> Result<(), QueueError> {
        let rows = sqlx::query(include_str!("../sql/known_segments.sql")).fetch_all(self.connection()?).await;
        for row in rows.map_err(unavailable)? {
            let (segment, topic): (String, String) = (get(&row, 0)?, get(&row, 1)?);
            if !topic_folder(&self.setting.folder, &topic).join(&segment).exists() {
                forget(self.connection()?, &segment).await?;
            }
        }
        Ok(())
    }

    fn connection(&mut self) -> Result<&mut SqliteConnection, QueueError> {
        self.connection.as_mut().ok_or_else(|| QueueError::Unavailable(String::from("the queue's state is not open")))
    }

    /// Answers all questions in one transaction: all of them, or none.
    async fn work(&mut self, mut ops: Vec<Op>) {
        let settlements: Vec<Settlement> = self
            .unsettled
            .drain(..)
            .chain(ops.iter().filter_map(|op| if let Op::Settle(ask) = op { Some(ask.question.clone()) } else { None }))
            .collect();
        let outcome = match self.transact(&mut ops, &settlements).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let now = self.setting.clock.now();
                self.unsettled = settlements.into_iter().map(|settlement| give_back(settlement, now)).collect();
                self.recover().await;
                Err(error.to_string())
            }
        };
        let mut topics: Vec<&str> = Vec::new();
        for op in ops {
            if let Op::Settle(ask) = &op {
                self.changed = true;
                if matches!(ask.question.end, End::Return(_)) {
                    topics.push(ask.question.topic);
                }
            }
            self.changed |= matches!(op, Op::Finish(_));
            op.answer(outcome.as_ref().map(drop));
        }
        topics.sort_unstable();
        topics.dedup();
        topics.into_iter().for_each(|topic| self.setting.wake.topic(topic));
        if self.changed && self.swept.elapsed() >= SWEEP {
            self.swept = Instant::now();
            self.changed = false;
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "segments that are consumed could not be removed");
                self.changed = true;
            }
        }
    }

    async fn transact(&mut self, ops: &mut [Op], settlements: &[Settlement]) -> Result<(), QueueError> {
        if ops.is_empty() && settlements.is_empty() {
            return Ok(());
        }
        if self.connection.is_none() {
            self.open().await?;
        }
        let setting = self.setting;
        let connection = self.connection()?;
        let declares = ops.iter().any(|op| matches!(op, Op::Declare(_)));
        if declares {
            sqlx::query("PRAGMA synchronous = FULL").execute(&mut *connection).await.map_err(unavailable)?;
        }
        let writes = !settlements.is_empty() || ops.iter().any(Op::writes);
        if writes {
            begin(connection).await?;
        }
        settle(connection, settlements).await?;
        for op in ops {
            apply(setting, connection, op).await?;
        }
        if writes {
            sqlx::query("COMMIT").execute(&mut *connection).await.map_err(unavailable)?;
        }
        if declares {
            sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut *connection).await.map_err(unavailable)?;
        }
        Ok(())
    }

    /// After a failure: undoes, or, where even that fails, begins again with a new connection.
    async fn recover(&mut self) {
        let Some(connection) = self.connection.as_mut() else { return };
        let undone = sqlx::query("ROLLBACK").execute(&mut *connection).await.is_ok();
        let usual = sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut *connection).await.is_ok();
        if !(undone && usual) {
            self.connection = None;
        }
    }

    /// Removes the segments that every group has finished.
    async fn sweep(&mut self) -> Result<(), QueueError> {
        if self.connection.is_none() {
            return Ok(());
        }
        let rows = sqlx::query(include_str!("../sql/finished.sql")).fetch_all(self.connection()?).await;
        for row in rows.map_err(unavailable)? {
            let (segment, topic): (String, String) = (get(&row, 0)?, get(&row, 1)?);
            let folder = topic_folder(&self.setting.folder, &topic);
            // The file goes first and for good: rows without a file are harmless, a file without rows would be
            // delivered again as a whole. Another process may have removed it before.
            match self.setting.disk.remove(&folder.join(&segment)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io_unavailable(&error)),
                _ => {}
            }
            self.setting.disk.sync_folder(&folder).map_err(|error| io_unavailable(&error))?;
            forget(self.connection()?, &segment).await?;
        }
        Ok(())
    }
}

impl Op {
    fn writes(&self) -> bool {
        matches!(self, Self::Declare(_) | Self::Claim(_) | Self::Finish(_) | Self::ReturnOwner(_))
    }

    fn answer(self, outcome: Result<(), &String>) {
        match self {
            Self::Declare(ask) => ask.reply(outcome),
            Self::Groups(ask) => ask.reply(outcome),
            Self::Cursors(ask) => ask.reply(outcome),
            Self::Claim(ask) => ask.reply(outcome),
            Self::Finish(ask) => ask.reply(outcome),
            Self::Settle(mut ask) => {
                ask.answer = Some(());
                ask.reply(outcome);
            }
            Self::NextDue(ask) => ask.reply(outcome),
            Self::Owners(ask) => ask.reply(outcome),
            Self::ReturnOwner(ask) => ask.reply(outcome),
            Self::Depths(ask) => ask.reply(outcome),
        }
    }
}

impl<Q, A> Ask<Q, A> {
    fn reply(self, outcome: Result<(), &String>) {
        let (Some(reply), answer) = (self.reply, self.answer) else { return };
        let answer = match outcome {
            Ok(()) => answer.ok_or_else(|| QueueError::Unavailable(String::from("the queue's state gave no answer"))),
            Err(reason) => Err(QueueError::Unavailable(reason.clone())),
        };
        // Whoever asked may have stopped waiting.
        let _ = reply.send(answer);
    }
}

/// What becomes of a settlement that failed: the message is delivered again.
fn give_back(settlement: Settlement, now: Micros) -> Settlement {
    let end = match settlement.end {
        End::Ack => given_back(settlement.from, settlement.deliveries, now),
        end @ End::Return(_) => end,
    };
    Settlement { end, ..settlement }
}

async fn apply(setting: &Setting, connection: &mut SqliteConnection, op: &mut Op) -> Result<(), QueueError> {
    match op {
        Op::Declare(ask) => {
            for (group, topic) in &ask.question {
                let query = sqlx::query(include_str!("../sql/declare.sql")).bind(*group).bind(*topic);
                query.execute(&mut *connection).await.map_err(unavailable)?;
            }
            ask.answer = Some(());
        }
        Op::Groups(ask) => ask.answer = Some(groups(connection).await?),
        Op::Cursors(ask) => ask.answer = Some(cursors(connection, ask.question).await?),
        Op::Claim(ask) => ask.answer = Some(claim(setting, connection, &ask.question).await?),
        Op::Finish(ask) => {
            let (group, segment) = &ask.question;
            let cursor = cursor(connection, group, segment).await?.unwrap_or(Cursor {
                position: HEADER,
                records: 0,
                done: false,
            });
            set_cursor(connection, group, segment, Cursor { done: true, ..cursor }).await?;
            ask.answer = Some(());
        }
        // All of them are settled together, before this.
        Op::Settle(_) => {}
        Op::NextDue(ask) => {
            let (group, kind) = ask.question;
            let query = sqlx::query(include_str!("../sql/next_due.sql")).bind(group).bind(kind.waiting_state());
            let row = query.fetch_optional(&mut *connection).await.map_err(unavailable)?;
            ask.answer = Some(row.map(|row| get(&row, 0)).transpose()?);
        }
        Op::Owners(ask) => {
            let rows = sqlx::query(include_str!("../sql/owners.sql")).fetch_all(&mut *connection).await;
            ask.answer = Some(rows.map_err(unavailable)?.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?);
        }
        Op::ReturnOwner(ask) => {
            let query = sqlx::query(include_str!("../sql/return_owner.sql"))
                .bind(&ask.question)
                .bind(i64::from(DELIVERY_LIMIT))
                .bind(limit_reason())
                .bind(setting.clock.now());
            ask.answer = Some(query.execute(&mut *connection).await.map_err(unavailable)?.rows_affected());
        }
        Op::Depths(ask) => ask.answer = Some(depths(connection).await?),
    }
    Ok(())
}

fn io_unavailable(error: &std::io::Error) -> QueueError {
    QueueError::Unavailable(format!("the queue's folder: {error}"))
}
