//! A descriptor as it comes from another program: every rule that it must keep.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_platform::queue::Group;
use prost::Message as _;

use crate::messages::descriptor_output::Kind;
use crate::messages::{Aggregate, Descriptor, DescriptorOutput, DescriptorParameter, DescriptorSeries};

/// Largest descriptor, in bytes as it is encoded.
const LARGEST: usize = 64 * 1024;

/// Longest name of an algorithm, output, layer or parameter, and longest label, in bytes.
const NAME: usize = 64;
/// Longest unit, in bytes.
const UNIT: usize = 32;
/// Longest line for people, in bytes.
const TITLE: usize = 200;
/// Longest reference, and longest text about a parameter, in bytes.
const REFERENCE: usize = 1_000;
/// Longest text about an algorithm, in bytes.
const ABOUT: usize = 8_000;

/// Most outputs of an algorithm, and most parameters.
const MOST: usize = 32;
/// Most dimensions of a vector.
const DIMENSIONS: u32 = 256;
/// Most fields of a layer: what is stored of each second.
const FIELDS: usize = 1_024;
/// Longest minimum of an annotation, in µs: a day.
const LONGEST_MINIMUM: u64 = 86_400_000_000;
/// The highest version.
const VERSION: u32 = 1_000_000;

/// A descriptor that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the descriptor cannot be used: {0}")]
pub struct Unusable(String);

fn unusable(why: impl Into<String>) -> Unusable {
    Unusable(why.into())
}

/// Reads and checks a message of the topic descriptors. Any bytes are safe to give.
///
/// # Errors
/// The first rule that it breaks, in words.
pub fn read(body: &[u8]) -> Result<Descriptor, Unusable> {
    if body.len() > LARGEST {
        return Err(unusable(format!("it has more than {LARGEST} bytes")));
    }
    let descriptor = Descriptor::decode(body).map_err(|error| unusable(format!("it is none: {error}")))?;
    check(&descriptor)?;
    Ok(descriptor)
}

fn check(descriptor: &Descriptor) -> Result<(), Unusable> {
    let name = &descriptor.name;
    let parts = name.split_once('.').filter(|(group, own)| Group::is_foreign_name(group) && is_name(own));
    if parts.is_none() || name.len() > NAME {
        let shown: String = name.chars().take(NAME).collect();
        return Err(unusable(format!(
            "{shown:?} is no name such as x-birds.activity: x-GROUP of a-z, 0-9 and -, a dot, a name of a-z, 0-9 and _"
        )));
    }
    if !(1..=VERSION).contains(&descriptor.version) {
        return Err(unusable(format!("its version is not between 1 and {VERSION}")));
    }
    check_text("title", &descriptor.title, 1..=TITLE)?;
    check_text("text about the algorithm", &descriptor.about, 0..=ABOUT)?;
    check_text("reference", &descriptor.reference, 0..=REFERENCE)?;
    if !(1..=MOST).contains(&descriptor.outputs.len()) {
        return Err(unusable(format!("it has not 1 to {MOST} outputs")));
    }
    check_outputs(&descriptor.outputs)?;
    if descriptor.parameters.len() > MOST {
        return Err(unusable(format!("it has more than {MOST} parameters")));
    }
    check_unique("parameter", descriptor.parameters.iter().map(|parameter| parameter.name.as_str()))?;
    descriptor.parameters.iter().try_for_each(check_parameter)
}

