//! Named sets of algorithms: a plan that is asked for by one word, and lists of names that are read into plans.
//!
//! A set is a row of [`SETS`]; an algorithm is added to it by one line. What a set's values take on disk follows from
//! the layers that they are stored in ([`bytes_per_day`]), what computing them costs is measured by
//! `cargo bench -p antiphon-features --bench throughput`.

use serde::Serialize;

use crate::cells::FRAMES;
use crate::descriptor::{Descriptor, Kind, Output};
use crate::registry::{FeatureError, find, nearest, registry};
use crate::session::Item;
use crate::sizes::SIZES;

/// A named plan.
#[derive(Debug, Serialize)]
pub struct Set {
    /// Its name, `[a-z][a-z-]*`: no algorithm, output or family is called so.
    pub name: &'static str,
    /// What it is for, in one line.
    pub about: &'static str,
    /// What it computes, each algorithm once.
    pub items: &'static [Member],
    /// Seconds of one core for an hour of 44.1 kHz stereo FLAC, decoding included: as the bench `throughput` prints it beside this
    /// number, in the run that `docs/benchmarks.md` has, and to be measured again whenever an item changes.
    pub cpu_seconds_per_hour: f32,
}

/// One algorithm of a set.
#[derive(Debug, Serialize)]
pub struct Member {
    /// Its name.
    pub algorithm: &'static str,
    /// Names of the outputs to compute; empty: all of its default outputs.
    pub outputs: &'static [&'static str],
}

/// An algorithm with its default outputs.
const fn defaults(algorithm: &'static str) -> Member {
    Member { algorithm, outputs: &[] }
}

/// An algorithm with these outputs only.
const fn only(algorithm: &'static str, outputs: &'static [&'static str]) -> Member {
    Member { algorithm, outputs }
}

/// Every set, the smallest first but for `default`. Each algorithm of the registry that has default outputs is in at least one.
pub static SETS: &[Set] = &[
    Set {
        name: "default",
        about: "what a new sensor is analysed by: levels, loudness, silences, and the picture for scrolling",
        items: &[defaults("level"), defaults("loudness"), defaults("silence"), only("mel", &["preview"])],
        cpu_seconds_per_hour: 8.3,
    },
    Set {
        name: "level-only",
        about: "sound levels and third-octave bands: noise monitoring at the least cost",
        items: &[defaults("level")],
        cpu_seconds_per_hour: 5.9,
    },
    Set {
        name: "soundscape",
        about: "levels, loudness and what describes an acoustic environment",
        items: &[defaults("level"), defaults("loudness"), defaults("indices"), defaults("spectral")],
        cpu_seconds_per_hour: 11.0,
    },
    Set {
        name: "voice",
        about: "what describes speech and singing: loudness, silences, pitch and timbre",
        items: &[
            defaults("loudness"),
            defaults("silence"),
            defaults("pitch"),
            defaults("melody"),
            defaults("spectral"),
            defaults("waveform"),
            defaults("mfcc"),
        ],
        cpu_seconds_per_hour: 12.3,
    },
    Set {
        name: "music",
        about: "everything for songs",
        items: &[
            defaults("level"),
            defaults("loudness"),
            defaults("silence"),
            only("mel", &["", "preview"]),
            defaults("spectral"),
            defaults("waveform"),
            defaults("mfcc"),
            defaults("chroma"),
            defaults("chroma_cqt"),
            defaults("hpss"),
            defaults("key"),
            defaults("onset"),
            defaults("pitch"),
            defaults("rhythm"),
            defaults("fingerprint"),
        ],
        cpu_seconds_per_hour: 25.3,
    },
];

/// The set of that name.
pub fn find_set(name: &str) -> Option<&'static Set> {
    SETS.iter().find(|set| set.name == name)
}

impl Set {
    /// Whether it computes anything of an algorithm.
    pub fn has(&self, algorithm: &str) -> bool {
        self.items.iter().any(|member| member.algorithm == algorithm)
    }

