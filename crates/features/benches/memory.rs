//! How much memory an analysis of many hours takes: every algorithm with every output, as a song and as a sensor, over audio that is
//! made on the fly. Prints the largest resident size of the process, and fails above 64 MB.
//!
//! `cargo bench -p antiphon-features --bench memory [-- HOURS]` (6 hours unless told)

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so by a panic")]

use std::time::Instant;

use antiphon_features::algorithm::Stream;
use antiphon_features::registry;
use antiphon_features::session::{Item, Session};

const RATE: u32 = 44_100;
const MOST_MEGABYTES: f64 = 64.0;
/// 2026-05-01T00:00:00Z, in samples.
const FIRST: i64 = 1_777_593_600 * RATE as i64;

/// A second of chords over noise. Played at a level and from a place that change every second, no two seconds are alike.
fn second() -> Vec<f32> {
    let mut state = 1_u64;
    (0..RATE)
        .map(|n| {
            let tone = |frequency: f64| (std::f64::consts::TAU * frequency * f64::from(n) / f64::from(RATE)).sin();
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (state >> 40) as f64 / 8_388_608.0 - 1.0;
            (0.2 * (tone(220.0) + tone(277.0) + tone(1_318.0)) + 0.1 * noise * tone(2.0)) as f32
        })
        .collect()
}

/// A line of /proc/self/status in MB.
fn status(key: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1_024.0
}

fn analyse(hours: f64, song: bool) {
    let outputs = |found: &antiphon_features::descriptor::Descriptor| {
        found.outputs.iter().map(|output| output.name.to_owned()).collect()
    };
    let items: Vec<Item> = registry()
        .iter()
        .map(|found| Item {
            algorithm: found.name.to_owned(),
            outputs: outputs(found),
            frames: found.hop().is_some(),
            ..Item::default()
        })
        .collect();
    let first = if song { 0 } else { FIRST };
    let stream =
        Stream { rate: RATE, channels: 2, first_sample: first, first_body_sample: first, song, calibration_db: None };
    let (second, mut left, mut right) = (second(), Vec::new(), Vec::new());
    let mut session = Session::new(&items, &stream).unwrap();
    let mut bytes = 0;
    let start = Instant::now();
    let seconds = (hours * 3_600.0) as u32;
    for number in 0..seconds {
        let place = (number.wrapping_mul(7_919) % RATE) as usize;
        let level = 0.1 + 0.9 * ((number as f32 * 0.37).sin() * 0.5 + 0.5);
        left.clear();
        left.extend(second[place..].iter().chain(&second[..place]).map(|sample| level * sample));
        right.clear();
        right.extend(left.iter().map(|sample| 0.7 * sample));
        session.push(&[&left, &right]);
        bytes += session.take_blocks().iter().map(|block| block.data.len()).sum::<usize>();
    }
    let before_the_end = status("VmRSS");
    let analysis = session.finish();
    bytes += analysis.blocks.iter().map(|block| block.data.len()).sum::<usize>();
    let largest = status("VmHWM");
    let what = if song { "song" } else { "sensor" };
    println!(
        "{what}: {hours} h, {} algorithms: {before_the_end:.1} MB resident before the end, at most {largest:.1} MB; \
         {:.1} MB of blocks, {} annotations, {} summaries; {:.0} x real time",
        registry().len(),
        bytes as f64 / 1_048_576.0,
        analysis.annotations.len(),
        analysis.summaries.len(),
        f64::from(seconds) / start.elapsed().as_secs_f64(),
    );
    assert!(largest < MOST_MEGABYTES, "more than {MOST_MEGABYTES} MB");
}

fn main() {
    // Cargo passes options of its own.
    let hours = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(6.0);
    analyse(hours, false);
    analyse(hours, true);
}
