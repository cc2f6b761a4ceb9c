//! What analysis costs, as a multiple of the base: decoding FLAC (44.1 kHz, stereo, 16 bit) and one transform (2,048 samples
//! every 512, single precision) of the mix-down. One thread; every row is measured once in each of so many rounds, so that what
//! disturbs the machine for a while disturbs all alike, and the best time of each counts. It is the time that the thread had a
//! core, which others on the machine change less than the time on the wall.
//!
//! `cargo bench -p antiphon-features --bench throughput [-- ROUNDS [ROW]]` (5 rounds and all rows unless told)

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so by a panic")]

use std::time::Duration;

use antiphon_features::sets::SETS;

#[path = "rows/mod.rs"]
mod rows;
#[path = "sound/mod.rs"]
mod sound;

const SECONDS: usize = 120;

fn main() {
    // Cargo passes options of its own.
    let mut options = std::env::args().skip(1).filter(|option| !option.starts_with("--"));
    let rounds: usize = options.next().map_or(5, |rounds| rounds.parse().unwrap());
    let mut rows: Vec<rows::Row> = rows::rows().into_iter().chain(rows::sets()).collect();
    if let Some(name) = options.next() {
        rows = [rows::row("base"), rows::row(&name)].into_iter().map(Option::unwrap).collect();
    }
    let file = sound::sound(SECONDS).into();
    let mut best = vec![Duration::MAX; rows.len()];
    for _ in 0..rounds {
        for (row, best) in rows.iter().zip(&mut best) {
            let start = running_time();
            row.work.run(&file);
            *best = (running_time() - start).min(*best);
        }
    }
    let base = rows.iter().position(|row| row.name == "base").map(|place| best[place]).unwrap();
    for (row, time) in rows.iter().zip(best) {
        let speed = SECONDS as f64 / time.as_secs_f64();
        let ratio = time.as_secs_f64() / base.as_secs_f64();
        println!("{:<52} {ratio:>6.2} x base {speed:>7.0} x real time", row.name);
        if let Some(set) = SETS.iter().find(|set| row.name == format!("set {}", set.name)) {
            let (measured, known) = (time.as_secs_f64() * 3_600.0 / SECONDS as f64, set.cpu_seconds_per_hour);
            println!("{:<52} {measured:>6.1} s of CPU per audio-hour; its row says {known:.1}", "");
        }
    }
}

/// How long this thread has had a core.
fn running_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(told.split_whitespace().next().unwrap().parse().unwrap())
}
