//! The topics and groups of the analysis pipeline.

use antiphon_platform::queue::{Group, Topic};

/// Sensor audio that travels in the message.
pub const RECORDINGS: Topic = Topic("recordings");
/// Sensor audio in blobs, to be cut.
pub const LONG_RECORDINGS: Topic = Topic("long-recordings");
/// Whole files in blobs.
pub const SONGS: Topic = Topic("songs");
/// What algorithm workers found.
pub const RESULTS: Topic = Topic("results");

/// Algorithm workers for sensor audio.
pub const ANALYZE: Group = Group { name: "analyze", topic: RECORDINGS };
/// Cuts long recordings into pieces.
pub const MEDIA: Group = Group { name: "media", topic: LONG_RECORDINGS };
/// Algorithm workers for songs.
pub const ANALYZE_SONGS: Group = Group { name: "analyze-songs", topic: SONGS };
/// The writer.
pub const WRITE: Group = Group { name: "write", topic: RESULTS };

/// Every group, to be declared before the first publish.
pub const ALL: [Group; 4] = [ANALYZE, MEDIA, ANALYZE_SONGS, WRITE];
