//! What was set aside: taken from the dead queues into the database, listed, replayed, dropped.
//!
//! A broker's dead queue can be neither listed by sensor nor kept for long, so the letters move into a table, and
//! the recording (or song) that they are about becomes `failed` with the reason, in one transaction. Its key is made
//! of what died and when, so taking a letter twice makes one row. Letters hold people's audio: they go after
//! [`DEAD_LETTERS_KEPT`](super::retention::DEAD_LETTERS_KEPT); those of sensors of which only features are kept never hold any.

mod privacy;
mod routes;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use antiphon_platform::clock::{Clock, Micros};
use antiphon_platform::crash;
use antiphon_platform::db::{
    Bulk, Database, DbError, OnConflict, ReadTransaction, Row, Statement, Value, WriteTransaction,
};
use antiphon_platform::outbox;
use antiphon_platform::queue::{Consumer, Death, Delivery, Group, Message, Queue, QueueError};
use antiphon_platform::sql;
use prost::Message as _;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::error::StoreError;
use super::recordings::{Accepted, Status, accept, recording, update_recordings};
use super::writer::song_id;
use crate::descriptors::Known;
use crate::workers::KEPT;
use crate::{messages, topics};

pub use routes::{Api, DeadLetterInfo, routes};

const LIST: Statement = sql!("../sql/dead_letters_list.sql");
const GET: Statement = sql!("../sql/dead_letter.sql");
const DELETE: Statement = sql!("../sql/dead_letter_delete.sql");
const EXPIRED: Statement = sql!("../sql/dead_letters_expired.sql");
const AUDIO_UNWANTED: Statement = sql!("../sql/recording_audio_unwanted.sql");

pub(super) const STATEMENTS: &[Statement] = &[LIST, GET, DELETE, EXPIRED, AUDIO_UNWANTED, privacy::ANY];

const LETTERS: Bulk = Bulk {
    table: "dead_letters",
    columns: &["id", "grp", "message_id", "kind", "source", "time", "trace", "body", "reason", "died_at", "deliveries"],
    on_conflict: OnConflict::Ignore,
};

/// Letters of one group that are held at a time; each has at most 1 MiB.
const PREFETCH: usize = 4;

/// How often it is looked whether there are new foreign groups.
const NEW_GROUPS: Duration = Duration::from_secs(5);

/// Pause before trying again when database or queue are away.
const AWAY: Duration = Duration::from_millis(500);

/// What is known of a dead letter, but for its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// UUIDv7 of what died and when.
    pub id: String,
    /// The group that set it aside.
    pub group: String,
    /// The message's id.
    pub message: String,
    /// The message's type.
    pub kind: String,
    /// The message's source, such as `sensors/roof`.
    pub source: String,
    /// When it was set aside, µs since 1970.
    pub died_at: Micros,
    /// How often it had been delivered.
    pub deliveries: u32,
    /// Why, in words.
    pub reason: String,
    /// Bytes of the message's body.
    pub size: i64,
}

/// Takes the dead letters of every group, those of foreign ones once they are known, into the database, until `stop` fires.
pub async fn run(db: Database, queue: Arc<dyn Queue>, clock: Clock, stop: CancellationToken) {
    let mut taking = JoinSet::new();
    let mut take_of = |group: Group| {
        taking.spawn(take_all(db.clone(), Arc::clone(&queue), clock.clone(), group, stop.clone()));
    };
    topics::ALL.into_iter().for_each(&mut take_of);
    let mut foreign = BTreeSet::new();
    loop {
        let known = async { Known::load(&mut db.read().await?).await };
        match known.await {
            Ok(known) => known.groups().into_iter().filter(|group| foreign.insert(*group)).for_each(&mut take_of),
            Err(error) => tracing::debug!(%error, "foreign groups are looked for again"),
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(NEW_GROUPS) => {}
        }
    }
    while taking.join_next().await.is_some() {}
}

