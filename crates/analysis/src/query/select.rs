//! Which features and stats are asked for.

use antiphon_features::descriptor::{Aggregate, Descriptor, Hop, Kind, Output, PERCENTILES, Series};
use antiphon_features::sets::{SETS, find_set};
use antiphon_platform::http::{Problem, nearest};

use super::noise;
use crate::descriptors::Known;

/// What answers a query that names no feature.
const DEFAULT: &str = "level.a";

/// Preview rows come ten times a second.
const PREVIEW_HOP: Hop = Hop { samples: 1, rate: 10 };

/// A series that is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feature {
    pub(super) descriptor: &'static Descriptor,
    pub(super) output: &'static Output,
    pub(super) series: &'static Series,
    /// It was asked for by its own name, not by that of its algorithm or family.
    pub(super) is_named: bool,
}

/// A feature with one of its stats.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    pub(super) feature: Feature,
    pub(super) stat: String,
    /// The layer that holds the stat.
    pub(super) layer: &'static str,
}

impl Feature {
    /// Its name in the API: `level.a`, `mel`.
    pub(super) fn name(&self) -> String {
        full_name(self.descriptor, self.output)
    }

    /// The name of the column of one of its dimensions: `level.a`, `mel.17`.
    pub(super) fn column(&self, dimension: usize) -> String {
        if self.series.dimensions == 1 { self.name() } else { format!("{}.{dimension}", self.name()) }
    }

    /// The layer that a stat is read from, if this output has it.
    fn layer_of(&self, stat: &str) -> Option<&'static str> {
        if noise::is_noise(stat) {
            return noise::has(self.descriptor, self.output).then_some(self.series.layer);
        }
        self.series.layer_of(stat)
    }

    pub(super) fn is_preview(&self) -> bool {
        self.series.aggregate == Aggregate::Preview
    }

    /// The distance between its frames, if it has any.
    pub(super) fn hop(&self) -> Option<Hop> {
        if self.is_preview() { Some(PREVIEW_HOP) } else { self.series.hop }
    }
}

/// The name of an output in the API.
pub(super) fn full_name(descriptor: &Descriptor, output: &Output) -> String {
    if output.name.is_empty() { descriptor.name.to_owned() } else { format!("{}.{}", descriptor.name, output.name) }
}

/// The series behind a comma list of algorithms, outputs, families and sets, in that order, each once.
///
/// # Errors
/// 400 for a name that is none of these, or names nothing that has values over time.
pub(super) fn features(asked: Option<&[&str]>, known: &Known) -> Result<Vec<Feature>, Problem> {
    let mut found: Vec<Feature> = Vec::new();
    for name in asked.unwrap_or(&[DEFAULT]) {
        let outputs = named(name, known)?;
        let is_named = outputs.len() == 1;
        let series = outputs.iter().filter_map(|(descriptor, output)| feature(descriptor, output, is_named));
        // Previews are for pictures: they come when they are named, not with their family.
        let wanted: Vec<Feature> = series.filter(|feature| is_named || !feature.is_preview()).collect();
        if wanted.is_empty() {
            let detail = format!("{name} has no values over time; look for it at .../annotations or .../summary");
            return Err(Problem::bad_field("features", detail));
        }
        for feature in wanted {
            if !found.iter().any(|found| std::ptr::eq(found.output, feature.output)) {
                found.push(feature);
            }
        }
    }
    Ok(found)
}

fn feature(descriptor: &'static Descriptor, output: &'static Output, is_named: bool) -> Option<Feature> {
    match &output.kind {
        Kind::Series(series) => Some(Feature { descriptor, output, series, is_named }),
        Kind::Annotation { .. } | Kind::Summary => None,
    }
}

/// Whether a name stands for an output.
type Matches<'a> = &'a dyn Fn(&Descriptor, &Output) -> bool;

