//! What the API says, as far as pages tell it.

use std::collections::HashMap;

use chrono_tz::Tz;
use serde::Deserialize;
use serde_json::Value;

/// One page of a list.
#[derive(Debug, Deserialize)]
pub struct List<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// The cursor of the next page.
    pub next: Option<String>,
}

/// A sensor, and how it is doing.
#[derive(Clone, Debug, Deserialize)]
pub struct Sensor {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: Option<String>,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// Its IANA zone.
    pub timezone: Option<String>,
    /// dB of a mean square of 1.
    pub calibration: Option<f64>,
    /// What it is analysed by.
    pub plan: Vec<Planned>,
    /// How long what is kept.
    pub retention: Retention,
    /// When it was deleted.
    pub deleted_at: Option<String>,
    /// `live`, `late`, `silent` or `never`.
    pub status: String,
    /// End of the newest stored audio.
    pub last_heard: Option<String>,
    /// How far its clock is behind the server's, in ms.
    pub clock_skew_ms: Option<i64>,
    /// Seconds heard since its midnight.
    pub seconds_today: f64,
    /// Gaps since its midnight.
    pub gaps_today: u64,
}

/// One algorithm of a plan.
#[derive(Clone, Debug, Deserialize)]
pub struct Planned {
    /// Its name.
    pub algorithm: String,
    /// What of it; empty: what it gives by default.
    #[serde(default)]
    pub outputs: Vec<String>,
}

/// How long what is kept.
#[derive(Clone, Debug, Deserialize)]
pub struct Retention {
    /// Days of seconds.
    pub one_second_days: u32,
    /// Hours of the preview.
    pub preview_hours: u32,
    /// Days of audio.
    pub audio_days: u32,
    /// Only what was heard so many seconds around alerts.
    #[serde(default)]
    pub audio_alert_seconds: Option<u32>,
}

impl Sensor {
    /// What people call it, else its id.
    #[must_use]
    pub fn title(&self) -> &str {
        self.name.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or(&self.id)
    }

    /// Whether rows for scrolling pictures are made of what it hears.
    #[must_use]
    pub fn has_preview(&self) -> bool {
        self.plan
            .iter()
            .any(|planned| planned.algorithm == "mel" && planned.outputs.iter().any(|name| name == "preview"))
    }

    /// Whether an output of an algorithm is in its plan.
    #[must_use]
    pub fn has(&self, algorithm: &str, output: &Output) -> bool {
        // An algorithm with one output may give that its own name.
        let short = output.name.strip_prefix(algorithm).map_or("", |rest| rest.trim_start_matches('.'));
        self.plan.iter().filter(|planned| planned.algorithm == algorithm).any(|planned| {
            match planned.outputs.as_slice() {
                [] => output.default,
                outputs => outputs.iter().any(|name| name == short),
            }
        })
    }

    /// Whose days it has; UTC where it is not said.
    #[must_use]
    pub fn zone(&self) -> Tz {
        self.timezone.as_deref().and_then(|zone| zone.parse().ok()).unwrap_or(Tz::UTC)
    }
}

/// A recording of a sensor.
#[derive(Debug, Deserialize)]
pub struct Recording {
    /// Its id.
    pub id: String,
    /// When it begins.
    pub start: String,
    /// `accepted`, `stored` or `failed`.
    pub status: String,
    /// Seconds.
    pub duration: Option<f64>,
    /// Why it failed.
    pub reason: Option<String>,
    /// Whether it can be listened to.
    #[serde(default)]
    pub audio: bool,
}

/// A song.
#[derive(Clone, Debug, Deserialize)]
pub struct Song {
    /// Its id.
    pub id: String,
    /// `accepted`, `stored` or `failed`.
    pub status: String,
    /// Why it failed.
    pub reason: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Who plays.
    pub artist: Option<String>,
    /// What it is on.
    pub album: Option<String>,
    /// Seconds.
    pub duration: Option<f64>,
    /// Bytes of the file.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
    /// When it came.
    pub accepted_at: String,
    /// Where its cover is.
    pub cover: Option<String>,
    /// What its file was called.
    #[serde(default)]
    pub file_name: Option<String>,
    /// What its file says of it.
    #[serde(default)]
    pub tags: Tags,
}

/// What the file of a song says of it, as far as it is shown beside what was measured.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tags {
    /// Genres, by name.
    pub genres: Vec<String>,
    /// The number of the track.
    pub track: Option<u32>,
    /// Of how many.
    pub track_total: Option<u32>,
    /// The year.
    pub year: Option<u32>,
    /// How much louder or softer to play it.
    pub replay_gain: Gains,
}