async fn take_all(db: Database, queue: Arc<dyn Queue>, clock: Clock, group: Group, stop: CancellationToken) {
    loop {
        let taken = tokio::select! {
            () = stop.cancelled() => return,
            taken = take_some(&db, queue.as_ref(), &clock, group) => taken,
        };
        match taken {
            Err(QueueError::NotPermitted(why)) => {
                tracing::info!(group = group.name, why, "its dead letters are left to another process");
                return;
            }
            // Of a foreign group that is no more, nothing but its descriptors may be left.
            Err(error) if group.is_foreign() => {
                tracing::debug!(group = group.name, %error, "its dead letters cannot be consumed; trying again");
                tokio::time::sleep(NEW_GROUPS).await;
            }
            Err(error) => tracing::warn!(group = group.name, %error, "dead letters cannot be consumed; trying again"),
            Ok(never) => match never {},
        }
        tokio::time::sleep(AWAY).await;
    }
}

async fn take_some(
    db: &Database,
    queue: &dyn Queue,
    clock: &Clock,
    group: Group,
) -> Result<std::convert::Infallible, QueueError> {
    let mut consumer: Box<dyn Consumer> = queue.consume_dead(group, PREFETCH).await?;
    loop {
        let delivery = consumer.next().await?;
        take(db, clock, group, delivery).await?;
    }
}

/// Moves one letter. It is held until the database has it.
pub(super) async fn take(db: &Database, clock: &Clock, group: Group, delivery: Delivery) -> Result<(), QueueError> {
    let death = delivery.death.clone().unwrap_or_else(|| Death {
        reason: String::from("no reason was given"),
        time: clock.now(),
        deliveries: delivery.deliveries,
    });
    let mut about = subject(group, &delivery.message);
    while let Err(error) = store(db, clock, group, &delivery.message, &death, about.as_ref()).await {
        let id = delivery.message.id.as_str();
        tracing::warn!(%error, group = group.name, id, "a dead letter could not be stored; trying again");
        if !matches!(error, StoreError::Database(DbError::Unavailable(_) | DbError::Broken(_))) {
            // What it says of its recording makes no sense; the letter itself must not block the others.
            about = None;
        }
        tokio::time::sleep(AWAY).await;
    }
    crash::point("dead-letters.after-effect-before-ack");
    metrics::counter!("antiphon_dead_letters_total", "group" => group.name).increment(1);
    delivery.ack().await
}

