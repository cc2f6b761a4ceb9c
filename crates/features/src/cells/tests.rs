use proptest::prelude::*;

use super::*;
use crate::registry;

/// A value that the encoding must keep: finite, zero, tiny, equal to its neighbour, or absent.
fn any_value() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -200f32..200.0,
        1 => Just(f32::NAN),
        1 => Just(0.25f32),
        1 => Just(0.0f32),
        1 => 0f32..1e-30,
    ]
}

/// Values of one of the layers that workers fill, for a partial from `from` to `to`.
fn any_values(layer: &'static Layer, from: u32, to: u32) -> BoxedStrategy<Values> {
    match &layer.kind {
        LayerKind::Fields { rules, .. } => {
            let rules = rules.clone();
            let row = proptest::collection::vec(any_value(), rules.len());
            (row, 1u64..50)
                .prop_map(move |(mut values, count)| {
                    for (value, rule) in values.iter_mut().zip(&rules) {
                        if matches!(rule, Rule::TimeMean | Rule::FrameVariance) {
                            *value = value.abs();
                        }
                    }
                    Values::Fields { count, values }
                })
                .boxed()
        }
        LayerKind::Histogram => proptest::collection::vec(-160f32..130.0, 0..9)
            .prop_map(|levels| Values::Histogram(Histogram::of(&levels)))
            .boxed(),
        LayerKind::Loudness => (proptest::collection::vec(0f32..0.5, 10), any_value())
            .prop_map(move |(energies, peak)| Values::Energies(Energies::new(from, to, &energies, peak)))
            .boxed(),
        LayerKind::Preview => proptest::collection::vec(proptest::option::of(any::<[u8; PREVIEW_BANDS]>()), 10)
            .prop_map(|rows| Values::Preview(Box::new(std::array::from_fn(|index| rows[index]))))
            .boxed(),
    }
}

fn any_partial(layer: &'static Layer, second: i64) -> impl Strategy<Value = Partial> {
    let interval =
        prop_oneof![Just((0, SECOND)), (0..SECOND - 1).prop_flat_map(|from| (Just(from), from + 1..=SECOND))];
    interval.prop_flat_map(move |(from, to)| {
        any_values(layer, from, to).prop_map(move |values| Partial { second, from, to, values })
    })
}

/// A layer with the partials of some of the seconds of one minute.
fn any_minute() -> impl Strategy<Value = (&'static Layer, i64, Vec<Partial>)> {
    (0..crate::layers().len(), -3i64..30_000_000, proptest::collection::vec(any::<bool>(), 60)).prop_flat_map(
        |(index, minute, seconds)| {
            let layer = &crate::layers()[index];
            let partials: Vec<_> = (0..60)
                .filter(|second| seconds[*second as usize])
                .map(|second| any_partial(layer, minute * 60 + second))
                .collect();
            (Just(layer), Just(minute), partials)
        },
    )
}

