//! The thread that talks to the state database.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::sync::oneshot;

use super::{AGAIN, Ask, Candidate, Claim, Claimed, Cursor, End, GroupState, Op, Returned, Setting, Settlement};
use crate::clock::Micros;
use crate::disk::FolderClaim;
use crate::queue::files::consumer::given_back;
use crate::queue::files::segment::{HEADER, topic_folder};
use crate::queue::{DELIVERY_LIMIT, QueueError};

/// The most questions that share a transaction.
const BATCH: usize = 4096;

/// How long a transaction waits for those of other processes.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long SQLite itself waits for them. Short: it polls ever more slowly and starves beside a busy process, so
/// we ask again until [`PATIENCE`] ends.
const BUSY: Duration = Duration::from_millis(20);

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
            .busy_timeout(BUSY)
            .disable_statement_logging();
        if let Some(vfs) = self.setting.vfs {
            options = options.vfs(vfs);
        }
        let mut connection = options.connect().await.map_err(unavailable)?;
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

/// Why a message dies that nobody ever settles.
pub(in crate::queue::files) fn limit_reason() -> String {
    format!("delivered {DELIVERY_LIMIT} times without being settled")
}

async fn claim(setting: &Setting, connection: &mut SqliteConnection, claim: &Claim) -> Result<Claimed, QueueError> {
    let mut claimed = Claimed::default();
    let rows = sqlx::query(include_str!("../sql/claim_returned.sql"))
        .bind(claim.group)
        .bind(claim.kind.waiting_state())
        .bind(setting.clock.now())
        .bind(setting.owner.name())
        .bind(int(claim.limit as u64))
        .fetch_all(&mut *connection)
        .await
        .map_err(unavailable)?;
    for row in &rows {
        claimed.returned.push(returned(row)?);
    }
    let Some((topic, segment)) = &claim.segment else { return Ok(claimed) };
    let cursor = match cursor(connection, claim.group, segment).await? {
        Some(cursor) => cursor,
        // Without a row, nothing is taken yet; unless everything was, and file and rows are gone.
        None if topic_folder(&setting.folder, topic).join(segment).exists() => {
            Cursor { position: HEADER, records: 0, done: false }
        }
        None => return Ok(claimed),
    };
    let mut ahead = cursor;
    let mut taken: Vec<&Candidate> = Vec::new();
    for candidate in claim.candidates.iter().filter(|candidate| candidate.position >= cursor.position) {
        let full = taken.len() + claimed.returned.len() >= claim.limit;
        // A gap would skip what another process has not claimed: the candidates are older than the cursor's file.
        if cursor.done || candidate.position != ahead.position || (candidate.wanted && full) {
            break;
        }
        ahead = Cursor { position: candidate.next, records: ahead.records + 1, done: false };
        if candidate.wanted {
            taken.push(candidate);
        }
    }
    if ahead != cursor {
        set_cursor(connection, claim.group, segment, ahead).await?;
    }
    if !taken.is_empty() {
        let rows: Vec<Value> = taken.iter().map(|taken| json!([taken.position, taken.published])).collect();
        let query = sqlx::query(include_str!("../sql/claim_new.sql"))
            .bind(claim.group)
            .bind(segment)
            .bind(setting.owner.name())
            .bind(Value::from(rows).to_string());
        for row in query.fetch_all(&mut *connection).await.map_err(unavailable)? {
            claimed.new.push((get(&row, 0)?, get::<i64>(&row, 1)? as u64));
        }
    }
    claimed.cursor = Some(ahead);
    Ok(claimed)
}

fn returned(row: &sqlx::sqlite::SqliteRow) -> Result<Returned, QueueError> {
    let death = match get::<Option<i64>>(row, 6)? {
        Some(died) => Some((get::<Option<String>>(row, 5)?.unwrap_or_default(), died, get(row, 7)?)),
        None => None,
    };
    Ok(Returned {
        id: get(row, 0)?,
        segment: get(row, 1)?,
        position: get::<i64>(row, 2)? as u64,
        deliveries: get(row, 3)?,
        retries: get(row, 4)?,
        death,
    })
}

