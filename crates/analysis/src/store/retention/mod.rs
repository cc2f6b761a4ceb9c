//! How long what is kept, and the job that lets go of the rest.

mod freeze;
mod purge;

use std::collections::HashMap;
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
    /// Privacy: of what this sensor hears, features are kept and nothing that can be listened to, not even of what could not be
    /// analysed. `audio_days` must be 0.
    #[schema(example = false)]
    pub features_only: bool,
}

impl Default for Retention {
    fn default() -> Self {
        Self { one_second_days: 90, preview_hours: 24, audio_days: 0, features_only: false }
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
        ];
        for (name, value, least, most) in fields {
            if !(least..=most).contains(&value) {
                let field = format!("retention.{name}");
                return Err(Problem::bad_field(&field, format!("{field} must be {least} to {most}, not {value}")));
            }
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

/// Deletes audio that was kept long enough. The row changes after the blob is gone, so nothing is forgotten.
async fn expire_audio(db: &Database, blobs: &Arc<dyn Blobs>, now: Micros) -> Result<(), RetentionError> {
    let mut kept: HashMap<String, Retention> = HashMap::new();
    let mut after = (i64::MIN, 0_i64);
    loop {
        let mut tx = db.read().await?;
        let values = [Value::Int(now), after.0.into(), after.1.into(), AUDIO_PAGE.into()];
        let rows = tx.rows(&WITH_AUDIO, &values).await?;
        let mut gone = Vec::new();
        for row in &rows {
            after = (row.get(2)?, row.get(0)?);
            let sensor: String = row.get(3)?;
            if !kept.contains_key(&sensor) {
                kept.insert(sensor.clone(), retention_of(&mut tx, &sensor).await?);
            }
            let days = kept.get(&sensor).map_or(0, |kept| kept.audio_days);
            if after.0 <= now - i64::from(days) * DAY {
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
