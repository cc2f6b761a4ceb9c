//! The page of a song: to listen to, with what was found in it in step.

use antiphon_platform::clock::{Micros, SECOND};
use axum::extract::{Path, State};
use axum::response::Response;
use chrono_tz::Tz;
use maud::{Markup, PreEscaped, html};
use serde_json::Value;

use crate::Web;
use crate::chart;
use crate::failure::Failure;
use crate::model::{List, Mark, Song, Summary};
use crate::page::{Page, Section};
use crate::paths::{self, and};
use crate::picture::{COLUMNS, paint};
use crate::series::{Kind, Series, Stretch};
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
    ("loudness.track_gain", "ReplayGain"),
];

/// The page.
pub async fn page(State(web): State<Web>, visitor: Visitor, Path(id): Path<String>) -> Result<Page, Failure> {
    let path = format!("/api/v1{}", paths::song(&id));
    let song: Song = web.api().get(&visitor, &path).await?;
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
            }
        }
    };
    let player = html! { audio #player controls preload="metadata" src={ (path) "/audio" } aria-label={ "Play " (song.title()) } {} };
    let page = |body: Markup| Page::new(title.clone(), body).of(Section::Songs);
    match (song.status.as_str(), song.duration) {
        ("stored", Some(duration)) => {
            let found = found(&web, &visitor, &song, duration, &path).await?;
            let body = html! { (head) (player) (found) };
            Ok(page(body).with_scripts(&["song.js"]))
        }
        ("failed", _) => Ok(page(html! {
            (head) (player)
            div.empty {
                h2 { "It could not be analysed" }
                p { (song.reason.as_deref().unwrap_or("the reason is not known")) "." }
                p { "It was set aside and can be tried again: " a href="/dead-letters" { "dead letters" } "." }
            }
        })),
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

async fn found(web: &Web, visitor: &Visitor, song: &Song, duration: f64, path: &str) -> Result<Markup, Failure> {
    let stretch = stretch_of(song, duration);
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
            (summary_list(&summary.items))
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
    let duration = song.duration.ok_or_else(|| Failure::not_found("this song is not analysed yet"))?;
    let stretch = stretch_of(&song, duration);
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

fn summary_list(summary: &[Summary]) -> Markup {
    let known = |name: &str| SAID_FIRST.iter().find(|(known, _)| *known == name).map(|(_, words)| *words);
    let first =
        SAID_FIRST.iter().filter_map(|(name, words)| Some((*words, summary.iter().find(|item| item.name == *name)?)));
    let others = summary.iter().filter(|item| known(&item.name).is_none() && item.name != "fingerprint.chromaprint");
    html! {
        dl.figures {
            @for (words, item) in first {
                @if let Some(value) = said(item) { div { dt { (words) } dd { (value) } } }
            }
        }
        details {
            summary { "More" }
            dl.facts.wide {
                @for item in others { @if let Some(value) = said(item) { div { dt { code { (item.name) } } dd { (value) } } } }
            }
        }
    }
}

/// A value in words, if there is one.
fn said(item: &Summary) -> Option<Markup> {
    let value = match &item.value {
        Value::Number(number) => words::value(number.as_f64()?),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    Some(html! { (value) @if item.unit != "1" { " " span.unit { (item.unit) } } })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let item = |value: Value, unit: &str| Summary { name: String::from("x"), value, unit: unit.to_owned() };
        let said = |value: Value, unit| said(&item(value, unit)).map(Markup::into_string);
        let loudness = "\u{2212}14.2 <span class=\"unit\">LUFS</span>";
        assert_eq!(said(Value::from(-14.23), "LUFS").as_deref(), Some(loudness));
        assert_eq!(said(Value::from("A minor"), "1").as_deref(), Some("A minor"));
        assert_eq!(said(Value::Null, "1"), None);
    }
}
