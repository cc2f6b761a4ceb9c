//! The topics and groups of the analysis pipeline.

use antiphon_notify::NOTIFY;
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
/// What the algorithms of foreign groups yield, told before their first result.
pub const DESCRIPTORS: Topic = Topic("descriptors");

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
/// Keeps what foreign groups tell of their algorithms; role `write` consumes it.
pub const KEEP_DESCRIPTORS: Group = Group { name: "descriptors", topic: DESCRIPTORS };

/// Foreign groups, which all analyse sensor audio: how an access names their dead queues.
pub const EVERY_FOREIGN: Group = Group::every_foreign(RECORDINGS);

/// Every group of ours, and that of notices, to be declared before the first publish.
pub const ALL: [Group; 7] = [ADMIT, ANALYZE, MEDIA, ANALYZE_SONGS, WRITE, KEEP_DESCRIPTORS, NOTIFY];

/// Every group of ours, and the foreign ones together: whose dead letters are taken into the database.
pub const ALL_AND_FOREIGN: [Group; 8] =
    [ADMIT, ANALYZE, MEDIA, ANALYZE_SONGS, WRITE, KEEP_DESCRIPTORS, NOTIFY, EVERY_FOREIGN];
