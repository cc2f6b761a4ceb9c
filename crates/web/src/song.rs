//! The page of a song: to listen to, with what was found in it in step.

use antiphon_platform::clock::{Micros, SECOND};
use axum::extract::{Path, State};
use axum::response::Response;
use chrono_tz::Tz;
use http::StatusCode;
use maud::{Markup, PreEscaped, html};
use serde_json::Value;

use crate::Web;
use crate::chart;
use crate::failure::{Failure, sentence};
use crate::model::{About, Features, Letter, List, Mark, Song, Summary, Tags};
use crate::page::{Page, Section};
use crate::paths::{self, and};
use crate::picture::{COLUMNS, paint};
use crate::series::{Kind, Series, Stretch};
use crate::session::Role;
use crate::visitor::Visitor;
use crate::words;

/// Up to this length a song is shown by its preview, ten rows a second; longer ones by `mel`, as fine as fits.
const BY_PREVIEW: Micros = 900 * SECOND;

/// Pages of marks that are read at most, a thousand each: more would be a grey area.
const MARK_PAGES: usize = 6;

/// What is drawn in lanes below the spectrogram, where the plan has it.
const LANES: [(&str, &str); 6] = [
    ("loudness.momentary", "Loudness"),
    ("spectral.centroid", "Brightness"),
    ("onset.strength", "Onset strength"),
    ("hpss.percussive", "Percussive share"),
    ("pitch.f0", "Pitch"),
    ("spectral.flatness", "Noisiness"),
];

/// Units of a lane's drawing.
const WIDE: f64 = 2_000.0;
const LANE: f64 = 44.0;

/// What of the summary comes first, with names for people.
const SAID_FIRST: [(&str, &str); 8] = [
    ("rhythm.tempo", "Tempo"),
    ("key.key", "Key"),
    ("loudness.integrated", "Loudness"),
    ("loudness.range", "Loudness range"),
    ("loudness.true_peak", "True peak"),
    ("rhythm.confidence", "Sure of the tempo"),
    ("key.strength", "Sure of the key"),
    ("loudness.track_gain", "ReplayGain, measured"),
];

/// What says how sure another value is: a share of one, and nothing where that value is not there.
const SHARES: [&str; 2] = ["rhythm.confidence", "key.strength"];

/// The API's reason for what no plan had analysed: nothing to tell about the song.
const NOT_ANALYSED: &str = "not analysed, or not yet";

/// Pages of dead letters that are looked through for that of a song.
const LETTER_PAGES: usize = 4;

