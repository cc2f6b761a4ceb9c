//! Layers that are a row of f32: how each field is merged.

use super::Values;
use crate::descriptor::Aggregate;

/// How one field of a layer is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A mean over time (mean square, share of samples): weighed by what was heard, in µs.
    TimeMean,
    /// The smallest.
    Minimum,
    /// The largest.
    Maximum,
    /// A mean over frames.
    FrameMean,
    /// The variance (M2 / n) that belongs to the [`Rule::FrameMean`] in the field before it.
    FrameVariance,
}

impl Rule {
    /// The fields of one dimension. Vectors of moments store no extremes.
    pub(super) fn of(aggregate: Aggregate, dimensions: u16) -> &'static [Rule] {
        match aggregate {
            Aggregate::Level => &[Rule::TimeMean, Rule::Minimum, Rule::Maximum],
            Aggregate::Energy | Aggregate::Share => &[Rule::TimeMean],
            Aggregate::Maximum => &[Rule::Maximum],
            Aggregate::Moments if dimensions == 1 => {
                &[Rule::FrameMean, Rule::FrameVariance, Rule::Minimum, Rule::Maximum]
            }
            Aggregate::Moments => &[Rule::FrameMean, Rule::FrameVariance],
            Aggregate::Loudness | Aggregate::Preview => &[],
        }
    }
}

/// Merges rows in the order given; a field that is absent in a row takes no part.
pub(super) fn merge(rules: &[Rule], children: &[(u64, &Values)]) -> Values {
    let mut rows: Vec<(f64, f64, &[f32])> = Vec::with_capacity(children.len());
    let mut total = 0u64;
    for (heard, values) in children {
        if let Values::Fields { count, values } = values {
            total = total.saturating_add(*count);
            rows.push((*heard as f64, *count as f64, values));
        }
    }
    let mut merged = Vec::with_capacity(rules.len());
    for (index, rule) in rules.iter().enumerate() {
        let field = rows.iter().filter_map(|(heard, count, row)| {
            let value = row.get(index).copied().filter(|value| value.is_finite())?;
            Some((*heard, *count, f64::from(value)))
        });
        merged.push(match rule {
            Rule::TimeMean => mean(field.map(|(heard, _, value)| (heard, value))),
            Rule::FrameMean => mean(field.map(|(_, count, value)| (count, value))),
            Rule::Minimum => field.map(|(_, _, value)| value as f32).fold(f32::NAN, f32::min),
            Rule::Maximum => field.map(|(_, _, value)| value as f32).fold(f32::NAN, f32::max),
            Rule::FrameVariance => variance(index, &rows),
        });
    }
    Values::Fields { count: total, values: merged }
}

fn mean(weighed: impl Iterator<Item = (f64, f64)>) -> f32 {
    let (mut weights, mut sum) = (0.0, 0.0);
    for (weight, value) in weighed {
        weights += weight;
        sum += weight * value;
    }
    if weights > 0.0 { (sum / weights) as f32 } else { f32::NAN }
}

/// Chan, Golub and LeVeque (1979), one child after the other.
fn variance(index: usize, rows: &[(f64, f64, &[f32])]) -> f32 {
    let (mut n, mut mean, mut m2) = (0.0, 0.0, 0.0);
    for (_, count, row) in rows {
        let (Some(&child_mean), Some(&child_variance)) = (row.get(index.wrapping_sub(1)), row.get(index)) else {
            continue;
        };
        if *count == 0.0 || !child_mean.is_finite() || !child_variance.is_finite() {
            continue;
        }
        let delta = f64::from(child_mean) - mean;
        let sum = n + count;
        m2 += f64::from(child_variance) * count + delta * delta * n * count / sum;
        mean += delta * count / sum;
        n = sum;
    }
    if n > 0.0 { (m2 / n) as f32 } else { f32::NAN }
}
