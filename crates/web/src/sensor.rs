//! The page of a sensor: what it heard, over any range of time.

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::http::time;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use chrono::{NaiveDateTime, TimeZone};
use chrono_tz::Tz;
use http::{HeaderValue, header};
use maud::{Markup, html};
use percent_encoding::utf8_percent_encode;

use crate::Web;
use crate::chart::{self, Curve};
use crate::failure::Failure;
use crate::model::{Algorithm, List, Output, Recording, Sensor};
use crate::now::{badge, card, parameter, status_words};
use crate::page::{Page, Section};
use crate::picture::paint;
use crate::series::{Kind, Series, Stretch};
use crate::visitor::Visitor;
use crate::words::{self, QUERY};

/// Ranges that end now, by one word: how they are called, and their length.
const LAST: [(&str, &str, Micros); 6] = [
    ("10m", "10 minutes", 600 * SECOND),
    ("1h", "Hour", 3_600 * SECOND),
    ("24h", "Day", 86_400 * SECOND),
    ("7d", "Week", 7 * 86_400 * SECOND),
    ("30d", "Month", 30 * 86_400 * SECOND),
    ("1y", "Year", 365 * 86_400 * SECOND),
];

/// The range when nothing is said.
const USUAL: usize = 2;

/// The shortest range: shorter ones have one value.
const SHORTEST: Micros = 2 * SECOND;

/// Recordings and gaps that are listed.
const LISTED: usize = 12;

/// What is asked of the page.
struct Asked {
    from: Micros,
    to: Micros,
    /// The word, for a range that ends now.
    last: Option<&'static str>,
    feature: Option<String>,
    stat: Option<String>,
}

impl Asked {
    fn read(query: Option<&str>, zone: Tz, now: Micros) -> Result<Self, Failure> {
        let get = |name| parameter(query, name);
        let (feature, stat) = (get("feature"), get("stat"));
        if let (Some(from), Some(to)) = (get("from"), get("to")) {
            let (from, to) = (instant("from", &from, zone)?, instant("to", &to, zone)?);
            if from >= to {
                return Err(Failure::bad_request("the range ends before it begins; choose a later end"));
            }
            return Ok(Self { from, to: to.max(from + SHORTEST), last: None, feature, stat });
        }
        let word = get("last");
        if let Some(seconds) = word.as_deref().and_then(|word| word.strip_suffix('s')?.parse::<u32>().ok()) {
            let length = Micros::from(seconds.clamp(2, 3_600)) * SECOND;
            return Ok(Self { from: now - length, to: now, last: None, feature, stat });
        }
        let found = match &word {
            Some(word) => LAST.iter().find(|(known, ..)| known == word),
            None => Some(&LAST[USUAL]),
        };
        let (word, _, length) = found.ok_or_else(|| {
            Failure::bad_request("the range is none that there is: 10m, 1h, 24h, 7d, 30d or 1y, or from and to")
        })?;
        // On whole seconds, so that the same range within a second is the same query.
        let to = now.div_euclid(SECOND) * SECOND;
        Ok(Self { from: to - length, to, last: Some(word), feature, stat })
    }

    fn stretch<'a>(&self, sensor: &'a str) -> Stretch<'a> {
        Stretch { kind: Kind::Sensor, id: sensor, from: self.from, to: self.to }
    }

    fn choice(&self) -> String {
        let pairs = [("feature", &self.feature), ("stat", &self.stat)];
        let chosen = pairs.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        chosen.map(|(name, value)| format!("&{name}={}", utf8_percent_encode(value, QUERY))).collect()
    }
}

/// A time of the API, or what a field for local times gives, by the clock of the reader.
fn instant(field: &str, text: &str, zone: Tz) -> Result<Micros, Failure> {
    if let Ok(time) = time::parse(text) {
        return Ok(time);
    }
    let forms = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"];
    let wall = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let found = wall.and_then(|wall| zone.from_local_datetime(&wall).earliest());
    found.map(|found| found.timestamp_micros()).ok_or_else(|| {
        Failure::bad_request(format!(
            "{field} is no time that there is: it is written 2026-05-01T00:00 or 2026-05-01T00:00:00Z"
        ))
    })
}

