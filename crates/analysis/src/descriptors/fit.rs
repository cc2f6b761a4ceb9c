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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::descriptors::tests::activity;

    fn known() -> Known {
        Known::of(&[activity(1)])
    }

    fn result(partials: Vec<messages::Partial>) -> messages::Result {
        let algorithm = String::from("x-birds.activity");
        let block = messages::Block {
            algorithm,
            version: 1,
            layer: String::from("main"),
            minute: 29_626_560,
            partials,
            ..messages::Block::default()
        };
        messages::Result {
            kind: messages::SourceKind::Sensor as i32,
            group: String::from("x-birds"),
            blocks: vec![block],
            ..messages::Result::default()
        }
    }

    fn partial(second: u32, values: [f32; 4]) -> messages::Partial {
        messages::Partial { second, from: 10, to: 1_000_000, count: 7, values: values.to_vec() }
    }

    #[test]
    fn what_is_spelled_out_is_stored_as_ours_is() {
        let mut sent = result(vec![partial(3, [0.5, 0.25, 0.0, 1.0]), partial(59, [0.5, 0.0, f32::NAN, 1.0])]);
        fit(&mut sent, &known()).unwrap();
        let block = &sent.blocks[0];
        let layer = known().foreign("x-birds.activity", 1).unwrap().layer("main").unwrap();
        let stored = decode_block(layer, block.minute, &block.data).unwrap();
        assert!(block.partials.is_empty());
        assert_eq!(stored.iter().map(|partial| partial.second.rem_euclid(60)).collect::<Vec<_>>(), [3, 59]);
        assert_eq!((stored[0].from, stored[0].to), (10, 1_000_000));
        let Values::Fields { count, values } = &stored[0].values else { panic!("other values") };
        assert_eq!((*count, values.as_slice()), (7, &[0.5, 0.25, 0.0, 1.0][..]));
        // Its bytes are as good as the spelling.
        fit(&mut sent.clone(), &known()).unwrap();
    }

    #[test]
    fn nobody_speaks_for_another_group() {
        let cases: [(&str, &str); 3] =
            [("x-bats", "x-birds.activity"), ("analyze", "x-birds.activity"), ("x-birds", "level")];
        for (group, algorithm) in cases {
            let mut sent = result(vec![partial(0, [0.0; 4])]);
            sent.group = group.to_owned();
            sent.blocks[0].algorithm = algorithm.to_owned();
            let Err(Misfit::Never(why)) = fit(&mut sent, &known()) else { panic!("{group} {algorithm}") };
            assert!(why.contains(algorithm) && why.contains(group), "{why}");
        }
        let mut sent = result(vec![partial(0, [0.0; 4])]);
        sent.blocks[0].version = 2;
        assert!(matches!(fit(&mut sent, &known()), Err(Misfit::Unknown { version: 2, .. })));
    }

    proptest! {
        #[test]
        fn whatever_fits_can_be_read_again(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            let mut bytes = result(vec![partial(3, [0.5, 0.25, 0.0, 1.0]), partial(4, [0.5; 4])]).encode_to_vec();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            let Ok(mut sent) = messages::Result::decode(bytes.as_slice()) else { return Ok(()) };
            // A change of two bytes can make it a result of no foreign group, which is not looked at here.
            if fit(&mut sent, &known()).is_ok() && sent.group.starts_with(Group::FOREIGN_PREFIX) {
                for block in &sent.blocks {
                    let layer = known().foreign(&block.algorithm, block.version).unwrap().layer(&block.layer).unwrap();
                    prop_assert!(decode_block(layer, block.minute, &block.data).is_ok());
                }
            }
        }
    }
}
