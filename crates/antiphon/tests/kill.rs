//! The kill test: SIGKILL at random moments and at every named step, under load with retries and duplicates.
//!
//! What got 202 ends `stored` with one effect; what got 4xx is never stored; and the answers of all range queries
//! are, byte for byte, those of an undisturbed run of the same set in another order. `KILL_TEST_KILLS` sets the
//! number of random kills (20 when nothing is said); `cargo xtask test --kills 200 kill` is the long form.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::system::{Folders, System};
use support::traffic::{Sent, add_sensors, answers, load, recordings, send, wait_stored};
use support::{Client, Numbers, wav};

const ROLES: [&str; 6] = ["api", "analyze", "analyze-songs", "media", "write", "relay"];

/// Every named step, the role that passes it, and whether it takes a song so long that its result has parts.
const STEPS: [(&str, &str, bool); 14] = [
    ("api", "queue.before-confirm", false),
    ("api", "accept.after-confirm-before-row", false),
    ("api", "accept.after-blob-before-publish", false),
    ("analyze", "queue.before-confirm", false),
    ("analyze", "analyze.after-effect-before-ack", false),
    ("media", "media.between-pieces", false),
    ("media", "media.after-pieces-before-delete", false),
    ("media", "media.after-effect-before-ack", false),
    ("analyze-songs", "analyze.between-parts", true),
    ("analyze-songs", "analyze-songs.after-effect-before-ack", false),
    ("write", "write.between-parts", true),
    ("write", "write.after-effect-before-ack", false),
    ("write", "rollup.inside", false),
    ("relay", "relay.after-publish", false),
];

/// Kills after random numbers of acceptances, until the load has ended or the number is reached.
fn kill_at_random(
    system: &System,
    names: &[&'static str],
    kills: u32,
    accepted: &Receiver<()>,
    ended: &dyn Fn() -> bool,
) -> u32 {
    let mut numbers = Numbers(4);
    let mut done = 0;
    while done < kills && !ended() {
        for _ in 0..numbers.below(4) {
            let _ = accepted.recv_timeout(Duration::from_millis(200));
        }
        std::thread::park_timeout(Duration::from_micros(numbers.below(30_000)));
        system.kill(names[(numbers.next() as usize) % names.len()]);
        done += 1;
    }
    done
}

/// Waits until all that was accepted of `sent` is stored, or until `reached`.
fn keep_pace(client: &Client, url: &str, sent: &[Sent], stored: &Mutex<BTreeMap<String, Sent>>, reached: &AtomicBool) {
    let of_batch = |one: &Sent| sent.iter().any(|other| Arc::ptr_eq(&one.body, &other.body));
    let ids: Vec<String> =
        stored.lock().unwrap().iter().filter(|(_, one)| of_batch(one)).map(|(id, _)| id.clone()).collect();
    for id in ids {
        while !reached.load(Ordering::SeqCst) && !is_stored(client, url, &id) {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

/// Whether a recording or song is stored by now.
fn is_stored(client: &Client, url: &str, id: &str) -> bool {
    let kind = if id.starts_with('s') { "songs" } else { "recordings" };
    let answer = client.get(&format!("{url}/api/v1/{kind}/{id}"));
    answer.is_ok_and(|answer| answer.status == 200 && answer.json()["status"] == "stored")
}

/// Sets a flag when dropped, also by a panic.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn run(separate: bool, seed: u64) {
    let kills: u32 = std::env::var("KILL_TEST_KILLS").ok().and_then(|value| value.parse().ok()).unwrap_or(20);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("disturbed");
    let names: &[&'static str] = if separate { &ROLES } else { &["up"] };
    let system = System::start(&data, Folders::Shared, &[], names);
    let (url, client) = (system.url(), system.operator());
    add_sensors(&client, &url);

    let stored = Mutex::new(BTreeMap::new());
    let (accepted, acceptances) = channel();
    let batch = |number: u64, count: usize| recordings(seed * 1_000 + number, count);
    let mut killed = 0;
    let mut refused = 0;
    // Rounds of load, until the wanted number of kills has happened while there was load.
    for round in 0.. {
        if killed >= kills {
            break;
        }
        let sent = batch(round, 120);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let loader = scope.spawn(|| {
                let refused = load(&client, &url, &sent, &accepted, &stored);
                over.store(true, Ordering::SeqCst);
                refused
            });
            killed += kill_at_random(&system, names, kills - killed, &acceptances, &|| over.load(Ordering::SeqCst));
            refused += loader.join().unwrap();
        });
    }
    // Each named step, while there is work for it.
    let rounds = u64::from(kills / 20).clamp(1, 10);
    let mut steps = 0;
    for (index, (role, step, parts)) in STEPS.iter().enumerate() {
        for round in 0..rounds {
            let reached = AtomicBool::new(false);
            std::thread::scope(|scope| {
                // Load for as long as the step is not reached.
                let loader = scope.spawn(|| {
                    let mut refused = 0;
                    let mut number = 10_000 + index as u64 * 1_000 + round * 50;
                    while !reached.load(Ordering::SeqCst) {
                        let mut sent = batch(number, 60);
                        if *parts {
                            // 900 s make more than 1 MiB of results.
                            let body = Arc::new(wav(number, 8_000, 7_200_000));
                            sent.insert(5, Sent { sensor: None, start: 0, lead_in: 0.0, body });
                        }
                        refused += load(&client, &url, &sent, &accepted, &stored);
                        number += 1;
                        // What waits stays small: the step is reached early in a batch, if at all.
                        keep_pace(&client, &url, &sent, &stored, &reached);
                    }
                    refused
                });
                // Long songs and long recordings are few in a batch.
                let ended = OnDrop(&reached);
                let few = *parts || *role == "media" || step.contains("blob");
                println!("killing {role} at {step}");
                system.kill_at(if separate { role } else { "up" }, step, if few { 1 } else { 1 + round % 3 });
                drop(ended);
                steps += 1;
                refused += loader.join().unwrap();
            });
        }
    }
    let stored = stored.into_inner().unwrap();
    for id in stored.keys() {
        wait_stored(&client, &url, id);
    }
    let disturbed = answers(&client, &url, stored.keys());
    drop(system);

    // The same set, undisturbed, in another order, in one process.
    let calm = folder.path().join("calm");
    let system = System::start(&calm, Folders::Shared, &[], &["up"]);
    let (url, client) = (system.url(), system.operator());
    add_sensors(&client, &url);
    let mut order: Vec<(&String, &Sent)> = stored.iter().collect();
    order.sort_by_key(|(id, _)| id.bytes().rev().collect::<Vec<u8>>());
    for (id, one) in order {
        assert_eq!(send(&client, &url, one).as_ref(), Ok(id));
    }
    for id in stored.keys() {
        wait_stored(&client, &url, id);
    }
    let calm = answers(&client, &url, stored.keys());
    assert_eq!(disturbed.len(), calm.len());
    for (path, answer) in &disturbed {
        assert_eq!(answer, &calm[path], "{path}");
    }
    assert!(refused > 0, "the load holds bad requests too");
    println!(
        "{} recordings accepted, {refused} refused, {killed} random kills, {steps} kills at named steps, {} answers equal",
        stored.len(),
        disturbed.len()
    );
}

#[test]
fn nothing_accepted_is_lost_when_up_is_killed() {
    run(false, 1);
}

#[test]
fn nothing_accepted_is_lost_when_single_roles_are_killed() {
    run(true, 2);
}
