//! The list of songs, and searching it.

use axum::extract::{RawQuery, State};
use maud::{Markup, html};

use crate::Web;
use crate::failure::Failure;
use crate::model::{List, Song};
use crate::now::parameter;
use crate::page::{Page, Section};
use crate::paths::{self, and, escaped};
use crate::visitor::Visitor;
use crate::words;

/// Songs of one page.
const LIMIT: usize = 50;

/// The page.
pub async fn page(State(web): State<Web>, visitor: Visitor, RawQuery(query): RawQuery) -> Result<Page, Failure> {
    let text = parameter(query.as_deref(), "query");
    let cursor = parameter(query.as_deref(), "cursor");
    let (searched, after) = (and("query", text.as_deref()), and("cursor", cursor.as_deref()));
    let songs: List<Song> = web.api().get(&visitor, &format!("/api/v1/songs?limit={LIMIT}{searched}{after}")).await?;
    let body = html! {
        div.headline {
            h1 { "Songs" }
            form.find action="/songs" role="search" {
                label for="query" { "Search" }
                input #query type="search" name="query" value=[text.as_deref()] placeholder="title, artist, album" maxlength="200";
                button type="submit" { "Search" }
            }
        }
        @match (songs.items.is_empty(), &text) {
            (true, Some(text)) => {
                div.empty {
                    h2 { "Nothing found" }
                    p { "No title, artist, album or file name has “" bdi { (text) } "” in it. " a href="/songs" { "Show all songs" } }
                }
            }
            (true, None) if cursor.is_none() => { (no_song_yet()) }
            _ => { (table(&visitor, &songs.items)) }
        }
        @if let Some(next) = &songs.next {
            p.pager { a.button href={ "/songs?cursor=" (escaped(next)) (searched) } rel="next" { "More songs" } }
        }
    };
    Ok(Page::new("Songs", body).of(Section::Songs))
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

fn table(visitor: &Visitor, songs: &[Song]) -> Markup {
    html! {
        div.scrollable tabindex="0" role="region" aria-label="Songs" {
            table.rows.songs {
                thead {
                    tr {
                        th scope="col" { "Title" } th scope="col" { "Artist" } th scope="col" { "Album" }
                        th.number scope="col" { "Length" } th scope="col" { "Added" }
                    }
                }
                tbody {
                    @for song in songs {
                        tr {
                            th scope="row" {
                                a href=(paths::song(&song.id)) { bdi { (song.title()) } }
                                @match song.status.as_str() {
                                    "accepted" => { span.badge data-status="late" { "Being analysed" } }
                                    "failed" => { span.badge data-status="silent" { "Failed" } }
                                    _ => {}
                                }
                            }
                            td { bdi { (song.artist.as_deref().unwrap_or("–")) } }
                            td { bdi { (song.album.as_deref().unwrap_or("–")) } }
                            td.number { (song.duration.map_or(String::from("–"), words::length)) }
                            td { (words::when(visitor, &song.accepted_at)) }
                        }
                    }
                }
            }
        }
    }
}
