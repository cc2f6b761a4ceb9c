//! What the tests of algorithms share: signals, runs, and values out of blocks.

use crate::algorithm::Stream;
use crate::cells::{self, Cell, Partial};
use crate::session::{Analysis, Block, Item, Session};

/// A sensor's stream that starts at a sample, without lead-in.
pub(crate) fn sensor(rate: u32, channels: u16, first: i64) -> Stream {
    Stream { rate, channels, first_sample: first, first_body_sample: first, song: false, calibration_db: None }
}

/// A song's stream.
pub(crate) fn song(rate: u32, channels: u16) -> Stream {
    Stream { song: true, ..sensor(rate, channels, 0) }
}

/// An item of a plan with all default outputs.
pub(crate) fn item(algorithm: &str) -> Item {
    Item { algorithm: algorithm.to_owned(), ..Item::default() }
}

/// Runs items over whole channels at once.
pub(crate) fn run(items: &[Item], stream: &Stream, channels: &[&[f32]]) -> Analysis {
    let mut session = Session::new(items, stream).expect("the items are valid");
    session.push(channels);
    session.finish()
}

/// `seconds` of a sine from phase 0.
pub(crate) fn sine(rate: u32, frequency: f64, amplitude: f64, seconds: f64) -> Vec<f32> {
    let step = 2.0 * std::f64::consts::PI * frequency / f64::from(rate);
    let samples = (seconds * f64::from(rate)).round() as usize;
    (0..samples).map(|n| (amplitude * (step * n as f64).sin()) as f32).collect()
}

/// White noise with a level that wanders over 34 dB, the same for the same seed.
pub(crate) fn noise(seed: u64, samples: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut level = 0.1f32;
    (0..samples)
        .map(|n| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let uniform = (state >> 40) as f32 / (1u64 << 24) as f32;
            if n % 3_000 == 0 {
                level = (level * (0.5 + uniform)).clamp(0.01, 0.5);
            }
            level * (2.0 * uniform - 1.0)
        })
        .collect()
}

/// The partials of a layer, in order.
pub(crate) fn partials(blocks: &[Block], algorithm: &str, layer: &str) -> Vec<Partial> {
    let found = cells::layer(algorithm, layer).expect("the layer exists");
    blocks
        .iter()
        .filter(|block| block.algorithm == algorithm && block.layer == layer)
        .flat_map(|block| cells::decode_block(found, block.minute, &block.data).expect("own blocks decode"))
        .collect()
}

/// The 1 s cells of a layer with their seconds, from one recording.
pub(crate) fn seconds(blocks: &[Block], algorithm: &str, layer: &str) -> Vec<(i64, Cell)> {
    let found = cells::layer(algorithm, layer).expect("the layer exists");
    let merged: Vec<(i64, Cell)> = partials(blocks, algorithm, layer)
        .iter()
        .map(|partial| (partial.second, cells::merge_partials(found, &[partial])))
        .collect();
    let at = |second: i64| merged.iter().find(|(other, _)| *other == second).map(|(_, cell)| cell);
    merged
        .iter()
        .map(|(second, own)| {
            let previous = [at(second - 3), at(second - 2), at(second - 1)];
            (*second, cells::one_second(found, previous, own))
        })
        .collect()
}

/// One value of all of a recording.
pub(crate) fn overall(blocks: &[Block], column: &str, stat: &str, dimension: usize) -> Option<f32> {
    let (algorithm, output) = column.split_once('.').expect("ALGORITHM.OUTPUT");
    let output = crate::find(algorithm).and_then(|found| found.output(output)).expect("the output exists");
    let crate::descriptor::Kind::Series(series) = &output.kind else { panic!("{column} is no series") };
    let layer = series.layer_of(stat).expect("the stat is stored");
    let seconds = seconds(blocks, algorithm, layer);
    let children: Vec<&Cell> = seconds.iter().map(|(_, cell)| cell).collect();
    let merged = cells::merge_cells(cells::layer(algorithm, layer)?, &children);
    cells::value(&merged, output, stat, dimension)
}