    /// Whether it computes an output of an algorithm.
    pub fn computes(&self, descriptor: &Descriptor, output: &Output) -> bool {
        self.items.iter().find(|member| member.algorithm == descriptor.name).is_some_and(|member| {
            if member.outputs.is_empty() { output.default } else { member.outputs.contains(&output.name) }
        })
    }

    /// What a session is to compute for it.
    pub fn to_items(&self) -> Vec<Item> {
        self.items.iter().map(Member::to_item).collect()
    }
}

impl Member {
    fn to_item(&self) -> Item {
        Item {
            algorithm: self.algorithm.to_owned(),
            outputs: self.outputs.iter().map(ToString::to_string).collect(),
            ..Item::default()
        }
    }
}

/// The items behind a comma list of sets (`voice`), algorithms (`level`: its default outputs) and outputs (`level.a`),
/// in that order; what is named twice is computed once.
///
/// # Errors
/// For a name that is none of these, with the nearest; [`FeatureError::Nothing`] for a list without a name.
pub fn items(list: &str) -> Result<Vec<Item>, FeatureError> {
    let mut items: Vec<Item> = Vec::new();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        for item in named(name)? {
            add(&mut items, item);
        }
    }
    if items.is_empty() { Err(FeatureError::Nothing) } else { Ok(items) }
}

/// What one name stands for.
fn named(name: &str) -> Result<Vec<Item>, FeatureError> {
    if let Some(set) = find_set(name) {
        return Ok(set.to_items());
    }
    let (algorithm, output) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
    if find(algorithm).is_none() {
        let names = SETS.iter().map(|set| set.name).chain(registry().iter().map(|found| found.name));
        let nearest = nearest(name, names).unwrap_or_default();
        return Err(FeatureError::UnknownName { name: name.chars().take(100).collect(), nearest });
    }
    let outputs = output.map(str::to_owned).into_iter().collect();
    let item = Item { algorithm: algorithm.to_owned(), outputs, ..Item::default() };
    crate::registry::validate(&item, None)?;
    Ok(vec![item])
}

/// Adds an item, or its outputs to those of the same algorithm.
fn add(items: &mut Vec<Item>, item: Item) {
    let Some(before) = items.iter_mut().find(|before| before.algorithm == item.algorithm) else {
        items.push(item);
        return;
    };
    if before.outputs == item.outputs {
        return;
    }
    let more = outputs(&item);
    before.outputs = outputs(before);
    for output in more {
        if !before.outputs.contains(&output) {
            before.outputs.push(output);
        }
    }
}

/// The names of the outputs that an item computes: those that it names, else the default ones of its algorithm. None
/// of an algorithm that does not exist.
pub fn outputs(item: &Item) -> Vec<String> {
    if !item.outputs.is_empty() {
        return item.outputs.clone();
    }
    let defaults = |found: &'static Descriptor| found.outputs.iter().filter(|output| output.default);
    find(&item.algorithm).into_iter().flat_map(defaults).map(|output| output.name.to_owned()).collect()
}

/// Where the values of items are stored: algorithm and layer (of items that keep them also `frames`), each once.
/// Annotations and summaries are in no layer.
pub fn layers(items: &[Item]) -> Vec<(&'static str, &'static str)> {
    let mut layers = Vec::new();
    for item in items {
        let Some(descriptor) = find(&item.algorithm) else { continue };
        let wanted = outputs(item);
        for output in descriptor.outputs.iter().filter(|output| wanted.iter().any(|name| name == output.name)) {
            if let Kind::Series(series) = &output.kind {
                let frames = series.hop.filter(|_| item.frames).map(|_| FRAMES);
                let names = [Some(series.layer), series.histogram, frames].into_iter().flatten();
                layers.extend(names.map(|layer| (descriptor.name, layer)));
            }
        }
    }
    layers.sort_unstable();
    layers.dedup();
    layers
}