/// The page.
pub async fn page(State(web): State<Web>, visitor: Visitor, Path(id): Path<String>) -> Result<Page, Failure> {
    let path = format!("/api/v1{}", paths::song(&id));
    let song: Song = match web.api().get(&visitor, &path).await {
        Ok(song) => song,
        Err(failure) if failure.is_not_found() => return Ok(no_such_song()),
        Err(failure) => return Err(failure),
    };
    let title = match &song.artist {
        Some(artist) => format!("{} – {artist}", song.title()),
        None => song.title().to_owned(),
    };
    let head = html! {
        p.trail { a href="/songs" { "Songs" } }
        div.song-head {
            @if let Some(cover) = &song.cover { img.cover src=(cover) alt="Cover" width="160" height="160"; }
            div {
                h1 { bdi { (song.title()) } }
                p.by {
                    @if let Some(artist) = &song.artist { bdi { (artist) } }
                    @if let Some(album) = &song.album { span.quiet { " on " bdi { (album) } } }
                }
                p.quiet {
                    (song.media_type) ", " (words::bytes(song.size))
                    @if let Some(duration) = song.duration { ", " (words::length(duration)) }
                    ", added " (words::when(&visitor, &song.accepted_at))
                }
                (of_tags(&song))
            }
        }
    };
    let player = html! { audio #player controls preload="metadata" src={ (path) "/audio" } aria-label={ "Play " (song.title()) } {} };
    let page = |body: Markup| Page::new(title.clone(), body).of(Section::Songs);
    match (song.status.as_str(), song.duration) {
        ("stored", Some(duration)) => {
            let found = found(&web, &visitor, &song, stretch_of(&song, duration)).await?;
            let body = html! { (head) (player) (found) };
            Ok(page(body).with_scripts(&["song.js"]))
        }
        ("failed", _) => {
            let (until, letter) = futures::join!(analysed(&web, &visitor, &song), letter(&web, &visitor, &song));
            let stretch = until.map(|until| Stretch { to: until, ..stretch_of(&song, 0.0) });
            let found = match stretch {
                Some(stretch) => Some(found(&web, &visitor, &song, stretch).await?),
                None => None,
            };
            let is_partial = found.is_some();
            let body = html! {
                (head) (player) (why_failed(&song, until, letter.as_ref()))
                @if let Some(found) = found { (found) }
            };
            Ok(if is_partial { page(body).with_scripts(&["song.js"]) } else { page(body) })
        }
        _ => Ok(page(html! {
            (head) (player)
            div.empty { h2 { "Being analysed" } p { "This page shows what is found as soon as it is there; it looks again by itself." } }
        })
        .again_after(3)),
    }
}

fn stretch_of(song: &Song, duration: f64) -> Stretch<'_> {
    Stretch { kind: Kind::Song, id: &song.id, from: 0, to: ((duration * 1e6) as Micros).max(1), zone: Tz::UTC }
}

fn no_such_song() -> Page {
    let body = html! {
        div.failure {
            p.code aria-hidden="true" { "404" }
            h1 { "There is no such page" }
            p { "There is no song at this address; it may have been deleted." }
            p { a.button href="/songs" { "Songs" } }
        }
    };
    Page::new("There is no such page", body).of(Section::Songs).with_status(StatusCode::NOT_FOUND)
}

/// What the file says of itself beside title, artist and album, in small.
fn of_tags(song: &Song) -> Markup {
    let tags = &song.tags;
    let track = tags.track.map(|track| match tags.track_total {
        Some(total) => format!("track {track} of {total}"),
        None => format!("track {track}"),
    });
    let genres = (!tags.genres.is_empty()).then(|| tags.genres.join(", "));
    let said: Vec<String> = [genres, tags.year.map(|year| year.to_string()), track].into_iter().flatten().collect();
    html! {
        @if !said.is_empty() || song.file_name.is_some() {
            p.quiet {
                @for (number, words) in said.iter().enumerate() { @if number > 0 { " · " } bdi { (words) } }
                @if let Some(name) = &song.file_name { @if !said.is_empty() { " · " } code { bdi { (name) } } }
            }
        }
    }
}

/// Until where a song was analysed that failed, if something of it was.
async fn analysed(web: &Web, visitor: &Visitor, song: &Song) -> Option<Micros> {
    let path = format!("/api/v1{}/features?features=loudness.momentary&limit=1", paths::song(&song.id));
    let answer: Features = web.api().get(visitor, &path).await.ok()?;
    let until = (answer.to.as_f64()? * SECOND as f64).round() as Micros;
    (until > 0).then_some(until)
}

/// The dead letter of a song, for operators: the others may not see it.
async fn letter(web: &Web, visitor: &Visitor, song: &Song) -> Option<Letter> {
    if visitor.role() != Some(Role::Operator) {
        return None;
    }
    let mut cursor = String::new();
    for _ in 0..LETTER_PAGES {
        let path = format!("/api/v1/dead-letters?limit=1000{cursor}");
        let page: List<Letter> = web.api().get(visitor, &path).await.ok()?;
        if let Some(found) = page.items.into_iter().find(|letter| letter.about() == Some(About::Song(&song.id))) {
            return Some(found);
        }
        cursor = and("cursor", Some(page.next.as_deref()?));
    }
    None
}