fn check_outputs(outputs: &[DescriptorOutput]) -> Result<(), Unusable> {
    check_unique("output", outputs.iter().map(|output| output.name.as_str()))?;
    let mut fields: BTreeMap<&str, usize> = BTreeMap::new();
    let mut number_of_series = 0;
    for output in outputs {
        check_text("title of an output", &output.title, 1..=TITLE)?;
        check_text("unit of an output", &output.unit, 1..=UNIT)?;
        match &output.kind {
            Some(Kind::Series(series)) => {
                number_of_series += 1;
                let width = check_series(output, series)?;
                let sum = fields.entry(&series.layer).or_default();
                *sum += width;
                if *sum > FIELDS {
                    return Err(unusable(format!("layer {} has more than {FIELDS} fields", series.layer)));
                }
            }
            Some(Kind::Annotation(annotation)) => {
                if annotation.minimum > LONGEST_MINIMUM {
                    return Err(unusable(format!("the minimum of {} is longer than a day", output.name)));
                }
                if !output.labels.is_empty() {
                    return Err(unusable("only the dimensions of a series have labels"));
                }
            }
            None => return Err(unusable(format!("output {:?} is neither series nor annotation", output.name))),
        }
    }
    for output in outputs {
        let may_be_empty = number_of_series == 1 && matches!(output.kind, Some(Kind::Series(_)));
        if !(is_name(&output.name) || output.name.is_empty() && may_be_empty) {
            let shown = &output.name;
            return Err(unusable(format!("{shown:?} is no name of an output; only the single series may have none")));
        }
    }
    Ok(())
}

/// Checks a series; how many fields it takes.
fn check_series(output: &DescriptorOutput, series: &DescriptorSeries) -> Result<usize, Unusable> {
    let name = &output.name;
    if !(1..=DIMENSIONS).contains(&series.dimensions) {
        return Err(unusable(format!("output {name:?} has not 1 to {DIMENSIONS} dimensions")));
    }
    let dimensions = series.dimensions as usize;
    if !output.labels.is_empty() && output.labels.len() != dimensions {
        return Err(unusable(format!("output {name:?} has another number of labels than of dimensions")));
    }
    for label in &output.labels {
        check_text("label", label, 1..=NAME)?;
    }
    if !is_name(&series.layer) || series.layer == antiphon_features::cells::FRAMES {
        return Err(unusable(format!("{:?} is no name of a layer", series.layer)));
    }
    let (fields, stats) = stored(series).ok_or_else(|| unusable(format!("output {name:?} has no aggregate")))?;
    check_unique("stat", series.stats.iter().map(String::as_str))?;
    if let Some(unknown) = series.stats.iter().find(|stat| !stats.contains(&stat.as_str())) {
        let shown: String = unknown.chars().take(NAME).collect();
        return Err(unusable(format!("output {name:?} has no stat {shown:?}; it has {}", stats.join(", "))));
    }
    Ok(dimensions * fields)
}

/// Fields of each dimension that are stored of a series, and the stats that they have.
pub(super) fn stored(series: &DescriptorSeries) -> Option<(usize, &'static [&'static str])> {
    match series.aggregate() {
        Aggregate::Unspecified => None,
        Aggregate::Moments if series.dimensions == 1 => Some((4, &["mean", "stddev", "min", "max"])),
        Aggregate::Moments => Some((2, &["mean", "stddev"])),
        Aggregate::Maximum => Some((1, &["max"])),
        Aggregate::Share => Some((1, &["mean"])),
        Aggregate::Energy => Some((1, &["leq"])),
        Aggregate::Level => Some((3, &["leq", "min", "max"])),
    }
}

fn check_parameter(parameter: &DescriptorParameter) -> Result<(), Unusable> {
    let DescriptorParameter { name, about, unit, minimum, maximum, standard } = parameter;
    if !is_name(name) {
        return Err(unusable(format!("{name:?} is no name of a parameter")));
    }
    check_text("text about a parameter", about, 0..=REFERENCE)?;
    check_text("unit of a parameter", unit, 0..=UNIT)?;
    let is_range = minimum.is_finite() && maximum.is_finite() && minimum <= standard && standard <= maximum;
    if is_range {
        return Ok(());
    }
    Err(unusable(format!("the range of parameter {name} makes no sense")))
}

fn check_text(what: &str, text: &str, length: std::ops::RangeInclusive<usize>) -> Result<(), Unusable> {
    let is_printable = !text.chars().any(|letter| letter.is_control() && letter != '\n');
    if length.contains(&text.len()) && is_printable {
        return Ok(());
    }
    let (least, most) = (length.start(), length.end());
    Err(unusable(format!("a {what} has {least} to {most} bytes and no control characters")))
}

