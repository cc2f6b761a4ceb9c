//! The topics and groups of the analysis pipeline.

use antiphon_platform::queue::{Group, Topic};

/// What sensors and `receive` publish, to be checked and admitted: on a broker its own `amq.topic` with the routing key
/// `sensors.ID.recordings`, which MQTT writes `sensors/ID/recordings`.
pub const INBOX: Topic = Topic("inbox");
/// Sensor audio that travels in the message.
pub const RECORDINGS: Topic = Topic("recordings");
/// Sensor audio in blobs, to be cut.
pub const LONG_RECORDINGS: Topic = Topic("long-recordings");
/// Whole files in blobs.
pub const SONGS: Topic = Topic("songs");
/// What algorithm workers found.
pub const RESULTS: Topic = Topic("results");

/// Checks what comes in, and publishes it as recordings.
pub const ADMIT: Group = Group { name: "admit", topic: INBOX };
/// Algorithm workers for sensor audio.
pub const ANALYZE: Group = Group { name: "analyze", topic: RECORDINGS };
/// Cuts long recordings into pieces.
pub const MEDIA: Group = Group { name: "media", topic: LONG_RECORDINGS };
/// Algorithm workers for songs.
pub const ANALYZE_SONGS: Group = Group { name: "analyze-songs", topic: SONGS };
/// The writer.
pub const WRITE: Group = Group { name: "write", topic: RESULTS };

/// Every group, to be declared before the first publish.
pub const ALL: [Group; 5] = [ADMIT, ANALYZE, MEDIA, ANALYZE_SONGS, WRITE];
