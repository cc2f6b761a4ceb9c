//! `GET /api/v1/summaries`: what songs are in all, one row a song.

use std::sync::Arc;

use antiphon_catalog::SongId;
use antiphon_features::descriptor::{Descriptor, Output};
use antiphon_identity::Principal;
use antiphon_platform::db::ReadTransaction;
use antiphon_platform::http::{Page, Params, Problem, decode_cursor};
use antiphon_tables::{Batch, Column, Field, Kind, Table, TableError, Writer};
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::format::{Format, time_value};
use super::select::{full_name, named};
use super::stream::{Pieces, streamed};
use crate::descriptors::Known;
use crate::store::{SongSummaries, SongsWanted, SourceKind, SummaryName, SummaryValue, songs_with_summaries};

const KNOWN: &[&str] = &["songs", "tempo", "key", "features", "format", "limit", "cursor"];

/// Songs that can be named.
const NAMED: usize = 200;

/// Songs of a table that are made at a time.
const STRETCH: usize = 500;

/// What `tempo` and `key` are compared with.
const TEMPO: SummaryName = ("rhythm", "tempo");
const KEY: SummaryName = ("key", "key");

/// Outputs that say words; all others say numbers. Columns of tables have one type.
const WORDS: [SummaryName; 4] =
    [("fingerprint", "chromaprint"), ("key", "alternatives"), KEY, ("rhythm", "alternatives")];

/// Whether what an output says of a whole song is words; all others say numbers.
#[must_use]
pub fn says_words(algorithm: &str, output: &str) -> bool {
    WORDS.contains(&(algorithm, output))
}

/// Thousands of letters a song, to be looked up and not to be read: they come when they are named.
const LONG: SummaryName = ("fingerprint", "chromaprint");

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// An output of which songs have one value.
#[derive(Clone, Copy)]
struct Selected {
    descriptor: &'static Descriptor,
    output: &'static Output,
}

impl Selected {
    fn name(self) -> SummaryName {
        (self.descriptor.name, self.output.name)
    }

    fn full_name(self) -> String {
        full_name(self.descriptor, self.output)
    }

    fn field(self) -> Field {
        let kind = if says_words(self.descriptor.name, self.output.name) { Kind::Words } else { Kind::Value };
        let feature = Some(self.descriptor.name.to_owned());
        Field { feature, ..Field::new(self.full_name(), kind).unit(self.output.unit) }
    }
}

/// A song, and what it is in all.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SongSummary {
    /// The song's id.
    #[schema(example = "sdsv2fpy64gpa63awucfrirvh7kp6ss4n")]
    song: String,
    /// How much of it was analysed, in seconds.
    #[schema(value_type = f64, example = 241.6)]
    duration: Value,
    /// A number, a word, or null, by the name of the output.
    #[schema(example = json!({"rhythm.tempo": 120.1, "key.key": "A minor", "loudness.integrated": -14.2}))]
    values: Map<String, Value>,
}