fn check_unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Unusable> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            let shown: String = name.chars().take(NAME).collect();
            return Err(unusable(format!("it has two of the {what} {shown:?}")));
        }
    }
    Ok(())
}

/// `[a-z][a-z0-9_]*`, at most 64 bytes.
fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= NAME && name.as_bytes().first().is_some_and(u8::is_ascii_lowercase) && name.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::descriptors::tests::activity;

    #[test]
    fn a_descriptor_is_read() {
        let sent = activity(1);
        assert_eq!(read(&sent.encode_to_vec()).unwrap(), sent);
    }

    #[test]
    fn each_rule_is_kept() {
        type Break = fn(&mut Descriptor);
        fn series(descriptor: &mut Descriptor) -> &mut DescriptorSeries {
            match descriptor.outputs[0].kind.as_mut().unwrap() {
                Kind::Series(series) => series,
                Kind::Annotation(_) => panic!("the first output is a series"),
            }
        }
        let cases: [(&str, Break); 24] = [
            ("no name such as", |it| it.name = String::from("birds.activity")),
            ("no name such as", |it| it.name = String::from("x-birds")),
            ("no name such as", |it| it.name = String::from("x-birds.two.dots")),
            ("no name such as", |it| it.name = String::from("x-Birds.activity")),
            ("no name such as", |it| it.name = format!("x-birds.{}", "a".repeat(80))),
            ("version", |it| it.version = 0),
            ("title", |it| it.title.clear()),
            ("title", |it| it.title = String::from("two\u{7}")),
            ("about", |it| it.about = "a".repeat(8_001)),
            ("outputs", |it| it.outputs.clear()),
            ("two of the output", |it| it.outputs[1].name = it.outputs[0].name.clone()),
            ("no name of an output", |it| it.outputs[1].name.clear()),
            ("unit", |it| it.outputs[0].unit.clear()),
            ("neither series nor", |it| it.outputs[0].kind = None),
            ("dimensions", |it| series(it).dimensions = 0),
            ("dimensions", |it| series(it).dimensions = 257),
            ("labels", |it| it.outputs[0].labels = vec![String::from("a"); 2]),
            ("no name of a layer", |it| series(it).layer = String::from("frames")),
            ("no aggregate", |it| series(it).aggregate = 0),
            ("no aggregate", |it| series(it).aggregate = 77),
            ("has no stat", |it| series(it).stats = vec![String::from("l90")]),
            ("two of the stat", |it| series(it).stats = vec![String::from("mean"); 2]),
            ("range of parameter", |it| it.parameters[0].maximum = f64::NAN),
            ("two of the parameter", |it| it.parameters.push(it.parameters[0].clone())),
        ];
        for (expected, break_it) in cases {
            let mut broken = activity(1);
            break_it(&mut broken);
            let error = read(&broken.encode_to_vec()).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        assert!(read(b"\xff\xff").is_err());
        assert!(read(&vec![0; LARGEST + 1]).is_err());
    }

    #[test]
    fn fields_of_a_layer_are_bounded_together() {
        let mut wide = activity(1);
        wide.outputs = (0..5)
            .map(|number| DescriptorOutput {
                name: format!("bands{number}"),
                title: String::from("Bands"),
                unit: String::from("1"),
                kind: Some(Kind::Series(DescriptorSeries {
                    dimensions: 128,
                    aggregate: Aggregate::Moments as i32,
                    layer: String::from("bands"),
                    stats: Vec::new(),
                })),
                ..DescriptorOutput::default()
            })
            .collect();
        assert!(read(&wide.encode_to_vec()).unwrap_err().to_string().contains("fields"));
        wide.outputs.pop();
        assert!(read(&wide.encode_to_vec()).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = read(&bytes);
        }
    }
}
