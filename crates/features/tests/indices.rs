//! `indices` of a sensor: pieces with a lead-in against the whole, and what is not heard as a whole.

#![expect(clippy::unwrap_used, reason = "a test helper that panics says what failed")]

use std::collections::BTreeMap;

use antiphon_features::algorithm::Stream;
use antiphon_features::cells::{FRAMES, decode_frames};
use antiphon_features::find;
use antiphon_features::session::{Item, Session, SummaryValue};

/// 2026-05-01T00:00:00Z.
const START: i64 = 1_777_593_600;

/// Noise under a slow tremolo, and a tone that comes and goes.
fn signal(rate: i64, seconds: i64) -> Vec<f32> {
    let mut state = 1_u64;
    (0..seconds * rate)
        .map(|n| {
            let time = n as f64 / rate as f64;
            let sine = |frequency: f64| (std::f64::consts::TAU * frequency * time).sin();
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (state >> 40) as f64 / 8_388_608.0 - 1.0;
            (0.1 * (1.2 + sine(0.3)) * noise + 0.3 * sine(3_100.0) * sine(0.11).max(0.0)) as f32
        })
        .collect()
}

/// The blocks of a piece, by the instant of their frame in µs.
fn blocks(rate: i64, samples: &[f32], from: i64, lead_in: i64, to: i64) -> BTreeMap<i64, Vec<f32>> {
    let stream = Stream {
        rate: rate as u32,
        channels: 1,
        first_sample: START * rate + from - lead_in,
        first_body_sample: START * rate + from,
        song: false,
        calibration_db: None,
    };
    let item = Item { algorithm: "indices".into(), frames: true, ..Item::default() };
    let mut session = Session::new(&[item], &stream).unwrap();
    session.push(&[&samples[(from - lead_in) as usize..to as usize]]);
    let found = session.finish().blocks;
    let frames = found.iter().filter(|block| block.layer == FRAMES);
    frames
        .flat_map(|block| decode_frames(find("indices").unwrap(), block.minute, &block.data).unwrap())
        .map(|frame| (frame.start, frame.values))
        .collect()
}

#[test]
fn pieces_with_lead_in_agree_with_the_whole() {
    let mut largest = 0.0_f32;
    for rate in [48_000_i64, 22_050, 16_000] {
        let samples = signal(rate, 31);
        let end = samples.len() as i64;
        let whole = blocks(rate, &samples, 0, 0, end);
        let ends: Vec<i64> = whole.keys().map(|start| start / 1_000_000 - START).collect();
        assert_eq!(ends, [5, 10, 15, 20, 25, 30], "a block is at its end");
        let mut pieces = BTreeMap::new();
        let mut from = 0;
        while from < end {
            let to = end.min(from + 2 * rate + from % 7_919);
            pieces.extend(blocks(rate, &samples, from, from.min(5 * rate), to));
            from = to;
        }
        assert!(whole.keys().eq(pieces.keys()));
        for (start, expected) in &whole {
            for (a, b) in pieces[start].iter().zip(expected) {
                largest = largest.max((a - b).abs() / b.abs());
                assert!((a - b).abs() <= 1e-3 * b.abs(), "{rate} {start}: {a} is not {b}");
            }
        }
    }
    println!("largest difference: {largest:e}");
}

#[test]
fn what_was_not_heard_as_a_whole_has_no_indices() {
    let samples = signal(22_050, 14);
    let found = blocks(22_050, &samples, 22_050, 0, samples.len() as i64);
    assert_eq!(found.keys().map(|start| start / 1_000_000 - START).collect::<Vec<_>>(), [10]);
}

/// Ht is 1 where the envelope is flat, and Hf where nothing is louder than the rest.
#[test]
fn silence_has_entropies_and_reasons() {
    let stream =
        Stream { rate: 22_050, channels: 1, first_sample: 0, first_body_sample: 0, song: true, calibration_db: None };
    for value in [0.0, 0.25] {
        let item = Item { algorithm: "indices".into(), ..Item::default() };
        let mut session = Session::new(&[item], &stream).unwrap();
        session.push(&[&[value; 50_000]]);
        let found = session.finish().summaries;
        assert_eq!(found.len(), 7);
        for summary in found {
            let is_entropy = ["h", "ht", "hf"].contains(&summary.output);
            match summary.value {
                SummaryValue::Number(value) => assert!(is_entropy && value == 1.0, "{}: {value}", summary.output),
                SummaryValue::Missing(reason) => assert!(!is_entropy && !reason.is_empty()),
                SummaryValue::Text(_) => panic!("an index is a number"),
            }
        }
    }
}
