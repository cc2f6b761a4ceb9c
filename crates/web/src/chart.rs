//! Curves over time as SVG that fits any width: places along the axis are shares of it, and only the curve is stretched.

use antiphon_platform::clock::Micros;
use antiphon_platform::http::time;
use chrono_tz::Tz;
use maud::{Markup, PreEscaped, html};

use crate::series::{Series, Stretch};
use crate::ticks;
use crate::words;

/// Units of the stretched curve: finer than pixels of any screen along time, two to a pixel across it.
const WIDE: f64 = 2_000.0;
const HIGH: f64 = 480.0;
/// Pixels of the drawing: above the curve, of the curve, below it.
const ABOVE: f64 = 10.0;
const CURVE: f64 = 240.0;
const BELOW: f64 = 26.0;
/// A few values far below all others, in decibels, are drawn at the bottom: one in so many.
const FEW: usize = 20;
const FAR_BELOW: f64 = 30.0;
/// Marks this near to an end would be cut off there.
const EDGE: f64 = 0.03;

/// A curve to draw: a column, and if there are, those of the least and the most in each bucket.
pub struct Curve<'a> {
    /// Where the values are.
    pub series: &'a Series,
    /// The stretch of time that is shown.
    pub stretch: &'a Stretch<'a>,
    /// The column of the curve.
    pub column: usize,
    /// The columns of the least and the most.
    pub band: Option<(usize, usize)>,
    /// By whose clock times are.
    pub zone: Tz,
    /// What it is called, for those who do not see it.
    pub name: String,
}

/// Where a value lies, in units from the top.
struct Scale {
    least: f64,
    most: f64,
    step: f64,
}

impl Scale {
    fn of(curve: &Curve<'_>) -> Option<Self> {
        let columns = [Some(curve.column), curve.band.map(|band| band.0), curve.band.map(|band| band.1)];
        let values = columns.into_iter().flatten().flat_map(|column| curve.series.values(column));
        let (least, most) = ends(values.map(|(_, value)| value), curve.unit())?;
        let (least, most, step) = ticks::values(least, most);
        Some(Self { least, most, step })
    }

    fn y(&self, value: f64) -> f64 {
        (self.most - value) / (self.most - self.least)
    }

    fn marks(&self) -> Vec<(f64, String)> {
        let places = if self.step >= 1.0 { 0 } else { (-self.step.log10().floor()) as usize };
        let count = ((self.most - self.least) / self.step).round() as u32;
        let values = (0..=count).map(|number| self.least + f64::from(number) * self.step);
        values.map(|value| (self.y(value), words::decimal(value, places))).collect()
    }
}

impl Curve<'_> {
    fn unit(&self) -> &str {
        self.series.columns.get(self.column).map_or("", |(_, unit)| unit)
    }
}

/// The least and the most of values that are worth room, if there are any.
#[must_use]
pub fn ends(values: impl Iterator<Item = f64>, unit: &str) -> Option<(f64, f64)> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (least, most) = (*values.first()?, *values.last()?);
    // Digital silence counts as -150 dB: a moment of it would press everything else against the top.
    let usual = values[values.len() / FEW];
    let is_level = unit.starts_with("dB") || unit.starts_with("LU");
    if is_level && usual - least > FAR_BELOW { Some((usual - FAR_BELOW / 6.0, most)) } else { Some((least, most)) }
}

/// Draws it.
pub fn draw(curve: &Curve<'_>) -> Markup {
    let scale = Scale::of(curve);
    let height = ABOVE + CURVE + BELOW;
    html! {
        svg.chart width="100%" height=(height) role="img" aria-label=(curve.name) data-step=(curve.series.step / 1_000)
            data-first=(curve.series.rows.first().map_or(0, |row| row.time / 1_000)) data-values=(values(curve.series, curve.column)) {
            (gaps(curve.series, curve.stretch, ABOVE, CURVE))
            (time_marks(curve.stretch, curve.zone, ABOVE, CURVE))
            @if let Some(scale) = &scale {
                @for (y, words) in scale.marks() {
                    @let y = (ABOVE + y * CURVE).round();
                    line.grid x1="0" x2="100%" y1=(y) y2=(y) {}
                    text.value x="4" y=(y - 4.0) { (words) }
                }
                svg x="0" y=(ABOVE) width="100%" height=(CURVE) viewBox={ "0 0 " (WIDE) " " (HIGH) } preserveAspectRatio="none" {
                    @if let Some((least, most)) = curve.band { path.band d=(PreEscaped(area(curve, scale, least, most))) {} }
                    path.curve d=(PreEscaped(line(curve, scale))) {}
                }
            }
        }
    }
}

