//! What a query reads out of a cell.

use super::{Cell, Values};
use crate::descriptor::{Aggregate, Kind, Output, percentile};

/// What digital silence counts as, in dB, dBFS, LUFS and dBTP.
pub const SILENCE_DB: f32 = -150.0;

/// The level of a mean square in dB; digital silence is [`SILENCE_DB`].
pub fn decibels(mean_square: f64) -> f64 {
    (10.0 * mean_square.log10()).max(f64::from(SILENCE_DB))
}

/// The value of one dimension (0 for scalars) of an output's stat (`leq`, `l90`), in the output's unit. `None` if
/// it does not exist: not computed, nothing heard, or a stat that the cell's layer does not hold.
pub fn value(cell: &Cell, output: &Output, stat: &str, dimension: usize) -> Option<f32> {
    let Kind::Series(series) = &output.kind else {
        return None;
    };
    if series.layer_of(stat) != Some(cell.layer.id.layer) || dimension >= usize::from(series.dimensions) {
        return None;
    }
    match &cell.values {
        Values::Fields { values, .. } => {
            let fields = super::Rule::of(series.aggregate, series.dimensions).len();
            let first = cell.layer.field(output.name)? + dimension * fields;
            field(series.aggregate, fields, values.get(first..first + fields)?, stat)
        }
        Values::Histogram(histogram) => histogram.exceeded(percentile(stat)?).map(|level| level as f32),
        Values::Loudness(loudness) => {
            let found = match (output.name, stat) {
                ("momentary", "max") => loudness.momentary.maximum,
                ("momentary", "min") => loudness.momentary.minimum,
                ("short_term", "max") => loudness.short_term.maximum,
                ("short_term", "min") => loudness.short_term.minimum,
                ("integrated", _) => loudness.momentary.integrated()? as f32,
                ("range", _) => loudness.short_term.range()? as f32,
                ("true_peak", "max") => loudness.true_peak,
                _ => return None,
            };
            existing(found)
        }
        Values::Energies(_) | Values::Preview(_) => None,
    }
}

fn field(aggregate: Aggregate, fields: usize, values: &[f32], stat: &str) -> Option<f32> {
    let place = match (aggregate, stat) {
        (Aggregate::Level | Aggregate::Energy, "leq") => {
            return existing(values[0]).map(|energy| decibels(f64::from(energy)) as f32);
        }
        (Aggregate::Moments, "stddev") => return existing(values[1]).map(|variance| variance.max(0.0).sqrt()),
        (Aggregate::Level, "min") => 1,
        (Aggregate::Level, "max") => 2,
        (Aggregate::Moments, "min") => 2,
        (Aggregate::Moments, "max") => 3,
        (Aggregate::Moments | Aggregate::Share, "mean") | (Aggregate::Maximum, "max") => 0,
        _ => return None,
    };
    if place >= fields { None } else { existing(values[place]) }
}

fn existing(value: f32) -> Option<f32> {
    value.is_finite().then_some(value)
}
