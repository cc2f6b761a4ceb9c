//! From bytes and a time to a confirmed message: what a 202 stands for.
//!
//! The queue's confirm is the acceptance (`docs/decisions/accept-path.md`). Nothing is remembered of what was
//! not confirmed, and sending again is always safe, because the id is a function of the content.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_platform::blobs::{BlobError, Blobs, once};
use antiphon_platform::clock::{Clock, Micros};
use antiphon_platform::crash;
use antiphon_platform::http::Problem;
use antiphon_platform::queue::{Message, Queue, QueueError, Topic};
use bytes::Bytes;
use prost::Message as _;

use super::audio_key;
use super::rows::Rows;
use crate::ids::{RecordingId, audio_digest};
use crate::messages;
use crate::sensors::Known;
use crate::store::Accepted as Row;
use crate::topics::{LONG_RECORDINGS, RECORDINGS};

/// Longest audio file that travels in its message, in bytes; a longer one goes through blobs.
pub const INLINE_LIMIT: usize = 1024 * 1024;

/// Longest title, in bytes.
pub const TITLE_LIMIT: usize = 500;

/// How long the queue or the blob store may take to confirm.
const CONFIRM: Duration = Duration::from_secs(4);

/// Audio from which hashing leaves the asynchronous threads, in bytes.
const HASH_ASIDE: usize = 256 * 1024;

/// Accepts recordings. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    /// Where messages go.
    pub queue: Arc<dyn Queue>,
    /// Where long audio goes, and such as a sensor's retention keeps. A role without blobs takes short audio only, and
    /// leaves the keeping to role `media`.
    pub blobs: Option<Arc<dyn Blobs>>,
    /// Who writes the rows; a role without a database has none.
    pub rows: Option<Rows>,
    /// Now.
    pub clock: Clock,
}

/// One audio file that a sensor offers.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The first sample after the lead-in, µs since 1970.
    pub start: Micros,
    /// Audio at the front that was sent before and yields nothing, in µs, at most 5 s.
    pub lead_in: u32,
    /// The bytes of the file, of a known format by their first bytes.
    pub audio: Bytes,
    /// When it arrived, µs since 1970: what the sensor's health and clock are judged by.
    pub arrived: Micros,
    /// What is playing, if the source says so; at most [`TITLE_LIMIT`] bytes.
    pub title: String,
    /// W3C trace context of the request, empty if there is none.
    pub trace: String,
}

/// What became of an [`Offer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The recording's id.
    pub id: RecordingId,
    /// Whether it was known before, as far as could be found out without making the sender wait.
    pub duplicate: bool,
}

/// Why an offer was not accepted. It may be sent again.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// No confirm by the queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// No confirm by the blob store.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// It does not fit into a message, and this role has no blob store for so many bytes.
    #[error("audio of {0} bytes is too long for the broker; over HTTP it is taken")]
    TooLong(usize),
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Queue(error) => error.into(),
            AcceptError::Blobs(error) => error.into(),
            AcceptError::TooLong(_) => Problem::too_large(INLINE_LIMIT as u64),
        }
    }
}