fn why_failed(song: &Song, until: Option<Micros>, letter: Option<&Letter>) -> Markup {
    let reason = song.reason.as_deref().unwrap_or("the reason is not known");
    html! {
        div.empty {
            @match until {
                Some(until) => {
                    h2 { "Only its beginning could be analysed" }
                    p { (sentence(&in_seconds(reason, until))) " Below is what was found in the " strong { (words::span(until)) } " before." }
                }
                None => {
                    h2 { "It could not be analysed" }
                    p { (sentence(reason)) }
                }
            }
            @if let Some(letter) = letter {
                p { "It was set aside and can be tried again: " a href=(paths::letter(&letter.id)) { "its dead letter" } "." }
            }
        }
    }
}

/// A reason with the place in seconds, where it counts the samples up to there.
fn in_seconds(reason: &str, until: Micros) -> String {
    let counted = reason.split_once(" after ").and_then(|(what, rest)| {
        let (count, rest) = rest.split_once(" samples per channel")?;
        count.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("{what} after {}{rest}", words::span(until)))
    });
    counted.unwrap_or_else(|| reason.to_owned())
}

async fn found(web: &Web, visitor: &Visitor, song: &Song, stretch: Stretch<'_>) -> Result<Markup, Failure> {
    let (duration, path) = (stretch.length() as f64 / SECOND as f64, format!("/api/v1{}", paths::song(&song.id)));
    let names: Vec<&str> = LANES.iter().map(|(name, _)| *name).collect();
    let lanes_query = format!("&features={}&fill=gaps", names.join(","));
    let summary_path = format!("{path}/summary");
    let (summary, spectrum, lanes, marks) = futures::join!(
        web.api().get::<List<Summary>>(visitor, &summary_path),
        spectrum(web, visitor, &stretch),
        stretch.ask(web, visitor, &lanes_query),
        marks(web, visitor, &stretch),
    );
    let (summary, lanes, marks) = (summary?, lanes?, marks?);
    let spectrum = spectrum.ok().filter(|spectrum| !spectrum.is_empty(0));
    Ok(html! {
        section aria-labelledby="lanes" {
            h2 #lanes.hidden-heading { "What is heard when" }
            div.stack #stack data-duration=(chart::short(duration)) {
                @if let Some(spectrum) = &spectrum {
                    (lane("Waveform", html! { (waveform(spectrum, &stretch)) }, 64.0, ""))
                    div.lane {
                        p.lane-name { "Spectrogram" }
                        img.map src={ (paths::song(&song.id)) "/picture.png" } width="1000" height="128" alt="Spectrogram of the whole song, low notes at the bottom, lighter is louder";
                    }
                }
                (mark_lane(&marks, duration))
                @for (name, words) in LANES {
                    @if let Some(column) = lanes.column(name).filter(|column| !lanes.is_empty(*column)) {
                        (feature_lane(&lanes, &stretch, column, words))
                    }
                }
                (time_axis(duration))
                div.head #head hidden {}
            }
            p.hint.scripted hidden { "Press anywhere above to play from there. Space starts and stops, arrows move by five seconds." }
        }
        section aria-labelledby="summary" {
            h2 #summary { "In all" }
            (summary_list(&summary.items, &song.tags))
        }
        p.downloads {
            "Download: "
            a href={ (path) "/features?features=" (names.join("%2C")) "&format=csv" } download={ (song.id) ".csv" } { "features as CSV" } ", "
            a href={ (path) "/features?features=" (names.join("%2C")) "&format=parquet" } download={ (song.id) ".parquet" } { "as Parquet" } ", "
            a href={ (path) "/annotations?format=csv" } download={ (song.id) "-annotations.csv" } { "beats, onsets and silences as CSV" } ", "
            a href={ (path) "/summary" } { "summary as JSON" } ", "
            a href={ (path) "/audio" } download { "the file" }
        }
    })
}

