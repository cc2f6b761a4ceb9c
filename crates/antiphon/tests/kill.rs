//! The kill test: SIGKILL at random moments and at every named step, under load with retries and duplicates.
//!
//! What got 202 ends `stored` with one effect; what got 4xx is never stored; and the answers of all range queries
//! are, byte for byte, those of an undisturbed run of the same set in another order. `KILL_TEST_KILLS` sets the
//! number of random kills (20 when nothing is said); `cargo xtask test --kills 200 kill` is the long form.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Antiphon, Client, MAY, Numbers, PATIENCE, rfc3339, start, try_start, wav};

const SENSORS: [&str; 3] = ["roof", "river-2", "yard"];
const RATE: u32 = 16_000;

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

/// One recording or song to send.
#[derive(Clone)]
struct Sent {
    /// The sensor; none for a song.
    sensor: Option<&'static str>,
    start: i64,
    lead_in: f64,
    body: Arc<Vec<u8>>,
}

/// Random recordings over some minutes: unaligned, overlapping, late, with and without lead-in, some long, some bad;
/// and a song now and then.
fn recordings(seed: u64, count: usize) -> Vec<Sent> {
    let mut numbers = Numbers(seed);
    (0..count)
        .map(|number| {
            let bad = number % 23 == 7;
            let long = number % 41 == 11;
            let samples = if long { 700_000 } else { 4_000 + numbers.below(u64::from(RATE) * 3) as usize };
            let lead_in = if numbers.below(3) == 0 { 0.1 } else { 0.0 };
            let body = if bad { b"this is no audio at all".to_vec() } else { wav(numbers.next(), RATE, samples) };
            let sensor = SENSORS[numbers.below(SENSORS.len() as u64) as usize];
            Sent {
                sensor: (number % 15 != 3).then_some(sensor),
                start: MAY + numbers.below(1_200_000_000) as i64,
                lead_in,
                body: Arc::new(body),
            }
        })
        .collect()
}

/// The system under test: one `up`, or one process a role, on one data folder.
struct System {
    data: std::path::PathBuf,
    processes: Mutex<BTreeMap<&'static str, Antiphon>>,
    port: u16,
}

const ROLES: [&str; 6] = ["api", "analyze", "analyze-songs", "media", "write", "relay"];