async fn store(
    db: &Database,
    clock: &Clock,
    group: Group,
    message: &Message,
    death: &Death,
    about: Option<&Subject>,
) -> Result<(), StoreError> {
    let mut tx = db.write().await?;
    let keeps_audio = privacy::may_keep_audio(&mut tx, group, message).await?;
    let body = if keeps_audio { message.body.to_vec() } else { Vec::new() };
    // A broker's messages may say anything, and no text in the database of a server holds the character 0.
    let text = |text: &str| Value::Text(text.replace('\0', "\u{fffd}"));
    let row = vec![
        letter_id(group, message, death).into(),
        group.name.into(),
        text(&message.id),
        text(&message.kind),
        text(&message.source),
        message.time.into(),
        text(&message.trace),
        Value::Bytes(body),
        text(&death.reason),
        death.time.into(),
        death.deliveries.into(),
    ];
    let is_new = tx.bulk_insert(&LETTERS, vec![row]).await? == 1;
    if let Some(about) = about.filter(|_| is_new && !death.reason.ends_with(KEPT)) {
        fail(&mut tx, clock, about, &death.reason).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// What a letter is about has failed, unless it is stored.
async fn fail(tx: &mut WriteTransaction, clock: &Clock, about: &Subject, why: &str) -> Result<(), StoreError> {
    match about {
        Subject::Song(name) => {
            antiphon_catalog::mark_failed(tx, clock, song_id(name)?, why).await?;
        }
        Subject::Recording { sensor, name, start, accepted_at } => {
            let (name, start, accepted_at) = (*name, *start, *accepted_at);
            accept(tx, &[Accepted { name, sensor: sensor.clone(), start, accepted_at }]).await?;
            let found = recording(tx, &name).await?;
            if let Some(mut found) = found.filter(|found| found.status == Status::Accepted) {
                found.fail(clock.now(), why);
                update_recordings(tx, &[&found]).await?;
            }
        }
    }
    Ok(())
}

/// What a message is about.
enum Subject {
    Recording { sensor: String, name: [u8; 20], start: Micros, accepted_at: Micros },
    Song([u8; 20]),
}

/// Reads it from the body; `None` when the body is rubbish, or names nothing.
fn subject(group: Group, message: &Message) -> Option<Subject> {
    let body = message.body.clone();
    let name_of = |id: &[u8]| <[u8; 20]>::try_from(id).ok();
    let about = |sensor: String, id: &[u8], start: Micros, accepted_at: Micros| {
        let name = name_of(id).filter(|_| !sensor.is_empty())?;
        Some(Subject::Recording { sensor, name, start, accepted_at })
    };
    if group.topic == topics::RECORDINGS {
        let found = messages::Recording::decode(body).ok()?;
        // Foreign groups see recordings that nobody expects them to analyse.
        let is_expected = found.plan.is_some_and(|plan| plan.groups.iter().any(|expected| expected == group.name));
        if group.is_foreign() && !is_expected {
            return None;
        }
        about(found.sensor, &found.id, found.recording_start, found.accepted_at)
    } else if group == topics::MEDIA {
        let found = messages::LongRecording::decode(body).ok()?;
        about(found.sensor, &found.id, found.start, found.accepted_at)
    } else if group == topics::ANALYZE_SONGS {
        let found = antiphon_catalog::messages::Song::decode(body).ok()?;
        name_of(&found.id).map(Subject::Song)
    } else if [topics::ADMIT, topics::KEEP_DESCRIPTORS, antiphon_notify::NOTIFY].contains(&group) {
        // What was refused is never stored, not even as a recording that failed; descriptors and notices are about none.
        None
    } else {
        let found = messages::Result::decode(body).ok()?;
        match found.kind() {
            messages::SourceKind::Sensor => about(found.sensor, &found.id, found.recording_start, found.accepted_at),
            messages::SourceKind::Song => name_of(&found.id).map(Subject::Song),
            messages::SourceKind::Unspecified => None,
        }
    }
}

/// A UUIDv7 whose random bits are a hash of what died, so that taking it again gives the same.
fn letter_id(group: Group, message: &Message, death: &Death) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{}\n{}\n{}\n{}", group.name, message.id, death.time, death.deliveries));
    if message.id.is_empty() {
        // What a sensor publishes over MQTT has no id; two may die in one instant.
        hash.update(format!("\n{}\n", message.source));
        hash.update(&message.body);
    }
    let digest = hash.finalize();
    let mut random = [0; 10];
    random.copy_from_slice(&digest[..10]);
    let millis = u64::try_from(death.time / 1_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string()
}

/// At most `limit` letters, the newest first, after the one at `after` (time and id).
///
/// # Errors
/// Those of the database.
pub async fn list(
    tx: &mut ReadTransaction,
    after: Option<(Micros, String)>,
    limit: u32,
) -> Result<Vec<DeadLetter>, DbError> {
    let (time, id) = after.unwrap_or((Micros::MAX, String::new()));
    tx.rows(&LIST, &[time.into(), id.into(), limit.into()]).await?.iter().map(letter_of).collect()
}

/// One letter.
///
/// # Errors
/// Those of the database.
pub async fn show(tx: &mut ReadTransaction, id: &str) -> Result<Option<DeadLetter>, DbError> {
    tx.row(&GET, &[id.into()]).await?.as_ref().map(letter_of).transpose()
}

/// One letter, and its message's body.
///
/// # Errors
/// Those of the database.
pub async fn show_with_body(tx: &mut ReadTransaction, id: &str) -> Result<Option<(DeadLetter, Vec<u8>)>, DbError> {
    tx.row(&GET, &[id.into()]).await?.map(|row| Ok((letter_of(&row)?, row.get(11)?))).transpose()
}

/// Drops a letter; whether there was one. The audio of a long recording waits in the blob store for a replay; now
/// the retention job lets go of it.
///
/// # Errors
/// Those of the database.
pub async fn drop_letter(tx: &mut WriteTransaction, id: &str) -> Result<bool, DbError> {
    let Some(row) = tx.row(&GET, &[id.into()]).await? else { return Ok(false) };
    if row.get::<String>(1)? == topics::MEDIA.name
        && let Ok(long) = messages::LongRecording::decode(row.get::<Vec<u8>>(11)?.as_slice())
    {
        tx.execute(&AUDIO_UNWANTED, &[long.id.as_ref().into()]).await?;
    }
    Ok(tx.execute(&DELETE, &[id.into()]).await? > 0)
}

/// Drops what was set aside before `time`.
///
/// # Errors
/// Those of the database.
pub(super) async fn expire(db: &Database, time: Micros) -> Result<(), DbError> {
    loop {
        let mut tx = db.write().await?;
        let expired = tx.rows(&EXPIRED, &[time.into()]).await?;
        for row in &expired {
            drop_letter(&mut tx, &row.get::<String>(0)?).await?;
        }
        tx.commit().await?;
        if expired.is_empty() {
            return Ok(());
        }
    }
}

/// Sends a letter through its group again, by the outbox; what it is about is `accepted` again. Whether there was
/// such a letter.
///
/// # Errors
/// Those of the database; [`StoreError::Refused`] when this build has no such group.
pub async fn replay(tx: &mut WriteTransaction, id: &str) -> Result<bool, StoreError> {
    let Some(row) = tx.row(&GET, &[id.into()]).await? else { return Ok(false) };
    let letter = letter_of(&row)?;
    let ours = topics::ALL.into_iter().find(|group| group.name == letter.group);
    let group = ours.or_else(|| Group::foreign(&letter.group, topics::RECORDINGS));
    if letter.size == 0 && group.is_none_or(privacy::holds_audio) {
        return Err(StoreError::Refused(String::from(
            "its audio was not kept, as the retention of its sensor says; it can only be dropped",
        )));
    }
    let group = group.ok_or_else(|| {
        StoreError::Refused(format!("this build has no group {}; run one that has, or drop the letter", letter.group))
    })?;
    let message = Message {
        id: letter.message,
        kind: letter.kind,
        source: letter.source,
        time: row.get(9)?,
        trace: row.get(10)?,
        body: row.get::<Vec<u8>>(11)?.into(),
    };
    outbox::publish_to_group(tx, group, &message).await?;
    tx.execute(&DELETE, &[id.into()]).await?;
    match subject(group, &message) {
        Some(Subject::Recording { name, .. }) => {
            let found = recording(tx, &name).await?;
            if let Some(mut found) = found.filter(|found| found.status == Status::Failed) {
                found.status = Status::Accepted;
                found.failed_at = None;
                found.reason = None;
                update_recordings(tx, &[&found]).await?;
            }
        }
        Some(Subject::Song(name)) => {
            antiphon_catalog::mark_accepted(tx, song_id(&name)?).await?;
        }
        None => {}
    }
    Ok(true)
}

fn letter_of(row: &Row) -> Result<DeadLetter, DbError> {
    Ok(DeadLetter {
        id: row.get(0)?,
        group: row.get(1)?,
        message: row.get(2)?,
        kind: row.get(3)?,
        source: row.get(4)?,
        died_at: row.get(5)?,
        deliveries: row.get(6)?,
        reason: row.get(7)?,
        size: row.get(8)?,
    })
}
