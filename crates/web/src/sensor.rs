//! The page of a sensor: what it heard, over any range of time.

mod asked;
mod figures;
mod lists;

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::http::time;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use maud::{Markup, html};

use self::asked::{Asked, LAST};
use self::figures::{drawing, picture_figure};
use self::lists::{downloads, facts, gaps, recordings};
use crate::Web;
use crate::alerts;
use crate::failure::Failure;
use crate::model::{Algorithm, List, Output, Sensor};
use crate::now::{badge, card, status_words};
use crate::page::{Page, Section};
use crate::paths::{self, and};
use crate::picture::paint;
use crate::visitor::Visitor;
use crate::words;

async fn find(web: &Web, visitor: &Visitor, sensor: &str) -> Result<Sensor, Failure> {
    web.api().get(visitor, &format!("/api/v1{}", paths::sensor(sensor))).await
}

/// The page.
pub async fn page(
    State(web): State<Web>,
    visitor: Visitor,
    Path(sensor): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Page, Failure> {
    let sensor = find(&web, &visitor, &sensor).await?;
    let now = web.now();
    let asked = Asked::read(query.as_deref(), visitor.zone, now)?;
    let is_heard = matches!(sensor.status.as_str(), "live" | "late");
    let live = async { if is_heard { Some(card(&web, &visitor, &sensor, now).await) } else { None } };
    let (live, range, alerts) =
        futures::join!(live, range(&web, &visitor, &sensor, &asked), alerts::of_sensor(&web, &visitor, &sensor.id));
    let range = range?;
    let (word, meaning) = status_words(&sensor.status);
    let body = html! {
        p.trail { a href="/" { "Now" } }
        div.headline { h1 { bdi { (sensor.title()) } } (badge(&sensor.status)) }
        p.quiet { code { (sensor.id) } " · " (word) ": " (meaning) "." }
        @if let Some(deleted) = &sensor.deleted_at {
            p.note { "This sensor was deleted " (words::when(&visitor, deleted)) "; what it heard stays readable." }
        }
        @if let Some(live) = live { div.cards.single { (live) } }
        div #range data-path=(paths::sensor(&sensor.id)) { (range) }
        (alerts)
        section aria-labelledby="about" { h2 #about { "About this sensor" } (facts(&visitor, &sensor)) }
    };
    Ok(Page::new(sensor.title().to_owned(), body).of(Section::Now).with_scripts(&["now.js", "sensor.js"]))
}

/// What of the page depends on the range: scripts exchange it.
pub async fn chart(
    State(web): State<Web>,
    visitor: Visitor,
    Path(sensor): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let sensor = find(&web, &visitor, &sensor).await?;
    let asked = Asked::read(query.as_deref(), visitor.zone, web.now())?;
    let part = range(&web, &visitor, &sensor, &asked).await?.into_string();
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
    ];
    Ok((headers, part).into_response())
}

/// A feature of many values at each time as a picture.
pub async fn picture(
    State(web): State<Web>,
    visitor: Visitor,
    Path(sensor): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let sensor = find(&web, &visitor, &sensor).await?;
    let asked = Asked::read(query.as_deref(), visitor.zone, web.now())?;
    let feature = asked.feature.as_deref().unwrap_or("level.bands");
    let stretch = asked.stretch(&sensor);
    let resolution = if feature == "mel.preview" { "frame" } else { "auto" };
    if resolution == "frame" && stretch.length() > 900 * SECOND {
        return Err(Failure::bad_request("the preview is shown for 15 minutes at most; level.bands shows more"));
    }
    let query = format!("{}&resolution={resolution}", and("features", Some(feature)));
    let series = stretch.ask(&web, &visitor, &query).await?;
    paint(&series, &stretch)
}

/// What can be drawn of a sensor: outputs with values over time, those of its plan first.
async fn outputs(web: &Web, visitor: &Visitor, sensor: &Sensor) -> Result<Vec<(bool, Output)>, Failure> {
    let known: List<Algorithm> = web.api().get(visitor, "/api/v1/algorithms?limit=1000").await?;
    let mut found = Vec::new();
    for algorithm in known.items {
        let series = algorithm.outputs.into_iter().filter(|output| output.kind == "series" && !output.stats.is_empty());
        found.extend(series.map(|output| (sensor.has(&algorithm.name, &output), output)));
    }
    found.sort_by_key(|(planned, output)| (!planned, output.name != "level.a"));
    Ok(found)
}

async fn range(web: &Web, visitor: &Visitor, sensor: &Sensor, asked: &Asked) -> Result<Markup, Failure> {
    let outputs = outputs(web, visitor, sensor).await?;
    let named = asked.feature.as_deref();
    let chosen = match named {
        Some(name) => outputs.iter().find(|(_, output)| output.name == name),
        None => outputs.first(),
    };
    let Some((_, output)) = chosen else {
        let name = named.unwrap_or_default();
        return Err(Failure::not_found(format!(
            "there is no feature {name:?} with values over time; Algorithms lists them"
        )));
    };
    let of_days = asked.stat.as_ref().is_some_and(|stat| output.day_stats.contains(stat));
    // Of a part of a day there is no such value.
    let stretch = if of_days { asked.stretch(sensor).of_whole_days() } else { asked.stretch(sensor) };
    let (curve, recordings) =
        futures::join!(drawing(web, visitor, &stretch, output, asked), recordings(web, visitor, sensor, &stretch));
    let (series, figure) = curve?;
    let bands =
        output.name != "level.bands" && outputs.iter().any(|(planned, known)| *planned && known.name == "level.bands");
    Ok(html! {
        (controls(visitor, sensor, asked, &outputs, output))
        (figure)
        @if bands { (picture_figure(visitor, &stretch, &series, "level.bands", "Third-octave bands", "25 Hz at the bottom, 20 kHz at the top; lighter is louder.")) }
        (downloads(&stretch, output, asked))
        (gaps(visitor, &series))
        (recordings?)
    })
}

fn controls(visitor: &Visitor, sensor: &Sensor, asked: &Asked, outputs: &[(bool, Output)], chosen: &Output) -> Markup {
    let path = paths::sensor(&sensor.id);
    let choice = asked.choice();
    let length = asked.to - asked.from;
    let moved = |by: Micros| {
        format!("{path}?from={}&to={}{choice}", time::format(asked.from + by), time::format(asked.to + by))
    };
    let field = |at: Micros| words::local(at, visitor.zone).map(|local| local.format("%Y-%m-%dT%H:%M:%S").to_string());
    let usual = chosen.stats.first().map_or("", String::as_str);
    let offered = |stat: &&String| !stat.contains("NN");
    let percentiles = chosen.stats.iter().any(|stat| stat == "lNN");
    html! {
        div.controls {
            nav.ranges aria-label="Range of time" {
                ul {
                    @for (word, name, _) in LAST {
                        li { a href={ (path) "?last=" (word) (choice) } aria-current=[(asked.last == Some(word)).then_some("true")] data-range { (name) } }
                    }
                }
                ul {
                    li { a href=(moved(-length)) rel="prev" data-range { "← Earlier" } }
                    li { a href=(moved(length)) rel="next" data-range { "Later →" } }
                }
            }
            form.range action=(path) {
                div { label for="from" { "From" } input #from type="datetime-local" step="1" name="from" value=[field(asked.from)]; }
                div { label for="to" { "To" } input #to type="datetime-local" step="1" name="to" value=[field(asked.to)]; }
                div {
                    label for="feature" { "Feature" }
                    select #feature name="feature" {
                        // What its plan does not have would be nothing but a gap.
                        @for (_, output) in outputs.iter().filter(|(planned, output)| *planned || output.name == chosen.name) {
                            option value=(output.name) selected[output.name == chosen.name] { (output.name) ": " (output.title) }
                        }
                    }
                }
                @if chosen.dimensions == 1 {
                    div {
                        label for="stat" { "Statistic" }
                        select #stat name="stat" {
                            @for stat in chosen.stats.iter().filter(offered) {
                                option value=(if stat == usual { "" } else { stat }) selected[asked.stat.as_deref() == Some(stat)] { (stat) }
                            }
                            @if percentiles {
                                @for stat in ["l01", "l05", "l10", "l50", "l90", "l95", "l99"] {
                                    option value=(stat) selected[asked.stat.as_deref() == Some(stat)] { (stat) }
                                }
                            }
                            @for stat in &chosen.day_stats {
                                option value=(stat) selected[asked.stat.as_deref() == Some(stat)] { (stat) ", of days" }
                            }
                        }
                    }
                }
                button.button type="submit" { "Show" }
            }
            p.hint.scripted hidden { "Drag over a chart to zoom in; with the keyboard, arrows move, + and − zoom, 0 goes back." }
        }
    }
}
