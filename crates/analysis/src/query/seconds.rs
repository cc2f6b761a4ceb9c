//! One column of 1 s values: what alerts look at.

use std::collections::BTreeMap;

use antiphon_features::cells::{Cell, merge_cells, value};
use antiphon_features::descriptor::Output;
use antiphon_platform::clock::SECOND;
use antiphon_platform::db::ReadTransaction;
use antiphon_platform::http::Problem;

use super::columns::{holds, output_of};
use super::noise;
use super::select::{self, Selected};
use crate::descriptors::Known;
use crate::store::{self, LayerRow, Resolution, StoreError};

/// One column of 1 s values.
#[derive(Clone, Debug)]
pub(crate) struct SecondColumn {
    selected: Selected,
    dimension: usize,
}

impl SecondColumn {
    /// The column that a feature (`level.a`, `mel.17`) and a stat name; the feature's default stat without one.
    ///
    /// # Errors
    /// 400 that names `feature` or `stat`: for what is no feature, has several columns, or no values by the second.
    pub(crate) fn find(feature: &str, stat: Option<&str>, known: &Known) -> Result<Self, Problem> {
        let of_feature = |problem: Problem| problem.field("feature");
        let whole = select::features(Some(&[feature]), known);
        let of_dimension = || {
            let (name, number) = feature.rsplit_once('.')?;
            let dimension: usize = number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))?;
            Some((select::features(Some(&[name]), known).ok()?, dimension))
        };
        let (found, dimension) = match whole {
            Ok(found) => (found, None),
            Err(problem) => match of_dimension() {
                Some((found, dimension)) => (found, Some(dimension)),
                None => return Err(of_feature(problem)),
            },
        };
        let [one] = found.as_slice() else {
            let names: Vec<String> = found.iter().take(8).map(select::Feature::name).collect();
            let detail = format!("{feature} names several features; name one, such as {}", names.join(", "));
            return Err(of_feature(Problem::bad_field("feature", detail)).hint(names.first().cloned()));
        };
        let dimensions = usize::from(one.series.dimensions);
        let dimension = match dimension {
            None if dimensions == 1 => 0,
            Some(dimension) if dimensions > 1 && dimension < dimensions => dimension,
            _ => {
                let detail = format!(
                    "{} has {dimensions} columns, {} to {}",
                    one.name(),
                    one.column(0),
                    one.column(dimensions - 1)
                );
                return Err(of_feature(Problem::bad_field("feature", detail)).hint(Some(one.column(0))));
            }
        };
        if one.is_preview() {
            return Err(Problem::bad_field(
                "feature",
                format!("{} is a picture; it has no values by the second", one.name()),
            ));
        }
        if stat.is_some_and(noise::is_noise) {
            return Err(Problem::bad_field("stat", "this is a figure of whole days; an alert needs one of seconds"));
        }
        let asked: Option<Vec<&str>> = stat.map(|stat| vec![stat]);
        let mut selected = select::stats(&found, asked.as_deref())?;
        match selected.pop() {
            Some(selected) => Ok(Self { selected, dimension }),
            None => Err(Problem::bad_field("stat", "no stat is kept of it")),
        }
    }

    /// As columns of answers are named: `level.a`, `level.a:l90`.
    pub(crate) fn name(&self) -> String {
        let column = self.selected.feature.column(self.dimension);
        if self.selected.stat == self.selected.feature.series.default_stat() {
            column
        } else {
            format!("{column}:{}", self.selected.stat)
        }
    }

    /// Its unit; `is_calibrated` says whether levels are.
    pub(crate) fn unit(&self, is_calibrated: bool) -> &'static str {
        let unit = self.selected.feature.output.unit;
        if is_calibrated && unit == "dBFS" { "dB" } else { unit }
    }

    /// Those of a source's layers that hold it, one for each version of the algorithm, the newest first.
    pub(crate) fn layers(&self, layers: &[LayerRow]) -> Vec<LayerRow> {
        let feature = &self.selected.feature;
        let holds_it = |row: &&LayerRow| {
            holds(row, feature.descriptor.name, self.selected.layer) && output_of(row, feature).is_some()
        };
        let mut found: Vec<LayerRow> = layers.iter().filter(holds_it).cloned().collect();
        found.sort_by_key(|row| std::cmp::Reverse(row.version));
        found
    }

    /// The algorithm and the output that it comes from.
    pub(crate) fn source(&self) -> (&'static str, &'static Output) {
        (self.selected.feature.descriptor.name, self.selected.feature.output)
    }

    /// The value of a second's cell of one of [`layers`](Self::layers).
    pub(crate) fn value(&self, layer: &LayerRow, cell: &Cell) -> Option<f64> {
        let output = output_of(layer, &self.selected.feature)?;
        value(cell, output, &self.selected.stat, self.dimension).map(f64::from)
    }
}

/// What cells in the order of time say together, merged as a coarser cell is. Those that another version laid out
/// otherwise than the last one cannot be merged with it, and are left out.
pub(crate) fn merged(cells: &[&Cell]) -> Option<Cell> {
    let layout = cells.last()?.layer;
    let alike: Vec<&Cell> = cells.iter().copied().filter(|cell| std::ptr::eq(cell.layer, layout)).collect();
    Some(merge_cells(layout, &alike))
}

/// The cells of the seconds `[from, to)` of the epoch, in the order of time, each with the place of its layer: the first
/// of `layers` that knows the second.
///
/// # Errors
/// Those of [`store::read_cells`].
pub(crate) async fn read(
    tx: &mut ReadTransaction,
    source: i64,
    layers: &[LayerRow],
    from: i64,
    to: i64,
) -> Result<BTreeMap<i64, (usize, Cell)>, StoreError> {
    let mut found = BTreeMap::new();
    for (place, layer) in layers.iter().enumerate() {
        for (time, cell) in store::read_cells(tx, source, layer, Resolution::Second, from * SECOND, to * SECOND).await?
        {
            found.entry(time.div_euclid(SECOND)).or_insert((place, cell));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(feature: &str, stat: Option<&str>) -> Result<String, Problem> {
        SecondColumn::find(feature, stat, &Known::default()).map(|column| column.name())
    }

    #[test]
    fn one_column_is_named_as_answers_name_it() {
        assert_eq!(name("level.a", None).unwrap(), "level.a");
        assert_eq!(name("level.a", Some("l90")).unwrap(), "level.a:l90");
        assert_eq!(name("mel.17", None).unwrap(), "mel.17");
        assert_eq!(name("level.bands.3", Some("leq")).unwrap(), "level.bands.3");
    }

    #[test]
    fn what_is_not_one_column_is_refused() {
        let refused = |feature: &str, stat: Option<&str>| name(feature, stat).unwrap_err();
        for (feature, field) in [
            ("level", "feature"),
            ("mel", "feature"),
            ("mel.6400", "feature"),
            ("level.a.0", "feature"),
            ("levl.a", "feature"),
            ("silence", "feature"),
            ("mel.preview", "feature"),
            ("mel.-1", "feature"),
            ("", "feature"),
        ] {
            let problem = refused(feature, None);
            assert_eq!((problem.status, problem.field.as_deref()), (400, Some(field)), "{feature}");
        }
        assert_eq!(refused("mel", None).hint.as_deref(), Some("mel.0"));
        assert_eq!(refused("level.a", Some("lden")).field.as_deref(), Some("stat"));
        assert_eq!(refused("level.a", Some("l00")).field.as_deref(), Some("stat"));
    }
}