/// Powers of bands over time: of the preview, or of longer songs of `mel`.
async fn spectrum(web: &Web, visitor: &Visitor, stretch: &Stretch<'_>) -> Result<Series, Failure> {
    let query = match stretch.length() {
        length if length <= BY_PREVIEW => "&features=mel.preview&resolution=frame&limit=10000",
        _ => "&features=mel",
    };
    stretch.ask(web, visitor, query).await
}

/// The spectrogram of the whole song.
pub async fn picture(State(web): State<Web>, visitor: Visitor, Path(id): Path<String>) -> Result<Response, Failure> {
    let song: Song = web.api().get(&visitor, &format!("/api/v1{}", paths::song(&id))).await?;
    let stretch = match song.duration {
        Some(duration) => stretch_of(&song, duration),
        None => {
            let until = analysed(&web, &visitor, &song).await;
            let to = until.ok_or_else(|| Failure::not_found("this song is not analysed yet"))?;
            Stretch { to, ..stretch_of(&song, 0.0) }
        }
    };
    paint(&spectrum(&web, &visitor, &stretch).await?, &stretch)
}

/// How strong the sound is over the song: the amplitude that the bands hold together, mirrored as waveforms are drawn.
fn waveform(spectrum: &Series, stretch: &Stretch<'_>) -> Markup {
    let is_preview = spectrum.columns.first().is_some_and(|(name, _)| name.starts_with("mel.preview"));
    let power = |value: f64| 10f64.powf(if is_preview { value / 20.0 - 12.0 } else { value / 10.0 });
    let mut shape = vec![0.0f64; COLUMNS];
    for row in &spectrum.rows {
        let place = ((stretch.share(row.time) * COLUMNS as f64) as usize).min(COLUMNS - 1);
        let amplitude = row.values.iter().flatten().map(|value| power(*value)).sum::<f64>().sqrt();
        shape[place] = shape[place].max(amplitude);
    }
    let most = shape.iter().copied().fold(1e-9, f64::max);
    // Columns between two rows of a short song have the strength of the one before.
    let mut last = 0.0;
    let shape: Vec<f64> = shape
        .iter()
        .map(|amplitude| {
            if *amplitude > 0.0 {
                last = *amplitude;
            }
            (last / most * 31.0).max(0.5)
        })
        .collect();
    let x = |place: usize| place as f64 * WIDE / COLUMNS as f64;
    let above = shape.iter().enumerate().map(|(place, high)| format!("L{:.0} {:.0}", x(place), 32.0 - high));
    let below = shape.iter().enumerate().rev().map(|(place, high)| format!("L{:.0} {:.0}", x(place), 32.0 + high));
    let path = format!("M0 32{}L{WIDE} 32{}z", above.collect::<String>(), below.collect::<String>());
    html! { path.waveform d=(PreEscaped(path)) {} }
}

fn lane(name: &str, drawing: Markup, height: f64, values: &str) -> Markup {
    html! {
        div.lane data-values=[(!values.is_empty()).then_some(values)] {
            p.lane-name { (name) @if !values.is_empty() { " " output.now {} } }
            svg width="100%" height=(height) viewBox={ "0 0 " (WIDE) " " (height) } preserveAspectRatio="none" role="img" aria-label=(name) { (drawing) }
        }
    }
}

fn feature_lane(lanes: &Series, stretch: &Stretch<'_>, column: usize, words: &str) -> Markup {
    let unit = lanes.columns.get(column).map_or("", |(_, unit)| unit.as_str());
    let (least, most) = chart::ends(lanes.values(column).map(|(_, value)| value), unit).unwrap_or_default();
    let points = lanes.rows.iter().map(|row| {
        let x = stretch.share(row.time + lanes.step / 2) * WIDE;
        let share = ((row.value(column)? - least) / (most - least).max(1e-9)).max(0.0);
        let y = LANE - 2.0 - share * (LANE - 4.0);
        Some((x.round() as i64, y.round() as i64))
    });
    let unit = if unit == "1" { String::new() } else { format!(" in {unit}") };
    let name = format!("{words}{unit}, {} to {}", words::value(least), words::value(most));
    lane(&name, html! { path.curve d=(PreEscaped(chart::path(points))) {} }, LANE, &chart::values(lanes, column))
}

