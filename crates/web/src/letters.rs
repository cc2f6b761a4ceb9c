//! What was set aside: why, what it holds, and what to do with it.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, Method};
use maud::{Markup, html};

use crate::Web;
use crate::failure::Failure;
use crate::forms::{Form, go_to};
use crate::model::{About, Letter, List, Sensor, Song};
use crate::now::parameter;
use crate::page::{Page, Section};
use crate::paths::{self, and, escaped};
use crate::visitor::Visitor;
use crate::words;

/// Letters of one page.
const LIMIT: usize = 50;

/// Bytes of a letter that are shown: most say at their beginning what they are.
const SHOWN: usize = 2_048;

/// The type of messages with sound in them.
const HEARD: &str = "antiphon.recording.v1";

/// Bytes of one line.
const LINE: usize = 16;

/// The list.
pub async fn list(State(web): State<Web>, visitor: Visitor, RawQuery(query): RawQuery) -> Result<Page, Failure> {
    let cursor = parameter(query.as_deref(), "cursor");
    let path = format!("/api/v1/dead-letters?limit={LIMIT}{}", and("cursor", cursor.as_deref()));
    let letters: List<Letter> = web.api().get(&visitor, &path).await?;
    let known = known(&web, &visitor, &letters.items).await;
    let done = match parameter(query.as_deref(), "done").as_deref() {
        Some("replay") => Some("It goes through the pipeline again. If it fails again, it comes back here."),
        Some("drop") => Some("It is gone."),
        _ => None,
    };
    let body = html! {
        h1 { "Dead letters" }
        @if let Some(done) = done { p.note role="status" { (done) } }
        @if letters.items.is_empty() {
            div.empty {
                h2 { "Nothing was set aside" }
                p { "What cannot be analysed lands here with the reason, instead of standing in the way of everything else. Once what kept it from being analysed is mended, it can be sent through again." }
            }
        } @else {
            div.scrollable tabindex="0" role="region" aria-label="Dead letters" {
                table.rows {
                    thead { tr { th scope="col" { "Why" } th scope="col" { "From" } th scope="col" { "By" } th scope="col" { "When" } th.number scope="col" { "Size" } } }
                    tbody {
                        @for letter in &letters.items {
                            tr {
                                th scope="row" { a href=(paths::letter(&letter.id)) { (letter.reason) } }
                                td { (source(letter, &known)) }
                                td { (letter.group) }
                                td { (words::when(&visitor, &letter.died_at)) }
                                td.number { (words::bytes(file_size(letter, &known).unwrap_or(letter.size))) }
                            }
                        }
                    }
                }
            }
            @if let Some(next) = &letters.next {
                p.pager { a.button href={ "/dead-letters?cursor=" (escaped(next)) } rel="next" { "Older ones" } }
            }
        }
    };
    Ok(Page::new("Dead letters", body).of(Section::Letters))
}

/// What is known of what letters are about: what people call it, and the size of its file.
type Known<'a> = BTreeMap<About<'a>, (String, Option<u64>)>;

/// Asks for the names of what letters are about at once, each once. What is gone by now has none.
async fn known<'a>(web: &Web, visitor: &Visitor, letters: &'a [Letter]) -> Known<'a> {
    let wanted: BTreeSet<About<'a>> = letters.iter().filter_map(Letter::about).collect();
    let asked = wanted.into_iter().map(async |about| {
        let found = match about {
            About::Sensor(id) => {
                let path = format!("/api/v1{}", paths::sensor(id));
                let sensor: Sensor = web.api().get(visitor, &path).await.ok()?;
                (sensor.title().to_owned(), None)
            }
            About::Song(id) => {
                let path = format!("/api/v1{}", paths::song(id));
                let song: Song = web.api().get(visitor, &path).await.ok()?;
                (song.title().to_owned(), Some(song.size))
            }
        };
        Some((about, found))
    });
    futures::future::join_all(asked).await.into_iter().flatten().collect()
}

/// Where a letter comes from, by its name, as a link to its page.
fn source(letter: &Letter, known: &Known<'_>) -> Markup {
    let about = letter.about().map(|about| match about {
        About::Sensor(id) => (about, id, paths::sensor(id)),
        About::Song(id) => (about, id, paths::song(id)),
    });
    html! {
        @match about {
            Some((about, id, path)) => {
                a href=(path) { bdi { (known.get(&about).map_or(id, |(name, _)| name.as_str())) } }
            }
            None => { (letter.source) }
        }
    }
}

/// The size of the file that a letter is about, if that is known.
fn file_size(letter: &Letter, known: &Known<'_>) -> Option<u64> {
    known.get(&letter.about()?)?.1
}