/// Bytes of one sensor-day that items store at 1 s, before coarser rows and a database's own overhead: those of
/// [`layers`], as measured by `cargo xtask generate`, each to two digits. Annotations take a row each and are not counted.
pub fn bytes_per_day(items: &[Item]) -> u64 {
    let size =
        |layer: &(&str, &str)| SIZES.iter().find(|found| (found.0, found.1) == *layer).map_or(0, |found| found.2);
    layers(items).iter().map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::validate;

    #[test]
    fn every_name_in_a_set_exists_and_none_stands_twice() {
        for set in SETS {
            assert!(!set.items.is_empty() && set.cpu_seconds_per_hour > 0.0, "{}", set.name);
            for (index, item) in set.to_items().iter().enumerate() {
                validate(item, None).unwrap_or_else(|error| panic!("set {}: {error}", set.name));
                let earlier = &set.items[..index];
                assert!(
                    earlier.iter().all(|member| member.algorithm != item.algorithm),
                    "{}: {}",
                    set.name,
                    item.algorithm
                );
            }
        }
    }

    #[test]
    fn no_algorithm_is_in_no_set() {
        for found in registry().iter().filter(|found| found.outputs.iter().any(|output| output.default)) {
            let is_in_one = SETS.iter().any(|set| set.has(found.name));
            assert!(is_in_one, "{} is in no set: add a line to each that shall have it", found.name);
        }
    }

    #[test]
    fn sets_are_called_like_nothing_else() {
        for set in SETS {
            assert_eq!(SETS.iter().filter(|other| other.name == set.name).count(), 1);
            let taken = |found: &&Descriptor| found.name == set.name || found.family == set.name;
            assert!(!registry().iter().any(taken), "{} is also an algorithm or a family", set.name);
        }
    }

    #[test]
    fn every_layer_has_a_size() {
        for layer in crate::registry::layers() {
            let known = SIZES.iter().any(|found| (found.0, found.1) == (layer.id.algorithm, layer.id.layer));
            assert!(known, "{:?}: run `cargo xtask generate`", layer.id);
        }
    }

    #[test]
    fn names_are_read_and_joined() {
        let level = items("level-only").unwrap();
        assert_eq!((level.len(), level[0].algorithm.as_str(), level[0].outputs.len()), (1, "level", 0));
        let joined = items(" level.c , default, level.c,mel").unwrap();
        let names: Vec<&str> = joined.iter().map(|item| item.algorithm.as_str()).collect();
        assert_eq!(names, ["level", "loudness", "silence", "mel"]);
        assert_eq!(
            joined[0].outputs,
            ["c", "a", "z", "bands", "peak", "clipping"],
            "the default outputs too, each once"
        );
        assert!(joined[3].outputs.contains(&String::from("preview")));
        assert!(items("level,level-only").unwrap()[0].outputs.is_empty(), "defaults stay what they are");
    }

    #[test]
    fn wrong_names_are_told_the_nearest() {
        let nearest = |list: &str| match items(list).unwrap_err() {
            FeatureError::UnknownName { nearest, .. } | FeatureError::UnknownOutput { nearest, .. } => nearest,
            other => panic!("{other}"),
        };
        assert_eq!(nearest("soundscpae"), "soundscape");
        assert_eq!(nearest("levle"), "level");
        assert_eq!(nearest("level.peek"), "peak");
        assert_eq!(items(" , "), Err(FeatureError::Nothing));
    }

    #[test]
    fn bytes_are_those_of_the_layers_that_are_stored() {
        let bytes = |list: &str| bytes_per_day(&items(list).unwrap());
        assert_eq!(bytes("silence"), 0, "annotations are not counted");
        assert!(bytes("level.a") < bytes("level") && bytes("level.c") < bytes("level.a"), "a has a histogram");
        assert_eq!(bytes("level.a,level.c"), bytes("level.a"), "they share a layer");
        assert_eq!(bytes("level-only"), bytes("level"));
        assert!(bytes("music") > bytes("default"), "the bands of mel");
        let frames = Item { frames: true, ..items("level.a").unwrap().remove(0) };
        assert!(bytes_per_day(&[frames]) > bytes("level.a"));
    }
}
