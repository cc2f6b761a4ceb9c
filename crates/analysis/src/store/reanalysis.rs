//! Analyses songs again whose results are of an older plan than today's: an algorithm's version has risen, or the plan has
//! gained something. Sensors' recordings are not: their audio is gone, so a change counts from then on.
//!
//! A few songs at a time are queued, by the outbox, and more only when the results of those are there: whatever is uploaded
//! meanwhile waits behind these few and not behind a whole library. The transaction that queues a song raises the
//! plan version of its recording, so nothing is queued twice, whenever this is cut off; the writer
//! replaces the old results by those of the higher version in one transaction, and until then they answer.

use std::time::Duration;

use antiphon_catalog::SongId;
use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::crash;
use antiphon_platform::db::{Database, DbError, ReadTransaction, Statement, WriteTransaction};
use antiphon_platform::sql;
use prost::Message as _;

use super::song_plans::{self, SongPlan};
use crate::plan::{self, Choice};
use crate::topics::ANALYZE_SONGS;

const OF_PLAN: Statement = sql!("sql/songs_of_plan.sql");
const COUNT_OF_PLAN: Statement = sql!("sql/songs_of_plan_count.sql");
const REPLAN: Statement = sql!("sql/song_replan.sql");
const INSERT: Statement = sql!("sql/reanalysis_insert.sql");
const COUNT: Statement = sql!("sql/reanalyses_count.sql");
const DONE: Statement = sql!("sql/reanalyses_done.sql");
const GIVEN_UP: Statement = sql!("sql/reanalyses_given_up.sql");

pub(super) const STATEMENTS: &[Statement] = &[OF_PLAN, COUNT_OF_PLAN, REPLAN, INSERT, COUNT, DONE, GIVEN_UP];

/// How long a song is waited for: longer than the analysis of the longest with its retries. Its message may still be
/// in the queue after it, and has its effect when it comes.
const PATIENCE: Micros = 12 * 3_600 * SECOND;

/// How long one run goes on, and how often it looks what has become of the songs that it queued.
const RUN: Micros = 600 * SECOND;
const LOOK: Duration = Duration::from_secs(1);

/// What one step has done, and what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Songs that it queued.
    pub queued: u32,
    /// Songs that are queued now, those of earlier steps included.
    pub waiting: u32,
    /// Whether there are more to be queued.
    pub more: bool,
}

