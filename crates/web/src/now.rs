//! The first page: what is heard now, by which sensors, and what the pipeline is doing.

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::http::time;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use chrono_tz::Tz;
use maud::{Markup, html};
use serde::Deserialize;

use crate::Web;
use crate::alerts::that_are_on;
use crate::chart;
use crate::failure::Failure;
use crate::forms::go_to;
use crate::live::followed;
use crate::model::{List, Sensor};
use crate::page::{Page, Section};
use crate::paths::{self, and, escaped};
use crate::pipeline::Pipeline;
use crate::series::{Kind, Series, Stretch};
use crate::visitor::Visitor;
use crate::words;

/// Sensors of one page.
const LIMIT: usize = 24;

/// What the little curves show.
const LITTLE: Micros = 600 * SECOND;

/// What the scrolling pictures show.
const SHOWN: Micros = 40 * SECOND;

/// What `/readyz` says.
#[derive(Deserialize)]
struct Readiness {
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    name: String,
    detail: Option<String>,
}

/// The first of the values that a query has for a name.
#[must_use]
pub fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.into_owned().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value)
}

/// The page.
pub async fn page(State(web): State<Web>, visitor: Visitor, RawQuery(query): RawQuery) -> Result<Page, Failure> {
    let cursor = parameter(query.as_deref(), "cursor");
    let path = format!("/api/v1/sensors?limit={LIMIT}{}", and("cursor", cursor.as_deref()));
    let sensors: List<Sensor> = web.api().get(&visitor, &path).await?;
    let (pipeline, faults, alerts) =
        futures::join!(Pipeline::ask(&web, &visitor), faults(&web, &visitor), that_are_on(&web, &visitor));
    let followed = followed(&sensors);
    let now = web.now();
    let cards = followed.iter().map(async |sensor| card(&web, &visitor, sensor, now).await);
    let cards: Vec<Markup> = futures::future::join_all(cards).await;
    let others: Vec<&Sensor> =
        sensors.items.iter().filter(|sensor| followed.iter().all(|followed| followed.id != sensor.id)).collect();
    let body = html! {
        div.headline {
            h1 { "Now" }
            @if sensors.items.len() >= LIMIT || cursor.is_some() { (find_form()) }
        }
        (alerts)
        @if sensors.items.is_empty() { (nothing_yet()) }
        div.cards { @for card in &cards { (card) } }
        @if !others.is_empty() { (table(&visitor, &others, now)) }
        @if let Some(next) = &sensors.next {
            p.pager { a.button href={ "/?cursor=" (escaped(next)) } rel="next" { "More sensors" } }
        }
        section aria-labelledby="pipeline-title" {
            h2 #pipeline-title { "What the server is doing" }
            @match &pipeline {
                Ok(pipeline) => {
                    (pipeline.show())
                    p.quiet #pipeline-words {
                        @if pipeline.waiting == 0 { "Nothing waits: what arrives is analysed at once." }
                        @else { "What waits is analysed in its turn; nothing of it is lost." }
                    }
                }
                Err(_) => { p.quiet { "Its figures cannot be read now." } }
            }
            @if !faults.is_empty() {
                ul.faults {
                    @for fault in &faults { li { strong { (fault.name) } ": " (fault.detail.as_deref().unwrap_or("not usable now")) } }
                }
            }
        }
    };
    Ok(Page::new("Now", body).of(Section::Now).with_scripts(&["now.js"]))
}

/// Goes to a sensor that is asked for by its id.
pub async fn find(RawQuery(query): RawQuery) -> Response {
    match parameter(query.as_deref(), "id") {
        Some(id) => go_to(&paths::sensor(id.trim()), &[]),
        None => go_to("/", &[]),
    }
}

fn find_form() -> Markup {
    html! {
        form.find action="/sensors" role="search" {
            label for="id" { "Sensor" }
            input #id name="id" placeholder="its id" autocomplete="off" spellcheck="false";
            button type="submit" { "Go" }
        }
    }
}

async fn faults(web: &Web, visitor: &Visitor) -> Vec<Check> {
    let Ok(response) = web.api().ask(visitor, http::Method::GET, "/readyz", &[]).await else { return Vec::new() };
    let Ok(body) = axum::body::to_bytes(response.into_body(), 256 * 1024).await else { return Vec::new() };
    let readiness: Readiness = serde_json::from_slice(&body).unwrap_or(Readiness { checks: Vec::new() });
    readiness.checks.into_iter().filter(|check| check.detail.is_some()).collect()
}

fn nothing_yet() -> Markup {
    html! {
        div.empty {
            h2 { "No sensor yet" }
            p { "A sensor is whatever sends sound: a microphone on a roof, a radio stream, a folder of recordings. Make one, and play something to it:" }
            pre { code { "antiphon sensor add roof\nantiphon sensor simulate roof" } }
            p { "What it hears is on this page within two seconds. Music goes to " a href="/songs" { "Songs" } "." }
        }
    }
}

/// The word for how a sensor is doing, and what it means.
#[must_use]
pub fn status_words(status: &str) -> (&'static str, &'static str) {
    match status {
        "live" => ("Live", "what it hears arrives now"),
        "late" => ("Late", "something arrived in the last five minutes, but older sound"),
        "silent" => ("Silent", "nothing arrived for five minutes"),
        _ => ("Never heard", "nothing of it arrived yet"),
    }
}

/// A badge: a shape and a word, so that nobody needs to tell its colour.
pub fn badge(status: &str) -> Markup {
    let (word, meaning) = status_words(status);
    html! { span.badge data-status=(status) title=(meaning) { (word) } }
}

