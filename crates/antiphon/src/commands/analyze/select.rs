//! Which features of local files are asked for.

use antiphon_analysis::query::says_words;
use antiphon_features::descriptor::{Aggregate, Descriptor, Kind, Output, Series};
use antiphon_features::session::Item;
use antiphon_features::sets::{SETS, find_set};
use antiphon_features::{nearest, registry};
use anyhow::{Result, bail};

/// One column of values.
#[derive(Clone, Debug)]
pub struct Column {
    /// As the range query names it: `level.a`, `level.a:l90`, `mel.17`.
    pub name: String,
    /// Its algorithm.
    pub descriptor: &'static Descriptor,
    /// Its output.
    pub output: &'static Output,
    /// The statistic.
    pub stat: String,
    /// The layer that holds it.
    pub layer: &'static str,
    /// Which dimension of a vector.
    pub dimension: usize,
}

/// One value of a whole file.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The name of its output: `rhythm.tempo`.
    pub name: String,
    /// Its algorithm.
    pub descriptor: &'static Descriptor,
    /// Its output.
    pub output: &'static Output,
}

impl Whole {
    /// Whether it is text, not a number.
    pub fn is_text(&self) -> bool {
        says_words(self.descriptor.name, self.output.name)
    }
}

/// What to compute and what to print.
#[derive(Debug, Default)]
pub struct Selection {
    /// For the session.
    pub items: Vec<Item>,
    /// Values over time.
    pub columns: Vec<Column>,
    /// Values of the whole.
    pub summaries: Vec<Whole>,
    /// Names of outputs that are intervals.
    pub annotations: Vec<String>,
}

/// The outputs and columns behind comma lists of features and stats. Without features it is everything that algorithms
/// compute by default, but for vectors, which come when they are named.
///
/// # Errors
/// For names that the registry does not have, with the nearest one.
pub fn select(features: Option<&str>, stats: Option<&str>) -> Result<Selection> {
    let mut outputs: Vec<(&'static Descriptor, &'static Output)> = Vec::new();
    match features {
        None => outputs.extend(all().filter(|(_, output)| output.default && is_small(output))),
        Some(list) => {
            for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                outputs.extend(named(name)?);
            }
        }
    }
    if outputs.is_empty() {
        bail!("--features names nothing; `antiphon algorithms` lists what there is");
    }
    let stats: Vec<&str> = stats.map_or(Vec::new(), |list| list.split(',').map(str::trim).collect());
    let stored = |stat: &str| {
        outputs.iter().any(|(_, output)| series(output).is_some_and(|series| series.layer_of(stat).is_some()))
    };
    if let Some(unknown) = stats.iter().find(|stat| !stored(stat)) {
        bail!("--stat {unknown}: none of these features has it; `antiphon algorithms NAME` lists the stats of each");
    }
    let mut selection = Selection::default();
    for (descriptor, output) in outputs {
        selection.add(descriptor, output, &stats);
    }
    Ok(selection)
}

impl Selection {
    /// The columns of a whole file that no summary says better, with their places among all columns: where there is a
    /// summary of the same name, that is the value of the whole.
    pub fn not_summed_up(&self) -> impl Iterator<Item = (usize, &Column)> {
        let is_summed_up = |column: &Column| self.summaries.iter().any(|summary| summary.name == column.name);
        self.columns.iter().enumerate().filter(move |(_, column)| !is_summed_up(column))
    }

    fn add(&mut self, descriptor: &'static Descriptor, output: &'static Output, stats: &[&str]) {
        let item = match self.items.iter_mut().find(|item| item.algorithm == descriptor.name) {
            Some(item) => item,
            None => {
                let item = Item { algorithm: descriptor.name.to_owned(), ..Item::default() };
                self.items.push(item);
                let last = self.items.len() - 1;
                &mut self.items[last]
            }
        };
        if item.outputs.iter().any(|name| name == output.name) {
            return;
        }
        item.outputs.push(output.name.to_owned());
        if output.has_summary() {
            self.summaries.push(Whole { name: full_name(descriptor, output), descriptor, output });
        }
        if let Kind::Annotation { .. } = output.kind {
            self.annotations.push(full_name(descriptor, output));
        }
        let Some(series) = series(output).filter(|series| series.aggregate != Aggregate::Preview) else { return };
        let mut stored: Vec<&str> = stats.iter().copied().filter(|stat| series.layer_of(stat).is_some()).collect();
        if stored.is_empty() {
            stored.push(series.default_stat());
        }
        for stat in stored {
            let Some(layer) = series.layer_of(stat) else { continue };
            for dimension in 0..usize::from(series.dimensions) {
                let mut name = full_name(descriptor, output);
                if series.dimensions > 1 {
                    name.push_str(&format!(".{dimension}"));
                }
                if stat != series.default_stat() {
                    name.push_str(&format!(":{stat}"));
                }
                self.columns.push(Column { name, descriptor, output, stat: stat.to_owned(), layer, dimension });
            }
        }
    }
}