/// What was not heard is hatched, in all figures of a page.
pub fn gap_pattern() -> Markup {
    html! {
        svg.patterns width="0" height="0" aria-hidden="true" {
            pattern #gap width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                rect.gap-ground width="8" height="8" {}
                line.gap-line x1="0" y1="0" x2="0" y2="8" {}
            }
        }
    }
}

/// Hatched areas of what was not heard.
pub fn gaps(series: &Series, stretch: &Stretch<'_>, top: f64, height: f64) -> Markup {
    html! {
        @for (from, to) in &series.gaps {
            @let (begin, end) = (stretch.share(*from) * 100.0, stretch.share(*to) * 100.0);
            // A gap is never too short to be seen.
            rect.gap fill="url(#gap)" x=(percent(begin)) width=(percent((end - begin).max(0.15))) y=(top) height=(height) {
                title { "Not heard" }
            }
        }
    }
}

/// Lines and words of the axis of time, above which `height` pixels are the drawing.
pub fn time_marks(stretch: &Stretch<'_>, zone: Tz, top: f64, height: f64) -> Markup {
    let marks = ticks::times(stretch.from, stretch.to, zone);
    html! {
        @for (number, (at, words)) in marks.iter().enumerate() {
            @let share = stretch.share(*at);
            line.grid x1=(percent(share * 100.0)) x2=(percent(share * 100.0)) y1=(top) y2=(top + height) {}
            @if (EDGE..=1.0 - EDGE).contains(&share) {
                text.time .minor[number % 2 == 1] x=(percent(share * 100.0)) y=(top + height + 18.0) text-anchor="middle" { (words) }
            }
        }
    }
}

/// A place along the axis.
#[must_use]
pub fn percent(percent: f64) -> String {
    format!("{percent:.2}%")
}

fn place(curve: &Curve<'_>, scale: &Scale, at: Micros, value: f64) -> (i64, i64) {
    // A bucket's value stands in its middle.
    let x = curve.stretch.share(at + curve.series.step / 2) * WIDE;
    (x.round() as i64, (scale.y(value).clamp(0.0, 1.0) * HIGH).round() as i64)
}

fn line(curve: &Curve<'_>, scale: &Scale) -> String {
    path(curve.series.rows.iter().map(|row| Some(place(curve, scale, row.time, row.value(curve.column)?))))
}

/// A path through points that follow each other, broken where there is none.
pub fn path(points: impl Iterator<Item = Option<(i64, i64)>>) -> String {
    let mut path = String::new();
    let mut last: Option<(i64, i64)> = None;
    for point in points {
        match (last, point) {
            (Some((before_x, before_y)), Some((x, y))) => {
                path.push_str(&format!("l{} {}", x - before_x, y - before_y));
            }
            // A point between two gaps is a dot.
            (None, Some((x, y))) => path.push_str(&format!("M{x} {y}h0")),
            (_, None) => {}
        }
        last = point;
    }
    path
}

/// The area between the least and the most.
fn area(curve: &Curve<'_>, scale: &Scale, least: usize, most: usize) -> String {
    let both = |row: &crate::series::Row| Some((row.time, row.value(least)?, row.value(most)?));
    let mut path = String::new();
    for part in curve.series.rows.split(|row| both(row).is_none()).filter(|part| !part.is_empty()) {
        let points: Vec<_> = part.iter().filter_map(both).collect();
        let above = points.iter().map(|(at, _, most)| place(curve, scale, *at, *most));
        let below = points.iter().rev().map(|(at, least, _)| place(curve, scale, *at, *least));
        let mut last = None;
        for (x, y) in above.chain(below) {
            match last {
                Some((before_x, before_y)) => path.push_str(&format!("l{} {}", x - before_x, y - before_y)),
                None => path.push_str(&format!("M{x} {y}")),
            }
            last = Some((x, y));
        }
        path.push('z');
    }
    path
}

