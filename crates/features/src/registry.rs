//! The one table of algorithms, and how names in plans and queries are checked against it.

use std::sync::LazyLock;

use crate::algorithm::{Algorithm, Stream};
use crate::cells::Layer;
use crate::descriptor::{Descriptor, Kind, Output};
use crate::session::Item;

/// How a running algorithm is made: its checked item, and the stream it is for.
pub type Construct = fn(&Request<'_>, &Stream) -> Box<dyn Algorithm>;

/// What a constructor may ask about the item of the plan that it serves.
pub struct Request<'a> {
    descriptor: &'static Descriptor,
    item: &'a Item,
}

/// An algorithm: what is known of it, and how it is run.
struct Entry {
    descriptor: &'static Descriptor,
    construct: Construct,
}

/// Every algorithm, in the order of their names. One line each.
static TABLE: &[Entry] = &[
    Entry { descriptor: &crate::beat_track::DESCRIPTOR, construct: crate::beat_track::construct },
    Entry { descriptor: &crate::chroma::DESCRIPTOR, construct: crate::chroma::construct },
    Entry { descriptor: &crate::chroma_cqt::DESCRIPTOR, construct: crate::chroma_cqt::construct },
    Entry { descriptor: &crate::fingerprint::DESCRIPTOR, construct: crate::fingerprint::construct },
    Entry { descriptor: &crate::hpss::DESCRIPTOR, construct: crate::hpss::construct },
    Entry { descriptor: &crate::indices::DESCRIPTOR, construct: crate::indices::construct },
    Entry { descriptor: &crate::key::DESCRIPTOR, construct: crate::key::construct },
    Entry { descriptor: &crate::level::DESCRIPTOR, construct: crate::level::construct },
    Entry { descriptor: &crate::loudness::DESCRIPTOR, construct: crate::loudness::construct },
    Entry { descriptor: &crate::mel::DESCRIPTOR, construct: crate::mel::construct },
    Entry { descriptor: &crate::pitch::melody::DESCRIPTOR, construct: crate::pitch::melody::construct },
    Entry { descriptor: &crate::mfcc::DESCRIPTOR, construct: crate::mfcc::construct },
    Entry { descriptor: &crate::mfcc_top_db::DESCRIPTOR, construct: crate::mfcc_top_db::construct },
    Entry { descriptor: &crate::onset::DESCRIPTOR, construct: crate::onset::construct },
    Entry { descriptor: &crate::onset_detect::DESCRIPTOR, construct: crate::onset_detect::construct },
    Entry { descriptor: &crate::pitch::DESCRIPTOR, construct: crate::pitch::construct },
    Entry { descriptor: &crate::rhythm::DESCRIPTOR, construct: crate::rhythm::construct },
    Entry { descriptor: &crate::silence::DESCRIPTOR, construct: crate::silence::construct },
    Entry { descriptor: &crate::spectral::DESCRIPTOR, construct: crate::spectral::construct },
    Entry { descriptor: &crate::tempogram::DESCRIPTOR, construct: crate::tempogram::construct },
    Entry { descriptor: &crate::waveform::DESCRIPTOR, construct: crate::waveform::construct },
];

static DESCRIPTORS: LazyLock<Vec<&'static Descriptor>> =
    LazyLock::new(|| TABLE.iter().map(|entry| entry.descriptor).collect());

static LAYERS: LazyLock<Vec<Layer>> =
    LazyLock::new(|| DESCRIPTORS.iter().flat_map(|found| Layer::all_of(found)).collect());

/// A plan or query that names what the registry does not have.
#[derive(Debug, thiserror::Error, PartialEq, Clone)]
pub enum FeatureError {
    /// No algorithm of that name.
    #[error("there is no algorithm {name:?}; the nearest is {nearest:?}")]
    UnknownAlgorithm {
        /// What was asked for.
        name: String,
        /// The nearest name there is.
        nearest: &'static str,
    },
    /// Neither a set nor an algorithm of that name.
    #[error("there is no set and no algorithm {name:?}; the nearest is {nearest:?}")]
    UnknownName {
        /// What was asked for.
        name: String,
        /// The nearest name there is.
        nearest: &'static str,
    },
    /// A list of names that names nothing.
    #[error("nothing is named; name a set, an algorithm or an output")]
    Nothing,
    /// The algorithm has no output of that name.
    #[error("{algorithm} has no output {name:?}; the nearest is {nearest:?}")]
    UnknownOutput {
        /// The algorithm.
        algorithm: &'static str,
        /// What was asked for.
        name: String,
        /// The nearest name there is.
        nearest: &'static str,
    },
    /// The algorithm has no parameter of that name.
    #[error("{algorithm} has no parameter {name:?}; {}", hint(.nearest))]
    UnknownParameter {
        /// The algorithm.
        algorithm: &'static str,
        /// What was asked for.
        name: String,
        /// The nearest name there is; `None` if the algorithm has no parameters.
        nearest: Option<&'static str>,
    },
    /// A parameter that is no number or lies outside its range.
    #[error("parameter {name} of {algorithm} must be a number from {minimum} to {maximum}, not {value}")]
    BadParameter {
        /// The algorithm.
        algorithm: &'static str,
        /// The parameter.
        name: &'static str,
        /// What was given, as JSON.
        value: String,
        /// Smallest value allowed.
        minimum: f64,
        /// Largest value allowed.
        maximum: f64,
    },
    /// A plan that asks for another version than this build has.
    #[error("{algorithm} has version {available} here, not {asked}; run a build that has it, or renew the plan")]
    WrongVersion {
        /// The algorithm.
        algorithm: &'static str,
        /// What the plan says.
        asked: u32,
        /// What this build computes.
        available: u32,
    },
    /// A plan that names an algorithm twice.
    #[error("{algorithm} is named twice; name it once with all its outputs")]
    Repeated {
        /// The algorithm.
        algorithm: &'static str,
    },
    /// A stream that cannot be: a rate or number of channels outside what is supported.
    #[error(
        "cannot analyse {channels} channels at {rate} samples per second; 1 to 8 channels at 1,000 to 768,000 can be"
    )]
    BadStream {
        /// Samples per second.
        rate: u32,
        /// Channels.
        channels: u16,
    },
}

