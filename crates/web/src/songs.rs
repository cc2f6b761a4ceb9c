//! The list of songs: to search, and to choose from by tempo and key.

use std::collections::HashMap;

use axum::extract::{RawQuery, State};
use maud::{Markup, html};

use crate::Web;
use crate::failure::Failure;
use crate::model::{List, Song, SongValues};
use crate::now::parameter;
use crate::page::{Page, Section};
use crate::paths::{self, and, escaped};
use crate::visitor::Visitor;
use crate::words;

/// Songs of one page.
const LIMIT: usize = 50;

/// Songs that are looked at a time where only some are wanted: as many as values can be asked for at once.
const LOOKED_AT: usize = 200;

/// How often, for one page; a button looks further.
const LOOKS: usize = 20;

/// What is shown of a song beside its tags.
const TEMPO: &str = "rhythm.tempo";
const KEY: &str = "key.key";
const LOUDNESS: &str = "loudness.integrated";

/// Keys to choose from, upwards from C, by the names that musicians use most.
const MAJOR: [&str; 12] = ["C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];
const MINOR: [&str; 12] = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"];

/// What is asked for.
struct Asked {
    text: Option<String>,
    slowest: Option<String>,
    fastest: Option<String>,
    key: Option<String>,
    cursor: Option<String>,
}

impl Asked {
    fn of(query: Option<&str>) -> Self {
        Self {
            text: parameter(query, "query"),
            slowest: parameter(query, "from"),
            fastest: parameter(query, "to"),
            key: parameter(query, "key"),
            cursor: parameter(query, "cursor"),
        }
    }

    /// What is asked of the values of songs, for a request to go on with.
    fn filter(&self) -> String {
        let end = |end: &Option<String>| end.clone().unwrap_or_default();
        let tempo = (self.slowest.is_some() || self.fastest.is_some())
            .then(|| format!("{}..{}", end(&self.slowest), end(&self.fastest)));
        format!("{}{}", and("tempo", tempo.as_deref()), and("key", self.key.as_deref()))
    }

    /// The same for the address of another page of the list.
    fn kept(&self) -> String {
        let parts = [("query", &self.text), ("from", &self.slowest), ("to", &self.fastest), ("key", &self.key)];
        parts.map(|(name, value)| and(name, value.as_deref())).concat()
    }
}

/// A song with its values, if there are any.
struct Row {
    song: Song,
    values: Option<SongValues>,
}

/// The page.
pub async fn page(State(web): State<Web>, visitor: Visitor, RawQuery(query): RawQuery) -> Result<Page, Failure> {
    let asked = Asked::of(query.as_deref());
    let (rows, next) = find(&web, &visitor, &asked).await?;
    let body = html! {
        div.headline {
            h1 { "Songs" }
            (form(&asked))
        }
        @if !rows.is_empty() {
            (table(&visitor, &rows))
        } @else if asked.kept().is_empty() && asked.cursor.is_none() {
            (no_song_yet())
        } @else {
            (nothing_found(&asked, next.is_some()))
        }
        @if let Some(next) = &next {
            p.pager {
                a.button href={ "/songs?cursor=" (escaped(next)) (asked.kept()) } rel="next" {
                    @if rows.is_empty() { "Look further" } @else { "More songs" }
                }
            }
        }
    };
    Ok(Page::new("Songs", body).of(Section::Songs))
}

/// The songs that are wanted, newest first, and where the list goes on.
async fn find(web: &Web, visitor: &Visitor, asked: &Asked) -> Result<(Vec<Row>, Option<String>), Failure> {
    let filter = asked.filter();
    let limit = if filter.is_empty() { LIMIT } else { LOOKED_AT };
    let text = and("query", asked.text.as_deref());
    let mut next = asked.cursor.clone();
    let mut rows: Vec<Row> = Vec::new();
    for _ in 0..LOOKS {
        let after = and("cursor", next.as_deref());
        let songs: List<Song> = web.api().get(visitor, &format!("/api/v1/songs?limit={limit}{text}{after}")).await?;
        let mut values = values(web, visitor, &songs.items, &filter).await?;
        let joined = songs.items.into_iter().map(|song| Row { values: values.remove(&song.id), song });
        rows.extend(joined.filter(|row| filter.is_empty() || row.values.is_some()));
        next = songs.next;
        if filter.is_empty() || rows.len() >= LIMIT || next.is_none() {
            break;
        }
    }
    Ok((rows, next))
}

/// What songs are in all, by their ids; of those only that pass the filter.
async fn values(
    web: &Web,
    visitor: &Visitor,
    songs: &[Song],
    filter: &str,
) -> Result<HashMap<String, SongValues>, Failure> {
    // A filter that is none is told even where there is no song.
    if songs.is_empty() && filter.is_empty() {
        return Ok(HashMap::new());
    }
    let ids = songs.iter().map(|song| song.id.as_str()).collect::<Vec<_>>().join(",");
    let ids = and("songs", Some(ids.as_str()).filter(|ids| !ids.is_empty()));
    let path = format!("/api/v1/summaries?limit={LOOKED_AT}&features={TEMPO},{KEY},{LOUDNESS}{ids}{filter}");
    let found: List<SongValues> = web.api().get(visitor, &path).await?;
    Ok(found.items.into_iter().map(|values| (values.song.clone(), values)).collect())
}

fn form(asked: &Asked) -> Markup {
    let keys = |names: [&'static str; 12], mode: &'static str| names.map(|name| format!("{name} {mode}"));
    let tempo = |name: &str, label: &str, value: &Option<String>| {
        html! { input.tempo type="number" name=(name) value=[value.as_deref()] min="0" max="999" step="any" aria-label=(label) placeholder=(name); }
    };
    html! {
        form.find.choose action="/songs" role="search" {
            label for="query" { "Search" }
            input #query type="search" name="query" value=[asked.text.as_deref()] placeholder="title, artist, album" maxlength="200";
            span.ends { span.quiet { "BPM" } (tempo("from", "BPM at least", &asked.slowest)) (tempo("to", "BPM at most", &asked.fastest)) }
            select name="key" aria-label="Key" {
                option value="" { "any key" }
                @for name in keys(MAJOR, "major").iter().chain(&keys(MINOR, "minor")) {
                    option value=(name) selected[asked.key.as_ref() == Some(name)] { (name) }
                }
            }
            button type="submit" { "Find" }
        }
    }
}

fn no_song_yet() -> Markup {
    html! {
        div.empty {
            h2 { "No song yet" }
            p { "Give a folder of music to the server; its files stay as they are:" }
            pre { code { "antiphon ingest music/" } }
            p { "Each song is here as soon as it is accepted, and tells its tempo, key and loudness once it is analysed." }
        }
    }
}

fn nothing_found(asked: &Asked, goes_on: bool) -> Markup {
    html! {
        div.empty {
            h2 { "Nothing found" }
            p {
                @match &asked.text {
                    Some(text) if asked.filter().is_empty() => { "No title, artist, album or file name has “" bdi { (text) } "” in it. " }
                    _ if goes_on => { "Of the songs that were looked at, none is like that. " }
                    _ => { "No song is like that. " }
                }
                a href="/songs" { "Show all songs" }
            }
        }
    }
}

fn table(visitor: &Visitor, rows: &[Row]) -> Markup {
    html! {
        div.scrollable tabindex="0" role="region" aria-label="Songs" {
            table.rows.songs {
                thead {
                    tr {
                        th scope="col" { "Title" } th.minor scope="col" { "Artist" } th.minor scope="col" { "Album" }
                        th.number scope="col" { "Length" } th.number.minor scope="col" { "BPM" } th.minor scope="col" { "Key" }
                        th.number.minor scope="col" { "LUFS" } th.minor scope="col" { "Added" }
                    }
                }
                tbody {
                    @for Row { song, values } in rows { (line(visitor, song, values.as_ref())) }
                }
            }
        }
    }
}

fn line(visitor: &Visitor, song: &Song, values: Option<&SongValues>) -> Markup {
    let number = |name: &str| values.and_then(|values| values.values.get(name)?.as_f64());
    let tenths = |name: &str| number(name).map(|value| words::decimal(value, 1));
    let tempo = tenths(TEMPO);
    let key = values.and_then(|values| values.values.get(KEY)?.as_str());
    let or_none = |text: Option<&str>| text.unwrap_or("–").to_owned();
    let by: Vec<&str> = [&song.artist, &song.album].into_iter().filter_map(Option::as_deref).collect();
    let small: Vec<String> =
        [tempo.as_ref().map(|tempo| format!("{tempo} BPM")), key.map(str::to_owned)].into_iter().flatten().collect();
    html! {
        tr {
            th scope="row" {
                a href=(paths::song(&song.id)) { bdi { (song.title()) } }
                @match song.status.as_str() {
                    "accepted" => { span.badge data-status="late" { "Being analysed" } }
                    "failed" => { span.badge data-status="silent" { "Failed" } }
                    _ => {}
                }
                // What has no column on a narrow screen.
                @for name in by { div.stacked { bdi { (name) } } }
                @if !small.is_empty() { div.stacked.quiet { (small.join(", ")) } }
            }
            td.minor { bdi { (or_none(song.artist.as_deref())) } }
            td.minor { bdi { (or_none(song.album.as_deref())) } }
            td.number { (song.duration.map_or(String::from("–"), words::length)) }
            td.number.minor { (or_none(tempo.as_deref())) }
            td.minor { (or_none(key)) }
            td.number.minor { (or_none(tenths(LOUDNESS).as_deref())) }
            td.minor { (words::when(visitor, &song.accepted_at)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_goes_to_the_api_and_to_the_next_page() {
        let asked = Asked::of(Some("query=bach&from=100&to=&key=A+minor&cursor=x"));
        assert_eq!(asked.filter(), "&tempo=100..&key=A%20minor");
        assert_eq!(asked.kept(), "&query=bach&from=100&key=A%20minor");
        assert_eq!(Asked::of(Some("from=100&to=130")).filter(), "&tempo=100..130");
        assert_eq!(Asked::of(Some("query=bach&cursor=x")).filter(), "");
    }

    #[test]
    fn a_key_that_was_chosen_stays_chosen() {
        let text = form(&Asked::of(Some("key=F%23+minor&to=130"))).into_string();
        assert!(text.contains("<option value=\"F# minor\" selected>F# minor</option>"), "{text}");
        assert_eq!(text.matches("<option").count(), 25);
        assert!(text.contains("name=\"to\" value=\"130\"") && !text.contains("name=\"from\" value"), "{text}");
    }
}
