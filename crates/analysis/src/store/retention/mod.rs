//! How long what is kept, and the job that lets go of the rest.

mod freeze;
mod purge;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use antiphon_platform::blobs::{BlobError, Blobs};
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::{Database, DbError, ReadTransaction, Row, Statement, Value};
use antiphon_platform::http::Problem;
use antiphon_platform::sql;
use serde::{Deserialize, Serialize};

use super::dead_letters;
use super::error::StoreError;
use super::lists::list;
use super::sources::{SourceKind, sources_of_kind};
use super::writer::DAY;
use crate::alerts;

pub use purge::{delete_sensor, delete_song};

const CHANGES_EXPIRE: Statement = sql!("../sql/changes_expire.sql");
const ARRIVALS_EXPIRE: Statement = sql!("../sql/arrivals_expire.sql");
const STAGED_EXPIRE: Statement = sql!("../sql/staged_expire.sql");
const FROZEN_BETWEEN: Statement = sql!("../sql/frozen_days_between.sql");
const RETENTIONS: Statement = sql!("../sql/retention_of_sensors.sql");
const WITH_AUDIO: Statement = sql!("../sql/recordings_with_audio.sql");
const AUDIO_GONE: Statement = sql!("../sql/recording_audio_gone.sql");

pub(super) fn statements() -> Vec<Statement> {
    let own = [CHANGES_EXPIRE, ARRIVALS_EXPIRE, STAGED_EXPIRE, FROZEN_BETWEEN, RETENTIONS, WITH_AUDIO, AUDIO_GONE];
    [&own, freeze::STATEMENTS, purge::STATEMENTS].concat()
}

/// How long live events can be resumed, in µs.
pub const CHANGES_KEPT: Micros = DAY;

/// How long dead letters and parts of unfinished results are kept, in µs.
pub const DEAD_LETTERS_KEPT: Micros = 30 * DAY;

/// How long delays of arrival are kept: the health of a sensor looks back 10 minutes.
const ARRIVALS_KEPT: Micros = 3_600 * SECOND;

/// Recordings whose audio is let go at a time.
const AUDIO_PAGE: u32 = 256;

/// How long what is kept of a sensor. Cells of 1 min and coarser are kept for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Days for which values are kept at 1 s (and frames, if the plan has them), 1 to 36,500.
    #[schema(example = 90)]
    pub one_second_days: u32,
    /// Hours for which the preview is kept, 0 to 876,000.
    #[schema(example = 24)]
    pub preview_hours: u32,
    /// Days for which audio is kept after it arrived, 0 (off) to 36,500.
    #[schema(example = 0)]
    pub audio_days: u32,
    /// Only audio from so many seconds before an alert of this sensor is on to so many after it is kept for those days, the
    /// rest for some hours, until it is sure that no alert will be on in it; 0 to 3,600. Null: all audio is kept for those
    /// days. What was kept for an alert that is deleted, or whose change is forgotten after 400 days, goes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 60)]
    pub audio_alert_seconds: Option<u32>,
    /// Privacy: of what this sensor hears, features are kept and nothing that can be listened to, not even of what could not be
    /// analysed. `audio_days` must be 0.
    #[schema(example = false)]
    pub features_only: bool,
}

impl Default for Retention {
    fn default() -> Self {
        Self { one_second_days: 90, preview_hours: 24, audio_days: 0, audio_alert_seconds: None, features_only: false }
    }
}

impl Retention {
    /// Checks the ranges.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn check(&self) -> Result<(), Problem> {
        let fields = [
            ("one_second_days", self.one_second_days, 1, 36_500),
            ("preview_hours", self.preview_hours, 0, 876_000),
            ("audio_days", self.audio_days, 0, 36_500),
            ("audio_alert_seconds", self.audio_alert_seconds.unwrap_or(0), 0, 3_600),
        ];
        for (name, value, least, most) in fields {
            if !(least..=most).contains(&value) {
                let field = format!("retention.{name}");
                return Err(Problem::bad_field(&field, format!("{field} must be {least} to {most}, not {value}")));
            }
        }
        if self.audio_alert_seconds.is_some() && !self.keeps_audio() {
            return Err(Problem::bad_field(
                "retention.audio_alert_seconds",
                "retention.audio_days says for how many days audio around alerts is kept, and must be 1 or more with it",
            ));
        }
        if self.features_only && self.keeps_audio() {
            return Err(Problem::bad_field(
                "retention.features_only",
                format!("retention.audio_days must be 0, not {}, where only features are kept", self.audio_days),
            ));
        }
        Ok(())
    }

    /// The stored form.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// Text that is not of that form.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Whether audio is kept after it was analysed.
    #[must_use]
    pub fn keeps_audio(&self) -> bool {
        self.audio_days > 0
    }
}

/// The UTC days (days since 1970) that touch `[from, to)` and are frozen: their finest cells are those of 1 min.
///
/// # Errors
/// Those of the database.
pub async fn frozen_days(tx: &mut ReadTransaction, source: i64, from: Micros, to: Micros) -> Result<Vec<i64>, DbError> {
    let days = [source.into(), from.div_euclid(DAY).into(), (to - 1).div_euclid(DAY).into()];
    tx.rows(&FROZEN_BETWEEN, &days).await?.iter().map(|row| row.get(0)).collect()
}

