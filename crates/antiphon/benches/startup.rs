//! Start-up: time from the process's birth to the line that says ready, on a fresh and on an existing data folder
//! (median of ten each), and RssAnon of the idle `up`.
//!
//! `cargo xtask bench startup`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on panics")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use support::start;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let folder = tempfile::tempdir_in(".").expect("folder");
    let mut fresh = Vec::new();
    let mut existing = Vec::new();
    for round in 0..10 {
        let data = folder.path().join(format!("data-{round}"));
        for times in [&mut fresh, &mut existing] {
            let begun = Instant::now();
            let server = start(&data, &["up", "--listen", "127.0.0.1:0"], &[]);
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            assert!(server.stop().success());
        }
    }
    let server = start(&folder.path().join("data-0"), &["up", "--listen", "127.0.0.1:0"], &[]);
    // Idle means idle: whatever start-up put off has had its time.
    std::thread::park_timeout(Duration::from_secs(5));
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("status");
    let rss = status.lines().find(|line| line.starts_with("RssAnon")).expect("RssAnon");
    println!("| fresh folder, ms | existing folder, ms | idle |");
    println!("|---|---|---|");
    println!(
        "| {:.0} | {:.0} | {} |",
        median(fresh),
        median(existing),
        rss.split_whitespace().collect::<Vec<_>>().join(" ")
    );
}
