//! How a recording looks to its readers.

use antiphon_platform::http::time;
use serde::Serialize;

use crate::ids::RecordingId;
use crate::store::{Recording, Status};

/// A recording: what it is of, and how far it has come.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct RecordingView {
    /// Its id, a function of sensor, start, lead-in and bytes.
    #[schema(example = "r4kfuqejpza7l557ib35s4o7ogduf3xjo")]
    pub id: String,
    /// The sensor that heard it.
    #[schema(example = "roof")]
    pub sensor: String,
    /// When its first sample after the lead-in was heard, UTC.
    #[schema(example = "2026-05-01T00:00:00.000000Z")]
    pub start: String,
    /// `accepted`: durable in the queue; `stored`: all its results can be queried; `failed`: `reason` says why.
    #[schema(example = "stored")]
    pub status: &'static str,
    /// Seconds of audio analysed so far, lead-in excluded; null while there are none.
    #[schema(example = 1.0)]
    pub duration: Option<f64>,
    /// When the queue had it.
    #[schema(example = "2026-05-01T00:00:01.204511Z")]
    pub accepted_at: String,
    /// When its last result was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_at: Option<String>,
    /// When it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<String>,
    /// Why it failed, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// It failed, and what decoded before the fault is kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Its audio is kept and can be listened to, as far as the sensor's retention is as it was.
    pub audio: bool,
}

impl From<Recording> for RecordingView {
    fn from(recording: Recording) -> Self {
        let analysed = recording.finish - recording.start;
        Self {
            id: RecordingId::from(recording.name).to_string(),
            sensor: recording.source,
            start: time::format(recording.start),
            status: match recording.status {
                Status::Accepted => "accepted",
                Status::Stored => "stored",
                Status::Failed => "failed",
            },
            duration: (analysed > 0).then(|| analysed as f64 / 1e6),
            accepted_at: time::format(recording.accepted_at),
            stored_at: recording.stored_at.map(time::format),
            failed_at: recording.failed_at.map(time::format),
            reason: recording.reason,
            partial: recording.partial,
            audio: recording.has_audio,
        }
    }
}