/// The outputs that a name stands for: an algorithm's, one output, a family's, or those that a set computes.
pub(super) fn named(name: &str, known: &Known) -> Result<Vec<(&'static Descriptor, &'static Output)>, Problem> {
    let all =
        || known.newest().flat_map(|descriptor| descriptor.outputs.iter().map(move |output| (descriptor, output)));
    let kinds: [Matches<'_>; 3] = [
        &|descriptor, output| !output.name.is_empty() && full_name(descriptor, output) == name,
        &|descriptor, _| descriptor.name == name,
        &|descriptor, _| descriptor.family == name,
    ];
    for matches in kinds {
        let found: Vec<_> = all().filter(|(descriptor, output)| matches(descriptor, output)).collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    if let Some(set) = find_set(name) {
        return Ok(all().filter(|(descriptor, output)| set.computes(descriptor, output)).collect());
    }
    let names: Vec<String> = all()
        .flat_map(|(descriptor, output)| {
            [full_name(descriptor, output), descriptor.name.to_owned(), descriptor.family.to_owned()]
        })
        .chain(SETS.iter().map(|set| set.name.to_owned()))
        .collect();
    let shown: String = name.chars().take(100).collect();
    Err(Problem::bad_field("features", format!("there is no feature {shown:?}"))
        .hint(nearest(name, names.iter().map(String::as_str)).map(str::to_owned)))
}

/// Each feature with those of the asked stats that it stores, or else its default one.
///
/// # Errors
/// 400 for a stat that none of the features stores, and for previews, which store none.
pub(super) fn stats(features: &[Feature], asked: Option<&[&str]>) -> Result<Vec<Selected>, Problem> {
    if let Some(preview) = features.iter().find(|feature| feature.is_preview()) {
        let detail = format!("{} is kept as rows of bytes, ten a second, and not merged", preview.name());
        return Err(Problem::bad_field("resolution", detail).hint(Some("resolution=frame")));
    }
    for stat in asked.unwrap_or_default() {
        if !features.iter().any(|feature| feature.layer_of(stat).is_some()) {
            return Err(unknown_stat(features, stat));
        }
    }
    let mut selected = Vec::new();
    for feature in features {
        let mut stored: Vec<&str> = Vec::new();
        for stat in asked.unwrap_or_default() {
            if feature.layer_of(stat).is_some() && !stored.contains(stat) {
                stored.push(stat);
            }
        }
        if stored.is_empty() {
            stored.push(feature.series.default_stat());
        }
        for stat in stored {
            let layer = feature.layer_of(stat).unwrap_or(feature.series.layer);
            selected.push(Selected { feature: *feature, stat: stat.to_owned(), layer });
        }
    }
    Ok(selected)
}

fn unknown_stat(features: &[Feature], stat: &str) -> Problem {
    let mut names: Vec<&str> = Vec::new();
    for name in features.iter().flat_map(|feature| feature.series.stats) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    if features.iter().any(|feature| noise::has(feature.descriptor, feature.output)) {
        names.extend(noise::STATS);
    }
    let percentiles = names.contains(&PERCENTILES);
    let shown: Vec<&str> = names.iter().map(|name| if *name == PERCENTILES { "l01 to l99" } else { name }).collect();
    let stat: String = stat.chars().take(100).collect();
    let detail = format!("none of these features stores the stat {stat:?}; they store {}", shown.join(", "));
    let examples = if percentiles { &["l01", "l05", "l10", "l50", "l90", "l95", "l99"][..] } else { &[] };
    let candidates = names.into_iter().filter(|name| *name != PERCENTILES).chain(examples.iter().copied());
    Problem::bad_field("stat", detail).hint(nearest(&stat, candidates).map(str::to_owned))
}

/// The one hop that all features share.
///
/// # Errors
/// 400 when a feature has no frames, or they have several hops: it names them.
pub(super) fn common_hop(features: &[Feature]) -> Result<Hop, Problem> {
    let mut hops: Vec<(Hop, String)> = Vec::new();
    for feature in features {
        let Some(hop) = feature.hop() else {
            let detail = format!("{} has no frames; its finest resolution is 1s", feature.name());
            return Err(Problem::bad_field("resolution", detail).hint(Some("1s")));
        };
        if !hops.iter().any(|(known, _)| *known == hop) {
            hops.push((hop, feature.name()));
        }
    }
    match hops.as_slice() {
        [(hop, _)] => Ok(*hop),
        several => {
            let names = several.iter().map(|(hop, name)| format!("{name}: {}/{} s", hop.samples, hop.rate));
            let names = names.collect::<Vec<_>>().join(", ");
            let detail = format!("at resolution=frame all features must have one hop; these have several: {names}");
            Err(Problem::bad_field("features", detail))
        }
    }
}

/// Leaves out what has no frames, but for features that were asked for by name: `level` means its 125 ms levels.
pub(super) fn framed(features: &[Feature]) -> Vec<Feature> {
    let framed: Vec<Feature> =
        features.iter().filter(|feature| feature.is_named || feature.hop().is_some()).copied().collect();
    if framed.is_empty() { features.to_vec() } else { framed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(asked: &[&str]) -> Vec<String> {
        features(Some(asked), &Known::default()).unwrap().iter().map(Feature::name).collect()
    }

    #[test]
    fn algorithms_outputs_and_families_are_found_once_in_order() {
        assert_eq!(features(None, &Known::default()).unwrap()[0].name(), "level.a");
        assert_eq!(names(&["mel", "level.c", "level.a", "mel"]), ["mel", "level.c", "level.a"]);
        let level = names(&["level"]);
        assert!(level.contains(&String::from("level.a")) && level.contains(&String::from("level.bands")));
        assert_eq!(names(&["level.c", "level"]).len(), level.len());
        let tonal = names(&["tonal"]);
        assert!(
            names(&["chroma", "chroma_cqt"]).iter().all(|name| tonal.contains(name)),
            "a family is all of its algorithms: {tonal:?}"
        );
        assert_eq!(names(&["mel.preview"]), ["mel.preview"]);
        let default = names(&["default"]);
        assert!(default.starts_with(&level) && !default.iter().any(|name| name.starts_with("mel")), "{default:?}");
    }

    #[test]
    fn wrong_names_are_told_the_nearest() {
        let problem = features(Some(&["level.b4nds"]), &Known::default()).unwrap_err();
        assert_eq!((problem.status, problem.hint.as_deref()), (400, Some("level.bands")));
        assert_eq!(features(Some(&["silence"]), &Known::default()).unwrap_err().field.as_deref(), Some("features"));
    }

    #[test]
    fn stats_go_to_the_outputs_that_store_them() {
        let asked = features(Some(&["level.a", "mel"]), &Known::default()).unwrap();
        let selected = stats(&asked, Some(&["leq", "l90", "leq"])).unwrap();
        let pairs: Vec<_> = selected.iter().map(|one| (one.feature.name(), one.stat.as_str())).collect();
        let expected = [("level.a", "leq"), ("level.a", "l90"), ("mel", "mean")];
        assert_eq!(pairs, expected.map(|(name, stat)| (name.to_owned(), stat)));
        let problem = stats(&asked, Some(&["l91", "stdev"])).unwrap_err();
        assert_eq!(problem.hint.as_deref(), Some("stddev"));
        assert!(problem.detail.contains("l01 to l99") && problem.detail.contains("stddev"), "{}", problem.detail);
        for bad in ["l00", "l100", "lNN", "L90"] {
            assert!(stats(&asked, Some(&[bad])).is_err(), "{bad}");
        }
        assert!(stats(&features(Some(&["mel.preview"]), &Known::default()).unwrap(), None).is_err());
    }

    #[test]
    fn frames_need_one_hop() {
        let level = framed(&features(Some(&["level"]), &Known::default()).unwrap());
        assert!(level.iter().all(|feature| feature.hop().is_some()));
        let hop = common_hop(&level).unwrap();
        assert_eq!(f64::from(hop.samples) / f64::from(hop.rate), 0.125);
        let problem = common_hop(&features(Some(&["level.a", "mel"]), &Known::default()).unwrap()).unwrap_err();
        assert!(problem.detail.contains("512/22050"), "{}", problem.detail);
        let problem =
            common_hop(&framed(&features(Some(&["level.bands", "level.a"]), &Known::default()).unwrap())).unwrap_err();
        assert_eq!(problem.hint.as_deref(), Some("1s"));
    }
}