impl Acceptor {
    /// Accepts one audio file: returns when the queue has confirmed its message, within a bounded wait.
    ///
    /// # Errors
    /// An [`AcceptError`]: nothing is stored, or at most once.
    pub async fn accept(&self, sensor: &Known, offer: Offer) -> Result<Accepted, AcceptError> {
        let digest = digest(offer.audio.clone()).await;
        let id = RecordingId::derive(&sensor.id, offer.start, offer.lead_in, &digest);
        let plan = sensor.plans.at(offer.start).to_message();
        let bytes = offer.audio.len();
        let is_long = bytes > INLINE_LIMIT;
        let needs_blob = is_long || sensor.keeps_audio;
        if let Some(blobs) = self.blobs.as_ref().filter(|_| needs_blob) {
            let key = audio_key(id);
            let stored = blobs.put(&key, once(offer.audio.clone()));
            within_bound(stored).await.unwrap_or_else(|late| Err(BlobError::Unavailable(late)))?;
            crash::point("accept.after-blob-before-publish");
        }
        let row =
            Row { name: *id.as_bytes(), sensor: sensor.id.clone(), start: offer.start, accepted_at: offer.arrived };
        let (topic, message) = match &self.blobs {
            Some(_) if is_long => long_message(id, sensor, offer, plan, Bytes::new()),
            None if is_long => return Err(AcceptError::TooLong(bytes)),
            None if needs_blob => {
                let audio = offer.audio.clone();
                long_message(id, sensor, offer, plan, audio)
            }
            _ => whole_message(id, sensor, offer, plan),
        };
        let begun = Instant::now();
        self.publish(topic, message).await?;
        metrics::histogram!("antiphon_accept_confirm_seconds").record(begun.elapsed().as_secs_f64());
        metrics::counter!("antiphon_recordings_accepted_total").increment(1);
        metrics::counter!("antiphon_recordings_accepted_bytes_total").increment(bytes as u64);
        crash::point("accept.after-confirm-before-row");
        let duplicate = match &self.rows {
            Some(rows) => rows.add(id, row).await,
            None => false,
        };
        Ok(Accepted { id, duplicate })
    }

    async fn publish(&self, topic: Topic, message: Message) -> Result<(), QueueError> {
        let confirmed = self.queue.publish(topic, vec![message]);
        within_bound(confirmed).await.unwrap_or_else(|late| Err(QueueError::Unavailable(late)))
    }
}

async fn within_bound<T>(confirmed: impl Future<Output = T>) -> Result<T, String> {
    let late = |_| format!("no confirmation within {} s", CONFIRM.as_secs());
    tokio::time::timeout(CONFIRM, confirmed).await.map_err(late)
}

async fn digest(audio: Bytes) -> [u8; 32] {
    if audio.len() < HASH_ASIDE {
        return audio_digest(&audio);
    }
    let aside = audio.clone();
    match antiphon_platform::cpu::run(move || audio_digest(&aside)).await {
        Ok(digest) => digest,
        // The pool is shutting down; the answer is still owed.
        Err(_) => audio_digest(&audio),
    }
}

fn whole_message(id: RecordingId, sensor: &Known, offer: Offer, plan: messages::Plan) -> (Topic, Message) {
    let recording = messages::Recording {
        id: Bytes::copy_from_slice(id.as_bytes()),
        sensor: sensor.id.clone(),
        recording_start: offer.start,
        start: offer.start,
        lead_in: offer.lead_in,
        piece: 0,
        last_piece: true,
        plan: Some(plan),
        audio: offer.audio,
        accepted_at: offer.arrived,
        fault: String::new(),
        title: offer.title,
    };
    let body = recording.encode_to_vec().into();
    (RECORDINGS, envelope(id.to_string(), RECORDING_KIND, &sensor.id, offer.arrived, offer.trace, body))
}

/// For audio that is in blobs, or is short and comes with the message, to be put there.
fn long_message(id: RecordingId, sensor: &Known, offer: Offer, plan: messages::Plan, audio: Bytes) -> (Topic, Message) {
    let long = messages::LongRecording {
        id: Bytes::copy_from_slice(id.as_bytes()),
        sensor: sensor.id.clone(),
        start: offer.start,
        lead_in: offer.lead_in,
        plan: Some(plan),
        blob: audio_key(id),
        keep: sensor.keeps_audio,
        features_only: sensor.features_only,
        accepted_at: offer.arrived,
        audio,
        title: offer.title,
    };
    let body = long.encode_to_vec().into();
    let kind = "antiphon.long_recording.v1";
    (LONG_RECORDINGS, envelope(id.to_string(), kind, &sensor.id, offer.arrived, offer.trace, body))
}

/// The CloudEvents type of a recording or a piece of one.
pub(crate) const RECORDING_KIND: &str = "antiphon.recording.v1";

/// A message about audio of a sensor.
pub(crate) fn envelope(id: String, kind: &str, sensor: &str, time: Micros, trace: String, body: Bytes) -> Message {
    Message { id, kind: kind.to_owned(), source: format!("sensors/{sensor}"), time, trace, body }
}
