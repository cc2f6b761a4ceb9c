//! Jobs: recurring work under a lease, once or by schedule.
//!
//! A job takes no input: it looks at the world and puts right what it finds, so running it twice, late, or
//! again after it was killed half-way does no harm. A lease in the database keeps two processes from doing the same
//! at the same time; it runs out when its holder dies.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Micros, duration, micros};
use crate::db::{Database, DbError, Statement, Value};
use crate::sql;

const STATE: Statement = sql!("jobs/state.sql");
const TAKE: Statement = sql!("jobs/take.sql");
const RENEW: Statement = sql!("jobs/renew.sql");
const RELEASE: Statement = sql!("jobs/release.sql");

/// How long a lease holds without being renewed; it is renewed three times as often.
const LEASE: Duration = Duration::from_secs(60);

/// The shortest time between two attempts of a job that did not end well.
const RETRY: Duration = Duration::from_secs(60);

/// The longest sleep of the scheduler, so that it sees what other processes have run.
const LOOK: Duration = Duration::from_secs(30);

/// Why a job did not end well.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A condition that passes: it is tried again after a minute.
    #[error("{0}; it will be tried again")]
    Retry(String),
    /// A fault that waiting does not mend: it is tried again when its time comes.
    #[error("{0}")]
    Fail(String),
}

impl From<DbError> for JobError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Unavailable(_) => Self::Retry(error.to_string()),
            _ => Self::Fail(error.to_string()),
        }
    }
}

/// What a job does.
pub type Work = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>> + Send + Sync>;

/// One job.
#[derive(Clone)]
pub struct Job {
    /// Its name, as in `antiphon run job NAME`.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// The time from one good end to the next beginning, when it is scheduled: an interval, not a time of day.
    pub every: Duration,
    /// The work. It may be dropped at any await when its lease is lost.
    pub work: Work,
}

impl Job {
    /// A job of an async function.
    pub fn new<F>(
        name: &'static str,
        about: &'static str,
        every: Duration,
        work: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        Self { name, about, every, work: Arc::new(move || Box::pin(work())) }
    }
}

/// What came of one attempt.
#[derive(Debug)]
pub enum Outcome {
    /// It ran and ended well.
    Done,
    /// Somebody else holds its lease (the holder's name).
    Held(String),
    /// It ran and did not end well, or lost its lease on the way.
    Failed(JobError),
}

/// Runs a job now, whenever it ran last, unless somebody else is running it. `owner` names the process, for people.
///
/// # Errors
/// When the lease cannot be read or written.
pub async fn run_once(database: &Database, clock: &Clock, job: &Job, owner: &str) -> Result<Outcome, DbError> {
    // Unique even within one process, so that a lease is never mistaken for one's own.
    let owner = format!("{owner} {}", uuid::Uuid::now_v7());
    if let Some(holder) = take(database, clock, job, &owner).await? {
        return Ok(Outcome::Held(holder));
    }
    let started = std::time::Instant::now();
    let outcome = tokio::select! {
        result = (job.work)() => result,
        lost = keep(database, clock, job, &owner) => Err(lost),
    };
    metrics::histogram!("antiphon_job_seconds", "job" => job.name).record(started.elapsed().as_secs_f64());
    let result = if outcome.is_ok() { "done" } else { "failed" };
    metrics::counter!("antiphon_job_runs_total", "job" => job.name, "result" => result).increment(1);
    // A fault waits for the job's time like a good end; what passes is tried again sooner.
    let is_over = !matches!(outcome, Err(JobError::Retry(_)));
    let finished_at = is_over.then(|| clock.now());
    let mut transaction = database.write().await?;
    transaction.execute(&RELEASE, &[Value::from(job.name), Value::from(owner), Value::from(finished_at)]).await?;
    transaction.commit().await?;
    Ok(match outcome {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Failed(error),
    })
}