async fn marks(web: &Web, visitor: &Visitor, stretch: &Stretch<'_>) -> Result<Vec<Mark>, Failure> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    for _ in 0..MARK_PAGES {
        let path = stretch.path("annotations", &format!("&types=beat%2Conset&limit=1000{cursor}"));
        let page: List<Mark> = web.api().get(visitor, &path).await?;
        all.extend(page.items);
        cursor = and("cursor", page.next.as_deref());
        if cursor.is_empty() {
            break;
        }
    }
    Ok(all)
}

fn mark_lane(marks: &[Mark], duration: f64) -> Markup {
    let of = |kind: &str, by: &str, from: u32, to: u32| -> (usize, String) {
        let mut found: Vec<&Mark> = marks.iter().filter(|mark| mark.kind == kind).collect();
        // Where several algorithms look for the same, those of one are drawn, not each thing twice.
        if found.iter().any(|mark| mark.algorithm == by) {
            found.retain(|mark| mark.algorithm == by);
        }
        let path = found.iter().map(|mark| format!("M{:.0} {from}V{to}", mark.from / duration.max(1e-9) * WIDE));
        (found.len(), path.collect())
    };
    let (beats, beat_path) = of("beat", "rhythm", 0, 14);
    let (onsets, onset_path) = of("onset", "onset", 18, 28);
    let (beats_said, onsets_said) = (words::counted(beats as u64, "beat"), words::counted(onsets as u64, "onset"));
    let name = match (beats, onsets) {
        (0, _) => onsets_said,
        (_, 0) => beats_said,
        _ => format!("{beats_said} above, {onsets_said} below"),
    };
    html! {
        @if beats + onsets > 0 {
            (lane(&name, html! { path.beats d=(PreEscaped(beat_path)) {} path.onsets d=(PreEscaped(onset_path)) {} }, 28.0, ""))
        }
    }
}

/// Marks of the song's time: as many as there is room for.
fn time_axis(duration: f64) -> Markup {
    let steps = [5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0];
    let step = steps.into_iter().find(|step| duration / step < 9.0).unwrap_or(7_200.0);
    let marks = (1..9).map(|number| f64::from(number) * step).filter(|at| *at < duration * 0.97);
    html! {
        svg.axis width="100%" height="22" aria-hidden="true" {
            @for (number, at) in marks.enumerate() {
                text.time .minor[number % 2 == 0] x=(chart::percent(at / duration * 100.0)) y="16" text-anchor="middle" { (words::length(at)) }
            }
        }
    }
}

fn summary_list(summary: &[Summary], tags: &Tags) -> Markup {
    let known = |name: &str| SAID_FIRST.iter().find(|(known, _)| *known == name).map(|(_, words)| *words);
    let first =
        SAID_FIRST.iter().filter_map(|(name, words)| Some((*words, summary.iter().find(|item| item.name == *name)?)));
    let others = summary.iter().filter(|item| known(&item.name).is_none() && item.name != "fingerprint.chromaprint");
    html! {
        dl.figures {
            @for (words, item) in first {
                @if let Some(value) = said_or_why(item) { div { dt { (words) } (value) } }
            }
            @for (words, gain) in [("ReplayGain, in its tags", tags.replay_gain.track_gain), ("R128 gain, in its tags", tags.replay_gain.r128_track_gain)] {
                @if let Some(gain) = gain { div { dt { (words) } dd { (words::value(gain)) " " span.unit { "dB" } } } }
            }
        }
        details {
            summary { "More" }
            dl.facts.wide {
                @for item in others { @if let Some(value) = said_or_why(item) { div { dt { code { (item.name) } } (value) } } }
            }
        }
    }
}

