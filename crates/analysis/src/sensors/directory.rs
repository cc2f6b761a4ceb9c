//! What the accept path must know of a sensor, remembered for a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::db::{DbError, Reader, Statement};
use antiphon_platform::sql;

use crate::plan::History;
use crate::store::retention::Retention;

/// Finds a sensor that exists: `$1` its id.
pub(super) const FIND: Statement = sql!("find.sql");

/// How long an answer of the database counts: as long known sensors go on when the database is down.
const KEEP: Micros = 60 * SECOND;

/// The age from which an answer is asked for again, so that a database that goes down leaves most of [`KEEP`],
/// and a plan changed by another process is followed soon.
const REFRESH: Micros = 5 * SECOND;

/// Sensors remembered at most; beyond it the memory is emptied, which costs a lookup each.
const REMEMBERED: usize = 10_000;

/// What is remembered of a sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Its id.
    pub id: String,
    /// Its plan over time.
    pub plans: History,
    /// Whether its audio is kept after it was analysed.
    pub keeps_audio: bool,
    /// Whether nothing that can be listened to may be kept of it, not even of what could not be analysed.
    pub features_only: bool,
}

/// Looks sensors up. Cheap to clone; clones share what they remember.
#[derive(Clone)]
pub struct Directory(Arc<Shared>);

struct Shared {
    reader: Reader,
    clock: Clock,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    sensors: HashMap<String, Entry>,
    /// Raised by [`Directory::forget`], so that a lookup which began before it is not remembered after it.
    generation: u64,
}

struct Entry {
    known: Arc<Known>,
    /// When the lookup began that confirmed it.
    confirmed: Micros,
    /// When the last lookup began, confirmed or not.
    asked: Micros,
}

impl Directory {
    /// A directory of the sensors that `reader` sees.
    #[must_use]
    pub fn new(reader: Reader, clock: Clock) -> Self {
        Self(Arc::new(Shared { reader, clock, memory: Mutex::default() }))
    }

    /// The sensor with this id, if it exists. What was looked up less than a minute ago is good enough.
    ///
    /// # Errors
    /// Those of the database, for a sensor that is not remembered.
    pub async fn get(&self, sensor: &str) -> Result<Option<Arc<Known>>, DbError> {
        let now = self.0.clock.now();
        match self.remembered(sensor, now) {
            Some((known, true)) => {
                let directory = self.clone();
                let sensor = sensor.to_owned();
                tokio::spawn(async move {
                    if let Err(error) = directory.look_up(&sensor, now).await {
                        tracing::warn!(%error, sensor, "the sensor was not looked up again");
                    }
                });
                Ok(Some(known))
            }
            Some((known, false)) => Ok(Some(known)),
            None => self.look_up(sensor, now).await,
        }
    }

    /// Forgets a sensor; call it after committing a change to it.
    pub fn forget(&self, sensor: &str) {
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.sensors.remove(sensor);
        memory.generation += 1;
    }

    /// What is remembered and young enough, and whether it is for this caller to look it up again.
    fn remembered(&self, sensor: &str, now: Micros) -> Option<(Arc<Known>, bool)> {
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = memory.sensors.get_mut(sensor)?;
        if now - entry.confirmed >= KEEP {
            return None;
        }
        let refresh = now - entry.asked >= REFRESH;
        if refresh {
            entry.asked = now;
        }
        Some((Arc::clone(&entry.known), refresh))
    }

    async fn look_up(&self, sensor: &str, now: Micros) -> Result<Option<Arc<Known>>, DbError> {
        let generation = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner).generation;
        let row = self.0.reader.read().await?.row(&FIND, &[sensor.into()]).await?;
        let broken = |error: &dyn std::fmt::Display| DbError::Broken(format!("sensor {sensor}: {error}"));
        let known = match row {
            Some(row) => {
                let retention = Retention::from_text(&row.get::<String>(2)?).map_err(|error| broken(&error))?;
                Some(Arc::new(Known {
                    id: row.get(0)?,
                    plans: History::from_text(&row.get::<String>(1)?).map_err(|error| broken(&error))?,
                    keeps_audio: retention.keeps_audio(),
                    features_only: retention.features_only,
                }))
            }
            None => None,
        };
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.generation != generation {
            return Ok(known);
        }
        if memory.sensors.len() >= REMEMBERED {
            memory.sensors.clear();
        }
        match &known {
            Some(known) => {
                let entry = Entry { known: Arc::clone(known), confirmed: now, asked: now };
                memory.sensors.insert(sensor.to_owned(), entry);
            }
            None => {
                memory.sensors.remove(sensor);
            }
        }
        Ok(known)
    }
}
