//! Whether a result fits what its group told: only then is it stored.

use antiphon_features::cells::{Layer, Partial, Rule, SECOND, Values, decode_block, encode_block};
use antiphon_features::descriptor::{Aggregate, Kind};
use antiphon_platform::queue::Group;

use super::group_of;
use super::known::{Foreign, Known, annotation_type};
use crate::messages;

/// A result that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misfit {
    /// It may later: its descriptor is on its way, or was never sent.
    #[error("there is no version {version} of {algorithm}; its descriptor comes first")]
    Unknown {
        /// The algorithm.
        algorithm: String,
        /// The version.
        version: u32,
    },
    /// It never will.
    #[error("{0}")]
    Never(String),
}

fn never(why: impl Into<String>) -> Misfit {
    Misfit::Never(why.into())
}

/// Checks a result against the descriptors, and brings blocks that are spelled out into the registry's encoding. Those of
/// our own groups pass untouched, but for results in somebody else's name.
pub(crate) fn fit(result: &mut messages::Result, known: &Known) -> Result<(), Misfit> {
    let group = result.group.as_str();
    let is_foreign = group.starts_with(Group::FOREIGN_PREFIX);
    let blocks = result.blocks.iter().map(|block| block.algorithm.as_str());
    let mut algorithms = blocks.chain(result.annotations.iter().map(|found| found.algorithm.as_str()));
    if let Some(other) = algorithms.find(|algorithm| group_of(algorithm) != is_foreign.then_some(group)) {
        return Err(never(format!("{other} is no algorithm of the group {group}")));
    }
    if !is_foreign {
        return Ok(());
    }
    if result.kind() != messages::SourceKind::Sensor || !result.summaries.is_empty() {
        return Err(never("foreign groups analyse audio of sensors, which has no summary"));
    }
    for block in &mut result.blocks {
        fit_block(block, known)?;
    }
    result.annotations.iter().try_for_each(|found| fit_annotation(found, known))
}

fn find(known: &Known, algorithm: &str, version: u32) -> Result<&'static Foreign, Misfit> {
    known.foreign(algorithm, version).ok_or_else(|| Misfit::Unknown { algorithm: algorithm.to_owned(), version })
}

fn fit_annotation(annotation: &messages::Annotation, known: &Known) -> Result<(), Misfit> {
    let descriptor = find(known, &annotation.algorithm, annotation.version)?.descriptor;
    let mut types = descriptor.outputs.iter().filter(|output| matches!(output.kind, Kind::Annotation { .. }));
    if types.any(|output| annotation_type(descriptor, output) == annotation.r#type) {
        return Ok(());
    }
    Err(never(format!("{} yields no annotation of the type {:?}", annotation.algorithm, annotation.r#type)))
}

fn fit_block(block: &mut messages::Block, known: &Known) -> Result<(), Misfit> {
    let foreign = find(known, &block.algorithm, block.version)?;
    let (algorithm, name) = (&block.algorithm, &block.layer);
    let layer = foreign.layer(name).ok_or_else(|| never(format!("{algorithm} has no layer {name:?}")))?;
    let of_block = |why: &str| never(format!("a block of {algorithm}, layer {name}: {why}"));
    let partials = match (block.data.is_empty(), block.partials.is_empty()) {
        (false, true) => {
            decode_block(layer, block.minute, &block.data).map_err(|error| of_block(&error.to_string()))?
        }
        (true, false) => spelled_out(block).map_err(of_block)?,
        _ => return Err(of_block("it has neither data nor partials, or both")),
    };
    for partial in &partials {
        check_values(foreign, layer, partial).map_err(of_block)?;
    }
    if block.data.is_empty() {
        block.data = encode_block(layer, &partials).into();
        block.partials.clear();
    }
    Ok(())
}

/// The partials of a block that is spelled out.
fn spelled_out(block: &messages::Block) -> Result<Vec<Partial>, &'static str> {
    let first = block.minute.checked_mul(60).ok_or("its minute makes no sense")?;
    let mut partials: Vec<Partial> = Vec::with_capacity(block.partials.len().min(60));
    for sent in &block.partials {
        let second = first.checked_add(i64::from(sent.second)).ok_or("its minute makes no sense")?;
        if sent.second >= 60 || partials.last().is_some_and(|last| last.second >= second) {
            return Err("its seconds do not rise from 0 to 59");
        }
        if sent.from >= sent.to || sent.to > SECOND {
            return Err("a partial does not lie inside its second");
        }
        let values = Values::Fields { count: sent.count, values: sent.values.clone() };
        partials.push(Partial { second, from: sent.from, to: sent.to, values });
    }
    Ok(partials)
}

/// Checks that there is a value for each field, which its aggregate can have.
fn check_values(foreign: &Foreign, layer: &'static Layer, partial: &Partial) -> Result<(), &'static str> {
    let Values::Fields { count, values } = &partial.values else { return Err("its values are of another kind") };
    let rules = layer.rules();
    if values.len() != rules.len() {
        return Err("a partial has another number of values than the layer has fields");
    }
    if *count == 0 && rules.contains(&Rule::FrameMean) {
        return Err("a partial is of no values at all");
    }
    let energies: Vec<(usize, bool)> = foreign
        .descriptor
        .series()
        .filter(|(_, series)| series.layer == layer.id.layer)
        .filter_map(|(output, series)| {
            Some((layer.field(output.name)?, matches!(series.aggregate, Aggregate::Energy | Aggregate::Level)))
        })
        .collect();
    for (index, (rule, value)) in rules.iter().zip(values).enumerate() {
        if value.is_infinite() {
            return Err("a value is infinite");
        }
        let is_energy = energies.iter().rfind(|(first, _)| *first <= index).is_some_and(|(_, energy)| *energy);
        let is_square = *rule == Rule::FrameVariance || *rule == Rule::TimeMean && is_energy;
        if is_square && *value < 0.0 {
            return Err("a variance or mean square is below 0");
        }
    }
    Ok(())
}