/// A value in words, or why there is none; nothing where nobody looked for it.
fn said_or_why(item: &Summary) -> Option<Markup> {
    if let Some(value) = said(item) {
        return Some(html! { dd { (value) } });
    }
    let reason = item.reason.as_deref().filter(|reason| *reason != NOT_ANALYSED)?;
    // What says how sure a value is would give the reason of that value again.
    let is_told = SHARES.contains(&item.name.as_str());
    (!is_told).then(|| html! { dd { "–" } dd.why { (reason) } })
}

/// A value in words, if there is one.
fn said(item: &Summary) -> Option<Markup> {
    let value = match &item.value {
        Value::Number(number) if SHARES.contains(&item.name.as_str()) => {
            return Some(html! { (words::decimal(number.as_f64()? * 100.0, 0)) " " span.unit { "%" } });
        }
        Value::Number(number) => words::value(number.as_f64()?),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    Some(html! { (value) @if item.unit != "1" { " " span.unit { (item.unit) } } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Gains;

    #[test]
    fn marks_are_counted_and_drawn() {
        let mark = |from: f64, kind: &str, by: &str| Mark { from, kind: kind.to_owned(), algorithm: by.to_owned() };
        let beats = [mark(1.0, "beat", "rhythm"), mark(1.1, "beat", "beat_track"), mark(2.0, "beat", "rhythm")];
        let marks = beats.into_iter().chain([mark(1.5, "onset", "onset_detect")]).collect::<Vec<_>>();
        let text = mark_lane(&marks, 4.0).into_string();
        assert!(text.contains("2 beats above, 1 onset below") && text.contains("M500 0V14M1000 0V14"), "{text}");
        assert!(mark_lane(&[], 4.0).into_string().is_empty());
    }

    #[test]
    fn values_are_told_with_their_units() {
        let item =
            |value: Value, unit: &str| Summary { name: String::from("x"), value, unit: unit.to_owned(), reason: None };
        let said = |value: Value, unit| said(&item(value, unit)).map(Markup::into_string);
        let loudness = "\u{2212}14.2 <span class=\"unit\">LUFS</span>";
        assert_eq!(said(Value::from(-14.23), "LUFS").as_deref(), Some(loudness));
        assert_eq!(said(Value::from("A minor"), "1").as_deref(), Some("A minor"));
        assert_eq!(said(Value::Null, "1"), None);
    }

    #[test]
    fn what_is_not_there_has_its_reason_and_shares_are_percent() {
        let item = |name: &str, value: Value, reason: Option<&str>| Summary {
            name: name.to_owned(),
            value,
            unit: String::from("1"),
            reason: reason.map(str::to_owned),
        };
        let items = [
            item("rhythm.tempo", Value::Null, Some("it has no steady pulse")),
            item("rhythm.confidence", Value::Null, Some("it has no steady pulse")),
            item("key.strength", Value::from(0.586), None),
            item("beat_track.tempo", Value::Null, Some(NOT_ANALYSED)),
        ];
        let tags = Tags { replay_gain: Gains { track_gain: Some(-7.25), r128_track_gain: None }, ..Tags::default() };
        let text = summary_list(&items, &tags).into_string();
        assert!(text.contains("<dt>Tempo</dt><dd>–</dd><dd class=\"why\">it has no steady pulse</dd>"), "{text}");
        assert_eq!(text.matches("it has no steady pulse").count(), 1, "{text}");
        assert!(text.contains("<dt>Sure of the key</dt><dd>59 <span class=\"unit\">%</span></dd>"), "{text}");
        assert!(text.contains("ReplayGain, in its tags</dt><dd>\u{2212}7.25"), "{text}");
        assert!(!text.contains("beat_track.tempo") && !text.contains("R128"), "{text}");
    }

    #[test]
    fn a_song_that_breaks_off_says_when() {
        let until = 16_772_000;
        let reason = "the audio breaks off after 739631 samples per channel";
        assert_eq!(in_seconds(reason, until), "the audio breaks off after 17 s");
        assert_eq!(in_seconds("the look after it", until), "the look after it");
    }
}