/// Equal, with absent values equal to each other.
fn same(a: &impl std::fmt::Debug, b: &impl std::fmt::Debug) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn blocks_come_back_as_they_were((layer, minute, partials) in any_minute()) {
        let bytes = encode_block(layer, &partials);
        let decoded = decode_block(layer, minute, &bytes).expect("own bytes decode");
        prop_assert!(same(&decoded, &partials));
    }

    #[test]
    fn cells_come_back_as_they_were((layer, _, partials) in any_minute()) {
        let merged: Vec<Cell> = partials.iter().map(|partial| merge_partials(layer, &[partial])).collect();
        let derived: Vec<Cell> = merged.iter().map(|cell| one_second(layer, [None; 3], cell)).collect();
        let together = merge_cells(layer, &derived.iter().collect::<Vec<_>>());
        for cell in merged.iter().chain(&derived).chain([&together]) {
            let decoded = decode_cell(layer, &encode_cell(cell)).expect("own bytes decode");
            prop_assert!(same(&decoded, cell));
        }
    }

    #[test]
    fn no_bytes_do_harm(
        index in 0..crate::layers().len(),
        minute in any::<i64>(),
        mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
        known_format in any::<bool>(),
    ) {
        if let Some(first) = bytes.first_mut().filter(|_| known_format) {
            *first = 1;
        }
        let layer = &crate::layers()[index];
        if let Ok(partials) = decode_block(layer, minute, &bytes) {
            prop_assert!(partials.len() <= 60);
            let cells: Vec<Cell> = partials.iter().map(|partial| merge_partials(layer, &[partial])).collect();
            merge_cells(layer, &cells.iter().collect::<Vec<_>>());
        }
        if let Ok(cell) = decode_cell(layer, &bytes) {
            merge_cells(layer, &[&cell, &cell]);
        }
        for descriptor in registry() {
            let _ = decode_frames(descriptor, minute, &bytes);
        }
    }

    /// Damage to real bytes reaches deeper than random ones.
    #[test]
    fn damaged_blocks_do_no_harm((layer, minute, partials) in any_minute(), at in any::<prop::sample::Index>(), to: u8) {
        let mut bytes = encode_block(layer, &partials);
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = decode_block(layer, minute, &bytes);
        bytes.truncate(at);
        let _ = decode_block(layer, minute, &bytes);
    }

    /// Minutes made of 10 s cells, hours made of minutes: near to what all seconds at once give.
    #[test]
    fn coarser_cells_are_what_all_their_seconds_say((layer, _, partials) in any_minute()) {
        prop_assume!(layer.rolls_up() && !partials.is_empty());
        // Where an output is absent in some seconds only (its plan changed), coarser cells weigh it as their children do.
        let mut partials = partials;
        for partial in &mut partials {
            if let Values::Fields { values, .. } = &mut partial.values {
                values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.5);
            }
        }
        let seconds: Vec<Cell> = partials
            .iter()
            .map(|partial| one_second(layer, [None; 3], &merge_partials(layer, &[partial])))
            .collect();
        let tens: Vec<Cell> =
            seconds.chunks(10).map(|ten| merge_cells(layer, &ten.iter().collect::<Vec<_>>())).collect();
        let by_tens = merge_cells(layer, &tens.iter().collect::<Vec<_>>());
        let at_once = merge_cells(layer, &seconds.iter().collect::<Vec<_>>());
        prop_assert_eq!(by_tens.heard, at_once.heard);
        let descriptor = crate::find(layer.id.algorithm).expect("it has a descriptor");
        for (output, series) in descriptor.series() {
            for stat in ["leq", "min", "max", "mean", "stddev", "value", "l01", "l50", "l99"] {
                for dimension in 0..usize::from(series.dimensions) {
                    let values = [&by_tens, &at_once].map(|cell| value(cell, output, stat, dimension));
                    let near = match values {
                        [Some(a), Some(b)] => (a - b).abs() <= 1e-3 * b.abs().max(1.0),
                        [a, b] => a == b,
                    };
                    prop_assert!(near, "{} {}: {:?}", output.name, stat, values);
                }
            }
        }
    }
}

#[test]
fn partials_of_one_second_merge_by_what_was_heard() {
    let layer = layer("level", "main").expect("the layer exists");
    let part = |from: u32, to: u32, energy: f32, low: f32, high: f32| {
        let mut values = vec![f32::NAN; layer.width()];
        values[..3].copy_from_slice(&[energy, low, high]);
        Partial { second: 5, from, to, values: Values::Fields { count: 0, values } }
    };
    let merged =
        merge_partials(layer, &[&part(0, 250_000, 0.1, -12.0, -9.0), &part(250_000, 1_000_000, 0.5, -8.0, -2.0)]);
    assert_eq!(merged.heard, 1_000_000);
    let output = crate::find("level").and_then(|found| found.output("a")).expect("the output exists");
    assert_eq!(value(&merged, output, "leq", 0), Some(decibels(f64::from(0.4f32)) as f32));
    assert_eq!(value(&merged, output, "min", 0), Some(-12.0));
    assert_eq!(value(&merged, output, "max", 0), Some(-2.0));
    assert_eq!(value(&merged, output, "mean", 0), None, "levels store no mean");
    assert_eq!(value(&merged, output, "leq", 1), None, "it has one dimension");
}

