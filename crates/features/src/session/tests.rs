use super::*;
use crate::testing::{item, noise, run, sensor, song};

#[test]
fn items_are_checked_and_the_nearest_name_is_given() {
    let fails = |item: Item| match Session::new(&[item], &sensor(16_000, 1, 0)) {
        Err(error) => error,
        Ok(_) => panic!("the item is not valid"),
    };
    assert_eq!(fails(item("levle")), FeatureError::UnknownAlgorithm { name: "levle".to_owned(), nearest: "level" });
    let wrong_output = Item { outputs: vec!["band".to_owned()], ..item("level") };
    assert_eq!(
        fails(wrong_output),
        FeatureError::UnknownOutput { algorithm: "level", name: "band".to_owned(), nearest: "bands" }
    );
    let with = |algorithm: &str, name: &str, value: serde_json::Value| {
        let parameters = serde_json::Map::from_iter([(name.to_owned(), value)]);
        Item { parameters, ..item(algorithm) }
    };
    assert_eq!(
        fails(with("silence", "treshold", 1.into())),
        FeatureError::UnknownParameter {
            algorithm: "silence",
            name: "treshold".to_owned(),
            nearest: Some("threshold")
        }
    );
    for value in [serde_json::json!(-141.0), serde_json::json!("-60"), serde_json::Value::Null] {
        assert!(matches!(fails(with("silence", "threshold", value)), FeatureError::BadParameter { .. }));
    }
    let twice = Session::new(&[item("level"), item("level")], &sensor(16_000, 1, 0));
    assert!(matches!(twice, Err(FeatureError::Repeated { algorithm: "level" })));
    for (rate, channels) in [(16_000, 0), (16_000, 9), (999, 1), (768_001, 1)] {
        let wrong = Session::new(&[item("level")], &sensor(rate, channels, 0));
        assert!(matches!(wrong, Err(FeatureError::BadStream { .. })), "{channels} at {rate}");
    }
}

fn everything() -> Vec<Item> {
    crate::registry()
        .iter()
        .map(|descriptor| Item {
            algorithm: descriptor.name.to_owned(),
            outputs: descriptor.outputs.iter().map(|output| output.name.to_owned()).collect(),
            frames: descriptor.hop().is_some(),
            ..Item::default()
        })
        .collect()
}

/// The whole registry at once: the same bits, however the input was chunked and whenever blocks were taken.
#[test]
fn all_algorithms_together_do_not_depend_on_chunks() {
    for stream in [song(22_050, 2), crate::algorithm::Stream { first_body_sample: 4_321, ..sensor(48_000, 2, -777) }] {
        let samples = noise(21, 200_000);
        let channels = [&samples[..150_000], &samples[50_000..]];
        let mut whole = run(&everything(), &stream, &channels);
        let mut session = Session::new(&everything(), &stream).expect("the items are valid");
        let mut blocks = Vec::new();
        let mut at = 0;
        for size in [1, 7, 8_192, 1_200, 300, 48_000].into_iter().cycle() {
            let end = (at + size).min(150_000);
            session.push(&channels.map(|channel| &channel[at..end]));
            blocks.extend(session.take_blocks());
            at = end;
            if at == 150_000 {
                break;
            }
        }
        let mut chunked = session.finish();
        blocks.append(&mut chunked.blocks);
        let order = |block: &Block| (block.algorithm, block.layer, block.minute);
        blocks.sort_by_key(order);
        whole.blocks.sort_by_key(order);
        chunked.blocks = blocks;
        assert_eq!(chunked, whole);
    }
}

/// Borders of 60 s: each minute is one block, and memory does not grow.
#[test]
fn minutes_are_handed_out_as_they_finish() {
    let rate = 8_000;
    let mut session = Session::new(&[item("level")], &sensor(rate, 1, 30 * 8_000)).expect("the item is valid");
    let second = noise(2, rate as usize);
    let mut minutes = Vec::new();
    for _ in 0..120 {
        session.push(&[&second]);
        minutes.extend(session.take_blocks().into_iter().filter(|b| b.layer == "main").map(|b| b.minute));
    }
    assert_eq!(minutes, [0, 1]);
    let rest = session.finish();
    assert_eq!(rest.blocks.iter().map(|block| block.minute).collect::<Vec<_>>(), [2; 3]);
}

#[test]
fn nothing_comes_of_a_body_without_samples() {
    let samples = noise(4, 8_000);
    let stream = crate::algorithm::Stream { first_body_sample: 8_000, ..sensor(8_000, 1, 0) };
    assert_eq!(run(&everything(), &stream, &[&samples]), Analysis::default());
    assert_eq!(run(&everything(), &sensor(8_000, 1, 5), &[&[]]), Analysis::default());
}

/// Samples that are no numbers, or far too large, leave no trace after themselves.
#[test]
fn wild_samples_do_not_stay() {
    let mut samples = noise(6, 48_000 * 4);
    samples[..6].copy_from_slice(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -1e30, 1e-40]);
    let found = run(&everything(), &sensor(48_000, 1, 0), &[&samples]);
    samples[..6].fill(0.0);
    let expected = run(&everything(), &sensor(48_000, 1, 0), &[&samples]);
    for name in ["main", "bands"] {
        let last = |analysis: &Analysis| crate::testing::partials(&analysis.blocks, "level", name).pop();
        let (Some(found), Some(expected)) = (last(&found), last(&expected)) else { panic!("there are partials") };
        let (crate::cells::Values::Fields { values: found, .. }, crate::cells::Values::Fields { values, .. }) =
            (found.values, expected.values)
        else {
            panic!("they are fields")
        };
        assert!(found.iter().zip(&values).all(|(a, b)| a.is_finite() == b.is_finite()), "{found:?}");
    }
}

#[test]
fn every_descriptor_is_complete_and_consistent() {
    for descriptor in crate::registry() {
        let names: Vec<&str> = descriptor.outputs.iter().map(|output| output.name).collect();
        assert!(!descriptor.about.is_empty() && !descriptor.reference.is_empty());
        for (output, series) in descriptor.series() {
            assert_eq!(names.iter().filter(|name| **name == output.name).count(), 1, "{}", output.name);
            assert!(series.hop.is_none() || series.hop == descriptor.hop(), "{}: one hop", output.name);
            if series.dimensions > 1 {
                assert_eq!(output.labels.len(), usize::from(series.dimensions), "{}", output.name);
            }
            assert!(crate::cells::layer(descriptor.name, series.layer).is_some());
            for stat in series.stats {
                let stat = if *stat == "lNN" { "l90" } else { stat };
                let layer = series.layer_of(stat).expect("its own stat is stored");
                assert!(crate::cells::layer(descriptor.name, layer).is_some());
            }
        }
    }
}
