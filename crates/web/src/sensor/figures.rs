//! The figures of the page of a sensor: a curve, or a picture of many values at each time.

use antiphon_platform::clock::{Micros, SECOND};
use chrono_tz::Tz;
use maud::{Markup, html};

use super::asked::Asked;
use crate::Web;
use crate::chart::{self, Curve};
use crate::failure::Failure;
use crate::model::Output;
use crate::paths::{self, and};
use crate::series::{Series, Stretch};
use crate::visitor::Visitor;
use crate::words;

/// The figure of the chosen feature, and the series that it is made of.
pub async fn drawing(
    web: &Web,
    visitor: &Visitor,
    stretch: &Stretch<'_>,
    output: &Output,
    asked: &Asked,
) -> Result<(Series, Markup), Failure> {
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
    let query = format!("{}{}&fill=gaps", and("features", Some(&output.name)), and("stat", Some(&stats)));
    let series = stretch.ask(web, visitor, &query).await?;
    let unit = series.columns.first().map_or("", |(_, unit)| unit.as_str());
    let unit = if unit == "1" { "" } else { unit };
    let of_days = output.day_stats.iter().any(|known| known == stat);
    let extremes = extremes(visitor, stretch, &series, unit, with_band, of_days);
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
        zone: axis_zone(visitor, stretch, &series),
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

/// By whose clock the axis is: days are the sensor's own, whoever looks at them.
fn axis_zone(visitor: &Visitor, stretch: &Stretch<'_>, series: &Series) -> Tz {
    if series.is_of_days() { stretch.zone } else { visitor.zone }
}

/// The most and the least with their times: spoken, and shown.
fn extremes(
    visitor: &Visitor,
    stretch: &Stretch<'_>,
    series: &Series,
    unit: &str,
    with_band: bool,
    of_days: bool,
) -> (String, Markup) {
    let (low, high) = if with_band { (1, 2) } else { (0, 0) };
    let least = series.values(low).min_by(|a, b| a.1.total_cmp(&b.1));
    let most = series.values(high).max_by(|a, b| a.1.total_cmp(&b.1));
    let (Some(least), Some(most)) = (least, most) else {
        let nothing = if of_days {
            "Of no day of this range was enough heard: three quarters of its day, evening and night each."
        } else {
            "Nothing was heard in this range, or this feature is not in the sensor's plan."
        };
        return (nothing.to_owned(), html! { (nothing) });
    };
    let at = |micros: Micros| match series.is_of_days() {
        true => html! { "on " (words::day(micros, stretch.zone)) },
        false => html! { "at " (words::at(visitor, micros)) },
    };
    let spoken = format!("From {} to {} {unit}.", words::value(least.1), words::value(most.1));
    let shown = html! {
        "Most " strong { (words::value(most.1)) " " (unit) } " " (at(most.0))
        " · least " strong { (words::value(least.1)) " " (unit) } " " (at(least.0))
    };
    (spoken, shown)
}

/// The figure of a feature of many values at each time, whose gaps are those of `series`.
pub fn picture_figure(
    visitor: &Visitor,
    stretch: &Stretch<'_>,
    series: &Series,
    feature: &str,
    title: &str,
    about: &str,
) -> Markup {
    let source =
        format!("{}/picture.png?{}{}", paths::sensor(stretch.id), stretch.range(), and("feature", Some(feature)));
    let heard = series.rows.iter().any(|row| row.coverage > 0.0);
    let caption = html! { strong { (title) } span.quiet { " · " code { (feature) } } p.extremes { (about) } };
    let drawing = html! {
        @if heard {
            img.map src=(source) alt={ (title) " from " (words::instant(stretch.from, visitor.zone)) " to " (words::instant(stretch.to, visitor.zone)) } width="1000" height="150";
        } @else { p.blank { "Nothing was heard in this range." } }
        svg.over width="100%" height="176" aria-hidden="true" {
            (chart::gaps(series, stretch, 0.0, 150.0))
            (chart::time_marks(stretch, axis_zone(visitor, stretch, series), 0.0, 150.0))
        }
    };
    chart::figure(stretch, &caption, &drawing)
}