/// The name of an output in the API.
pub fn full_name(descriptor: &Descriptor, output: &Output) -> String {
    if output.name.is_empty() { descriptor.name.to_owned() } else { format!("{}.{}", descriptor.name, output.name) }
}

fn all() -> impl Iterator<Item = (&'static Descriptor, &'static Output)> {
    registry().iter().flat_map(|descriptor| descriptor.outputs.iter().map(move |output| (*descriptor, output)))
}

fn series(output: &'static Output) -> Option<&'static Series> {
    match &output.kind {
        Kind::Series(series) => Some(series),
        Kind::Annotation { .. } | Kind::Summary => None,
    }
}

fn is_small(output: &'static Output) -> bool {
    series(output).is_none_or(|series| series.dimensions == 1)
}

/// What a name stands for: an output, an algorithm, a family or a set. A picture of the sound is no number; it is
/// left out unless it is named itself.
fn named(name: &str) -> Result<Vec<(&'static Descriptor, &'static Output)>> {
    let is_picture =
        |output: &'static Output| series(output).is_some_and(|series| series.aggregate == Aggregate::Preview);
    let exact: Vec<_> =
        all().filter(|(descriptor, output)| !output.name.is_empty() && full_name(descriptor, output) == name).collect();
    if let Some((_, output)) = exact.first() {
        if is_picture(output) {
            bail!("{name} is a picture, not numbers; a server shows it");
        }
        return Ok(exact);
    }
    let below = |by: &dyn Fn(&Descriptor) -> &str| -> Vec<_> {
        all().filter(|(descriptor, output)| by(descriptor) == name && !is_picture(output)).collect()
    };
    let found = [below(&|descriptor| descriptor.name), below(&|descriptor| descriptor.family)];
    if let Some(found) = found.into_iter().find(|found| !found.is_empty()) {
        return Ok(found);
    }
    if let Some(set) = find_set(name) {
        let found = all().filter(|(descriptor, output)| set.computes(descriptor, output) && !is_picture(output));
        return Ok(found.collect());
    }
    let same = same_word(name);
    if !same.is_empty() {
        bail!("there is no feature {name:?}; there is {}, and `antiphon algorithms` lists all", same.join(" and "));
    }
    let names: Vec<String> = all()
        .flat_map(|(descriptor, output)| [full_name(descriptor, output), descriptor.name.to_owned()])
        .chain(SETS.iter().map(|set| set.name.to_owned()))
        .collect();
    let hint = nearest(name, names.iter().map(String::as_str)).unwrap_or("level");
    bail!("there is no feature {name:?}; the nearest is {hint:?}, and `antiphon algorithms` lists all")
}

/// Outputs that a word means without being their name: it is the last part of it, or else their unit. Those that are computed by
/// default come first.
fn same_word(word: &str) -> Vec<String> {
    const MOST: usize = 2;
    let named = |is_meant: &dyn Fn(&Output) -> bool| -> Vec<String> {
        let mut found: Vec<_> = all().filter(|(_, output)| is_meant(output)).collect();
        found.sort_by_key(|(_, output)| !output.default);
        found
            .into_iter()
            .take(MOST)
            .map(|(descriptor, output)| format!("{:?}", full_name(descriptor, output)))
            .collect()
    };
    let by_name = named(&|output| output.name.eq_ignore_ascii_case(word));
    if by_name.is_empty() { named(&|output| output.unit.eq_ignore_ascii_case(word)) } else { by_name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(features: &str, stats: Option<&str>) -> Vec<String> {
        select(Some(features), stats).unwrap().columns.into_iter().map(|column| column.name).collect()
    }

    #[test]
    fn columns_are_named_as_the_range_query_names_them() {
        assert_eq!(names("level.a", None), ["level.a"]);
        assert_eq!(names("level.a", Some("leq,l90")), ["level.a", "level.a:l90"]);
        assert_eq!(names("level.a,level.a", None), ["level.a"], "each once");
        assert!(names("mel", None).starts_with(&["mel.0".to_owned(), "mel.1".to_owned()]));
        assert_eq!(names("level-only,level.a", None), names("level", None), "a set is what it computes");
        assert!(select(Some("default"), None).unwrap().items.iter().all(|item| item.algorithm != "mel"), "no pictures");
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest() {
        let error = |features, stats| select(Some(features), stats).unwrap_err().to_string();
        assert!(error("levle", None).contains("\"level\""), "{}", error("levle", None));
        assert!(error("tempo", None).contains("there is \"rhythm.tempo\""), "{}", error("tempo", None));
        assert!(error("bpm", None).contains("\"rhythm.tempo\""), "{}", error("bpm", None));
        assert!(error("soundscpae", None).contains("\"soundscape\""));
        assert!(error("level.a", Some("l100")).contains("l100"));
        assert!(select(Some(""), None).is_err());
    }

    #[test]
    fn by_default_there_are_no_vectors() {
        let selection = select(None, None).unwrap();
        assert!(!selection.columns.is_empty() && selection.columns.iter().all(|column| column.dimension == 0));
    }
}
