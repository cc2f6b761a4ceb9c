//! Notices on their way: kept by id, sent under a lease.
//!
//! The lease is the time itself at which a notice is due. Taking it moves that time behind the longest that an attempt can
//! last and counts the attempt; whoever ends an attempt names its number. So a process that dies gives the notice back
//! when the time has come, and one that was thought dead changes nothing.

use std::time::Duration;

use antiphon_platform::clock::{Micros, micros};
use antiphon_platform::db::{Database, DbError, ReadTransaction, Row, Statement, WriteTransaction};
use antiphon_platform::sql;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::hooks::Hook;
use crate::messages;
use crate::signature::Secret;

const INSERT: Statement = sql!("sql/delivery_insert.sql");
const DUE: Statement = sql!("sql/deliveries_due.sql");
const LEASE_ONE: Statement = sql!("sql/delivery_lease.sql");
const LATER: Statement = sql!("sql/delivery_later.sql");
const END: Statement = sql!("sql/delivery_end.sql");
const NEXT: Statement = sql!("sql/deliveries_next.sql");
const OVERTAKEN: Statement = sql!("sql/deliveries_overtaken.sql");
const LONG: Statement = sql!("sql/deliveries_long.sql");
const SHORTEN: Statement = sql!("sql/deliveries_shorten.sql");
const WAITING: Statement = sql!("sql/deliveries_waiting.sql");
const EXPIRE: Statement = sql!("sql/deliveries_expire.sql");
const GET: Statement = sql!("sql/delivery_get.sql");
const LAST_TEST: Statement = sql!("sql/delivery_last_test.sql");

pub(crate) const STATEMENTS: &[Statement] =
    &[INSERT, DUE, LEASE_ONE, LATER, END, NEXT, OVERTAKEN, LONG, SHORTEN, WAITING, EXPIRE, GET, LAST_TEST];

/// The longest that one attempt may last.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(20);

/// How long a notice belongs to who took it: longer than an attempt and its note take.
const LEASE: Duration = Duration::from_secs(30);

/// The pause after the first, second, ... failure; the last one is repeated. Up to a fifth is added.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(900),
    Duration::from_secs(3_600),
];

/// How long after it was first due a notice is given up. Between two attempts lies an hour at most, and a fifth.
const GIVE_UP: Duration = Duration::from_secs(24 * 3_600);

/// Attempts of a test: somebody waits for it.
const TEST_ATTEMPTS: u32 = 3;

/// How long it is known what became of a notice.
const KEPT: Duration = Duration::from_secs(400 * 24 * 3_600);

/// Notices of one hook that are known longer than they wait: the newest.
const MOST_KEPT: i64 = 10_000;

/// Notices of one hook that wait, at most: a receiver that is down for long is told the newest ones, and fills no disk.
const MOST_WAITING: i64 = 1_000;

/// The body of what has ended.
const NOTHING: &[u8] = &[];

/// The most bytes of an explanation.
const PROBLEM: usize = 500;

/// How a notice is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is to be sent.
    Waiting,
    /// The receiver answered 2xx.
    Arrived,
    /// It was not taken in a day, the receiver said 410, or too many newer ones wait.
    GivenUp,
}

/// What is known of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: String,
    /// How it is doing.
    pub state: State,
    /// How often it was sent.
    pub attempts: u32,
    /// HTTP status of the last answer.
    pub status: Option<u32>,
    /// What went wrong the last time, in words.
    pub problem: Option<String>,
    /// When it arrived or was given up, µs since 1970; while it waits, when it is sent next.
    pub at: Micros,
}

/// A notice to be sent now, by who leased it.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) id: String,
    pub(crate) body: Bytes,
    /// The number of this attempt, 1 for the first.
    pub(crate) attempt: u32,
    test: bool,
    /// When it was first due, or came in.
    since: Micros,
    pub(crate) url: String,
    pub(crate) secret: Secret,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: Option<u32>,
    pub(crate) problem: Option<String>,
    /// The receiver wants no more of this.
    pub(crate) is_final: bool,
}

/// Keeps a notice, unless it is there or its hook is gone. Those that wait longest make room: beside a test no older test
/// waits, and beside others the newest [`MOST_WAITING`].
pub(crate) async fn keep(
    tx: &mut WriteTransaction,
    id: &str,
    notice: &messages::Notice,
    now: Micros,
) -> Result<(), DbError> {
    let values = [
        id.into(),
        notice.hook.as_str().into(),
        notice.number.into(),
        notice.test.into(),
        notice.body.as_ref().into(),
        now.max(notice.not_before).into(),
        now.max(notice.not_before).into(),
    ];
    if tx.execute(&INSERT, &values).await? == 0 {
        return Ok(());
    }
    let (last, why) = match notice.test {
        true => (notice.number, String::from("a newer test was sent instead")),
        false => {
            let why = format!("it was not taken before {MOST_WAITING} newer ones waited");
            (notice.number.saturating_sub(MOST_WAITING), why)
        }
    };
    let values = [
        notice.hook.as_str().into(),
        notice.test.into(),
        last.into(),
        now.into(),
        why.into(),
        NOTHING.into(),
        id.into(),
    ];
    tx.execute(&OVERTAKEN, &values).await.map(drop)
}