fn path_of(sensor: &str) -> String {
    format!("/sensors/{}", utf8_percent_encode(sensor, QUERY))
}

async fn find(web: &Web, visitor: &Visitor, sensor: &str) -> Result<Sensor, Failure> {
    web.api().get(visitor, &format!("/api/v1{}", path_of(sensor))).await
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
    let (live, range) = futures::join!(live, range(&web, &visitor, &sensor, &asked));
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
        div #range data-path=(path_of(&sensor.id)) { (range) }
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
    let asked = Asked::read(query.as_deref(), visitor.zone, web.now())?;
    let feature = asked.feature.as_deref().unwrap_or("level.bands");
    let stretch = asked.stretch(&sensor);
    let resolution = if feature == "mel.preview" { "frame" } else { "auto" };
    if resolution == "frame" && stretch.length() > 900 * SECOND {
        return Err(Failure::bad_request("the preview is shown for 15 minutes at most; level.bands shows more"));
    }
    let feature = utf8_percent_encode(feature, QUERY);
    let series = stretch.ask(&web, &visitor, &format!("&features={feature}&resolution={resolution}")).await?;
    paint(&series, &stretch)
}

/// What can be drawn of a sensor: outputs with values over time, those of its plan first.
async fn outputs(web: &Web, visitor: &Visitor, sensor: &Sensor) -> Result<Vec<(bool, Output)>, Failure> {
    let known: List<Algorithm> = web.api().get(visitor, "/api/v1/algorithms?limit=1000").await?;
    let mut found = Vec::new();
    for algorithm in known.items {
        let planned = sensor.has(&algorithm.name);
        let series = algorithm.outputs.into_iter().filter(|output| output.kind == "series" && !output.stats.is_empty());
        found.extend(series.map(|output| (planned, output)));
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
    let stretch = asked.stretch(&sensor.id);
    let (curve, recordings) =
        futures::join!(drawing(web, visitor, &stretch, output, asked), recordings(web, visitor, sensor, &stretch));
    let (series, figure) = curve?;
    let bands = sensor.has("level") && output.name != "level.bands";
    Ok(html! {
        (controls(visitor, sensor, asked, &outputs, output))
        (figure)
        @if bands { (picture_figure(visitor, &stretch, &series, "level.bands", "Third-octave bands", "25 Hz at the bottom, 20 kHz at the top; lighter is louder.")) }
        (downloads(&stretch, output, asked))
        (gaps(visitor, &series))
        (recordings?)
    })
}

/// The figure of the chosen feature, and the series that it is made of.
async fn drawing(
    web: &Web,
    visitor: &Visitor,
    stretch: &Stretch<'_>,
    output: &Output,
    asked: &Asked,
) -> Result<(Series, Markup), Failure> {
    let feature = utf8_percent_encode(&output.name, QUERY);
    let usual = output.stats.first().map_or("mean", String::as_str);
    let stat = asked.stat.as_deref().unwrap_or(usual);
    let has = |name: &str| output.stats.iter().any(|stat| stat == name);
    if output.dimensions > 1 {
        // The gaps and the resolution are those of one of its columns; the picture has them all.
        let series = stretch.ask(web, visitor, "&features=level.a&fill=gaps").await?;
        let about = format!(
            "{} at the bottom, {} at the top.",
            end(output, 0),
            end(output, output.labels.len().saturating_sub(1))
        );
        let figure = picture_figure(visitor, stretch, &series, &output.name, &output.title, &about);
        return Ok((series, figure));
    }
    let with_band = stat == usual && has("min") && has("max");
    let stats = if with_band { format!("{usual},min,max") } else { stat.to_owned() };
    let query = format!("&features={feature}&stat={}&fill=gaps", utf8_percent_encode(&stats, QUERY));
    let series = stretch.ask(web, visitor, &query).await?;
    let unit = series.columns.first().map_or("", |(_, unit)| unit.as_str());
    let unit = if unit == "1" { "" } else { unit };
    let extremes = extremes(visitor, &series, unit, with_band);
    let spoken = format!(
        "{}, {stat}, from {} to {}. {}",
        output.title,
        words::instant(stretch.from, visitor.zone),
        words::instant(stretch.to, visitor.zone),
        extremes.0
    );
    let curve = Curve {
        series: &series,
        stretch,
        column: 0,
        band: with_band.then_some((1, 2)),
        zone: visitor.zone,
        name: spoken,
    };
    let caption = html! {
        strong { (output.title) }
        @if !unit.is_empty() { span.unit { " in " (unit) } }
        span.quiet { " · " code { (output.name) } " " (stat) @if with_band { ", with least and most" } ", each " (each(series.step)) }
        p.extremes { (extremes.1) }
    };
    let figure = chart::figure(stretch, &caption, &chart::draw(&curve));
    Ok((series, figure))
}

fn end(output: &Output, place: usize) -> String {
    output
        .labels
        .get(place)
        .cloned()
        .unwrap_or_else(|| if place == 0 { String::from("the first") } else { String::from("the last") })
}

fn each(step: Micros) -> String {
    match step / SECOND {
        1 => String::from("second"),
        60 => String::from("minute"),
        3_600 => String::from("hour"),
        86_400 => String::from("day"),
        _ => words::span(step),
    }
}

/// The most and the least with their times: spoken, and shown.
fn extremes(visitor: &Visitor, series: &Series, unit: &str, with_band: bool) -> (String, Markup) {
    let (low, high) = if with_band { (1, 2) } else { (0, 0) };
    let least = series.values(low).min_by(|a, b| a.1.total_cmp(&b.1));
    let most = series.values(high).max_by(|a, b| a.1.total_cmp(&b.1));
    let (Some(least), Some(most)) = (least, most) else {
        let nothing = "Nothing was heard in this range, or this feature is not in the sensor's plan.";
        return (nothing.to_owned(), html! { (nothing) });
    };
    let spoken = format!("From {} to {} {unit}.", words::value(least.1), words::value(most.1));
    let shown = html! {
        "Most " strong { (words::value(most.1)) " " (unit) } " at " (words::at(visitor, most.0))
        " · least " strong { (words::value(least.1)) " " (unit) } " at " (words::at(visitor, least.0))
    };
    (spoken, shown)
}

fn picture_figure(
    visitor: &Visitor,
    stretch: &Stretch<'_>,
    series: &Series,
    feature: &str,
    title: &str,
    about: &str,
) -> Markup {
    let source = format!(
        "{}/picture.png?{}&feature={}",
        path_of(stretch.id),
        stretch.range(),
        utf8_percent_encode(feature, QUERY)
    );
    let heard = series.rows.iter().any(|row| row.coverage > 0.0);
    let caption = html! { strong { (title) } span.quiet { " · " code { (feature) } } p.extremes { (about) } };
    let drawing = html! {
        @if heard {
            img.map src=(source) alt={ (title) " from " (words::instant(stretch.from, visitor.zone)) " to " (words::instant(stretch.to, visitor.zone)) } width="1000" height="150";
        } @else { p.blank { "Nothing was heard in this range." } }
        svg.over width="100%" height="176" aria-hidden="true" {
            (chart::gaps(series, stretch, 0.0, 150.0))
            (chart::time_marks(stretch, visitor.zone, 0.0, 150.0))
        }
    };
    chart::figure(stretch, &caption, &drawing)
}

fn controls(visitor: &Visitor, sensor: &Sensor, asked: &Asked, outputs: &[(bool, Output)], chosen: &Output) -> Markup {
    let path = path_of(&sensor.id);
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
                        @for (title, planned) in [("Of this sensor's plan", true), ("Others", false)] {
                            optgroup label=(title) {
                                @for (_, output) in outputs.iter().filter(|(known, _)| *known == planned) {
                                    option value=(output.name) selected[output.name == chosen.name] { (output.name) ": " (output.title) }
                                }
                            }
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
                        }
                    }
                }
                button.button type="submit" { "Show" }
            }
            p.hint.scripted hidden { "Drag over a chart to zoom in; with the keyboard, arrows move, + and − zoom, 0 goes back." }
        }
    }
}

