//! Sets of recordings to send, and all that can be asked of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Client, MAY, Numbers, PATIENCE, rfc3339, wav};

/// The sensors of a set.
pub const SENSORS: [&str; 3] = ["roof", "river-2", "yard"];
const RATE: u32 = 16_000;

/// One recording or song to send.
#[derive(Clone)]
pub struct Sent {
    /// The sensor; none for a song.
    pub sensor: Option<&'static str>,
    pub start: i64,
    pub lead_in: f64,
    pub body: Arc<Vec<u8>>,
}

/// Random recordings over some minutes: unaligned, overlapping, late, with and without lead-in, some long, some bad;
/// and a song now and then.
pub fn recordings(seed: u64, count: usize) -> Vec<Sent> {
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

/// Sends one recording until it is accepted or refused; the id when accepted.
pub fn send(client: &Client, url: &str, sent: &Sent) -> Result<String, u16> {
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
pub fn wait_stored(client: &Client, url: &str, id: &str) {
    let kind = if id.starts_with('s') { "songs" } else { "recordings" };
    let wait = if id.starts_with('s') { "" } else { "?wait=20" };
    let deadline = std::time::Instant::now() + PATIENCE * 2;
    let mut last = String::new();
    loop {
        if let Ok(answer) = client.get(&format!("{url}/api/v1/{kind}/{id}{wait}")) {
            last = String::from_utf8_lossy(&answer.body).into_owned();
            if answer.status == 200 {
                let status = answer.json();
                match status["status"].as_str() {
                    Some("stored") => return,
                    Some("accepted") => {}
                    _ => panic!("{id} ended as {status}"),
                }
            }
        }
        if std::time::Instant::now() > deadline {
            let metrics = client.get(&format!("{url}/metrics")).map(|answer| answer.body).unwrap_or_default();
            let metrics = String::from_utf8_lossy(&metrics).into_owned();
            let queue: Vec<&str> = metrics.lines().filter(|line| line.starts_with("antiphon_queue_")).collect();
            panic!("{id} was never stored: {last}\n{}", queue.join("\n"));
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// All answers that depend on the set, and on nothing else.
pub fn answers<'a>(client: &Client, url: &str, ids: impl Iterator<Item = &'a String>) -> BTreeMap<String, String> {
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
        for resolution in ["1s", "1m", "1h"] {
            paths.push(format!("{features}&resolution={resolution}&features=level,loudness&format=csv"));
        }
        paths.push(format!("sensors/{sensor}/annotations?from={from}&to={to}&format=csv"));
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

pub fn add_sensors(client: &Client, url: &str) {
    for sensor in SENSORS {
        let answer = client.post_json(&format!("{url}/api/v1/sensors"), &serde_json::json!({ "id": sensor }));
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    }
}

/// Sends `sent` (each some once, some twice) from several threads; tells of every acceptance.
pub fn load(
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
