//! Many values at each time as a picture: spectrograms, bands, notes.

use antiphon_plot::Map;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, header};

use crate::failure::Failure;
use crate::series::{Series, Stretch};

/// Columns of a picture at most: more than most screens have, and few enough for a slow line.
pub const COLUMNS: usize = 1_000;

/// The shares of values that are shown darkest and lightest or beyond.
const DARKEST: f64 = 0.05;
const LIGHTEST: f64 = 0.998;

/// What decibels span at least, so that silence is not blown up to noise.
const SPAN: f64 = 30.0;

/// Steps of the preview's bytes in a decibel.
const PREVIEW_STEPS: f64 = 2.0;

/// A picture of all columns of `series`, the first one lowest; what was not heard is dark.
///
/// # Errors
/// When there is nothing to paint.
pub fn paint(series: &Series, stretch: &Stretch<'_>) -> Result<Response, Failure> {
    let rows = series.columns.len();
    let buckets = usize::try_from(stretch.length() / series.step.max(1)).unwrap_or(COLUMNS).clamp(1, COLUMNS);
    let mut grid: Vec<Option<f64>> = vec![None; buckets * rows];
    for row in &series.rows {
        let column = (stretch.share(row.time + series.step / 2) * buckets as f64) as usize;
        let column = column.min(buckets - 1);
        for (place, value) in row.values.iter().take(rows).enumerate() {
            let cell = &mut grid[column * rows + place];
            // Of several in one column the loudest is seen, as on the scrolling pictures.
            *cell = (*cell).into_iter().chain(*value).reduce(f64::max);
        }
    }
    let mut sorted: Vec<f64> = grid.iter().flatten().copied().collect();
    if sorted.is_empty() {
        return Err(Failure::not_found("nothing was heard in this range, or the picture of it is not kept any more"));
    }
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
    let least_span = match series.columns.first() {
        Some((_, unit)) if unit.starts_with("dB") => SPAN,
        Some((name, _)) if name.starts_with("mel.preview") => SPAN * PREVIEW_STEPS,
        _ => 0.0,
    };
    let light = at(LIGHTEST);
    let dark = at(DARKEST).min(light - least_span);
    let span = (light - dark).max(1e-9);
    let share = |column: usize, row: usize| grid[column * rows + row].map_or(f64::NAN, |value| (value - dark) / span);
    let png = Map::new(buckets, rows, share).png().map_err(|_| Failure::bug("the picture cannot be written"))?;
    let headers: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/png")),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=60")),
    ];
    Ok((headers, png).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{Kind, Row};

    #[test]
    fn what_was_heard_is_painted_and_nothing_is_said() {
        let stretch = Stretch { kind: Kind::Sensor, id: "a", from: 0, to: 10_000_000, zone: chrono_tz::Tz::UTC };
        let row = |time: i64| Row { time: time * 1_000_000, coverage: 1.0, values: vec![Some(-50.0), Some(-20.0)] };
        let columns = vec![(String::from("a"), String::from("dBFS")), (String::from("b"), String::from("dBFS"))];
        let resolution = String::from("1s");
        let mut series = Series { columns, step: 1_000_000, rows: vec![row(0), row(9)], gaps: Vec::new(), resolution };
        assert_eq!(paint(&series, &stretch).unwrap().headers()["content-type"], "image/png");
        series.rows.clear();
        assert!(paint(&series, &stretch).unwrap_err().is_not_found());
    }
}