/// Runs each job whenever its interval has passed since it last ended, in this or another process, until `stop`.
/// Jobs that run then are dropped; they are safe to be begun again.
pub async fn schedule(database: Database, clock: Clock, jobs: Vec<Job>, owner: String, stop: CancellationToken) {
    let mut running = JoinSet::new();
    let mut names = Vec::new();
    loop {
        let mut wait = LOOK;
        for job in &jobs {
            if names.contains(&job.name) {
                continue;
            }
            match due_in(&database, &clock, job).await {
                Ok(Duration::ZERO) => {
                    names.push(job.name);
                    running.spawn(attempt(database.clone(), clock.clone(), job.clone(), owner.clone()));
                }
                Ok(due) => wait = wait.min(due),
                Err(error) => tracing::warn!(job = job.name, %error, "cannot tell when it is due"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            Some(ended) = running.join_next() => match ended {
                Ok(ended) => names.retain(|name| *name != ended),
                Err(error) => {
                    // It panicked, and which one it was went with it: all others keep their leases.
                    tracing::error!(%error, "a job broke down");
                    names.clear();
                }
            },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn attempt(database: Database, clock: Clock, job: Job, owner: String) -> &'static str {
    match run_once(&database, &clock, &job, &owner).await {
        Ok(Outcome::Done) => tracing::debug!(job = job.name, "done"),
        Ok(Outcome::Held(holder)) => tracing::debug!(job = job.name, holder, "somebody else runs it"),
        Ok(Outcome::Failed(error)) => tracing::warn!(job = job.name, %error, "the job failed"),
        Err(error) => tracing::warn!(job = job.name, %error, "the job's lease cannot be used"),
    }
    job.name
}

/// How long until a job is due; zero when it is.
async fn due_in(database: &Database, clock: &Clock, job: &Job) -> Result<Duration, DbError> {
    let row = database.read().await?.row(&STATE, &[Value::from(job.name)]).await?;
    let Some(row) = row else { return Ok(Duration::ZERO) };
    let (until, tried_at): (Micros, Micros) = (row.get(1)?, row.get(2)?);
    let finished_at: Option<Micros> = row.get(3)?;
    let rested = finished_at.map_or(0, |at| at + micros(job.every));
    let at = rested.max(tried_at + micros(RETRY.min(job.every))).max(until);
    Ok(duration(at - clock.now()))
}

/// Takes the lease; the holder's name if somebody else has it.
async fn take(database: &Database, clock: &Clock, job: &Job, owner: &str) -> Result<Option<String>, DbError> {
    let mut transaction = database.write().await?;
    let now = clock.now();
    if let Some(row) = transaction.row(&STATE, &[Value::from(job.name)]).await? {
        let (holder, until): (Option<String>, Micros) = (row.get(0)?, row.get(1)?);
        if let Some(holder) = holder.filter(|_| until > now) {
            return Ok(Some(holder));
        }
    }
    let values = [Value::from(job.name), Value::from(owner), Value::Int(now + micros(LEASE)), Value::Int(now)];
    transaction.execute(&TAKE, &values).await?;
    transaction.commit().await?;
    Ok(None)
}

/// Renews the lease until it is lost.
async fn keep(database: &Database, clock: &Clock, job: &Job, owner: &str) -> JobError {
    let mut held_until = clock.now() + micros(LEASE);
    loop {
        tokio::time::sleep(LEASE / 3).await;
        match renew(database, clock, job, owner).await {
            Ok(Some(until)) => held_until = until,
            Ok(None) => return JobError::Retry(String::from("another process took the job over")),
            Err(error) if clock.now() >= held_until => return error.into(),
            Err(_) => {}
        }
    }
}

async fn renew(database: &Database, clock: &Clock, job: &Job, owner: &str) -> Result<Option<Micros>, DbError> {
    let until = clock.now() + micros(LEASE);
    let mut transaction = database.write().await?;
    let values = [Value::from(job.name), Value::from(owner), Value::Int(until)];
    let renewed = transaction.execute(&RENEW, &values).await? == 1;
    transaction.commit().await?;
    Ok(renewed.then_some(until))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::clock::SECOND;
    use crate::db::testing::every_engine;

    const HOUR: Duration = Duration::from_secs(3600);

    fn clock() -> Clock {
        Clock::manual(1_000_000 * SECOND)
    }

    fn counting(count: &Arc<AtomicUsize>, result: fn() -> Result<(), JobError>) -> Job {
        let count = Arc::clone(count);
        Job::new("count", "counts", HOUR, move || {
            count.fetch_add(1, Ordering::SeqCst);
            async move { result() }
        })
    }

    #[tokio::test]
    async fn statements_prepare() {
        for space in every_engine(&[]).await {
            let database = space.database.clone();
            database.reader().prepare_all(&[STATE, TAKE, RENEW, RELEASE]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn one_runs_while_others_are_told_who() {
        for space in every_engine(&[]).await {
            let database = space.database.clone();
            let clock = clock();
            let nested = {
                let (database, clock) = (database.clone(), clock.clone());
                Job::new("outer", "tries itself", HOUR, move || {
                    let (database, clock) = (database.clone(), clock.clone());
                    async move {
                        let again = Job::new("outer", "the same", HOUR, || async { Ok(()) });
                        let outcome = run_once(&database, &clock, &again, "second").await?;
                        assert!(matches!(&outcome, Outcome::Held(who) if who.starts_with("first ")), "{outcome:?}");
                        Ok(())
                    }
                })
            };
            let outcome = run_once(&database, &clock, &nested, "first").await.unwrap();
            assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn lease_of_the_dead_runs_out() {
        for space in every_engine(&[]).await {
            let database = space.database.clone();
            let clock = clock();
            let count = Arc::new(AtomicUsize::new(0));
            let job = counting(&count, || Ok(()));
            assert!(take(&database, &clock, &job, "dead").await.unwrap().is_none());
            assert!(matches!(run_once(&database, &clock, &job, "next").await.unwrap(), Outcome::Held(_)));
            clock.advance(micros(LEASE));
            assert!(matches!(run_once(&database, &clock, &job, "next").await.unwrap(), Outcome::Done));
            assert!(renew(&database, &clock, &job, "dead").await.unwrap().is_none(), "it wakes and has lost it");
            assert_eq!(count.load(Ordering::SeqCst), 1);
        }
    }

    #[tokio::test]
    async fn due_after_its_interval_or_a_minute_after_a_passing_failure() {
        for space in every_engine(&[]).await {
            let database = space.database.clone();
            let clock = clock();
            let count = Arc::new(AtomicUsize::new(0));
            for (result, rest) in [
                ((|| Ok(())) as fn() -> _, HOUR),
                (|| Err(JobError::Fail(String::from("broken"))), HOUR),
                (|| Err(JobError::Retry(String::from("busy"))), RETRY),
            ] {
                let job = counting(&count, result);
                assert_eq!(due_in(&database, &clock, &job).await.unwrap(), Duration::ZERO);
                run_once(&database, &clock, &job, "me").await.unwrap();
                assert_eq!(due_in(&database, &clock, &job).await.unwrap(), rest);
                clock.advance(micros(rest));
            }
        }
    }

    #[tokio::test]
    async fn schedule_runs_what_is_due_until_stopped() {
        for space in every_engine(&[]).await {
            let database = space.database.clone();
            let clock = clock();
            let stop = CancellationToken::new();
            let count = Arc::new(AtomicUsize::new(0));
            let job = {
                let (stop, count) = (stop.clone(), Arc::clone(&count));
                Job::new("often", "stops at the third time", Duration::ZERO, move || {
                    if count.fetch_add(1, Ordering::SeqCst) == 2 {
                        stop.cancel();
                    }
                    async { Ok(()) }
                })
            };
            let idle = counting(&Arc::new(AtomicUsize::new(0)), || Ok(()));
            let scheduled = schedule(database, clock, vec![job, idle], String::from("me"), stop);
            tokio::time::timeout(Duration::from_secs(20), scheduled).await.unwrap();
            assert!(count.load(Ordering::SeqCst) >= 3);
        }
    }
}