/// One letter.
pub async fn show(State(web): State<Web>, visitor: Visitor, Path(id): Path<String>) -> Result<Page, Failure> {
    let path = format!("/api/v1{}", paths::letter(&id));
    let letter: Letter = web.api().get(&visitor, &path).await?;
    let body_path = format!("{path}/body");
    let (body, known) = futures::join!(
        web.api().bytes(&visitor, Method::GET, &body_path),
        known(&web, &visitor, std::slice::from_ref(&letter)),
    );
    let body = body?;
    let file = file_size(&letter, &known);
    let action = paths::letter(&letter.id);
    let form = |what: &str, words: &str, class: &str| {
        html! {
            form method="post" action=(action) {
                input type="hidden" name="token" value=(visitor.token);
                button class=(class) type="submit" name="do" value=(what) { (words) }
            }
        }
    };
    let body = html! {
        p.trail { a href="/dead-letters" { "Dead letters" } }
        h1 { "Set aside" }
        p.reason { (letter.reason) }
        dl.facts.wide {
            div { dt { "From" } dd { (source(&letter, &known)) } }
            @if let Some(file) = file { div { dt { "Its file" } dd { (words::bytes(file)) } } }
            div { dt { "Set aside by" } dd { (letter.group) ", after " (words::counted(letter.deliveries.into(), "try")
                .replace("trys", "tries")) } }
            div { dt { "When" } dd { (words::when(&visitor, &letter.died_at)) } }
            div { dt { "Message" } dd { code { (letter.message) } " · " code { (letter.kind) } } }
        }
        div.actions {
            (form("replay", "Try again", "button"))
            details.confirm {
                summary { "Drop it…" }
                p { "This cannot be undone: the message, and the sound in it, are gone for good." }
                (form("drop", "Drop it for good", "button danger"))
            }
        }
        @if letter.kind == HEARD {
            section aria-labelledby="sound" {
                h2 #sound { "Listen" }
                audio controls preload="none" src={ (path) "/audio" } aria-label="The sound that was set aside" {}
                p.quiet { "As it was sent. What is broken may not play, or not to its end." }
            }
        }
        section aria-labelledby="bytes" {
            h2 #bytes { "What it holds" }
            p.quiet {
                (words::bytes(body.len() as u64))
                @if body.len() > SHOWN { ", of which the first " (words::bytes(SHOWN as u64)) " are shown; " }
                @else { "; " }
                a href={ (path) "/body" } download={ (letter.id) ".bin" } { "download all" }
            }
            div.scrollable tabindex="0" role="region" aria-label="Bytes by place" { pre.hex { code { (hex(&body)) } } }
        }
    };
    Ok(Page::new("Dead letter", body).of(Section::Letters))
}

/// Bytes by their places: as hexadecimal numbers, and as letters where they are some.
fn hex(body: &[u8]) -> String {
    let mut text = String::new();
    for (number, line) in body.chunks(LINE).take(SHOWN / LINE).enumerate() {
        let digits: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let letters =
            line.iter().map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '·' });
        let letters: String = letters.collect();
        text.push_str(&format!("{:06x}  {:<47}  {letters}\n", number * LINE, digits.join(" ")));
    }
    text
}

/// Tries a letter again, or drops it.
pub async fn act(
    State(web): State<Web>,
    visitor: Visitor,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    if visitor.role().is_none() {
        return Err(Failure::KeyNeeded);
    }
    let form = Form::read(&headers, body).await?;
    form.check_token(&visitor)?;
    let path = format!("/api/v1{}", paths::letter(&id));
    let (method, path) = match form.get("do") {
        "replay" => (Method::POST, format!("{path}/replay")),
        "drop" => (Method::DELETE, path),
        _ => {
            return Err(Failure::bad_request("a dead letter is replayed or dropped; nothing else can be done with it"));
        }
    };
    web.api().bytes(&visitor, method, &path).await?;
    Ok(go_to(&format!("/dead-letters?done={}", form.get("do")), &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_has_the_name_of_its_source_and_the_size_of_its_file() {
        let letter = |source: &str| Letter {
            id: String::from("1"),
            group: String::from("analyze"),
            message: String::from("s1/0"),
            kind: String::from(HEARD),
            source: source.to_owned(),
            reason: String::from("it is empty"),
            died_at: String::from("2026-05-01T00:00:00Z"),
            deliveries: 1,
            size: 300,
        };
        let known = Known::from([(About::Song("s1"), (String::from("<b>Song"), Some(5_000_000)))]);
        let said = |of: &str| (source(&letter(of), &known).into_string(), file_size(&letter(of), &known));
        let song = String::from("<a href=\"/songs/s1\"><bdi>&lt;b&gt;Song</bdi></a>");
        assert_eq!(said("songs"), (song, Some(5_000_000)));
        assert_eq!(said("sensors/gone"), (String::from("<a href=\"/sensors/gone\"><bdi>gone</bdi></a>"), None));
        assert_eq!(said("write"), (String::from("write"), None));
    }

    #[test]
    fn bytes_are_shown_by_place_number_and_letter() {
        let text = hex(b"RIFF\x00\xff<script>..and more");
        let mut lines = text.lines();
        assert_eq!(lines.next().unwrap(), "000000  52 49 46 46 00 ff 3c 73 63 72 69 70 74 3e 2e 2e  RIFF··<script>..");
        assert!(lines.next().unwrap().starts_with("000010  61 6e 64 20"));
        assert_eq!(hex(&[0; 100_000]).lines().count(), SHOWN / LINE);
        assert_eq!(hex(b""), "");
    }
}
