use crate::messages::descriptor_output::Kind;
use crate::messages::{
    Aggregate, Descriptor, DescriptorAnnotation, DescriptorOutput, DescriptorParameter, DescriptorSeries,
};

/// What a group `x-birds` may tell: a series `x-birds.activity` and annotations `x-birds.activity.call`.
pub(crate) fn activity(version: u32) -> Descriptor {
    Descriptor {
        name: String::from("x-birds.activity"),
        version,
        title: String::from("Share of energy between 2 and 8 kHz"),
        about: String::from("For tests."),
        reference: String::new(),
        outputs: vec![
            DescriptorOutput {
                name: String::from("index"),
                title: String::from("The share"),
                unit: String::from("1"),
                kind: Some(Kind::Series(DescriptorSeries {
                    dimensions: 1,
                    aggregate: Aggregate::Moments as i32,
                    layer: String::from("main"),
                    stats: Vec::new(),
                })),
                ..DescriptorOutput::default()
            },
            DescriptorOutput {
                name: String::from("call"),
                title: String::from("A call"),
                unit: String::from("1"),
                kind: Some(Kind::Annotation(DescriptorAnnotation { minimum: 100_000 })),
                ..DescriptorOutput::default()
            },
        ],
        parameters: vec![DescriptorParameter {
            name: String::from("threshold"),
            about: String::from("From where on it is a call."),
            unit: String::from("1"),
            minimum: 0.0,
            maximum: 1.0,
            standard: 0.5,
        }],
    }
}