/// Queues songs whose results are not what `plan` would give, `most` at once (0: none), until all are queued or some minutes
/// are over; the next run goes on.
///
/// # Errors
/// Those of the database.
pub async fn run(db: &Database, clock: &Clock, plan: &[Choice], most: u32) -> Result<(), DbError> {
    let begun = clock.now();
    let mut left = left(&mut db.read().await?, &SongPlan::of(plan)).await?;
    let mut queued = 0_u64;
    loop {
        let step = step(db, clock, plan, most).await?;
        queued += u64::from(step.queued);
        left = left.saturating_sub(u64::from(step.queued));
        metrics::counter!("antiphon_reanalysis_queued_total").increment(u64::from(step.queued));
        metrics::gauge!("antiphon_reanalysis_waiting").set(f64::from(step.waiting));
        metrics::gauge!("antiphon_reanalysis_left").set(left as f64);
        if !step.more || most == 0 || clock.now() - begun > RUN {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    if queued > 0 || left > 0 {
        tracing::info!(queued, left, "songs are analysed again, by the plan of today");
    }
    Ok(())
}

/// Looks what has become of songs that were queued, and queues others so that `most` are. One transaction, which may be
/// cut off anywhere.
///
/// # Errors
/// Those of the database.
pub async fn step(db: &Database, clock: &Clock, plan: &[Choice], most: u32) -> Result<Step, DbError> {
    let wanted = SongPlan::of(plan);
    let mut read = db.read().await?;
    let idle = waiting(&mut read).await? == 0 && next(&mut read, &wanted, 1).await?.is_empty();
    drop(read);
    if idle {
        return Ok(Step::default());
    }
    let mut tx = db.write().await?;
    tx.execute(&DONE, &[]).await?;
    let given_up = [(clock.now() - PATIENCE).into(), ANALYZE_SONGS.name.into()];
    let given_up = tx.execute(&GIVEN_UP, &given_up).await?;
    let before = waiting(&mut tx).await?;
    let room = most.saturating_sub(before);
    // One more than there is room for tells whether there are more.
    let mut songs = next(&mut tx, &wanted, room + 1).await?;
    let more = songs.len() > room as usize;
    songs.truncate(room as usize);
    let mut queued = 0;
    if let Some(oldest) = songs.iter().map(|song| song.plan_version).max() {
        let version = song_plans::number(&mut tx, clock, &wanted, oldest).await?;
        let message = plan::of_song(version, plan).encode_to_vec();
        for song in &songs {
            queued += u32::from(queue(&mut tx, clock, song, version, &message).await?);
        }
    }
    crash::point("reanalyze.before-commit");
    tx.commit().await?;
    crash::point("reanalyze.after-commit");
    metrics::counter!("antiphon_reanalysis_given_up_total").increment(given_up);
    Ok(Step { queued, waiting: before + queued, more })
}

/// A song whose results are of an older plan.
struct Outdated {
    recording: i64,
    song: SongId,
    plan_version: u32,
}

/// Queues a song, and notes that it is; whether there is such a song.
async fn queue(
    tx: &mut WriteTransaction,
    clock: &Clock,
    outdated: &Outdated,
    version: u32,
    plan: &[u8],
) -> Result<bool, DbError> {
    let id = format!("{}/{version}", outdated.song);
    // Also of one that is not there any more: it is not to be looked for again.
    tx.execute(&REPLAN, &[outdated.recording.into(), version.into()]).await?;
    if !antiphon_catalog::analyze_again(tx, clock, outdated.song, &id, plan).await? {
        return Ok(false);
    }
    let values = [outdated.recording.into(), version.into(), clock.now().into(), id.into()];
    tx.execute(&INSERT, &values).await?;
    Ok(true)
}

/// At most `limit` songs that `wanted` would give other results of, those of the oldest plans first.
async fn next(tx: &mut ReadTransaction, wanted: &SongPlan, limit: u32) -> Result<Vec<Outdated>, DbError> {
    let mut found = Vec::new();
    for plan_version in outdated(tx, wanted).await? {
        let room = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
        if room == 0 {
            break;
        }
        for row in tx.rows(&OF_PLAN, &[plan_version.into(), room.into()]).await? {
            let name: Vec<u8> = row.get(1)?;
            let song = SongId::try_from(name.as_slice())
                .map_err(|error| DbError::Broken(format!("the recording of a song: {error}")))?;
            found.push(Outdated { recording: row.get(0)?, song, plan_version });
        }
    }
    Ok(found)
}

/// How many songs `wanted` would give other results of.
async fn left(tx: &mut ReadTransaction, wanted: &SongPlan) -> Result<u64, DbError> {
    let mut left = 0;
    for plan_version in outdated(tx, wanted).await? {
        let row = tx.row(&COUNT_OF_PLAN, &[plan_version.into()]).await?;
        left += row.map_or(Ok(0), |row| row.get::<i64>(0))?.unsigned_abs();
    }
    Ok(left)
}

/// The versions of plans that lack something of `wanted`, the oldest first.
async fn outdated(tx: &mut ReadTransaction, wanted: &SongPlan) -> Result<Vec<u32>, DbError> {
    let plans = song_plans::all(tx).await?;
    Ok(plans.into_iter().filter(|(_, plan)| !plan.covers(wanted)).map(|(version, _)| version).collect())
}

async fn waiting(tx: &mut ReadTransaction) -> Result<u32, DbError> {
    tx.row(&COUNT, &[]).await?.map_or(Ok(0), |row| row.get(0))
}