/// Gains in dB that a file asks for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Gains {
    /// ReplayGain of the song alone.
    pub track_gain: Option<f64>,
    /// The same of Opus, to -23 LUFS.
    pub r128_track_gain: Option<f64>,
}

impl Song {
    /// Its title, else its id.
    #[must_use]
    pub fn title(&self) -> &str {
        self.title.as_deref().filter(|title| !title.trim().is_empty()).unwrap_or(&self.id)
    }
}

/// One value of a whole song.
#[derive(Debug, Deserialize)]
pub struct Summary {
    /// Such as `loudness.integrated`.
    pub name: String,
    /// A number, a word, or null.
    pub value: Value,
    /// Its unit.
    pub unit: String,
    /// Why there is none.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a song is in all.
#[derive(Clone, Debug, Deserialize)]
pub struct SongValues {
    /// Its id.
    pub song: String,
    /// Numbers, words and nulls by the names of outputs, such as `rhythm.tempo`.
    pub values: HashMap<String, Value>,
}

/// What has a beginning, an end and a label; times are seconds of a song.
#[derive(Debug, Deserialize)]
pub struct Mark {
    /// Where it begins.
    pub from: f64,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who found it.
    pub algorithm: String,
}

/// What was set aside.
#[derive(Debug, Deserialize)]
pub struct Letter {
    /// Its id.
    pub id: String,
    /// Who set it aside.
    pub group: String,
    /// The message.
    pub message: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it comes from.
    pub source: String,
    /// Why.
    pub reason: String,
    /// When.
    pub died_at: String,
    /// How often it was tried.
    pub deliveries: u32,
    /// Bytes.
    pub size: u64,
}

/// What a dead letter is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About<'a> {
    /// What the sensor with this id heard.
    Sensor(&'a str),
    /// The song with this id.
    Song(&'a str),
}

impl Letter {
    /// What it is about, if that is known.
    #[must_use]
    pub fn about(&self) -> Option<About<'_>> {
        match self.source.split_once('/') {
            Some(("sensors", id)) => Some(About::Sensor(id)),
            // Songs have one source; the message's id begins with that of the song.
            None if self.source == "songs" => self.message.split('/').next().map(About::Song),
            _ => None,
        }
    }
}

/// An algorithm.
#[derive(Debug, Deserialize)]
pub struct Algorithm {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// What it belongs with.
    pub family: String,
    /// What it is, in one line.
    pub title: String,
    /// What it measures.
    pub about: String,
    /// What it yields.
    pub outputs: Vec<Output>,
    /// What defines it.
    #[serde(default)]
    pub references: Vec<String>,
    /// The sets that have it.
    #[serde(default)]
    pub plans: Vec<String>,
}

/// What an algorithm yields.
#[derive(Clone, Debug, Deserialize)]
pub struct Output {
    /// What to ask for.
    pub name: String,
    /// What it is, in one line.
    pub title: String,
    /// `series`, `annotation` or `summary`.
    pub kind: String,
    /// Its unit.
    pub unit: String,
    /// Values at each time.
    pub dimensions: u32,
    /// What each value is.
    #[serde(default)]
    pub labels: Vec<String>,
    /// What is merged over time.
    #[serde(default)]
    pub stats: Vec<String>,
    /// What there is of whole days only.
    #[serde(default)]
    pub day_stats: Vec<String>,
    /// Whether a plan has it that names the algorithm alone.
    #[serde(default)]
    pub default: bool,
}

/// An answer of the range query.
#[derive(Debug, Deserialize)]
pub struct Features {
    /// The resolution that was asked for, or chosen.
    pub resolution: String,
    /// End of the range; of a song that has no length yet, of what was analysed.
    #[serde(default)]
    pub to: Value,
    /// What the values of a row are.
    pub columns: Vec<Column>,
    /// Time, coverage, values.
    pub rows: Vec<Vec<Value>>,
    /// What was not heard.
    pub gaps: Vec<Gap>,
    /// The cursor of the next page.
    pub next: Option<String>,
}

/// A column of a range query.
#[derive(Debug, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: Option<String>,
}

/// A time that was not heard.
#[derive(Debug, Deserialize)]
pub struct Gap {
    /// Begin.
    pub from: Value,
    /// End.
    pub to: Value,
}