#[test]
fn moments_are_those_of_all_frames() {
    let rules = [Rule::FrameMean, Rule::FrameVariance];
    let frames = [1.0f64, 2.0, 4.0, 8.0, 16.0, 32.0, 3.0];
    let moments = |frames: &[f64]| {
        let n = frames.len() as f64;
        let mean = frames.iter().sum::<f64>() / n;
        let variance = frames.iter().map(|frame| (frame - mean).powi(2)).sum::<f64>() / n;
        Values::Fields { count: frames.len() as u64, values: vec![mean as f32, variance as f32] }
    };
    let parts = [moments(&frames[..2]), moments(&frames[2..3]), moments(&frames[3..])];
    let merged = fields::merge(&rules, &parts.each_ref().map(|part| (1, part)));
    let Values::Fields { count, values } = merged else { panic!("moments are fields") };
    let Values::Fields { values: expected, .. } = moments(&frames) else { panic!("moments are fields") };
    assert_eq!(count, 7);
    assert!(
        (values[0] - expected[0]).abs() < 1e-5 && (values[1] - expected[1]).abs() < 1e-4,
        "{values:?} {expected:?}"
    );
}

#[test]
fn percentiles_count_from_the_top() {
    // Ten levels: 0.05 to 0.95 dB, one in each bin.
    let levels: Vec<f32> = (0..10).map(|n| n as f32 / 10.0 + 0.05).collect();
    let histogram = Histogram::of(&levels);
    assert_eq!(histogram.exceeded(10), Some(0.95));
    assert_eq!(histogram.exceeded(11), Some(0.85));
    assert_eq!(histogram.exceeded(1), Some(0.95));
    assert_eq!(histogram.exceeded(99), Some(0.05));
    assert_eq!(Histogram::default().exceeded(50), None);
    assert_eq!(Histogram::bin_of(-150.0), -1_500);
    assert_eq!(Histogram::bin_of(-0.01), -1);
}

#[test]
fn short_term_looks_back_three_seconds_and_stops_at_a_hole() {
    let layer = layer("loudness", "main").expect("the layer exists");
    let second = |from: u32, to: u32| {
        let values = Values::Energies(Energies::new(from, to, &[0.01; 10], -3.0));
        merge_partials(layer, &[&Partial { second: 0, from, to, values }])
    };
    let short_term = |previous: [Option<&Cell>; 3], own: &Cell| match one_second(layer, previous, own).values {
        Values::Loudness(loudness) => loudness.short_term.histogram.total(),
        other => panic!("{other:?}"),
    };
    let whole = second(0, SECOND);
    assert_eq!(short_term([Some(&whole); 3], &whole), 10);
    assert_eq!(short_term([None, Some(&whole), Some(&whole)], &whole), 1, "3 s are over at its end only");
    assert_eq!(short_term([None, None, Some(&whole)], &whole), 0);
    assert_eq!(short_term([Some(&whole), Some(&second(20_000, SECOND)), Some(&whole)], &whole), 10, "20 ms are jitter");
    // The hole is in the second before the last: blocks that begin after it end with the last.
    assert_eq!(short_term([Some(&whole), Some(&second(20_001, SECOND)), Some(&whole)], &whole), 0);
}

/// The design's budget: at most 205 bytes a second for the default set at 16 kHz, and 600 a minute.
#[test]
fn the_default_set_stays_in_its_budget() {
    use crate::testing::{item, noise, run, seconds, sensor};
    let samples = noise(5, 16_000 * 60);
    let plan = [item("level"), item("loudness"), item("silence")];
    let found = run(&plan, &sensor(16_000, 1, 0), &[&samples]);
    let bytes: usize = found.blocks.iter().map(|block| block.data.len()).sum();
    assert!(bytes <= 205 * 60, "{} bytes a second", bytes / 60);
    let minute: usize = [("level", "main"), ("level", "histogram"), ("level", "bands"), ("loudness", "main")]
        .into_iter()
        .map(|(algorithm, name)| {
            let seconds = seconds(&found.blocks, algorithm, name);
            let children: Vec<&Cell> = seconds.iter().map(|(_, cell)| cell).collect();
            encode_cell(&merge_cells(layer(algorithm, name).expect("the layer exists"), &children)).len()
        })
        .sum();
    assert!(minute <= 600, "{minute} bytes a minute");
}