/// The values of a column for scripts, which show the one under the pointer: one for each row, or nothing between two commas.
pub fn values(series: &Series, column: usize) -> String {
    let words: Vec<String> = series.rows.iter().map(|row| row.value(column).map(short).unwrap_or_default()).collect();
    words.join(",")
}

/// A number with four significant digits.
#[must_use]
pub fn short(value: f64) -> String {
    if value == 0.0 {
        return String::from("0");
    }
    let places = (3 - value.abs().log10().floor() as i32).clamp(0, 6);
    let text = format!("{value:.*}", places.unsigned_abs() as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The figure around a drawing, which scripts exchange whole when its range changes.
pub fn figure(stretch: &Stretch<'_>, caption: &Markup, drawing: &Markup) -> Markup {
    html! {
        figure.timeline data-from=(time::format(stretch.from)) data-to=(time::format(stretch.to)) {
            figcaption { (caption) }
            div.plane { (drawing) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{Kind, Row};

    fn series(values: &[Option<f64>]) -> Series {
        let row = |(number, value): (usize, &Option<f64>)| Row {
            time: number as Micros * 1_000_000,
            coverage: 1.0,
            values: vec![*value, value.map(|value| value - 5.0), value.map(|value| value + 5.0)],
        };
        Series {
            columns: Vec::new(),
            step: 1_000_000,
            rows: values.iter().enumerate().map(row).collect(),
            gaps: vec![(1_000_000, 2_000_000)],
            resolution: String::from("1s"),
        }
    }

    fn drawn(values: &[Option<f64>]) -> String {
        let series = series(values);
        let stretch = Stretch { kind: Kind::Sensor, id: "a", from: 0, to: 4_000_000, zone: Tz::UTC };
        let name = String::from("<script>");
        draw(&Curve { series: &series, stretch: &stretch, column: 0, band: Some((1, 2)), zone: Tz::UTC, name })
            .into_string()
    }

    #[test]
    fn a_curve_breaks_at_gaps_and_a_lone_point_is_a_dot() {
        let text = drawn(&[Some(-30.0), None, Some(-40.0), Some(-20.0)]);
        assert!(text.contains("M250 240h0M1250 360h0l500 -240"), "{text}");
        assert_eq!(text.matches("class=\"gap\"").count(), 1);
        assert!(text.contains("x=\"25.00%\" width=\"25.00%\""), "{text}");
        assert!(text.contains("data-values=\"-30,,-40,-20\"") && text.contains("&lt;script&gt;"));
    }

    #[test]
    fn nothing_heard_is_no_fault() {
        let text = drawn(&[None, None, None, None]);
        assert!(text.contains("class=\"gap\"") && !text.contains("class=\"curve\""));
        assert!(!drawn(&[]).contains("NaN"));
        assert!(!drawn(&[Some(0.0); 4]).contains("NaN"));
    }

    #[test]
    fn a_moment_of_digital_silence_leaves_the_rest_its_room() {
        let scale = |unit: &str| {
            let values: Vec<Option<f64>> =
                (0..100).map(|number| Some(if number == 0 { -150.0 } else { -40.0 })).collect();
            let mut series = series(&values);
            series.columns = vec![(String::from("level.a"), unit.to_owned())];
            let stretch = Stretch { kind: Kind::Sensor, id: "a", from: 0, to: 100_000_000, zone: Tz::UTC };
            let curve =
                Curve { series: &series, stretch: &stretch, column: 0, band: None, zone: Tz::UTC, name: String::new() };
            let scale = Scale::of(&curve).unwrap();
            (scale.least, place(&curve, &scale, 0, -150.0).1)
        };
        assert_eq!(scale("dBFS"), (-46.0, HIGH as i64));
        assert!(scale("Hz").0 <= -150.0);
    }

    #[test]
    fn numbers_are_short() {
        let words = [0.0, -31.25, 0.001_234_6, 12_345.6, 5.0].map(short);
        assert_eq!(words, ["0", "-31.25", "0.001235", "12346", "5"].map(String::from));
    }
}