async fn settle(connection: &mut SqliteConnection, settlements: &[Settlement]) -> Result<(), QueueError> {
    let mut acks: Vec<Value> = Vec::new();
    let mut returns: Vec<Value> = Vec::new();
    for Settlement { id, deliveries, end, .. } in settlements {
        match end {
            End::Ack => acks.push(json!([id, deliveries])),
            End::Return(to) => {
                let (reason, died) = to.death.as_ref().map(|(reason, died)| (reason, died)).unzip();
                let state = to.to.waiting_state();
                let (unseen, step) = (i64::from(to.unseen), i64::from(to.step));
                returns.push(json!([id, deliveries, state, to.not_before, unseen, step, reason, died]));
            }
        }
    }
    for (rows, text) in [(acks, include_str!("../sql/ack.sql")), (returns, include_str!("../sql/return.sql"))] {
        if !rows.is_empty() {
            let query = sqlx::query(text).bind(Value::from(rows).to_string());
            query.execute(&mut *connection).await.map_err(unavailable)?;
        }
    }
    Ok(())
}

async fn cursor(connection: &mut SqliteConnection, group: &str, segment: &str) -> Result<Option<Cursor>, QueueError> {
    let query = sqlx::query(include_str!("../sql/cursor.sql")).bind(group).bind(segment);
    let row = query.fetch_optional(connection).await.map_err(unavailable)?;
    row.map(|row| cursor_of(&row, 0)).transpose()
}

fn cursor_of(row: &sqlx::sqlite::SqliteRow, first: usize) -> Result<Cursor, QueueError> {
    Ok(Cursor {
        position: get::<i64>(row, first)? as u64,
        records: get::<i64>(row, first + 1)? as u64,
        done: get(row, first + 2)?,
    })
}

async fn set_cursor(
    connection: &mut SqliteConnection,
    group: &str,
    segment: &str,
    cursor: Cursor,
) -> Result<(), QueueError> {
    let query = sqlx::query(include_str!("../sql/set_cursor.sql"))
        .bind(group)
        .bind(segment)
        .bind(int(cursor.position))
        .bind(int(cursor.records))
        .bind(cursor.done);
    query.execute(connection).await.map_err(unavailable).map(drop)
}

async fn cursors(connection: &mut SqliteConnection, group: &str) -> Result<HashMap<String, Cursor>, QueueError> {
    let query = sqlx::query(include_str!("../sql/cursors.sql")).bind(group);
    let rows = query.fetch_all(connection).await.map_err(unavailable)?;
    rows.iter().map(|row| Ok((get(row, 0)?, cursor_of(row, 1)?))).collect()
}

async fn groups(connection: &mut SqliteConnection) -> Result<Vec<(String, String)>, QueueError> {
    let rows = sqlx::query(include_str!("../sql/groups.sql")).fetch_all(connection).await.map_err(unavailable)?;
    rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
}

async fn depths(connection: &mut SqliteConnection) -> Result<Vec<GroupState>, QueueError> {
    let mut states = Vec::new();
    for (name, topic) in groups(&mut *connection).await? {
        let cursors = cursors(&mut *connection, &name).await?;
        states.push(GroupState { name, topic, cursors, ..GroupState::default() });
    }
    let rows = sqlx::query(include_str!("../sql/counts.sql")).fetch_all(connection).await.map_err(unavailable)?;
    for row in &rows {
        let (name, state, count): (String, i64, i64) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
        let Some(group) = states.iter_mut().find(|group| group.name == name) else { continue };
        match state {
            0 => {
                group.waiting = count as u64;
                group.oldest_published = get::<Option<Micros>>(row, 3)?;
            }
            1 => group.in_flight = count as u64,
            _ => group.dead += count as u64,
        }
    }
    Ok(states)
}

/// Forgets a segment whose file is gone.
async fn forget(connection: &mut SqliteConnection, segment: &str) -> Result<(), QueueError> {
    for text in [include_str!("../sql/forget_cursors.sql"), include_str!("../sql/forget_deliveries.sql")] {
        sqlx::query(text).bind(segment).execute(&mut *connection).await.map_err(unavailable)?;
    }
    Ok(())
}

async fn begin(connection: &mut SqliteConnection) -> Result<(), QueueError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {}
            other => return other.map_err(unavailable).map(drop),
        }
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    // The extended codes of SQLITE_BUSY have 5 in their low byte.
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

fn get<'r, T>(row: &'r sqlx::sqlite::SqliteRow, column: usize) -> Result<T, QueueError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(column).map_err(unavailable)
}

/// Positions and counts fit by far: a segment is some 64 MiB long.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unavailable(error: sqlx::Error) -> QueueError {
    let damaged =
        error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "11" || code == "26");
    if damaged {
        return QueueError::Broken(format!(
            "state.db is damaged: {error}; move it away to have every message delivered again"
        ));
    }
    QueueError::Unavailable(format!("the queue's state: {error}"))
}

fn io_unavailable(error: &std::io::Error) -> QueueError {
    QueueError::Unavailable(format!("the queue's folder: {error}"))
}