/// A sensor with its live picture.
pub async fn card(web: &Web, visitor: &Visitor, sensor: &Sensor, now: Micros) -> Markup {
    let to = now.div_euclid(10 * SECOND) * 10 * SECOND;
    let stretch = Stretch { kind: Kind::Sensor, id: &sensor.id, from: to - LITTLE, to, zone: Tz::UTC };
    let query = "&features=level.a&resolution=10s&fill=gaps";
    let level = stretch.ask(web, visitor, query).await.ok().filter(|level| !level.is_empty(0));
    let last = level.as_ref().and_then(|level| Some((level.values(0).last()?.1, level.columns.first()?.1.clone())));
    let path = paths::sensor(&sensor.id);
    let unit = last.as_ref().map_or("dBFS", |(_, unit)| unit.as_str());
    // Calibrated levels are above 0, others below full scale.
    let (least, most) = if unit == "dB" { (20.0, 110.0) } else { (-90.0, 0.0) };
    let share = last.as_ref().map_or(0.0, |(value, _)| ((value - least) / (most - least)).clamp(0.0, 1.0));
    html! {
        article.card data-sensor=(sensor.id) data-status=(sensor.status) {
            header {
                h2 { a href=(path) { bdi { (sensor.title()) } } }
                (badge(&sensor.status))
            }
            @if sensor.has_preview() {
                @let last = sensor.last_heard.as_deref().and_then(|last| time::parse(last).ok());
                @let is_fresh = last.is_some_and(|last| last > now - SHOWN);
                div.screen {
                    canvas.scroll width="400" height="64" role="img" aria-label={ "Spectrogram of what " (sensor.title()) " hears, scrolling" } hidden {}
                    p.still-screen hidden[is_fresh] { "Nothing heard in the last 40 seconds" }
                    @if is_fresh {
                        noscript {
                            img src={ (path) "/picture.png?last=40s&feature=mel.preview" } width="400" height="64" loading="lazy"
                                alt={ "Spectrogram of the last 40 seconds of " (sensor.title()) };
                        }
                    }
                }
            }
            div.level {
                div.bar role="meter" aria-label={ "Level of " (sensor.title()) } aria-valuemin=(least) aria-valuemax=(most)
                    aria-valuenow=(last.as_ref().map_or(least, |(value, _)| (value * 10.0).round() / 10.0))
                    aria-valuetext=(last.as_ref().map_or(String::from("not heard"), |(value, unit)| format!("{value:.1} {unit}"))) {
                        svg width="100%" height="8" aria-hidden="true" { rect.fill width=(chart::percent(share * 100.0)) height="8" rx="4" {} }
                    }
                p.reading {
                    output.number data-level { @match &last { Some((value, _)) => { (words::decimal(*value, 1)) } None => { "–" } } }
                    " " span.unit { (unit) }
                }
            }
            @if let Some(level) = &level { (little_curve(level, &stretch, sensor)) }
            dl.facts {
                div { dt { "Last heard" } dd data-fact="last_heard" {
                    @match &sensor.last_heard { Some(time) => { (words::ago(visitor, time, now)) } None => { "never" } }
                } }
                div { dt { "Heard today" } dd data-fact="seconds_today" { (words::span((sensor.seconds_today * 1e6) as Micros)) } }
                div { dt { "Gaps today" } dd data-fact="gaps_today" { (words::count(sensor.gaps_today)) } }
                @if let Some(skew) = sensor.clock_skew_ms.filter(|skew| skew.abs() >= 2_000) {
                    div.warning { dt { "Its clock" } dd { (words::span(skew.abs() * 1_000)) (if skew > 0 { " behind" } else { " ahead" }) } }
                }
            }
        }
    }
}

fn little_curve(level: &Series, stretch: &Stretch<'_>, sensor: &Sensor) -> Markup {
    let (least, most) = level
        .values(0)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), (_, value)| (least.min(value), most.max(value)));
    let span = (most - least).max(6.0);
    let points = level.rows.iter().map(|row| {
        let x = stretch.share(row.time + level.step / 2) * 300.0;
        let y = 30.0 - (row.value(0)? - least) / span * 28.0;
        Some((x.round() as i64, y.round() as i64))
    });
    let name = format!(
        "Level of {} over ten minutes: {} to {} {}",
        sensor.title(),
        words::decimal(least, 0),
        words::decimal(most, 0),
        level.columns.first().map_or("", |(_, unit)| unit.as_str())
    );
    html! {
        div.little {
            svg width="100%" height="34" role="img" aria-label=(name) {
                (chart::gaps(level, stretch, 0.0, 34.0))
                svg width="100%" height="34" viewBox="0 0 300 34" preserveAspectRatio="none" { path.curve d=(chart::path(points)) {} }
            }
            p.quiet { "Last 10 minutes" }
        }
    }
}

fn table(visitor: &Visitor, sensors: &[&Sensor], now: Micros) -> Markup {
    html! {
        section aria-labelledby="others" {
            h2 #others { "More sensors" }
            div.scrollable tabindex="0" role="region" aria-label="Table of sensors" {
                table.rows {
                    thead { tr { th scope="col" { "Sensor" } th scope="col" { "State" } th scope="col" { "Last heard" } th.number scope="col" { "Gaps today" } } }
                    tbody {
                        @for sensor in sensors {
                            tr {
                                th scope="row" { a href=(paths::sensor(&sensor.id)) { bdi { (sensor.title()) } } }
                                td { (badge(&sensor.status)) }
                                td { @match &sensor.last_heard { Some(time) => { (words::ago(visitor, time, now)) } None => { "never" } } }
                                td.number { (words::count(sensor.gaps_today)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
