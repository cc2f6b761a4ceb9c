//! What the page of a sensor lists: what can be downloaded, gaps, recordings, facts.

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::http::time;
use maud::{Markup, html};

use super::asked::Asked;
use crate::Web;
use crate::failure::Failure;
use crate::model::{List, Output, Recording, Sensor};
use crate::paths::{and, escaped};
use crate::series::{Series, Stretch};
use crate::visitor::Visitor;
use crate::words;

/// Recordings that are listed, and gaps.
const RECORDINGS: usize = 6;
const GAPS: usize = 12;
/// Links to the range in the formats of tables.
pub fn downloads(stretch: &Stretch<'_>, output: &Output, asked: &Asked) -> Markup {
    let (feature, stat) = (and("features", Some(&output.name)), and("stat", asked.stat.as_deref()));
    let of = |format: &str| stretch.path("features", &format!("{feature}{stat}&format={format}"));
    let name = |suffix: &str| format!("{}-{}.{suffix}", stretch.id, output.name);
    html! {
        p.downloads {
            "Download this range: "
            @for (format, words) in [("csv", "CSV"), ("parquet", "Parquet"), ("arrow", "Arrow"), ("json", "JSON")] {
                a href=(of(format)) download=(name(format)) { (words) } " "
            }
            span.quiet { "(the same address gives a notebook the same values)" }
        }
    }
}

/// The newest gaps of a range.
pub fn gaps(visitor: &Visitor, series: &Series) -> Markup {
    html! {
        @if !series.gaps.is_empty() {
            details.gaps {
                summary { (words::counted(series.gaps.len() as u64, "gap")) " in this range" }
                ul {
                    @for (from, to) in series.gaps.iter().rev().take(GAPS) {
                        li { (words::at(visitor, *from)) " to " (words::at(visitor, *to)) ", " (words::span(to - from)) }
                    }
                }
                @if series.gaps.len() > GAPS { p.quiet { "The newest " (GAPS) " are listed." } }
            }
        }
    }
}

/// The newest recordings of a range, to be listened to while they are kept.
pub async fn recordings(
    web: &Web,
    visitor: &Visitor,
    sensor: &Sensor,
    stretch: &Stretch<'_>,
) -> Result<Markup, Failure> {
    let newest = sensor
        .last_heard
        .as_deref()
        .and_then(|time| time::parse(time).ok())
        .map_or(stretch.to, |last| last.min(stretch.to));
    let mut found: Vec<Recording> = Vec::new();
    // Recordings are listed from the oldest on, and may be of a second or of an hour.
    for length in [60, 3_600, 86_400] {
        let from = stretch.from.max(newest - length * SECOND);
        if from >= newest {
            break;
        }
        let part = Stretch { from, to: newest, ..*stretch };
        let page: List<Recording> = web.api().get(visitor, &part.path("recordings", "&limit=200")).await?;
        found = page.items;
        if found.len() >= RECORDINGS || from == stretch.from {
            break;
        }
    }
    found.reverse();
    found.truncate(RECORDINGS);
    let kept = sensor.retention.audio_days > 0;
    Ok(html! {
        section aria-labelledby="recordings" {
            h2 #recordings { "Newest recordings of this range" }
            @if found.is_empty() { p.quiet { "None arrived in it." } }
            @else {
                div.scrollable tabindex="0" role="region" aria-label="Table of recordings" {
                    table.rows {
                        thead { tr { th scope="col" { "Begins" } th.number scope="col" { "Length" } th scope="col" { "State" } @if kept { th scope="col" { "Listen" } } } }
                        tbody {
                            @for recording in &found {
                                tr {
                                    th scope="row" { (words::when(visitor, &recording.start)) }
                                    td.number { @match recording.duration { Some(duration) => { (words::span((duration * 1e6) as Micros)) } None => { "–" } } }
                                    td { (recording.status) @if let Some(reason) = &recording.reason { ": " (reason) } }
                                    @if kept { td { @if recording.audio { audio controls preload="none" src={ "/api/v1/recordings/" (recording.id) "/audio" } aria-label={ "Recording of " (recording.start) } {} } @else { "not kept" } } }
                                }
                            }
                        }
                    }
                }
            }
            @if !kept { p.quiet { "This sensor keeps features, no audio; its retention says for how many days." } }
        }
    })
}

/// What is known about a sensor.
pub fn facts(visitor: &Visitor, sensor: &Sensor) -> Markup {
    let days = |days: u32| words::counted(days.into(), "day");
    html! {
        dl.facts.wide {
            @if let (Some(north), Some(east)) = (sensor.latitude, sensor.longitude) {
                div { dt { "Place" } dd { (words::decimal(north, 5)) "° north, " (words::decimal(east, 5)) "° east" } }
            }
            div { dt { "Its days are of" } dd { (sensor.timezone.as_deref().unwrap_or("UTC")) } }
            div { dt { "Levels are" } dd { @match sensor.calibration {
                Some(calibration) => { "calibrated: full scale is " (words::decimal(calibration, 1)) " dB" }
                None => { "relative to full scale (dBFS): not calibrated" }
            } } }
            div { dt { "Analysed by" } dd { @for (number, planned) in sensor.plan.iter().enumerate() {
                @if number > 0 { ", " }
                a href={ "/algorithms/" (escaped(&planned.algorithm)) } { (planned.algorithm) }
            } } }
            div { dt { "Keeps" } dd {
                "seconds for " (days(sensor.retention.one_second_days)) ", scrolling pictures for " (words::counted(sensor.retention.preview_hours.into(), "hour"))
                @if sensor.retention.audio_days > 0 { ", audio " @if let Some(seconds) = sensor.retention.audio_alert_seconds { "within " (words::counted(seconds.into(), "second")) " of an alert " } "for " (days(sensor.retention.audio_days)) } @else { ", no audio" }
                ", minutes and coarser for ever"
            } }
            @if let Some(last) = &sensor.last_heard { div { dt { "Last heard" } dd { (words::when(visitor, last)) } } }
        }
    }
}