/// Tempo, key, loudness and the like of all songs, or of those that are asked for, in the order of their ids.
#[utoipa::path(
    get, path = "/api/v1/summaries", tag = "features", operation_id = "list_song_summaries",
    params(
        ("songs" = Option<String>, Query, description = "Comma list of ids: only these songs, at most 200"),
        ("tempo" = Option<String>, Query, description = "Only songs with a tempo in this range of BPM, its ends included: `100..130`, `100..`, `..130`"),
        ("key" = Option<String>, Query, description = "Only songs in this key, such as `A minor`, `Am`, `Db major` or `C#`"),
        ("features" = Option<String>, Query, description = "Comma list of algorithms (`loudness`) or outputs (`rhythm.tempo`); default all that have one value a song, but for `fingerprint.chromaprint`, which comes when it is named"),
        ("format" = Option<String>, Query, description = "`json` (default, in pages), or all as one table: `csv`, `arrow` (Arrow IPC stream) or `parquet`; also by `Accept`"),
        ("limit" = Option<u32>, Query, description = "How many, 1 to 1,000; default 100"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "The songs, in the format asked for", content((Page<SongSummary> = "application/json"), ("text/csv"), ("application/vnd.apache.arrow.stream"), ("application/vnd.apache.parquet"))),
        (status = 400, description = "A parameter is wrong; the problem names it", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn list(
    principal: Principal,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    principal.may_read()?;
    let params = Params::parse(query.as_deref(), KNOWN)?;
    let wanted = wanted(&params)?;
    let selected = selected(params.list("features")?.as_deref())?;
    let names = selected.iter().map(|selected| selected.name()).collect::<Vec<_>>();
    let limit = params.limit()?;
    let after = decode_cursor::<String>(&params)?.unwrap_or_default();
    let format = Format::choose(&params, &headers)?;
    let mut tx = api.reader.read().await?;
    if let Format::Table(table_format) = format {
        let table = Arc::new(table(&selected));
        let writer = Some(Writer::new(table_format, &table)?);
        let writing = Writing { tx, wanted, names, table, writer, after: String::new() };
        return Ok(format.respond("songs", streamed(&api, Vec::new(), writing).await?));
    }
    let found = songs_with_summaries(&mut tx, &wanted, &names, &after, limit + 1).await?;
    let page = Page::of(found, limit, |last| last.song.clone());
    let items = page.items.into_iter().map(|song| info(&song, &selected)).collect();
    Ok(Json(Page { items, next: page.next }).into_response())
}

/// A table that is being written.
struct Writing {
    tx: ReadTransaction,
    wanted: SongsWanted,
    names: Vec<SummaryName>,
    table: Arc<Table>,
    /// Gone once all is written.
    writer: Option<Writer>,
    /// The last song that is written.
    after: String,
}

impl Pieces for Writing {
    fn is_done(&self) -> bool {
        self.writer.is_none()
    }

    async fn next_piece(&mut self) -> Result<Vec<u8>, Problem> {
        let Some(mut writer) = self.writer.take() else { return Ok(Vec::new()) };
        let songs = songs_with_summaries(&mut self.tx, &self.wanted, &self.names, &self.after, STRETCH).await?;
        let mut bytes = writer.write(batch(&self.table, &songs, &self.names)?)?;
        match songs.last() {
            Some(last) if songs.len() == STRETCH => {
                last.song.clone_into(&mut self.after);
                self.writer = Some(writer);
            }
            _ => bytes.extend(writer.finish()?),
        }
        Ok(bytes)
    }
}

fn info(song: &SongSummaries, selected: &[Selected]) -> SongSummary {
    let value = |selected: &Selected| match song.newest(selected.name()) {
        Some(SummaryValue::Number(number)) => json!(number),
        Some(SummaryValue::Text(text)) => json!(text),
        Some(SummaryValue::Absent(_)) | None => Value::Null,
    };
    SongSummary {
        song: song.song.clone(),
        duration: time_value(SourceKind::Song, song.duration),
        values: selected.iter().map(|selected| (selected.full_name(), value(selected))).collect(),
    }
}

fn table(selected: &[Selected]) -> Table {
    let fields = [Field::new("song", Kind::Text), Field::new("duration", Kind::Elapsed).unit("s")];
    Table {
        fields: fields.into_iter().chain(selected.iter().map(|selected| selected.field())).collect(),
        facts: Vec::new(),
    }
}

/// Songs as rows of the table of [`table`].
fn batch(table: &Arc<Table>, songs: &[SongSummaries], names: &[SummaryName]) -> Result<Batch, TableError> {
    let values = names.iter().map(|name| match says_words(name.0, name.1) {
        true => Column::Words(songs.iter().map(|song| word(song, *name)).collect()),
        false => Column::values(songs.iter().map(|song| number(song, *name))),
    });
    let ids = Column::Texts(songs.iter().map(|song| song.song.clone()).collect());
    let durations = Column::Micros(songs.iter().map(|song| song.duration).collect());
    table.batch([ids, durations].into_iter().chain(values).collect())
}

fn word(song: &SongSummaries, name: SummaryName) -> Option<String> {
    match song.newest(name) {
        Some(SummaryValue::Text(text)) => Some(text.clone()),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "no value of a song is known to more than seven digits")]
fn number(song: &SongSummaries, name: SummaryName) -> Option<f32> {
    match song.newest(name) {
        Some(SummaryValue::Number(number)) => Some(*number as f32),
        _ => None,
    }
}

/// The outputs behind a comma list of names, each once; those that are no value of a whole song are left out, unless
/// nothing is left of a name.
fn selected(asked: Option<&[&str]>) -> Result<Vec<Selected>, Problem> {
    let Some(asked) = asked else {
        let all = antiphon_features::registry()
            .iter()
            .flat_map(|descriptor| descriptor.outputs.iter().map(move |output| Selected { descriptor, output }));
        return Ok(all.filter(|selected| selected.output.has_summary() && selected.name() != LONG).collect());
    };
    let known = Known::default();
    let mut found: Vec<Selected> = Vec::new();
    for name in asked {
        let outputs = named(name, &known)?.into_iter().map(|(descriptor, output)| Selected { descriptor, output });
        let outputs: Vec<Selected> = outputs.filter(|selected| selected.output.has_summary()).collect();
        if outputs.is_empty() {
            let detail =
                format!("{name} has no value for a whole song; look for it at .../features or .../annotations");
            return Err(Problem::bad_field("features", detail));
        }
        for output in outputs {
            if found.iter().all(|found| found.name() != output.name()) {
                found.push(output);
            }
        }
    }
    Ok(found)
}

fn wanted(params: &Params) -> Result<SongsWanted, Problem> {
    let songs = params.list("songs")?.unwrap_or_default();
    if songs.len() > NAMED {
        return Err(Problem::bad_field(
            "songs",
            format!("songs may name {NAMED} songs at most; ask again for the others"),
        ));
    }
    if let Some(wrong) = songs.iter().find(|song| song.parse::<SongId>().is_err()) {
        let shown: String = wrong.chars().take(100).collect();
        return Err(Problem::bad_field("songs", format!("{shown:?} is no id of a song")));
    }
    Ok(SongsWanted {
        songs: songs.into_iter().map(str::to_owned).collect(),
        number: params.get("tempo").map(tempo).transpose()?.map(|(least, most)| (TEMPO, least, most)),
        text: params.get("key").map(keys).transpose()?.map(|keys| (KEY, keys)),
    })
}

/// The ends of a range such as `100..130`, of which one may be open.
fn tempo(text: &str) -> Result<(f64, f64), Problem> {
    let end = |text: &str, open: f64| match text.trim() {
        "" => Some(open),
        text => text.parse::<f64>().ok().filter(|number| number.is_finite()),
    };
    let ends = text.split_once("..").filter(|ends| *ends != ("", ""));
    match ends.and_then(|(least, most)| Some((end(least, f64::MIN)?, end(most, f64::MAX)?))) {
        Some((least, most)) if least <= most => Ok((least, most)),
        Some(_) => Err(Problem::bad_field("tempo", "tempo must begin at the lower end, as 100..130 does")),
        None => Err(Problem::bad_field("tempo", "tempo must be a range of BPM: 100..130, 100.. or ..130")),
    }
}

/// The names that a key may have: what is asked for as Db is stored as C# where that is usual.
fn keys(text: &str) -> Result<Vec<String>, Problem> {
    let wrong = || {
        let detail = "key must be a note with major or minor, such as A minor, Am, Db major or F#";
        Problem::bad_field("key", detail)
    };
    let text = text.trim().replace('♯', "#").replace('♭', "b");
    let mut letters = text.chars();
    let note = letters.next().map(|letter| letter.to_ascii_uppercase()).and_then(place).ok_or_else(wrong)?;
    let rest = letters.as_str();
    let (shift, mode) = match rest.strip_prefix('#') {
        Some(mode) => (1, mode),
        None => rest.strip_prefix('b').map_or((0, rest), |mode| (11, mode)),
    };
    let mode = match mode.trim() {
        "m" => "minor",
        "M" | "" => "major",
        mode => match mode.to_lowercase().as_str() {
            "minor" | "min" => "minor",
            "major" | "maj" => "major",
            _ => return Err(wrong()),
        },
    };
    let class = (note + shift) % 12;
    let spelled =
        "CDEFGAB".chars().flat_map(|letter| [("", 0), ("#", 1), ("b", 11)].map(|(sign, shift)| (letter, sign, shift)));
    let same = spelled.filter(|(letter, _, shift)| place(*letter).is_some_and(|note| (note + shift) % 12 == class));
    Ok(same.map(|(letter, sign, _)| format!("{letter}{sign} {mode}")).collect())
}

/// Semitones from C to a note without a sign.
fn place(letter: char) -> Option<u32> {
    Some(match letter {
        'C' => 0,
        'D' => 2,
        'E' => 4,
        'F' => 5,
        'G' => 7,
        'A' => 9,
        'B' => 11,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_tempo_has_one_end_at_least() {
        assert_eq!(tempo("100..130").unwrap(), (100.0, 130.0));
        assert_eq!(tempo("99.5..").unwrap(), (99.5, f64::MAX));
        assert_eq!(tempo("..130").unwrap(), (f64::MIN, 130.0));
        for wrong in ["", "..", "130..100", "120", "100-130", "a..b", "nan..", "1..2..3"] {
            assert_eq!(tempo(wrong).unwrap_err().field.as_deref(), Some("tempo"), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_known_by_all_its_names() {
        for name in ["A minor", "a minor", "Am", "A min", " a  MINOR "] {
            assert_eq!(keys(name).unwrap(), ["A minor"], "{name}");
        }
        for name in ["Db", "C# major", "d♭ maj", "C#M"] {
            assert_eq!(keys(name).unwrap(), ["C# major", "Db major"], "{name}");
        }
        assert_eq!(keys("Cb").unwrap(), ["Cb major", "B major"]);
        assert_eq!(keys("bb minor").unwrap(), ["A# minor", "Bb minor"]);
        assert_eq!(keys("B minor").unwrap(), ["Cb minor", "B minor"]);
        for wrong in ["", "H minor", "A dorian", "minor", "8A", "A##"] {
            assert_eq!(keys(wrong).unwrap_err().field.as_deref(), Some("key"), "{wrong}");
        }
    }

    #[test]
    fn features_are_values_of_whole_songs() {
        let names = |asked: Option<&[&str]>| -> Vec<String> {
            selected(asked).unwrap().into_iter().map(Selected::full_name).collect()
        };
        let all = names(None);
        for name in ["rhythm.tempo", "key.key", "key.strength", "loudness.integrated", "loudness.true_peak"] {
            assert!(all.iter().any(|one| one == name), "{name}: {all:?}");
        }
        assert!(!all.contains(&String::from("fingerprint.chromaprint")));
        assert_eq!(names(Some(&["key.key", "rhythm.tempo", "key.key"])), ["key.key", "rhythm.tempo"]);
        assert_eq!(names(Some(&["fingerprint.chromaprint"])).len(), 1);
        assert!(selected(Some(&["mel"])).is_err_and(|problem| problem.detail.contains("whole song")));
        let wrong = selected(Some(&["rythm.tempo"])).err().unwrap();
        assert_eq!(wrong.hint.as_deref(), Some("rhythm.tempo"));
        for (algorithm, output) in WORDS {
            assert!(named(&format!("{algorithm}.{output}"), &Known::default()).is_ok(), "{algorithm}.{output}");
        }
    }
}