/// Takes at most `most` notices that are due, the longest due first; of each hook one that is no test.
pub(crate) async fn lease(db: &Database, now: Micros, most: usize) -> Result<Vec<Due>, DbError> {
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    // Most of the time there is nothing, which a snapshot tells without the lock of a writer.
    if db.read().await?.rows(&DUE, &[now.into(), limit.into()]).await?.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = db.write().await?;
    let mut leased = Vec::new();
    for row in tx.rows(&DUE, &[now.into(), limit.into()]).await? {
        let due = due_of(&row)?;
        let values = [due.id.as_str().into(), (due.attempt - 1).into(), (now + micros(LEASE)).into()];
        if tx.execute(&LEASE_ONE, &values).await? == 1 {
            leased.push(due);
        }
    }
    tx.commit().await?;
    Ok(leased)
}

/// Notes what came of an attempt: it arrived, is tried again, or is given up. Nothing if another attempt was begun since.
pub(crate) async fn note(db: &Database, due: &Due, outcome: &Outcome, now: Micros) -> Result<State, DbError> {
    let arrived = outcome.problem.is_none();
    let next = now + pause(&due.id, due.attempt);
    let is_late = if due.test { due.attempt >= TEST_ATTEMPTS } else { next > due.since + micros(GIVE_UP) };
    let state = match (arrived, outcome.is_final || is_late) {
        (true, _) => State::Arrived,
        (false, true) => State::GivenUp,
        (false, false) => State::Waiting,
    };
    let problem = outcome.problem.as_deref().map(|problem| {
        let end = problem.char_indices().map(|(at, _)| at).take_while(|at| *at <= PROBLEM).last().unwrap_or(0);
        if problem.len() > PROBLEM { problem[..end].to_owned() } else { problem.to_owned() }
    });
    let key = [due.id.as_str().into(), due.attempt.into()];
    let mut tx = db.write().await?;
    if state == State::Waiting {
        let rest = [next.into(), outcome.status.into(), problem.into()];
        tx.execute(&LATER, &[&key[..], &rest].concat()).await?;
    } else {
        let rest = [now.into(), arrived.into(), outcome.status.into(), problem.into(), NOTHING.into()];
        tx.execute(&END, &[&key[..], &rest].concat()).await?;
    }
    tx.commit().await?;
    Ok(state)
}

/// When the next notice is due after `now`, and how many are to be sent in all.
pub(crate) async fn outlook(tx: &mut ReadTransaction, now: Micros) -> Result<(Option<Micros>, i64), DbError> {
    let next = tx.row(&NEXT, &[now.into()]).await?.map_or(Ok(None), |row| row.get(0))?;
    let waiting = tx.row(&WAITING, &[]).await?.map_or(Ok(0), |row| row.get(0))?;
    Ok((next, waiting))
}

/// What is known of a notice; `None` before it came in, and when it is long past.
///
/// # Errors
/// Those of the database.
pub async fn delivery(tx: &mut ReadTransaction, id: &str) -> Result<Option<Delivery>, DbError> {
    tx.row(&GET, &[id.into()]).await?.as_ref().map(delivery_of).transpose()
}

/// The newest test of a hook.
///
/// # Errors
/// Those of the database.
pub async fn last_test(tx: &mut ReadTransaction, hook: &Hook) -> Result<Option<Delivery>, DbError> {
    tx.row(&LAST_TEST, &[hook.into()]).await?.as_ref().map(delivery_of).transpose()
}

/// Forgets what ended long ago, and of each hook all but the newest `MOST_KEPT`.
///
/// # Errors
/// Those of the database.
pub async fn expire(db: &Database, now: Micros) -> Result<(), DbError> {
    let mut tx = db.write().await?;
    tx.execute(&EXPIRE, &[(now - micros(KEPT)).into()]).await?;
    for row in tx.rows(&LONG, &[MOST_KEPT.into()]).await? {
        let (hook, newest): (String, i64) = (row.get(0)?, row.get(1)?);
        tx.execute(&SHORTEN, &[hook.into(), (newest - MOST_KEPT).into()]).await?;
    }
    tx.commit().await
}

/// The pause after a failed attempt. What is added comes from the id, so that notices which failed together do not come
/// again together.
fn pause(id: &str, attempt: u32) -> Micros {
    let place = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
    let pause = micros(PAUSES[place]);
    let digest = Sha256::digest(format!("{id} {attempt}"));
    pause + pause / 5 * i64::from(digest[0]) / 255
}

fn due_of(row: &Row) -> Result<Due, DbError> {
    let attempts: u32 = row.get(2)?;
    Ok(Due {
        id: row.get(0)?,
        body: row.get::<Vec<u8>>(1)?.into(),
        attempt: attempts + 1,
        test: row.get(3)?,
        since: row.get(4)?,
        url: row.get(6)?,
        secret: Secret::of(row.get(7)?),
    })
}

fn delivery_of(row: &Row) -> Result<Delivery, DbError> {
    let (ended_at, arrived): (Option<Micros>, bool) = (row.get(4)?, row.get(5)?);
    let state = match (ended_at, arrived) {
        (None, _) => State::Waiting,
        (Some(_), true) => State::Arrived,
        (Some(_), false) => State::GivenUp,
    };
    let at = ended_at.map_or_else(|| row.get(6), Ok)?;
    Ok(Delivery { id: row.get(0)?, state, attempts: row.get(1)?, status: row.get(2)?, problem: row.get(3)?, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_hour_and_differ_by_notice() {
        for attempt in 1..40 {
            let least = PAUSES[(attempt as usize - 1).min(5)];
            let found = pause("a/1", attempt);
            assert!((micros(least)..=micros(least) * 6 / 5).contains(&found), "{attempt}: {found}");
        }
        assert_ne!(pause("a/1", 6), pause("a/2", 6));
    }
}