impl System {
    fn start(data: &Path, separate: bool) -> Self {
        // A port that is free now; the processes that follow ask for it by number, to be found after a kill.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let system = Self { data: data.to_owned(), processes: Mutex::new(BTreeMap::new()), port };
        let names: &[&'static str] = if separate { &ROLES } else { &["up"] };
        for name in names {
            system.launch(name, &[]);
        }
        system
    }

    fn launch(&self, name: &'static str, environment: &[(&str, &str)]) {
        let listen = format!("127.0.0.1:{}", self.port);
        let arguments = arguments(name, &listen);
        let process = start(&self.data, &arguments, environment);
        self.processes.lock().unwrap().insert(name, process);
    }

    fn kill(&self, name: &'static str) {
        let process = self.processes.lock().unwrap().remove(name);
        drop(process);
        self.launch(name, &[]);
    }

    /// Replaces a process by one that dies at the `count`-th pass of a step, waits for that, and starts it again.
    fn kill_at(&self, name: &'static str, step: &str, count: u64) {
        drop(self.processes.lock().unwrap().remove(name));
        let listen = format!("127.0.0.1:{}", self.port);
        let arguments = arguments(name, &listen);
        match try_start(&self.data, &arguments, &[("ANTIPHON_CRASH_POINT", &format!("{step}:{count}"))]) {
            Ok(mut process) => process.wait_for_end(),
            // It found work and died before it was ready.
            Err(log) => assert!(log.contains("SIGKILL"), "{name} did not start: {log}"),
        }
        self.launch(name, &[]);
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn arguments<'a>(name: &'a str, listen: &'a str) -> Vec<&'a str> {
    match name {
        "up" => vec!["up", "--listen", listen],
        "api" => vec!["run", "api", "--listen", listen],
        _ => vec!["run", name],
    }
}

/// Sends one recording until it is accepted or refused; the id when accepted.
fn send(client: &Client, url: &str, sent: &Sent) -> Result<String, u16> {
    let target = match sent.sensor {
        None => format!("{url}/api/v1/songs"),
        Some(sensor) if sent.lead_in > 0.0 => {
            format!("{url}/api/v1/sensors/{sensor}/recordings?start={}&lead_in={}", rfc3339(sent.start), sent.lead_in)
        }
        Some(sensor) => format!("{url}/api/v1/sensors/{sensor}/recordings?start={}", rfc3339(sent.start)),
    };
    let deadline = std::time::Instant::now() + PATIENCE * 2;
    loop {
        match client.send("POST", &target, &[("content-type", "audio/wav")], &sent.body) {
            Ok(answer) if answer.status == 202 => return Ok(answer.json()["id"].as_str().unwrap().to_owned()),
            Ok(answer) if (400..500).contains(&answer.status) => return Err(answer.status),
            Ok(_) | Err(_) => assert!(std::time::Instant::now() < deadline, "{target} was never answered"),
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Waits until a recording or song is stored.
fn wait_stored(client: &Client, url: &str, id: &str) {
    let kind = if id.starts_with('s') { "songs" } else { "recordings" };
    let wait = if id.starts_with('s') { "" } else { "?wait=20" };
    let deadline = std::time::Instant::now() + PATIENCE * 2;
    loop {
        if let Ok(answer) = client.get(&format!("{url}/api/v1/{kind}/{id}{wait}"))
            && answer.status == 200
        {
            let status = answer.json();
            match status["status"].as_str() {
                Some("stored") => return,
                Some("accepted") => {}
                _ => panic!("{id} ended as {status}"),
            }
        }
        assert!(std::time::Instant::now() < deadline, "{id} was never stored");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// All answers that depend on the set.
fn answers<'a>(client: &Client, url: &str, ids: impl Iterator<Item = &'a String>) -> BTreeMap<String, String> {
    let (from, to) = (rfc3339(MAY - 60_000_000), rfc3339(MAY + 1_500_000_000));
    let mut all = BTreeMap::new();
    let mut paths = Vec::new();
    for sensor in SENSORS {
        paths.push(format!("sensors/{sensor}/gaps?from={from}&to={to}"));
        paths.push(format!("sensors/{sensor}/annotations?from={from}&to={to}"));
        let features = format!("sensors/{sensor}/features?from={from}&to={to}");
        for resolution in ["1s", "10s", "1m", "10m", "1h", "1d"] {
            paths.push(format!(
                "{features}&resolution={resolution}&features=level,loudness&stat=leq,min,max,l10,l50,l90"
            ));
        }
        paths.push(format!("{features}&resolution=1h&tz=Asia/Kathmandu"));
    }
    for id in ids.filter(|id| id.starts_with('s')) {
        paths.push(format!("songs/{id}/summary"));
        paths.push(format!("songs/{id}/annotations"));
        paths.push(format!("songs/{id}/features?resolution=1s&features=level,mel&stat=leq,mean,max"));
    }
    for path in paths {
        let answer = client.get(&format!("{url}/api/v1/{path}")).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        all.insert(path, String::from_utf8(answer.body).unwrap());
    }
    all
}

fn add_sensors(client: &Client, url: &str) {
    for sensor in SENSORS {
        let answer = client.post_json(&format!("{url}/api/v1/sensors"), &serde_json::json!({ "id": sensor }));
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    }
}

/// Sends `sent` (each some once, some twice) from several threads; tells of every acceptance.
fn load(
    client: &Client,
    url: &str,
    sent: &[Sent],
    accepted: &Sender<()>,
    stored: &Mutex<BTreeMap<String, Sent>>,
) -> usize {
    let refused = AtomicUsize::new(0);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    let Some(one) = sent.get(index) else { return };
                    for _ in 0..=(index % 3 / 2) {
                        match send(client, url, one) {
                            Ok(id) => {
                                stored.lock().unwrap().insert(id, one.clone());
                                let _ = accepted.send(());
                            }
                            Err(status) => {
                                assert!(status == 415, "a recording was refused with {status}");
                                refused.fetch_add(1, Ordering::SeqCst);
                            }
                        }
                    }
                }
            });
        }
    });
    refused.into_inner()
}

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
    let system = System::start(&data, separate);
    let url = system.url();
    let client = Client::operator(&data);
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
            let names: &[&'static str] = if separate { &ROLES } else { &["up"] };
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
    let system = System::start(&calm, false);
    let url = system.url();
    let client = Client::operator(&calm);
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
