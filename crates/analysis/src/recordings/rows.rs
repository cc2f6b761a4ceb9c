//! The rows `accepted`: written in batches, best effort, never in the way of an answer.
//!
//! The queue's confirm is what makes a recording accepted; the row only lets people see it early, and tells a
//! repeat from a first time. So a full buffer, a busy or a broken database cost the row, not the answer:
//! the writer makes the row with the first result.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antiphon_platform::db::{Database, DbError, ReadTransaction, Statement, Value};
use antiphon_platform::sql;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::ids::RecordingId;
use crate::store::{Accepted, accept};

/// Which of 16 recordings have a row that counts (not one left of a deleted sensor): `$1` to `$16` their ids.
pub(super) const KNOWN: Statement = sql!("known.sql");

/// Ids that one [`KNOWN`] takes.
const KNOWN_IDS: usize = 16;

/// Rows that may wait; beyond it they are left to the writer.
const WAITING: usize = 4_096;

/// Most rows in one transaction, so that it does not hold the write lock for long.
const BATCH: usize = 256;

/// Least time from the start of one transaction to the next. A lone row is written at once; under load this
/// bounds the number of syncs.
const SPACING: Duration = Duration::from_millis(20);

/// How long an answer waits for its row.
const PATIENCE: Duration = Duration::from_millis(50);

/// Ids that are remembered to tell repeats when the database is slow or away.
const REMEMBERED: usize = 16_384;

/// Takes rows to be written. Cheap to clone.
#[derive(Clone)]
pub struct Rows {
    waiting: mpsc::Sender<Waiting>,
    recent: Arc<Mutex<Recent>>,
}

struct Waiting {
    row: Accepted,
    known: oneshot::Sender<bool>,
}

#[derive(Default)]
struct Recent {
    ids: HashSet<RecordingId>,
    order: VecDeque<RecordingId>,
}

impl Rows {
    /// Starts the task that writes to `database`; it ends when the last clone is dropped.
    #[must_use]
    pub fn start(database: Database) -> Self {
        let (waiting, rows) = mpsc::channel(WAITING);
        tokio::spawn(write(database, rows));
        Self { waiting, recent: Arc::default() }
    }

    /// Has the row of a recording written that the queue has confirmed, and waits for it a little. Whether it was
    /// known before, as far as could be found out.
    pub async fn add(&self, id: RecordingId, row: Accepted) -> bool {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner).add(id);
        let (known, answer) = oneshot::channel();
        if self.waiting.try_send(Waiting { row, known }).is_err() {
            metrics::counter!("antiphon_accepted_rows_left_total").increment(1);
            return recent;
        }
        match timeout(PATIENCE, answer).await {
            Ok(Ok(known)) => known,
            Ok(Err(_)) | Err(_) => recent,
        }
    }
}

impl Recent {
    /// Remembers an id; whether it was there.
    fn add(&mut self, id: RecordingId) -> bool {
        if !self.ids.insert(id) {
            return true;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        false
    }
}

async fn write(database: Database, mut rows: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::with_capacity(BATCH);
    while rows.recv_many(&mut batch, BATCH).await > 0 {
        let next = Instant::now() + SPACING;
        metrics::gauge!("antiphon_accepted_rows_waiting").set(rows.len() as f64);
        match write_batch(&database, &batch).await {
            Ok(known) => {
                for (waiting, known) in batch.drain(..).zip(known) {
                    // Nobody listens any more when the answer was given without it.
                    let _ = waiting.known.send(known);
                }
            }
            Err(error) => {
                tracing::warn!(%error, rows = batch.len(), "rows of accepted recordings are left to the writer");
                metrics::counter!("antiphon_accepted_rows_left_total").increment(batch.len() as u64);
                batch.clear();
            }
        }
        sleep_until(next).await;
    }
}

/// Writes the rows that are missing; for each one whether it was there, or came earlier in the batch.
async fn write_batch(database: &Database, batch: &[Waiting]) -> Result<Vec<bool>, DbError> {
    let mut transaction = database.write().await?;
    let names: Vec<&[u8; 20]> = batch.iter().map(|waiting| &waiting.row.name).collect();
    let mut present = known(&mut transaction, &names).await?;
    let mut missing: HashMap<[u8; 20], Accepted> = HashMap::new();
    let mut answers = Vec::with_capacity(batch.len());
    for waiting in batch {
        let first_time = present.insert(waiting.row.name);
        if first_time {
            missing.insert(waiting.row.name, waiting.row.clone());
        }
        answers.push(!first_time);
    }
    let missing: Vec<Accepted> = missing.into_values().collect();
    if !missing.is_empty() {
        accept(&mut transaction, &missing).await?;
        transaction.commit().await?;
    }
    Ok(answers)
}

async fn known(transaction: &mut ReadTransaction, names: &[&[u8; 20]]) -> Result<HashSet<[u8; 20]>, DbError> {
    let mut present = HashSet::new();
    for names in names.chunks(KNOWN_IDS) {
        // Repeating the last id fills the placeholders and finds nothing more.
        let values: Vec<Value> =
            (0..KNOWN_IDS).map(|index| names[index.min(names.len() - 1)].as_slice().into()).collect();
        for row in transaction.rows(&KNOWN, &values).await? {
            if let Ok(name) = <[u8; 20]>::try_from(row.get::<Vec<u8>>(0)?) {
                present.insert(name);
            }
        }
    }
    Ok(present)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_ids_are_remembered() {
        let id = |number: i64| RecordingId::derive("roof", number, 0, &[0; 32]);
        let mut recent = Recent::default();
        for number in 0..=REMEMBERED as i64 {
            assert!(!recent.add(id(number)));
        }
        assert!(recent.add(id(REMEMBERED as i64)));
        assert!(!recent.add(id(0)), "the oldest was let go");
        assert_eq!((recent.ids.len(), recent.order.len()), (REMEMBERED, REMEMBERED));
    }
}