fn hint(nearest: &Option<&'static str>) -> String {
    match nearest {
        Some(name) => format!("the nearest is {name:?}"),
        None => "it has none".to_owned(),
    }
}

/// Every algorithm of this build.
pub fn registry() -> &'static [&'static Descriptor] {
    &DESCRIPTORS
}

/// The algorithm of that name.
pub fn find(name: &str) -> Option<&'static Descriptor> {
    registry().iter().copied().find(|found| found.name == name)
}

/// The algorithm whose name is nearest to one that does not exist.
pub fn nearest_name(name: &str) -> &'static str {
    nearest(name, registry().iter().map(|found| found.name)).unwrap_or("")
}

/// The nearest of some names; ties go to the first.
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(f64, &'a str)> = None;
    for candidate in names {
        let likeness = strsim::jaro_winkler(name, candidate);
        if best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Every layer of every algorithm.
pub fn layers() -> &'static [Layer] {
    &LAYERS
}

/// Checks one item of a plan: the algorithm and its outputs exist, parameters are numbers in their ranges, and
/// the version, if one is named, is the one that this build computes.
pub fn validate(item: &Item, version: Option<u32>) -> Result<&'static Descriptor, FeatureError> {
    let descriptor = find(&item.algorithm).ok_or_else(|| FeatureError::UnknownAlgorithm {
        name: item.algorithm.clone(),
        nearest: nearest_name(&item.algorithm),
    })?;
    validate_with(descriptor, item, version)?;
    Ok(descriptor)
}

/// Checks one item of a plan against the descriptor of its algorithm, as [`validate`] does.
pub fn validate_with(descriptor: &'static Descriptor, item: &Item, version: Option<u32>) -> Result<(), FeatureError> {
    let algorithm = descriptor.name;
    if let Some(asked) = version.filter(|&asked| asked != descriptor.version) {
        return Err(FeatureError::WrongVersion { algorithm, asked, available: descriptor.version });
    }
    for name in &item.outputs {
        if descriptor.output(name).is_none() {
            let nearest = nearest(name, descriptor.outputs.iter().map(|output| output.name)).unwrap_or("");
            return Err(FeatureError::UnknownOutput { algorithm, name: name.clone(), nearest });
        }
    }
    for (name, value) in &item.parameters {
        let Some(parameter) = descriptor.parameter(name) else {
            let nearest = nearest(name, descriptor.parameters.iter().map(|parameter| parameter.name));
            return Err(FeatureError::UnknownParameter { algorithm, name: name.clone(), nearest });
        };
        let in_range = value.as_f64().is_some_and(|given| (parameter.minimum..=parameter.maximum).contains(&given));
        if !in_range {
            return Err(FeatureError::BadParameter {
                algorithm,
                name: parameter.name,
                value: value.to_string(),
                minimum: parameter.minimum,
                maximum: parameter.maximum,
            });
        }
    }
    Ok(())
}

impl<'a> Request<'a> {
    /// Checks an item and keeps it for a constructor.
    pub fn new(item: &'a Item) -> Result<Request<'a>, FeatureError> {
        Ok(Request { descriptor: validate(item, None)?, item })
    }

    /// The algorithm that is asked for.
    pub fn descriptor(&self) -> &'static Descriptor {
        self.descriptor
    }

    /// Whether an output is to be computed: it is named, or nothing is named and it is a default output.
    pub fn wants(&self, output: &str) -> bool {
        self.descriptor.output(output).is_some_and(|found| self.wants_output(found))
    }

    /// Whether any output stored in a layer is to be computed.
    pub fn wants_layer(&self, layer: &str) -> bool {
        self.descriptor.outputs.iter().any(|output| match &output.kind {
            Kind::Series(series) => {
                self.wants_output(output) && (series.layer == layer || series.histogram == Some(layer))
            }
            Kind::Annotation { .. } | Kind::Summary => false,
        })
    }

    /// Whether frames are to be kept.
    pub fn keeps_frames(&self) -> bool {
        self.item.frames
    }

    /// The value of a parameter: what the plan says, else the default; 0 for a name that does not exist.
    pub fn parameter(&self, name: &str) -> f64 {
        let default = self.descriptor.parameter(name).map_or(0.0, |parameter| parameter.default);
        self.item.parameters.get(name).and_then(serde_json::Value::as_f64).unwrap_or(default)
    }

    /// Makes the algorithm, for one stream.
    pub fn construct(&self, stream: &Stream) -> Result<Box<dyn Algorithm>, FeatureError> {
        let entry = TABLE.iter().find(|entry| entry.descriptor.name == self.descriptor.name);
        let entry = entry.ok_or_else(|| FeatureError::UnknownAlgorithm {
            name: self.descriptor.name.to_owned(),
            nearest: nearest_name(self.descriptor.name),
        })?;
        Ok((entry.construct)(self, stream))
    }

    fn wants_output(&self, output: &Output) -> bool {
        if self.item.outputs.is_empty() {
            return output.default;
        }
        self.item.outputs.iter().any(|name| name == output.name)
    }
}