fn downloads(stretch: &Stretch<'_>, output: &Output, asked: &Asked) -> Markup {
    let feature = utf8_percent_encode(&output.name, QUERY);
    let stat =
        asked.stat.as_deref().map(|stat| format!("&stat={}", utf8_percent_encode(stat, QUERY))).unwrap_or_default();
    let of = |format: &str| stretch.path("features", &format!("&features={feature}{stat}&format={format}"));
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

fn gaps(visitor: &Visitor, series: &Series) -> Markup {
    html! {
        @if !series.gaps.is_empty() {
            details.gaps {
                summary { (words::counted(series.gaps.len() as u64, "gap")) " in this range" }
                ul {
                    @for (from, to) in series.gaps.iter().rev().take(LISTED) {
                        li { (words::at(visitor, *from)) " to " (words::at(visitor, *to)) ", " (words::span(to - from)) }
                    }
                }
                @if series.gaps.len() > LISTED { p.quiet { "The newest " (LISTED) " are listed." } }
            }
        }
    }
}

/// The newest recordings of a range, to be listened to while they are kept.
async fn recordings(web: &Web, visitor: &Visitor, sensor: &Sensor, stretch: &Stretch<'_>) -> Result<Markup, Failure> {
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
        if found.len() >= LISTED || from == stretch.from {
            break;
        }
    }
    found.reverse();
    found.truncate(LISTED);
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
                                    @if kept { td { audio controls preload="none" src={ "/api/v1/recordings/" (recording.id) "/audio" } aria-label={ "Recording of " (recording.start) } {} } }
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

fn facts(visitor: &Visitor, sensor: &Sensor) -> Markup {
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
                a href={ "/algorithms/" (utf8_percent_encode(&planned.algorithm, QUERY)) } { (planned.algorithm) }
            } } }
            div { dt { "Keeps" } dd {
                "seconds for " (days(sensor.retention.one_second_days)) ", scrolling pictures for " (words::counted(sensor.retention.preview_hours.into(), "hour"))
                @if sensor.retention.audio_days > 0 { ", audio for " (days(sensor.retention.audio_days)) } @else { ", no audio" }
                ", minutes and coarser for ever"
            } }
            @if let Some(last) = &sensor.last_heard { div { dt { "Last heard" } dd { (words::when(visitor, last)) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_by_the_clock_of_the_reader() {
        let now = time::parse("2026-05-02T00:00:00.5Z").unwrap();
        let read = |query: &str, zone| {
            Asked::read(Some(query), zone, now).map(|asked| (time::format(asked.from), time::format(asked.to)))
        };
        let day = read("", Tz::UTC).unwrap();
        assert_eq!((day.0.as_str(), day.1.as_str()), ("2026-05-01T00:00:00.000000Z", "2026-05-02T00:00:00.000000Z"));
        let local = read("from=2026-05-01T05:30&to=2026-05-01T06:30:00", Tz::Asia__Kolkata).unwrap();
        assert_eq!(
            (local.0.as_str(), local.1.as_str()),
            ("2026-05-01T00:00:00.000000Z", "2026-05-01T01:00:00.000000Z")
        );
        assert_eq!(read("last=1h", Tz::UTC).unwrap().0, "2026-05-01T23:00:00.000000Z");
        for wrong in ["last=2h", "from=now&to=then", "from=2026-05-02T00:00:00Z&to=2026-05-01T00:00:00Z"] {
            assert!(matches!(read(wrong, Tz::UTC), Err(Failure::Refused { .. })), "{wrong}");
        }
    }
}
