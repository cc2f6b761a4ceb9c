//! Values of whole songs: of one, or of all of them, page by page.

use std::collections::HashMap;

use antiphon_platform::clock::Micros;
use antiphon_platform::db::{DbError, ReadTransaction, Row, Statement, Value};
use antiphon_platform::sql;

use super::lists::list;
use super::sources::{LayerKind, Layers};

const SUMMARIES: Statement = sql!("sql/summaries.sql");
const SONGS: Statement = sql!("sql/summaries_songs.sql");
const OF_SONGS: Statement = sql!("sql/summaries_of_songs.sql");

pub(super) const STATEMENTS: &[Statement] = &[SUMMARIES, SONGS, OF_SONGS];

/// One value of a whole song.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSummary {
    /// The algorithm's name.
    pub algorithm: String,
    /// Its version.
    pub version: u32,
    /// The output's name.
    pub output: String,
    /// The value, or why there is none.
    pub value: SummaryValue,
}

/// A summary's value.
#[derive(Clone, Debug, PartialEq)]
pub enum SummaryValue {
    /// A number.
    Number(f64),
    /// Words.
    Text(String),
    /// None, and why.
    Absent(String),
}

/// An output of which songs have a value: the names of its algorithm and of itself.
pub type SummaryName = (&'static str, &'static str);

/// Which songs are asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SongsWanted {
    /// Only these; none given: all.
    pub songs: Vec<String>,
    /// Only those of which this value is between these, both included.
    pub number: Option<(SummaryName, f64, f64)>,
    /// Only those of which this value is one of these.
    pub text: Option<(SummaryName, Vec<String>)>,
}

/// A song with the values that were asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct SongSummaries {
    /// Its id.
    pub song: String,
    /// How much of it was analysed, in µs.
    pub duration: Micros,
    /// Its values, of every version that is stored.
    pub summaries: Vec<StoredSummary>,
}

impl SongSummaries {
    /// The newest value of an output.
    #[must_use]
    pub fn newest(&self, name: SummaryName) -> Option<&SummaryValue> {
        newest(&self.summaries, name)
    }
}

impl SongsWanted {
    /// The statement finds a song by what any version says of it; the newest one decides.
    fn takes(&self, song: &SongSummaries) -> bool {
        let number = self.number.as_ref().is_none_or(|(name, least, most)| {
            matches!(song.newest(*name), Some(SummaryValue::Number(number)) if (least..=most).contains(&number))
        });
        let text = self.text.as_ref().is_none_or(
            |(name, texts)| matches!(song.newest(*name), Some(SummaryValue::Text(text)) if texts.contains(text)),
        );
        number && text
    }
}

/// The value that the newest version of an output gave.
#[must_use]
pub fn newest(summaries: &[StoredSummary], (algorithm, output): SummaryName) -> Option<&SummaryValue> {
    let of_output = summaries.iter().filter(|summary| summary.algorithm == algorithm && summary.output == output);
    of_output.max_by_key(|summary| summary.version).map(|summary| &summary.value)
}

/// The summaries of a song, by algorithm, output and version.
///
/// # Errors
/// Those of the database.
pub async fn summaries(tx: &mut ReadTransaction, source: i64) -> Result<Vec<StoredSummary>, DbError> {
    tx.rows(&SUMMARIES, &[source.into()]).await?.iter().map(summary_of).collect()
}

/// At most `limit` songs after the one with the id `after`, by their ids, with their values of these outputs.
///
/// # Errors
/// Those of the database.
pub async fn songs_with_summaries(
    tx: &mut ReadTransaction,
    wanted: &SongsWanted,
    outputs: &[SummaryName],
    after: &str,
    limit: usize,
) -> Result<Vec<SongSummaries>, DbError> {
    let layers = Layers::load(tx).await?;
    let tested = wanted.number.iter().map(|(name, ..)| *name).chain(wanted.text.iter().map(|(name, _)| *name));
    let read: Vec<SummaryName> = outputs.iter().copied().chain(tested).collect();
    let read = numbers(&layers, &read);
    let mut found = Vec::new();
    let mut after = after.to_owned();
    while found.len() < limit {
        let songs = songs(tx, wanted, &layers, &after, limit).await?;
        let Some((_, last, _)) = songs.last() else { break };
        last.clone_into(&mut after);
        let is_last = songs.len() < limit;
        let more = summaries_of(tx, songs, &read).await?;
        found.extend(more.into_iter().filter(|song| wanted.takes(song)));
        if is_last {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// The numbers of all versions of outputs, for a list.
fn numbers(layers: &Layers, names: &[SummaryName]) -> Vec<(i64,)> {
    let rows = layers.of_kind(LayerKind::Summary);
    rows.filter(|row| names.contains(&(row.algorithm.as_str(), row.layer.as_str()))).map(|row| (row.id,)).collect()
}

/// Number, id and length of the next songs; some of them may not be wanted.
async fn songs(
    tx: &mut ReadTransaction,
    wanted: &SongsWanted,
    layers: &Layers,
    after: &str,
    limit: usize,
) -> Result<Vec<(i64, String, Micros)>, DbError> {
    let named: Vec<(&str,)> = wanted.songs.iter().map(|song| (song.as_str(),)).collect();
    let (number, least, most) = match &wanted.number {
        Some((name, least, most)) => (numbers(layers, &[*name]), *least, *most),
        None => (Vec::new(), 0.0, 0.0),
    };
    let (text, texts) = match &wanted.text {
        Some((name, texts)) => (numbers(layers, &[*name]), texts.iter().map(|text| (text.as_str(),)).collect()),
        None => (Vec::new(), Vec::new()),
    };
    let values = [
        after.into(),
        Value::Int(i64::try_from(limit).unwrap_or(i64::MAX)),
        (!named.is_empty()).into(),
        list(&named),
        wanted.number.is_some().into(),
        list(&number),
        least.into(),
        most.into(),
        wanted.text.is_some().into(),
        list(&text),
        list(&texts),
    ];
    tx.rows(&SONGS, &values).await?.iter().map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
}

/// Songs, in the same order, with their values in those layers.
async fn summaries_of(
    tx: &mut ReadTransaction,
    songs: Vec<(i64, String, Micros)>,
    layers: &[(i64,)],
) -> Result<Vec<SongSummaries>, DbError> {
    let numbers: Vec<(i64,)> = songs.iter().map(|(number, ..)| (*number,)).collect();
    let mut of_song: HashMap<i64, Vec<StoredSummary>> = HashMap::new();
    for row in &tx.rows(&OF_SONGS, &[list(&numbers), list(layers)]).await? {
        of_song.entry(row.get(6)?).or_default().push(summary_of(row)?);
    }
    let with_values = songs.into_iter().map(|(number, song, duration)| SongSummaries {
        song,
        duration,
        summaries: of_song.remove(&number).unwrap_or_default(),
    });
    Ok(with_values.collect())
}

fn summary_of(row: &Row) -> Result<StoredSummary, DbError> {
    let value = match (row.get::<Option<f64>>(3)?, row.get::<Option<String>>(4)?) {
        (Some(number), _) => SummaryValue::Number(number),
        (None, Some(text)) => SummaryValue::Text(text),
        (None, None) => SummaryValue::Absent(row.get::<Option<String>>(5)?.unwrap_or_default()),
    };
    Ok(StoredSummary { algorithm: row.get(0)?, version: row.get(1)?, output: row.get(2)?, value })
}
