//! A steady load: many sensors that each send one second after the other, with songs and long recordings between, each
//! sent again until it is accepted. What is sent depends on its number only, so that the same set can be sent elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::traffic::{Sent, send, wait_stored};
use super::{Client, MAY, PATIENCE, rfc3339, wav};

/// The sensors, and one more that sends long recordings.
const SENSORS: [&str; 9] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "long"];
const STEADY: u32 = 8;
/// How many recordings show what the machine can bear.
const MEASURED: u32 = 400;
/// How much more than what it is sent a machine stores that has room for recovery beside other tests.
pub const HEADROOM: u32 = 3;
/// Heard by [`Steady::probe`] only.
const PROBE: &str = "probe";
const RATE: u32 = 8_000;

/// A load, and what it has sent.
pub struct Steady {
    client: Client,
    url: String,
    bodies: Vec<Arc<Vec<u8>>>,
    /// Numbers of the recordings that were accepted.
    accepted: Mutex<BTreeSet<u32>>,
    songs: Mutex<BTreeSet<String>>,
    next: AtomicU32,
    ended: AtomicBool,
}

impl Steady {
    /// A load on a system that knows no sensor yet; nothing is sent.
    pub fn new(client: &Client, url: &str) -> Self {
        for sensor in SENSORS.into_iter().chain([PROBE]) {
            let answer = client.post_json(&format!("{url}/api/v1/sensors"), &serde_json::json!({ "id": sensor }));
            assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        }
        Self {
            client: client.clone(),
            url: url.to_owned(),
            bodies: (0..61).map(|seed| Arc::new(wav(seed, RATE, RATE as usize))).collect(),
            accepted: Mutex::new(BTreeSet::new()),
            songs: Mutex::new(BTreeSet::new()),
            next: AtomicU32::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// The recordings a second that leave the machine room for recovery: a share (one of `headroom`) of what it stores when it is
    /// given as many as it takes, and at most `wanted`.
    pub fn bearable(&self, wanted: u32, headroom: u32) -> u32 {
        let began = Instant::now();
        let numbers = AtomicU32::new(0);
        self.senders(&|| {
            let ended = numbers.fetch_add(1, Ordering::Relaxed) >= MEASURED;
            (!ended).then(|| self.next.fetch_add(1, Ordering::Relaxed))
        });
        self.wait_until_all_stored();
        let stored = f64::from(MEASURED) / began.elapsed().as_secs_f64();
        let rate = wanted.min((stored / f64::from(headroom)) as u32).max(5);
        println!(
            "{stored:.0} recordings a second are stored without a fault; {rate} a second are sent, {wanted} wanted"
        );
        rate
    }

    /// Sends so many recordings a second until it is to end; returns when the last was accepted.
    pub fn run(&self, per_second: u32) {
        let began = Instant::now();
        let first = self.next.load(Ordering::Relaxed);
        self.senders(&|| {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let due = began + Duration::from_secs(u64::from(number - first)) / per_second;
            while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                if self.ended.load(Ordering::Relaxed) {
                    return None;
                }
                std::thread::park_timeout(left.min(Duration::from_millis(50)));
            }
            (!self.ended.load(Ordering::Relaxed)).then_some(number)
        });
    }

    /// Sends what another load has sent, as fast as it goes, in another order.
    pub fn repeat(&self, other: &Self) {
        self.next.store(other.next.load(Ordering::Relaxed), Ordering::Relaxed);
        let mut numbers: Vec<u32> = other.accepted.lock().unwrap().iter().copied().collect();
        numbers.sort_by_key(|number| number.reverse_bits());
        let numbers = Mutex::new(numbers);
        self.senders(&|| numbers.lock().unwrap().pop());
    }

    /// Ends [`Steady::run`] when it is dropped, also by a panic.
    pub fn ends_with_this(&self) -> impl Drop {
        Ending(&self.ended)
    }

    /// Whether [`Steady::run`] was told to end.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Sends a recording (database and queue) and a song (blobs too) until they are stored; how long that took.
    pub fn probe(&self, number: u32) -> Duration {
        let began = Instant::now();
        let start = MAY + i64::from(number) * 1_000_000;
        let body = |seed: u64, samples: usize| Arc::new(wav(seed << 32 | u64::from(number), RATE, samples));
        let recording = Sent { sensor: Some(PROBE), start, lead_in: 0.0, body: body(1, 8_000) };
        let song = Sent { sensor: None, start: 0, lead_in: 0.0, body: body(2, 3_000) };
        let ids = [recording, song].map(|sent| self.accept(&sent));
        for id in ids {
            wait_stored(&self.client, &self.url, &id);
        }
        began.elapsed()
    }

    /// How many recordings were accepted.
    pub fn accepted(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    fn senders(&self, next: &(dyn Fn() -> Option<u32> + Sync)) {
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    while let Some(number) = next() {
                        self.send(number);
                    }
                });
            }
        });
    }

    /// One recording, some twice; with it now and then a song, or a long recording.
    fn send(&self, number: u32) {
        let body = &self.bodies[number as usize % self.bodies.len()];
        let start = MAY + i64::from(number / STEADY) * 1_000_000;
        let one =
            Sent { sensor: Some(SENSORS[(number % STEADY) as usize]), start, lead_in: 0.0, body: Arc::clone(body) };
        let id = self.accept(&one);
        if number % 50 == 7 {
            assert_eq!(self.accept(&one), id, "the same again has the same id");
        }
        if number % 97 == 11 {
            let song = Arc::new(wav(u64::from(number), RATE, 4_000));
            let id = self.accept(&Sent { sensor: None, start: 0, lead_in: 0.0, body: song });
            self.songs.lock().unwrap().insert(id);
        }
        if number % 401 == 19 {
            // More than 1 MiB: it travels through the blobs.
            let body = Arc::new(wav(u64::from(number), 16_000, 600_000));
            let start = MAY + i64::from(number) * 1_000_000;
            self.accept(&Sent { sensor: Some("long"), start, lead_in: 0.0, body });
        }
        self.accepted.lock().unwrap().insert(number);
    }

    fn accept(&self, sent: &Sent) -> String {
        send(&self.client, &self.url, sent).unwrap_or_else(|status| panic!("refused with {status}"))
    }

    /// Waits until everything that was accepted is stored; panics if something is missing or failed.
    pub fn wait_until_all_stored(&self) {
        let deadline = Instant::now() + PATIENCE * 10;
        let accepted = self.accepted.lock().unwrap().clone();
        let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
        for number in &accepted {
            *expected.entry(SENSORS[(number % STEADY) as usize]).or_default() += 1;
            if number % 401 == 19 {
                *expected.entry("long").or_default() += 1;
            }
        }
        for (sensor, expected) in expected {
            loop {
                let listed = self.recordings(sensor);
                let failed = listed.iter().find(|recording| recording["status"] == "failed");
                assert!(failed.is_none(), "{failed:?}");
                let stored = listed.iter().filter(|recording| recording["status"] == "stored").count();
                assert!(listed.len() <= expected, "{sensor}: {} recordings of {expected} sent", listed.len());
                if stored == expected {
                    break;
                }
                assert!(Instant::now() < deadline, "{sensor}: {stored} of {expected} stored");
                std::thread::park_timeout(Duration::from_millis(200));
            }
        }
        for song in self.songs.lock().unwrap().iter() {
            wait_stored(&self.client, &self.url, song);
        }
    }

    /// All recordings of a sensor.
    fn recordings(&self, sensor: &str) -> Vec<Value> {
        let first = format!("{}/api/v1/sensors/{sensor}/recordings?{}&limit=1000", self.url, self.range());
        let (mut url, mut all) = (first.clone(), Vec::new());
        loop {
            let page = self.client.get(&url).unwrap().json();
            all.extend(page["items"].as_array().unwrap_or_else(|| panic!("{page}")).iter().cloned());
            match page["next"].as_str() {
                Some(cursor) => url = format!("{first}&cursor={cursor}"),
                None => return all,
            }
        }
    }

    fn range(&self) -> String {
        let seconds = i64::from(self.next.load(Ordering::Relaxed).max(100_000)) + 100;
        format!("from={}&to={}", rfc3339(MAY), rfc3339(MAY + seconds * 1_000_000))
    }

    /// Every second of every sensor and song, and what was made of them, as they are stored.
    pub fn answers(&self, range_of: &Self) -> BTreeMap<String, Vec<u8>> {
        let range = range_of.range();
        let mut paths = Vec::new();
        for sensor in SENSORS {
            let features = format!("sensors/{sensor}/features?{range}&features=level,loudness");
            for resolution in ["1s", "1m", "1h"] {
                paths.push(format!("{features}&resolution={resolution}&stat=leq,min,max,l10,l90&format=csv"));
            }
            paths.push(format!("sensors/{sensor}/gaps?{range}"));
            paths.push(format!("sensors/{sensor}/annotations?{range}&format=csv"));
        }
        for song in self.songs.lock().unwrap().iter() {
            paths.push(format!("songs/{song}/features?resolution=1s&features=level,mel&stat=leq,mean,max&format=csv"));
            paths.push(format!("songs/{song}/summary"));
        }
        let ask = |path: String| {
            let answer = self.client.get(&format!("{}/api/v1/{path}", self.url)).unwrap();
            assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
            (path, answer.body)
        };
        paths.into_iter().map(ask).collect()
    }
}

struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Compares the answers of two systems that were sent the same; gives their number.
pub fn assert_equal(disturbed: &Steady, calm: &Steady) -> usize {
    let (one, other) = (disturbed.answers(disturbed), calm.answers(disturbed));
    assert_eq!(one.len(), other.len());
    for (path, answer) in &one {
        assert!(*answer == other[path], "answers differ: {path}");
    }
    one.len()
}