/// The retention of each of these sensors; the default for one that is gone, or whose text only another version can
/// read: one row must not hold up the writer.
pub(super) async fn retentions(
    tx: &mut ReadTransaction,
    sensors: &[&str],
) -> Result<HashMap<String, Retention>, DbError> {
    let mut found: HashMap<String, Retention> =
        sensors.iter().map(|sensor| ((*sensor).to_owned(), Retention::default())).collect();
    let names: Vec<(&str,)> = sensors.iter().map(|sensor| (*sensor,)).collect();
    for row in tx.rows(&RETENTIONS, &[list(&names)]).await? {
        let (sensor, text): (String, String) = (row.get(0)?, row.get(1)?);
        match Retention::from_text(&text) {
            Ok(retention) => drop(found.insert(sensor, retention)),
            Err(error) => {
                tracing::warn!(sensor, %error, "the retention of a sensor cannot be read; the default counts");
            }
        }
    }
    Ok(found)
}

/// The retention of a sensor.
async fn retention_of(tx: &mut ReadTransaction, sensor: &str) -> Result<Retention, DbError> {
    Ok(retentions(tx, &[sensor]).await?.remove(sensor).unwrap_or_default())
}

/// What can go wrong when letting go of data. The rest goes in the next run.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The database, or what is in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The blob store.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

impl From<DbError> for RetentionError {
    fn from(error: DbError) -> Self {
        Self::Store(error.into())
    }
}

/// Lets go of everything whose time is over at `now`. Takes short transactions and may be cut off anywhere: the next
/// run goes on.
///
/// # Errors
/// A [`RetentionError`].
pub async fn run(db: &Database, blobs: &Arc<dyn Blobs>, now: Micros) -> Result<(), RetentionError> {
    purge::run(db, blobs).await?;
    let sensors = sources_of_kind(&mut db.read().await?, SourceKind::Sensor).await?;
    for source in sensors {
        let kept = retention_of(&mut db.read().await?, &source.name).await?;
        freeze::run(db, &source, &kept, now).await?;
        freeze::expire_previews(db, &source, &kept, now).await?;
    }
    let minute = (now - ARRIVALS_KEPT).div_euclid(60 * SECOND);
    for (statement, before) in
        [(CHANGES_EXPIRE, now - CHANGES_KEPT), (ARRIVALS_EXPIRE, minute), (STAGED_EXPIRE, now - DEAD_LETTERS_KEPT)]
    {
        let mut tx = db.write().await?;
        tx.execute(&statement, &[before.into()]).await?;
        tx.commit().await?;
    }
    dead_letters::expire(db, now - DEAD_LETTERS_KEPT).await?;
    expire_audio(db, blobs, now).await
}

/// What is kept of a sensor's audio.
struct KeptAudio {
    /// For how long, in µs.
    age: Micros,
    /// Where only what is near alerts is: how near in µs, and the times that are so, in order.
    near_alerts: Option<(Micros, Vec<(Micros, Micros)>)>,
}

impl KeptAudio {
    async fn of(tx: &mut ReadTransaction, sensor: &str) -> Result<Self, DbError> {
        let retention = retention_of(tx, sensor).await?;
        let near_alerts = match retention.audio_alert_seconds {
            Some(seconds) => {
                let around = Micros::from(seconds) * SECOND;
                Some((around, alerts::times_on(tx, sensor, around).await?))
            }
            None => None,
        };
        Ok(Self { age: Micros::from(retention.audio_days) * DAY, near_alerts })
    }

    /// Whether audio of `[start, finish)` may be let go at `now`.
    fn is_over(&self, now: Micros, audio: &AudioTimes) -> bool {
        if audio.accepted_at <= now - self.age {
            return true;
        }
        let (Some((around, times)), Some(settled_at)) = (&self.near_alerts, audio.settled_at) else { return false };
        // The first time that ends after the audio begins; of what could not be analysed the first moment counts.
        let near = times.get(times.partition_point(|(_, to)| *to <= audio.start));
        let is_near = near.is_some_and(|(from, _)| *from < audio.finish.max(audio.start + 1));
        !is_near && settled_at <= now - alerts::UNDECIDED - around
    }
}

/// When audio was heard and what became of it, in µs since 1970.
struct AudioTimes {
    start: Micros,
    finish: Micros,
    accepted_at: Micros,
    /// When it was stored or failed.
    settled_at: Option<Micros>,
}

/// Deletes audio that was kept long enough. The row changes after the blob is gone, so nothing is forgotten.
async fn expire_audio(db: &Database, blobs: &Arc<dyn Blobs>, now: Micros) -> Result<(), RetentionError> {
    let mut kept: HashMap<String, KeptAudio> = HashMap::new();
    let mut after = (i64::MIN, 0_i64);
    loop {
        let mut tx = db.read().await?;
        let values = [Value::Int(now), after.0.into(), after.1.into(), AUDIO_PAGE.into()];
        let rows = tx.rows(&WITH_AUDIO, &values).await?;
        let mut gone = Vec::new();
        for row in &rows {
            after = (row.get(2)?, row.get(0)?);
            let times = AudioTimes {
                start: row.get(4)?,
                finish: row.get(5)?,
                accepted_at: row.get(2)?,
                settled_at: row.get(6)?,
            };
            let kept = match kept.entry(row.get(3)?) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let of = KeptAudio::of(&mut tx, new.key()).await?;
                    new.insert(of)
                }
            };
            if kept.is_over(now, &times) {
                blobs.delete(&audio_of(row, 1)?).await?;
                gone.push(after.1);
            }
        }
        drop(tx);
        if !gone.is_empty() {
            let mut tx = db.write().await?;
            for id in gone {
                tx.execute(&AUDIO_GONE, &[id.into()]).await?;
            }
            tx.commit().await?;
        }
        if rows.is_empty() {
            return Ok(());
        }
    }
}

/// The blob of the recording whose 20 bytes are in a column.
fn audio_of(row: &Row, column: usize) -> Result<String, DbError> {
    let name: Vec<u8> = row.get(column)?;
    crate::ids::RecordingId::try_from(name.as_slice())
        .map(crate::recordings::audio_key)
        .map_err(|error| DbError::Broken(error.to_string()))
}
